//! A proxy to NATS that delays what one user sends. What other users send, and what NATS sends, passes at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// Starts a proxy to the server on `port`; returns its address, and the delay in milliseconds.
pub async fn start(port: u16, user: &'static str) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let delay = Arc::new(AtomicU64::new(0));
    let delay_ms = delay.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
            tokio::spawn(carry(client, server, user, delay_ms.clone()));
        }
    });
    (url, delay)
}

async fn carry(client: TcpStream, server: TcpStream, user: &'static str, delay: Arc<AtomicU64>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let (sender, mut in_flight) = tokio::sync::mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = in_flight.recv().await {
            tokio::time::sleep_until(due).await;
            if to_server.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    // A client sends its user in its first line.
    let name = format!("\"user\":\"{user}\"");
    let (mut chunk, mut is_delayed) = (vec![0; 64 * 1024], false);
    while let Ok(read @ 1..) = from_client.read(&mut chunk).await {
        let by = if is_delayed { delay.load(Ordering::SeqCst) } else { 0 };
        let due = Instant::now() + Duration::from_millis(by);
        is_delayed |= chunk[..read].windows(name.len()).any(|window| window == name.as_bytes());
        if sender.send((due, chunk[..read].to_vec())).is_err() {
            return;
        }
    }
}
