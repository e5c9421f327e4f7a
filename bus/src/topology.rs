//! The streams and durable consumers with all their limits.
//!
//! Invariant: nothing else creates a stream or a durable consumer. Every function can be repeated at any time; after NATS's
//! data was wiped they create everything again. Hosts create what is missing; only `marquee migrate` changes
//! an existing stream, so that during a deployment old and new hosts do not undo each other's changes.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind, UpdateStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};

use crate::connection::Bus;
use crate::failure::Failure;
use crate::streams::Streams;

pub const EVENTS: &str = "EVENTS";
pub const DLQ: &str = "DLQ";
pub const DLQ_PREFIX: &str = "dlq.";

/// The first token of every event's subject.
pub(crate) const NOUNS: [&str; 7] = ["movie", "showtime", "reservation", "payment", "refund", "user", "site"];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long `EVENTS` keeps an event: a host that was away for a week still finds everything.
/// The outbox keeps as long.
pub const EVENTS_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Dead letters wait for a person, who may be on leave.
const DLQ_MAX_AGE: Duration = DAY.saturating_mul(90);
/// Only guards against quick repeats; the handlers are idempotent by the rows that they change.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Larger than any payload of the contract (a layout of 2,000 seats is some 80 KiB).
pub const MESSAGE_MAX_BYTES: i32 = 512 * 1024;

/// The server redelivers a message that is not acknowledged within this: a hundred times what handling takes, and the
/// longest that a customer waits for a ticket if the host that had the message was killed.
pub const ACK_WAIT: Duration = Duration::from_secs(10);
/// Unacknowledged messages of one consumer. Messages that wait for their next delivery count, so it is much more than what its
/// hosts work on (`consumer/places.rs`): with the delays of `retry.rs` a message that fails waits three minutes until it is
/// parked, so 360 messages a second may fail before new ones have to wait.
const ACK_PENDING_MAX: i64 = 65_536;

/// Waits for a stream that another process creates at the same time: its storage is reserved before it can be found.
const CREATED_ELSEWHERE_TRIES: u32 = 10;
const CREATED_ELSEWHERE_EVERY: Duration = Duration::from_millis(200);

/// A durable consumer of `EVENTS`, with its subjects.
#[derive(Debug, Clone, Copy)]
pub struct ConsumerSpec {
    /// The durable name.
    pub name: &'static str,
    pub subjects: &'static [&'static str],
}

/// Creates missing streams. A stream with other limits is not changed, and logged as a warning.
pub async fn ensure_streams(bus: &Bus) -> Result<(), Failure> {
    for wanted in wanted_streams(&bus.streams) {
        let found = find_or_create(bus, &wanted).await?;
        let limits = |c: &Config| (c.subjects.clone(), c.max_age, c.max_bytes, c.num_replicas);
        if limits(&found) != limits(&wanted) {
            tracing::warn!(
                name = wanted.name,
                "a stream has limits of another version; `marquee migrate` updates it"
            );
        }
    }
    Ok(())
}

/// The stream's configuration; creates the stream if it is missing.
async fn find_or_create(bus: &Bus, wanted: &Config) -> Result<Config, Failure> {
    // Without this the server would refuse an existing stream if there is no storage for a second one.
    if let Some(found) = find(bus, &wanted.name).await? {
        return Ok(found);
    }
    let error = match bus.jetstream.create_stream(wanted.clone()).await {
        Ok(created) => return Ok(created.cached_info().config.clone()),
        Err(error) => error,
    };
    // Either another process is creating it, or it failed.
    for _ in 0..CREATED_ELSEWHERE_TRIES {
        if let Some(found) = find(bus, &wanted.name).await? {
            return Ok(found);
        }
        tokio::time::sleep(CREATED_ELSEWHERE_EVERY).await;
    }
    Err(match error.kind() {
        CreateStreamErrorKind::JetStream(refused) if is_lack_of_storage(refused.error_code()) => {
            Failure::transient(lack_of_storage(wanted, &refused))
        }
        _ => Failure::transient(error),
    })
}

/// The server's disk, its `max_file_store`, or an account's limit.
fn is_lack_of_storage(code: ErrorCode) -> bool {
    [
        ErrorCode::STORAGE_RESOURCES_EXCEEDED,
        ErrorCode::INSUFFICIENT_RESOURCES,
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
        ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED,
    ]
    .contains(&code)
}

fn lack_of_storage(wanted: &Config, refused: &impl std::fmt::Display) -> String {
    let (name, bytes, copies) = (&wanted.name, wanted.max_bytes, wanted.num_replicas);
    format!(
        "NATS has too little storage for the stream {name}: it reserves {bytes} bytes ({:.1} GiB) on each of {copies} \
         server(s). Give NATS more (max_file_store in nats.conf, its disk, or the account's limit), or the stream less by \
         NATS_{name}_MAX_BYTES, with the same value for every host and `marquee migrate`. NATS's answer: {refused}",
        bytes as f64 / f64::from(1 << 30),
    )
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

/// Creates or updates both streams. Needs the rights of the user `maintenance`. May run concurrently.
pub async fn update_streams(bus: &Bus) -> Result<(), Failure> {
    for wanted in wanted_streams(&bus.streams) {
        let found = find_or_create(bus, &wanted).await?;
        let updated = updated(&found, &wanted);
        if updated == found {
            continue;
        }
        bus.jetstream.update_stream(updated).await.map_err(|error| match error.kind() {
            UpdateStreamErrorKind::JetStream(refused) if is_lack_of_storage(refused.error_code()) => {
                Failure::transient(lack_of_storage(&wanted, &refused))
            }
            _ => Failure::transient(error),
        })?;
    }
    Ok(())
}

/// The stream's configuration with our fields changed and the server's own fields kept.
fn updated(found: &Config, wanted: &Config) -> Config {
    Config {
        description: wanted.description.clone(),
        subjects: wanted.subjects.clone(),
        retention: wanted.retention,
        max_age: wanted.max_age,
        max_bytes: wanted.max_bytes,
        max_message_size: wanted.max_message_size,
        duplicate_window: wanted.duplicate_window,
        discard: wanted.discard,
        num_replicas: wanted.num_replicas,
        allow_direct: wanted.allow_direct,
        ..found.clone()
    }
}

fn wanted_streams(streams: &Streams) -> [Config; 2] {
    let events = Config {
        name: EVENTS.into(),
        description: Some("Every event of Marquee, by RabbitMQ routing key".into()),
        subjects: NOUNS.map(|noun| format!("{noun}.>")).into(),
        retention: RetentionPolicy::Limits,
        max_age: EVENTS_MAX_AGE,
        max_bytes: streams.events_max_bytes,
        max_message_size: MESSAGE_MAX_BYTES,
        duplicate_window: DUPLICATE_WINDOW,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: streams.replicas,
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
        max_bytes: streams.dlq_max_bytes,
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
