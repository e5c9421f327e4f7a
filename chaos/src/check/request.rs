//! Requests: an accepted one is done, an unanswered one is done at most once, a refused one is not done.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::{CheckResult, Observations};
use crate::client::Outcome;
use crate::end_state::Reservation;
use crate::record::{Order, PromiseKind};

/// The reservation of an order, as the deployment has stored it with the key of the order.
fn stored(seen: &Observations<'_>, order: &Order) -> Option<Uuid> {
    seen.state.answered.get(&order.key).copied().flatten()
}

/// Every accepted order has one reservation, of the right user and with the requested seats.
pub fn accepted_exists(seen: &Observations<'_>) -> CheckResult {
    let (mut findings, mut accepted) = (Vec::new(), BTreeMap::new());
    let (moved, _) = super::guest::moved(seen);
    for order in &seen.record.orders {
        let Some(id) = order.reservation() else { continue };
        if let Some(other) = accepted.insert(id, &order.key) {
            findings.push(format!("{id} is the answer to the orders {other} and {}", order.key));
        }
        match seen.state.reservations.get(&id) {
            None => findings.push(format!("{id} was answered at {} and does not exist", order.answered_at)),
            Some(found)
                if found.user != order.user
                    && moved.get(&id).is_none_or(|to| (to.guest, to.account) != (order.user, found.user)) =>
            {
                findings.push(format!("{id} belongs to another user"));
            }
            Some(found) => {
                if !has_requested(found, &order.body) && !found.has_changed_seats() {
                    findings.push(format!("{id} has {:?}, requested {}", found.tickets, order.body));
                }
            }
        }
    }
    let orders = seen.record.orders.len();
    CheckResult::new(
        "accepted-exists-once",
        format!("{} of {orders} orders accepted", accepted.len()),
        findings,
    )
}

/// Whether a reservation has the seats and the ticket types that its order names.
fn has_requested(found: &Reservation, body: &Value) -> bool {
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    let types = || sorted(found.tickets.iter().map(|ticket| ticket.ticket_type.clone()).collect());
    let seats = sorted(found.tickets.iter().map(|ticket| ticket.seat.clone()).collect());
    if sorted(found.seats.clone()) != seats {
        return false;
    }
    if let Some(tickets) = body["tickets"].as_array() {
        let named = |ticket: &Value| format!("{} {}", ticket["seat"], ticket["type"]).replace('"', "");
        let stored = found.tickets.iter().map(|ticket| format!("{} {}", ticket.seat, ticket.ticket_type));
        return sorted(tickets.iter().map(named).collect()) == sorted(stored.collect());
    }
    if let Some(requested) = body["seats"].as_array() {
        let requested = requested.iter().filter_map(|seat| seat.as_str().map(str::to_owned));
        return sorted(requested.collect()) == seats;
    }
    match body["bestAvailable"]["types"].as_object() {
        Some(counts) => {
            let each = counts.iter().flat_map(|(of, count)| {
                std::iter::repeat_n(of.clone(), count.as_u64().unwrap_or(0) as usize)
            });
            sorted(each.collect()) == types()
        }
        None => true,
    }
}

/// Every reservation belongs to an order; an unanswered order has at most one.
pub fn unknown_at_most_once(seen: &Observations<'_>) -> CheckResult {
    let unknown = seen.record.orders.iter().filter(|order| matches!(order.outcome, Outcome::Unknown));
    let (mut count, mut done) = (0, 0);
    let mut known: BTreeSet<Uuid> = seen.record.orders.iter().filter_map(Order::reservation).collect();
    let mut findings = Vec::new();
    for order in unknown {
        count += 1;
        if let Some(id) = stored(seen, order) {
            done += 1;
            known.insert(id);
        }
    }
    for (id, reservation) in seen.state.reservations.iter().filter(|(id, _)| !known.contains(id)) {
        // A dearer exchange creates a new reservation.
        if !reservation.exchange_of.is_some_and(|old| known.contains(&old)) {
            findings.push(format!("{id} belongs to no order"));
        }
    }
    let evidence = format!("{count} without an answer, {done} of them done");
    CheckResult::new("unanswered-at-most-once", evidence, findings)
}

