//! Dead letters listed, shown, handled again and dropped, for the gateway and the command line alike.
//!
//! A replay does not publish: an event's copy would have to be published by somebody who may say everything, and every other
//! consumer has handled it already. Instead the consumer's own host is asked, at `replay.<consumer>`, to take the letter from the stream and
//! to handle it as if it had been delivered, under the event's own id. The answer tells how that went.
//! Invariant: a letter leaves the stream only after its consumer has committed it, or by a person's decision.

use std::time::Duration;

use async_nats::RequestErrorKind;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DeleteMessageErrorKind, DirectGetErrorKind, Stream};
use serde::{Deserialize, Serialize};

use crate::contract::dead_letter::{
    DeadLetter, DropDeadLetter, GetDeadLetter, ListDeadLetters, ReplayDeadLetter,
};
use crate::contract::{Page, Paging, Problem, Request, Timestamp, decode};
use crate::event::CE_ID;
use crate::service::{Answered, json};
use crate::topology::{DLQ, DLQ_PREFIX};
use crate::{Bus, Context, context};

/// Headers of a dead letter.
pub const DLQ_REASON: &str = "Marquee-Reason";
pub const DLQ_CONSUMER: &str = "Marquee-Consumer";
pub const DLQ_ATTEMPTS: &str = "Marquee-Attempts";

/// How long a consumer may take to handle one letter; a commit takes milliseconds, asking another host some seconds.
pub(crate) const HANDLING_MAX: Duration = Duration::from_secs(8);
/// A little longer, so that the host's own answer arrives.
const ANSWER_MAX: Duration = Duration::from_secs(9);

/// Where a consumer's hosts are asked to handle a dead letter again.
pub fn replay_subject(consumer: &str) -> String {
    format!("replay.{consumer}")
}

/// What is asked there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Replay {
    pub sequence: u64,
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Replayed {
    Handled,
    /// Not now: something that it needs is away.
    Later(String),
    /// It is as poisonous as before.
    Poison(String),
}

/// Whether a request is about dead letters. No host answers these: a process that may read the stream calls [`answer`].
pub fn is_request(subject: &str) -> bool {
    [ListDeadLetters::SUBJECT, GetDeadLetter::SUBJECT, ReplayDeadLetter::SUBJECT, DropDeadLetter::SUBJECT]
        .contains(&subject)
}

/// Answers a request about dead letters, given its subject and its JSON.
pub async fn answer(bus: &Bus, subject: &str, payload: &[u8], context: &Context) -> Answered {
    match subject {
        ListDeadLetters::SUBJECT => json(&list(bus, decode::<ListDeadLetters>(payload)?.paging).await?),
        GetDeadLetter::SUBJECT => json(&get(bus, decode::<GetDeadLetter>(payload)?.sequence).await?),
        ReplayDeadLetter::SUBJECT => {
            json(&replay(bus, decode::<ReplayDeadLetter>(payload)?.sequence, context).await?)
        }
        DropDeadLetter::SUBJECT => json(&remove(bus, decode::<DropDeadLetter>(payload)?.sequence).await?),
        _ => Err(Problem::internal()),
    }
}

/// One page of letters, the oldest first, without payloads.
pub async fn list(bus: &Bus, paging: Paging) -> Result<Page<DeadLetter>, Problem> {
    let stream = bus.jetstream.get_stream(DLQ).await.map_err(away)?;
    let total = stream.cached_info().state.messages;
    let mut next = stream.cached_info().state.first_sequence.max(1);
    let mut items = Vec::new();
    let wanted = (paging.offset() + paging.limit()).cast_unsigned();
    for rank in 0..wanted.min(total) {
        let found = stream.direct_get_builder().sequence(next).next_by_subject(format!("{DLQ_PREFIX}>"));
        let message = match found.send().await {
            Ok(message) => message,
            // Some left meanwhile.
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
            Err(error) => return Err(away(error)),
        };
        next = message.sequence + 1;
        if rank >= paging.offset().cast_unsigned() {
            items.push(DeadLetter { payload: None, ..letter(&message) });
        }
    }
    Ok(paging.of(items, total))
}

