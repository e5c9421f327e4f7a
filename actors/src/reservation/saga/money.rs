//! Refunds of a reservation: the terms that it was made on, whole refunds, and partial refunds while it stays confirmed. Pure,
//! like the rest of the saga.
//!
//! Invariant: of one capture never more is promised back than it took; a refund that failed still counts, since a
//! person may have it tried again.

use std::time::Duration;

use bus::contract::reservation::{CancelReason, RefundPolicy, RefundStatus};
use bus::contract::site::{SalesCutoffs, default_site};
use bus::contract::{Currency, FeeLine, Line, Locale, Money, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::credit::Share;
use super::{Input, Place, Saga, SagaCall, SagaEvent, State, Step};

/// First pause before a refund's state is requested from payment; each further pause is twice as long, up to an hour.
const ASK_AFTER: Duration = Duration::from_secs(30);
const ASK_AFTER_MAX: Duration = Duration::from_secs(3600);
/// After this a person must look.
const ASK_FOR: Duration = Duration::from_secs(26 * 3600);

/// The terms agreed when the reservation was made; only an exchange changes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// One for each seat; with the fees, the prices add up to `total`.
    pub lines: Vec<Line>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fees: Vec<FeeLine>,
    /// Paid fees that a customer who cancels does not get back, in minor units; an exchange lowers it by nothing.
    #[serde(default)]
    pub fees_kept: i64,
    pub total: Money,
    pub starts_at: Timestamp,
    /// How long the hold lasts from the moment that paying begins, and when it ends at the latest.
    pub hold_seconds: u64,
    pub hold_until_max: Timestamp,
    pub grace_seconds: u64,
    /// Until when a confirmed reservation may be cancelled for its money.
    pub refund_until: Timestamp,
    pub refund_policy: RefundPolicy,
    /// When the sale of the showtime ended for guests. What pays or moves the order is not bound by it.
    #[serde(default)]
    pub sales_cutoffs: SalesCutoffs,
    /// The site that sold it.
    #[serde(default = "default_site")]
    pub site_id: Uuid,
    /// The language that the order was made in.
    #[serde(default)]
    pub locale: Locale,
}

impl Terms {
    /// The same terms for the target of an exchange.
    pub fn at(&self, place: &Place) -> Self {
        Self {
            lines: place.lines.clone(),
            fees: place.fees.clone(),
            fees_kept: self.fees_kept.max(fees_kept(&place.fees)),
            total: place.total,
            starts_at: place.starts_at,
            refund_until: self.refund_until_of(place.starts_at),
            ..self.clone()
        }
    }

    /// These terms, for the order in the place of one on the `old` terms. Of both policies the stricter one applies, and fees that
    /// the old order keeps stay kept: else a dearer exchange would make money refundable that was not.
    pub fn no_better_than(self, old: &Self, fees_carried: i64) -> Self {
        let (policy, before) = (self.refund_policy, old.refund_policy);
        Self {
            fees_kept: self.fees_kept.max(fees_carried),
            refund_until: self.refund_until.min(old.refund_until_of(self.starts_at)),
            refund_policy: RefundPolicy {
                until_minutes: policy.until_minutes.max(before.until_minutes),
                percent: policy.percent.min(before.percent),
            },
            ..self
        }
    }

    /// The end of these terms' refunds for a showtime that starts then.
    fn refund_until_of(&self, starts_at: Timestamp) -> Timestamp {
        let window = self.starts_at.date_time() - self.refund_until.date_time();
        (starts_at.date_time() - window).into()
    }

    /// Until when the refund of a cancellation stays as it is now.
    pub fn refund_applies_until(&self, now: Timestamp) -> Timestamp {
        if now <= self.refund_until { self.refund_until } else { self.starts_at }
    }

    /// The percentage of the paid money that the policy gives back now.
    pub fn percent(&self, now: Timestamp) -> u8 {
        if now <= self.refund_until { self.refund_policy.percent.min(100) } else { 0 }
    }
}

/// Tickets that were given back for another share than the policy's: too late, or as staff decided. What the policy says of all
/// other tickets does not count them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Apart {
    /// What they cost with their fees, in minor units.
    pub price: i64,
    /// What was given back for them.
    pub back: i64,
}

