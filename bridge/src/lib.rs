//! The bridge between JetStream and RabbitMQ, so that services written for RabbitMQ (NestJS above all) take part unchanged.
//!
//! Invariant: at-least-once delivery in both directions, with the same message id on every copy; a message is acknowledged
//! on one side only after the other side has confirmed it. Outbound, each target (Nest's envelope, bare data) receives
//! events in stream order, apart from repeats. No stronger guarantee is given.
//! Invariant: what the bridge declares equals what NestJS itself would declare, because a difference ends an unmodified
//! Nest service at its start (406). A message is never parked because RabbitMQ is unavailable.
//!
//! Modules depend on each other in this order: `config` → `names` → `session`, `call` → `properties`, `publish`,
//! `envelope`, `service_queue` → `retry` → `bindings` → `dead_letter`, `inbound`, `outbound`.

pub mod bindings;
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
