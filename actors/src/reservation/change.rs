//! Hears `showtime.updated`: new prices, seats or start. The database takes them over or, where somebody has a seat that would
//! vanish or a time that would move, refuses; then the showtime keeps its own, and movie is told.
//!
//! Prices count for new reservations alone: a reservation's total is its own.

use bus::Failure;
use bus::consumer::Delivery;
use bus::contract::movie::{ShowtimeChangeRefused, ShowtimeUpdated};
use bus::contract::reservation::{Claimed, ListClaimed};
use bus::event::Outgoing;
use bus::service::{Answered, Call, json};

use super::Env;
use super::model::{DOMAIN, Showtime};
use super::store::{self, Rows};
use crate::delivery::{Change, Outcome};

pub async fn hear(env: &Env, delivery: Delivery) {
    let told: ShowtimeUpdated = match delivery.event() {
        Ok(told) => told,
        Err(failure) => return delivery.fail(failure),
    };
    let wanted = Showtime::from(told.showtime);
    match commit(env, wanted.clone(), vec![]).await {
        Outcome::Rejected(_) => refuse(env, delivery, wanted).await,
        outcome => settle(delivery, outcome),
    }
}

/// The version counts, so that it is not heard again, with the seats and the start that were sold.
async fn refuse(env: &Env, delivery: Delivery, wanted: Showtime) {
    let known = match store::snapshot(&env.pool, wanted.id).await {
        Ok(Some(known)) => known.showtime,
        Ok(None) => return delivery.retry("a showtime with claims is not there"),
        Err(error) => return delivery.retry(error),
    };
    let refused = ShowtimeChangeRefused {
        showtime_id: known.id,
        version: wanted.version,
        starts_at: known.starts_at,
        rows: known.layout.clone(),
    };
    let kept = Showtime { starts_at: known.starts_at, layout: known.layout, ..wanted };
    let told = Outgoing::new(DOMAIN, &refused, env.clock.now(), &delivery.context);
    let outcome = commit(env, kept, vec![told]).await;
    settle(delivery, outcome);
}

async fn commit(env: &Env, showtime: Showtime, outbox: Vec<Outgoing>) -> Outcome<Rows> {
    let change = Rows::ShowtimeChanged(Box::new(showtime));
    env.journal.commit(Change { outbox, ..Change::new(change) }).await
}

fn settle(delivery: Delivery, outcome: Outcome<Rows>) {
    match outcome {
        Outcome::Committed { .. } => delivery.ack(),
        Outcome::Failed(failure) => delivery.fail(failure),
        // Another version was taken over between reading and writing: from the beginning.
        Outcome::Rejected(_) | Outcome::Stale => delivery.retry("the showtime changed meanwhile"),
        Outcome::Repeated(_) => delivery.fail(Failure::poison("a showtime has no idempotency key")),
    }
}

/// Answers movie, before it decides a change.
pub async fn claimed(env: Env, call: Call<ListClaimed>) -> Answered {
    let showtimes =
        store::claimed(&env.pool, &call.request.showtime_ids).await.map_err(Failure::transient)?;
    json(&Claimed { showtimes })
}
