//! Real NestJS services as separate processes (`tests/nest/`), one for each transport that services use. A test orders them to
//! emit and request, and reads the events that their handlers received.
//!
//! `finish()` fails the test when a service has ended by itself or RabbitMQ has refused one of its declarations: an
//! unmodified service must work beside the bridge.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// Nest reconnects every five seconds, a broker takes ten seconds to start, and the machine may be busy.
const MAX_WAIT: Duration = Duration::from_secs(180);

/// How a service is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The transport of Nest: one queue on the default exchange.
    Default,
    /// The same on Nest 10, which has no other way.
    DefaultOfNest10,
    /// The transport of Nest with `exchange`, `exchangeType: 'topic'` and `wildcards: true`.
    Topic,
    /// `@golevelup/nestjs-rabbitmq`.
    Golevelup,
}

impl Transport {
    pub const ALL: [Self; 4] = [Self::Default, Self::DefaultOfNest10, Self::Topic, Self::Golevelup];

    /// The queue of the service.
    pub fn queue(self) -> String {
        format!("{self:?}_queue").to_lowercase()
    }

    /// Whether its queue is bound by the bridge and not by the service.
    pub fn needs_binding(self) -> bool {
        matches!(self, Self::Default | Self::DefaultOfNest10)
    }

    fn settings(self, url: &str, events: &[&str]) -> Value {
        let packages = folder().join(if self == Self::DefaultOfNest10 { "nest10" } else { "" });
        let (transport, exchange, target) = match self {
            // A client on the default exchange names the queue to which it sends.
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

/// The setting AMQP_SERVICE_QUEUES for the services that do not bind their queue themselves.
pub fn service_queues(events: &[&str]) -> String {
    let bound = Transport::ALL.into_iter().filter(|transport| transport.needs_binding());
    let bound: Vec<Value> =
        bound.map(|transport| json!({"name": transport.queue(), "events": events})).collect();
    Value::from(bound).to_string()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nest")
}

/// The Node that `scripts/install-tests.sh` has installed, if it did, or that of the machine.
pub fn node() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/node/node");
    if own.exists() { own } else { "node".into() }
}

/// A running service.
pub struct Nest {
    pub transport: Transport,
    process: Child,
    tasks: ChildStdin,
    /// The lines of JSON that it has printed.
    reports: Arc<Mutex<Vec<Value>>>,
    /// Everything else that it has printed.
    log: Arc<Mutex<Vec<String>>>,
}

/// An event as the handler of a service got it.
#[derive(Clone, Debug)]
pub struct ReceivedEvent {
    pub event: String,
    pub data: Value,
    pub message_id: String,
    pub headers: Value,
}

impl Nest {
    /// Starts a service with a handler for each of these events, and waits until it is connected.
    pub async fn start(transport: Transport, url: &str, events: &[&str]) -> Self {
        let mut process = Command::new(node())
            .arg(folder().join("main.js"))
            .arg(transport.settings(url, events).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs; scripts/install-tests.sh installs it");
        let (reports, log) = <(Arc<Mutex<Vec<Value>>>, Arc<Mutex<Vec<String>>>)>::default();
        // Nest logs to standard output as well: a line that is not a JSON object belongs to its log.
        read_lines(process.stdout.take().unwrap(), {
            let (reports, log) = (reports.clone(), log.clone());
            move |line| match serde_json::from_str::<Value>(&line) {
                Ok(report) if report.is_object() => reports.lock().unwrap().push(report),
                _ => log.lock().unwrap().push(line),
            }
        });
        read_lines(process.stderr.take().unwrap(), {
            let log = log.clone();
            move |line| log.lock().unwrap().push(line)
        });
        let tasks = process.stdin.take().unwrap();
        let mut nest = Self { transport, process, tasks, reports, log };
        nest.until("it is ready", |all| all.iter().find(|line| line.get("ready").is_some()).cloned()).await;
        nest
    }

    /// Starts one service of each transport.
    pub async fn start_all(url: &str, events: &[&str]) -> Vec<Self> {
        futures::future::join_all(Transport::ALL.map(|transport| Self::start(transport, url, events))).await
    }

    /// Calls `ClientProxy.emit` or `AmqpConnection.publish`, and waits until the client reports success.
    pub async fn emit(&mut self, event: &str, data: &Value, message_id: Option<&str>) {
        let before = self.count("emitted");
        self.send_task(&json!({"emit": event, "data": data, "messageId": message_id})).await;
        self.until("the event is emitted", |all| {
            (all.iter().filter(|line| line.get("emitted").is_some()).count() > before).then_some(())
        })
        .await;
    }

    /// Calls `ClientProxy.send` or `AmqpConnection.request`; returns the answer, or the error of the client.
    pub async fn request(&mut self, pattern: &str, data: &Value) -> Result<Value, Value> {
        let is_answer = |line: &&Value| line.get("to").is_some_and(|to| to == pattern);
        let before = self.reports.lock().unwrap().iter().filter(is_answer).count();
        self.send_task(&json!({"request": pattern, "data": data})).await;
        let answer = self
            .until("the request is answered", |all| all.iter().filter(is_answer).nth(before).cloned())
            .await;
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["answer"].clone()),
        }
    }

    /// All events that its handlers have received, in order.
    pub fn received(&self) -> Vec<ReceivedEvent> {
        received(&self.reports.lock().unwrap())
    }

    /// Waits until its handlers have received all events with these ids, and returns how often each id arrived.
    pub async fn until_received(&mut self, ids: &[String]) -> BTreeMap<String, usize> {
        let is_complete = |events: &[ReceivedEvent]| {
            ids.iter().all(|id| events.iter().any(|event| event.message_id == *id))
        };
        let what = format!("{} events are received", ids.len());
        self.until(&what, |all| is_complete(&received(all)).then_some(())).await;
        let mut times = BTreeMap::new();
        for event in self.received() {
            *times.entry(event.message_id).or_default() += 1;
        }
        times
    }

    /// Ends the service as a deployment does. It must still run, and RabbitMQ must not have refused a declaration.
    pub async fn finish(mut self) {
        let transport = self.transport;
        self.check_that_it_runs();
        drop(self.tasks);
        let ended = tokio::time::timeout(MAX_WAIT, self.process.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("{transport:?} does not end")).unwrap();
        let log = self.log.lock().unwrap().join("\n");
        assert!(status.success(), "{transport:?} ended with {status}\n{log}");
        assert!(!log.contains("PRECONDITION"), "a declaration of {transport:?} was refused\n{log}");
    }

    async fn send_task(&mut self, task: &Value) {
        self.tasks.write_all(format!("{task}\n").as_bytes()).await.unwrap();
    }

    fn count(&self, kind: &str) -> usize {
        self.reports.lock().unwrap().iter().filter(|line| line.get(kind).is_some()).count()
    }

    fn check_that_it_runs(&mut self) {
        if let Some(status) = self.process.try_wait().unwrap() {
            let log = self.log.lock().unwrap().join("\n");
            panic!("{:?} ended by itself with {status}\n{log}", self.transport);
        }
    }

    /// Waits until `fact` finds something among the reports.
    async fn until<T>(&mut self, what: &str, fact: impl Fn(&[Value]) -> Option<T>) -> T {
        let end = Instant::now() + MAX_WAIT;
        loop {
            if let Some(found) = fact(&self.reports.lock().unwrap()) {
                return found;
            }
            self.check_that_it_runs();
            if Instant::now() > end {
                let reports: Vec<String> =
                    self.reports.lock().unwrap().iter().map(Value::to_string).collect();
                let (log, transport) = (self.log.lock().unwrap().join("\n"), self.transport);
                panic!("{transport:?}, not within {MAX_WAIT:?}: {what}\n{}\n{log}", reports.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn received(reports: &[Value]) -> Vec<ReceivedEvent> {
    let events = reports.iter().filter(|line| line.get("received").is_some()).map(|line| ReceivedEvent {
        event: line["received"].as_str().unwrap().to_owned(),
        data: line["data"].clone(),
        message_id: line["messageId"].as_str().unwrap_or_default().to_owned(),
        headers: line["headers"].clone(),
    });
    events.collect()
}

fn read_lines(
    from: impl AsyncRead + Unpin + Send + 'static,
    mut handle: impl FnMut(String) + Send + 'static,
) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            handle(line);
        }
    });
}
