//! The bridge as a process, `marquee host bridge`: its `/health/ready` and `/metrics` while RabbitMQ does not answer, and
//! afterwards.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::system::{AmqpMessage, BridgeSystem, MAX_WAIT, StallingProxy};

struct Process {
    /// Killed at the end of the test.
    _child: Child,
    /// The address of health and metrics.
    address: String,
    /// The lines of its log.
    log: Arc<Mutex<Vec<Value>>>,
    http: reqwest::Client,
}

impl Process {
    async fn start(system: &BridgeSystem, amqp_url: &str) -> Self {
        Self::start_with(system, amqp_url, "").await
    }

    async fn start_with(system: &BridgeSystem, amqp_url: &str, service_queues: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_marquee"))
            .args(["host", "bridge"])
            .env("NATS_URL", &system.nats_url)
            .env("NATS_PASSWORD", marquee::local::temporary_password())
            .env("AMQP_URL", amqp_url)
            .env("AMQP_SERVICE_QUEUES", if service_queues.is_empty() { "[]" } else { service_queues })
            .env("RUST_LOG", "info")
            .env("LOG_FORMAT", "json")
            .env_remove("HEALTH_ADDR")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let logged = async {
            loop {
                let line = log.next_line().await.unwrap().expect("the process runs");
                let line: Value = serde_json::from_str(&line).unwrap();
                if line["message"] == "health at /health/ready" {
                    return line["addr"].as_str().unwrap().to_owned();
                }
            }
        };
        let address =
            tokio::time::timeout(MAX_WAIT, logged).await.expect("the log has the address of health");
        // The rest of the log is read, too: a full pipe would block the process.
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = written.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = log.next_line().await {
                lines.lock().unwrap().push(serde_json::from_str(&line).unwrap_or_default());
            }
        });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { _child: child, address, log: written, http }
    }

    async fn get(&self, path: &str) -> String {
        let answer = self.http.get(format!("http://{}{path}", self.address)).send().await.unwrap();
        // The bridge is ready all the time, whatever RabbitMQ does.
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    /// The reasons for which it is degraded, as JSON.
    async fn degraded(&self) -> String {
        let health: Value = serde_json::from_str(&self.get("/health/ready").await).unwrap();
        health["degraded"].to_string()
    }

    async fn until(&self, what: &str, fact: impl AsyncFn(&Self) -> bool) {
        let began = Instant::now();
        while !fact(self).await {
            let (health, metrics) = (self.degraded().await, self.get("/metrics").await);
            assert!(began.elapsed() < MAX_WAIT, "not within {MAX_WAIT:?}: {what}\n{health}\n{metrics}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until_metric(&self, name: &str, is: f64) {
        self.until(&format!("{name} is {is}"), async |process| {
            number(&process.get("/metrics").await, name) == Some(is)
        })
        .await;
    }

    /// For counters that may be higher on a busy machine.
    async fn until_metric_is_at_least(&self, name: &str, least: f64) {
        self.until(&format!("{name} is {least} or more"), async |process| {
            number(&process.get("/metrics").await, name).is_some_and(|is| is >= least)
        })
        .await;
    }
}

/// The value of a metric, labels and all.
fn number(metrics: &str, name: &str) -> Option<f64> {
    let mut lines = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    lines.next()?.trim().parse().ok()
}

async fn publish(system: &BridgeSystem, from: usize, count: usize) {
    for number in from..from + count {
        let headers = super::outbound_system::headers(&format!("m{number}"), "movie.updated");
        let sent =
            system.bus.jetstream.publish_with_headers("movie.updated", headers, r#"{"number":1}"#.into());
        sent.await.unwrap().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rabbitmq_that_does_not_answer_is_visible_in_health_and_metrics_and_loses_no_event() {
    let system = BridgeSystem::without_bridge(&[]).await;
    let proxy = StallingProxy::to(&system.amqp_url).await;
    let bridge = Process::start(&system, &proxy.url(&system.amqp_url)).await;
    bridge.until("it is not degraded", async |bridge| bridge.degraded().await == "null").await;
    bridge.until_metric("amqp_connected", 1.0).await;
    let (nest, raw) = (r#"{target="bridge-nest"}"#, r#"{target="bridge-raw"}"#);
    // All metrics exist from the start, so that an alert can be defined on each.
    for name in ["amqp_unroutable_total", "amqp_published_total", "amqp_kept_total", "amqp_confirms_pending"]
    {
        bridge.until_metric(&format!("{name}{nest}"), 0.0).await;
        bridge.until_metric(&format!("{name}{raw}"), 0.0).await;
    }
    // There is no service queue yet.
    publish(&system, 0, 3).await;
    for target in [nest, raw] {
        bridge.until_metric(&format!("amqp_published_total{target}"), 3.0).await;
        bridge.until_metric(&format!("amqp_unroutable_total{target}"), 3.0).await;
    }

    proxy.stall();
    publish(&system, 3, 2).await;
    for target in [nest, raw] {
        bridge.until_metric(&format!("amqp_confirms_pending{target}"), 2.0).await;
    }
    bridge
        .until("it reports that RabbitMQ is away", async |bridge| {
            bridge.degraded().await.contains("RabbitMQ is away since")
        })
        .await;
    bridge.until_metric("amqp_connected", 0.0).await;
    publish(&system, 5, 3).await;
    for consumer in ["bridge-nest", "bridge-raw"] {
        bridge
            .until("five events wait", async |bridge| {
                let metrics = bridge.get("/metrics").await;
                let of = |name: &str| number(&metrics, &format!(r#"{name}{{consumer="{consumer}"}}"#));
                of("consumer_lag").zip(of("consumer_in_hand")).is_some_and(|(lag, hand)| lag + hand == 5.0)
            })
            .await;
    }

    proxy.resume();
    bridge.until("it is no longer degraded", async |bridge| bridge.degraded().await == "null").await;
    for target in [nest, raw] {
        bridge.until_metric_is_at_least(&format!("amqp_published_total{target}"), 8.0).await;
        bridge.until_metric(&format!("amqp_confirms_pending{target}"), 0.0).await;
    }
    bridge.until_metric("amqp_connected", 1.0).await;
    bridge.until_metric_is_at_least("amqp_reconnects_total", 1.0).await;
    // Refused messages are counted as well.
    system.publish(&AmqpMessage::new("marquee.events.raw", "movie.created", "{").id("bad")).await;
    bridge.until_metric(r#"amqp_rejected_total{reason="not-json"}"#, 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_not_there_yet_is_a_warning_and_no_error() {
    let system = BridgeSystem::without_bridge(&[]).await;
    let queues =
        r#"[{"name": "early", "events": ["movie.created"]}, {"name": "late", "events": ["movie.updated"]}]"#;
    let bridge = Process::start_with(&system, &system.amqp_url, queues).await;
    bridge
        .until("both queues are missing", async |bridge| {
            let degraded = bridge.degraded().await;
            degraded.contains("early is not there yet") && degraded.contains("late is not there yet")
        })
        .await;
    // The next check finds this one, so it has also checked for the other one a second time.
    let channel = system.new_channel().await;
    channel.queue_declare("early".into(), Default::default(), Default::default()).await.unwrap();
    bridge.until("one queue is bound", async |bridge| !bridge.degraded().await.contains("early")).await;
    let log = bridge.log.lock().unwrap().clone();
    let of = |level: &str| log.iter().filter(|line| line["level"] == level).cloned().collect::<Vec<_>>();
    assert_eq!(of("ERROR"), Vec::<Value>::new());
    let warnings = of("WARN");
    let missing = warnings.iter().filter(|line| line["queue"] == "late").count();
    assert_eq!(missing, 1, "once, not with each check: {warnings:?}");
}
