//! What crosses process borders: the contract (events, requests, problems), the topology of streams and
//! consumers, and the ways to speak over NATS: publish, consume, ask, answer.
//!
//! Invariant: this crate knows no SQL, no HTTP server and no actors.
//! Invariant: a subject stands beside the one type that travels under it, and nowhere else.

pub mod address;
pub mod config;
pub mod connection;
pub mod consumer;
pub mod context;
pub mod contract;
pub mod dead_letter;
pub mod event;
pub mod event_feed;
pub mod event_replay;
pub mod failure;
pub mod network;
pub mod redis;
pub mod retry;
pub mod revoked;
pub mod service;
pub mod tls;
pub mod token;
pub mod topology;
pub mod trace;

pub use connection::{Bus, Config};
pub use context::Context;
pub use contract::problem::{FieldError, Problem};
pub use failure::Failure;
