//! Real NestJS services as processes of their own (`tests/nest/`), on each transport that services use; a test tells them
//! what to emit and to ask, and sees what they heard.
//!
//! `finish()` fails the test when a service has ended by itself or had an assertion refused: an unmodified service must
//! never notice that there is a bridge.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// Nest comes back to a broker every five seconds, a broker takes ten to start, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// How a service is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Nest's own: one queue on the default exchange.
    Default,
    /// The same on Nest 10, which knows nothing else.
    DefaultOfNest10,
    /// Nest's own with `exchange`, `exchangeType: 'topic'` and `wildcards: true`.
    Topic,
    /// `@golevelup/nestjs-rabbitmq`.
    Golevelup,
}

impl Transport {
    pub const ALL: [Self; 4] = [Self::Default, Self::DefaultOfNest10, Self::Topic, Self::Golevelup];

    /// The service's own queue.
    pub fn queue(self) -> String {
        format!("{self:?}_queue").to_lowercase()
    }

    /// Whether its queue is bound by the bridge and not by itself.
    pub fn needs_binding(self) -> bool {
        matches!(self, Self::Default | Self::DefaultOfNest10)
    }

    fn settings(self, url: &str, events: &[&str]) -> Value {
        let packages = folder().join(if self == Self::DefaultOfNest10 { "nest10" } else { "" });
        let (transport, exchange, target) = match self {
            // A client on the default exchange names the queue of whom it tells.
            Self::Default | Self::DefaultOfNest10 => ("default", "", "marquee.bridge.inbox".to_owned()),
            Self::Topic => ("topic", "marquee.events", self.queue()),
            Self::Golevelup => ("golevelup", "marquee.events.raw", String::new()),
        };
        json!({
            "transport": transport, "nest": packages, "url": url, "exchange": exchange, "target": target,
            "queue": self.queue(), "events": events,
        })
    }
}

/// What the bridge must be told of those services that bind nothing themselves.
pub fn service_queues(events: &[&str]) -> String {
    let bound = Transport::ALL.into_iter().filter(|transport| transport.needs_binding());
    let bound: Vec<Value> = bound.map(|it| json!({"name": it.queue(), "events": events})).collect();
    Value::from(bound).to_string()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nest")
}

/// The one that `scripts/install-tests.sh` got, where the machine had none that suits.
fn node() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/node/node");
    if own.exists() { own } else { "node".into() }
}

/// A service that runs.
pub struct Nest {
    pub transport: Transport,
    process: Child,
    tasks: ChildStdin,
    told: Arc<Mutex<Vec<Value>>>,
    complaints: Arc<Mutex<Vec<String>>>,
}

/// An event as a service's handler got it.
#[derive(Clone, Debug)]
pub struct Heard {
    pub event: String,
    pub data: Value,
    pub message_id: String,
    pub headers: Value,
}

