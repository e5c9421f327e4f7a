//! Requests about the receipts of an order: reading them, and setting their buyer.
//!
//! Invariant: reservation decides who may read or change an order, by the token of the caller, as it does for the tickets.
//! Invariant: the buyer is set once; a receipt keeps its number and its amounts, and shows the buyer from then on.

use bus::contract::payment::{GetReceipts, Receipts, Rejection, SetBuyer};
use bus::contract::reservation::{GetReservation, Reservation};
use bus::contract::{Problem, Request};
use bus::service::{Answered, Ask, Call, json};
use uuid::Uuid;

use super::Env;
use super::receipt::is_due;
use super::store::Rows;
use super::store::receipt::{self as store, BuyerRow};
use crate::delivery::{Change, Outcome, read_failure};

/// The documents that have a number, oldest first.
pub async fn receipts(env: Env, call: Call<GetReceipts>) -> Answered {
    let id = call.request.reservation_id;
    order(&env, &call, id).await?;
    let payment = env.payments.get(id).await?.filter(|payment| payment.is_captured() && payment.price() > 0);
    let payment = payment.ok_or(Rejection::NotPaid)?;
    if payment.bill.is_none() {
        return Err(Rejection::NoReceipts.into());
    }
    let receipts = store::of_order(&env.pool, id).await.map_err(read_failure)?;
    if receipts.is_empty() {
        let refusal = if is_due(&payment) { Rejection::ReceiptNotReady } else { Rejection::NotPaid };
        return Err(refusal.into());
    }
    json(&Receipts { receipts })
}

/// A repeated request finds the same buyer, so that it needs no key.
pub async fn set_buyer(env: Env, call: Call<SetBuyer>) -> Answered {
    let id = call.request.id;
    let order = order(&env, &call, id).await?;
    if order.total.amount == 0 {
        return Err(Rejection::NotPaid.into());
    }
    let buyer = call.request.buyer();
    let row = BuyerRow { reservation_id: id, buyer: buyer.clone() };
    if let Outcome::Failed(failure) = env.journal.commit(Change::new(Rows::Buyer(row))).await {
        return Err(failure.into());
    }
    let stored = store::buyer(&env.pool, id).await.map_err(read_failure)?.ok_or_else(Problem::internal)?;
    if stored != buyer {
        return Err(Rejection::BuyerSet.into());
    }
    json(&stored)
}

async fn order<R: Request>(env: &Env, call: &Call<R>, id: Uuid) -> Result<Reservation, Problem> {
    let ask = Ask { token: call.token.clone(), ..Ask::new(call.context.clone()) };
    env.bus.ask(&GetReservation { id }, &ask).await
}
