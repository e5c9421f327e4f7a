//! Whole-system tests, on real servers.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod auth;
mod bad_input;
mod booking;
mod cinema;
mod delivery;
mod faults;
mod harness;
mod limits;
mod local_servers;
mod media;
mod money;
mod movie;
mod operations;
mod payment;
mod permissions;
mod readme;
mod tidy;
mod traces;
