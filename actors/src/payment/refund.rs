//! The rules of giving money back, for the saga or of our own accord. Pure, like [`super::rules`].
//!
//! Invariant: of one capture never more is given back than it took.
//! Invariant: a refund that failed for certain is tried anew under a new key, a bounded number of times; one whose
//! outcome is unknown is asked about under its old key.

use bus::contract::reservation::{RefundRequested, RefundStatus};
use bus::contract::{Money, Timestamp};
use uuid::Uuid;

use super::model::{Origin, Payment, Refund, Stage, derived_id};
use super::provider::{Answer, RefundSight, RefundStanding};
use super::step::{Call, Draft, KEY_LIVES, Said, Step};

/// Tries of a refund that fails for certain: a bank that is ill today may be well in a moment, not more.
const TRIES_MAX: i32 = 3;

/// Reservation wants money back; the same refund again asks how it went.
pub fn requested(payment: &Payment, wanted: &RefundRequested, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    if let Some(known) = payment.refund(wanted.refund_id) {
        match known.status {
            RefundStatus::Completed => draft.said.push(Said::RefundCompleted(known.id)),
            RefundStatus::Failed => draft.said.push(Said::RefundFailed(known.id)),
            RefundStatus::Requested => draft.ask_about_refund(known),
        }
        draft.log("refund asked about", wanted.refund_id.to_string());
        return draft.finish();
    }
    let (intent, refusal) = match &payment.stage {
        Stage::Captured { provider_ref, .. } => {
            let left = payment.total.amount - payment.promised(provider_ref);
            let fits =
                wanted.total.currency == payment.total.currency && (1..=left).contains(&wanted.total.amount);
            (provider_ref.clone(), (!fits).then_some("exceeds-captured"))
        }
        _ => (String::new(), Some("nothing-captured")),
    };
    draft.log("refund requested", format!("{}: {}", wanted.refund_id, wanted.total.amount));
    let refund = Refund {
        id: wanted.refund_id,
        origin: Origin::Asked,
        intent,
        total: wanted.total,
        status: RefundStatus::Requested,
        provider_ref: None,
        tries: 1,
        code: None,
        reason: wanted.reason.clone(),
        created_at: now,
        tried_at: now,
    };
    draft.payment.refunds.push(refund);
    match refusal {
        Some(code) => draft.refund_failed(draft.payment.refunds.len() - 1, code),
        None => draft.calls.push(Call::Refund(wanted.refund_id)),
    }
    draft.finish()
}

/// The provider answered a call about the refund's try number `tries`.
pub fn answered(
    payment: &Payment,
    id: Uuid,
    tries: i32,
    answer: &Answer<RefundSight>,
    now: Timestamp,
) -> Step {
    let mut draft = Draft::new(payment, now);
    let Some(index) = draft.refund_index(id, tries) else { return draft.finish() };
    match answer {
        Answer::Done(sight) => draft.hear_refund(index, sight),
        Answer::Unknown(why) => draft.log("no answer", format!("refund {id}: {why}")),
        Answer::Refused { code, .. } => draft.refund_failed(index, code),
        Answer::NoSuchObject => {
            draft.alarm(format!("the provider does not know what refund {id} is about"));
            // It said no for certain, so the next try needs a key of its own.
            draft.try_refund_anew(index);
        }
    }
    draft.finish()
}

/// A webhook told of the refund's try number `tries`.
pub fn seen(payment: &Payment, id: Uuid, tries: i32, sight: &RefundSight, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    if let Some(index) = draft.refund_index(id, tries) {
        draft.hear_refund(index, sight);
    }
    draft.finish()
}

impl Draft<'_> {
    /// Gives back a capture that is not the accepted one. Its id is derived, so that it is made once.
    pub fn give_back(&mut self, intent: String, total: Option<Money>) {
        let Some(total) = total else {
            return self.alarm(format!("{intent} captured an amount that cannot be read"));
        };
        let id = derived_id(self.payment.id, &intent);
        if self.payment.refund(id).is_some() {
            return;
        }
        self.log("refund", format!("{id}: {} of {intent}, of our own accord", total.amount));
        self.payment.refunds.push(Refund {
            id,
            origin: Origin::Own,
            intent,
            total,
            status: RefundStatus::Requested,
            provider_ref: None,
            tries: 1,
            code: None,
            reason: "unwanted capture".into(),
            created_at: self.now,
            tried_at: self.now,
        });
        self.calls.push(Call::Refund(id));
    }

    pub fn check_refunds(&mut self) {
        let open: Vec<Refund> =
            self.payment.refunds.iter().filter(|r| r.status == RefundStatus::Requested).cloned().collect();
        for refund in open {
            if refund.provider_ref.is_none() && self.now > refund.tried_at.plus(KEY_LIVES) {
                self.alarm(format!("the outcome of refund {} was never found out", refund.id));
            } else {
                self.ask_about_refund(&refund);
            }
        }
    }

    fn ask_about_refund(&mut self, refund: &Refund) {
        self.calls.push(match refund.provider_ref {
            Some(_) => Call::LookAtRefund(refund.id),
            None => Call::Refund(refund.id),
        });
    }

    /// News of an older try are no news.
    fn refund_index(&self, id: Uuid, tries: i32) -> Option<usize> {
        self.payment.refunds.iter().position(|refund| refund.id == id && refund.tries == tries)
    }

    fn hear_refund(&mut self, index: usize, sight: &RefundSight) {
        let refund = &mut self.payment.refunds[index];
        let (id, status, origin) = (refund.id, refund.status, refund.origin);
        let another = sight.total != Some(refund.total);
        refund.provider_ref.get_or_insert_with(|| sight.reference.clone());
        if another {
            self.alarm(format!("refund {id} is of another amount at the provider"));
        }
        match (&sight.standing, status) {
            (RefundStanding::Succeeded, RefundStatus::Requested) => {
                self.payment.refunds[index].status = RefundStatus::Completed;
                self.log("refunded", format!("{id}: {}", sight.reference));
                if origin == Origin::Asked {
                    self.said.push(Said::RefundCompleted(id));
                }
            }
            (RefundStanding::Failed { code }, RefundStatus::Requested) => {
                self.log("refund failed", format!("{id}: {code}"));
                if self.payment.refunds[index].tries < TRIES_MAX {
                    self.try_refund_anew(index);
                } else {
                    self.refund_failed(index, code);
                }
            }
            // A bank may send money back days after it was refunded.
            (RefundStanding::Failed { code }, RefundStatus::Completed) => {
                self.alarm(format!("refund {id} came back after it had succeeded: {code}"));
                self.refund_failed(index, code);
            }
            _ => {}
        }
    }

    fn try_refund_anew(&mut self, index: usize) {
        let now = self.now;
        let refund = &mut self.payment.refunds[index];
        refund.tries += 1;
        refund.provider_ref = None;
        refund.tried_at = now;
    }

    fn refund_failed(&mut self, index: usize, code: &str) {
        let refund = &mut self.payment.refunds[index];
        refund.status = RefundStatus::Failed;
        refund.code = Some(code.to_owned());
        let (id, origin) = (refund.id, refund.origin);
        self.log("refund given up", format!("{id}: {code}"));
        match origin {
            Origin::Asked => self.said.push(Said::RefundFailed(id)),
            // Nobody else knows of it, and it is somebody's money.
            Origin::Own => self.alarm(format!("{id} could not be given back: {code}")),
        }
    }
}
