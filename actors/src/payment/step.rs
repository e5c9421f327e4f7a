//! What a decision about a payment consists of, and how one is put together.
//!
//! Invariant: every wait has a deadline: a payment with anything open at the provider has a `next_check_at`.
//! Invariant: calls leave only after the step's rows are committed; the shell sees to it.

use std::time::Duration;

use bus::contract::Timestamp;
use bus::contract::reservation::RefundStatus;
use uuid::Uuid;

use super::dispute::Dispute;
use super::ledger::Posting;
use super::model::{Attempt, Kind, Line, Payment, Refund, Stage, State};
use crate::delivery::IdempotencyKey;

/// An attempt that was asked for this long ago is no longer waited for by its asker.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Providers forget a key after a day; a call that is repeated later could act twice.
pub const KEY_LIVES: Duration = Duration::from_secs(23 * 60 * 60);
/// A closing, or a refund that is tried anew: somebody waits for it.
const SOON: Duration = Duration::from_secs(2);
const CHECK_MAX: Duration = Duration::from_secs(60 * 60);
/// A dispute is decided in weeks; asking is only for news that got lost.
const DISPUTE_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a payment is over: its reservation was cancelled, or its hold ended.
pub const CANCELLED: &str = "reservation-cancelled";
pub const EXPIRED: &str = "hold-expired";

/// What to ask the provider, once the step is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    Begin(i32),
    Look(i32),
    Close(i32),
    Refund(Uuid),
    LookAtRefund(Uuid),
    /// Whether the provider knows it, where its own name for it was never heard.
    FindRefund(Uuid),
    LookAtDispute(Uuid),
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begin(number) => write!(f, "begin attempt {number}"),
            Self::Look(number) => write!(f, "look at attempt {number}"),
            Self::Close(number) => write!(f, "close attempt {number}"),
            Self::Refund(id) => write!(f, "make refund {id}"),
            Self::LookAtRefund(id) => write!(f, "look at refund {id}"),
            Self::FindRefund(id) => write!(f, "find refund {id}"),
            Self::LookAtDispute(id) => write!(f, "look at dispute {id}"),
        }
    }
}

/// What to tell the house. Payloads come from the payment as it is after the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Initiated(i32),
    Success,
    Failed { code: String },
    RefundCompleted(Uuid),
    RefundFailed(Uuid),
    Disputed(Uuid),
}

/// What becomes of an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyWrite {
    Claim {
        key: IdempotencyKey,
        hash: [u8; 32],
    },
    /// Claims it with its answer, the payment after the step.
    Answer {
        key: IdempotencyKey,
        hash: [u8; 32],
    },
    /// The answer is the payment after the step.
    Complete {
        key: IdempotencyKey,
        attempt: i32,
    },
    Forget {
        key: IdempotencyKey,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub payment: Payment,
    /// There is something to write.
    pub changed: bool,
    pub said: Vec<Said>,
    pub calls: Vec<Call>,
    pub log: Vec<Line>,
    pub postings: Vec<Posting>,
    pub key: Option<KeyWrite>,
    /// Somebody must look, since this step.
    pub alarm: bool,
}

impl Step {
    /// The request that it is for has its answer; no attempt is waited for.
    pub fn is_answered(&self) -> bool {
        matches!(self.key, Some(KeyWrite::Answer { .. }))
    }
}

/// A step in the making.
pub struct Draft<'a> {
    before: &'a Payment,
    pub now: Timestamp,
    pub payment: Payment,
    pub said: Vec<Said>,
    pub calls: Vec<Call>,
    pub log: Vec<Line>,
    pub postings: Vec<Posting>,
    pub key: Option<KeyWrite>,
    /// A person must look, since this step.
    alarm: bool,
    /// This step found a reason to look, the first or another.
    alarmed: bool,
    checked: bool,
    /// A person has looked.
    pub resumed: bool,
}

impl<'a> Draft<'a> {
    pub fn new(before: &'a Payment, now: Timestamp) -> Self {
        Self {
            before,
            now,
            payment: before.clone(),
            said: Vec::new(),
            calls: Vec::new(),
            log: Vec::new(),
            postings: Vec::new(),
            key: None,
            alarm: false,
            alarmed: false,
            checked: false,
            resumed: false,
        }
    }

    pub fn log(&mut self, entry: &'static str, detail: impl Into<String>) {
        self.log.push(Line { entry, detail: detail.into() });
    }

