//! What is done with a message that came in from RabbitMQ: one pure function, from the message and the settings to a step.
//!
//! Invariant: only what `AMQP_INBOUND` names becomes an event, and only as its schema has it. Everybody who may publish to
//! the bridge's exchanges may say it, and its sender is known to nobody: `createdBy` of a `movie.created` makes a user an
//! ADMIN, so who may publish there is RabbitMQ's permissions to say. Nothing in a body proves who asks.
//! Invariant: what the bridge itself brought to RabbitMQ does not come back, and nothing goes round for ever.

use async_nats::HeaderMap;
use bytes::Bytes;
use lapin::message::Delivery;
use serde_json::Value;
use uuid::Uuid;

use crate::envelope::{self, Style, Unreadable};
use crate::properties::{self, header};
use crate::{
    EVENT_ID, HOPS, HOPS_MAX, NATS_HOPS, NATS_SOURCE, Names, OCCURRED_AT, ORIGIN, Settings, nats_source,
};
use bus::Context;
use bus::context::TRACEPARENT;
use bus::contract::{self, Timestamp};
use bus::event::{CE_ID, CE_SOURCE, CE_SPECVERSION, CE_TIME, CE_TYPE};
use bus::topology::MESSAGE_MAX_BYTES;

/// Who says what comes in, whoever said it on RabbitMQ.
const SOURCE: &str = "/marquee/bridge";
/// What a request is asked with: `Bearer <access token>`.
const AUTHORIZATION: &str = "authorization";
/// Of an event's id: what an inbox keeps, and every consumer parks a longer one.
const ID_MAX: usize = 200;
/// Bytes of an access token: ours have some 500.
const TOKEN_MAX: usize = 8 * 1024;
/// Room for headers in a message of the stream, which counts them in: ids and names, each of a bounded length.
const HEADERS_MAX: usize = 4 * 1024;

/// What is to be done with a message.
#[derive(Debug)]
pub enum Step {
    /// It is an event: to JetStream.
    Publish(Box<Event>),
    /// Somebody waits for an answer.
    Answer(Box<Question>),
    /// It has been here, or is going round: nothing.
    Drop(&'static str),
    /// It can never be an event: to the dead letters, with the reason.
    Reject { code: &'static str, why: String },
}

/// An event as it goes to JetStream.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub subject: String,
    pub id: String,
    pub payload: Bytes,
    pub time: Timestamp,
    pub source: String,
    pub hops: u32,
    pub trace: Trace,
}

/// What ties a message to the request that caused it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    pub correlation_id: Option<String>,
    pub traceparent: Option<String>,
}

/// A request that waits for its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub pattern: String,
    /// The request of the contract that it stands for; none when nobody serves the pattern.
    pub subject: Option<String>,
    pub data: Value,
    pub style: Style,
    pub reply_to: String,
    pub correlation_id: String,
    pub token: Option<String>,
    pub trace: Trace,
}

impl Event {
    /// Headers as every event of the house has them, and where it came in.
    pub fn headers(&self, context: &Context) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, self.id.as_str());
        headers.insert(CE_ID, self.id.as_str());
        headers.insert(CE_TYPE, self.subject.as_str());
        headers.insert(CE_SOURCE, SOURCE);
        headers.insert(CE_TIME, self.time.to_string().as_str());
        headers.insert(CE_SPECVERSION, "1.0");
        headers.insert(NATS_SOURCE, self.source.as_str());
        headers.insert(NATS_HOPS, self.hops.to_string().as_str());
        context.write(&mut headers);
        headers
    }
}

/// What a message says of where it came from. What is replayed comes through the default exchange and says it in headers.
struct Route {
    exchange: String,
    routing_key: String,
}

impl Route {
    fn of(message: &Delivery) -> Self {
        let said = |name| header(&message.properties, name);
        match (message.exchange.as_str(), said(properties::EXCHANGE), said(properties::ROUTING_KEY)) {
            ("", Some(exchange), Some(routing_key)) => Self { exchange, routing_key },
            (exchange, ..) => {
                Self { exchange: exchange.to_owned(), routing_key: message.routing_key.to_string() }
            }
        }
    }

    /// The routing key, which names an event only where somebody published to an exchange.
    fn named(&self) -> Option<&str> {
        (!self.exchange.is_empty()).then_some(self.routing_key.as_str())
    }

    /// The exchange, if it is the bridge's own: elsewhere nothing could go back to it.
    fn own(&self, names: &Names) -> &str {
        let raw = names.raw_exchange.as_deref();
        let is_own = self.exchange == names.exchange || Some(self.exchange.as_str()) == raw;
        if is_own { &self.exchange } else { "" }
    }
}

