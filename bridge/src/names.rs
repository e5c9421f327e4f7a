//! Names on RabbitMQ: exchanges and queues, derived from the settings by one rule, so that an operator who knows the main
//! exchange's name finds all others; and the headers that the bridge writes.

use std::time::Duration;

use crate::Settings;

/// `app_id` of what the bridge publishes.
pub const APP_ID: &str = "marquee-bridge";

// Headers on RabbitMQ, all of them long strings: RabbitMQ closes the connection (541) over a short string. Names that
// begin with `x-` are reserved for the broker.
/// The id of the bridge that published the message.
pub const ORIGIN: &str = "bridge-origin";
/// The message id again: a service that copies headers onto a message of its own copies the old id with them.
pub const EVENT_ID: &str = "bridge-event-id";
/// The event's sequence in the stream, so that a consumer notices a repeat or a gap.
pub const STREAM_SEQUENCE: &str = "bridge-stream-seq";
/// How many bridges the message has passed.
pub const HOPS: &str = "bridge-hops";
/// When the event occurred, RFC 3339 with milliseconds.
pub const OCCURRED_AT: &str = "occurred-at";

/// An inbound message that has passed more bridges than this is in a loop.
pub const HOPS_MAX: u32 = 4;

// Headers on JetStream, of events that were received from RabbitMQ.
/// The source, `amqp:<exchange>`: the event is not published to that exchange again.
pub const NATS_SOURCE: &str = "Bridge-Source";
/// [`HOPS`] of the received message.
pub const NATS_HOPS: &str = "Bridge-Hops";

/// The routing key of messages that inbound rejected.
pub const REJECTED: &str = "bridge.rejected";

/// Names of exchanges and queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Topic exchange with Nest's envelopes.
    pub exchange: String,
    /// Topic exchange with bare data, if it is configured.
    pub raw_exchange: Option<String>,
    /// The bridge's private queue: what services publish to the exchanges.
    pub private_inbox: String,
    /// The queue that a Nest client on the default exchange names as its own.
    pub inbox: String,
    /// Topic exchange for dead letters of service queues and of the bridge.
    pub dead_letter_exchange: String,
    /// The queue bound to it, from which the bridge retries.
    pub dead: String,
    /// Where a message ends that failed for good, for a person to examine.
    pub dead_letter_queue: String,
}

impl Names {
    pub fn new(settings: &Settings) -> Self {
        let exchange = &settings.exchange;
        Self {
            exchange: exchange.clone(),
            raw_exchange: settings.raw_exchange.clone(),
            private_inbox: format!("{exchange}.bridge"),
            inbox: settings.inbox_queue.clone(),
            dead_letter_exchange: format!("{exchange}.dlx"),
            dead: format!("{exchange}.dead"),
            dead_letter_queue: format!("{exchange}.dlq"),
        }
    }

    /// The exchanges on which events are published.
    pub fn event_exchanges(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.exchange).chain(&self.raw_exchange).map(String::as_str)
    }
}

/// The value of [`NATS_SOURCE`] for a message that came through an exchange; for the default exchange it is `amqp:`.
pub fn nats_source(exchange: &str) -> String {
    format!("amqp:{exchange}")
}

/// Exchange and queue in which a queue's message waits this long before it is returned. The delay is part of the name
/// because declaring an existing queue with another time-to-live is a 406.
pub fn retry(queue: &str, delay: Duration) -> String {
    format!("{queue}.retry.{}", delay.as_secs())
}

/// The exchange that returns a message to one queue and to no other.
pub fn requeue(queue: &str) -> String {
    format!("{queue}.requeue")
}