impl Nest {
    /// Starts a service with a handler for each of these events; it listens when this returns.
    pub async fn start(transport: Transport, url: &str, events: &[&str]) -> Self {
        let mut process = Command::new(node())
            .arg(folder().join("main.js"))
            .arg(transport.settings(url, events).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs; scripts/install-tests.sh gets it");
        let (told, complaints) = <(Arc<Mutex<Vec<Value>>>, Arc<Mutex<Vec<String>>>)>::default();
        // Nest's log goes to standard output as well: what is not ours is a complaint.
        keep(process.stdout.take().unwrap(), {
            let (told, complaints) = (told.clone(), complaints.clone());
            move |line| match serde_json::from_str::<Value>(&line) {
                Ok(said) if said.is_object() => told.lock().unwrap().push(said),
                _ => complaints.lock().unwrap().push(line),
            }
        });
        keep(process.stderr.take().unwrap(), {
            let complaints = complaints.clone();
            move |line| complaints.lock().unwrap().push(line)
        });
        let tasks = process.stdin.take().unwrap();
        let mut nest = Self { transport, process, tasks, told, complaints };
        nest.until("it listens", |told| told.iter().find(|line| line.get("ready").is_some()).cloned()).await;
        nest
    }

    /// One of each transport.
    pub async fn start_all(url: &str, events: &[&str]) -> Vec<Self> {
        futures::future::join_all(Transport::ALL.map(|transport| Self::start(transport, url, events))).await
    }

    /// `ClientProxy.emit` or `AmqpConnection.publish`, done when the client says so.
    pub async fn emit(&mut self, event: &str, data: &Value, message_id: Option<&str>) {
        let before = self.count("emitted");
        self.tell(&json!({"emit": event, "data": data, "messageId": message_id})).await;
        self.until("it has emitted", |told| {
            (told.iter().filter(|line| line.get("emitted").is_some()).count() > before).then_some(())
        })
        .await;
    }

    /// `ClientProxy.send` or `AmqpConnection.request`: the answer, or what the client's promise was refused with.
    pub async fn ask(&mut self, pattern: &str, data: &Value) -> Result<Value, Value> {
        let is_answer = |line: &&Value| line.get("to").is_some_and(|to| to == pattern);
        let before = self.told.lock().unwrap().iter().filter(is_answer).count();
        self.tell(&json!({"ask": pattern, "data": data})).await;
        let answer =
            self.until("it is answered", |told| told.iter().filter(is_answer).nth(before).cloned()).await;
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["answer"].clone()),
        }
    }

    /// All that its handlers got so far, in order.
    pub fn heard(&self) -> Vec<Heard> {
        heard(&self.told.lock().unwrap())
    }

    /// Waits until its handlers have got all these events, by id, and tells how often each id came.
    pub async fn until_heard(&mut self, ids: &[String]) -> BTreeMap<String, usize> {
        let missing = |heard: &[Heard]| {
            let is_there = |id: &&String| !heard.iter().any(|it| it.message_id == **id);
            ids.iter().filter(is_there).cloned().collect::<Vec<_>>()
        };
        let what = format!("it has heard {} events", ids.len());
        self.until(&what, |told| missing(&heard(told)).is_empty().then_some(())).await;
        let mut times = BTreeMap::new();
        for it in self.heard() {
            *times.entry(it.message_id).or_default() += 1;
        }
        times
    }

    /// Ends it as a deploy does; every assertion that it made must have passed.
    pub async fn finish(mut self) {
        let transport = self.transport;
        self.check();
        drop(self.tasks);
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("{transport:?} does not end")).unwrap();
        let complaints = self.complaints.lock().unwrap().join("\n");
        assert!(status.success(), "{transport:?} ended with {status}\n{complaints}");
        assert!(!complaints.contains("PRECONDITION"), "{transport:?} had an assertion refused\n{complaints}");
    }

    async fn tell(&mut self, task: &Value) {
        self.tasks.write_all(format!("{task}\n").as_bytes()).await.unwrap();
    }

    fn count(&self, what: &str) -> usize {
        self.told.lock().unwrap().iter().filter(|line| line.get(what).is_some()).count()
    }

    /// It lives.
    fn check(&mut self) {
        if let Some(status) = self.process.try_wait().unwrap() {
            let complaints = self.complaints.lock().unwrap().join("\n");
            panic!("{:?} ended by itself with {status}\n{complaints}", self.transport);
        }
    }

    /// Waits for something among the lines that it told.
    async fn until<T>(&mut self, what: &str, fact: impl Fn(&[Value]) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = fact(&self.told.lock().unwrap()) {
                return found;
            }
            self.check();
            if Instant::now() > end {
                let told: Vec<String> = self.told.lock().unwrap().iter().map(Value::to_string).collect();
                let complaints = self.complaints.lock().unwrap().join("\n");
                let transport = self.transport;
                panic!("{transport:?}, not within {PATIENCE:?}: {what}\n{}\n{complaints}", told.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn heard(told: &[Value]) -> Vec<Heard> {
    let heard = told.iter().filter(|line| line.get("heard").is_some()).map(|line| Heard {
        event: line["heard"].as_str().unwrap().to_owned(),
        data: line["data"].clone(),
        message_id: line["messageId"].as_str().unwrap_or_default().to_owned(),
        headers: line["headers"].clone(),
    });
    heard.collect()
}

fn keep(from: impl AsyncRead + Unpin + Send + 'static, mut line_is: impl FnMut(String) + Send + 'static) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            line_is(line);
        }
    });
}
