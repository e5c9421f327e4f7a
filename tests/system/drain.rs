//! A gateway process that is asked to end: it is not ready at once, goes on serving for `DRAIN_SECONDS`, and ends then. Systemd is
//! notified of both.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use marquee::local::{Folder, temporary_password};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixDatagram};

use crate::cinema::TestCinema;

/// Long enough for a busy machine; only a failing test waits so long.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How long the gateway of these tests drains.
const DRAIN: Duration = Duration::from_secs(4);

/// A gateway that is killed at the end of the test.
struct Gateway {
    child: Child,
    addr: String,
    health: String,
}

impl Gateway {
    async fn start(cinema: &TestCinema, drain_seconds: u64) -> Self {
        Self::start_with(cinema, &[("DRAIN_SECONDS", drain_seconds.to_string())]).await
    }

    async fn start_with(cinema: &TestCinema, settings: &[(&str, String)]) -> Self {
        let free_addr =
            || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (addr, health) = (free_addr(), free_addr());
        let mut command = Command::new(env!("CARGO_BIN_EXE_marquee"));
        command.arg("gateway").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
            .env("NATS_URL", cinema.nats.url())
            .env("NATS_PASSWORD", temporary_password())
            .env("HTTP_ADDR", &addr)
            .env("HEALTH_ADDR", &health)
            .envs(settings.iter().map(|(name, value)| (name, value)));
        let gateway = Self { child: command.spawn().unwrap(), addr, health };
        let began = Instant::now();
        while gateway.readiness(cinema).await != Some(200) {
            assert!(began.elapsed() < MAX_WAIT, "the gateway is not ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gateway
    }

    /// The status of `/health/ready` at `HEALTH_ADDR`, if it answers.
    async fn readiness(&self, cinema: &TestCinema) -> Option<u16> {
        let answer = cinema.http.get(format!("http://{}/health/ready", self.health)).send().await;
        answer.ok().map(|answer| answer.status().as_u16())
    }

    fn terminate(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < MAX_WAIT, "the gateway does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.addr).await.unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request and reads until `end` was received, or the gateway closes the connection. In lower case.
async fn get(client: &mut TcpStream, path: &str, end: &str) -> String {
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: kino\r\n\r\n").as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&seen).to_lowercase().contains(end)
            && client.read_buf(&mut seen).await.unwrap() > 0
        {}
    };
    let _ = tokio::time::timeout(MAX_WAIT, reading).await;
    let seen = String::from_utf8_lossy(&seen).to_lowercase();
    assert!(seen.contains(end), "{path}: {end:?} was not received: {seen}");
    seen
}

/// Whether the gateway has closed the connection.
async fn is_closed(client: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    matches!(tokio::time::timeout(MAX_WAIT, client.read_to_end(&mut rest)).await, Ok(Ok(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_asked_to_end_is_not_ready_and_serves_until_balancers_have_noticed() {
    let cinema = TestCinema::open().await;
    let mut gateway = Gateway::start(&cinema, DRAIN.as_secs()).await;
    let mut watching = gateway.connect().await;
    let events = format!("/v1/showtimes/{}/seats/events", cinema.showtime);
    get(&mut watching, &events, "event: snapshot").await;
    let mut kept = gateway.connect().await;
    let before = get(&mut kept, "/health/live", "{\"live\":true}").await;
    assert!(!before.contains("connection: close"), "{before}");

    let began = Instant::now();
    gateway.terminate();
    while gateway.readiness(&cinema).await != Some(503) {
        assert!(began.elapsed() < DRAIN, "it is still ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The connection that was open before, and a new one.
    for mut client in [kept, gateway.connect().await] {
        let answer = get(&mut client, "/v1/genres", "\r\n\r\n").await;
        assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{answer}");
        assert!(is_closed(&mut client).await);
    }
    assert!(gateway.child.try_wait().unwrap().is_none(), "it serves for all of DRAIN_SECONDS");
    // The live stream ends with the drain, not before it.
    assert!(is_closed(&mut watching).await);
    assert!(began.elapsed() >= DRAIN, "the stream ended after {:?}", began.elapsed());
    let status = gateway.ended().await;
    assert!(status.success(), "{status}");
    assert!(TcpStream::connect(&gateway.addr).await.is_err());
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_draining_at_once() {
    let cinema = TestCinema::open().await;
    let mut gateway = Gateway::start(&cinema, 300).await;
    gateway.terminate();
    let began = Instant::now();
    while gateway.readiness(&cinema).await != Some(503) {
        assert!(began.elapsed() < MAX_WAIT, "it is still ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway.terminate();
    let status = gateway.ended().await;
    assert!(status.success() && began.elapsed() < MAX_WAIT, "{status} after {:?}", began.elapsed());
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_is_notified_when_a_gateway_serves_and_when_it_drains() {
    let cinema = TestCinema::open().await;
    let folder = Folder::temporary().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let settings = [("DRAIN_SECONDS", "1".to_owned()), ("NOTIFY_SOCKET", path.display().to_string())];
    let mut gateway = Gateway::start_with(&cinema, &settings).await;
    assert_eq!(notice(&manager).await, "READY=1\n");
    gateway.terminate();
    assert_eq!(notice(&manager).await, "STOPPING=1\n");
    let status = gateway.ended().await;
    assert!(status.success(), "{status}");
    cinema.close().await;
}

async fn notice(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    let received = tokio::time::timeout(MAX_WAIT, manager.recv(&mut bytes)).await;
    String::from_utf8_lossy(&bytes[..received.expect("a notice").unwrap()]).into_owned()
}
