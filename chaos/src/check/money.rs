//! Money, by the records of the provider: kept only for a ticket and of its price, refunded once, and booked in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{CheckResult, Observations};
use crate::end_state::{Reservation, Ticket};
use crate::staff::{FEE, PRICE, TYPES};

/// What a reservation's tickets cost by their types; a showtime with plain prices has the type STANDARD.
fn price(reservation: &Reservation) -> i64 {
    let of = |ticket: &Ticket| match ticket.ticket_type.as_str() {
        "" | "STANDARD" => PRICE,
        of => TYPES.iter().find(|(code, _)| *code == of).map_or(0, |(_, price)| price + FEE),
    };
    reservation.tickets.iter().map(of).sum()
}

/// The partial refunds of a confirmed reservation: those by staff, or those for seats that fell away.
fn parts(seen: &Observations<'_>, reservation: Uuid, differences: bool) -> i64 {
    let parts = seen.state.refunds.iter().filter(|refund| {
        refund.reservation == reservation
            && refund.status != "FAILED"
            && refund.is_difference() == differences
    });
    parts.map(|refund| refund.amount).sum()
}

/// Every captured payment belongs to a confirmed reservation or is refunded completely.
pub fn settled(seen: &Observations<'_>) -> CheckResult {
    let paid: BTreeSet<Uuid> = seen.state.captures.iter().map(|capture| capture.reservation).collect();
    let (mut findings, mut kept, mut returned) = (Vec::new(), 0, 0);
    for id in &paid {
        let balance = seen.state.balance(*id);
        let Some(reservation) = seen.state.reservations.get(id) else {
            findings.push(format!("{balance} are captured for {id}, which does not exist"));
            continue;
        };
        let wanted = match reservation.status.as_str() {
            "CONFIRMED" => {
                kept += 1;
                reservation.total - parts(seen, *id, false)
            }
            _ => {
                returned += 1;
                0
            }
        };
        // A dearer exchange: the money of the replaced order counts for the new one.
        let balance = balance + reservation.credit - reservation.credited;
        let wanted = if wanted == 0 { 0 } else { wanted - reservation.waived };
        if balance != wanted {
            findings.push(format!(
                "the provider has {balance} of {} for {id}, which is {} with {:?}",
                reservation.total,
                reservation.status,
                reservation.steps.last().map(|step| &step.state)
            ));
        }
    }
    let evidence =
        format!("{} captures: {kept} reservations confirmed, {returned} refunded", seen.state.captures.len());
    CheckResult::new("captured-is-settled", evidence, findings)
}

/// Every ticket has exactly one capture of its price, or of the difference to the replaced order's, that is not refunded completely.
pub fn tickets_are_paid(seen: &Observations<'_>) -> CheckResult {
    let (mut findings, mut tickets) = (Vec::new(), 0);
    for reservation in seen.state.reservations.values() {
        if reservation.total != price(reservation) {
            findings.push(format!("{} costs {}", reservation.id, reservation.total));
        }
        if reservation.status != "CONFIRMED" {
            continue;
        }
        tickets += reservation.seats.len();
        let left: Vec<i64> = seen
            .state
            .captures
            .iter()
            .filter(|capture| capture.reservation == reservation.id)
            .filter(|capture| {
                let refunds =
                    seen.state.provider_refunds.iter().filter(|refund| refund.intent == capture.intent);
                refunds.map(|refund| refund.amount).sum::<i64>() < capture.amount
            })
            .map(|capture| capture.amount)
            .collect();
        // What fell away was captured and is no longer part of the price.
        let paid =
            reservation.total + parts(seen, reservation.id, true) - reservation.credit - reservation.waived;
        let is_paid = match reservation.exchange_of {
            None => left == [paid],
            // Refunds are of the newest capture first, so that nothing may be left of it.
            Some(_) => paid == 0 || left == [paid] || left.is_empty(),
        };
        if !is_paid {
            findings.push(format!("{} of {} has captures {left:?}", reservation.id, reservation.total));
        }
    }
    CheckResult::new("ticket-is-paid-once", format!("{tickets} tickets"), findings)
}

/// No refund exceeds its capture, and each refund was made once.
pub fn refunds_once(seen: &Observations<'_>) -> CheckResult {
    let mut findings = Vec::new();
    let mut of_intent: BTreeMap<&str, i64> = BTreeMap::new();
    let mut made = BTreeSet::new();
    for refund in &seen.state.provider_refunds {
        *of_intent.entry(&refund.intent).or_default() += refund.amount;
        if !made.insert(&refund.refund) {
            findings.push(format!("refund {} was made twice, of {}", refund.refund, refund.intent));
        }
    }
    for (intent, refunded) in of_intent {
        let captured: i64 =
            seen.state.captures.iter().filter(|capture| capture.intent == intent).map(|c| c.amount).sum();
        if refunded > captured {
            findings.push(format!("{refunded} were refunded of {intent}, which captured {captured}"));
        }
    }
    CheckResult::new("refunds-once", format!("{} refunds", seen.state.provider_refunds.len()), findings)
}

/// The ledger sums to zero and agrees with the records of the provider.
pub fn ledger(seen: &Observations<'_>) -> CheckResult {
    let state = seen.state;
    let captured: i64 = state.captures.iter().map(|capture| capture.amount).sum();
    let refunded: i64 = state.provider_refunds.iter().map(|refund| refund.amount).sum();
    let mut findings = Vec::new();
    if state.unbalanced > 0 {
        findings.push(format!("{} transactions do not sum to zero", state.unbalanced));
    }
    if state.ledger != captured - refunded {
        findings.push(format!(
            "by the ledger the provider has {}, by its records {}",
            state.ledger,
            captured - refunded
        ));
    }
    let evidence = format!("{} postings; the provider has {}", state.postings, captured - refunded);
    CheckResult::new("ledger-is-the-books", evidence, findings)
}
