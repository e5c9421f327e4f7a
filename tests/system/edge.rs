//! What clients can take from a gateway: files that may be open, and what the payment provider's route lets through.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use marquee::local::temporary_password;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cinema::TestCinema;

/// The longest wait for a fact.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends with the test.
struct Process(Child);

impl Process {
    /// The program below a limit of open files, as `ulimit` sets it.
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
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
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
    let of_now = || {
        let limits = std::fs::read_to_string(&limits).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
        let mut numbers = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        (numbers.next().unwrap(), numbers.next().unwrap())
    };
    until("the soft limit is the hard one", async || {
        let (soft, hard) = of_now();
        soft == hard.min(1 << 20)
    })
    .await;
}

/// A client with a request under way.
async fn ask(addr: &str, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes()).await.unwrap();
    client
}

/// The status that it gets; `None` when the connection is closed without one.
async fn status(client: &mut TcpStream) -> Option<String> {
    let mut begin = [0; 12];
    let reading = client.read_exact(&mut begin);
    let read = tokio::time::timeout(Duration::from_secs(10), reading).await.expect("nobody is left hanging");
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
    let mut watching = Vec::new();
    for _ in 0..150 {
        watching.push(ask(&addr, &events).await);
    }
    let mut statuses = Vec::new();
    for client in &mut watching {
        statuses.push(status(client).await);
    }
    let served = statuses.iter().filter(|status| status.as_deref() == Some("200")).count();
    assert!((40..=48).contains(&served), "{statuses:?}");
    assert!(
        statuses[..40].iter().all(Option::is_some) && statuses.contains(&Some("503".into())),
        "{statuses:?}"
    );
    // Health is answered at both addresses, when those who were refused have left.
    assert_eq!(get(format!("http://{health}/health/ready")).await, Some(200));
    assert_eq!(get(format!("http://{health}/metrics")).await, Some(200));
    until("health is answered at the public address", async || {
        status(&mut ask(&addr, "/health/ready").await).await.as_deref() == Some("200")
    })
    .await;
    drop(watching);
    until("there is room again", async || get(format!("http://{addr}/v1/genres")).await == Some(200)).await;
    cinema.close().await;
}

/// Sends a webhook as the provider signs it, and tells the status.
async fn tell(cinema: &TestCinema, event: &Value) -> u16 {
    let (body, now) = (event.to_string(), time::OffsetDateTime::now_utc().unix_timestamp());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"whsec_test");
    let signature = ring::hmac::sign(&key, format!("{now}.{body}").as_bytes());
    let request = cinema.http.post(format!("{}/v1/payments/webhook", cinema.url()));
    let request = request.header("Stripe-Signature", format!("t={now},v1={}", hex::encode(signature)));
    request.body(body).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_signed_webhook_is_acknowledged_and_stored_once() {
    let cinema = TestCinema::open().await;
    let thin = json!({"id": "evt_thin", "object": "v2.core.event", "type": "v2.core.event_destination.ping"});
    let nul = json!({"id": "evt_nul", "object": "event", "type": "customer.\0", "data": {"object": {
        "id": "cus_\0", "object": "customer", "name": "\0"}}});
    let refund = json!({"id": "evt_\0", "object": "event", "type": "refund.updated", "data": {"object": {
        "id": "re_\0", "object": "refund", "amount": 5, "currency": "eur", "status": "succeeded", "charge": "\0",
        "payment_intent": "pi_\0", "metadata": {"note": "\0"}}}});
    for event in [&thin, &nul, &refund, &thin] {
        assert_eq!(tell(&cinema, event).await, 200, "{event}");
    }
    let kept: i64 = sqlx::query_scalar("select count(*) from payment.provider_events where id like 'evt_%'")
        .fetch_one(&cinema.database)
        .await
        .unwrap();
    assert_eq!(kept, 3);
    let letters = cinema.call(Method::GET, "/v1/admin/dead-letters", Some(&cinema.owner()), None).await;
    assert_eq!(letters.expect(200)["items"], json!([]));
    cinema.close().await;
}
