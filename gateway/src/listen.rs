//! The listening socket: which port, how many connections, how long a silent one is kept.
//!
//! Poem's own listener leaves Nagle's algorithm on (40 ms for small answers on a kept connection), spins when the
//! process is out of file descriptors, and its idle timer wakes a task at every read; hence this one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::{Context as _, bail};
use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Open connections: some 20 KiB each with their buffers, so at most 320 MiB under attack. More wait in the backlog.
const CONNECTIONS_MAX: usize = 16_384;
/// A connection on which nothing moves is closed after this: longer than the longest `?wait` (30 s), than the
/// heartbeat of a live seat map (15 s), and than the 60 s after which common proxies give up a connection.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// Without file descriptors accepting fails at once, over and over; others need time to close theirs.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
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

/// Takes connections for Poem's server.
pub struct Door {
    listener: TcpListener,
    addr: SocketAddr,
    room: Arc<Semaphore>,
}

impl Door {
    pub fn new(listener: StdListener) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Ok(Self { listener: TcpListener::from_std(listener)?, addr, room })
    }
}

impl Acceptor for Door {
    type Io = Connection;

    fn local_addr(&self) -> Vec<LocalAddr> {
        vec![LocalAddr(self.addr.into())]
    }

    async fn accept(&mut self) -> io::Result<(Connection, LocalAddr, RemoteAddr, Scheme)> {
        let permit = self.room.clone().acquire_owned().await.map_err(io::Error::other)?;
        match self.listener.accept().await {
            Ok((stream, peer)) => {
                // A peer that is gone already shows at the first read.
                let _ = stream.set_nodelay(true);
                let connection = Connection::new(stream, permit);
                Ok((connection, LocalAddr(self.addr.into()), RemoteAddr(peer.into()), Scheme::HTTP))
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                Err(error)
            }
        }
    }
}

/// A connection that ends by itself after a long silence.
pub struct Connection {
    stream: TcpStream,
    moved: Instant,
    silence: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, permit: OwnedSemaphorePermit) -> Self {
        let silence = Box::pin(tokio::time::sleep(SILENCE_MAX));
        Self { stream, moved: Instant::now(), silence, _permit: permit }
    }

    /// Ready when nothing has moved for [`SILENCE_MAX`]. The timer is set anew only when it fires, not at every byte.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.silence.as_mut().poll(cx));
            let due = self.moved + SILENCE_MAX;
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            self.silence.as_mut().reset(due);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Pending => {
                ready!(self.poll_silence(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            moved => {
                self.moved = Instant::now();
                moved
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.moved = Instant::now();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, parts));
        self.moved = Instant::now();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_is_named_and_without_one_the_next_port_is_found() {
        let first = bind(None).unwrap();
        let second = bind(None).unwrap();
        assert_ne!(first.local_addr().unwrap(), second.local_addr().unwrap());
        let error = bind(Some(first.local_addr().unwrap())).unwrap_err().to_string();
        assert!(error.contains("HTTP_ADDR") && error.contains(&first.local_addr().unwrap().to_string()));
    }
}
