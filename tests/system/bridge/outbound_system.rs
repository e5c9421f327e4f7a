//! The outbound direction of the bridge: its own NATS, a RabbitMQ (a virtual host of the shared one, or its own that may be
//! killed), the bridge between them, and consumers of the queues.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actors::host::{Health, Host, HostBuilder};
use async_nats::HeaderMap;
use bridge::Settings;
use bus::Bus;
use bus::config::Environment;
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, Consumer};
use marquee::config::MAINTENANCE;
use marquee::local::{Folder, Nats, RabbitMq, shared_rabbitmq};

/// Long enough for a busy machine; only a failing test waits so long.
pub const MAX_WAIT: Duration = Duration::from_secs(120);

pub struct OutboundSystem {
    pub nats: Nats,
    /// A connection that may do everything.
    pub bus: Bus,
    pub amqp_url: String,
    bridge: Option<Host>,
    /// The broker, where the test has its own.
    pub broker: Option<RabbitMq>,
}

impl OutboundSystem {
    /// On a virtual host of the shared RabbitMQ.
    pub async fn open(settings: &[(&str, &str)]) -> Self {
        let url = shared_rabbitmq().await.unwrap().create_virtual_host().await.unwrap();
        Self::at(url, None, settings).await
    }

    /// On its own RabbitMQ.
    pub async fn with_own_broker() -> Self {
        let broker = RabbitMq::start(&Folder::temporary().unwrap()).await.unwrap();
        Self::at(broker.url(), Some(broker), &[]).await
    }

    pub async fn at(amqp_url: String, broker: Option<RabbitMq>, settings: &[(&str, &str)]) -> Self {
        let nats = Nats::start(&Folder::temporary().unwrap()).await.unwrap();
        let bus = connect(&nats, MAINTENANCE).await;
        bus::topology::ensure_streams(&bus).await.unwrap();
        let bridge = Some(bridge(&nats, &amqp_url, settings).await);
        Self { nats, bus, amqp_url, bridge, broker }
    }

    /// Ends the bridge as a crash would, and starts another one.
    pub async fn kill_bridge_and_start_at(&mut self, amqp_url: &str) {
        self.bridge.take().expect("the bridge runs").kill();
        self.bridge = Some(bridge(&self.nats, amqp_url, &[]).await);
    }

    /// Publishes numbered events of a subject, and waits until JetStream has them.
    pub async fn publish(&self, subject: &str, numbers: std::ops::Range<usize>) {
        let mut acks = Vec::new();
        for number in numbers {
            let payload = serde_json::json!({"number": number, "text": "x".repeat(300)}).to_string();
            let headers = headers(&id(subject, number), subject);
            acks.push(
                self.bus
                    .jetstream
                    .publish_with_headers(subject.to_owned(), headers, payload.into())
                    .await
                    .unwrap(),
            );
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }

    /// Opens a connection to RabbitMQ as a service does.
    pub async fn service(&self) -> Connection {
        Connection::connect(&self.amqp_url, ConnectionProperties::default()).await.unwrap()
    }

    pub fn health(&self) -> Health {
        self.bridge.as_ref().expect("the bridge runs").health()()
    }

    /// Waits until the bridge is degraded with this reason; with an empty one until it is not degraded.
    pub async fn until_degraded(&self, by: &str) {
        let began = Instant::now();
        loop {
            let health = self.health();
            assert!(health.is_ready() || !health.nats, "{health:?}");
            let reasons = health.degraded.join("; ");
            if (by.is_empty() && reasons.is_empty()) || (!by.is_empty() && reasons.contains(by)) {
                return;
            }
            assert!(began.elapsed() < MAX_WAIT, "degraded by {reasons:?}, not by {by:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Checks for a time that the bridge stays degraded with this reason.
    pub async fn stays_degraded(&self, by: &str, period: Duration) {
        let began = Instant::now();
        while began.elapsed() < period {
            let reasons = self.health().degraded.join("; ");
            assert!(
                reasons.contains(by),
                "degraded by {reasons:?}, not by {by:?} after {:?}",
                began.elapsed()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn close(self) {
        self.bridge.expect("the bridge runs").stop().await;
    }
}

async fn bridge(nats: &Nats, amqp_url: &str, settings: &[(&str, &str)]) -> Host {
    let mut environment = Environment::default().or("AMQP_URL", amqp_url);
    for (name, value) in settings {
        environment.set(name, *value);
    }
    let settings = Settings::read(&mut environment);
    environment.check().unwrap();
    let builder = HostBuilder::new(connect(nats, "bridge").await, "bridge");
    marquee::bridge_host::spawn(builder, settings).await.unwrap()
}

pub async fn connect(nats: &Nats, user: &str) -> Bus {
    crate::harness::connect(&nats.url(), user).await
}

pub fn id(subject: &str, number: usize) -> String {
    format!("{subject}-{number}")
}

pub fn headers(id: &str, subject: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("Nats-Msg-Id", id),
        ("ce-id", id),
        ("ce-type", subject),
        ("ce-source", "/marquee/test"),
        ("ce-time", "2026-11-22T22:31:00.5Z"),
        ("X-Correlation-Id", "order-1"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ] {
        headers.insert(name, value);
    }
    headers
}

/// Declares a durable queue and binds it to all messages of an existing exchange.
pub async fn bound_queue(channel: &Channel, queue: &str, exchange: &str) {
    declare(channel, queue).await;
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(queue.into(), exchange.into(), "#".into(), options, arguments).await.unwrap();
}

/// Declares a queue as Nest does.
pub async fn declare(channel: &Channel, queue: &str) {
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), durable, FieldTable::default()).await.unwrap();
}

/// Declares an exchange as Nest does.
pub async fn declare_topic(channel: &Channel, exchange: &str) {
    bridge::call::declare_topic(channel, exchange).await.unwrap();
}

pub async fn consume(channel: &Channel, queue: &str) -> Consumer {
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.unwrap()
}

/// Waits for the next message.
pub async fn receive(consumer: &mut Consumer) -> Delivery {
    let next = tokio::time::timeout(MAX_WAIT, consumer.next()).await;
    next.expect("a message in time").expect("the consumer is open").unwrap()
}

pub fn message_id(delivery: &Delivery) -> String {
    delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default()
}

pub fn text(delivery: &Delivery, name: &str) -> Option<String> {
    match delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

/// Receives until each of so many events has arrived, and returns how often each did. Checks that the first copies arrive
/// in the order of the stream.
pub async fn until_complete(consumer: &mut Consumer, subject: &str, count: usize) -> BTreeMap<String, usize> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut last = 0;
    while seen.len() < count {
        let delivery = receive(consumer).await;
        let sequence: u64 = text(&delivery, "bridge-stream-seq").unwrap().parse().unwrap();
        let times = seen.entry(message_id(&delivery)).or_default();
        *times += 1;
        if *times == 1 {
            assert!(sequence > last, "{sequence} arrived for the first time after {last}");
            last = sequence;
        }
    }
    assert!((0..count).all(|number| seen.contains_key(&id(subject, number))), "an event is missing");
    seen
}
