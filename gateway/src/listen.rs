//! The listening socket: which port, and who gets a connection.
//!
//! Invariant: the process never runs out of file descriptors by its clients: some are kept back for NATS, Redis and files.
//! Whoever cannot be served is refused at once, not left hanging, and a question about health is answered even then.
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

/// File descriptors that no client gets: NATS, Redis, uploads, and under `marquee up` every host's database connections. A
/// process with few keeps three quarters of them.
const DESCRIPTORS_KEPT: usize = 200;
/// Files that are read for clients at once: a poster is sent within milliseconds, a trailer as fast as its viewer's line is.
const FILES_MAX: usize = 1_024;
/// Connections beyond the room that are being refused, or that ask for health; of those kept back.
const REFUSALS_MAX: usize = 64;
/// How long a refused client may take to read why.
const REFUSAL_MAX: Duration = Duration::from_secs(2);
/// A connection that was let in for a question about health ends after this.
const SPARE_MAX: Duration = Duration::from_secs(10);
/// Without file descriptors accepting fails at once, over and over; others need time to close theirs.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// What a question about health begins with.
const HEALTH: [&[u8]; 2] = [b"GET /health/", b"HEAD /health/"];
/// Ports tried from 8080 on when no address is given.
const PORTS: std::ops::RangeInclusive<u16> = 8080..=8179;

/// Binds the given address, or the first free port from 8080 on at this machine only.
pub fn bind(addr: Option<SocketAddr>) -> anyhow::Result<StdListener> {
    let listener = match addr {
        Some(addr) => match StdListener::bind(addr) {
            Ok(listener) => listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                bail!("HTTP_ADDR {addr} is taken by another program: stop that one or give another HTTP_ADDR")
            }
            Err(error) => return Err(error).with_context(|| format!("cannot listen on HTTP_ADDR {addr}")),
        },
        None => PORTS
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .find_map(|addr| StdListener::bind(addr).ok())
            .context("no port from 8080 to 8179 is free on 127.0.0.1: give HTTP_ADDR")?,
    };
    listener.set_nonblocking(true).context("cannot make the listening socket non-blocking")?;
    Ok(listener)
}

/// How many connections there is room for: as many as wanted, or fewer where the process may not open so many files.
pub fn room(wanted: usize) -> usize {
    wanted.min(shares(open_max()).0)
}

/// How many posters and trailers may be read for clients at once, each of which takes a descriptor as well.
pub fn files_max() -> usize {
    shares(open_max()).1
}

fn open_max() -> usize {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(usize::MAX, |(soft, _)| soft as usize)
}

/// What is left for clients of so many descriptors: connections, and files that are read for them.
fn shares(open_max: usize) -> (usize, usize) {
    let left = open_max - DESCRIPTORS_KEPT.min(open_max / 4 * 3);
    let files = FILES_MAX.min(left / 4);
    (left - files, files)
}

/// Takes connections for Poem's server.
pub struct Door {
    listener: TcpListener,
    addr: SocketAddr,
    room: Arc<Semaphore>,
    networks: Arc<Networks>,
    proxies: Proxies,
    refusals: Arc<Semaphore>,
    /// Connections without a place that ask for health.
    spares: (mpsc::Sender<Spare>, mpsc::Receiver<Spare>),
    /// Given up for a moment to accept, and so to refuse, when the process is out of descriptors.
    reserve: Option<File>,
}

type Spare = (TcpStream, SocketAddr, OwnedSemaphorePermit);

/// Why a connection gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    Room,
    Network,
}