/// A refused order has no reservation.
pub fn refused_never(seen: &Observations<'_>) -> CheckResult {
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    let mut findings = Vec::new();
    for order in &seen.record.orders {
        let Outcome::Refused(status, _) = order.outcome else { continue };
        *counts.entry(status).or_default() += 1;
        if let Some(id) = stored(seen, order) {
            findings.push(format!("the order {} was refused with {status}, but {id} exists", order.key));
        }
    }
    CheckResult::new("refused-left-nothing", format!("refused by status: {counts:?}"), findings)
}

/// A request with the same key gets the same answer byte for byte.
pub fn same_key_same_bytes(seen: &Observations<'_>) -> CheckResult {
    let findings = seen.record.mismatches.iter();
    let findings = findings
        .map(|mismatch| format!("{}: first {}, then {}", mismatch.key, mismatch.first, mismatch.second));
    CheckResult::new(
        "same-key-same-bytes",
        format!("{} requests repeated", seen.record.repeats),
        findings.collect(),
    )
}

/// The token of a mail's link opens its order and no other, and not after the address was corrected or the order merged.
pub fn links_open_their_order(seen: &Observations<'_>) -> CheckResult {
    let mut findings = Vec::new();
    let (mut opened, mut void) = (0, 0);
    for tried in seen.links {
        let requested = seen.state.reservations.get(&tried.opened);
        let exchange_of = requested.and_then(|found| found.exchange_of);
        let is_own = tried.of == tried.opened;
        let is_current = requested.is_some_and(|found| found.access == tried.access);
        match tried.status {
            Some(200) if is_own && is_current => opened += 1,
            Some(401) if is_own && !is_current => void += 1,
            // It opens the order that takes the place of its own, too, if both have the same access number.
            Some(200 | 401 | 404) if !is_own && exchange_of == Some(tried.of) => {}
            Some(404) if !is_own => {}
            status => findings.push(format!("the link of {} opened {}: {status:?}", tried.of, tried.opened)),
        }
    }
    let evidence =
        format!("{opened} links opened their orders, {void} are void, {} requests", seen.links.len());
    CheckResult::new("links-open-their-order", evidence, findings)
}

/// Payments, cancellations and refunds that were answered 2xx are done.
pub fn promises_kept(seen: &Observations<'_>) -> CheckResult {
    let mut findings = Vec::new();
    let mut refunds = seen.state.refunds.clone();
    for promise in &seen.record.promises {
        let id = promise.reservation;
        let reservation = seen.state.reservations.get(&id);
        match promise.kind {
            PromiseKind::Payment => {
                let payment = promise.answer["id"].as_str().and_then(|id| id.parse().ok());
                if payment.is_none_or(|payment: Uuid| !seen.state.payments.contains(&payment)) {
                    findings.push(format!("the payment {} does not exist", promise.answer));
                }
            }
            PromiseKind::Cancellation => {
                let ended = ["CANCELLED", "REFUNDED"];
                if reservation.is_none_or(|reservation| !ended.contains(&reservation.status.as_str())) {
                    findings.push(format!("{id} was cancelled but is {reservation:?}"));
                }
            }
            PromiseKind::Refund(amount) => match refunds
                .iter()
                .position(|refund| refund.reservation == id && refund.amount == amount)
            {
                Some(at) => drop(refunds.swap_remove(at)),
                None => findings.push(format!("{amount} of {id} were to be refunded and were not requested")),
            },
        }
    }
    CheckResult::new(
        "promises-kept",
        format!("{} payments, cancellations, refunds", seen.record.promises.len()),
        findings,
    )
}
