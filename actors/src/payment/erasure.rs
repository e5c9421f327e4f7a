//! Erasure of persons: whether payments are settled, payments without their erased person, addresses that are removed some days
//! after the show, and buyers whose legal term is over.
//!
//! Invariant: money, receipts and their numbers stay as they are. An invoice keeps its buyer for `RECORDS_YEARS`, also where its
//! person is erased: tax law demands it.

use std::time::Duration;

use bus::Failure;
use bus::consumer::Delivery;
use bus::contract::auth::UserErased;
use bus::contract::payment::{AreOpen, OpenPayments};
use bus::contract::site::DEFAULT_SITE;
use bus::service::{Answered, Call, json};
use tokio_util::sync::CancellationToken;

use super::Env;
use super::model::Payment;
use super::store::erasure as store;
use crate::delivery::{Person, erase_traces, read_failure, remember_erased};
use crate::{periodic, zone};

/// What is removed by time.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Of an address, after its show. `None`: it stays until its person is erased.
    pub address: Option<Duration>,
    /// Of a buyer, after the year of the last receipt.
    pub buyer_years: i32,
}

/// Whether money may still move: an attempt, a refund or a dispute is open, or a person must look.
pub fn is_open(payment: &Payment) -> bool {
    payment.open_attempt().is_some()
        || payment.refunds.iter().any(|refund| !refund.is_settled())
        || payment.disputes.iter().any(|dispute| dispute.status.is_open())
        || payment.attention().is_some()
}

/// Answers auth before an erasure.
pub async fn are_open(env: Env, call: Call<AreOpen>) -> Answered {
    let mut open = false;
    for reservation in call.request.reservation_ids {
        open |= env.payments.get(reservation).await?.is_some_and(|payment| is_open(&payment));
    }
    json(&OpenPayments { open })
}

/// Removes an erased user's address from payments, and all but amounts from the provider's events about them.
pub async fn erase(env: &Env, delivery: &Delivery) -> Result<(), Failure> {
    let UserErased { user_id, at, reservation_ids } = delivery.event()?;
    remember_erased(&env.pool, user_id, at).await?;
    let addresses = store::addresses(&env.pool, &reservation_ids).await.map_err(read_failure)?;
    let person = Person { user_ids: vec![user_id], reservation_ids, addresses, ..Person::default() };
    erase_traces(&env.pool, &person).await?;
    store::blank(&env.pool, &person.reservation_ids, user_id).await.map_err(read_failure)
}

/// Removes what has reached its term, until `stop`.
pub async fn retain(env: Env, terms: Terms, stop: CancellationToken) -> anyhow::Result<()> {
    periodic::repeat(periodic::RETENTION_EVERY, &stop, "data of past payments were not removed", || {
        remove_past(&env, terms)
    })
    .await;
    Ok(())
}

async fn remove_past(env: &Env, terms: Terms) -> Result<(), Failure> {
    let now = env.clock.now();
    if let Some(keep) = terms.address {
        while store::blank_past(&env.pool, now.minus(keep)).await.map_err(read_failure)? > 0 {}
    }
    let (_, zone) = env.issuer.of(env.sites.of(DEFAULT_SITE).as_deref());
    let today = zone::day_of(now, &zone).ok_or_else(|| Failure::poison("a time without a day"))?;
    let oldest = today.year() - terms.buyer_years;
    let oldest = i16::try_from(oldest).map_err(|_| Failure::poison("a year beyond all"))?;
    let forgotten = store::forget_buyers(&env.pool, oldest).await.map_err(read_failure)?;
    if forgotten > 0 {
        tracing::info!(forgotten, "buyers of invoices whose legal term is over are deleted");
    }
    Ok(())
}
