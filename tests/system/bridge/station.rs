//! A bridge between a NATS of its own and a virtual host of its own on the shared RabbitMQ, and a client on each side; for
//! what is shown best at the level of AMQP. Real NestJS services are in the other files.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actors::host::{Host, HostBuilder};
use async_nats::HeaderMap;
use bridge::{Names, Settings};
use bus::Bus;
use bus::config::Environment;
use lapin::message::Delivery;
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use marquee::config::OPERATOR;
use marquee::local::{Folder, Nats, shared_rabbitmq};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// Longest wait for a fact; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Station {
    /// None where others have one.
    nats: Option<Nats>,
    pub nats_url: String,
    /// The operator's.
    pub bus: Bus,
    pub amqp_url: String,
    pub names: Names,
    /// With confirms.
    pub channel: Channel,
    environment: Environment,
    bridge: Option<Host>,
    /// For questions. lapin keeps the error with the number of a channel that the broker has closed over one, so it is made
    /// anew when it has given all its numbers.
    connection: tokio::sync::Mutex<Connection>,
}

/// An event as the stream has it.
#[derive(Debug, Clone)]
pub struct Stored {
    pub id: String,
    pub subject: String,
    pub headers: HeaderMap,
    pub payload: Value,
}

impl Stored {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.as_str()).unwrap_or_default()
    }
}

/// What somebody publishes.
#[derive(Debug, Clone)]
pub struct Said {
    pub exchange: String,
    pub routing_key: String,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

impl Said {
    pub fn new(exchange: &str, routing_key: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            // As amqplib always has it.
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

/// A `movie.created`.
pub fn movie(title: &str) -> Value {
    json!({"movieId": Uuid::now_v7(), "title": title, "genres": ["drama"], "createdBy": Uuid::nil()})
}

/// As Nest's `emit()` writes it.
pub fn enveloped(pattern: &str, data: &Value) -> String {
    json!({"pattern": pattern, "data": data}).to_string()
}

impl Station {
    pub async fn open() -> Self {
        Self::open_with(&[]).await
    }

    pub async fn open_with(settings: &[(&str, &str)]) -> Self {
        let mut station = Self::closed(settings).await;
        station.start_bridge().await;
        station
    }

    /// Without a bridge so far.
    pub async fn closed(settings: &[(&str, &str)]) -> Self {
        let nats = Nats::start(&Folder::temporary().unwrap()).await.unwrap();
        let mut station = Self::at(&nats.url(), settings).await;
        station.nats = Some(nats);
        station
    }

    pub fn nats(&mut self) -> &mut Nats {
        self.nats.as_mut().expect("a NATS of its own")
    }

    /// Beside a NATS that others use as well, without a bridge so far.
    pub async fn at(nats_url: &str, settings: &[(&str, &str)]) -> Self {
        let amqp_url = shared_rabbitmq().await.unwrap().create_virtual_host().await.unwrap();
        let bus = crate::harness::connect(nats_url, OPERATOR).await;
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

    /// What the next bridge is started with.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.set(name, value);
    }

    /// Starts the bridge as the user that it is in production, and waits until it listens.
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
            self.until(&format!("{queue} has a consumer"), async |station| {
                station.queue(&queue).await.is_some_and(|(_, consumers)| consumers > 0)
            })
            .await;
        }
    }

    pub async fn stop_bridge(&mut self) {
        self.bridge.take().expect("a bridge runs").stop().await;
    }

    /// As a crash would end it.
    pub fn kill_bridge(&mut self) {
        self.bridge.take().expect("a bridge runs").kill();
    }

    /// Ready messages and consumers of a queue, if it is there.
    pub async fn queue(&self, name: &str) -> Option<(u32, u32)> {
        // The question closes the channel when it is not.
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

    /// Publishes, and waits until the broker has it.
    pub async fn say(&self, said: &Said) {
        let Said { exchange, routing_key, properties, body } = said.clone();
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let (exchange, routing_key) = (exchange.as_str().into(), routing_key.as_str().into());
        let confirm =
            self.channel.basic_publish(exchange, routing_key, options, &body, properties).await.unwrap();
        let confirmed = confirm.await.unwrap();
        assert!(matches!(confirmed, Confirmation::Ack(None)), "nobody listens: {confirmed:?}");
    }

    /// Publishes without waiting for each.
    pub async fn say_all(&self, all: impl IntoIterator<Item = Said>) {
        let mut confirms = Vec::new();
        for Said { exchange, routing_key, properties, body } in all {
            let (exchange, key) = (exchange.as_str().into(), routing_key.as_str().into());
            let options = BasicPublishOptions::default();
            confirms
                .push(self.channel.basic_publish(exchange, key, options, &body, properties).await.unwrap());
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack());
        }
    }

