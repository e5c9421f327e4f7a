//! One refund, requested by the saga or of payment's own accord. Payment owns it until it is settled.
//!
//! Invariant: of one capture never more is given back than it took.
//! Invariant: a refund that failed for certain is tried anew under a new provider key, a bounded number of times; one whose
//! outcome is unknown is requested again under its old key.

use bus::contract::reservation::{RefundRequested, RefundStatus};
use bus::contract::{Money, Timestamp};
use uuid::Uuid;

use super::call::ProviderCall as Call;
use super::ledger::{Account, Movement};
use super::model::{KEY_LIVES, Origin, Payment, Refund, Stage, derived_id};
use super::provider::{Answer, RefundState, RefundView};
use super::step::{PaymentEvent, Step};

/// Tries of a refund that fails for certain: a bank's failure may be temporary; more tries would not help.
const TRIES_MAX: i32 = 3;

impl Refund {
    fn new(id: Uuid, origin: Origin, intent: String, total: Money, now: Timestamp) -> Self {
        Self {
            id,
            origin,
            intent,
            total,
            status: RefundStatus::Requested,
            provider_ref: None,
            tries: 1,
            code: None,
            reason: String::new(),
            concern: None,
            created_at: now,
            tried_at: now,
        }
    }

    /// Whether the provider no longer has the key of a try without a reply.
    fn is_forgotten(&self, now: Timestamp) -> bool {
        self.provider_ref.is_none() && now > self.tried_at.plus(KEY_LIVES)
    }

    fn anew(self, now: Timestamp) -> Self {
        let tries = self.tries + 1;
        Self { tries, status: RefundStatus::Requested, code: None, provider_ref: None, tried_at: now, ..self }
    }

    fn call(&self) -> Call {
        match self.provider_ref {
            Some(_) => Call::LookAtRefund(self.id),
            None => Call::Refund(self.id),
        }
    }
}

/// Puts the refund into the payment, over its earlier state.
fn put(mut step: Step, refund: Refund) -> Step {
    match step.next.refunds.iter_mut().find(|other| other.id == refund.id) {
        Some(before) => *before = refund,
        None => step.next.refunds.push(refund),
    }
    step
}

/// A person must look at the refund; the first reason stays.
fn require_attention(step: Step, refund: Refund, why: String) -> Step {
    let concern = refund.concern.clone().or(Some(why));
    put(step, Refund { concern, ..refund })
}

/// Reservation requests money back.
pub fn request(step: Step, stage: &Stage, event: &RefundRequested, now: Timestamp) -> Step {
    let (intent, refusal) = match stage {
        Stage::Captured { provider_ref: own, .. } => {
            let intent = event.provider_ref.as_ref().unwrap_or(own);
            (intent.clone(), refusal(&step.next, intent, own, event))
        }
        Stage::Payable | Stage::Ending { .. } | Stage::Over { .. } => {
            (String::new(), Some("nothing-captured"))
        }
    };
    let id = event.refund_id;
    let refund = Refund::new(id, Origin::Saga, intent, event.total, now);
    let refund = Refund { reason: event.reason.clone(), ..refund };
    let step = step.log("refund requested", format!("{id}: {}", event.total.amount));
    match refusal {
        Some(code) => failed(step, refund, code),
        // A refund of nothing needs no provider.
        None if event.total.amount == 0 => {
            let done = Refund { status: RefundStatus::Completed, ..refund };
            put(step, done).event(PaymentEvent::RefundCompleted(id))
        }
        None => put(step, refund).call(Call::Refund(id)),
    }
}

/// Why a capture does not give this back.
fn refusal(payment: &Payment, intent: &str, own: &str, event: &RefundRequested) -> Option<&'static str> {
    if payment.is_free() && event.total == payment.total {
        return None;
    }
    let left = payment.left_of(intent, own);
    let undisputed = left - payment.disputed(intent);
    let is_ours = event.total.currency == payment.total.currency;
    let fits = |left| is_ours && (1..=left).contains(&event.total.amount);
    match (fits(undisputed), fits(left)) {
        (true, _) => None,
        (false, true) => Some("disputed"),
        (false, false) => Some("exceeds-captured"),
    }
}

/// Gives back a capture that is not the accepted one. The refund's id is derived, so that it is created once.
pub fn give_back(step: Step, intent: String, total: Money, concern: Option<String>, now: Timestamp) -> Step {
    let id = derived_id(step.next.id, &intent);
    if step.next.refund(id).is_some() {
        return step;
    }
    let step = step.log("refund", format!("{id}: {} of {intent}, of our own accord", total.amount));
    let refund = Refund::new(id, Origin::Own, intent, total, now);
    let refund = Refund { reason: "unwanted capture".into(), concern, ..refund };
    put(step, refund).call(Call::Refund(id))
}

/// Reads every open refund from the provider.
pub fn check(step: Step, now: Timestamp) -> Step {
    let open = step.next.refunds.iter().filter(|refund| refund.status == RefundStatus::Requested);
    let open: Vec<Refund> = open.cloned().collect();
    step.for_each(open, |step, refund| {
        if refund.is_forgotten(now) {
            let why = format!("the outcome of refund {} was never found out", refund.id);
            require_attention(step, refund, why)
        } else {
            step.call(refund.call())
        }
    })
}

