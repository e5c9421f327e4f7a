//! The rules of refunds.
//! Invariant: the sum of a payment's refunds, without failed ones, never exceeds the captured amount; the charge has that sum,
//! so the check is one subtraction.

use std::sync::Arc;

use crate::disputes;
use crate::fault::Fault;
use crate::form::Form;
use crate::model::{Charge, Object, PaymentIntent, Refund, RefundStatus};
use crate::outcome::{Decision, Moment, Outcome, event, new_id};
use crate::rules::{counted, divisible, not_positive};
use crate::store::{Record, Store};

pub fn create(store: &Store, form: &Form, moment: Moment) -> Decision {
    form.only(&["payment_intent", "amount", "metadata", "reason", "expand"])?;
    let id = form.need("payment_intent")?;
    let intent =
        store.intents.get(id).ok_or_else(|| Fault::missing(404, "payment_intent", id, "payment_intent"))?;
    let metadata = form.metadata("metadata")?;
    let reason = form.get("reason");
    if reason.is_some_and(|reason| !["duplicate", "fraudulent", "requested_by_customer"].contains(&reason)) {
        let message = "Invalid reason: must be one of duplicate, fraudulent, or requested_by_customer";
        return Err(Fault::invalid(message).param("reason"));
    }
    let requested = form.integer("amount")?;
    if requested.is_some_and(|amount| amount < 1) {
        return Err(not_positive("amount"));
    }
    if let (Some(amount), Some(currency)) = (requested, counted(&intent.currency)) {
        divisible(amount, currency, "amount")?;
    }
    let refuse = |fault| Ok(Outcome::rejected(Vec::new(), fault, Object::Intent(intent.clone())));
    let Some(charge) = intent.charge.as_ref().filter(|charge| charge.paid) else {
        let message = format!("This PaymentIntent ({id}) does not have a successful charge to refund.");
        return refuse(Fault::invalid(message));
    };
    if disputes::holds(store, intent) {
        let message = format!("Charge {} has been charged back; it cannot be refunded.", charge.id);
        return refuse(Fault::invalid(message).code("charge_disputed"));
    }
    let left = intent.received() - charge.refunded;
    if left == 0 {
        let message = format!("Charge {} has already been refunded.", charge.id);
        return refuse(Fault::invalid(message).code("charge_already_refunded"));
    }
    let amount = requested.unwrap_or(left);
    if amount > left {
        // Without a code, as observed at Stripe: clients recognise it by `param`.
        let message =
            format!("Refund amount ({amount}) is greater than unrefunded amount on charge ({left})");
        return refuse(Fault::invalid(message).param("amount"));
    }
    let refund = Refund {
        id: new_id("re_"),
        created: moment.now,
        amount,
        currency: intent.currency.clone(),
        status: RefundStatus::Succeeded,
        charge: charge.id.clone(),
        payment_intent: id.to_owned(),
        reason: reason.map(str::to_owned),
        metadata,
    };
    Ok(if moment.refunds_fail {
        fail_refund(refund, moment.now)
    } else {
        record_refund(intent, charge, refund, moment.now)
    })
}

fn record_refund(intent: &PaymentIntent, charge: &Charge, refund: Refund, now: i64) -> Outcome {
    let refunded = charge.refunded + refund.amount;
    let intent = PaymentIntent { charge: Some(Charge { refunded, ..charge.clone() }), ..intent.clone() };
    let refund = Arc::new(refund);
    let records = vec![
        Record::Refund(refund.clone()),
        event("refund.created", &refund.id, now),
        event("charge.refunded", &intent.id, now),
        event("refund.updated", &refund.id, now),
    ];
    let records = std::iter::once(Record::Intent(Arc::new(intent))).chain(records).collect();
    Outcome::accepted(records, Object::Refund(refund))
}

/// A refund fails at the bank after the answer: the call is answered `pending` and the failure follows.
fn fail_refund(refund: Refund, now: i64) -> Outcome {
    let failed = Arc::new(Refund { status: RefundStatus::Failed, ..refund.clone() });
    let pending = Arc::new(Refund { status: RefundStatus::Pending, ..refund });
    let records = vec![Record::Refund(pending.clone()), event("refund.created", &pending.id, now)];
    let afterwards = vec![
        Record::Refund(failed.clone()),
        event("refund.updated", &failed.id, now),
        event("refund.failed", &failed.id, now),
    ];
    Outcome { afterwards, ..Outcome::accepted(records, Object::Refund(pending)) }
}
