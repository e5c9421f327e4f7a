//! What the processes have in common: the contract (events, requests, problems), the streams and consumers, and the ways to
//! communicate over NATS: publish, consume, request, answer.
//!
//! Invariant: this crate has no SQL, no HTTP server and no actors.
//! Invariant: a subject is defined at the one type that is sent under it, and nowhere else.
//!
//! Modules import only from earlier lines, so there is no circle:
//! - `failure`, `context`, `trace`, `retry`, `network`, `address`, `away`;
//! - `contract` → `failure`; `config` → `address`, `contract`; `tls` → `config`; `redis` → `tls`;
//! - `request`, `site_feed` → `contract`; `in_process` → `request`; `streams` → `config`;
//! - `connection` (the [`Bus`]) → `away`, `in_process`, `streams`, `tls`;
//! - `ask`, `topology`, `event` → `connection`; `revoked` → `ask`; `token` → `revoked`; `service` → `token`;
//! - `archive` → `event`; `event_replay`, `event_feed`, `dead_letter`, `inspection` → `topology`;
//!   `consumer` → `archive`, `dead_letter`.

pub mod address;
pub mod archive;
mod ask;
mod away;
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
pub mod forbidden;
pub mod in_process;
pub mod inspection;
pub mod network;
pub mod redis;
pub mod request;
pub mod retry;
pub mod revoked;
pub mod service;
pub mod site_feed;
pub mod streams;
pub mod tls;
pub mod token;
pub mod topology;
pub mod trace;

pub use connection::{Bus, Config};
pub use context::Context;
pub use contract::problem::{FieldError, Problem};
pub use failure::Failure;
