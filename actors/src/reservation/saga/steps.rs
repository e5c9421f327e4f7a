//! The single steps of the transition table: what becomes of the saga, and which messages leave.
//!
//! Which of them is taken when is the table's to say; here each is made whole.

use std::time::Duration;

use bus::contract::payment::PaymentSuccess;
use bus::contract::reservation::{CancelReason, RefundAmount, Rejection};
use bus::contract::{Money, Timestamp};
use uuid::Uuid;

use super::money::ask_again;
use super::{Cancel, CancelledBy, Effect, Exchanging, GiveBack, KnownPayment, Place, Refund, Saga, State};

/// Between two questions to the payment host while a hold is ending.
const END_ASKED_EVERY: Duration = Duration::from_secs(5);
/// Between two looks at the reservation that shall take this one's place: only where word of it got lost.
const EXCHANGE_ASKED_EVERY: Duration = Duration::from_secs(30);

impl Saga {
    pub(super) fn at(&self, state: State) -> Self {
        Self { state, ..self.clone() }
    }

    pub(super) fn same(&self) -> (Self, Vec<Effect>) {
        (self.clone(), Vec::new())
    }

    pub(super) fn begin(&self, payment_id: Uuid, now: Timestamp) -> (Self, Vec<Effect>) {
        let extended = now.plus(Duration::from_secs(self.terms.hold_seconds)).min(self.terms.hold_until_max);
        let payment = Some(KnownPayment { id: payment_id, checkout_url: None });
        let saga = Self { expires_at: self.expires_at.max(extended), payment, ..self.clone() };
        (saga.at(State::AwaitingPayment { begun: true }), Vec::new())
    }

    pub(super) fn initiated(&self, payment_id: Uuid, checkout_url: &Option<String>) -> (Self, Vec<Effect>) {
        let payment = Some(KnownPayment { id: payment_id, checkout_url: checkout_url.clone() });
        (Self { payment, ..self.clone() }, Vec::new())
    }

    pub(super) fn confirm(&self, success: &PaymentSuccess) -> (Self, Vec<Effect>) {
        let payment_id = success.payment_id;
        let payment = Some(KnownPayment { id: payment_id, checkout_url: None });
        let provider_ref = success.provider_ref.clone();
        let state = State::Confirmed { payment_id, provider_ref, exchanging: None };
        let mut effects = vec![Effect::TellConfirmed { payment_id }];
        effects.extend(self.exchange_of.map(|old| Effect::TellOld { old, paid: true }));
        (Self { payment, captured: Some(success.total), ..self.at(state) }, effects)
    }

    pub(super) fn cancel(&self, reason: CancelReason) -> (Self, Vec<Effect>) {
        let mut effects = vec![Effect::TellCancelled { reason }];
        effects.extend(self.exchange_of.map(|old| Effect::TellOld { old, paid: false }));
        (self.at(State::Cancelled { reason }), effects)
    }

    /// Asks payment to close what is open, now and again until the grace is over.
    pub(super) fn end(&self, now: Timestamp, until: Timestamp) -> (Self, Vec<Effect>) {
        let ask_at = now.plus(END_ASKED_EVERY).min(until);
        let ask = self.payment.iter().map(|payment| Effect::EndPayment { payment_id: payment.id }).collect();
        (self.at(State::Ending { ask_at, until }), ask)
    }

    /// Cancels what is paid, for what its policy or an ADMIN gives back.
    pub(super) fn cancel_paid(
        &self,
        cancel: &Cancel,
        now: Timestamp,
    ) -> Result<(Self, Vec<Effect>), Rejection> {
        let State::Confirmed { payment_id, .. } = &self.state else { return Ok(self.same()) };
        if cancel.by != CancelledBy::Showtime && self.terms.starts_at <= now {
            return Err(Rejection::ShowtimeStarted);
        }
        let unpolicied = self.terms.refund_policy.is_none() && self.terms.refund_until < now;
        if cancel.by == CancelledBy::User && unpolicied {
            return Err(Rejection::RefundWindowClosed);
        }
        let back = match (cancel.by, cancel.percent) {
            (CancelledBy::Showtime, _) => self.full_price(),
            (CancelledBy::Admin, Some(percent)) => self.due_back(0, percent),
            (CancelledBy::Admin | CancelledBy::User, _) => self.due_back(0, self.terms.percent(now)),
        };
        Ok(self.refund(*payment_id, cancel.by.reason(), back, cancel.asker, now))
    }

