//! The streams and consumers of the house with every limit.
//!
//! Invariant: nobody else creates a stream or a consumer. All of it can be run again at any time; after NATS's
//! data was wiped it builds everything anew. Hosts make what is missing; only the operator (`marquee migrate`) changes a
//! stream that is there, so that during a deploy old and new hosts do not undo each other.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};

use crate::{Bus, Failure};

pub const EVENTS: &str = "EVENTS";
pub const DLQ: &str = "DLQ";
pub const DLQ_PREFIX: &str = "dlq.";

/// What events are about: the first word of their subjects.
pub(crate) const NOUNS: [&str; 6] = ["movie", "showtime", "reservation", "payment", "refund", "user"];

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
pub(crate) const MESSAGE_MAX_BYTES: i32 = 512 * 1024;

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

/// Makes the streams that are missing. One with other limits is left as it is, and told of.
pub async fn ensure_streams(bus: &Bus) -> Result<(), Failure> {
    for wanted in streams(bus.replicas) {
        // Asked first: the server refuses to make a stream anew, even the same one, for which there is no more room.
        let found = match find(bus, &wanted.name).await? {
            Some(found) => found,
            None => match bus.jetstream.create_stream(wanted.clone()).await {
                Ok(made) => made.cached_info().config.clone(),
                // Another host was quicker, or it really failed.
                Err(error) => find(bus, &wanted.name).await?.ok_or_else(|| Failure::transient(error))?,
            },
        };
        let limits = |c: &Config| (c.subjects.clone(), c.max_age, c.max_bytes, c.num_replicas);
        if limits(&found) != limits(&wanted) {
            tracing::warn!(name = wanted.name, "a stream of another version; `marquee migrate` updates it");
        }
    }
    Ok(())
}

async fn find(bus: &Bus, name: &str) -> Result<Option<Config>, Failure> {
    match bus.jetstream.get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Ok(None)
            }
            _ => Err(Failure::transient(error)),
        },
    }
}

/// Makes both streams, or brings them up to date. Needs the operator's rights.
pub async fn update_streams(bus: &Bus) -> Result<(), Failure> {
    for config in streams(bus.replicas) {
        bus.jetstream.create_or_update_stream(config).await.map_err(Failure::transient)?;
    }
    Ok(())
}

fn streams(replicas: usize) -> [Config; 2] {
    let events = Config {
        name: EVENTS.into(),
        description: Some("Every fact of the house, by RabbitMQ routing key".into()),
        subjects: NOUNS.map(|noun| format!("{noun}.>")).into(),
        retention: RetentionPolicy::Limits,
        max_age: EVENTS_MAX_AGE,
        max_bytes: EVENTS_MAX_BYTES,
        max_message_size: MESSAGE_MAX_BYTES,
        duplicate_window: DUPLICATE_WINDOW,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: replicas,
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
    [events, dead_letters]
}

/// Creates or updates a durable consumer and returns its handle. Streams must be there.
pub async fn ensure_consumer(
    bus: &Bus,
    spec: ConsumerSpec,
) -> Result<async_nats::jetstream::consumer::Consumer<pull::Config>, Failure> {
    ensure_durable(bus, spec.name, spec.subjects).await
}

/// The same for one whose subjects are settings: the bridge's.
pub async fn ensure_durable(
    bus: &Bus,
    name: &str,
    subjects: &[impl AsRef<str>],
) -> Result<async_nats::jetstream::consumer::Consumer<pull::Config>, Failure> {
    let stream = events(bus).await?;
    let config = pull::Config {
        durable_name: Some(name.into()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: ACK_PENDING_MAX,
        filter_subjects: subjects.iter().map(|subject| subject.as_ref().to_owned()).collect(),
        ..Default::default()
    };
    stream.create_consumer(config).await.map_err(Failure::transient)
}

pub async fn events(bus: &Bus) -> Result<Stream, Failure> {
    bus.jetstream.get_stream(EVENTS).await.map_err(Failure::transient)
}
