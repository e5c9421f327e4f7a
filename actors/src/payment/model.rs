//! A payment and what it is made of: attempts to capture, refunds to give back, and the answer that shows them.
//!
//! Invariant: at most one capture is accepted ([`Stage::Captured`]); any other is given back.
//! Everything here is plain state; how it changes is in [`super::rules`] and [`super::refund`], pure as well.

use bus::Context;
use bus::contract::payment::{self as contract, AttemptStatus, DisputeStatus, PaymentStatus, PaymentSuccess};
use bus::contract::reservation::{RefundStatus, Sale};
use bus::contract::{Money, Timestamp};
use uuid::Uuid;

use super::declines;
use super::dispute::Dispute;
use crate::delivery::IdempotencyKey;

/// Who took a payment of nothing.
pub const NO_PROVIDER: &str = "none";

#[derive(Debug, Clone, PartialEq)]
pub struct Payment {
    pub id: Uuid,
    pub reservation_id: Uuid,
    pub user_id: Uuid,
    pub email: Option<String>,
    /// What the provider's page calls the purchase.
    pub description: String,
    /// What is paid for now; absent in payments that an older host opened.
    pub sale: Option<Sale>,
    /// The reservation's version that `sale` is of; 0 while only the reservation itself was asked.
    pub seats_version: i64,
    /// The hold ended: money that comes late buys the seats after all, or goes back whole.
    pub hold_expired: bool,
    pub total: Money,
    pub stage: Stage,
    /// 0 while it is not in the database.
    pub version: i64,
    /// The end of the hold, as last told.
    pub expires_at: Timestamp,
    pub attempts: Vec<Attempt>,
    pub refunds: Vec<Refund>,
    pub disputes: Vec<Dispute>,
    pub next_check_at: Option<Timestamp>,
    /// Checks since something last moved; they grow the delay to the next.
    pub checks: i32,
    /// Why a person must look.
    pub attention: Option<String>,
    /// The request that began it, for what a webhook or a sweep finds out later.
    pub context: Context,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    Payable,
    /// Being closed at the provider; nothing new may begin.
    Ending {
        code: String,
    },
    /// Nothing was captured and nothing can be, as far as the provider says. Late money still leads to `Captured`.
    Over {
        code: String,
    },
    /// The one accepted capture.
    Captured {
        provider_ref: String,
        paid_at: Timestamp,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub number: i32,
    pub kind: Kind,
    pub state: State,
    /// The provider's payment.
    pub intent: Option<String>,
    /// The provider's hosted page.
    pub session: Option<String>,
    pub checkout_url: Option<String>,
    /// Why it was declined.
    pub code: Option<String>,
    /// The idempotency key whose answer is not stored yet.
    pub claim: Option<IdempotencyKey>,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `method` is forgotten once the outcome is known.
    Token { method: Option<String> },
    /// When the page ends by itself, in Unix seconds: kept, since a repeated call must be the same to the letter.
    Hosted { ends_at: i64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Asked of the provider, no answer yet.
    Opening,
    Open,
    /// To be closed; the provider has not yet said that it is.
    Closing,
    Captured,
    Declined,
    Closed,
}

impl State {
    pub fn is_open(self) -> bool {
        matches!(self, Self::Opening | Self::Open | Self::Closing)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Refund {
    pub id: Uuid,
    pub origin: Origin,
    /// The provider's payment that it gives back from.
    pub intent: String,
    pub total: Money,
    pub status: RefundStatus,
    /// The provider's refund, of the current try.
    pub provider_ref: Option<String>,
    /// Counts from 1; each has a provider key of its own.
    pub tries: i32,
    pub code: Option<String>,
    pub reason: String,
    pub created_at: Timestamp,
    /// When the current try began.
    pub tried_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `refund.requested`: the saga hears how it went.
    Asked,
    /// A capture that nobody wanted; nobody but the log hears.
    Own,
}

/// One line of the append-only log.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub entry: &'static str,
    pub detail: String,
}

/// What a new payment is opened from.
#[derive(Debug, Clone)]
pub struct Facts {
    pub reservation_id: Uuid,
    pub user_id: Uuid,
    pub email: Option<String>,
    pub description: String,
    pub sale: Option<Sale>,
    pub seats_version: i64,
    pub total: Money,
    pub expires_at: Timestamp,
}

/// The id of the reservation's one payment: a UUIDv7 with the reservation's own time whose other bits are a hash. So every
/// host that opens the payment, or asks about it before it is opened, names it alike.
pub fn payment_id(reservation: Uuid) -> Uuid {
    derived_id(reservation, "payment")
}

pub fn derived_id(from: Uuid, label: &str) -> Uuid {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(label.as_bytes());
    context.update(from.as_bytes());
    let digest = context.finish();
    let mut bytes = *from.as_bytes();
    bytes[6..].copy_from_slice(&digest.as_ref()[..10]);
    bytes[6] = bytes[6] & 0x0f | 0x70;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid::from_bytes(bytes)
}

impl Payment {
    /// Not yet in the database; its first change puts it there.
    pub fn open(facts: Facts, context: &Context, now: Timestamp) -> Self {
        Self {
            id: payment_id(facts.reservation_id),
            reservation_id: facts.reservation_id,
            user_id: facts.user_id,
            email: facts.email,
            description: facts.description,
            sale: facts.sale,
            seats_version: facts.seats_version,
            hold_expired: false,
            total: facts.total,
            stage: Stage::Payable,
            version: 0,
            expires_at: facts.expires_at,
            attempts: Vec::new(),
            refunds: Vec::new(),
            disputes: Vec::new(),
            next_check_at: None,
            checks: 0,
            attention: None,
            context: context.clone(),
            created_at: now,
            updated_at: now,
        }
    }

    pub fn status(&self) -> PaymentStatus {
        match &self.stage {
            Stage::Captured { provider_ref, .. } => match self.given_back(provider_ref) {
                0 => PaymentStatus::Succeeded,
                part if part < self.total.amount => PaymentStatus::PartiallyRefunded,
                _ => PaymentStatus::Refunded,
            },
            Stage::Over { .. } => PaymentStatus::Failed,
            Stage::Payable | Stage::Ending { .. } if self.open_attempt().is_some() => {
                PaymentStatus::Processing
            }
            Stage::Payable | Stage::Ending { .. } => PaymentStatus::Open,
        }
    }

    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.state.is_open())
    }

    pub fn attempt(&self, number: i32) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.number == number)
    }

    pub fn refund(&self, id: Uuid) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.id == id)
    }

    /// Nothing is under way at the provider, and none of its money is ours to give back.
    pub fn is_settled(&self) -> bool {
        let owed = |refund: &Refund| match refund.status {
            RefundStatus::Requested => true,
            RefundStatus::Failed => refund.origin == Origin::Own,
            RefundStatus::Completed => false,
        };
        self.open_attempt().is_none()
            && !self.refunds.iter().any(owed)
            && !self.disputes.iter().any(|dispute| dispute.status.is_open())
    }

    /// What disputes hold or took of a capture.
    pub fn disputed(&self, intent: &str) -> i64 {
        let taken = |d: &&Dispute| {
            d.intent == intent && matches!(d.status, DisputeStatus::Open | DisputeStatus::Lost)
        };
        self.disputes.iter().filter(taken).filter_map(|d| d.total).map(|total| total.amount).sum()
    }

    fn given_back(&self, intent: &str) -> i64 {
        self.refund_sum(intent, |status| status == RefundStatus::Completed)
    }

    /// What was given back of a capture or is on its way.
    pub fn promised(&self, intent: &str) -> i64 {
        self.refund_sum(intent, |status| status != RefundStatus::Failed)
    }

    fn refund_sum(&self, intent: &str, counts: impl Fn(RefundStatus) -> bool) -> i64 {
        let counted = self.refunds.iter().filter(|refund| refund.intent == intent && counts(refund.status));
        counted.map(|refund| refund.total.amount).sum()
    }

    /// Nothing is due, so no provider takes part.
    pub fn is_free(&self) -> bool {
        self.total.amount == 0
    }

    /// The accepted capture as its event has it.
    pub fn success(&self, provider: &str) -> Option<PaymentSuccess> {
        let provider = if self.is_free() { NO_PROVIDER } else { provider };
        match &self.stage {
            Stage::Captured { provider_ref, paid_at } => Some(PaymentSuccess {
                payment_id: self.id,
                reservation_id: self.reservation_id,
                total: self.total,
                provider: provider.to_owned(),
                provider_ref: provider_ref.clone(),
                paid_at: *paid_at,
            }),
            _ => None,
        }
    }

    pub fn shown_to_staff(&self) -> contract::Payment {
        let attempts = self.attempts.iter().map(Attempt::shown).collect();
        contract::Payment { attention: self.attention.clone(), attempts, ..self.shown() }
    }

    /// The payment as an answer shows it, without what is for staff alone.
    pub fn shown(&self) -> contract::Payment {
        let open_page = self.attempts.iter().find(|attempt| attempt.state == State::Open);
        contract::Payment {
            id: self.id,
            reservation_id: self.reservation_id,
            status: self.status(),
            total: self.total,
            checkout_url: open_page.and_then(|attempt| attempt.checkout_url.clone()),
            expires_at: self.expires_at,
            attempts: self.attempts.iter().map(Attempt::told).collect(),
            refunds: self.refunds.iter().map(Refund::shown).collect(),
            disputes: self.disputes.iter().map(Dispute::shown).collect(),
            attention: None,
            log: None,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

impl Attempt {
    /// As its customer sees it: not every reason for a decline is theirs to know.
    fn told(&self) -> contract::Attempt {
        let code = self.code.as_deref().map(|code| declines::told(code).to_owned());
        contract::Attempt { code, ..self.shown() }
    }

    fn shown(&self) -> contract::Attempt {
        contract::Attempt {
            number: self.number,
            status: match self.state {
                State::Opening => AttemptStatus::Opening,
                State::Open | State::Closing => AttemptStatus::Open,
                State::Captured => AttemptStatus::Captured,
                State::Declined => AttemptStatus::Declined,
                State::Closed => AttemptStatus::Closed,
            },
            provider_ref: self.intent.clone().or_else(|| self.session.clone()),
            code: self.code.clone(),
            created_at: self.created_at,
        }
    }
}

impl Refund {
    fn shown(&self) -> contract::Refund {
        contract::Refund { id: self.id, total: self.total, status: self.status, created_at: self.created_at }
    }
}
