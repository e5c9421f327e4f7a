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

use bus::contract::Event;
use bus::contract::movie::{
    MovieCreated, MovieDeleted, MovieUpdated, ShowtimeCancelled, ShowtimeScheduled, ShowtimeUpdated,
};
use futures::FutureExt;
use sqlx::migrate::Migrator;

use crate::config::MovieSettings;
use crate::delivery::stored_answers;
use crate::domain::{Domain, configure};
use crate::host::{DomainBuilder, Host};
use actor::{Desk, refusal};

pub use demo::{Added, seed};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/movie");

pub const DOMAIN: Domain = Domain {
    name: "movie",
    consumer: Some(refusal::CONSUMER),
    publishes: &[
        MovieCreated::SUBJECT,
        MovieUpdated::SUBJECT,
        MovieDeleted::SUBJECT,
        ShowtimeScheduled::SUBJECT,
        ShowtimeUpdated::SUBJECT,
        ShowtimeCancelled::SUBJECT,
    ],
    migrations: Some(&MIGRATIONS),
    configure: |environment| configure("movie", environment, MovieSettings::read, spawn),
};

/// Starts the host.
pub async fn spawn(builder: DomainBuilder, settings: MovieSettings) -> anyhow::Result<Host> {
    let (journal, wellness, mut children) = builder.delivery(None);
    let desk = Arc::new(Desk {
        journal,
        pool: builder.database.pool.clone(),
        clock: builder.clock.clone(),
        bus: builder.bus.clone(),
        settings,
        answers: stored_answers(builder.database.pool.clone()),
    });
    let hearing = desk.clone();
    let hear = Arc::new(move |delivery| refusal::hear(&hearing, delivery));
    children.push(builder.consumer(refusal::CONSUMER, wellness.clone(), hear));
    children.push(builder.service(move |server| actor::serve(desk.clone(), server).boxed()));
    builder.start(wellness, move || children.clone()).await
}
