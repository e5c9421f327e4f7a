//! Classifies a message from RabbitMQ: a pure function from the message and the settings to an [`Action`].
//!
//! Invariant: a message becomes an event only if `AMQP_INBOUND` names the event and the body matches its schema. The sender
//! of an event cannot be identified: everybody who may publish to the bridge's exchanges may send it, and `createdBy` of a
//! `movie.created` makes a user an ADMIN; so RabbitMQ's permissions have to restrict who may publish there. Nothing in a
//! body proves who sent a request.
//! Invariant: messages that the bridge itself published to RabbitMQ are dropped, and no message circulates for ever.

use async_nats::HeaderMap;
use bus::Context;
use bus::context::TRACEPARENT;
use bus::contract::{self, Timestamp};
use bus::event::{CE_ID, CE_SOURCE, CE_SPECVERSION, CE_TIME, CE_TYPE};
use bus::topology::MESSAGE_MAX_BYTES;
use bytes::Bytes;
use lapin::message::Delivery;
use serde_json::Value;
use uuid::Uuid;

use crate::envelope::{self, Style, Unreadable};
use crate::names::{EVENT_ID, HOPS, HOPS_MAX, NATS_HOPS, NATS_SOURCE, OCCURRED_AT, ORIGIN, nats_source};
use crate::properties::{self, header};
use crate::{Names, Settings};

/// `ce-source` of every event from RabbitMQ.
const SOURCE: &str = "/marquee/bridge";
/// The header with a request's credentials: `Bearer <access token>`.
const AUTHORIZATION: &str = "authorization";
/// Longest event id: the inbox stores at most this, and every consumer parks an event with a longer one.
const ID_MAX: usize = 200;
/// Bytes of an access token; ours have about 500.
const TOKEN_MAX: usize = 8 * 1024;
/// Bytes reserved for headers, which count towards the stream's message size: ids and names, each of bounded length.
const HEADERS_MAX: usize = 4 * 1024;

/// What is done with a message.
#[derive(Debug)]
pub enum Action {
    /// An event: publish it to JetStream.
    Publish(Box<InboundEvent>),
    /// A request: answer it.
    Answer(Box<RpcRequest>),
    /// The bridge's own message, or one in a loop: acknowledge it only.
    Drop(&'static str),
    /// Neither of these: move it to the dead letters, with the reason.
    Reject { code: &'static str, why: String },
}

/// An event from RabbitMQ as it is published to JetStream.
#[derive(Debug, Clone, PartialEq)]
pub struct InboundEvent {
    pub subject: String,
    pub id: String,
    pub payload: Bytes,
    pub time: Timestamp,
    pub source: String,
    pub hops: u32,
    pub trace: Trace,
}

/// The ids of the request that caused a message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    pub correlation_id: Option<String>,
    pub traceparent: Option<String>,
}

/// A request whose sender waits for a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcRequest {
    pub pattern: String,
    /// The request of the contract that the pattern stands for; `None` if the pattern has no handler.
    pub subject: Option<String>,
    pub data: Value,
    pub style: Style,
    pub reply_to: String,
    pub correlation_id: String,
    pub token: Option<String>,
    pub trace: Trace,
}

impl InboundEvent {
    /// The headers of every event, and the source.
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

/// Where a message was first published. A replayed message comes through the default exchange and has that in headers.
struct Route {
    exchange: String,
    routing_key: String,
}

impl Route {
    fn of(message: &Delivery) -> Self {
        let original = |name| header(&message.properties, name);
        match (message.exchange.as_str(), original(properties::EXCHANGE), original(properties::ROUTING_KEY)) {
            ("", Some(exchange), Some(routing_key)) => Self { exchange, routing_key },
            (exchange, ..) => {
                Self { exchange: exchange.to_owned(), routing_key: message.routing_key.to_string() }
            }
        }
    }

    /// The routing key, which names an event only if the message was published to an exchange.
    fn event_name(&self) -> Option<&str> {
        (!self.exchange.is_empty()).then_some(self.routing_key.as_str())
    }

