//! Movie owns the catalogue: movies, genres, auditoriums with their seats, showtimes with their prices.
//!
//! Invariant: an auditorium shows one movie at a time.
//! Invariant: a showtime freezes seats and prices when it is scheduled; what is on sale does not change under the buyer.
//! It does not know which seats are sold: that is reservation's, which hears `showtime.scheduled`.

mod actor;
mod demo;
mod media;
mod model;
mod store;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::FutureExt;

use crate::host::{Host, Parts};
use actor::Desk;

pub use demo::{Added, seed};

/// Starts the host.
pub async fn spawn(parts: Parts) -> anyhow::Result<Host> {
    let (journal, wellness, mut children) = parts.delivery(None);
    let desk = Arc::new(Desk { journal, pool: parts.database.pool.clone(), clock: parts.clock.clone() });
    children.push(parts.service(move |server| actor::serve(desk.clone(), server).boxed()));
    parts.start(wellness, move || children.clone()).await
}