impl Full {
    fn name(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Network => "network",
        }
    }

    /// The whole answer, since no request was read.
    fn answer(self) -> Vec<u8> {
        let problem = match self {
            Self::Room => Problem::unavailable("Too many connections are open. Try again shortly."),
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

impl Door {
    pub fn new(listener: StdListener, bounds: &Bounds, proxies: Proxies) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        Ok(Self {
            listener: TcpListener::from_std(listener)?,
            addr,
            room: Arc::new(Semaphore::new(room(bounds.connections_max))),
            networks: Networks::new(bounds.connections_per_network_max),
            proxies,
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            spares: mpsc::channel(REFUSALS_MAX),
            reserve: File::open("/dev/null").ok(),
        })
    }

    fn admit(&self, peer: SocketAddr) -> Result<Held, Full> {
        let peer = peer.ip().to_canonical();
        // Behind a proxy of ours is everybody; the proxy bounds its clients itself.
        let network = match self.proxies.is_trusted(peer) {
            true => None,
            false => Some(self.networks.enter(peer).ok_or(Full::Network)?),
        };
        let room = self.room.clone().try_acquire_owned().map_err(|_| Full::Room)?;
        Ok(Held::Places { _room: room, _network: network })
    }

    fn refuse(&self, stream: TcpStream, peer: SocketAddr, why: Full) {
        metrics::counter!("http_connections_refused_total", "why" => why.name()).increment(1);
        // Closed without a word where too many are being refused.
        let Ok(permit) = self.refusals.clone().try_acquire_owned() else { return };
        let spares = self.spares.0.clone();
        tokio::spawn(tokio::time::timeout(REFUSAL_MAX, turn_away((stream, peer, permit), why, spares)));
    }

    fn open(&self, stream: TcpStream, peer: SocketAddr, held: Held) -> Opened {
        // A peer that is gone already shows at the first read.
        let _ = stream.set_nodelay(true);
        let connection = Connection::new(stream, held);
        (connection, LocalAddr(self.addr.into()), RemoteAddr(peer.into()), Scheme::HTTP)
    }

    /// Accepting failed. When descriptors have run out all the same, whoever waits is let go by means of the last one.
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

impl Acceptor for Door {
    type Io = Connection;

    fn local_addr(&self) -> Vec<LocalAddr> {
        vec![LocalAddr(self.addr.into())]
    }

    async fn accept(&mut self) -> io::Result<Opened> {
        loop {
            let accepted = tokio::select! {
                Some((stream, peer, permit)) = self.spares.1.recv() => {
                    let held = Held::Spare { _permit: permit, until: Instant::now() + SPARE_MAX };
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

/// Says why there is no place, unless it asks for health, which is answered.
async fn turn_away(mut spare: Spare, why: Full, spares: mpsc::Sender<Spare>) {
    if why == Full::Room && asks_for_health(&spare.0).await {
        let _ = spares.send(spare).await;
        return;
    }
    let stream = &mut spare.0;
    if stream.write_all(&why.answer()).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    // Closing over what was not read would take the answer back.
    let mut unread = [0; 1_024];
    while stream.read(&mut unread).await.is_ok_and(|read| read > 0) {}
}

async fn asks_for_health(stream: &TcpStream) -> bool {
    let mut begin = [0; 16];
    loop {
        let Ok(read) = stream.peek(&mut begin).await else { return false };
        let begin = &begin[..read];
        if HEALTH.iter().any(|asked| begin.starts_with(asked)) {
            return true;
        }
        if read == 0 || !HEALTH.iter().any(|asked| asked.starts_with(begin)) {
            return false;
        }
        // The line is not whole yet, and what was peeked at stays ready.
        tokio::time::sleep(ACCEPT_RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_back_whatever_the_limit_is() {
        assert_eq!(shares(20_000), (18_776, 1_024));
        assert_eq!(shares(1_024), (618, 206));
        assert_eq!(shares(256), (48, 16));
        assert_eq!(room(10), 10);
    }

    #[test]
    fn a_taken_address_is_named_and_without_one_the_next_port_is_found() {
        let first = bind(None).unwrap();
        let second = bind(None).unwrap();
        assert_ne!(first.local_addr().unwrap(), second.local_addr().unwrap());
        let error = bind(Some(first.local_addr().unwrap())).unwrap_err().to_string();
        assert!(error.contains("HTTP_ADDR") && error.contains(&first.local_addr().unwrap().to_string()));
    }
}
