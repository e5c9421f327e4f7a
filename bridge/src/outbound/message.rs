//! Converts an event of JetStream into a message of RabbitMQ.
//!
//! Invariant: the message id is the event's id, however often it is sent. There is always a table of headers, all of them
//! long strings; `reply_to` is never set, because a Nest service would handle the event as a request.

use async_nats::jetstream;
use bus::consumer::Delivery;
use bus::context::{CORRELATION_ID, TRACEPARENT};
use bus::contract::Timestamp;
use bus::event::{CE_ID, CE_TIME, MARQUEE_ONLY};
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde::de::IgnoredAny;
use time::macros::format_description;

use super::Target;
use crate::envelope;
use crate::names::{
    APP_ID, EVENT_ID, HOPS, NATS_HOPS, NATS_SOURCE, OCCURRED_AT, ORIGIN, STREAM_SEQUENCE, nats_source,
};

/// Survives a restart of the broker.
const PERSISTENT: u8 = 2;
/// Longest event id: fits a message id of 255 bytes with room for a suffix.
const ID_MAX: usize = 200;
const NOT_JSON: &str = "the payload is not JSON";

/// What is done with a message of the stream.
#[derive(Debug)]
pub(super) enum Conversion {
    Publish(OutboundEvent),
    /// It is not for this target.
    Skip,
    /// It can never be published: park it with the reason.
    Poison(&'static str),
}

/// An event as it is published to RabbitMQ.
#[derive(Debug, Clone)]
pub(super) struct OutboundEvent {
    pub id: String,
    pub subject: String,
    pub payload: Bytes,
    /// Sequence in the stream; 0 if unknown.
    pub sequence: u64,
    correlation_id: Option<String>,
    traceparent: Option<String>,
    time: Option<Timestamp>,
    hops: u32,
}

/// Converts a message of the stream for one target.
pub(super) fn convert(message: &jetstream::Message, target: &Target) -> Conversion {
    let header = |name: &str| message.headers.as_ref()?.get(name).map(|value| value.as_str());
    if header(MARQUEE_ONLY).is_some_and(|only| only != target.consumer) {
        return Conversion::Skip;
    }
    // The event was published through this exchange, so its consumers have received it.
    if header(NATS_SOURCE) == Some(&nats_source(&target.exchange)) {
        return Conversion::Skip;
    }
    let Some(id) = header(CE_ID).filter(|id| (1..=ID_MAX).contains(&id.len())) else {
        return Conversion::Poison("the message has no ce-id");
    };
    // A consumer that requeues what it cannot parse would receive such a body in an endless loop.
    if serde_json::from_slice::<IgnoredAny>(&message.payload).is_err() {
        return Conversion::Poison(NOT_JSON);
    }
    let hops: u32 = header(NATS_HOPS).and_then(|hops| hops.parse().ok()).unwrap_or(0);
    Conversion::Publish(OutboundEvent {
        id: id.to_owned(),
        subject: message.subject.to_string(),
        payload: message.payload.clone(),
        sequence: message.info().map(|info| info.stream_sequence).unwrap_or(0),
        correlation_id: header(CORRELATION_ID).map(str::to_owned),
        traceparent: header(TRACEPARENT).map(str::to_owned),
        time: header(CE_TIME).and_then(|time| serde_json::from_value(time.into()).ok()),
        hops: hops.saturating_add(1),
    })
}

/// Converts a dead letter that is replayed; the error is the reason why it cannot be published.
pub(super) fn convert_dead_letter(dead_letter: &Delivery) -> Result<OutboundEvent, &'static str> {
    if serde_json::from_slice::<IgnoredAny>(&dead_letter.payload).is_err() {
        return Err(NOT_JSON);
    }
    Ok(OutboundEvent {
        id: dead_letter.id.clone(),
        subject: dead_letter.subject.clone(),
        payload: dead_letter.payload.clone(),
        sequence: 0,
        correlation_id: Some(dead_letter.context.correlation_id.clone()),
        traceparent: Some(dead_letter.context.traceparent.clone()),
        time: dead_letter.time,
        hops: 1,
    })
}

impl OutboundEvent {
    pub fn properties(&self, bridge_id: &str) -> BasicProperties {
        let mut headers = FieldTable::default();
        let mut header = |name: &str, value: &str| {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        };
        header(ORIGIN, bridge_id);
        header(EVENT_ID, &self.id);
        if self.sequence > 0 {
            header(STREAM_SEQUENCE, &self.sequence.to_string());
        }
        header(HOPS, &self.hops.to_string());
        if let Some(time) = self.time.map(milliseconds) {
            header(OCCURRED_AT, &time);
        }
        if let Some(traceparent) = &self.traceparent {
            header(TRACEPARENT, traceparent);
        }
        let seconds = self.time.unwrap_or_else(Timestamp::wall_clock).unix_seconds();
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/json".into())
            .with_message_id(self.id.as_str().into())
            .with_type(self.subject.as_str().into())
            .with_app_id(APP_ID.into())
            .with_timestamp(seconds.try_into().unwrap_or_default())
            .with_headers(headers);
        match &self.correlation_id {
            Some(id) if id.len() <= ID_MAX => properties.with_correlation_id(id.as_str().into()),
            _ => properties,
        }
    }

    /// Bare data, or Nest's envelope with it. Nest finds the handler by the envelope and ignores the routing key.
    pub fn body(&self, in_envelope: bool) -> Bytes {
        if !in_envelope {
            return self.payload.clone();
        }
        envelope::nest(&self.subject, &self.payload).into()
    }
}

/// RFC 3339 with milliseconds, as JavaScript writes it.
fn milliseconds(time: Timestamp) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.date_time().format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> OutboundEvent {
        OutboundEvent {
            id: "0199".into(),
            subject: "movie.created".into(),
            payload: r#"{"id":"m1"}"#.into(),
            sequence: 7,
            correlation_id: Some("order-1".into()),
            traceparent: None,
            time: serde_json::from_str("\"2026-11-22T22:31:00.1234Z\"").ok(),
            hops: 1,
        }
    }

    #[test]
    fn the_body_is_nests_envelope_or_the_data_alone() {
        assert_eq!(event().body(true), r#"{"pattern":"movie.created","data":{"id":"m1"}}"#);
        assert_eq!(event().body(false), r#"{"id":"m1"}"#);
    }

    #[test]
    fn every_header_is_a_long_string_and_there_is_no_reply_address() {
        let properties = event().properties("marquee");
        let headers = properties.headers().as_ref().unwrap().inner();
        assert!(headers.values().all(|value| matches!(value, AMQPValue::LongString(_))), "{headers:?}");
        assert_eq!(headers["occurred-at"], AMQPValue::LongString("2026-11-22T22:31:00.123Z".into()));
        assert_eq!(headers["bridge-event-id"], AMQPValue::LongString("0199".into()));
        assert!(headers.keys().all(|name| !name.as_str().starts_with("x-")), "{headers:?}");
        assert_eq!((properties.reply_to(), properties.delivery_mode()), (&None, &Some(2)));
        assert_eq!(properties.timestamp(), &Some(1_795_386_660));
    }
}