/// A person requests another try, also of a refund that was given up.
pub fn resume(step: Step, now: Timestamp) -> Step {
    let refunds = step.next.refunds.clone();
    step.for_each(refunds, |step, refund| match (refund.status, refund.origin) {
        (RefundStatus::Requested, _) if refund.is_forgotten(now) => step.call(Call::FindRefund(refund.id)),
        (RefundStatus::Requested, _) => step.call(refund.call()),
        (RefundStatus::Failed, Origin::Own) => {
            let id = refund.id;
            put(step, refund.anew(now)).call(Call::Refund(id))
        }
        // The saga requests a new one.
        (RefundStatus::Failed, Origin::Saga) | (RefundStatus::Completed, _) => step,
    })
}

/// The provider replied to a call about the refund's try number `tries`.
pub fn replied(step: Step, call: Call, tries: i32, answer: &Answer<RefundView>, now: Timestamp) -> Step {
    let (Call::Refund(id) | Call::LookAtRefund(id) | Call::FindRefund(id)) = call else { return step };
    let Some(refund) = of_try(&step.next, id, tries) else { return step };
    match (call, answer) {
        (_, Answer::Done(view)) => take(step, refund, view, now),
        (_, Answer::Unknown(why)) => step.log("no answer", format!("refund {id}: {why}")),
        (_, Answer::Refused { code, .. }) => failed(step, refund, code),
        (Call::FindRefund(_), Answer::NoSuchObject) => {
            put(step.log("refund never made", id.to_string()), refund.anew(now)).call(Call::Refund(id))
        }
        // It was refused for certain, so the next try needs a key of its own.
        (_, Answer::NoSuchObject) => require_attention(
            step,
            refund.anew(now),
            format!("the provider does not know what refund {id} is about"),
        ),
    }
}

/// A webhook shows the refund's try number `tries`.
pub fn shown(step: Step, id: Uuid, tries: i32, view: &RefundView, now: Timestamp) -> Step {
    match of_try(&step.next, id, tries) {
        Some(refund) => take(step, refund, view, now),
        None => step,
    }
}

/// A view of an older try changes nothing.
fn of_try(payment: &Payment, id: Uuid, tries: i32) -> Option<Refund> {
    payment.refund(id).filter(|refund| refund.tries == tries).cloned()
}

/// The transition table of a refund.
fn take(step: Step, before: Refund, view: &RefundView, now: Timestamp) -> Step {
    let id = before.id;
    let provider_ref = before.provider_ref.clone().or_else(|| Some(view.reference.clone()));
    let refund = Refund { provider_ref, ..before };
    match (&view.state, refund.status) {
        // Neither done nor failed: the provider gave back another amount than the requested one.
        (_, _) if view.total != Some(refund.total) => {
            require_attention(step, refund, format!("refund {id} is of another amount at the provider"))
        }
        (RefundState::Succeeded, RefundStatus::Requested) => {
            let step =
                step.post(movement(&refund, false)).log("refunded", format!("{id}: {}", view.reference));
            let origin = refund.origin;
            let done = Refund { status: RefundStatus::Completed, concern: None, ..refund };
            match origin {
                Origin::Saga => put(step, done).event(PaymentEvent::RefundCompleted(id)),
                Origin::Own => put(step, done),
            }
        }
        (RefundState::Failed { code }, RefundStatus::Requested) => {
            let step = step.log("refund failed", format!("{id}: {code}"));
            if refund.tries < TRIES_MAX { put(step, refund.anew(now)) } else { failed(step, refund, code) }
        }
        // A bank may send money back days after it was refunded.
        (RefundState::Failed { code }, RefundStatus::Completed) => {
            let step = step.post(movement(&refund, true));
            let why = format!("refund {id} came back after it had succeeded: {code}");
            failed(step, Refund { concern: Some(why), ..refund }, code)
        }
        (RefundState::Pending | RefundState::Succeeded, RefundStatus::Completed | RefundStatus::Failed)
        | (RefundState::Pending, RefundStatus::Requested)
        | (RefundState::Failed { .. }, RefundStatus::Failed) => put(step, refund),
    }
}

/// `is_returned`: the bank sent it back.
fn movement(refund: &Refund, is_returned: bool) -> Movement {
    let (kind, entry) =
        if is_returned { ("refund-returned", "refund returned") } else { ("refund", "refund") };
    let account = if refund.origin == Origin::Own { Account::Unwanted } else { Account::Refunds };
    Movement {
        transaction: format!("{kind}:{}:{}", refund.id, refund.tries),
        entry,
        from: if is_returned { account } else { Account::Provider },
        to: if is_returned { Account::Provider } else { account },
        total: refund.total,
        // Tickets follow the seats, not the money.
        tickets: 0,
    }
}

fn failed(step: Step, refund: Refund, code: &str) -> Step {
    let id = refund.id;
    let step = step.log("refund given up", format!("{id}: {code}"));
    let refund = Refund { status: RefundStatus::Failed, code: Some(code.to_owned()), ..refund };
    match refund.origin {
        Origin::Saga => put(step, refund).event(PaymentEvent::RefundFailed(id)),
        // No other part has a record of it, and it is a customer's money.
        Origin::Own => require_attention(step, refund, format!("{id} could not be given back: {code}")),
    }
}
