//! The rules of giving money back, for the saga or of our own accord. Pure, like [`super::rules`].
//!
//! Invariant: of one capture never more is given back than it took.
//! Invariant: a refund that failed for certain is tried anew under a new key, a bounded number of times; one whose
//! outcome is unknown is asked about under its old key.

use bus::contract::reservation::{RefundRequested, RefundStatus};
use bus::contract::{Money, Timestamp};
use uuid::Uuid;

use super::ledger::{Account, Movement};
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
    // The reservation of a payment of nothing was cancelled before it: that it goes back needs no provider.
    let is_free = payment.is_free() && wanted.total == payment.total;
    let (intent, refusal) = match &payment.stage {
        Stage::Captured { provider_ref, .. } if is_free => (provider_ref.clone(), None),
        Stage::Captured { provider_ref, .. } => {
            let left = payment.total.amount - payment.promised(provider_ref);
            let disputed = payment.disputed(provider_ref);
            let fits = |left| {
                wanted.total.currency == payment.total.currency && (1..=left).contains(&wanted.total.amount)
            };
            let refusal = match (fits(left - disputed), fits(left)) {
                (true, _) => None,
                (false, true) => Some("disputed"),
                (false, false) => Some("exceeds-captured"),
            };
            (provider_ref.clone(), refusal)
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
    let index = draft.payment.refunds.len() - 1;
    match refusal {
        Some(code) => draft.refund_failed(index, code),
        None if is_free => {
            draft.payment.refunds[index].status = RefundStatus::Completed;
            draft.said.push(Said::RefundCompleted(wanted.refund_id));
        }
        None => draft.calls.push(Call::Refund(wanted.refund_id)),
    }
    draft.free_expired_seats();
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
        Answer::Done(sight) => {
            draft.hear_refund(index, sight);
            draft.log_answer(Call::LookAtRefund(id), &sight.standing);
        }
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

/// The provider was searched for a refund whose outcome nobody heard.
pub fn looked_for(
    payment: &Payment,
    id: Uuid,
    tries: i32,
    answer: &Answer<RefundSight>,
    now: Timestamp,
) -> Step {
    if *answer != Answer::NoSuchObject {
        return answered(payment, id, tries, answer, now);
    }
    let mut draft = Draft::new(payment, now);
    if let Some(index) = draft.refund_index(id, tries) {
        draft.log("refund never made", id.to_string());
        draft.try_refund_anew(index);
        draft.calls.push(Call::Refund(id));
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

    /// A person wants it tried again, whatever was given up.
    pub fn resume_refunds(&mut self) {
        for index in 0..self.payment.refunds.len() {
            let refund = self.payment.refunds[index].clone();
            let unknown = refund.provider_ref.is_none() && self.now > refund.tried_at.plus(KEY_LIVES);
            match (refund.status, refund.origin) {
                (RefundStatus::Requested, _) if unknown => self.calls.push(Call::FindRefund(refund.id)),
                (RefundStatus::Requested, _) => self.ask_about_refund(&refund),
                // The saga knows of those that were asked for, and asks with a new one.
                (RefundStatus::Failed, Origin::Own) => {
                    self.payment.refunds[index].status = RefundStatus::Requested;
                    self.payment.refunds[index].code = None;
                    self.try_refund_anew(index);
                    self.calls.push(Call::Refund(refund.id));
                }
                (RefundStatus::Failed, Origin::Asked) | (RefundStatus::Completed, _) => {}
            }
        }
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
            // Neither done nor failed: what was asked for was not done, and something was.
            return self.alarm(format!("refund {id} is of another amount at the provider"));
        }
        match (&sight.standing, status) {
            (RefundStanding::Succeeded, RefundStatus::Requested) => {
                self.payment.refunds[index].status = RefundStatus::Completed;
                self.book_refund(index, false);
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
                self.book_refund(index, true);
                self.refund_failed(index, code);
            }
            _ => {}
        }
    }

    /// `returned`: the bank sent it back.
    fn book_refund(&mut self, index: usize, returned: bool) {
        let refund = &self.payment.refunds[index];
        let (kind, entry) =
            if returned { ("refund-returned", "refund returned") } else { ("refund", "refund") };
        let account = if refund.origin == Origin::Own { Account::Unwanted } else { Account::Refunds };
        self.book(Movement {
            transaction: format!("{kind}:{}:{}", refund.id, refund.tries),
            entry,
            from: if returned { account } else { Account::Provider },
            to: if returned { Account::Provider } else { account },
            total: refund.total,
            // They follow the seats, not the money.
            tickets: 0,
        });
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
