//! Publishes events of the stream again: for a consumer that is new, or whose tables were lost.
//!
//! Invariant: a copy is the same event with the same id, and handlers are idempotent: one that has handled it changes nothing.
//! It is a new message to the stream by `Nats-Msg-Id = <event id>#<run>`. Copies are not copied again.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{Message, message::PublishMessage};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use time::OffsetDateTime;

use crate::event::{CE_ID, MARQUEE_ONLY};
use crate::{Bus, Failure, topology};

/// Events read and published together.
const PAGE: usize = 500;
/// Most events of one run, whose ids are kept in memory. To replay more, replay one subject after another.
const EVENTS_MAX: usize = 2_000_000;
/// Longest wait for a page.
const PAGE_WAIT: Duration = Duration::from_secs(5);
/// Separates the event's id and the run in a copy's message id.
pub(crate) const COPY: char = '#';

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Sequence(u64),
    Time(OffsetDateTime),
}

/// What to publish again.
#[derive(Debug, Clone)]
pub struct Selection {
    pub from: From,
    /// A filter such as `payment.>`.
    pub subject: String,
    /// For this consumer alone; others acknowledge and skip.
    pub only: Option<String>,
}

/// The result of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    pub events: usize,
    /// The last sequence that was read.
    pub last_sequence: u64,
}

/// Publishes page by page, up to what was the end of the stream when it began. `run` distinguishes this replay from others
/// within the stream's duplicate window.
pub async fn replay(bus: &Bus, selection: &Selection, run: u64) -> anyhow::Result<Replayed> {
    let mut stream = topology::events(bus).await?;
    let end = stream.info().await?.state.last_sequence;
    let config = pull::Config {
        deliver_policy: match selection.from {
            From::Sequence(start_sequence) => {
                DeliverPolicy::ByStartSequence { start_sequence: start_sequence.max(1) }
            }
            From::Time(start_time) => DeliverPolicy::ByStartTime { start_time },
        },
        filter_subject: selection.subject.clone(),
        ack_policy: AckPolicy::None,
        // Longer than a page may take; after that the server deletes the consumer.
        inactive_threshold: Duration::from_secs(120),
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let mut done = Replayed::default();
    let mut seen = HashSet::new();
    loop {
        let mut page = Vec::new();
        let mut batch = consumer.fetch().max_messages(PAGE).expires(PAGE_WAIT).messages().await?;
        let mut at_end = true;
        while let Some(message) = batch.next().await {
            let message = message.map_err(|error| anyhow::anyhow!("reading the stream: {error}"))?;
            let info = message.info().map_err(|error| anyhow::anyhow!("not of a stream: {error}"))?;
            let (sequence, pending) = (info.stream_sequence, info.pending);
            at_end = sequence >= end || pending == 0;
            if sequence > end {
                break;
            }
            done.last_sequence = sequence;
            if let Some(id) = original(&message).filter(|id| !seen.contains(id)) {
                anyhow::ensure!(seen.len() < EVENTS_MAX, "more than {EVENTS_MAX} events; narrow it down");
                seen.insert(id.clone());
                page.push((id, message));
            }
        }
        done.events += page.len();
        publish(bus, page, selection.only.as_deref(), run).await?;
        if at_end {
            return Ok(done);
        }
    }
}

/// The event's id; `None` for a copy and for a message that is no event.
fn original(message: &Message) -> Option<String> {
    let headers = message.headers.as_ref()?;
    let is_copy = headers.get(NATS_MESSAGE_ID).is_some_and(|id| id.as_str().contains(COPY));
    headers.get(CE_ID).filter(|_| !is_copy).map(|id| id.as_str().to_owned())
}

/// Publishes a page and waits for every ack.
async fn publish(
    bus: &Bus,
    page: Vec<(String, Message)>,
    only: Option<&str>,
    run: u64,
) -> anyhow::Result<()> {
    let mut acks = FuturesUnordered::new();
    for (id, message) in page {
        let mut headers = message.headers.clone().unwrap_or_default();
        headers.insert(NATS_MESSAGE_ID, format!("{id}{COPY}{run}").as_str());
        if let Some(only) = only {
            headers.insert(MARQUEE_ONLY, only);
        }
        let copy = PublishMessage::build().payload(message.payload.clone()).headers(headers);
        acks.push(bus.jetstream.send_publish(message.subject.clone(), copy).await?.into_future());
    }
    while let Some(ack) = acks.next().await {
        let ack = ack.map_err(Failure::transient)?;
        anyhow::ensure!(!ack.duplicate, "the stream took a copy for a duplicate; try again");
    }
    Ok(())
}
