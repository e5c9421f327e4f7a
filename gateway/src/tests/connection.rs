//! A connection's deadlines, with a client at the other end of a real socket and a clock that is moved by hand.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, advance, pause, resume, sleep};

use crate::connection::{Connection, Held};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Both ends.
async fn connection() -> (Connection, TcpStream) {
    resume();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    pause();
    (Connection::new(stream, Held::Places { _permit: permit, _network: None }), client)
}

/// What the client sends, as the server reads it. The clock that is stopped would jump to the next deadline instead of
/// waiting for the kernel.
async fn pass(client: &mut TcpStream, server: &mut Connection, bytes: &[u8]) -> std::io::Result<()> {
    resume();
    client.write_all(bytes).await.unwrap();
    let mut read = vec![0; bytes.len()];
    let read = server.read_exact(&mut read).await.map(drop);
    pause();
    read
}

/// How long it takes until a read ends by a deadline.
async fn cut(server: &mut Connection) -> Duration {
    let begun = Instant::now();
    assert_eq!(server.read_u8().await.unwrap_err().kind(), ErrorKind::TimedOut);
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_cut_off_however_its_bytes_are_spread() {
    let (mut server, mut client) = connection().await;
    pass(&mut client, &mut server, b"GET / HT").await.unwrap();
    for _ in 0..2 {
        advance(seconds(6)).await;
        pass(&mut client, &mut server, b"x").await.unwrap();
    }
    assert!(cut(&mut server).await < seconds(4));
    // Bytes that come in time for a read, and too late for the head.
    let (mut server, mut client) = connection().await;
    pass(&mut client, &mut server, b"\r\n\r\nGET").await.unwrap();
    advance(seconds(16)).await;
    assert!(pass(&mut client, &mut server, b" ").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn every_head_has_its_own_deadline_and_a_body_none() {
    let (mut server, mut client) = connection().await;
    for _ in 0..3 {
        pass(&mut client, &mut server, HEAD).await.unwrap();
        // A body, and an answer that takes its time; a film comes after `100 Continue`.
        server.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        for _ in 0..5 {
            advance(seconds(10)).await;
            pass(&mut client, &mut server, b"body").await.unwrap();
        }
        server.write_all(ANSWER).await.unwrap();
        advance(seconds(40)).await;
    }
    pass(&mut client, &mut server, b"GET").await.unwrap();
    let took = cut(&mut server).await;
    assert!(took > seconds(14) && took < seconds(16), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_outlives_every_answer() {
    let (mut server, mut client) = connection().await;
    pass(&mut client, &mut server, HEAD).await.unwrap();
    let took = cut(&mut server).await;
    assert!(took > seconds(74) && took < seconds(76), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_never_answered_count_as_idle() {
    let (mut server, mut client) = connection().await;
    pass(&mut client, &mut server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    for _ in 0..4 {
        server.write_all(b"frame").await.unwrap();
        pass(&mut client, &mut server, b"frame").await.unwrap();
        advance(seconds(30)).await;
    }
    for _ in 0..4 {
        pass(&mut client, &mut server, b"f").await.unwrap();
        advance(seconds(10)).await;
    }
    assert!(cut(&mut server).await < seconds(40));
}

/// How a large answer ends for a client that reads so many bytes every five seconds.
async fn send_to(reader: usize) -> (std::io::Result<()>, Duration) {
    let (mut server, mut client) = connection().await;
    pass(&mut client, &mut server, HEAD).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut piece = vec![0; reader.max(1)];
        loop {
            sleep(seconds(5)).await;
            if reader > 0 && client.read(&mut piece).await.is_ok_and(|read| read == 0) {
                return;
            }
        }
    });
    let begun = Instant::now();
    let sent = server.write_all(&vec![7; 32 * 1024 * 1024]).await;
    reading.abort();
    (sent, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_read_its_answer_or_too_slowly_is_closed() {
    for drops in [0, 1, 512] {
        let (sent, took) = send_to(drops).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::TimedOut, "{drops}");
        assert!(took >= seconds(59) && took <= seconds(121), "{drops}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_connection_gets_its_whole_answer() {
    let (sent, took) = send_to(4 * 1024 * 1024).await;
    sent.unwrap();
    assert!(took > seconds(20), "{took:?}: it had to wait for its reader");
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_nothing_but_its_heartbeat_stays_open() {
    let (mut server, mut client) = connection().await;
    pass(&mut client, &mut server, HEAD).await.unwrap();
    let mut seen = [0; 3];
    for _ in 0..100 {
        server.write_all(b":\n\n").await.unwrap();
        server.flush().await.unwrap();
        resume();
        client.read_exact(&mut seen).await.unwrap();
        pause();
        let waiting = tokio::time::timeout(seconds(15), server.read_u8()).await;
        assert!(waiting.is_err(), "{waiting:?}");
    }
}
