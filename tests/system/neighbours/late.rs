//! A way to NATS on which what one user sends comes late. What the others send, and all answers, come at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// The address of a way to the server on `port`, and by how many milliseconds it is late.
pub async fn way(port: u16, user: &'static str) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let late = Arc::new(AtomicU64::new(0));
    let by = late.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
            tokio::spawn(carry(client, server, user, by.clone()));
        }
    });
    (url, late)
}

async fn carry(client: TcpStream, server: TcpStream, user: &'static str, late: Arc<AtomicU64>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let (sender, mut under_way) = tokio::sync::mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = under_way.recv().await {
            tokio::time::sleep_until(due).await;
            if to_server.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    // It says who it is in its first line.
    let name = format!("\"user\":\"{user}\"");
    let (mut chunk, mut is_late) = (vec![0; 64 * 1024], false);
    while let Ok(read @ 1..) = from_client.read(&mut chunk).await {
        let by = if is_late { late.load(Ordering::SeqCst) } else { 0 };
        let due = Instant::now() + Duration::from_millis(by);
        is_late |= chunk[..read].windows(name.len()).any(|window| window == name.as_bytes());
        if sender.send((due, chunk[..read].to_vec())).is_err() {
            return;
        }
    }
}
