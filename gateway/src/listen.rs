//! The listening socket: its port, and which connections are accepted.
//!
//! Invariant: clients cannot use up the process's file descriptors: some are reserved for NATS, Redis and files. A client
//! that cannot be served is refused at once and not left waiting, and health requests are answered even then.
//!
//! Poem's own listener leaves Nagle's algorithm on (40 ms for small answers on a kept connection), spins when the
//! process is out of file descriptors, and its idle timer wakes a task at every read; hence this one.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bus::contract::Problem;
use futures::FutureExt;
use nix::sys::resource::{Resource, getrlimit};
use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::client::Proxies;
use crate::connection::{Connection, Held};
use crate::limit::{Bounds, Networks};

/// File descriptors reserved for NATS, Redis, uploads, and under `marquee up` every host's database connections. A
/// process with few descriptors reserves three quarters of them.
const DESCRIPTORS_RESERVED: usize = 200;
/// Files that are read for clients at once: a poster is sent within milliseconds, a trailer at the speed of its client.
const FILES_MAX: usize = 1_024;
/// Connections beyond the capacity that are being refused, or that request health; they use reserved descriptors.
const REFUSALS_MAX: usize = 64;
/// How long a refused client may take to read the answer.
const REFUSAL_MAX: Duration = Duration::from_secs(2);
/// A connection beyond the capacity that was accepted for a health request ends after this.
const HEALTH_MAX: Duration = Duration::from_secs(10);
/// Without file descriptors accepting fails again at once; other connections need time to close.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// How a health request begins.
const HEALTH: [&[u8]; 2] = [b"GET /health/", b"HEAD /health/"];
/// Ports tried from 8080 on when no address is given.
const PORTS: std::ops::RangeInclusive<u16> = 8080..=8179;

/// Binds the given address, or the first free port from 8080 on of the loopback interface.
pub fn bind(addr: Option<SocketAddr>) -> anyhow::Result<StdListener> {
    let listener = match addr {
        Some(addr) => match StdListener::bind(addr) {
            Ok(listener) => listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                bail!("HTTP_ADDR {addr} is in use by another program: stop it or set another HTTP_ADDR")
            }
            Err(error) => return Err(error).with_context(|| format!("cannot listen on HTTP_ADDR {addr}")),
        },
        None => PORTS
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .find_map(|addr| StdListener::bind(addr).ok())
            .context("no port from 8080 to 8179 is free on 127.0.0.1: set HTTP_ADDR")?,
    };
    listener.set_nonblocking(true).context("cannot make the listening socket non-blocking")?;
    Ok(listener)
}

/// How many connections are accepted: `max`, or fewer where the process may not open so many files.
pub fn capacity(max: usize) -> usize {
    max.min(shares(open_max()).0)
}

/// How many posters and trailers may be read for clients at once; each needs a descriptor too.
pub fn files_max() -> usize {
    shares(open_max()).1
}

fn open_max() -> usize {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(usize::MAX, |(soft, _)| soft as usize)
}

/// The descriptors that clients get: for connections, and for files that are read for them.
fn shares(open_max: usize) -> (usize, usize) {
    let left = open_max - DESCRIPTORS_RESERVED.min(open_max / 4 * 3);
    let files = FILES_MAX.min(left / 4);
    (left - files, files)
}

/// Accepts connections for Poem's server.
pub struct ConnectionAcceptor {
    listener: TcpListener,
    addr: SocketAddr,
    capacity: Arc<Semaphore>,
    networks: Arc<Networks>,
    proxies: Proxies,
    refusals: Arc<Semaphore>,
    /// Connections beyond the capacity that request health.
    health: (mpsc::Sender<Refused>, mpsc::Receiver<Refused>),
    /// Closed for a moment in order to accept and refuse a connection when the process is out of descriptors.
    reserve: Option<File>,
}

/// A connection beyond the capacity.
type Refused = (TcpStream, SocketAddr, OwnedSemaphorePermit);

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    Process,
    Network,
}

impl Full {
    fn name(self) -> &'static str {
        match self {
            Self::Process => "room",
            Self::Network => "network",
        }
    }

    /// The whole HTTP answer; the request was not read.
    fn answer(self) -> Vec<u8> {
        let problem = match self {
            Self::Process => Problem::unavailable("Too many connections are open. Try again shortly."),
            Self::Network => Problem::new(429, "connections", "Too many connections come from your network."),
        };
        let retry_after = problem.retry_after.unwrap_or(5);
        let problem = Problem {
            code: "connections".into(),
            request_id: bus::Context::new().correlation_id,
            ..problem.with_retry_after(retry_after)
        };
        let body = serde_json::to_string(&problem).expect("a problem is plain data and always serializes");
        format!(
            "HTTP/1.1 {} {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nRetry-After: {retry_after}\r\n\
             X-Request-Id: {}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
            problem.status,
            problem.title,
            body.len(),
            problem.request_id
        )
        .into_bytes()
    }
}

