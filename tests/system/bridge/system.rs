//! A bridge between its own NATS and its own virtual host on the shared RabbitMQ, with a client on each side. The tests
//! with real NestJS services use it too.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actors::host::{Host, HostBuilder};
use bridge::{Names, Settings};
use bus::Bus;
use bus::config::Environment;
use lapin::message::Delivery;
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use marquee::config::MAINTENANCE;
use marquee::local::{Folder, Nats, shared_rabbitmq};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::harness::{StoredEvent, events_of};

/// Long enough for a busy machine; only a failing test waits so long.
pub const MAX_WAIT: Duration = Duration::from_secs(120);

pub struct BridgeSystem {
    /// `None` where the test has a NATS that others use too.
    nats: Option<Nats>,
    pub nats_url: String,
    /// A connection that may do everything.
    pub bus: Bus,
    pub amqp_url: String,
    pub names: Names,
    /// A channel with publisher confirms.
    pub channel: Channel,
    environment: Environment,
    bridge: Option<Host>,
    /// For channels on which an operation may fail. lapin never reuses the number of a channel that the broker has closed,
    /// so the connection is opened again when its numbers are used up.
    connection: tokio::sync::Mutex<Connection>,
}

/// A message that a service publishes.
#[derive(Debug, Clone)]
pub struct AmqpMessage {
    pub exchange: String,
    pub routing_key: String,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

impl AmqpMessage {
    pub fn new(exchange: &str, routing_key: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            // amqplib always sends headers.
            properties: BasicProperties::default().with_headers(FieldTable::default()).with_delivery_mode(2),
            body: body.into(),
        }
    }

    pub fn id(mut self, id: &str) -> Self {
        self.properties = self.properties.with_message_id(id.into());
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        let mut headers = self.properties.headers().clone().unwrap_or_default();
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
        self.properties = self.properties.with_headers(headers);
        self
    }
}

/// The payload of a `movie.created`.
pub fn movie(title: &str) -> Value {
    json!({"movieId": Uuid::now_v7(), "title": title, "genres": ["drama"], "createdBy": Uuid::nil()})
}

/// An event in the envelope of Nest's `emit()`.
pub fn enveloped(pattern: &str, data: &Value) -> String {
    json!({"pattern": pattern, "data": data}).to_string()
}

impl BridgeSystem {
    pub async fn open() -> Self {
        Self::open_with(&[]).await
    }

    pub async fn open_with(settings: &[(&str, &str)]) -> Self {
        let mut system = Self::without_bridge(settings).await;
        system.start_bridge().await;
        system
    }

    /// As [`Self::open_with`], without starting the bridge.
    pub async fn without_bridge(settings: &[(&str, &str)]) -> Self {
        let nats = Nats::start(&Folder::temporary().unwrap()).await.unwrap();
        let mut system = Self::at(&nats.url(), settings).await;
        system.nats = Some(nats);
        system
    }

    pub fn nats(&mut self) -> &mut Nats {
        self.nats.as_mut().expect("the system has its own NATS")
    }

    /// On a NATS that others use too, without starting the bridge.
    pub async fn at(nats_url: &str, settings: &[(&str, &str)]) -> Self {
        let amqp_url = shared_rabbitmq().await.unwrap().create_virtual_host().await.unwrap();
        let bus = crate::harness::connect(nats_url, MAINTENANCE).await;
        bus::topology::ensure_streams(&bus).await.unwrap();
        let mut environment = Environment::default().or("AMQP_URL", &amqp_url);
        for (name, value) in settings {
            environment.set(name, *value);
        }
        let names = Names::new(&read(&mut environment));
        let connection = Connection::connect(&amqp_url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let (nats_url, connection) = (nats_url.to_owned(), tokio::sync::Mutex::new(connection));
        Self { nats: None, nats_url, bus, amqp_url, names, channel, environment, bridge: None, connection }
    }

    /// Changes a setting; it applies to the next bridge.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.set(name, value);
    }

