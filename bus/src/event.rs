//! An event that is published: CloudEvents 1.0 in binary mode, that is, attributes in headers and only data in the body.

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use uuid::Uuid;

use crate::contract::{Event, Timestamp};
use crate::{Bus, Context, Failure, trace};

pub const CE_ID: &str = "ce-id";
pub const CE_TYPE: &str = "ce-type";
pub const CE_SOURCE: &str = "ce-source";
pub const CE_TIME: &str = "ce-time";
pub const CE_SPECVERSION: &str = "ce-specversion";
/// The only consumer that handles a replayed event; others acknowledge and skip it.
pub const MARQUEE_ONLY: &str = "Marquee-Only";

/// One event as it is stored in the outbox and published. When it is published again, it has the same id.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// UUIDv7 made with the decision: `ce-id` and `Nats-Msg-Id`.
    pub id: Uuid,
    pub subject: String,
    pub source: String,
    pub time: Timestamp,
    pub payload: Bytes,
    pub context: Context,
}

/// Reads the payload of an event.
pub fn read<E: Event>(payload: &[u8]) -> Result<E, Failure> {
    serde_json::from_slice(payload).map_err(|e| Failure::poison(format!("not a {}: {e}", E::SUBJECT)))
}

impl Outgoing {
    /// `domain` is the source; `time` is when the event occurred.
    pub fn new<E: Event>(domain: &str, event: &E, time: Timestamp, context: &Context) -> Self {
        let payload = serde_json::to_vec(event).expect("contract types are plain data and always serialize");
        Self {
            id: Uuid::now_v7(),
            subject: E::SUBJECT.to_owned(),
            source: format!("/marquee/{domain}"),
            time,
            payload: payload.into(),
            context: context.clone(),
        }
    }

    /// The same event in a new span of its publishing, if spans are recorded. The span ends with its last clone.
    pub fn traced(self) -> (tracing::Span, Self) {
        if !trace::is_on() {
            return (tracing::Span::none(), self);
        }
        let (span, context) =
            trace::begin(trace::Kind::Producer, format_args!("publish {}", self.subject), &self.context);
        (span, Self { context, ..self })
    }

    pub fn headers(&self) -> HeaderMap {
        let id = self.id.to_string();
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
        headers.insert(CE_ID, id.as_str());
        headers.insert(CE_TYPE, self.subject.as_str());
        headers.insert(CE_SOURCE, self.source.as_str());
        headers.insert(CE_TIME, self.time.to_string().as_str());
        headers.insert(CE_SPECVERSION, "1.0");
        self.context.write(&mut headers);
        headers
    }

    /// Publishes without waiting for the ack; await the returned future for it. Poison: NATS will never accept it.
    pub async fn send(&self, bus: &Bus) -> Result<async_nats::jetstream::context::PublishAckFuture, Failure> {
        let message = PublishMessage::build().payload(self.payload.clone()).headers(self.headers());
        bus.jetstream.send_publish(self.subject.clone(), message).await.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Failure::poison(error),
            _ => Failure::transient(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::auth::{Role, UserRegistered};

    #[test]
    fn headers_carry_the_cloud_event_and_the_correlation() {
        let event = UserRegistered {
            user_id: Uuid::nil(),
            email: "ada@example.org".into(),
            name: "Ada".into(),
            role: Role::User,
        };
        let context = Context::from_parts(Some("order-1"), None);
        let outgoing = Outgoing::new("auth", &event, Timestamp::wall_clock(), &context);
        let headers = outgoing.headers();
        let text = |name: &str| headers.get(name).map(|v| v.as_str()).unwrap_or_default().to_owned();
        assert_eq!(text("ce-type"), "user.registered");
        assert_eq!(text("ce-source"), "/marquee/auth");
        assert_eq!(text("ce-id"), text("Nats-Msg-Id"));
        assert_eq!(text("X-Correlation-Id"), "order-1");
        assert!(text("ce-time").ends_with('Z'));
    }
}
