//! Whole-system tests, on real servers.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod auth;
mod harness;
mod local_servers;
mod movie;
mod payment;