    /// Starts the bridge with its own NATS user, and waits until its queues have consumers.
    pub async fn start_bridge(&mut self) {
        self.start_bridge_at(&self.amqp_url.clone()).await;
    }

    pub async fn start_bridge_at(&mut self, amqp_url: &str) {
        self.environment.set("AMQP_URL", amqp_url);
        let settings = read(&mut self.environment);
        let bus = crate::harness::connect(&self.nats_url, "bridge").await;
        self.bridge =
            Some(marquee::bridge_host::spawn(HostBuilder::new(bus, "bridge"), settings).await.unwrap());
        let Names { private_inbox, inbox, dead, .. } = self.names.clone();
        for queue in [private_inbox, inbox, dead] {
            self.until(&format!("{queue} has a consumer"), async |system| {
                system.queue(&queue).await.is_some_and(|(_, consumers)| consumers > 0)
            })
            .await;
        }
    }

    /// The problems that the bridge reports in its health.
    pub fn degraded(&self) -> String {
        self.bridge.as_ref().expect("the bridge runs").health()().degraded.join("; ")
    }

    pub async fn stop_bridge(&mut self) {
        self.bridge.take().expect("the bridge runs").stop().await;
    }

    /// Ends the bridge as a crash would.
    pub fn kill_bridge(&mut self) {
        self.bridge.take().expect("the bridge runs").kill();
    }

    /// The numbers of ready messages and of consumers of a queue; `None` where there is no such queue.
    pub async fn queue(&self, name: &str) -> Option<(u32, u32)> {
        // If there is none, the broker closes the channel.
        let channel = self.new_channel().await;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = channel.queue_declare(name.into(), passive, FieldTable::default()).await.ok()?;
        let _ = channel.close(200, "OK".into()).await;
        Some((declared.message_count(), declared.consumer_count()))
    }

    pub async fn new_channel(&self) -> Channel {
        let mut connection = self.connection.lock().await;
        if let Ok(channel) = connection.create_channel().await {
            return channel;
        }
        *connection = Connection::connect(&self.amqp_url, ConnectionProperties::default()).await.unwrap();
        connection.create_channel().await.unwrap()
    }

    /// Publishes a message and waits until a queue has it.
    pub async fn publish(&self, message: &AmqpMessage) {
        let AmqpMessage { exchange, routing_key, properties, body } = message.clone();
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let (exchange, routing_key) = (exchange.as_str().into(), routing_key.as_str().into());
        let confirm =
            self.channel.basic_publish(exchange, routing_key, options, &body, properties).await.unwrap();
        let confirmed = confirm.await.unwrap();
        assert!(matches!(confirmed, Confirmation::Ack(None)), "no queue got the message: {confirmed:?}");
    }

