//! Lists, shows, replays and drops dead letters, for the gateway and the command line.
//!
//! A replay does not publish: that would need the right to publish every event, and all other consumers have handled the
//! event already. Instead a host of the consumer is requested, at `replay.<consumer>`, to read the dead letter from the
//! stream and to handle it like a delivery, under the event's id. The reply is the result.
//! Invariant: a dead letter is deleted only after its consumer has committed it, by a person's decision, or when the person that it is
//! about is erased.

use std::time::Duration;

use async_nats::RequestErrorKind;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DeleteMessageErrorKind, DirectGetErrorKind, Stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

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

/// How long a consumer may take to handle one dead letter; a commit takes milliseconds, a request to another host seconds.
pub(crate) const HANDLING_MAX: Duration = Duration::from_secs(8);
/// A little longer, so that the host's own reply arrives.
const ANSWER_MAX: Duration = Duration::from_secs(9);

/// The subject on which a consumer's hosts serve replay requests.
pub fn replay_subject(consumer: &str) -> String {
    format!("replay.{consumer}")
}

/// A replay request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Replay {
    pub sequence: u64,
}

/// The result of a replay.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Replayed {
    Handled,
    /// It failed and may succeed later: something that it needs is not available.
    Later(String),
    /// It failed for good, as before.
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

/// One page of dead letters, the oldest first, without payloads.
pub async fn list(bus: &Bus, paging: Paging) -> Result<Page<DeadLetter>, Problem> {
    let stream = bus.jetstream.get_stream(DLQ).await.map_err(unavailable)?;
    let total = stream.cached_info().state.messages;
    let mut next = stream.cached_info().state.first_sequence.max(1);
    let mut items = Vec::new();
    let wanted = (paging.offset() + paging.limit()).cast_unsigned();
    for rank in 0..wanted.min(total) {
        let found = stream.direct_get_builder().sequence(next).next_by_subject(format!("{DLQ_PREFIX}>"));
        let message = match found.send().await {
            Ok(message) => message,
            // Some were deleted meanwhile.
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
            Err(error) => return Err(unavailable(error)),
        };
        next = message.sequence + 1;
        if rank >= paging.offset().cast_unsigned() {
            items.push(DeadLetter { payload: None, ..letter(&message) });
        }
    }
    Ok(paging.of(items, total))
}

/// One dead letter with its payload; 404 if it does not exist (any more).
pub async fn get(bus: &Bus, sequence: u64) -> Result<DeadLetter, Problem> {
    Ok(letter(&message(&stream(bus).await?, sequence).await?))
}

/// Has the consumer handle the dead letter, and deletes it if that succeeded. 409 `still-poison` if it failed for good; 503 if
/// no host of the consumer runs, or something that it needs is not available. Then the dead letter stays.
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
            "The consumer {} did not answer in time. Check it before you replay it again.",
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

/// Deletes a dead letter.
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

/// A dead letter with an e-mail address, and the ids of whom and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Personal {
    sequence: u64,
    pub user_ids: Vec<Uuid>,
    pub reservation_id: Option<Uuid>,
}

/// Every dead letter with an e-mail address.
pub async fn personal(bus: &Bus) -> Result<Vec<Personal>, Problem> {
    let stream = match bus.jetstream.get_stream(DLQ).await {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            // The first consumer of a new deployment makes it.
            GetStreamErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                return Ok(Vec::new());
            }
            _ => return Err(unavailable(error)),
        },
    };
    let mut next = stream.cached_info().state.first_sequence.max(1);
    let mut found = Vec::new();
    for _ in 0..stream.cached_info().state.messages {
        let message = stream.direct_get_builder().sequence(next).next_by_subject(format!("{DLQ_PREFIX}>"));
        let message = match message.send().await {
            Ok(message) => message,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
            Err(error) => return Err(unavailable(error)),
        };
        next = message.sequence + 1;
        found.extend(of_person(message.sequence, &message.payload));
    }
    Ok(found)
}

fn of_person(sequence: u64, payload: &[u8]) -> Option<Personal> {
    let event: Value = serde_json::from_slice(payload).ok()?;
    event["email"].as_str().filter(|address| !address.is_empty())?;
    let id = |field: &str| event[field].as_str().and_then(|text| Uuid::parse_str(text).ok());
    let user_ids = ["userId", "guestId"].into_iter().filter_map(id).collect();
    Some(Personal { sequence, user_ids, reservation_id: id("reservationId") })
}

/// Deletes a dead letter because its person is erased.
pub async fn delete_personal(bus: &Bus, letter: &Personal) -> Result<(), Problem> {
    tracing::info!(sequence = letter.sequence, "dead letter about an erased user deleted");
    delete(&stream(bus).await?, letter.sequence).await
}

async fn delete(stream: &Stream<()>, sequence: u64) -> Result<(), Problem> {
    match stream.delete_message(sequence).await {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            // It is already deleted.
            DeleteMessageErrorKind::JetStream(e) if e.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(()),
            _ => Err(unavailable(error)),
        },
    }
}

pub(crate) async fn stream(bus: &Bus) -> Result<Stream<()>, Problem> {
    bus.jetstream.get_stream_no_info(DLQ).await.map_err(unavailable)
}

pub(crate) async fn message(stream: &Stream<()>, sequence: u64) -> Result<StreamMessage, Problem> {
    // The server reads 0 as "not specified".
    if sequence == 0 {
        return Err(Problem::not_found("dead letter"));
    }
    stream.direct_get(sequence).await.map_err(|error| match error.kind() {
        DirectGetErrorKind::NotFound => Problem::not_found("dead letter"),
        _ => unavailable(error),
    })
}

fn unavailable(error: impl std::fmt::Display) -> Problem {
    tracing::warn!(%error, "the dead letters cannot be read");
    Problem::unavailable("The dead letters are not available. Please try again shortly.")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_personal_if_it_has_an_address() {
        let (guest, order) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let event = serde_json::json!({"email": "ada@example.org", "guestId": guest, "reservationId": order});
        let found = of_person(7, event.to_string().as_bytes());
        let wanted = Personal { sequence: 7, user_ids: vec![guest], reservation_id: Some(order) };
        assert_eq!(found, Some(wanted));
        for other in [r#"{"reservationId": "x"}"#, r#"{"email": "", "userId": "x"}"#, "no JSON", "7"] {
            assert_eq!(of_person(7, other.as_bytes()), None, "{other}");
        }
    }
}