    /// Needs a person; the first reason stays.
    pub fn alarm(&mut self, why: impl Into<String>) {
        let why = why.into();
        self.log("needs attention", why.clone());
        self.alarmed = true;
        if self.payment.attention.is_none() {
            self.payment.attention = Some(why);
            self.alarm = true;
        }
    }

    /// The deadline was reached and the provider is being asked.
    pub fn check(&mut self) {
        self.checked = true;
        self.payment.checks = self.payment.checks.saturating_add(1);
    }

    /// The version that this step writes.
    pub fn next_version(&self) -> i64 {
        self.before.version + 1
    }

    pub fn attempt(&mut self, index: usize) -> &mut Attempt {
        &mut self.payment.attempts[index]
    }

    /// Closes an open attempt at the provider, or asks on.
    pub fn close(&mut self, index: usize) {
        let attempt = self.attempt(index);
        attempt.state = State::Closing;
        let number = attempt.number;
        self.calls.push(Call::Close(number));
    }

    pub fn finish(mut self) -> Step {
        self.end_if_closed();
        self.calm();
        self.log_calls();
        let (before, payment) = (self.before, &mut self.payment);
        let moved = before.attempts != payment.attempts
            || before.refunds != payment.refunds
            || before.disputes != payment.disputes
            || before.stage != payment.stage;
        if moved && !self.checked {
            payment.checks = 0;
        }
        if moved || self.checked {
            payment.next_check_at = next_check(payment, self.now);
        }
        let changed = *payment != *before || !self.log.is_empty();
        if changed {
            payment.version += 1;
            payment.updated_at = self.now;
        }
        let Self { payment, said, calls, log, postings, key, alarm, .. } = self;
        Step { payment, changed, said, calls, log, postings, key, alarm }
    }

    /// Every call has a line; where a rule says itself what it asks, that is the line.
    fn log_calls(&mut self) {
        for call in self.calls.clone() {
            if self.checked || !matches!(call, Call::Begin(_) | Call::Refund(_)) {
                self.log("asked", call.to_string());
            }
        }
    }

    /// An answer that is no news has a line as well.
    pub fn log_answer(&mut self, call: Call, what: &dyn std::fmt::Debug) {
        if self.log.is_empty() {
            self.log("answered", format!("{call}: {what:?}"));
        }
    }

    /// Nobody needs to look any more: it has settled by itself, or somebody looked and nothing was open.
    fn calm(&mut self) {
        let settled = self.payment.is_settled() && (self.resumed || !self.before.is_settled());
        if settled && !self.alarmed && self.payment.attention.take().is_some() {
            self.log("attention over", "all is settled");
        }
    }

    /// An ending payment whose last attempt has closed is over.
    fn end_if_closed(&mut self) {
        let Stage::Ending { code } = &self.payment.stage else { return };
        if self.payment.open_attempt().is_none() {
            let code = code.clone();
            self.log("over", code.clone());
            // A reservation that was cancelled before anything was tried has said all there is to say.
            if code != CANCELLED || !self.payment.attempts.is_empty() {
                self.said.push(Said::Failed { code: code.clone() });
            }
            self.payment.stage = Stage::Over { code };
        }
    }
}

/// The next deadline: the earliest of what is open.
fn next_check(payment: &Payment, now: Timestamp) -> Option<Timestamp> {
    let after = |first: Duration| {
        let doublings = payment.checks.clamp(0, 16) as u32;
        now.plus(first.saturating_mul(1 << doublings).min(CHECK_MAX))
    };
    let attempt = |attempt: &Attempt| match (attempt.state, &attempt.kind) {
        (State::Open, Kind::Hosted { .. }) if now < payment.expires_at => payment.expires_at,
        (State::Closing, _) => after(SOON),
        _ => after(ANSWER_WITHIN),
    };
    let refund = |refund: &Refund| {
        let anew = refund.tries > 1 && refund.provider_ref.is_none();
        after(if anew { SOON } else { ANSWER_WITHIN })
    };
    let attempts = payment.attempts.iter().filter(|a| a.state.is_open()).map(attempt);
    let refunds = payment.refunds.iter().filter(|r| r.status == RefundStatus::Requested).map(refund);
    let disputes = payment.disputes.iter().filter(|d: &&Dispute| d.status.is_open());
    attempts.chain(refunds).chain(disputes.map(|_| now.plus(DISPUTE_EVERY))).min()
}
