//! The single steps of the transition table: the next state with its events and calls. The table decides which step is taken.

use std::time::Duration;

use bus::contract::payment::PaymentSuccess;
use bus::contract::reservation::{CancelReason, RefundAmount, Rejection};
use bus::contract::{Money, Timestamp};
use uuid::Uuid;

use super::{
    Cancel, CancelledBy, Exchanging, GiveBack, KnownPayment, Place, Refund, Return, Saga, SagaCall,
    SagaEvent, State, Step,
};

/// The reason of a refund for tickets that were given back.
const RETURNED: &str = "RETURNED";

impl Saga {
    pub(super) fn at(&self, state: State) -> Self {
        Self { state, ..self.clone() }
    }

    pub(super) fn same(&self) -> Step {
        Step::to(self.clone())
    }

    pub(super) fn begin(&self, payment_id: Uuid, now: Timestamp) -> Step {
        let extended = now.plus(Duration::from_secs(self.terms.hold_seconds)).min(self.terms.hold_until_max);
        let payment = Some(KnownPayment { id: payment_id, checkout_url: None, version: 0 });
        let saga = Self { expires_at: self.expires_at.max(extended), payment, ..self.clone() };
        Step::to(saga.at(State::AwaitingPayment { begun: true }))
    }

    /// Stores the address of the hosted page. A charge without a page, as in nearly every sale, changes nothing.
    pub(super) fn initiated(&self, payment_id: Uuid, checkout_url: &Option<String>, version: i64) -> Step {
        match &self.payment {
            Some(payment) if payment.id == payment_id && payment.checkout_url == *checkout_url => self.same(),
            _ => {
                let payment = KnownPayment { id: payment_id, checkout_url: checkout_url.clone(), version };
                Step::to(Self { payment: Some(payment), ..self.clone() })
            }
        }
    }

    pub(super) fn confirm(&self, success: &PaymentSuccess) -> Step {
        let (payment_id, version) = (success.payment_id, success.version);
        let payment = Some(KnownPayment { id: payment_id, checkout_url: None, version });
        let provider_ref = success.provider_ref.clone();
        let state = State::Confirmed { payment_id, provider_ref, exchanging: None };
        let next = Self { payment, captured: Some(success.total), ..self.at(state) };
        Step::to(next).event(SagaEvent::Confirmed { payment_id })
    }

    pub(super) fn cancel(&self, reason: CancelReason) -> Step {
        Step::to(self.at(State::Cancelled { reason }))
            .event(SagaEvent::Cancelled { reason })
            .calls(self.notify_replaced())
    }

    /// Mails go to another address: links in earlier ones open the order no more.
    pub(super) fn readdressed(&self) -> Step {
        let next = Self { access: self.access.saturating_add(1), ..self.clone() };
        Step::to(next).event(SagaEvent::Readdressed)
    }

    pub(super) fn notify_replaced(&self) -> Option<SagaCall> {
        self.exchange_of.map(|old| SagaCall::NotifyReplaced { old })
    }

    /// Has payment close everything open at the provider, repeatedly until the grace is over.
    pub(super) fn end(&self, until: Timestamp) -> Step {
        let ends = self.payment.iter().map(|payment| SagaCall::EndPayment { payment_id: payment.id });
        Step::to(self.at(State::Ending { until })).calls(ends)
    }

    /// Cancels a paid reservation, for the refund that its policy or an ADMIN decides.
    pub(super) fn cancel_paid(&self, cancel: &Cancel, now: Timestamp) -> Result<Step, Rejection> {
        let State::Confirmed { payment_id, exchanging, .. } = &self.state else { return Ok(self.same()) };
        if cancel.by != CancelledBy::Showtime && exchanging.is_some() {
            return Err(Rejection::ExchangeRunning);
        }
        if cancel.by != CancelledBy::Showtime && self.terms.starts_at <= now {
            return Err(Rejection::ShowtimeStarted);
        }
        let back = match (cancel.by, cancel.percent) {
            (CancelledBy::Showtime, _) => self.full_price(),
            (CancelledBy::Admin, Some(percent)) => self.due_back(0, percent),
            (CancelledBy::Admin | CancelledBy::User, _) => {
                self.due_back(self.terms.fees_kept, self.terms.percent(now))
            }
        };
        Ok(self.refund(*payment_id, cancel.by.reason(), back, cancel.person, now))
    }

    /// Gives back single tickets: the lines that stay keep their prices, and the reservation stays confirmed.
    pub(super) fn give_tickets_back(&self, payment_id: Uuid, back: &Return, now: Timestamp) -> Step {
        let (refund, next) = self.without(&back.rest, back.cancel.percent, now);
        let next = Self { captured: Some(self.captured()), ..next };
        let returned = back.seats.clone();
        let step = Step::to(next).event(SagaEvent::Updated { payment_id, returned, refund });
        if refund.amount == 0 {
            return step;
        }
        step.and(|saga| saga.give_part(payment_id, refund, RETURNED, back.cancel.person, now))
    }

    /// Whether single tickets may be given back now. An exchange that runs would give back the price of all.
    pub fn may_return(&self, now: Timestamp) -> Result<(), Rejection> {
        match &self.state {
            State::Confirmed { exchanging: Some(_), .. } => Err(Rejection::ExchangeRunning),
            State::Confirmed { .. } if self.terms.starts_at <= now => Err(Rejection::ShowtimeStarted),
            State::Confirmed { .. } => Ok(()),
            _ => Err(Rejection::NotConfirmed),
        }
    }