impl Apart {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The fees that a customer who cancels does not get back, in minor units.
pub fn fees_kept(fees: &[FeeLine]) -> i64 {
    fees.iter().filter(|fee| !fee.refundable).map(|fee| fee.price.amount).sum()
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refund {
    pub id: Uuid,
    pub payment_id: Uuid,
    pub total: Money,
    /// The credited capture that it is of; `None` for the capture of the reservation's own payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_ref: Option<String>,
    /// Counts the refunds that were refused for good before this one.
    pub round: u32,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Uuid>,
    /// The payment's version that last changed the refund's state; 0 before any.
    pub version: i64,
}

impl Refund {
    /// The id follows from payment and round, so that deciding twice (after a lost race) requests one refund.
    pub fn new(payment_id: Uuid, total: Money, round: u32) -> Self {
        Self {
            id: Uuid::new_v5(&payment_id, format!("full-refund/{round}").as_bytes()),
            payment_id,
            total,
            provider_ref: None,
            round,
            reason: String::new(),
            by: None,
            version: 0,
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

    /// A new refund of the same money, after this one was refused for good.
    pub fn renewed(&self, number: Option<usize>) -> Self {
        let round = self.round + 1;
        let next = match number {
            None => Self::new(self.payment_id, self.total, round),
            Some(number) => Self::part(self.payment_id, self.total, number, round),
        };
        Self { provider_ref: self.provider_ref.clone(), ..next.because(self.reason.clone(), self.by) }
    }

    /// Whether the payment's `version` is newer for this refund.
    pub fn is_news(&self, refund_id: Uuid, version: i64) -> bool {
        #[cfg(feature = "planted")]
        if bus::config::planted("ignore-versions") {
            return self.id == refund_id;
        }
        self.id == refund_id && self.version < version
    }

    pub fn at_version(&self, version: i64) -> Self {
        Self { version, ..self.clone() }
    }

    fn is_overdue(requested_at: Timestamp, now: Timestamp) -> bool {
        requested_at.plus(ASK_FOR) <= now
    }
}

/// When to request the state again of a refund requested at `since`: a pause of 30 s, then as long as it has taken so far, up
/// to an hour.
pub fn ask_again_at(since: Timestamp, now: Timestamp) -> Timestamp {
    let elapsed = (now.date_time() - since.date_time()).try_into().unwrap_or(Duration::ZERO);
    now.plus(Duration::clamp(elapsed, ASK_AFTER, ASK_AFTER_MAX))
}

/// How often the state was requested until `now`, the refund's request itself included.
pub fn times_asked(since: Timestamp, now: Timestamp) -> u32 {
    let mut at = since;
    let mut times = 1;
    while times < 100 && ask_again_at(since, at) <= now {
        at = ask_again_at(since, at);
        times += 1;
    }
    times
}

/// A percentage of an amount in minor units, rounded up to an amount that the provider can move: in the customer's favour.
fn share(amount: i64, percent: u8, currency: Currency) -> i64 {
    // i128: an amount times a hundred may not fit. The share is at most the amount, so it fits again.
    let share = (i128::from(amount.max(0)) * i128::from(percent.min(100)) + 99) / 100;
    currency.round_up(i64::try_from(share).unwrap_or(amount)).min(amount.max(0))
}

/// A partial refund, besides the refund of a cancellation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Part {
    pub refund: Refund,
    pub state: PartState,
    /// A share of the refund of the cancellation, which is split over captures.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_whole: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum PartState {
    Requested {
        requested_at: Timestamp,
    },
    Completed,
    /// A person must look. `refused`: for good, so that only a new one can settle.
    Stuck {
        refused: bool,
    },
}

impl Part {
    fn new(refund: Refund, now: Timestamp) -> Self {
        Self { refund, state: PartState::Requested { requested_at: now }, of_whole: false }
    }

    pub fn requested_at(&self) -> Option<Timestamp> {
        match self.state {
            PartState::Requested { requested_at } => Some(requested_at),
            PartState::Completed | PartState::Stuck { .. } => None,
        }
    }

    pub fn status(&self) -> RefundStatus {
        match self.state {
            PartState::Requested { .. } => RefundStatus::Requested,
            PartState::Completed => RefundStatus::Completed,
            PartState::Stuck { .. } => RefundStatus::Failed,
        }
    }

    pub fn is_stuck(&self) -> bool {
        matches!(self.state, PartState::Stuck { .. })
    }

    /// The part after an input.
    fn step(&self, number: usize, input: &Input, now: Timestamp) -> PartStep {
        use PartStep::{Ask, Keep, Moved, Renewed};
        let refund = &self.refund;
        let of_whole = self.of_whole;
        let anew = |refund| Self { of_whole, ..Self::new(refund, now) };
        let at = |version, state| Moved(Self { refund: refund.at_version(version), state, of_whole });
        match (&self.state, input) {
            (
                PartState::Requested { .. } | PartState::Stuck { .. },
                Input::RefundCompleted { refund_id, version },
            ) if refund.is_news(*refund_id, *version) => at(*version, PartState::Completed),
            (
                PartState::Requested { .. } | PartState::Completed,
                Input::RefundFailed { refund_id, version, .. },
            ) if refund.is_news(*refund_id, *version) => at(*version, PartState::Stuck { refused: true }),
            (PartState::Requested { requested_at }, Input::Deadline) => {
                if Refund::is_overdue(*requested_at, now) {
                    Moved(Self { state: PartState::Stuck { refused: false }, ..self.clone() })
                } else {
                    Ask(self.clone())
                }
            }
            (PartState::Stuck { refused: true }, Input::Resume { .. }) => {
                Renewed(anew(refund.renewed(Some(number))))
            }
            (PartState::Stuck { refused: false }, Input::Resume { .. }) => Ask(anew(refund.clone())),
            (_, _) => Keep,
        }
    }
}

enum PartStep {
    Keep,
    Moved(Part),
    /// The state of its refund is requested from payment.
    Ask(Part),
    /// Another refund is requested in its place.
    Renewed(Part),
}

impl Saga {
    /// The captured money with its credit; before the confirmation, what its own payment charges.
    pub fn captured(&self) -> Money {
        self.captured.unwrap_or_else(|| self.due())
    }

    /// The sum of all refunds so far, settled or not.
    pub fn promised(&self) -> i64 {
        let parts: i64 = self.parts.iter().map(|part| part.refund.total.amount).sum();
        let whole = match &self.state {
            State::Refunding { refund, .. }
            | State::Refunded { refund, .. }
            | State::NeedsAttention { refund, .. } => refund.total.amount,
            _ => 0,
        };
        parts + whole
    }

    /// The captured money without all refunds, and without what pays for the reservation in its place.
    pub fn left(&self) -> Money {
        let captured = self.captured();
        Money { amount: (captured.amount - self.promised() - self.credited_sum()).max(0), ..captured }
    }

    /// The refund when the customer gives up lines, so that lines worth `remaining` are left: the share of everything given up
    /// since the sale, less everything given back since the sale. So a cancellation in several steps gives back as much as the
    /// same cancellation in one step. What was waived of the price was not paid, and falls away first.
    pub fn due_back(&self, remaining: i64, percent: u8) -> Money {
        let left = self.left();
        let given_up = self.captured().amount - self.apart.price - remaining;
        let due = share(given_up, percent, left.currency) - (self.promised() - self.apart.back);
        Money { amount: due.clamp(0, left.amount), ..left }
    }

    /// What remains paid for after an exchange for this place: its price, and the fees that are kept of what falls away.
    pub fn remaining(&self, place: &Place) -> i64 {
        place.total.amount + self.fees_kept_without(&place.fees)
    }

    /// The fees that stay kept although they are not of the order any more, when it has these.
    fn fees_kept_without(&self, fees: &[FeeLine]) -> i64 {
        (self.terms.fees_kept - fees_kept(fees)).max(0)
    }

    /// The reservation with only this rest of its lines, and the refund for the others: by the policy, or by the percentage that
    /// staff chose.
    pub fn without(&self, rest: &Place, percent: Option<u8>, now: Timestamp) -> (Money, Self) {
        let by_policy = self.terms.percent(now);
        let mut next = Self { terms: self.terms.at(rest), ..self.clone() };
        if percent.is_none() && by_policy == self.terms.refund_policy.percent.min(100) {
            return (self.due_back(self.remaining(rest), by_policy), next);
        }
        let left = self.left();
        let price = self.terms.total.amount - rest.total.amount;
        let back = share(price, percent.unwrap_or(by_policy), left.currency).min(left.amount);
        let Apart { price: prices, back: backs } = self.apart;
        next.apart = Apart { price: prices + price, back: backs + back };
        next.terms.fees_kept = self.fees_kept_without(&self.terms.fees) + fees_kept(&rest.fees);
        (Money { amount: back, ..left }, next)
    }

    /// The refund when the cinema is the cause, or the credit when another reservation takes over the value of these seats: their
    /// full price. Money that was kept of lines given up earlier stays kept.
    pub fn full_price(&self) -> Money {
        let left = self.left();
        let fees = self.fees_kept_without(&self.terms.fees);
        let fallen = self.captured().amount - self.apart.price - self.terms.total.amount - fees;
        let percent = self.terms.refund_policy.percent.min(100);
        let kept = fees + fallen - share(fallen, percent, left.currency) + self.apart.price - self.apart.back;
        // Less than nothing where the rest was waived: what is left is less than the price.
        Money { amount: (left.amount - kept.max(0)).max(0), ..left }
    }

    /// The fees to keep of the money that another reservation takes over at the full price; others were kept of lines given up
    /// earlier, and their money stays with this one.
    pub fn fees_carried(&self) -> i64 {
        let fees = self.fees_kept_without(&self.terms.fees);
        let fallen = self.captured().amount - self.apart.price - self.terms.total.amount;
        self.terms.fees_kept - fallen.clamp(0, fees)
    }

    /// Gives back a part, split over the captures; the reservation stays as it is.
    pub fn give_part(
        &self,
        payment_id: Uuid,
        total: Money,
        reason: &str,
        by: Option<Uuid>,
        now: Timestamp,
    ) -> Step {
        self.shares(total).into_iter().fold(self.same(), |step, share| {
            step.and(|saga| saga.request_part(payment_id, share, reason, by, now))
        })
    }

    /// Requests one partial refund from payment.
    pub(super) fn request_part(
        &self,
        payment_id: Uuid,
        share: Share,
        reason: &str,
        by: Option<Uuid>,
        now: Timestamp,
    ) -> Step {
        let Share { provider_ref, total } = share;
        let refund = Refund::part(payment_id, total, self.parts.len(), 0).because(reason, by);
        let refund = Refund { provider_ref, ..refund };
        let mut next = self.clone();
        next.parts.push(Part::new(refund.clone(), now));
        Step::to(next).event(SagaEvent::RefundRequested(refund))
    }

    /// Applies the input to each partial refund.
    pub fn step_parts(&self, input: &Input, now: Timestamp) -> Step {
        let mut step = Step::to(self.clone());
        for (number, part) in self.parts.iter().enumerate() {
            let refund_id = part.refund.id;
            match part.step(number, input, now) {
                PartStep::Keep => {}
                PartStep::Moved(after) => step.next.parts[number] = after,
                PartStep::Ask(after) => {
                    step.next.parts[number] = after;
                    step = step.calls([SagaCall::GetRefund { refund_id }]);
                }
                PartStep::Renewed(after) => {
                    step = step.event(SagaEvent::RefundRequested(after.refund.clone()));
                    step.next.parts[number] = after;
                }
            }
        }
        step
    }

    /// Requests the state of a refund that was requested at `requested_at`; after a day a person must look.
    pub(super) fn ask_about_refund(
        &self,
        reason: CancelReason,
        refund: &Refund,
        requested_at: Timestamp,
        now: Timestamp,
    ) -> Step {
        let refund = refund.clone();
        if Refund::is_overdue(requested_at, now) {
            return Step::to(self.at(State::NeedsAttention { reason, refund, refused: false }));
        }
        let ask = SagaCall::GetRefund { refund_id: refund.id };
        Step::to(self.at(State::Refunding { reason, refund, requested_at })).calls([ask])
    }
}
