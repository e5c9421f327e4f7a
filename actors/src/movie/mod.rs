//! Movie owns the catalogue: movies, genres, auditoriums with their seats, ticket types, price cards, and showtimes with their
//! prices; and the sites, with the cinema's own name.
//!
//! Invariant: an auditorium shows one movie at a time.
//! Invariant: a showtime freezes its seats and prices (`tariff`); changing them makes a new version and takes no seat from
//! anybody.
//! It does not know which seats are sold: it asks reservation, and reservation may still refuse a change.

mod availability;
mod consumer;
mod demo;
mod endpoints;
mod layout;
mod length;
mod model;
mod programme;
mod showtime;
mod store;
mod tariff;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bus::contract::Event;
use bus::contract::movie::{
    MovieCreated, MovieDeleted, MovieUpdated, ShowtimeCancelled, ShowtimeScheduled, ShowtimeUpdated,
};
use bus::contract::site::SiteUpdated;
use futures::FutureExt;
use sqlx::migrate::Migrator;

use crate::config::MovieSettings;
use crate::delivery::Journal;
use crate::domain::{Domain, Tools, configure, consume};
use crate::host::{DomainBuilder, Host};
use store::Write;

pub use demo::{Added, seed};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/movie");

pub const DOMAIN: Domain = Domain {
    name: "movie",
    consumer: Some(consumer::CONSUMER),
    publishes: &[
        MovieCreated::SUBJECT,
        MovieUpdated::SUBJECT,
        MovieDeleted::SUBJECT,
        ShowtimeScheduled::SUBJECT,
        ShowtimeUpdated::SUBJECT,
        ShowtimeCancelled::SUBJECT,
        SiteUpdated::SUBJECT,
    ],
    migrations: Some(&MIGRATIONS),
    configure: |environment| configure("movie", environment, MovieSettings::read, spawn),
};

/// What endpoints and consumer work with.
struct Env {
    tools: Tools<Write>,
    settings: MovieSettings,
    availabilities: availability::Availabilities,
}

impl std::ops::Deref for Env {
    type Target = Tools<Write>;
    fn deref(&self) -> &Tools<Write> {
        &self.tools
    }
}

impl Env {
    fn new(builder: &DomainBuilder, journal: Journal<Write>, settings: MovieSettings) -> Self {
        Self { tools: Tools::new(builder, journal), settings, availabilities: Default::default() }
    }
}

/// Starts the host.
pub async fn spawn(builder: DomainBuilder, settings: MovieSettings) -> anyhow::Result<Host> {
    let (journal, database_up, mut children) = builder.delivery();
    let env = Arc::new(Env::new(&builder, journal, settings));
    let handle = consume(&env, |env, delivery| consumer::handle(env, delivery).boxed());
    children.push(builder.consumer(consumer::CONSUMER, database_up.clone(), handle));
    children.push(builder.service(move |server| endpoints::serve(env.clone(), server).boxed()));
    builder.start(database_up, move || children.clone()).await
}