    /// Staff give back the whole remaining money, which ends a confirmed reservation, or a part, which does not.
    pub(super) fn staff_give_back(&self, back: &GiveBack, now: Timestamp) -> Result<Step, Rejection> {
        let left = self.left();
        let wanted = match back.amount {
            None => left,
            Some(RefundAmount::Minor(amount)) => Money { amount, ..left },
            Some(RefundAmount::Money(money)) => money,
        };
        let payment_id = match &self.state {
            State::AwaitingPayment { .. } | State::Ending { .. } | State::Replacing { .. } => {
                return Err(Rejection::NotConfirmed);
            }
            State::Confirmed { exchanging: Some(_), .. } => return Err(Rejection::ExchangeRunning),
            State::Cancelled { .. } if self.captured.is_none() => return Err(Rejection::NotConfirmed),
            State::Confirmed { payment_id, .. } => *payment_id,
            State::Refunding { refund, .. }
            | State::Refunded { refund, .. }
            | State::NeedsAttention { refund, .. } => refund.payment_id,
            State::Cancelled { .. } => self.payment.as_ref().map(|payment| payment.id).unwrap_or_default(),
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
                let reason = CancelReason::Admin;
                let cancelled = self.same().event(SagaEvent::Cancelled { reason });
                cancelled.and(|saga| saga.request_refund(reason, refund, now))
            }
            // Cancelled without a refund; now there is one.
            State::Cancelled { reason } => self.request_refund(*reason, refund, now),
            _ => self.give_part(payment_id, wanted, &back.reason, Some(back.by), now),
        })
    }

    /// Whether the reservation may be exchanged now, independent of the target.
    pub fn may_exchange(&self, now: Timestamp) -> Result<(), Rejection> {
        self.may_return(now)?;
        if self.terms.refund_until < now { Err(Rejection::RefundWindowClosed) } else { Ok(()) }
    }

    /// Other seats, and the policy's share of the difference back.
    pub(super) fn exchange(
        &self,
        payment_id: Uuid,
        place: &Place,
        now: Timestamp,
    ) -> Result<Step, Rejection> {
        let dearer = place.total.amount > self.terms.total.amount;
        #[cfg(feature = "planted")]
        let dearer = dearer && !super::ignores_versions();
        // Dearer seats need a new reservation, which is paid; a plan for less was made on another version.
        if dearer || place.total.currency != self.terms.total.currency {
            return Err(Rejection::PlanChanged(None));
        }
        let back = self.due_back(self.remaining(place), self.terms.percent(now));
        let terms = self.terms.at(place);
        let moved = Self { terms, captured: Some(self.captured()), ..self.clone() };
        let moved = Step::to(moved).event(SagaEvent::Exchanged { payment_id });
        if back.amount == 0 {
            return Ok(moved);
        }
        let reason = CancelReason::Exchanged.as_str();
        Ok(moved.and(|saga| saga.give_part(payment_id, back, reason, None, now)))
    }

    pub(super) fn exchanging(&self, to: Option<Uuid>, now: Timestamp) -> Step {
        let State::Confirmed { payment_id, provider_ref, .. } = &self.state else { return self.same() };
        let exchanging = to.map(|to| Exchanging { to, since: now });
        let (payment_id, provider_ref) = (*payment_id, provider_ref.clone());
        Step::to(self.at(State::Confirmed { payment_id, provider_ref, exchanging }))
    }

    /// Gives back money that arrives for a reservation that is cancelled already.
    pub(super) fn give_all_back(
        &self,
        reason: CancelReason,
        success: &PaymentSuccess,
        now: Timestamp,
    ) -> Step {
        let refund = Refund::new(success.payment_id, success.total, 0).because(reason.as_str(), None);
        self.request_one_refund(reason, refund, now)
    }

    /// Cancels a confirmed reservation: the seats are freed at once, the refund follows, if there is one.
    pub(super) fn refund(
        &self,
        payment_id: Uuid,
        reason: CancelReason,
        total: Money,
        by: Option<Uuid>,
        now: Timestamp,
    ) -> Step {
        let paid = Self { captured: Some(self.captured()), ..self.clone() };
        if total.amount == 0 {
            return Step::to(paid.at(State::Cancelled { reason })).event(SagaEvent::Cancelled { reason });
        }
        let refund = Refund::new(payment_id, total, 0).because(reason.as_str(), by);
        Step::to(paid)
            .event(SagaEvent::Cancelled { reason })
            .and(|saga| saga.request_refund(reason, refund, now))
    }

    /// Requests a refund, split over the captures: what is not of the first one are partial refunds.
    fn request_refund(&self, reason: CancelReason, refund: Refund, now: Timestamp) -> Step {
        let mut shares = self.shares(refund.total).into_iter();
        let Some(first) = shares.next() else { return self.same() };
        let (payment_id, why, by) = (refund.payment_id, refund.reason.clone(), refund.by);
        let first = Refund { provider_ref: first.provider_ref, total: first.total, ..refund };
        shares.fold(self.request_one_refund(reason, first, now), |step, share| {
            let mut step = step.and(|saga| saga.request_part(payment_id, share, &why, by, now));
            if let Some(part) = step.next.parts.last_mut() {
                part.of_whole = true;
            }
            step
        })
    }

    /// Requests a refund from payment, which owns it from then on.
    pub(super) fn request_one_refund(&self, reason: CancelReason, refund: Refund, now: Timestamp) -> Step {
        let event = SagaEvent::RefundRequested(refund.clone());
        Step::to(self.at(State::Refunding { reason, refund, requested_at: now })).event(event)
    }
}
