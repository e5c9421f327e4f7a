//! The streams and consumers of the house with every limit, created or brought up to date at each start.
//!
//! Invariant: nobody else creates a stream or a consumer. All of it can be run again at any time; after NATS's
//! data was wiped it builds everything anew.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};

use crate::{Bus, Failure};

pub const EVENTS: &str = "EVENTS";
pub const DLQ: &str = "DLQ";
pub const DLQ_PREFIX: &str = "dlq.";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long `EVENTS` keeps an event: a host that was away for a week still finds everything.
/// The outbox keeps as long, the inbox a day longer.
pub const EVENTS_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// 8 GiB is about ten million events of this contract, over a week of a large chain's sales.
const EVENTS_MAX_BYTES: i64 = 8 << 30;
/// Dead letters wait for a person, who may be on holiday.
const DLQ_MAX_AGE: Duration = DAY.saturating_mul(90);
const DLQ_MAX_BYTES: i64 = 1 << 30;
/// Only guards against quick repeats; the real dedupe is each consumer's inbox.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Larger than any payload of the contract (a layout of 2,000 seats is some 80 KiB).
const MESSAGE_MAX_BYTES: i32 = 512 * 1024;

/// The server redelivers what was not acknowledged within this: a hundred times what handling takes, and as long
/// as a moviegoer waits for a ticket when the host that had the message was killed.
pub const ACK_WAIT: Duration = Duration::from_secs(10);
/// Messages in the hands of one consumer's hosts: enough to keep group commits full, few enough to bound memory.
pub const ACK_PENDING_MAX: i64 = 2_048;

/// A durable consumer of `EVENTS`: who listens, and to exactly which subjects.
#[derive(Debug, Clone, Copy)]
pub struct ConsumerSpec {
    /// Also the name in the inbox.
    pub name: &'static str,
    pub subjects: &'static [&'static str],
}

/// Creates or updates both streams.
pub async fn ensure_streams(bus: &Bus) -> Result<(), Failure> {
    let events = Config {
        name: EVENTS.into(),
        description: Some("Every fact of the house, by RabbitMQ routing key".into()),
        subjects: ["movie.>", "showtime.>", "reservation.>", "payment.>", "refund.>", "user.>"]
            .map(Into::into)
            .into(),
        retention: RetentionPolicy::Limits,
        max_age: EVENTS_MAX_AGE,
        max_bytes: EVENTS_MAX_BYTES,
        max_message_size: MESSAGE_MAX_BYTES,
        duplicate_window: DUPLICATE_WINDOW,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: bus.replicas,
        allow_direct: true,
        ..Default::default()
    };
    let dead_letters = Config {
        name: DLQ.into(),
        description: Some(
            "Messages that their consumer could not handle, with the reason in the headers".into(),
        ),
        subjects: vec![format!("{DLQ_PREFIX}>")],
        max_age: DLQ_MAX_AGE,
        max_bytes: DLQ_MAX_BYTES,
        ..events.clone()
    };
    for config in [events, dead_letters] {
        bus.jetstream.create_or_update_stream(config).await.map_err(Failure::transient)?;
    }
    Ok(())
}

/// Creates or updates a durable consumer and returns its handle. Streams must be there.
pub async fn ensure_consumer(
    bus: &Bus,
    spec: ConsumerSpec,
) -> Result<async_nats::jetstream::consumer::Consumer<pull::Config>, Failure> {
    let stream = events(bus).await?;
    let config = pull::Config {
        durable_name: Some(spec.name.into()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: ACK_PENDING_MAX,
        filter_subjects: spec.subjects.iter().map(|s| s.to_string()).collect(),
        ..Default::default()
    };
    stream.create_consumer(config).await.map_err(Failure::transient)
}

pub async fn events(bus: &Bus) -> Result<Stream, Failure> {
    bus.jetstream.get_stream(EVENTS).await.map_err(Failure::transient)
}
