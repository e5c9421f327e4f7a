//! TCP connections that can be cut before the first byte of an answer, for the `answer_lost` switch.
//! A failing body would not be enough: hyper still sends the head, and a client that has received `200` knows the outcome.

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

use crate::lock;

/// The open connections by peer address.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<HashMap<SocketAddr, Arc<AtomicBool>>>>);

impl Connections {
    /// Cuts a connection: nothing more is sent on it.
    pub fn cut(&self, peer: &RemoteAddr) {
        let cut = peer.as_socket_addr().and_then(|peer| lock(&self.0).get(peer).cloned());
        if let Some(cut) = cut {
            cut.store(true, Ordering::Release);
        }
    }
}

pub struct CuttableListener {
    pub listener: TcpListener,
    pub addr: SocketAddr,
    pub connections: Connections,
}

impl Acceptor for CuttableListener {
    type Io = CuttableConnection;

    fn local_addr(&self) -> Vec<LocalAddr> {
        vec![LocalAddr(self.addr.into())]
    }

    async fn accept(&mut self) -> Result<(CuttableConnection, LocalAddr, RemoteAddr, Scheme)> {
        let (stream, peer) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        let cut = Arc::new(AtomicBool::new(false));
        lock(&self.connections.0).insert(peer, cut.clone());
        let wire = CuttableConnection { stream, cut, peer, connections: self.connections.clone() };
        Ok((wire, LocalAddr(self.addr.into()), RemoteAddr(peer.into()), Scheme::HTTP))
    }
}

pub struct CuttableConnection {
    stream: TcpStream,
    cut: Arc<AtomicBool>,
    peer: SocketAddr,
    connections: Connections,
}

impl Drop for CuttableConnection {
    fn drop(&mut self) {
        let mut connections = lock(&self.connections.0);
        // A newer connection may have the same peer address.
        if connections.get(&self.peer).is_some_and(|cut| Arc::ptr_eq(cut, &self.cut)) {
            connections.remove(&self.peer);
        }
    }
}

impl AsyncRead for CuttableConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for CuttableConnection {
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
