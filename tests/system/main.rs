//! Whole-system tests, on real servers.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod auth;
mod bad_input;
mod booking;
mod bridge;
mod budget;
mod cinema;
mod currencies;
mod delivery;
mod edge;
mod faults;
mod free;
mod giving_back;
mod harness;
mod holds;
mod limits;
mod live;
mod local_servers;
mod mail;
mod media;
mod migrations;
mod money;
mod movie;
mod neighbours;
mod operations;
mod operator;
mod payment;
mod permissions;
mod production;
mod readme;
mod revenue;
mod roles;
mod seats;
mod servers;
mod tidy;
mod traces;
