//! The limit of open files: how high it is, and how a gateway behaves near it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use marquee::local::temporary_password;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cinema::TestCinema;

/// Long enough for a busy machine; only a failing test waits so long.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// A process that is killed at the end of the test.
struct Process(Child);

impl Process {
    /// Starts the program with a limit of open files, set by `ulimit`.
    fn start(limit: &str, arguments: &str, environment: &[(&str, String)]) -> Self {
        let program = env!("CARGO_BIN_EXE_marquee");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit {limit} && exec {program} {arguments}")]);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(what: &str, fact: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !fact().await {
        assert!(began.elapsed() < MAX_WAIT, "not within {MAX_WAIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn free_addr() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_program_raises_its_open_file_limit_to_the_hard_limit() {
    let folder = marquee::local::Folder::temporary().unwrap();
    let arguments = format!("sandbox --addr 127.0.0.1:0 --log {}/books", folder.path().display());
    let secrets =
        [("PAYMENT_API_KEY", "sk_test_x".to_owned()), ("PAYMENT_WEBHOOK_SECRET", "whsec_x".to_owned())];
    let process = Process::start("-Sn 256", &arguments, &secrets);
    let limits = format!("/proc/{}/limits", process.0.id());
    let current = || {
        let limits = std::fs::read_to_string(&limits).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
        let mut numbers = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        (numbers.next().unwrap(), numbers.next().unwrap())
    };
    until("the soft limit is the hard one", async || {
        let (soft, hard) = current();
        soft == hard.min(1 << 20)
    })
    .await;
}

/// Opens a connection and sends a request.
async fn send_request(addr: &str, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes()).await.unwrap();
    client
}

/// The status of the answer; `None` when the connection is closed without one.
async fn status(client: &mut TcpStream) -> Option<String> {
    let mut begin = [0; 12];
    let reading = client.read_exact(&mut begin);
    let read = tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .expect("an answer or the end of the connection");
    read.is_ok().then(|| String::from_utf8_lossy(&begin[9..]).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_near_its_open_file_limit_still_answers_health_requests() {
    let cinema = TestCinema::open().await;
    let (addr, health) = (free_addr(), free_addr());
    let environment = [
        ("NATS_URL", cinema.nats.url()),
        ("NATS_PASSWORD", temporary_password().to_owned()),
        ("HTTP_ADDR", addr.clone()),
        ("HEALTH_ADDR", health.clone()),
    ];
    let _gateway = Process::start("-n 256", "gateway", &environment);
    let get =
        async |url: String| cinema.http.get(url).send().await.map(|answer| answer.status().as_u16()).ok();
    until("the gateway is ready", async || get(format!("http://{health}/health/ready")).await == Some(200))
        .await;
    let showtime = &cinema.showtime;
    let events = format!("/v1/showtimes/{showtime}/seats/events");
    let mut clients = Vec::new();
    for _ in 0..150 {
        clients.push(send_request(&addr, &events).await);
    }
    let mut statuses = Vec::new();
    for client in &mut clients {
        statuses.push(status(client).await);
    }
    let served = statuses.iter().filter(|status| status.as_deref() == Some("200")).count();
    assert!((40..=48).contains(&served), "{statuses:?}");
    assert!(
        statuses[..40].iter().all(Option::is_some) && statuses.contains(&Some("503".into())),
        "{statuses:?}"
    );
    // Health is answered at both addresses once the refused clients have disconnected.
    assert_eq!(get(format!("http://{health}/health/ready")).await, Some(200));
    assert_eq!(get(format!("http://{health}/metrics")).await, Some(200));
    until("health is answered at the public address", async || {
        status(&mut send_request(&addr, "/health/ready").await).await.as_deref() == Some("200")
    })
    .await;
    drop(clients);
    until("other requests are answered again", async || {
        get(format!("http://{addr}/v1/genres")).await == Some(200)
    })
    .await;
    cinema.close().await;
}
