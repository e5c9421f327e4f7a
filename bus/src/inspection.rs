//! What NATS reports about a deployment, for `marquee doctor`: running processes, streams, consumers, storage, the server's time.
//!
//! Invariant: nothing is changed. [`may_request`] sends requests without a body, which JetStream refuses as malformed
//! before it looks at them: that shows whether the user may send them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use crate::connection::Bus;
use crate::topology;

/// The oldest version of NATS that has all that is used.
pub const LEAST_VERSION: (i64, i64) = (2, 10);

/// A process that answers a ping of the NATS services API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct RunningProcess {
    /// `auth` and so on, or `gateway`.
    pub name: String,
    pub version: String,
    /// Differs for each process.
    pub id: String,
}

/// The limits and the content of a stream.
#[derive(Debug, Clone)]
pub struct StreamState {
    pub messages: u64,
    pub bytes: u64,
    /// None: without a limit.
    pub bytes_max: Option<u64>,
    pub replicas: usize,
}

impl StreamState {
    /// Bytes, of `bytes_max`; 0 without a limit.
    pub fn full_percent(&self) -> u64 {
        self.bytes_max.filter(|max| *max > 0).map_or(0, |max| self.bytes.saturating_mul(100) / max)
    }
}

/// How far a durable consumer has come.
#[derive(Debug, Clone)]
pub struct ConsumerState {
    pub name: String,
    /// Events that were not delivered yet.
    pub pending: u64,
    /// Delivered and not settled yet.
    pub in_hand: u64,
    /// Age of the oldest of both by the clock of NATS; None where there is none.
    pub oldest: Option<Duration>,
}

/// The disk that JetStream has for this account.
#[derive(Debug, Clone, Copy)]
pub struct Storage {
    pub used: u64,
    /// None: the account has no limit of its own; the server's `max_file_store` and its disk count.
    pub max: Option<u64>,
}

/// The processes that answer within `limit`. Returns earlier once every `expected` name has answered and no further answer
/// came for a tenth of a second.
pub async fn running(
    bus: &Bus,
    expected: &BTreeSet<&str>,
    limit: Duration,
) -> anyhow::Result<Vec<RunningProcess>> {
    const QUIET: Duration = Duration::from_millis(100);
    let inbox = bus.client.new_inbox();
    let mut answers = bus.client.subscribe(inbox.clone()).await?;
    bus.client.publish_with_reply("$SRV.PING", inbox, bytes::Bytes::new()).await?;
    let end = Instant::now() + limit;
    let mut found = BTreeSet::<RunningProcess>::new();
    loop {
        let is_complete = expected.iter().all(|name| found.iter().any(|process| process.name == *name));
        let until = if is_complete { end.min(Instant::now() + QUIET) } else { end };
        match tokio::time::timeout_at(until, answers.next()).await {
            Ok(Some(answer)) => found.extend(serde_json::from_slice::<RunningProcess>(&answer.payload).ok()),
            Ok(None) | Err(_) => return Ok(found.into_iter().collect()),
        }
    }
}

/// The version that the server names when a client connects.
pub fn server_version(bus: &Bus) -> String {
    bus.client.server_info().version
}

/// Whether the server is new enough.
pub fn is_new_enough(bus: &Bus) -> bool {
    let (major, minor) = LEAST_VERSION;
    bus.client.is_server_compatible(major, minor, 0)
}

/// The server's time, which it adds to the description of a stream; None where the stream is missing or the server too old.
pub async fn server_time(bus: &Bus) -> anyhow::Result<Option<OffsetDateTime>> {
    #[derive(Deserialize)]
    struct Described {
        ts: Option<String>,
    }
    let answer = bus.client.request(format!("$JS.API.STREAM.INFO.{}", topology::EVENTS), "".into()).await?;
    let described: Described = serde_json::from_slice(&answer.payload)?;
    described.ts.map(|ts| OffsetDateTime::parse(&ts, &Rfc3339)).transpose().context("the server's time")
}

/// The state of a stream; None where it does not exist.
pub async fn stream(bus: &Bus, name: &str) -> anyhow::Result<Option<StreamState>> {
    let stream = match bus.jetstream.get_stream(name).await {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                return Ok(None);
            }
            _ => return Err(error.into()),
        },
    };
    let described = stream.cached_info();
    Ok(Some(StreamState {
        messages: described.state.messages,
        bytes: described.state.bytes,
        bytes_max: u64::try_from(described.config.max_bytes).ok(),
        replicas: described.config.num_replicas,
    }))
}

/// The durable consumers of `EVENTS`.
pub async fn consumers(bus: &Bus) -> anyhow::Result<Vec<ConsumerState>> {
    let stream = topology::events(bus).await?;
    let now = server_time(bus).await?.unwrap_or_else(OffsetDateTime::now_utc);
    let all: Vec<_> = stream.consumers().try_collect().await?;
    let mut states = Vec::new();
    for found in all.into_iter().filter(|found| found.config.durable_name.is_some()) {
        let in_hand = found.num_ack_pending as u64;
        let mut oldest: Option<OffsetDateTime> = None;
        if found.num_pending + in_hand > 0 {
            let one = Some(found.config.filter_subject.clone()).filter(|subject| !subject.is_empty());
            for subject in found.config.filter_subjects.iter().chain(&one) {
                let next = found.ack_floor.stream_sequence + 1;
                // None is left of this subject, or the server is busy: then another subject shows the age.
                if let Ok(message) = stream.get_first_raw_message_by_subject(subject, next).await {
                    oldest = Some(oldest.map_or(message.time, |oldest| oldest.min(message.time)));
                }
            }
        }
        let oldest = oldest.map(|oldest| Duration::try_from(now - oldest).unwrap_or_default());
        states.push(ConsumerState { name: found.name, pending: found.num_pending, in_hand, oldest });
    }
    states.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(states)
}

/// The disk of JetStream.
pub async fn storage(bus: &Bus) -> anyhow::Result<Storage> {
    let account = bus.jetstream.query_account().await?;
    let max = account.limits.max_storage.and_then(|max| u64::try_from(max).ok());
    Ok(Storage { used: account.storage, max })
}

/// Some requests of `marquee doctor` and `marquee dead-letters`: to list consumers, to read an event, to delete a dead letter.
pub fn requests_of_operator() -> [String; 3] {
    let (events, dead_letters) = (topology::EVENTS, topology::DLQ);
    [
        format!("$JS.API.CONSUMER.LIST.{events}"),
        format!("$JS.API.STREAM.MSG.GET.{events}"),
        format!("$JS.API.STREAM.MSG.DELETE.{dead_letters}"),
    ]
}

/// Whether this user may send a request to JetStream. The request has no body, so the server refuses it and changes nothing.
pub async fn may_request(bus: &Bus, subject: &str, limit: Duration) -> anyhow::Result<bool> {
    let since = Instant::now();
    let asked = bus.client.request(subject.to_owned(), "".into());
    tokio::select! {
        () = bus.forbidden.refused(subject, since) => Ok(false),
        answer = asked => answer.map(|_| true).context("no reply"),
        () = tokio::time::sleep(limit) => anyhow::bail!("no reply within {limit:?}"),
    }
}
