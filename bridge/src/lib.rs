//! The bridge between JetStream and RabbitMQ, so that services written for RabbitMQ (NestJS above all) take part unchanged.
//!
//! Invariant: at least once in both directions, with the same message id on every copy; a message leaves one side only
//! after the other has confirmed that it keeps it. Outwards each target (Nest's envelope, bare data) has stream order,
//! apart from repeats. Nothing stronger is promised.
//! Invariant: what is declared here is what NestJS itself would declare: a difference ends an unmodified Nest service at
//! its start (406). An outage of RabbitMQ is never the fault of a message: nothing is parked for it.

pub mod call;
pub mod config;
pub mod dead_letter;
pub mod envelope;
pub mod inbound;
pub mod names;
pub mod outbound;
mod properties;
mod publish;
pub mod retry;
pub mod service_queue;
pub mod session;

pub use config::{ServiceQueue, Settings};
pub use names::Names;
pub use session::Session;

/// `app_id` of what the bridge publishes.
pub const APP_ID: &str = "marquee-bridge";

// Headers on RabbitMQ, all of them long strings: a short string ends the connection (541), and a name that begins with
// `x-` belongs to the broker.
/// The id of the bridge that published it.
pub const ORIGIN: &str = "bridge-origin";
/// The message id again: a service that copies headers onto a message of its own copies the old one.
pub const EVENT_ID: &str = "bridge-event-id";
/// The event's place in the stream, so that a consumer notices a repeat or a gap.
pub const STREAM_SEQUENCE: &str = "bridge-stream-seq";
/// How many bridges it has crossed.
pub const HOPS: &str = "bridge-hops";
/// When it became true, RFC 3339 with milliseconds.
pub const OCCURRED_AT: &str = "occurred-at";

/// An inbound message that has crossed more bridges than this goes round in circles.
pub const HOPS_MAX: u32 = 4;

// Headers on JetStream, of what came in from RabbitMQ.
/// Where from, `amqp:<exchange>`: it is not published back there.
pub const NATS_SOURCE: &str = "Bridge-Source";
/// [`HOPS`] of the message that came in.
pub const NATS_HOPS: &str = "Bridge-Hops";

/// The value of [`NATS_SOURCE`] for what came through an exchange; from a queue of the default exchange it is `amqp:`.
pub fn nats_source(exchange: &str) -> String {
    format!("amqp:{exchange}")
}