    /// Everything that the stream holds.
    pub async fn stored(&self) -> Vec<Stored> {
        let Ok(stream) = bus::topology::events(&self.bus).await else { return Vec::new() };
        let mut found = Vec::new();
        let mut next = 1;
        while let Ok(message) = stream.get_first_raw_message_by_subject(">", next).await {
            next = message.sequence + 1;
            let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned());
            found.push(Stored {
                id: header("ce-id").unwrap_or_default(),
                subject: message.subject.to_string(),
                payload: serde_json::from_slice(&message.payload).unwrap(),
                headers: message.headers,
            });
        }
        found
    }

    pub async fn stored_count(&self) -> u64 {
        match bus::topology::events(&self.bus).await {
            Ok(mut stream) => stream.info().await.map(|info| info.state.messages).unwrap_or(0),
            Err(_) => 0,
        }
    }

    /// Waits until the stream holds an event of this id, and returns all that it holds.
    pub async fn until_stored(&self, id: &str) -> Vec<Stored> {
        let began = Instant::now();
        loop {
            let stored = self.stored().await;
            if stored.iter().any(|event| event.id == id) {
                return stored;
            }
            let ids: Vec<_> = stored.iter().map(|event| &event.id).collect();
            assert!(began.elapsed() < PATIENCE, "no event {id}, only {ids:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a message and takes it, acknowledged.
    pub async fn take(&self, queue: &str) -> Delivery {
        let began = Instant::now();
        loop {
            let no_ack = BasicGetOptions { no_ack: true };
            if let Some(got) = self.channel.basic_get(queue.into(), no_ack).await.unwrap() {
                return got.delivery;
            }
            assert!(began.elapsed() < PATIENCE, "nothing in {queue} within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn until(&self, what: &str, fact: impl AsyncFn(&Self) -> bool) {
        let began = Instant::now();
        while !fact(self).await {
            assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs the program as an operator does.
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

/// A wire to RabbitMQ on which, while it is held, nothing that the client says arrives; what the broker says does.
pub struct Wire {
    pub address: SocketAddr,
    held: Arc<AtomicBool>,
}

impl Wire {
    pub async fn to(url: &str) -> Self {
        let uri: lapin::uri::AMQPUri = url.parse().unwrap();
        let broker = (uri.authority.host, uri.authority.port);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, held) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let holding = held.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let broker = TcpStream::connect((broker.0.as_str(), broker.1)).await.unwrap();
                tokio::spawn(carry(client, broker, holding.clone()));
            }
        });
        Self { address, held }
    }

    /// The broker's URL by this wire.
    pub fn url(&self, url: &str) -> String {
        let (front, back) = url.split_once('@').unwrap();
        let (_, host) = back.split_once('/').unwrap();
        format!("{front}@{}/{host}", self.address)
    }

    pub fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// For connections made from now on: of the old ones a part is missing.
    pub fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
    }
}

async fn carry(client: TcpStream, broker: TcpStream, held: Arc<AtomicBool>) {
    let ((mut from_client, mut to_client), (mut from_broker, mut to_broker)) =
        (client.into_split(), broker.into_split());
    let heard = async {
        let _ = tokio::io::copy(&mut from_broker, &mut to_client).await;
    };
    let said = async {
        let mut bytes = vec![0; 64 * 1024];
        let mut silent = false;
        while let Ok(n @ 1..) = from_client.read(&mut bytes).await {
            // A connection that has missed something hears nothing more.
            silent |= held.load(Ordering::SeqCst);
            if !silent && to_broker.write_all(&bytes[..n]).await.is_err() {
                return;
            }
        }
    };
    // Either end closes both.
    tokio::select! { () = heard => {}, () = said => {} }
}
