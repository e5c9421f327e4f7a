//! The payment as a pure machine: [`step`] takes a payment, an input and the time, and returns the payment afterwards with the
//! events, calls, postings and log lines that follow. The transition table is one `match`; the states of a single attempt,
//! refund or dispute have a `match` of their own in [`attempt`], [`refund`] and [`dispute`].
//!
//! Invariant: at most one attempt is open; a new one begins only after the old one is closed at the provider.
//! Invariant: nothing begins once a payment is ending, and nothing is charged once the hold is over.
//! Invariant: late and repeated inputs change nothing, except that a second capture is given back. Invariant: a part that is
//! open at the provider has a next check.

use bus::contract::Timestamp;
use bus::contract::payment::Rejection;
use bus::contract::reservation::{
    CancelReason, RefundRequested, ReservationCancelled, ReservationCreated, Sale,
};
use uuid::Uuid;

use super::call::{ProviderCall, ProviderReply};
use super::model::{CANCELLED, Payment, Stage, sale};
use super::provider::Kind;
use super::provider::objects::About;
use super::step::{PayRequest, PaymentEvent, Step};
use super::{attempt, credit, dispute, ledger, refund};
use crate::config::DeclineLimits;

#[derive(Debug, Clone)]
pub enum Input {
    Created(Box<ReservationCreated>),
    Cancelled(Box<ReservationCancelled>),
    SeatsChanged(Box<SeatsChanged>),
    RefundRequested(Box<RefundRequested>),
    Pay(Box<PayRequest>),
    /// Nothing may begin any more; open attempts are closed at the provider, again at each repeat.
    End {
        code: &'static str,
    },
    /// A person requests another check of everything that is not settled.
    Resume {
        by: Uuid,
    },
    /// An event of the provider.
    Webhook(Box<WebhookEvent>),
    /// A call to the provider has ended.
    Replied(ProviderCall, ProviderReply),
    /// The next check is due.
    Due,
}

/// A confirmed reservation has other seats, or fewer.
#[derive(Debug, Clone)]
pub struct SeatsChanged {
    pub payment_id: Uuid,
    /// Of the postings and the log.
    pub entry: &'static str,
    pub reservation: ReservationCreated,
}

/// An event of the provider, as received.
#[derive(Debug, Clone)]
pub struct WebhookEvent {
    pub id: String,
    pub kind: String,
    pub body: String,
    /// From the metadata that we gave the object.
    pub payment_id: Option<Uuid>,
    pub about: About,
}

/// The result of the input; an error if it is refused.
pub fn step(before: &Payment, input: &Input, now: Timestamp) -> Result<Step, Rejection> {
    let step = over_when_closed(transition(before, input, now)?);
    let mut step = versioned(before, step, now);
    if matches!(input, Input::Due) && before.next_check_at.is_some_and(|at| at <= now) {
        step.next.next_check_at = step.next.next_check(now);
    }
    Ok(step)
}

