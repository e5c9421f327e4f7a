//! Over a real socket: reused connections, streams, limits of connections, and graceful shutdown.

use std::time::{Duration, Instant};

use bus::contract::auth::Login;
use bus::contract::movie::ListMovies;
use bus::contract::reservation::GetSeatMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Gateway;
use crate::limit::Bounds;

const EVENTS: &str = "/v1/showtimes/01890a5d-ac96-774b-bcce-b302099a8057/seats/events";

struct Client(TcpStream);

impl Client {
    async fn connect(running: &crate::Running) -> Self {
        Self(TcpStream::connect(running.addr()).await.unwrap())
    }

    async fn send(&mut self, head: &str) {
        self.0.write_all(head.as_bytes()).await.unwrap();
    }

    async fn get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: marquee\r\n\r\n")).await;
    }

    /// Reads until `text` was received, or the connection ends.
    async fn until(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        let reading = async {
            while !String::from_utf8_lossy(&seen).contains(text)
                && self.0.read_buf(&mut seen).await.unwrap() > 0
            {}
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), reading).await;
        let seen = String::from_utf8(seen).unwrap();
        assert!(seen.contains(text), "{text:?} was not received: {seen:?}");
        seen
    }

    /// Whether the gateway closes the connection.
    async fn closes(&mut self) -> bool {
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_secs(5), self.0.read_to_end(&mut rest)).await.is_ok()
    }
}

#[tokio::test]
async fn a_connection_is_reused() {
    let gateway = Gateway::new();
    gateway.set_answer::<ListMovies>("{\"total\":7}");
    let running = gateway.serve();
    let mut client = Client::connect(&running).await;
    let begun = Instant::now();
    for _ in 0..40 {
        client.get("/v1/movies").await;
        client.until("{\"total\":7}").await;
    }
    // With Nagle's algorithm and delayed acks each would take 40 ms.
    assert!(begun.elapsed() < Duration::from_millis(1_200), "{:?}", begun.elapsed());
    running.stop().await;
    assert!(client.closes().await);
}