    /// Publishes messages and waits for all confirms at the end.
    pub async fn publish_all(&self, all: impl IntoIterator<Item = AmqpMessage>) {
        let mut confirms = Vec::new();
        for AmqpMessage { exchange, routing_key, properties, body } in all {
            let (exchange, key) = (exchange.as_str().into(), routing_key.as_str().into());
            let options = BasicPublishOptions::default();
            confirms
                .push(self.channel.basic_publish(exchange, key, options, &body, properties).await.unwrap());
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack());
        }
    }

    /// Publishes an event on JetStream as a host does, and returns its id.
    pub async fn publish_event(&self, subject: &str, payload: &Value) -> String {
        let id = Uuid::now_v7().to_string();
        let headers = super::outbound_system::headers(&id, subject);
        let jetstream = &self.bus.jetstream;
        let sent = jetstream.publish_with_headers(subject.to_owned(), headers, payload.to_string().into());
        sent.await.unwrap().await.unwrap();
        id
    }

    /// All events in the stream, in order.
    pub async fn stored(&self) -> Vec<StoredEvent> {
        events_of(&self.bus, ">").await
    }

    /// The number of events in the stream. Waits while the stream cannot be read.
    pub async fn stored_count(&self) -> u64 {
        let began = Instant::now();
        loop {
            let stream = self.bus.jetstream.get_stream(bus::topology::EVENTS).await;
            match stream {
                Ok(stream) => return stream.cached_info().state.messages,
                Err(error) => assert!(began.elapsed() < MAX_WAIT, "the stream cannot be read: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the stream has an event of this id, and returns all events.
    pub async fn until_stored(&self, id: &str) -> Vec<StoredEvent> {
        let began = Instant::now();
        loop {
            let stored = self.stored().await;
            if stored.iter().any(|event| event.id == id) {
                return stored;
            }
            let ids: Vec<_> = stored.iter().map(|event| &event.id).collect();
            assert!(began.elapsed() < MAX_WAIT, "no event {id}, only {ids:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a message in a queue, removes and returns it.
    pub async fn take(&self, queue: &str) -> Delivery {
        let began = Instant::now();
        loop {
            let no_ack = BasicGetOptions { no_ack: true };
            if let Some(got) = self.channel.basic_get(queue.into(), no_ack).await.unwrap() {
                return got.delivery;
            }
            assert!(began.elapsed() < MAX_WAIT, "nothing in {queue} within {MAX_WAIT:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn until(&self, what: &str, fact: impl AsyncFn(&Self) -> bool) {
        let began = Instant::now();
        while !fact(self).await {
            assert!(began.elapsed() < MAX_WAIT, "not within {MAX_WAIT:?}: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs a command of the program.
    pub async fn marquee(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_marquee"));
        command
            .args(arguments)
            .env("NATS_URL", &self.nats_url)
            .env("NATS_PASSWORD", marquee::local::temporary_password())
            .env("AMQP_URL", &self.amqp_url)
            .env("RUST_LOG", "error");
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

pub fn header(delivery: &Delivery, name: &str) -> Option<String> {
    match delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        other => Some(format!("{other:?}")),
    }
}

fn read(environment: &mut Environment) -> Settings {
    let settings = Settings::read(environment);
    environment.check().unwrap();
    settings
}

/// A proxy to RabbitMQ. While it stalls, nothing that the client sends arrives; messages of the broker do.
pub struct StallingProxy {
    pub address: SocketAddr,
    is_stalled: Arc<AtomicBool>,
}

impl StallingProxy {
    pub async fn to(url: &str) -> Self {
        let uri: lapin::uri::AMQPUri = url.parse().unwrap();
        let broker = (uri.authority.host, uri.authority.port);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, is_stalled) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stalled = is_stalled.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let broker = TcpStream::connect((broker.0.as_str(), broker.1)).await.unwrap();
                tokio::spawn(carry(client, broker, stalled.clone()));
            }
        });
        Self { address, is_stalled }
    }

    /// The URL of the broker through this proxy.
    pub fn url(&self, url: &str) -> String {
        let (login, address) = url.split_once('@').unwrap();
        let (_, host) = address.split_once('/').unwrap();
        format!("{login}@{}/{host}", self.address)
    }

    pub fn stall(&self) {
        self.is_stalled.store(true, Ordering::SeqCst);
    }

    /// Lets new connections through; connections that have lost bytes stay silent.
    pub fn resume(&self) {
        self.is_stalled.store(false, Ordering::SeqCst);
    }
}

async fn carry(client: TcpStream, broker: TcpStream, is_stalled: Arc<AtomicBool>) {
    let ((mut from_client, mut to_client), (mut from_broker, mut to_broker)) =
        (client.into_split(), broker.into_split());
    let to_the_client = async {
        let _ = tokio::io::copy(&mut from_broker, &mut to_client).await;
    };
    let to_the_broker = async {
        let mut bytes = vec![0; 64 * 1024];
        let mut has_lost_bytes = false;
        while let Ok(n @ 1..) = from_client.read(&mut bytes).await {
            has_lost_bytes |= is_stalled.load(Ordering::SeqCst);
            if !has_lost_bytes && to_broker.write_all(&bytes[..n]).await.is_err() {
                return;
            }
        }
    };
    // The end of one direction closes both.
    tokio::select! { () = to_the_client => {}, () = to_the_broker => {} }
}
