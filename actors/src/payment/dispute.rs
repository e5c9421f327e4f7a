//! Disputes: what the provider's news about one mean. Pure, like [`super::rules`].
//!
//! Invariant: a decided dispute is not opened again by news that come late, and its money is where its status says:
//! with the provider, kept until it is decided, or lost.

use bus::contract::payment::{self as contract, DisputeStatus};
use bus::contract::{Money, Timestamp};
use uuid::Uuid;

use super::ledger::{Account, Movement};
use super::model::{Payment, derived_id};
use super::provider::{Answer, DisputeSight};
use super::step::{Call, Draft, Said, Step};

#[derive(Debug, Clone, PartialEq)]
pub struct Dispute {
    /// Derived from the provider's name for it.
    pub id: Uuid,
    pub provider_ref: String,
    /// The provider's payment that is disputed.
    pub intent: String,
    pub total: Option<Money>,
    pub reason: String,
    pub status: DisputeStatus,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Dispute {
    pub fn shown(&self) -> contract::Dispute {
        contract::Dispute {
            id: self.id,
            provider_ref: self.provider_ref.clone(),
            status: self.status,
            total: self.total,
            reason: self.reason.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// The provider told of a dispute.
pub fn seen(payment: &Payment, sight: &DisputeSight, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    draft.hear_dispute(sight);
    draft.finish()
}

/// The provider answered how a dispute stands.
pub fn answered(payment: &Payment, id: Uuid, answer: &Answer<DisputeSight>, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    match answer {
        Answer::Done(sight) => {
            draft.hear_dispute(sight);
            draft.log_answer(Call::LookAtDispute(id), &sight.status);
        }
        Answer::Unknown(why) => draft.log("no answer", format!("dispute {id}: {why}")),
        Answer::NoSuchObject => draft.alarm(format!("the provider does not know dispute {id}")),
        Answer::Refused { code, status } => {
            draft.alarm(format!("dispute {id}: the provider refuses with {status} {code}"));
        }
    }
    draft.finish()
}

/// Whether `to` is news: an inquiry may become a dispute, a dispute is decided, and a decision may be turned.
fn advances(from: DisputeStatus, to: DisputeStatus) -> bool {
    match (from, to) {
        (DisputeStatus::Inquiry, to) => to != DisputeStatus::Inquiry,
        (DisputeStatus::Open, to) => !to.is_open(),
        (from, to) => !to.is_open() && from != to,
    }
}

impl Draft<'_> {
    fn hear_dispute(&mut self, sight: &DisputeSight) {
        let known = self.payment.disputes.iter().position(|d| d.provider_ref == sight.reference);
        let before = known.map(|index| self.payment.disputes[index].status);
        if before.is_some_and(|before| !advances(before, sight.status)) {
            return;
        }
        let index = known.unwrap_or_else(|| self.record(sight));
        let (now, name) = (self.now, &sight.reference);
        let dispute = &mut self.payment.disputes[index];
        dispute.status = sight.status;
        dispute.updated_at = now;
        let (id, total) = (dispute.id, dispute.total);
        let changed = total != sight.total;
        self.log("dispute", format!("{name} {:?}, {}", sight.status, sight.reason));
        self.said.push(Said::Disputed(id));
        if changed {
            self.alarm(format!("dispute {name} is of another amount than before"));
        }
        if let Some(total) = total {
            self.book(Movement {
                transaction: format!("dispute:{name}:{}", self.next_version()),
                entry: "dispute",
                from: Account::of_dispute(before),
                to: Account::of_dispute(Some(sight.status)),
                total,
                tickets: 0,
            });
        }
        if before.is_none_or(|before| before == DisputeStatus::Inquiry) && sight.status.is_open() {
            self.alarm(format!("dispute {name} ({}) wants evidence at the provider", sight.reason));
        }
    }

    fn record(&mut self, sight: &DisputeSight) -> usize {
        let ours = self.payment.total;
        let fits =
            sight.total.is_some_and(|t| t.currency == ours.currency && (1..=ours.amount).contains(&t.amount));
        if !fits {
            self.alarm(format!("dispute {} is of another amount than was captured", sight.reference));
        }
        self.payment.disputes.push(Dispute {
            id: derived_id(self.payment.id, &sight.reference),
            provider_ref: sight.reference.clone(),
            intent: sight.intent.clone(),
            total: sight.total,
            reason: sight.reason.clone(),
            status: sight.status,
            created_at: self.now,
            updated_at: self.now,
        });
        self.payment.disputes.len() - 1
    }
}