#[tokio::test]
async fn a_refused_body_is_answered_though_it_is_never_sent() {
    let gateway = Gateway::new();
    let running = gateway.serve();
    let mut client = Client::connect(&running).await;
    client.send("POST /v1/auth/login HTTP/1.1\r\nHost: m\r\nContent-Length: 9999999\r\n\r\n").await;
    assert!(client.until("too-large").await.starts_with("HTTP/1.1 413"));
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_expects_100_gets_413_instead_for_a_large_body() {
    let gateway = Gateway::new();
    gateway.set_answer::<Login>("{}");
    let running = gateway.serve();
    let login = |length: usize| {
        format!(
            "POST /v1/auth/login HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n\
             Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut client = Client::connect(&running).await;
    client.send(&login(9_999_999)).await;
    assert!(client.until("too-large").await.starts_with("HTTP/1.1 413"));
    let body = r#"{"email":"a@b.example","password":"long-enough"}"#;
    let mut client = Client::connect(&running).await;
    client.send(&login(body.len())).await;
    client.until("HTTP/1.1 100").await;
    client.send(body).await;
    client.until("HTTP/1.1 200").await;
    running.stop().await;
}

#[tokio::test]
async fn a_request_must_name_exactly_one_host() {
    let gateway = Gateway::new();
    let running = gateway.serve();
    let live = "/health/live HTTP/1";
    for (request, status) in [
        (format!("GET {live}.1\r\n\r\n"), 400),
        (format!("GET {live}.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400),
        (format!("GET {live}.1\r\nHost: a b\r\n\r\n"), 400),
        (format!("GET {live}.1\r\nHost: a\r\n\r\n"), 200),
        (format!("GET {live}.0\r\n\r\n"), 200),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 204),
    ] {
        let mut client = Client::connect(&running).await;
        client.send(&request).await;
        client.until(&format!(" {status} ")).await;
    }
    running.stop().await;
}

fn bounded(bounds: Bounds) -> Gateway {
    let gateway = Gateway::bounded(bounds);
    gateway.set_answer::<ListMovies>("{\"total\":7}");
    gateway
}

#[tokio::test]
async fn beyond_the_capacity_connections_are_refused_at_once_and_health_is_answered() {
    let gateway = bounded(Bounds { connections_max: 2, ..Bounds::default() });
    let running = gateway.serve();
    let mut inside = [Client::connect(&running).await, Client::connect(&running).await];
    for client in &mut inside {
        client.get("/v1/movies").await;
        client.until("{\"total\":7}").await;
    }
    let mut refused_client = Client::connect(&running).await;
    refused_client.get("/v1/movies").await;
    let refused = refused_client.until("\"code\":\"connections\"").await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("Retry-After: 1\r\n"), "{refused}");
    assert!(refused_client.closes().await);
    let mut probe = Client::connect(&running).await;
    probe.get("/health/live").await;
    probe.until("{\"live\":true}").await;
    let [mut kept, left] = inside;
    drop(left);
    kept.get("/v1/movies").await;
    kept.until("{\"total\":7}").await;
    // The place is released when the gateway has noticed that its client disconnected.
    let served = async {
        loop {
            let mut client = Client::connect(&running).await;
            client.get("/v1/movies").await;
            if client.until("HTTP/1.1 ").await.contains(" 200 ") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), served)
        .await
        .expect("a closed connection releases its place");
    running.stop().await;
}

#[tokio::test]
async fn the_connections_of_one_network_are_limited() {
    let gateway = bounded(Bounds { connections_per_network_max: Some(1), ..Bounds::default() });
    let running = gateway.serve();
    let mut first = Client::connect(&running).await;
    first.get("/v1/movies").await;
    first.until("{\"total\":7}").await;
    let mut second = Client::connect(&running).await;
    second.get("/v1/movies").await;
    assert!(second.until("\"code\":\"connections\"").await.starts_with("HTTP/1.1 429 "));
    running.stop().await;
}

#[tokio::test]
async fn stopping_ends_streams_at_once_and_lets_requests_end() {
    let gateway = Gateway::new();
    gateway
        .set_answer::<GetSeatMap>("{\"sequence\":3,\"seats\":[]}")
        .set_answer::<ListMovies>("{\"total\":7}");
    let running = gateway.serve();
    let mut watching = Client::connect(&running).await;
    watching.get(EVENTS).await;
    watching.until("event: snapshot").await;
    gateway.delay_answers(Duration::from_millis(500));
    let mut asking = Client::connect(&running).await;
    asking.get("/v1/movies").await;
    while gateway.received().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let begun = Instant::now();
    let (addr, stopping) = (running.addr(), running.stop());
    let (_, closed, answer) = tokio::join!(stopping, watching.closes(), asking.until("{\"total\":7}"));
    assert!(closed && answer.starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(TcpStream::connect(addr).await.is_err(), "no further connection is accepted");
}

#[tokio::test]
async fn a_draining_gateway_is_not_ready_and_serves_with_connection_close_until_it_stops() {
    let gateway = Gateway::new();
    gateway
        .set_answer::<GetSeatMap>("{\"sequence\":3,\"seats\":[]}")
        .set_answer::<ListMovies>("{\"total\":7}");
    let running = gateway.serve();
    let mut watching = Client::connect(&running).await;
    watching.get(EVENTS).await;
    watching.until("event: snapshot").await;
    let mut kept = Client::connect(&running).await;
    kept.get("/v1/movies").await;
    assert!(!kept.until("{\"total\":7}").await.to_lowercase().contains("connection: close"));

    running.drain().await;
    // A connection that was open before, and a new one.
    for mut client in [kept, Client::connect(&running).await] {
        client.get("/v1/movies").await;
        let answer = client.until("{\"total\":7}").await.to_lowercase();
        assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{answer}");
        assert!(client.closes().await);
    }
    let mut asking = Client::connect(&running).await;
    asking.get("/health/ready").await;
    let answer = asking.until("not-ready").await.to_lowercase();
    assert!(answer.starts_with("http/1.1 503") && answer.contains("connection: close"), "{answer}");
    // What was sent before is read first.
    let mut rest = [0; 4_096];
    while let Ok(read) = tokio::time::timeout(Duration::from_millis(100), watching.0.read(&mut rest)).await {
        assert!(read.unwrap() > 0, "streams go on while the gateway drains");
    }
    let (_, closed) = tokio::join!(running.stop(), watching.closes());
    assert!(closed);
}
