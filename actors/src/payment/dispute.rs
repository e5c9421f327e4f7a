//! One dispute of a cardholder, as the provider shows it.
//!
//! Invariant: a decided dispute is not opened again by a late view, and its money is booked by its status: with the provider,
//! kept until it is decided, or lost.

use bus::contract::payment::DisputeStatus;
use bus::contract::{Money, Timestamp};

use super::call::ProviderCall as Call;
use super::ledger::{Account, Movement};
use super::model::{Dispute, Payment, derived_id};
use super::provider::{Answer, DisputeView};
use super::step::{PaymentEvent, Step};

/// Reads every open dispute from the provider.
pub fn check(step: Step) -> Step {
    let open = step.next.disputes.iter().filter(|dispute| dispute.status.is_open());
    let calls: Vec<Call> = open.map(|dispute| Call::LookAtDispute(dispute.id)).collect();
    step.for_each(calls, Step::call)
}

/// The provider replied to a call about a dispute.
pub fn replied(step: Step, call: Call, answer: &Answer<DisputeView>, now: Timestamp) -> Step {
    let Call::LookAtDispute(id) = call else { return step };
    let Some(dispute) = step.next.dispute(id).cloned() else { return step };
    match answer {
        Answer::Done(view) => shown(step, view, now),
        Answer::Unknown(why) => step.log("no answer", format!("dispute {id}: {why}")),
        Answer::NoSuchObject => {
            require_attention(step, dispute, format!("the provider does not know dispute {id}"))
        }
        Answer::Refused { code, status } => require_attention(
            step,
            dispute,
            format!("dispute {id}: the provider refuses with {status} {code}"),
        ),
    }
}

/// The provider's view of a dispute.
pub fn shown(step: Step, view: &DisputeView, now: Timestamp) -> Step {
    let before = step.next.disputes.iter().find(|d| d.provider_ref == view.reference).cloned();
    let was = before.as_ref().map(|dispute| dispute.status);
    if was.is_some_and(|was| !advances(was, view.status)) {
        return step;
    }
    let name = &view.reference;
    let dispute = before.unwrap_or_else(|| new(&step.next, view, now));
    let is_other_amount = dispute.total != view.total;
    let wants_evidence = was.is_none_or(|was| was == DisputeStatus::Inquiry) && view.status.is_open();
    let concern = match (is_other_amount, wants_evidence) {
        (true, _) => Some(format!("dispute {name} is of another amount than before")),
        (false, true) => {
            let evidence = format!("dispute {name} ({}) wants evidence at the provider", view.reason);
            Some(dispute.concern.clone().unwrap_or(evidence))
        }
        (false, false) if was.is_none() => dispute.concern.clone(),
        (false, false) => dispute.concern.clone().filter(|_| view.status.is_open()),
    };
    let id = dispute.id;
    let step = step.log("dispute", format!("{name} {:?}, {}", view.status, view.reason));
    let step = step.event(PaymentEvent::Disputed(id));
    let step = match dispute.total {
        Some(total) => {
            let version = step.next.version + 1;
            step.post(Movement {
                transaction: format!("dispute:{name}:{version}"),
                entry: "dispute",
                from: Account::of_dispute(was),
                to: Account::of_dispute(Some(view.status)),
                total,
                tickets: 0,
            })
        }
        None => step,
    };
    put(step, Dispute { status: view.status, concern, updated_at: now, ..dispute })
}

/// The transition table of a dispute: an inquiry may become a dispute, a dispute is decided, and a decision may be turned.
fn advances(from: DisputeStatus, to: DisputeStatus) -> bool {
    match (from, to) {
        (DisputeStatus::Inquiry, to) => to != DisputeStatus::Inquiry,
        (DisputeStatus::Open, to) => !to.is_open(),
        (from @ (DisputeStatus::Won | DisputeStatus::Lost | DisputeStatus::Closed), to) => {
            !to.is_open() && from != to
        }
    }
}

fn new(payment: &Payment, view: &DisputeView, now: Timestamp) -> Dispute {
    let ours = payment.total;
    let fits = |total: Money| total.currency == ours.currency && (1..=ours.amount).contains(&total.amount);
    let concern = match view.total {
        Some(total) if fits(total) => None,
        _ => Some(format!("dispute {} is of another amount than was captured", view.reference)),
    };
    Dispute {
        id: derived_id(payment.id, &view.reference),
        provider_ref: view.reference.clone(),
        intent: view.intent.clone(),
        total: view.total,
        reason: view.reason.clone(),
        status: view.status,
        concern,
        created_at: now,
        updated_at: now,
    }
}

/// Puts the dispute into the payment, over its earlier state.
fn put(mut step: Step, dispute: Dispute) -> Step {
    match step.next.disputes.iter_mut().find(|other| other.id == dispute.id) {
        Some(before) => *before = dispute,
        None => step.next.disputes.push(dispute),
    }
    step
}

/// A person must look at the dispute; the first reason stays.
fn require_attention(step: Step, dispute: Dispute, why: String) -> Step {
    let concern = dispute.concern.clone().or(Some(why));
    put(step, Dispute { concern, ..dispute })
}