/// The transition table.
fn transition(before: &Payment, input: &Input, now: Timestamp) -> Result<Step, Rejection> {
    use {Input as I, Stage as S};
    let same = || Step::from(before);
    Ok(match (&before.stage, input) {
        // the reservation
        (_, I::Created(_)) if before.version > 0 => same(),
        (_, I::Created(_)) => same().log("opened", "by its reservation"),
        // the same version may have opened the payment
        (_, I::Cancelled(event)) if event.reservation.version < before.seats_version => same(),
        (S::Payable | S::Ending { .. }, I::Cancelled(event)) => {
            cancelled(end(same(), CANCELLED, now), before, event)
        }
        (S::Over { .. } | S::Captured { .. }, I::Cancelled(event)) => cancelled(same(), before, event),
        (_, I::SeatsChanged(change)) if change.reservation.version <= before.seats_version => same(),
        (_, I::SeatsChanged(change)) => seats_changed(same(), change),

        // paying
        (S::Captured { .. }, I::Pay(_)) => return Err(Rejection::AlreadyPaid),
        (S::Ending { .. } | S::Over { .. }, I::Pay(_)) => return Err(Rejection::PaymentOver),
        (S::Payable, I::Pay(request)) if now >= request.facts.expires_at => {
            return Err(Rejection::PaymentOver);
        }
        (S::Payable, I::Pay(request)) if before.is_free() => attempt::pay_nothing(same(), request, now),
        (S::Payable, I::Pay(request)) if request.exceeds_limit(before) => {
            return Err(Rejection::DeclinesLimit);
        }
        (S::Payable, I::Pay(request)) => match before.open_attempt() {
            Some(open) if open.is_awaited(now) => return Err(Rejection::AttemptRunning),
            Some(_) if request.has_waited => return Err(Rejection::ProviderAway),
            Some(open) => attempt::close_for_new(same(), open, request, now),
            None => attempt::begin(same(), request, now),
        },
        (S::Payable | S::Ending { .. }, I::End { code }) => end(same(), code, now),
        (S::Over { .. } | S::Captured { .. }, I::End { .. }) => same(),

        // refunds
        (_, I::RefundRequested(event)) if before.refund(event.refund_id).is_some() => same(),
        (stage, I::RefundRequested(event)) => {
            let step = refund::request(same(), stage, event, now);
            if before.hold_expired { seats_given_up(step) } else { step }
        }

        // the provider
        (_, I::Replied(call, ProviderReply::Attempt(answer))) => attempt::replied(same(), *call, answer, now),
        (_, I::Replied(call, ProviderReply::Refund(tries, answer))) => {
            refund::replied(same(), *call, *tries, answer, now)
        }
        (_, I::Replied(call, ProviderReply::Dispute(answer))) => dispute::replied(same(), *call, answer, now),
        (_, I::Webhook(event)) if event.payment_id.is_some_and(|id| id != before.id) => same(),
        (_, I::Webhook(event)) => match &event.about {
            About::Attempt { number, view } => attempt::shown(same(), *number, view, now),
            About::Refund { id: Some(id), tries, view } => refund::shown(same(), *id, *tries, view, now),
            About::Dispute(view) => dispute::shown(same(), view, now),
            About::Refund { id: None, .. } | About::Other => same(),
        },

        // time and people
        (_, I::Due) if before.next_check_at.is_none_or(|at| at > now) => same(),
        (_, I::Due) => {
            let step = attempt::check(same(), false, now);
            let step = refund::check(step, now);
            dispute::check(step)
        }
        (_, I::Resume { by }) => {
            let step = attempt::check(same().log("resumed", format!("by {by}")), true, now);
            let step = refund::resume(step, now);
            settled_concerns_end(dispute::check(step))
        }
    })
}

impl PayRequest {
    /// A direct charge, whose declines are bounded.
    pub fn charge_limits(&self) -> Option<DeclineLimits> {
        self.declines.filter(|_| matches!(self.kind, Kind::Token { .. }))
    }

    fn exceeds_limit(&self, payment: &Payment) -> bool {
        self.charge_limits().is_some_and(|limits| attempt::declines(payment) >= limits.per_order_max)
    }
}

/// Closes open attempts, and lets nothing begin any more.
fn end(mut step: Step, code: &str, now: Timestamp) -> Step {
    if step.next.stage == Stage::Payable {
        step.next.stage = Stage::Ending { code: code.to_owned() };
        step = step.log("ending", code);
    }
    attempt::close_all(step, now)
}

/// An ending payment whose last attempt has closed is over.
fn over_when_closed(mut step: Step) -> Step {
    let Stage::Ending { code } = &step.next.stage else { return step };
    if step.next.open_attempt().is_some() {
        return step;
    }
    let code = code.clone();
    // A reservation that was cancelled before any attempt needs no event about its payment.
    let is_known = code == CANCELLED && step.next.attempts.is_empty();
    step.next.stage = Stage::Over { code: code.clone() };
    step = step.log("over", code.clone());
    if is_known { step } else { step.event(PaymentEvent::Failed { code }) }
}