/// Decides. `now` is this machine's clock.
pub fn judge(message: &Delivery, settings: &Settings, names: &Names, now: Timestamp) -> Step {
    let properties = &message.properties;
    let message_id = properties.message_id().as_ref().map(|id| id.as_str()).filter(|id| !id.is_empty());
    // Both: a service that answers an event copies its headers, and would be swallowed by the first alone.
    let is_own = header(properties, ORIGIN).is_some_and(|origin| origin == settings.bridge_id);
    if is_own && message_id.is_some() && header(properties, EVENT_ID).as_deref() == message_id {
        return Step::Drop("own");
    }
    let hops = header(properties, HOPS).and_then(|hops| hops.parse().ok()).unwrap_or(0);
    if hops > HOPS_MAX {
        return Step::Drop("hops");
    }
    let limit = MESSAGE_MAX_BYTES as usize - HEADERS_MAX;
    let reject = |code, why: String| Step::Reject { code, why };
    if message.data.len() > limit {
        return reject("too-large", format!("{} bytes; {limit} are the most", message.data.len()));
    }
    let route = Route::of(message);
    let reply_to = properties.reply_to().as_ref().map(|to| to.to_string()).filter(|to| !to.is_empty());
    let read = match envelope::read(&message.data, route.named(), reply_to.is_some()) {
        Ok(read) => read,
        Err(Unreadable::Empty) => return reject("empty", "the body is empty".into()),
        Err(Unreadable::NotJson(why)) => return reject("not-json", why),
        Err(Unreadable::NoPattern) => {
            let why = "neither an envelope with pattern and data, nor published to an exchange";
            return reject("no-pattern", why.into());
        }
    };
    let allowed = settings.inbound.contains(&read.pattern);
    let trace = Trace {
        correlation_id: properties.correlation_id().as_ref().map(|id| id.to_string()),
        traceparent: header(properties, TRACEPARENT),
    };
    if read.asks {
        let subject = settings.rpc.iter().find(|(pattern, _)| *pattern == read.pattern);
        let subject = subject.map(|(_, subject)| subject.clone());
        let correlation_id = trace.correlation_id.clone().or_else(|| match &read.style {
            Style::Nest { id: Some(Value::String(id)) } => Some(id.clone()),
            _ => None,
        });
        // A client of golevelup's loses its connection over a reply without one. And who wants to be answered for an
        // event that may come in is not: nobody does, of an event.
        let is_event = read.style == Style::Bare && subject.is_none() && allowed;
        if let (Some(reply_to), Some(correlation_id), false) = (reply_to, correlation_id, is_event) {
            let token = header(properties, AUTHORIZATION).map(bearer);
            let (pattern, data, style) = (read.pattern, read.data, read.style);
            let question = Question { pattern, subject, data, style, reply_to, correlation_id, token, trace };
            return Step::Answer(Box::new(question));
        }
    }
    match contract::check_event(&read.pattern, &read.data) {
        None => return reject("unknown-event", format!("there is no event {:?}", shown(&read.pattern))),
        Some(_) if !allowed => {
            return reject("not-allowed", format!("AMQP_INBOUND does not name {}", read.pattern));
        }
        Some(Err(why)) => return reject("schema", why),
        Some(Ok(())) => {}
    }
    let id = match message_id {
        None => Uuid::now_v7().to_string(),
        Some(id) if id.len() <= ID_MAX && id.bytes().all(|b| b.is_ascii_graphic()) => id.to_owned(),
        Some(_) => {
            return reject("message-id", format!("the message id is not 1 to {ID_MAX} visible characters"));
        }
    };
    let source = nats_source(route.own(names));
    let payload = Bytes::from(read.data.to_string());
    if payload.len() > limit {
        return reject("too-large", format!("{} bytes; {limit} are the most", payload.len()));
    }
    let time = said_time(message).filter(|said| *said < now).unwrap_or(now);
    Step::Publish(Box::new(Event { subject: read.pattern, id, payload, time, source, hops, trace }))
}

/// When it became true, where the message says so. Never in the future: a decision about a role counts against an older
/// `movie.created`.
fn said_time(message: &Delivery) -> Option<Timestamp> {
    let header = header(&message.properties, OCCURRED_AT);
    if let Some(time) = header.and_then(|time| serde_json::from_value(time.into()).ok()) {
        return Some(time);
    }
    let seconds = i64::try_from((*message.properties.timestamp())?).ok()?;
    // Some clients write milliseconds, which lie in the far future and are no time here.
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    Some(time.into())
}

/// The token of a header `Bearer <token>`, the word in any case, or of the bare token. It becomes a header again, where a
/// line break would begin another one: what no token can be becomes one that nobody takes.
fn bearer(header: String) -> String {
    let token = match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => header.as_str(),
    };
    let may_be = (1..=TOKEN_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    if may_be { token.to_owned() } else { "-".to_owned() }
}

/// A name of somebody's choice, for a log line.
fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
#[path = "classify/tests.rs"]
mod tests;
