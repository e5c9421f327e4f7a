//! A TCP proxy between two parts of the house, which can be slow, stuck, cut in one direction, half open or gone.
//!
//! What TCP itself would do is kept: a byte that was taken is delivered later or its connection is reset, never skipped; so
//! "drop" means that nothing gets through until the fault is over, as with lost packets that are sent again.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes carried at once: small enough that a slow link is slow for long answers too.
const CHUNK: usize = 16 * 1024;

/// How a link is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Well,
    /// Every chunk waits so long.
    Slow(Duration),
    /// Nothing gets through, in either direction; connections stay open.
    Dropping,
    /// Only answers are lost.
    OneWay,
    /// The far side is closed and the near side is not told.
    HalfOpen,
    /// Connections are reset, new ones too.
    Reset,
}

/// A proxied way from one part to another.
#[derive(Clone, Debug)]
pub struct Link {
    pub name: String,
    pub addr: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
}

impl Link {
    /// Listens on a free port; each connection goes to the first of `targets` that takes it.
    pub async fn open(name: impl Into<String>, targets: Vec<SocketAddr>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let (mode, seen) = watch::channel(Mode::Well);
        tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else {
                    // Out of file descriptors: they come back.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                tokio::spawn(carry(near, targets.clone(), seen.clone()));
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

/// Dropped, it resets its connection instead of closing it.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn carry(mut near: TcpStream, targets: Vec<SocketAddr>, mut mode: watch::Receiver<Mode>) {
    let _ = near.set_nodelay(true);
    if *mode.borrow_and_update() == Mode::Reset {
        return reset(&near);
    }
    let mut far = None;
    for target in &targets {
        if let Ok(stream) = TcpStream::connect(target).await {
            far = Some(stream);
            break;
        }
    }
    let Some(mut far) = far else { return reset(&near) };
    let _ = far.set_nodelay(true);
    {
        let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
        tokio::select! {
            _ = async { tokio::try_join!(
                pump(near_in, far_out, mode.clone(), true),
                pump(far_in, near_out, mode.clone(), false),
            ) } => {}
            () = broken(mode.clone()) => {}
        }
    }
    let ended_by = *mode.borrow_and_update();
    match ended_by {
        Mode::HalfOpen => {
            drop(far);
            let _ = mode.wait_for(|mode| *mode != Mode::HalfOpen).await;
            reset(&near);
        }
        Mode::Reset => {
            reset(&near);
            reset(&far);
        }
        _ => {}
    }
}

/// Waits until connections of this link break.
async fn broken(mut mode: watch::Receiver<Mode>) {
    // The sender lives as long as the house.
    let _ = mode.wait_for(|mode| matches!(mode, Mode::Reset | Mode::HalfOpen)).await;
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut mode: watch::Receiver<Mode>,
    outward: bool,
) -> std::io::Result<()> {
    let passes = |mode: &Mode| match mode {
        Mode::Well | Mode::Slow(_) => true,
        Mode::OneWay => outward,
        Mode::Dropping | Mode::HalfOpen | Mode::Reset => false,
    };
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        // The end of a direction is a packet too.
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

    async fn say(stream: &mut TcpStream, word: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(word).await?;
        let mut heard = vec![0; word.len()];
        stream.read_exact(&mut heard).await?;
        Ok(heard)
    }

    #[tokio::test]
    async fn a_link_holds_bytes_back_and_delivers_them_later_or_resets() {
        let link = Link::open("echo", vec![echo().await]).await.unwrap();
        let mut stream = TcpStream::connect(link.addr).await.unwrap();
        assert_eq!(say(&mut stream, b"one").await.unwrap(), b"one");
        for mode in [Mode::Dropping, Mode::OneWay] {
            link.set(mode);
            let waited = tokio::time::timeout(Duration::from_millis(200), say(&mut stream, b"two")).await;
            assert!(waited.is_err(), "{mode:?} lets answers through");
            link.set(Mode::Well);
            let mut late = [0; 3];
            stream.read_exact(&mut late).await.unwrap();
            assert_eq!(&late, b"two", "what was held back came after {mode:?}");
        }
        link.set(Mode::HalfOpen);
        let silent = tokio::time::timeout(Duration::from_millis(200), say(&mut stream, b"six")).await;
        assert!(silent.is_err(), "the near side is not told");
        link.set(Mode::Well);
        assert!(say(&mut stream, b"six").await.is_err(), "after it the connection is gone");
        link.set(Mode::Reset);
        let mut new = TcpStream::connect(link.addr).await.unwrap();
        assert!(say(&mut new, b"ten").await.is_err());
    }
}
