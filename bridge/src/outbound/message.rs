//! One event of JetStream as a message of RabbitMQ: what it becomes, or why it becomes none.
//!
//! Invariant: the message id is the event's own id, however often it is sent. The headers are a table even where little is
//! known, all of long strings; `reply_to` is never set, or a listener would take the event for a request.

use async_nats::jetstream;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde::de::IgnoredAny;
use time::macros::format_description;

use super::Target;
use crate::{
    APP_ID, EVENT_ID, HOPS, NATS_HOPS, NATS_SOURCE, OCCURRED_AT, ORIGIN, STREAM_SEQUENCE, envelope,
    nats_source,
};
use bus::consumer::Delivery;
use bus::context::{CORRELATION_ID, TRACEPARENT};
use bus::contract::Timestamp;
use bus::event::{CE_ID, CE_TIME, MARQUEE_ONLY};

/// Survives a restart of the broker.
const PERSISTENT: u8 = 2;
/// As everywhere: what fits a message id of 255 bytes with room for a suffix.
const ID_MAX: usize = 200;
const NOT_JSON: &str = "the payload is not JSON";

/// What is to be done with a message of the stream.
#[derive(Debug)]
pub(super) enum Reading {
    Publish(Event),
    /// It is not for this target.
    Skip,
    /// It can never be published: to the dead letter stream with the reason.
    Poison(&'static str),
}

/// An event that goes out.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub id: String,
    pub subject: String,
    pub payload: Bytes,
    /// In the stream; 0 where it is not known.
    pub sequence: u64,
    correlation_id: Option<String>,
    traceparent: Option<String>,
    time: Option<Timestamp>,
    hops: u32,
}

/// Reads a message of the stream for one target.
pub(super) fn read(message: &jetstream::Message, target: &Target) -> Reading {
    let header = |name: &str| message.headers.as_ref()?.get(name).map(|value| value.as_str());
    if header(MARQUEE_ONLY).is_some_and(|only| only != target.consumer) {
        return Reading::Skip;
    }
    // What a service said through this exchange, everybody there has heard.
    if header(NATS_SOURCE) == Some(&nats_source(&target.exchange)) {
        return Reading::Skip;
    }
    let Some(id) = header(CE_ID).filter(|id| (1..=ID_MAX).contains(&id.len())) else {
        return Reading::Poison("the message has no ce-id");
    };
    // An empty or unreadable body makes a listener that requeues what it cannot parse run hot.
    if serde_json::from_slice::<IgnoredAny>(&message.payload).is_err() {
        return Reading::Poison(NOT_JSON);
    }
    let hops: u32 = header(NATS_HOPS).and_then(|hops| hops.parse().ok()).unwrap_or(0);
    Reading::Publish(Event {
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

/// Reads a dead letter that is to be published once more; an error says why it cannot be.
pub(super) fn of_letter(letter: &Delivery) -> Result<Event, &'static str> {
    if serde_json::from_slice::<IgnoredAny>(&letter.payload).is_err() {
        return Err(NOT_JSON);
    }
    Ok(Event {
        id: letter.id.clone(),
        subject: letter.subject.clone(),
        payload: letter.payload.clone(),
        sequence: 0,
        correlation_id: Some(letter.context.correlation_id.clone()),
        traceparent: Some(letter.context.traceparent.clone()),
        time: letter.time,
        hops: 1,
    })
}

impl Event {
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

    /// Bare data, or Nest's envelope around it, by which it finds the handler: it never looks at the routing key.
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

    fn event() -> Event {
        Event {
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
    fn every_header_is_a_long_string_and_nothing_asks_for_an_answer() {
        let properties = event().properties("house");
        let headers = properties.headers().as_ref().unwrap().inner();
        assert!(headers.values().all(|value| matches!(value, AMQPValue::LongString(_))), "{headers:?}");
        assert_eq!(headers["occurred-at"], AMQPValue::LongString("2026-11-22T22:31:00.123Z".into()));
        assert_eq!(headers["bridge-event-id"], AMQPValue::LongString("0199".into()));
        assert!(headers.keys().all(|name| !name.as_str().starts_with("x-")), "{headers:?}");
        assert_eq!((properties.reply_to(), properties.delivery_mode()), (&None, &Some(2)));
        assert_eq!(properties.timestamp(), &Some(1_795_386_660));
    }
}
