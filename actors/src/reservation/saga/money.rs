//! What a reservation may give back: the terms that it was made on, refunds, and parts of a price that go back while it
//! lives on. Pure, like the rest of the saga.
//!
//! Invariant: of one capture never more is promised back than it took; a refund that failed still counts, since a
//! person may have it tried again.

use std::time::Duration;

use bus::contract::reservation::{RefundPolicy, RefundStatus};
use bus::contract::{Currency, Line, Money, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Effect, Input, Place, Saga, State};

/// First wait for a refund; each further is twice as long, up to an hour.
const REFUND_ASKED_AFTER: Duration = Duration::from_secs(30);
const REFUND_ASKED_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Questions about a refund before a person must look: more than a day in all.
const REFUND_ASKS_MAX: u32 = 32;

/// What was agreed when the reservation was made; only an exchange agrees anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// What each seat costs; added up they are `total`. Formats 1 and 2 had none: they are filled in when the row is read.
    #[serde(default)]
    pub lines: Vec<Line>,
    pub total: Money,
    pub starts_at: Timestamp,
    /// How long the hold lasts from the moment that paying begins, and when it ends at the latest.
    pub hold_seconds: u64,
    pub hold_until_max: Timestamp,
    pub grace_seconds: u64,
    /// Until when a confirmed reservation may be cancelled for its money.
    pub refund_until: Timestamp,
    /// Reservations of format 1 have none: all back until then, and no cancelling later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_policy: Option<RefundPolicy>,
}

impl Terms {
    /// The same agreement about another place.
    pub fn at(&self, place: &Place) -> Self {
        let window = self.starts_at.date_time() - self.refund_until.date_time();
        Self {
            lines: place.lines.clone(),
            total: place.total,
            starts_at: place.starts_at,
            refund_until: (place.starts_at.date_time() - window).into(),
            ..self.clone()
        }
    }

