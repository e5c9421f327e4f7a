//! TCP connections that can be cut before an answer's first byte, for the `answer_lost` switch.
//! A failing body would not do: hyper still flushes the head, and a client that has seen `200` knows something.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::held;

/// The open connections by their other end.
#[derive(Clone, Default)]
pub struct Wires(Arc<Mutex<HashMap<SocketAddr, Arc<AtomicBool>>>>);

impl Wires {
    /// Nothing is sent on this connection any more.
    pub fn cut(&self, peer: &RemoteAddr) {
        let cut = peer.as_socket_addr().and_then(|peer| held(&self.0).get(peer).cloned());
        if let Some(cut) = cut {
            cut.store(true, Ordering::Release);
        }
    }
}

pub struct Gate {
    pub listener: TcpListener,
    pub addr: SocketAddr,
    pub wires: Wires,
}

impl Acceptor for Gate {
    type Io = Wire;

    fn local_addr(&self) -> Vec<LocalAddr> {
        vec![LocalAddr(self.addr.into())]
    }

    async fn accept(&mut self) -> Result<(Wire, LocalAddr, RemoteAddr, Scheme)> {
        let (stream, peer) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        let cut = Arc::new(AtomicBool::new(false));
        held(&self.wires.0).insert(peer, cut.clone());
        let wire = Wire { stream, cut, peer, wires: self.wires.clone() };
        Ok((wire, LocalAddr(self.addr.into()), RemoteAddr(peer.into()), Scheme::HTTP))
    }
}

pub struct Wire {
    stream: TcpStream,
    cut: Arc<AtomicBool>,
    peer: SocketAddr,
    wires: Wires,
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut wires = held(&self.wires.0);
        // The peer's port may be in use again, by a newer connection.
        if wires.get(&self.peer).is_some_and(|known| Arc::ptr_eq(known, &self.cut)) {
            wires.remove(&self.peer);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.cut.load(Ordering::Acquire) {
            return Poll::Ready(Err(Error::from(ErrorKind::ConnectionAborted)));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
