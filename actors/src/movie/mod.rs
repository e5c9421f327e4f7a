//! Movie owns the catalogue: movies, genres, auditoriums with their seats, showtimes with their prices.
//!
//! Invariant: an auditorium shows one movie at a time.
//! Invariant: a showtime freezes seats and prices; a change of them is a new version, and takes no seat from who has it.
//! It does not know which seats are sold: that is reservation's, which it asks, and which has the last word.

mod actor;
mod demo;
mod length;
mod model;
mod programme;
mod reminder;
mod store;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::FutureExt;

use crate::config::MovieSettings;
use crate::delivery::stored_answers;
use crate::host::{Host, Parts};
use actor::{Desk, refusal};

pub use actor::refusal::CONSUMER;
pub use demo::{Added, seed};

/// Starts the host.
pub async fn spawn(parts: Parts, settings: MovieSettings) -> anyhow::Result<Host> {
    let (journal, wellness, mut children) = parts.delivery(None);
    let desk = Arc::new(Desk {
        journal,
        pool: parts.database.pool.clone(),
        clock: parts.clock.clone(),
        bus: parts.bus.clone(),
        settings,
        answers: stored_answers(parts.database.pool.clone()),
    });
    let hearing = desk.clone();
    let hear = Arc::new(move |delivery| refusal::hear(&hearing, delivery));
    children.push(parts.consumer(refusal::CONSUMER, wellness.clone(), hear));
    children.push(parts.service(move |server| actor::serve(desk.clone(), server).boxed()));
    parts.start(wellness, move || children.clone()).await
}
