//! The result of one input: the payment afterwards with the events, calls, postings and log lines of the change.

use bus::Context;
use uuid::Uuid;

use super::call::ProviderCall;
use super::ledger::{self, Movement, Posting};
use super::model::{Facts, Payment};
use super::provider::Kind;
use crate::config::DeclineLimits;
use crate::delivery::IdempotencyKey;

/// A request to pay, after reservation has agreed.
#[derive(Debug, Clone, PartialEq)]
pub struct PayRequest {
    pub facts: Facts,
    pub kind: Kind,
    pub key: IdempotencyKey,
    pub hash: [u8; 32],
    pub context: Context,
    pub declines: Option<DeclineLimits>,
    /// An older attempt was closed for it already.
    pub has_waited: bool,
}

/// An event of the payment, as the step decides it; its payload comes from the payment after the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentEvent {
    Initiated(i32),
    Success,
    Failed { code: String },
    RefundCompleted(Uuid),
    RefundFailed(Uuid),
    Disputed(Uuid),
}

/// The write of an idempotency key. An answer is the payment after the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyWrite {
    Claim {
        key: IdempotencyKey,
        hash: [u8; 32],
    },
    /// Claims it with its answer.
    Answer {
        key: IdempotencyKey,
        hash: [u8; 32],
    },
    Complete {
        key: IdempotencyKey,
        attempt: i32,
    },
    Forget {
        key: IdempotencyKey,
    },
}

/// One line of the payment's log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    pub entry: &'static str,
    pub detail: String,
}

/// The result of one input.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub next: Payment,
    pub events: Vec<PaymentEvent>,
    pub calls: Vec<ProviderCall>,
    pub postings: Vec<Posting>,
    pub log: Vec<LogLine>,
    pub key: Option<KeyWrite>,
}

impl Step {
    /// A step without any effect.
    pub fn from(payment: &Payment) -> Self {
        Self {
            next: payment.clone(),
            events: Vec::new(),
            calls: Vec::new(),
            postings: Vec::new(),
            log: Vec::new(),
            key: None,
        }
    }

    pub fn event(mut self, event: PaymentEvent) -> Self {
        self.events.push(event);
        self
    }

    pub fn call(mut self, call: ProviderCall) -> Self {
        self.calls.push(call);
        self
    }

    pub fn log(mut self, entry: &'static str, detail: impl Into<String>) -> Self {
        self.log.push(LogLine { entry, detail: detail.into() });
        self
    }

    /// Books a movement, for the show that the payment is for at this point.
    pub fn post(mut self, movement: Movement) -> Self {
        let postings = ledger::postings(&self.next, movement);
        self.postings.extend(postings);
        self
    }

    pub fn key(mut self, key: Option<KeyWrite>) -> Self {
        self.key = key.or(self.key);
        self
    }

    /// The same for each of the items, one after the other.
    pub fn for_each<T>(self, items: impl IntoIterator<Item = T>, step: impl FnMut(Self, T) -> Self) -> Self {
        items.into_iter().fold(self, step)
    }

    /// Whether there is a new version to write.
    pub fn is_new_version(&self, before: &Payment) -> bool {
        self.next.version != before.version
    }
}
