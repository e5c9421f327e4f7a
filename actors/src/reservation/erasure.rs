//! Erasure of persons: which orders a user has and whether one is open, orders without their erased person, and addresses that
//! are removed some days after the show.
//!
//! Invariant: seats, tickets and money of an order stay as they are; only address and name go, and links in earlier mails open
//! the order no more.

use std::time::Duration;

use bus::Failure;
use bus::consumer::Delivery;
use bus::contract::auth::UserErased;
use bus::contract::reservation::{ListOrdersOf, ListPastGuests, OrdersOf, PastGuests, ReservationStatus};
use bus::service::{Answered, Call, json};
use tokio_util::sync::CancellationToken;

use super::Env;
use super::model::Reservation;
use super::saga::{Part, PartState, State};
use super::store::erasure as store;
use crate::delivery::{erase_traces, read_failure};
use crate::periodic;

/// Orders of one answer.
const PAGE: usize = 500;
/// Whether something of the order is not finished: it is not paid yet, is being exchanged, has a refund under way, or needs a
/// person. A confirmed order is finished: its tickets are valid without its customer's address.
pub fn is_open(order: &Reservation) -> bool {
    let saga = &order.saga;
    let moves = matches!(saga.state, State::Refunding { .. }) || saga.exchanging_to().is_some();
    let is_unfinished = |part: &Part| part.state != PartState::Completed;
    saga.status() == ReservationStatus::Pending
        || saga.needs_attention()
        || moves
        || saga.parts.iter().any(is_unfinished)
}

/// Answers auth before an erasure.
pub async fn orders_of(env: Env, call: Call<ListOrdersOf>) -> Answered {
    let ListOrdersOf { user_id, after } = call.request;
    let ids = store::orders_after(&env.pool, user_id, after, PAGE).await.map_err(read_failure)?;
    let orders = super::store::reservations(&env.pool, &ids).await.map_err(read_failure)?;
    let open = orders.values().any(is_open);
    let next = ids.last().copied().filter(|_| ids.len() == PAGE);
    json(&OrdersOf { reservation_ids: ids, open, next })
}

/// Answers auth, which erases these guests.
pub async fn past_guests(env: Env, call: Call<ListPastGuests>) -> Answered {
    let ListPastGuests { before, after } = call.request;
    let user_ids = store::past_guests(&env.pool, before, after).await.map_err(read_failure)?;
    json(&PastGuests { user_ids })
}

/// Removes an erased user's address and name everywhere in this domain.
pub async fn erase(env: &Env, delivery: &Delivery) -> Result<(), Failure> {
    // The orders are those of the row's owner, also beyond what the event names.
    let UserErased { user_id, at, .. } = delivery.event()?;
    store::remember_erased(&env.pool, user_id, at).await.map_err(read_failure)?;
    let person = store::person(&env.pool, user_id).await.map_err(read_failure)?;
    erase_traces(&env.pool, &person).await?;
    store::blank(&env.pool, &person.reservation_ids).await.map_err(read_failure)
}

/// Removes addresses that may not be stored any more until `stop`: those of past shows after this time, if there is one, and those
/// that were stored while their user was erased.
pub async fn retain(env: Env, keep: Option<Duration>, stop: CancellationToken) -> anyhow::Result<()> {
    periodic::repeat(periodic::RETENTION_EVERY, &stop, "addresses of orders were not removed", || {
        blank(&env, keep)
    })
    .await;
    Ok(())
}

async fn blank(env: &Env, keep: Option<Duration>) -> Result<(), Failure> {
    while store::blank_erased(&env.pool).await.map_err(read_failure)? > 0 {}
    let Some(keep) = keep else { return Ok(()) };
    let before = env.clock.now().minus(keep);
    while store::blank_past(&env.pool, before).await.map_err(read_failure)? > 0 {}
    Ok(())
}