impl ConnectionAcceptor {
    pub fn new(listener: StdListener, bounds: &Bounds, proxies: Proxies) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        Ok(Self {
            listener: TcpListener::from_std(listener)?,
            addr,
            capacity: Arc::new(Semaphore::new(capacity(bounds.connections_max))),
            networks: Networks::new(bounds.connections_per_network_max),
            proxies,
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            health: mpsc::channel(REFUSALS_MAX),
            reserve: File::open("/dev/null").ok(),
        })
    }

    fn admit(&self, peer: SocketAddr) -> Result<Held, Full> {
        let peer = peer.ip().to_canonical();
        // All clients connect through our proxies, which limit them by themselves.
        let network = match self.proxies.is_trusted(peer) {
            true => None,
            false => Some(self.networks.enter(peer).ok_or(Full::Network)?),
        };
        let permit = self.capacity.clone().try_acquire_owned().map_err(|_| Full::Process)?;
        Ok(Held::Places { _permit: permit, _network: network })
    }

    fn refuse(&self, stream: TcpStream, peer: SocketAddr, why: Full) {
        metrics::counter!("http_connections_refused_total", "why" => why.name()).increment(1);
        // Closed without an answer where too many are being refused.
        let Ok(permit) = self.refusals.clone().try_acquire_owned() else { return };
        let health = self.health.0.clone();
        tokio::spawn(tokio::time::timeout(REFUSAL_MAX, refuse((stream, peer, permit), why, health)));
    }

    fn open(&self, stream: TcpStream, peer: SocketAddr, held: Held) -> Opened {
        // If this fails because the peer has disconnected, the first read fails too.
        let _ = stream.set_nodelay(true);
        let connection = Connection::new(stream, held);
        (connection, LocalAddr(self.addr.into()), RemoteAddr(peer.into()), Scheme::HTTP)
    }

    /// Accepting failed. When the descriptors have run out all the same, the reserved one is used to refuse a connection.
    async fn failed(&mut self, error: io::Error) -> io::Error {
        let is_out = matches!(error.raw_os_error(), Some(code) if OUT_OF_DESCRIPTORS.contains(&code));
        let refused = is_out && self.reserve.take().is_some() && {
            let refused = self.listener.accept().now_or_never().is_some_and(|accepted| accepted.is_ok());
            self.reserve = File::open("/dev/null").ok();
            refused
        };
        if refused {
            metrics::counter!("http_connections_refused_total", "why" => "descriptors").increment(1);
        } else {
            tracing::warn!(%error, "connection not accepted");
            tokio::time::sleep(ACCEPT_RETRY).await;
        }
        error
    }
}

/// `EMFILE` and `ENFILE`: no descriptor is left to this process, or to the machine.
const OUT_OF_DESCRIPTORS: [i32; 2] = [nix::errno::Errno::EMFILE as i32, nix::errno::Errno::ENFILE as i32];

type Opened = (Connection, LocalAddr, RemoteAddr, Scheme);

impl Acceptor for ConnectionAcceptor {
    type Io = Connection;

    fn local_addr(&self) -> Vec<LocalAddr> {
        vec![LocalAddr(self.addr.into())]
    }

    async fn accept(&mut self) -> io::Result<Opened> {
        loop {
            let accepted = tokio::select! {
                Some((stream, peer, permit)) = self.health.1.recv() => {
                    let held = Held::Health { _permit: permit, until: Instant::now() + HEALTH_MAX };
                    return Ok(self.open(stream, peer, held));
                }
                accepted = self.listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => return Err(self.failed(error).await),
            };
            match self.admit(peer) {
                Ok(held) => return Ok(self.open(stream, peer, held)),
                Err(why) => self.refuse(stream, peer, why),
            }
        }
    }
}

/// Answers why the connection is refused, or accepts it where it begins with a health request.
async fn refuse(mut refused: Refused, why: Full, health: mpsc::Sender<Refused>) {
    if why == Full::Process && requests_health(&refused.0).await {
        let _ = health.send(refused).await;
        return;
    }
    let stream = &mut refused.0;
    if stream.write_all(&why.answer()).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    // Closing with unread bytes would reset the connection before the client has read the answer.
    let mut unread = [0; 1_024];
    while stream.read(&mut unread).await.is_ok_and(|read| read > 0) {}
}

async fn requests_health(stream: &TcpStream) -> bool {
    let mut begin = [0; 16];
    loop {
        let Ok(read) = stream.peek(&mut begin).await else { return false };
        let begin = &begin[..read];
        if HEALTH.iter().any(|request| begin.starts_with(request)) {
            return true;
        }
        if read == 0 || !HEALTH.iter().any(|request| request.starts_with(begin)) {
            return false;
        }
        // The line is incomplete; `readable` would return at once, since the peeked bytes are still unread.
        tokio::time::sleep(ACCEPT_RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_reserved_whatever_the_limit_is() {
        assert_eq!(shares(20_000), (18_776, 1_024));
        assert_eq!(shares(1_024), (618, 206));
        assert_eq!(shares(256), (48, 16));
        assert_eq!(capacity(10), 10);
    }

    #[test]
    fn an_address_in_use_is_named_and_by_default_the_next_port_is_used() {
        let first = bind(None).unwrap();
        let second = bind(None).unwrap();
        assert_ne!(first.local_addr().unwrap(), second.local_addr().unwrap());
        let error = bind(Some(first.local_addr().unwrap())).unwrap_err().to_string();
        assert!(error.contains("HTTP_ADDR") && error.contains(&first.local_addr().unwrap().to_string()));
    }
}
