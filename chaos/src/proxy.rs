//! A TCP proxy between two parts of the deployment that can slow down, drop, half-open or reset the connections.
//!
//! It keeps the guarantees of TCP: every received byte is delivered later, or its connection is reset. So "dropping" means
//! that nothing is delivered until the fault is over, as with lost packets that are sent again.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// Bytes forwarded at once: small enough to slow down long answers too.
const CHUNK: usize = 16 * 1024;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The state of a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Normal,
    /// Every chunk is delayed.
    Slow(Duration),
    /// Nothing is forwarded in either direction; connections stay open.
    Dropping,
    /// Only requests are forwarded.
    OneWay,
    /// The connection to the target is closed and the client does not notice.
    HalfOpen,
    /// Connections are reset, new ones too.
    Reset,
}

/// A proxy from one part to another.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub name: String,
    pub addr: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
}

impl Proxy {
    /// Listens on a free port; each connection goes to the first of `targets` that accepts it.
    pub async fn open(name: impl Into<String>, targets: Vec<SocketAddr>) -> Result<Self> {
        Self::open_at(Ipv4Addr::LOCALHOST, name, watch::channel(targets).1).await
    }

    /// The same at another address of this machine, with targets that change: the connections to a target that is no more
    /// among them are reset.
    pub async fn open_at(
        ip: Ipv4Addr,
        name: impl Into<String>,
        targets: watch::Receiver<Vec<SocketAddr>>,
    ) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let addr = listener.local_addr()?;
        let (mode, watched) = watch::channel(Mode::Normal);
        tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    // There are no free file descriptors at the moment.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                tokio::spawn(carry(client, targets.clone(), watched.clone()));
            }
        });
        Ok(Self { name: name.into(), addr, mode: Arc::new(mode) })
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.addr)
    }
}

/// Makes the connection reset instead of close when the stream is dropped.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn carry(
    mut client: TcpStream,
    mut targets: watch::Receiver<Vec<SocketAddr>>,
    mut mode: watch::Receiver<Mode>,
) {
    let _ = client.set_nodelay(true);
    if *mode.borrow_and_update() == Mode::Reset {
        return reset(&client);
    }
    let current = targets.borrow_and_update().clone();
    let mut connected = None;
    for target in current {
        // A machine that is cut off does not even refuse.
        if let Ok(Ok(stream)) = timeout(CONNECT_WITHIN, TcpStream::connect(target)).await {
            connected = Some((target, stream));
            break;
        }
    }
    let Some((target, mut target_stream)) = connected else { return reset(&client) };
    let _ = target_stream.set_nodelay(true);
    {
        let ((from_client, to_client), (from_target, to_target)) = (client.split(), target_stream.split());
        tokio::select! {
            _ = async { tokio::try_join!(
                pump(from_client, to_target, mode.clone(), true),
                pump(from_target, to_client, mode.clone(), false),
            ) } => {}
            () = until_broken(mode.clone()) => {}
            () = until_replaced(target, targets) => {
                reset(&client);
                reset(&target_stream);
                return;
            }
        }
    }
    let ended_by = *mode.borrow_and_update();
    match ended_by {
        Mode::HalfOpen => {
            drop(target_stream);
            let _ = mode.wait_for(|mode| *mode != Mode::HalfOpen).await;
            reset(&client);
        }
        Mode::Reset => {
            reset(&client);
            reset(&target_stream);
        }
        _ => {}
    }
}

/// Waits until the target is no more among those of the proxy.
async fn until_replaced(target: SocketAddr, mut targets: watch::Receiver<Vec<SocketAddr>>) {
    if targets.wait_for(|targets| !targets.contains(&target)).await.is_err() {
        // The targets of this proxy never change.
        std::future::pending::<()>().await;
    }
}

/// Waits until the mode breaks the connections.
async fn until_broken(mut mode: watch::Receiver<Mode>) {
    // The sender exists as long as the deployment.
    let _ = mode.wait_for(|mode| matches!(mode, Mode::Reset | Mode::HalfOpen)).await;
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut mode: watch::Receiver<Mode>,
    is_request: bool,
) -> std::io::Result<()> {
    let passes = |mode: &Mode| match mode {
        Mode::Normal | Mode::Slow(_) => true,
        Mode::OneWay => is_request,
        Mode::Dropping | Mode::HalfOpen | Mode::Reset => false,
    };
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        // The end of a direction is forwarded like data.
        let Ok(mode) = mode.wait_for(passes).await.map(|mode| *mode) else { return Ok(()) };
        if let Mode::Slow(delay) = mode {
            tokio::time::sleep(delay).await;
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        addr
    }

    async fn exchange(stream: &mut TcpStream, word: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(word).await?;
        let mut answer = vec![0; word.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_proxy_delays_bytes_and_delivers_them_later_or_resets() {
        let proxy = Proxy::open("echo", vec![echo().await]).await.unwrap();
        let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
        assert_eq!(exchange(&mut stream, b"one").await.unwrap(), b"one");
        for mode in [Mode::Dropping, Mode::OneWay] {
            proxy.set(mode);
            let waited =
                tokio::time::timeout(Duration::from_millis(200), exchange(&mut stream, b"two")).await;
            assert!(waited.is_err(), "{mode:?} lets answers through");
            proxy.set(Mode::Normal);
            let mut late = [0; 3];
            stream.read_exact(&mut late).await.unwrap();
            assert_eq!(&late, b"two", "delayed bytes arrive after {mode:?}");
        }
        proxy.set(Mode::HalfOpen);
        let silent = tokio::time::timeout(Duration::from_millis(200), exchange(&mut stream, b"six")).await;
        assert!(silent.is_err(), "the client does not notice");
        proxy.set(Mode::Normal);
        assert!(exchange(&mut stream, b"six").await.is_err(), "afterwards the connection is closed");
        proxy.set(Mode::Reset);
        let mut new = TcpStream::connect(proxy.addr).await.unwrap();
        assert!(exchange(&mut new, b"ten").await.is_err());
    }

    #[tokio::test]
    async fn connections_to_a_target_that_is_replaced_are_reset() {
        let (first, second) = (echo().await, echo().await);
        let (targets, watched) = watch::channel(vec![first]);
        let proxy = Proxy::open_at(Ipv4Addr::LOCALHOST, "test", watched).await.unwrap();
        let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
        assert_eq!(exchange(&mut stream, b"one").await.unwrap(), b"one");
        targets.send_replace(vec![second]);
        assert!(stream.read_exact(&mut [0; 1]).await.is_err(), "the old connection is reset");
        let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
        assert_eq!(exchange(&mut stream, b"two").await.unwrap(), b"two");
        targets.send_replace(Vec::new());
        assert!(stream.read_exact(&mut [0; 1]).await.is_err());
        let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
        assert!(exchange(&mut stream, b"six").await.is_err(), "there is no target");
    }
}