/// One letter with its payload; 404 when there is none at this place (any more).
pub async fn get(bus: &Bus, sequence: u64) -> Result<DeadLetter, Problem> {
    Ok(letter(&message(&stream(bus).await?, sequence).await?))
}

/// Has the letter's consumer handle it, and drops it when that succeeded. 409 `still-poison`; 503 when no host of the consumer
/// runs or what it needs is away: the letter stays.
pub async fn replay(bus: &Bus, sequence: u64, context: &Context) -> Result<DeadLetter, Problem> {
    let stream = stream(bus).await?;
    let letter = letter(&message(&stream, sequence).await?);
    let mut headers = async_nats::HeaderMap::new();
    context.write(&mut headers);
    let question = serde_json::to_vec(&Replay { sequence }).expect("a number serializes");
    let request =
        async_nats::Request::new().payload(question.into()).headers(headers).timeout(Some(ANSWER_MAX));
    let answer = bus.client.send_request(replay_subject(&letter.consumer), request).await;
    let answer = answer.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => {
            Problem::unavailable(format!("No host of the consumer {} runs.", letter.consumer))
        }
        _ => Problem::unavailable(format!(
            "The consumer {} did not answer in time. Look again before another try.",
            letter.consumer
        )),
    })?;
    let replayed = serde_json::from_slice(&answer.payload).map_err(|_| Problem::internal())?;
    tracing::info!(
        sequence,
        ?replayed,
        subject = letter.subject,
        event = letter.event_id,
        "dead letter replayed"
    );
    match replayed {
        Replayed::Handled => {
            delete(&stream, sequence).await?;
            Ok(letter)
        }
        Replayed::Later(why) => Err(Problem::unavailable(format!("Not handled yet: {why}."))),
        Replayed::Poison(why) => {
            Err(Problem::new(409, "still-poison", format!("It failed again and stays: {why}.")))
        }
    }
}

/// Drops a letter for good.
pub async fn remove(bus: &Bus, sequence: u64) -> Result<(), Problem> {
    let stream = stream(bus).await?;
    let letter = letter(&message(&stream, sequence).await?);
    delete(&stream, sequence).await?;
    tracing::warn!(
        sequence,
        subject = letter.subject,
        event = letter.event_id,
        consumer = letter.consumer,
        "dead letter dropped"
    );
    Ok(())
}

async fn delete(stream: &Stream<()>, sequence: u64) -> Result<(), Problem> {
    match stream.delete_message(sequence).await {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            // Somebody else was quicker.
            DeleteMessageErrorKind::JetStream(e) if e.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(()),
            _ => Err(away(error)),
        },
    }
}

pub(crate) async fn stream(bus: &Bus) -> Result<Stream<()>, Problem> {
    bus.jetstream.get_stream_no_info(DLQ).await.map_err(away)
}

pub(crate) async fn message(stream: &Stream<()>, sequence: u64) -> Result<StreamMessage, Problem> {
    // The server takes 0 for "not said".
    if sequence == 0 {
        return Err(Problem::not_found("dead letter"));
    }
    stream.direct_get(sequence).await.map_err(|error| match error.kind() {
        DirectGetErrorKind::NotFound => Problem::not_found("dead letter"),
        _ => away(error),
    })
}

fn away(error: impl std::fmt::Display) -> Problem {
    tracing::warn!(%error, "the dead letters are away");
    Problem::unavailable("The dead letters are away. Try again shortly.")
}

fn letter(message: &StreamMessage) -> DeadLetter {
    let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned());
    let text = || String::from_utf8_lossy(&message.payload).into_owned().into();
    DeadLetter {
        sequence: message.sequence,
        subject: message.subject.strip_prefix(DLQ_PREFIX).unwrap_or(&message.subject).to_owned(),
        event_id: header(CE_ID).unwrap_or_default(),
        consumer: header(DLQ_CONSUMER).unwrap_or_default(),
        reason: header(DLQ_REASON).unwrap_or_default(),
        attempts: header(DLQ_ATTEMPTS).and_then(|n| n.parse().ok()).unwrap_or_default(),
        parked_at: Timestamp::from(message.time),
        correlation_id: header(context::CORRELATION_ID),
        payload: Some(serde_json::from_slice(&message.payload).unwrap_or_else(|_| text())),
    }
}