/// A change or a line of the log makes a new version. Every call except a repeated one has a line.
fn versioned(before: &Payment, mut step: Step, now: Timestamp) -> Step {
    if step.next == *before && step.log.is_empty() {
        return step;
    }
    for call in step.calls.clone() {
        if !matches!(call, ProviderCall::Begin(_) | ProviderCall::Refund(_)) {
            step = step.log("asked", call.to_string());
        }
    }
    match (before.attention(), step.next.attention().map(str::to_owned)) {
        (was, Some(why)) if was != Some(why.as_str()) => step = step.log("needs attention", why),
        (Some(_), None) => step = step.log("attention over", "all is settled"),
        (_, _) => {}
    }
    step.next.version = before.version + 1;
    step.next.updated_at = now;
    step.next.next_check_at = step.next.next_check(now);
    step
}

/// Settled parts need no attention any more, once a person has looked.
fn settled_concerns_end(mut step: Step) -> Step {
    for attempt in step.next.attempts.iter_mut().filter(|attempt| !attempt.state.is_open()) {
        attempt.concern = None;
    }
    for refund in step.next.refunds.iter_mut().filter(|refund| refund.is_settled()) {
        refund.concern = None;
    }
    for dispute in step.next.disputes.iter_mut().filter(|dispute| !dispute.status.is_open()) {
        dispute.concern = None;
    }
    step
}

// The seats. Invariant: the tickets that are counted are the seats that are sold. Money alone never changes them, with one
// exception: after a hold's end late money buys the seats or goes back whole, and only the refund shows that it did not buy
// them. An event of an older version of the reservation changes nothing.

fn seats_changed(mut step: Step, change: &SeatsChanged) -> Step {
    step.next.hold_expired = false;
    let SeatsChanged { entry, reservation, .. } = change;
    seats_are(step, reservation.version, entry, sale(reservation))
}

fn cancelled(mut step: Step, before: &Payment, event: &ReservationCancelled) -> Step {
    let reservation = &event.reservation;
    step.next.hold_expired = event.reason == CancelReason::HoldExpired;
    let may_be_bought = step.next.hold_expired && !step.next.goes_back_whole();
    let tickets = before.sale.as_ref().filter(|_| may_be_bought).map_or(0, |sale| sale.tickets);
    let step = seats_are(step, reservation.version, "cancellation", Sale { tickets, ..sale(reservation) });
    credit::cancelled(step, event)
}

fn seats_are(mut step: Step, version: i64, entry: &'static str, after: Sale) -> Step {
    step.next.seats_version = version;
    let Some(before) = step.next.sale.clone() else { return step };
    if step.next.is_captured() {
        let moved = ledger::move_postings(&step.next, &format!("seats:{version}"), entry, &before, &after);
        if !moved.is_empty() {
            let (sold, sells) = (before.tickets, after.tickets);
            let detail =
                format!("{sold} tickets of {} to {sells} of {}", before.showtime_id, after.showtime_id);
            step = step.log(entry, detail);
        }
        step.postings.extend(moved);
    }
    step.next.sale = Some(after);
    step
}

/// Money that arrived after the hold's end is given back: it does not buy the seats.
fn seats_given_up(mut step: Step) -> Step {
    let Some(before) = step.next.sale.clone().filter(|_| step.next.goes_back_whole()) else { return step };
    let after = Sale { tickets: 0, ..before.clone() };
    let transaction = format!("seats:{}:expired", step.next.seats_version);
    let moved = ledger::move_postings(&step.next, &transaction, "cancellation", &before, &after);
    step.postings.extend(moved);
    step.next.sale = Some(after);
    step
}