    /// The exchange if it is one of the bridge's, else `""`: the bridge publishes to no other.
    fn own_exchange(&self, names: &Names) -> &str {
        let raw = names.raw_exchange.as_deref();
        let is_own = self.exchange == names.exchange || Some(self.exchange.as_str()) == raw;
        if is_own { &self.exchange } else { "" }
    }
}

/// Classifies a message. `now` is this machine's clock.
pub fn classify(message: &Delivery, settings: &Settings, names: &Names, now: Timestamp) -> Action {
    let properties = &message.properties;
    let message_id = properties.message_id().as_ref().map(|id| id.as_str()).filter(|id| !id.is_empty());
    // Both headers: a service that reacts to an event may copy the event's headers to its own message, which has another id.
    let is_own = header(properties, ORIGIN).is_some_and(|origin| origin == settings.bridge_id);
    if is_own && message_id.is_some() && header(properties, EVENT_ID).as_deref() == message_id {
        return Action::Drop("own");
    }
    let hops = header(properties, HOPS).and_then(|hops| hops.parse().ok()).unwrap_or(0);
    if hops > HOPS_MAX {
        return Action::Drop("hops");
    }
    let limit = MESSAGE_MAX_BYTES as usize - HEADERS_MAX;
    let reject = |code, why: String| Action::Reject { code, why };
    if message.data.len() > limit {
        return reject("too-large", format!("{} bytes; at most {limit} are allowed", message.data.len()));
    }
    let route = Route::of(message);
    let reply_to = properties.reply_to().as_ref().map(|to| to.to_string()).filter(|to| !to.is_empty());
    let read = match envelope::read(&message.data, route.event_name(), reply_to.is_some()) {
        Ok(read) => read,
        Err(Unreadable::Empty) => return reject("empty", "the body is empty".into()),
        Err(Unreadable::NotJson(why)) => return reject("not-json", why),
        Err(Unreadable::NoPattern) => {
            let why = "it is not an envelope with pattern and data, and was not published to an exchange";
            return reject("no-pattern", why.into());
        }
    };
    let allowed = settings.inbound.contains(&read.pattern);
    let trace = Trace {
        correlation_id: properties.correlation_id().as_ref().map(|id| id.to_string()),
        traceparent: header(properties, TRACEPARENT),
    };
    if read.is_request {
        let subject = settings.rpc.iter().find(|(pattern, _)| *pattern == read.pattern);
        let subject = subject.map(|(_, subject)| subject.clone());
        let correlation_id = trace.correlation_id.clone().or_else(|| match &read.style {
            Style::Nest { id: Some(Value::String(id)) } => Some(id.clone()),
            _ => None,
        });
        // Without a correlation id there is no reply: a client of golevelup loses its connection over one. A message
        // with a reply address that names an accepted event is an event.
        let is_event = read.style == Style::Bare && subject.is_none() && allowed;
        if let (Some(reply_to), Some(correlation_id), false) = (reply_to, correlation_id, is_event) {
            let token = header(properties, AUTHORIZATION).map(bearer);
            let (pattern, data, style) = (read.pattern, read.data, read.style);
            let request =
                RpcRequest { pattern, subject, data, style, reply_to, correlation_id, token, trace };
            return Action::Answer(Box::new(request));
        }
    }
    match contract::check_event(&read.pattern, &read.data) {
        None => return reject("unknown-event", format!("there is no event {:?}", shortened(&read.pattern))),
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
    let source = nats_source(route.own_exchange(names));
    let payload = Bytes::from(read.data.to_string());
    if payload.len() > limit {
        return reject("too-large", format!("{} bytes; at most {limit} are allowed", payload.len()));
    }
    // Never in the future: a decision about a role is compared with the time of a `movie.created`.
    let time = event_time(message).filter(|time| *time < now).unwrap_or(now);
    Action::Publish(Box::new(InboundEvent { subject: read.pattern, id, payload, time, source, hops, trace }))
}

/// When the event occurred, if the message has a time.
fn event_time(message: &Delivery) -> Option<Timestamp> {
    let header = header(&message.properties, OCCURRED_AT);
    if let Some(time) = header.and_then(|time| serde_json::from_value(time.into()).ok()) {
        return Some(time);
    }
    let seconds = i64::try_from((*message.properties.timestamp())?).ok()?;
    // Some clients write milliseconds, which lie in the far future; the caller ignores those.
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    Some(time.into())
}

/// The token of a header `Bearer <token>` (in any case), or the bare token. It is sent on in a header, where a line break
/// would begin another header: a text that cannot be a token is replaced by one that no host accepts.
fn bearer(header: String) -> String {
    let token = match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => header.as_str(),
    };
    let is_plausible = (1..=TOKEN_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    if is_plausible { token.to_owned() } else { "-".to_owned() }
}

/// Shortens a name from outside for a log line.
pub(super) fn shortened(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
#[path = "classify/tests.rs"]
mod tests;
