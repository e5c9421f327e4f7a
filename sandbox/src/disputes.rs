//! The rules of disputes: a test card that disputes its payment at once, and a verdict set by a switch.
//! Invariant: a dispute is decided once; while it is open, and after it is lost, its charge cannot be refunded.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::model::{Dispute, DisputeStatus, Object, PaymentIntent};
use crate::outcome::{Decision, Moment, Outcome, event, new_id};
use crate::store::{Record, Store};

/// How open disputes are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Won,
    Lost,
}

/// The records of a new dispute: the money is withdrawn at once.
pub fn raise(intent: &PaymentIntent, now: i64) -> Vec<Record> {
    let Some(charge) = &intent.charge else { return Vec::new() };
    let dispute = Arc::new(Dispute {
        id: new_id("dp_"),
        created: now,
        amount: intent.amount,
        currency: intent.currency.clone(),
        status: DisputeStatus::NeedsResponse,
        charge: charge.id.clone(),
        payment_intent: intent.id.clone(),
    });
    let charge = super::model::Charge { disputed: true, ..charge.clone() };
    vec![
        Record::Intent(Arc::new(PaymentIntent { charge: Some(charge), ..intent.clone() })),
        Record::Dispute(dispute.clone()),
        event("charge.dispute.created", &dispute.id, now),
        event("charge.dispute.funds_withdrawn", &dispute.id, now),
    ]
}

pub fn decide(store: &Store, id: &str, verdict: Verdict, moment: Moment) -> Decision {
    let stored = store.disputes.get(id).ok_or_else(|| Fault::missing(404, "dispute", id, "dispute"))?;
    let status = match verdict {
        Verdict::Won => DisputeStatus::Won,
        Verdict::Lost => DisputeStatus::Lost,
    };
    let dispute = Arc::new(Dispute { status, ..Dispute::clone(stored) });
    let mut records = vec![Record::Dispute(dispute.clone())];
    if verdict == Verdict::Won {
        records.push(event("charge.dispute.funds_reinstated", id, moment.now));
    }
    records.push(event("charge.dispute.closed", id, moment.now));
    Ok(Outcome::accepted(records, Object::Dispute(dispute)))
}

/// Whether an open or lost dispute prevents refunds of this payment.
pub fn holds(store: &Store, intent: &PaymentIntent) -> bool {
    let disputed = intent.charge.as_ref().is_some_and(|charge| charge.disputed);
    disputed && store.disputes.any(|d| d.payment_intent == intent.id && d.status != DisputeStatus::Won)
}
