//! A wire to Postgres that is cut at the worst moments: at a commit, and at the answer to the question how that commit
//! went.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How often the wire was cut, by where.
#[derive(Debug, Default)]
pub struct Cuts {
    pub before_commit: AtomicUsize,
    pub after_commit: AtomicUsize,
    pub after_question: AtomicUsize,
    commits: AtomicUsize,
    questions: AtomicUsize,
}

/// Every third commit is cut before it reaches Postgres, every third after it, without its answer; and of the questions
/// every second, after it has reached Postgres.
pub async fn cutting(port: u16) -> (u16, Arc<Cuts>) {
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
    // sqlx parses a statement once and then refers to it, so the question is known by its place: after this.
    let mut questioned = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let bytes = match read {
                    Ok(n) if n > 0 => &from_client[..n],
                    _ => return,
                };
                let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
                // A batch of one statement is told by the event that it writes.
                let is_commit = has(b"COMMIT\0") || has(b"movie.probed");
                let is_question = has(b"is_question, questions) values");
                let turn = if is_commit { cuts.commits.fetch_add(1, Ordering::SeqCst) % 3 } else { 2 };
                if turn == 0 {
                    cuts.before_commit.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
                if turn == 1 {
                    // Some of the answers are on their way when the wire is cut, some commits still under way.
                    if cuts.after_commit.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                        let _ = server.read(&mut from_server).await;
                    }
                    return;
                }
                questioned |= is_question;
            }
            read = server.read(&mut from_server) => {
                let bytes = match read {
                    Ok(n) if n > 0 => &from_server[..n],
                    _ => return,
                };
                // "INSERT 0 1": the question has made its row.
                let answered = questioned && bytes.windows(10).any(|window| window == b"INSERT 0 1");
                if answered {
                    questioned = false;
                    if cuts.questions.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                        cuts.after_question.fetch_add(1, Ordering::SeqCst);
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
