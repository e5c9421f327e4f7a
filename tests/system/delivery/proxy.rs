//! A proxy to Postgres that cuts connections at the worst moments: at a commit, and at the answer to the query whether
//! that commit succeeded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How often a connection was cut, by the place of the cut.
#[derive(Debug, Default)]
pub struct Cuts {
    pub before_commit: AtomicUsize,
    pub after_commit: AtomicUsize,
    pub after_query: AtomicUsize,
    commits: AtomicUsize,
    queries: AtomicUsize,
}

/// Starts the proxy. It cuts every third commit before it reaches Postgres and every third one before its answer arrives;
/// and every second query for the outcome of a commit, before its answer arrives.
pub async fn start(port: u16) -> (u16, Arc<Cuts>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let cuts = Arc::new(Cuts::default());
    let counting = cuts.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
            tokio::spawn(carry(client, server, counting.clone()));
        }
    });
    (own, cuts)
}

async fn carry(mut client: TcpStream, mut server: TcpStream, cuts: Arc<Cuts>) {
    let (mut from_client, mut from_server) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    // sqlx parses a statement once and refers to it afterwards, so the query is recognized by the statement before it.
    let mut is_queried = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let bytes = match read {
                    Ok(n) if n > 0 => &from_client[..n],
                    _ => return,
                };
                let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
                // A batch that is a single statement has no COMMIT; it is recognized by the subject of its events.
                let is_commit = has(b"COMMIT\0") || has(b"movie.probed");
                let is_query = has(b"is_question, questions) values");
                let turn = if is_commit { cuts.commits.fetch_add(1, Ordering::SeqCst) % 3 } else { 2 };
                if turn == 0 {
                    cuts.before_commit.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
                if turn == 1 {
                    // Half of the cuts wait for the answer of Postgres, the others are made during the commit.
                    if cuts.after_commit.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                        let _ = server.read(&mut from_server).await;
                    }
                    return;
                }
                is_queried |= is_query;
            }
            read = server.read(&mut from_server) => {
                let bytes = match read {
                    Ok(n) if n > 0 => &from_server[..n],
                    _ => return,
                };
                // "INSERT 0 1" is the answer to the query, which inserts a row.
                let answered = is_queried && bytes.windows(10).any(|window| window == b"INSERT 0 1");
                if answered {
                    is_queried = false;
                    if cuts.queries.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                        cuts.after_query.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                }
                if client.write_all(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}
