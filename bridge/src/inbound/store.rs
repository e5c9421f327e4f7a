//! Publishes an event to JetStream, and finds out why it was not stored.

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{self, ErrorCode};
use bus::{Bus, Failure, topology};

use super::Inbound;
use super::classify::InboundEvent;

/// The result of publishing an event to JetStream.
pub(super) enum Stored {
    Acknowledged(PublishAck),
    /// NATS does not let the bridge publish it.
    Refused,
    TooLarge(String),
    Failed(Failure),
}

impl Inbound {
    /// Waits for JetStream's ack.
    pub(super) async fn stored(
        &self,
        event: &InboundEvent,
        message: PublishMessage,
        ack: PublishAckFuture,
    ) -> Stored {
        let is_silent = |stored: &Result<_, PublishError>| matches!(stored, Err(e) if e.kind() == PublishErrorKind::TimedOut);
        let mut stored = ack.await;
        if is_silent(&stored) {
            // Either an outage, or a missing permission of which the server's error was missed. Whether the stream answers
            // another call distinguishes them. The second attempt has the same id, so it is no second event.
            if let Err(failure) = topology::events(&self.bus).await {
                return Stored::Failed(failure);
            }
            stored = match send(&self.bus, event, message).await {
                Ok(ack) => ack.await,
                Err(failure) => return Stored::Failed(failure),
            };
            if is_silent(&stored) {
                return match topology::events(&self.bus).await {
                    Ok(_) => Stored::Refused,
                    Err(failure) => Stored::Failed(failure),
                };
            }
        }
        match stored {
            Ok(ack) => Stored::Acknowledged(ack),
            Err(error) if is_too_large(&error) => Stored::TooLarge(error.to_string()),
            Err(error) => Stored::Failed(Failure::transient(error)),
        }
    }
}

pub(super) async fn send(
    bus: &Bus,
    event: &InboundEvent,
    message: PublishMessage,
) -> Result<PublishAckFuture, Failure> {
    bus.jetstream.send_publish(event.subject.clone(), message).await.map_err(Failure::transient)
}

fn is_too_large(error: &PublishError) -> bool {
    use std::error::Error as _;
    let source = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
    error.kind() == PublishErrorKind::MaxPayloadExceeded
        || source.is_some_and(|error| error.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)
}