    /// How much of what was paid the policy gives back now.
    pub fn percent(&self, now: Timestamp) -> u8 {
        match self.refund_policy {
            None => 100,
            Some(policy) if now <= self.refund_until => policy.percent.min(100),
            Some(_) => 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refund {
    pub id: Uuid,
    pub payment_id: Uuid,
    pub total: Money,
    /// Counts the refunds that were refused for good before this one.
    pub round: u32,
    /// Empty in format 1: the cancellation's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Uuid>,
}

impl Refund {
    /// The id follows from payment and round, so that deciding twice (after a lost race) asks for one refund.
    pub fn new(payment_id: Uuid, total: Money, round: u32) -> Self {
        Self {
            id: Uuid::new_v5(&payment_id, format!("full-refund/{round}").as_bytes()),
            payment_id,
            total,
            round,
            reason: String::new(),
            by: None,
        }
    }

    /// The refund of a part, of which a reservation may have several.
    pub fn part(payment_id: Uuid, total: Money, number: usize, round: u32) -> Self {
        let id = Uuid::new_v5(&payment_id, format!("part-refund/{number}/{round}").as_bytes());
        Self { id, ..Self::new(payment_id, total, round) }
    }

    pub fn because(self, reason: impl Into<String>, by: Option<Uuid>) -> Self {
        Self { reason: reason.into(), by, ..self }
    }

    /// A new one where this one was refused for good, else this one again.
    pub fn resumed(&self, number: Option<usize>, refused: bool) -> Self {
        let round = self.round + u32::from(refused);
        let next = match number {
            None => Self::new(self.payment_id, self.total, round),
            Some(number) => Self::part(self.payment_id, self.total, number, round),
        };
        next.because(self.reason.clone(), self.by)
    }
}

/// When to ask again about a refund that was asked about `asked` times; none when it is a person's turn.
pub fn ask_again(asked: u32, now: Timestamp) -> Option<Timestamp> {
    let wait = (REFUND_ASKED_AFTER * (1 << asked.min(10))).min(REFUND_ASKED_AFTER_MAX);
    (asked < REFUND_ASKS_MAX).then(|| now.plus(wait))
}

/// A percentage of an amount in minor units, rounded up to what the provider can move: in the customer's favour.
fn share(amount: i64, percent: u8, currency: Currency) -> i64 {
    // i128: an amount times a hundred may not fit. The share is at most the amount, so it fits again.
    let share = (i128::from(amount.max(0)) * i128::from(percent.min(100)) + 99) / 100;
    currency.round_up(i64::try_from(share).unwrap_or(amount)).min(amount.max(0))
}

/// A part of the price that goes back besides what a cancellation gives back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Part {
    pub refund: Refund,
    pub standing: Standing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Standing {
    Asked {
        asked: u32,
        ask_at: Timestamp,
    },
    Completed,
    /// A person must look. `refused`: for good, so that only a new one can settle.
    Stuck {
        refused: bool,
    },
}

impl Part {
    pub fn ask_at(&self) -> Option<Timestamp> {
        match self.standing {
            Standing::Asked { ask_at, .. } => Some(ask_at),
            Standing::Completed | Standing::Stuck { .. } => None,
        }
    }

    pub fn status(&self) -> RefundStatus {
        match self.standing {
            Standing::Asked { .. } => RefundStatus::Requested,
            Standing::Completed => RefundStatus::Completed,
            Standing::Stuck { .. } => RefundStatus::Failed,
        }
    }

    pub fn is_stuck(&self) -> bool {
        matches!(self.standing, Standing::Stuck { .. })
    }

    /// The part after an input, if it changes, and whether payment is asked.
    fn hear(&self, number: usize, input: &Input, now: Timestamp) -> Option<(Self, bool)> {
        let mine = self.refund.id;
        let asked = |refund: Refund, asked: u32| match ask_again(asked, now) {
            Some(ask_at) => (Self { refund, standing: Standing::Asked { asked: asked + 1, ask_at } }, true),
            None => (Self { refund, standing: Standing::Stuck { refused: false } }, false),
        };
        let at = |standing| (Self { refund: self.refund.clone(), standing }, false);
        match (input, &self.standing) {
            (Input::RefundCompleted { refund_id }, Standing::Asked { .. } | Standing::Stuck { .. })
                if *refund_id == mine =>
            {
                Some(at(Standing::Completed))
            }
            (Input::RefundFailed { refund_id, .. }, Standing::Asked { .. } | Standing::Completed)
                if *refund_id == mine =>
            {
                Some(at(Standing::Stuck { refused: true }))
            }
            (Input::Deadline, Standing::Asked { asked: n, ask_at }) if *ask_at <= now => {
                Some(asked(self.refund.clone(), *n))
            }
            (Input::Resume { .. }, Standing::Stuck { refused }) => {
                Some(asked(self.refund.resumed(Some(number), *refused), 0))
            }
            _ => None,
        }
    }
}

impl Saga {
    /// What was captured. Before format 2 it was always the price.
    pub fn captured(&self) -> Money {
        self.captured.unwrap_or(self.terms.total)
    }

    /// What is promised back so far, whether it has arrived or not.
    fn promised(&self) -> i64 {
        let parts: i64 = self.parts.iter().map(|part| part.refund.total.amount).sum();
        let whole = match &self.state {
            State::Refunding { refund, .. }
            | State::Refunded { refund, .. }
            | State::NeedsAttention { refund, .. } => refund.total.amount,
            _ => 0,
        };
        parts + whole
    }

    /// What was captured and is not promised back.
    pub fn left(&self) -> Money {
        let captured = self.captured();
        Money { amount: (captured.amount - self.promised()).max(0), ..captured }
    }

    /// What goes back when lines fall away at the customer's wish, so that lines worth `remaining` are left: the share of
    /// everything that fell away since the sale, less everything that was given back since the sale. So a cancellation in
    /// several steps gives back what the same cancellation in one step would.
    pub fn due_back(&self, remaining: i64, percent: u8) -> Money {
        let left = self.left();
        let due = share(self.captured().amount - remaining, percent, left.currency) - self.promised();
        Money { amount: due.clamp(0, left.amount), ..left }
    }

    /// What goes back when the cinema is the cause, or when another reservation takes over the value of these seats: their
    /// full price. What the policy kept of lines that fell away earlier stays kept.
    pub fn full_price(&self) -> Money {
        let left = self.left();
        let fallen = self.captured().amount - self.terms.total.amount;
        let percent = self.terms.refund_policy.map_or(100, |policy| policy.percent.min(100));
        Money { amount: (left.amount - (fallen - share(fallen, percent, left.currency))).max(0), ..left }
    }

    /// Gives a part back and lives on.
    pub fn give_part(
        &self,
        payment_id: Uuid,
        total: Money,
        reason: &str,
        by: Option<Uuid>,
        now: Timestamp,
    ) -> (Self, Vec<Effect>) {
        let refund = Refund::part(payment_id, total, self.parts.len(), 0).because(reason, by);
        let ask_at = ask_again(0, now).unwrap_or(now);
        let mut saga = self.clone();
        let ask = Effect::RequestRefund(refund.clone());
        saga.parts.push(Part { refund, standing: Standing::Asked { asked: 1, ask_at } });
        (saga, vec![ask])
    }

    /// Each part takes what concerns it.
    pub fn hear_parts(&self, input: &Input, now: Timestamp) -> (Self, Vec<Effect>) {
        let (mut saga, mut effects) = (self.clone(), Vec::new());
        for (number, part) in saga.parts.iter_mut().enumerate() {
            if let Some((after, asks)) = part.hear(number, input, now) {
                if asks {
                    effects.push(Effect::RequestRefund(after.refund.clone()));
                }
                *part = after;
            }
        }
        (saga, effects)
    }
}
