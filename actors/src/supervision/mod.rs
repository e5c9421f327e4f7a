//! Supervision: what fails is restarted with growing delay and a budget; a spent budget escalates to the parent,
//! and at the top of the tree to the exit of the host.
//!
//! A [`worker()`] is a loop (consumer, relay, journal) as a supervised actor; an [`entity`] is an actor of its own
//! for each showtime, reservation or payment, spawned on demand.

pub mod entity;
mod supervisor;
mod worker;

pub use supervisor::{Child, Message as SupervisorMessage, Supervisor, SupervisorArguments, restarts};
pub use worker::worker;
