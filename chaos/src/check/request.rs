//! Requests: what was answered 2xx is there, what was not answered at most once, what was refused never.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Checked, Scene};
use crate::rest::Outcome;
use crate::story::{Order, What};

/// The reservation that an order made, as the house itself keeps it under the order's key.
fn made(scene: &Scene<'_>, order: &Order) -> Option<Uuid> {
    scene.truth.answered.get(&order.key).copied().flatten()
}

/// Every reservation that was answered is there once, for whom and what it was asked.
pub fn accepted_exists(scene: &Scene<'_>) -> Checked {
    let (mut findings, mut seen) = (Vec::new(), BTreeMap::new());
    for order in &scene.told.orders {
        let Some(id) = order.reservation() else { continue };
        if let Some(other) = seen.insert(id, &order.key) {
            findings.push(format!("{id} was told to the orders {other} and {}", order.key));
        }
        match scene.truth.reservations.get(&id) {
            None => findings.push(format!("{id} was answered at {} and is not there", order.told_at)),
            Some(there) if there.user != order.user => findings.push(format!("{id} is another's")),
            Some(there) => {
                let named = order.body["seats"].as_array().map(|seats| {
                    let mut named: Vec<&str> = seats.iter().filter_map(|seat| seat.as_str()).collect();
                    named.sort_unstable();
                    named
                });
                let mut seats: Vec<&str> = there.seats.iter().map(String::as_str).collect();
                seats.sort_unstable();
                if named.is_some_and(|named| named != seats) && !there.was_exchanged() {
                    findings.push(format!("{id} has {seats:?}, asked for {}", order.body));
                }
            }
        }
    }
    let orders = scene.told.orders.len();
    Checked::new("accepted-exists-once", format!("{} of {orders} orders accepted", seen.len()), findings)
}

/// No reservation is there that nobody asked for; an order without an answer made one or none.
pub fn unknown_at_most_once(scene: &Scene<'_>) -> Checked {
    let unknown = scene.told.orders.iter().filter(|order| matches!(order.outcome, Outcome::Unknown));
    let (mut count, mut done) = (0, 0);
    let mut known: BTreeSet<Uuid> = scene.told.orders.iter().filter_map(Order::reservation).collect();
    let mut findings = Vec::new();
    for order in unknown {
        count += 1;
        if let Some(id) = made(scene, order) {
            done += 1;
            known.insert(id);
        }
    }
    for (id, reservation) in scene.truth.reservations.iter().filter(|(id, _)| !known.contains(id)) {
        // A dearer exchange makes an order of its own.
        if !reservation.exchange_of.is_some_and(|old| known.contains(&old)) {
            findings.push(format!("{id} is nobody's order"));
        }
    }
    let evidence = format!("{count} without an answer, {done} of them done");
    Checked::new("unanswered-at-most-once", evidence, findings)
}

/// A refused order left nothing behind.
pub fn refused_never(scene: &Scene<'_>) -> Checked {
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    let mut findings = Vec::new();
    for order in &scene.told.orders {
        let Outcome::Refused(status, _) = order.outcome else { continue };
        *counts.entry(status).or_default() += 1;
        if let Some(id) = made(scene, order) {
            findings.push(format!("the order {} was refused with {status}, and {id} is there", order.key));
        }
    }
    Checked::new("refused-left-nothing", format!("refused by status: {counts:?}"), findings)
}

/// The same key gives the same bytes.
pub fn same_key_same_bytes(scene: &Scene<'_>) -> Checked {
    let findings = scene.told.differ.iter();
    let findings =
        findings.map(|differs| format!("{}: first {}, then {}", differs.key, differs.first, differs.second));
    Checked::new(
        "same-key-same-bytes",
        format!("{} answers asked for again", scene.told.repeats),
        findings.collect(),
    )
}

/// Payments, cancellations and refunds that were answered 2xx happened.
pub fn promises_kept(scene: &Scene<'_>) -> Checked {
    let mut findings = Vec::new();
    let mut refunds = scene.truth.refunds.clone();
    for promise in &scene.told.promises {
        let id = promise.reservation;
        let reservation = scene.truth.reservations.get(&id);
        match promise.what {
            What::Payment => {
                let payment = promise.answer["id"].as_str().and_then(|id| id.parse().ok());
                if payment.is_none_or(|payment: Uuid| !scene.truth.payments.contains(&payment)) {
                    findings.push(format!("the payment {} is not there", promise.answer));
                }
            }
            What::Cancellation => {
                let over = ["CANCELLED", "REFUNDED"];
                if reservation.is_none_or(|reservation| !over.contains(&reservation.status.as_str())) {
                    findings.push(format!("{id} was cancelled and is {reservation:?}"));
                }
            }
            What::Refund(amount) => match refunds
                .iter()
                .position(|refund| refund.reservation == id && refund.amount == amount)
            {
                Some(at) => drop(refunds.swap_remove(at)),
                None => findings.push(format!("{amount} of {id} were promised back and were not asked for")),
            },
        }
    }
    Checked::new(
        "promises-kept",
        format!("{} payments, cancellations, refunds", scene.told.promises.len()),
        findings,
    )
}
