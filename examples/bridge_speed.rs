//! Measures the outbound speed of the bridge, and its memory while RabbitMQ is away: `cargo run --release --example
//! bridge_speed`. It starts a NATS and a RabbitMQ of its own, and the bridge as a process of its own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_nats::HeaderMap;
use bus::connection::Credentials;
use bus::{Bus, Config};
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use marquee::local::{Folder, Nats, RabbitMq};
use marquee::signals::Signals;

const SUBJECT: &str = "reservation.confirmed";
const EXCHANGES: [&str; 2] = ["marquee.events", "marquee.events.raw"];
/// Enough for some seconds at full speed.
const EVENTS: usize = 30_000;
/// At low load: one event every 20 ms.
const SINGLE_EVENTS: usize = 300;
const PAUSE: Duration = Duration::from_millis(20);
const OUTAGE_EVENTS: usize = 100_000;
/// Bytes of a payload, as a reservation's event has.
const TEXT: usize = 400;
const MAX_WAIT: Duration = Duration::from_secs(120);

/// Ended when dropped.
struct Bridge(Child);

impl Bridge {
    /// This program again, as `bridge`.
    fn start(nats: &Nats, amqp_url: &str) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .arg("bridge")
            .envs([
                ("NATS_URL", nats.url()),
                ("NATS_PASSWORD", nats.password().to_owned()),
                ("AMQP_URL", amqp_url.to_owned()),
            ])
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// Resident memory in KiB.
    fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if std::env::args().nth(1).as_deref() == Some("bridge") {
        return runtime.block_on(async { marquee::command::host("bridge", Signals::install()?).await });
    }
    runtime.block_on(measure())
}

async fn measure() -> Result<()> {
    let nats = Nats::start(&Folder::temporary()?).await?;
    let mut rabbitmq = RabbitMq::start(&Folder::temporary()?).await?;
    let bus = everything(&nats).await?;
    bus::topology::ensure_streams(&bus).await?;
    let channel = queues(&rabbitmq).await?;

    publish(&bus, 0..EVENTS).await?;
    let mut readers = [reader(&channel, EXCHANGES[0]).await?, reader(&channel, EXCHANGES[1]).await?];
    let started = Instant::now();
    let bridge = Bridge::start(&nats, &rabbitmq.url())?;
    let [nest, raw] = &mut readers;
    let first = tokio::try_join!(read(nest, 1), read(raw, 1)).map(|_| Instant::now())?;
    tokio::try_join!(read(nest, EVENTS - 1), read(raw, EVENTS - 1))?;
    let (whole, running) = (started.elapsed(), first.elapsed());
    println!(
        "outbound        {:.0} events/s, each to both exchanges, persistent and confirmed ({EVENTS} events; with the start {:.1} s)",
        (EVENTS - 1) as f64 / running.as_secs_f64(),
        whole.as_secs_f64()
    );

    let mut took = Vec::with_capacity(SINGLE_EVENTS);
    for number in 0..SINGLE_EVENTS {
        let published = Instant::now();
        publish(&bus, EVENTS + number..EVENTS + number + 1).await?;
        read(&mut readers[0], 1).await?;
        took.push(published.elapsed());
        read(&mut readers[1], 1).await?;
        tokio::time::sleep(PAUSE).await;
    }
    took.sort();
    println!(
        "latency         median {:.1} ms, 99th {:.1} ms from publishing to JetStream to a reader of the queue",
        1e3 * took[SINGLE_EVENTS / 2].as_secs_f64(),
        1e3 * took[SINGLE_EVENTS * 99 / 100].as_secs_f64()
    );

    drop(readers);
    let before = bridge.memory()?;
    rabbitmq.stop().await?;
    publish(&bus, 1_000_000..1_000_000 + OUTAGE_EVENTS).await?;
    let during = bridge.memory()?;
    rabbitmq.start_again().await?;
    let channel = queues(&rabbitmq).await?;
    let back = Instant::now();
    let mut readers = [reader(&channel, EXCHANGES[0]).await?, reader(&channel, EXCHANGES[1]).await?];
    let [nest, raw] = &mut readers;
    tokio::try_join!(read(nest, OUTAGE_EVENTS), read(raw, OUTAGE_EVENTS))?;
    println!(
        "outage          {OUTAGE_EVENTS} events: {} KiB before, {} KiB while RabbitMQ was away, {} KiB after; caught up in {:.1} s",
        before,
        during,
        bridge.memory()?,
        back.elapsed().as_secs_f64()
    );
    drop(bridge);
    rabbitmq.stop().await
}

/// A connection that may do everything.
async fn everything(nats: &Nats) -> Result<Bus> {
    let user = marquee::config::MAINTENANCE.to_owned();
    let (password, name) = (nats.password().to_owned(), "bridge-speed".into());
    Bus::connect(Config {
        urls: vec![nats.url()],
        user,
        credentials: Credentials::Password(password),
        name,
        streams: Default::default(),
    })
    .await
}

/// A durable queue behind each exchange, named like it.
async fn queues(rabbitmq: &RabbitMq) -> Result<Channel> {
    let connection = Connection::connect(&rabbitmq.url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    for name in EXCHANGES {
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        channel.exchange_declare(name.into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(name.into(), durable, FieldTable::default()).await?;
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(name.into(), name.into(), "#".into(), options, arguments).await?;
    }
    Ok(channel)
}

async fn reader(channel: &Channel, queue: &str) -> Result<Consumer> {
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    Ok(channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?)
}

/// Reads so many messages; repeats count as any other.
async fn read(reader: &mut Consumer, count: usize) -> Result<()> {
    for _ in 0..count {
        let next =
            tokio::time::timeout(MAX_WAIT, reader.next()).await.context("no further message arrives")?;
        next.context("the reader ended")??;
    }
    Ok(())
}

/// Publishes events and waits until JetStream has them.
async fn publish(bus: &Bus, numbers: std::ops::Range<usize>) -> Result<()> {
    let mut acks = Vec::with_capacity(1_000);
    for number in numbers.clone() {
        let mut headers = HeaderMap::new();
        let id = format!("event-{number}");
        for (name, value) in [
            ("Nats-Msg-Id", id.as_str()),
            ("ce-id", &id),
            ("ce-time", "2026-11-22T22:31:00.5Z"),
            ("X-Correlation-Id", "order-1"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ] {
            headers.insert(name, value);
        }
        let payload = format!(r#"{{"number":{number},"text":"{}"}}"#, "x".repeat(TEXT));
        acks.push(bus.jetstream.publish_with_headers(SUBJECT, headers, payload.into()).await?);
        if acks.len() == 1_000 || number + 1 == numbers.end {
            for ack in acks.drain(..) {
                ensure!(!ack.await?.duplicate, "{id} was there already");
            }
        }
    }
    Ok(())
}
