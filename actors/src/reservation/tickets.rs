//! The tickets of an order, and how a step changes them: which are sold, which end, and what money goes back for them. Pure.
//!
//! Invariant: prices and fees of an order's tickets add up to its total, and what goes back for them to what the step promises to
//! give back. Everything is decided by the lines before and after, whichever input moved them.

use bus::contract::reservation::PaidBy;
use bus::contract::tariff::{Channel, ReportedAs, Tax};
use bus::contract::{SeatId, TariffCode, Timestamp};
use uuid::Uuid;

use super::model::Reservation;
use super::pricing::CHANNEL;
use super::saga::{Claim, Saga, SagaEvent, State, Terms};
use crate::shares::spread;

/// One ticket with its part of the order's money, in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub seat: SeatId,
    pub ticket_type: TariffCode,
    pub reported_as: ReportedAs,
    pub price: i64,
    pub tax: Tax,
    /// Its own fees, and its share of the order's.
    pub fee: i64,
    pub fee_tax: Tax,
}

impl Ticket {
    pub fn value(&self) -> i64 {
        self.price + self.fee
    }
}

/// The end of the ticket of a seat. What is neither returned nor carried of its value is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub seat: SeatId,
    pub reason: &'static str,
    /// Goes back to the customer.
    pub returned: i64,
    /// Pays for tickets that were sold in the same commit: of this order, or of the one in its place.
    pub carried: i64,
}

/// Money that goes back for the last ticket of a seat without ending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refunded {
    pub seat: SeatId,
    pub returned: i64,
}

/// The rows that a step adds to the ticket log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketChanges {
    /// Of the reservation's showtime after the step.
    pub sold: Vec<Ticket>,
    /// Of the showtime before the step.
    pub ended: Vec<End>,
    pub refunded: Vec<Refunded>,
    pub showtime_before: Uuid,
    pub paid_by: PaidBy,
    pub channel: Channel,
    pub at: Timestamp,
}

impl TicketChanges {
    /// Of a new reservation, which holds its seats and has sold nothing.
    pub fn none(reservation: &Reservation) -> Self {
        Self {
            sold: Vec::new(),
            ended: Vec::new(),
            refunded: Vec::new(),
            showtime_before: reservation.showtime_id,
            paid_by: paid_by(&reservation.saga),
            channel: CHANNEL,
            at: reservation.updated_at,
        }
    }

    pub fn of_step(before: &Reservation, after: &Reservation, events: &[SagaEvent]) -> Self {
        let (mut old, mut new) = (sold_tickets(&before.saga), sold_tickets(&after.saga));
        if before.showtime_id == after.showtime_id {
            let kept: Vec<Ticket> = old.iter().filter(|ticket| new.contains(ticket)).cloned().collect();
            old.retain(|ticket| !kept.contains(ticket));
            new.retain(|ticket| !kept.contains(ticket));
        }
        let given_back = (after.saga.promised() - before.saga.promised()).max(0);
        let credited = after.saga.credited_sum() - before.saga.credited_sum();
        let mut changes = Self { showtime_before: before.showtime_id, ..Self::none(after) };
        if !old.is_empty() {
            changes.ended = ends(&old, &new, credited, given_back, |seat| reason(after, events, seat));
        } else if given_back > 0 && before.saga.captured.is_some() {
            changes.refunded = refunds(&before.saga.terms, given_back);
        }
        changes.sold = new;
        changes
    }
}

fn paid_by(saga: &Saga) -> PaidBy {
    if saga.captured().amount == 0 { PaidBy::None } else { PaidBy::Online }
}

fn sold_tickets(saga: &Saga) -> Vec<Ticket> {
    match saga.state.claim() {
        Claim::Sold => tickets(&saga.terms),
        Claim::None | Claim::Held => Vec::new(),
    }
}

/// One for each line. All fees of an order have one rate of tax: that of its tariff.
pub fn tickets(terms: &Terms) -> Vec<Ticket> {
    let of_order = || terms.fees.iter().filter(|fee| fee.seat.is_none());
    let evenly = vec![1; terms.lines.len()];
    let fees = spread(of_order().map(|fee| fee.price.amount).sum(), &evenly);
    let taxes = spread(of_order().map(|fee| fee.tax.amount).sum(), &evenly);
    let rate = terms.fees.iter().map(|fee| fee.tax.rate).max().unwrap_or_default();
    let each = terms.lines.iter().zip(fees).zip(taxes);
    each.map(|((line, fee), tax)| {
        let own = || terms.fees.iter().filter(|fee| fee.seat.as_ref() == Some(&line.seat));
        Ticket {
            seat: line.seat.clone(),
            ticket_type: line.ticket_type.clone(),
            reported_as: line.reported_as,
            price: line.price.amount,
            tax: line.tax,
            fee: fee + own().map(|fee| fee.price.amount).sum::<i64>(),
            fee_tax: Tax { rate, amount: tax + own().map(|fee| fee.tax.amount).sum::<i64>() },
        }
    })
    .collect()
}

/// The value of a new ticket is first carried by the old ticket of its seat, and the rest by the others.
fn ends(
    old: &[Ticket],
    new: &[Ticket],
    credited: i64,
    given_back: i64,
    reason: impl Fn(&SeatId) -> &'static str,
) -> Vec<End> {
    let same_seat = |ticket: &Ticket| new.iter().find(|other| other.seat == ticket.seat);
    let own = |ticket: &Ticket| same_seat(ticket).map_or(0, |other| other.value().min(ticket.value()));
    let carried: Vec<i64> = old.iter().map(own).collect();
    let rest = new.iter().map(Ticket::value).sum::<i64>() - carried.iter().sum::<i64>() + credited;
    let left: Vec<i64> = old.iter().zip(&carried).map(|(ticket, carried)| ticket.value() - carried).collect();
    let more = spread(rest, &left);
    let left: Vec<i64> = left.iter().zip(&more).map(|(left, more)| (left - more).max(0)).collect();
    let returned = spread(given_back, &left);
    let each = old.iter().zip(carried).zip(more).zip(returned);
    each.map(|(((ticket, own), more), returned)| End {
        seat: ticket.seat.clone(),
        reason: reason(&ticket.seat),
        returned,
        carried: own + more,
    })
    .collect()
}

fn refunds(terms: &Terms, given_back: i64) -> Vec<Refunded> {
    let tickets = tickets(terms);
    let values: Vec<i64> = tickets.iter().map(Ticket::value).collect();
    let shares = tickets.into_iter().zip(spread(given_back, &values));
    let refunded = shares.map(|(ticket, returned)| Refunded { seat: ticket.seat, returned });
    refunded.filter(|refunded| refunded.returned > 0).collect()
}

fn reason(after: &Reservation, events: &[SagaEvent], seat: &SeatId) -> &'static str {
    match &after.saga.state {
        State::Cancelled { reason }
        | State::Refunding { reason, .. }
        | State::Refunded { reason, .. }
        | State::NeedsAttention { reason, .. } => reason.as_str(),
        State::AwaitingPayment { .. }
        | State::Ending { .. }
        | State::Replacing { .. }
        | State::Confirmed { .. } => {
            let is_exchanged = events.iter().any(|event| matches!(event, SagaEvent::Exchanged { .. }));
            match (is_exchanged, after.has_seat(seat)) {
                (true, _) => "EXCHANGED",
                (false, true) => "REPLACED",
                (false, false) => "RETURNED",
            }
        }
    }
}