    /// Staff give back what is left, which ends a confirmed reservation, or less, which does not.
    pub(super) fn staff_give_back(
        &self,
        back: &GiveBack,
        now: Timestamp,
    ) -> Result<(Self, Vec<Effect>), Rejection> {
        let left = self.left();
        let wanted = match back.amount {
            None => left,
            Some(RefundAmount::Minor(amount)) => Money { amount, ..left },
            Some(RefundAmount::Money(money)) => money,
        };
        let payment_id = match &self.state {
            State::AwaitingPayment { .. } | State::Ending { .. } => return Err(Rejection::NotConfirmed),
            State::Cancelled { .. } if self.captured.is_none() => return Err(Rejection::NotConfirmed),
            State::Confirmed { payment_id, .. } => *payment_id,
            State::Refunding { refund, .. }
            | State::Refunded { refund, .. }
            | State::NeedsAttention { refund, .. } => refund.payment_id,
            State::Cancelled { .. } => self.payment.as_ref().map(|known| known.id).unwrap_or_default(),
        };
        if wanted.currency != left.currency || !(1..=left.amount).contains(&wanted.amount) {
            return Err(Rejection::RefundTooLarge { left });
        }
        if !left.currency.is_whole(wanted.amount) {
            return Err(Rejection::RefundNotWhole { step: Money { amount: left.currency.step(), ..left } });
        }
        let refund = Refund::new(payment_id, wanted, 0).because(back.reason.clone(), Some(back.by));
        Ok(match &self.state {
            State::Confirmed { .. } if wanted == left => {
                let (saga, mut effects) = self.ask_refund(CancelReason::Admin, &refund, 0, now);
                effects.insert(0, Effect::TellCancelled { reason: CancelReason::Admin });
                (saga, effects)
            }
            // Cancelled without money back; now there is some.
            State::Cancelled { reason } => self.ask_refund(*reason, &refund, 0, now),
            _ => self.give_part(payment_id, wanted, &back.reason, Some(back.by), now),
        })
    }

    /// Whether it may be exchanged now, whatever for.
    pub fn may_exchange(&self, now: Timestamp) -> Result<(), Rejection> {
        match &self.state {
            State::Confirmed { exchanging: Some(_), .. } => Err(Rejection::ExchangeRunning),
            State::Confirmed { .. } if self.terms.starts_at <= now => Err(Rejection::ShowtimeStarted),
            State::Confirmed { .. } if self.terms.refund_until < now => Err(Rejection::RefundWindowClosed),
            State::Confirmed { .. } => Ok(()),
            _ => Err(Rejection::NotConfirmed),
        }
    }

    /// Other seats, and the policy's share of the difference back.
    pub(super) fn exchange(
        &self,
        payment_id: Uuid,
        place: &Place,
        now: Timestamp,
    ) -> Result<(Self, Vec<Effect>), Rejection> {
        let dearer = place.total.amount > self.terms.total.amount;
        #[cfg(feature = "planted")]
        let dearer = dearer && !super::ignores_versions();
        // Seats for more are a reservation of their own, which is paid; a plan for less was made on another version.
        if dearer || place.total.currency != self.terms.total.currency {
            return Err(Rejection::PlanChanged(None));
        }
        let back = self.due_back(place.total.amount, self.terms.percent(now));
        let terms = self.terms.at(place);
        let moved = Self { terms, captured: Some(self.captured()), ..self.clone() };
        let mut effects = vec![Effect::TellExchanged { payment_id }];
        if back.amount == 0 {
            return Ok((moved, effects));
        }
        let (saga, ask) = moved.give_part(payment_id, back, CancelReason::Exchanged.as_str(), None, now);
        effects.extend(ask);
        Ok((saga, effects))
    }

    pub(super) fn exchanging(&self, to: Option<Uuid>, now: Timestamp) -> (Self, Vec<Effect>) {
        let State::Confirmed { payment_id, provider_ref, .. } = &self.state else { return self.same() };
        let exchanging = to.map(|to| Exchanging { to, ask_at: now.plus(EXCHANGE_ASKED_EVERY) });
        let (payment_id, provider_ref) = (*payment_id, provider_ref.clone());
        (self.at(State::Confirmed { payment_id, provider_ref, exchanging }), Vec::new())
    }

    /// Money for a reservation that is cancelled already.
    pub(super) fn give_all_back(
        &self,
        reason: CancelReason,
        success: &PaymentSuccess,
        now: Timestamp,
    ) -> (Self, Vec<Effect>) {
        let refund = Refund::new(success.payment_id, success.total, 0).because(reason.as_str(), None);
        self.ask_refund(reason, &refund, 0, now)
    }

    /// A confirmed reservation is cancelled: the seats go at once, the money follows, if there is any.
    pub(super) fn refund(
        &self,
        payment_id: Uuid,
        reason: CancelReason,
        total: Money,
        by: Option<Uuid>,
        now: Timestamp,
    ) -> (Self, Vec<Effect>) {
        let told = Effect::TellCancelled { reason };
        let paid = Self { captured: Some(self.captured()), ..self.clone() };
        if total.amount == 0 {
            return (paid.at(State::Cancelled { reason }), vec![told]);
        }
        let refund = Refund::new(payment_id, total, 0).because(reason.as_str(), by);
        let (saga, mut effects) = paid.ask_refund(reason, &refund, 0, now);
        effects.insert(0, told);
        (saga, effects)
    }

    pub(super) fn ask_refund(
        &self,
        reason: CancelReason,
        refund: &Refund,
        asked: u32,
        now: Timestamp,
    ) -> (Self, Vec<Effect>) {
        let refund = refund.clone();
        let Some(ask_at) = ask_again(asked, now) else {
            return (self.at(State::NeedsAttention { reason, refund, refused: false }), Vec::new());
        };
        let ask = Effect::RequestRefund(refund.clone());
        (self.at(State::Refunding { reason, refund, asked: asked + 1, ask_at }), vec![ask])
    }
}
