//! Moves a message that can never be handled to the dead letter stream, with the reason.

use async_nats::HeaderMap;
use async_nats::jetstream::{self, AckKind};
use bytes::Bytes;

use crate::dead_letter::{DLQ_ATTEMPTS, DLQ_CONSUMER, DLQ_REASON};
use crate::event::CE_ID;
use crate::topology::DLQ_PREFIX;
use crate::{Bus, retry};

/// Characters of a reason in a dead letter's header.
const REASON_MAX: usize = 500;

/// Publishes the message to the dead letter stream, and acknowledges it only after that stream's ack.
pub async fn park(bus: Bus, consumer: &'static str, message: jetstream::Message, reason: String) {
    let attempts = message.info().map(|i| i.delivered).unwrap_or(0);
    let mut headers = message.headers.clone().unwrap_or_default();
    // One dead letter for each message and consumer, however often parking is repeated.
    let id = headers.get(CE_ID).map(|v| v.to_string()).unwrap_or_else(|| message.subject.to_string());
    let sequence = message.info().map(|i| i.stream_sequence).unwrap_or(0);
    headers.insert(async_nats::header::NATS_MESSAGE_ID, format!("{consumer}/{id}/{sequence}").as_str());
    let why = (reason.as_str(), attempts.max(0).cast_unsigned());
    let stored =
        store_dead_letter(&bus, consumer, &message.subject, headers, message.payload.clone(), why).await;
    let settled = match stored {
        Ok(()) => message.ack_with(AckKind::Term).await,
        Err(error) => {
            tracing::error!(consumer, error, "dead letter not stored; again later");
            message.ack_with(AckKind::Nak(Some(retry::delay(5, sequence)))).await
        }
    };
    if let Err(error) = settled {
        tracing::warn!(consumer, %error, "message not settled");
    }
}

/// Publishes an event with its headers to the dead letter stream, with the reason and the number of attempts, and waits for
/// that stream's ack.
pub(super) async fn store_dead_letter(
    bus: &Bus,
    consumer: &'static str,
    subject: &str,
    mut headers: HeaderMap,
    payload: Bytes,
    (reason, attempts): (&str, u64),
) -> Result<(), String> {
    let id = headers.get(CE_ID).map(|value| value.to_string()).unwrap_or_default();
    let reason: String = reason.replace(['\r', '\n'], " ").chars().take(REASON_MAX).collect();
    headers.insert(DLQ_REASON, reason.as_str());
    headers.insert(DLQ_CONSUMER, consumer);
    headers.insert(DLQ_ATTEMPTS, attempts.to_string().as_str());
    let published =
        bus.jetstream.publish_with_headers(format!("{DLQ_PREFIX}{subject}"), headers, payload).await;
    published.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())?;
    metrics::counter!("dead_letters_total", "consumer" => consumer).increment(1);
    tracing::error!(consumer, subject, id, reason, attempts, "parked in the dead letter stream");
    Ok(())
}
