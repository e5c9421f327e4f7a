//! A reservation as one value: its row, its views and its events.

use bus::Context;
use bus::contract::movie::{Prices, Row, ShowtimeScheduled, ShowtimeStatus};
use bus::contract::payment::PaymentStatus;
use bus::contract::reservation::{
    Cancellation, RefundRequested, RefundStatus, Rejection, Reservation as View, ReservationCancelled,
    ReservationConfirmed, ReservationCreated, ReservationExchanged, ReservationPayment, ReservationPlan,
    ReservationReaddressed, ReservationRefund, Saga as SagaView, SagaRefund, SagaStep, SagaSummary,
    SeatStatus,
};
use bus::contract::{Money, SeatId, Timestamp};
use bus::event::Outgoing;
use uuid::Uuid;

use super::saga::{
    Cancel, CancelledBy, Claim, Input, PartState, Refund, Saga, SagaEvent, State, Step, ask_again_at,
    times_asked,
};

pub const DOMAIN: &str = "reservation";

/// What selling needs to know of a showtime.
#[derive(Debug, Clone, PartialEq)]
pub struct Showtime {
    pub id: Uuid,
    /// Counts movie's changes.
    pub version: i64,
    pub status: ShowtimeStatus,
    pub starts_at: Timestamp,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub layout: Vec<Row>,
    pub prices: Prices,
}

impl From<ShowtimeScheduled> for Showtime {
    fn from(event: ShowtimeScheduled) -> Self {
        Self {
            id: event.showtime_id,
            version: event.version,
            status: event.status,
            starts_at: event.starts_at,
            movie_id: event.movie_id,
            movie_title: event.movie_title,
            layout: event.rows,
            prices: event.prices,
        }
    }
}

/// A showtime with its claims, as one statement read them.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub showtime: Showtime,
    pub sequence: i64,
    pub claims: Vec<(SeatId, SeatStatus)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    pub id: Uuid,
    pub user_id: Uuid,
    pub email: String,
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    /// Counts the changes; a save expects the one before.
    pub version: i64,
    pub saga: Saga,
    /// When the sweep comes back. What only asks again moves it in the row, without a new version.
    pub deadline: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Reservation {
    /// The seats of its lines, in their order.
    pub fn seats(&self) -> Vec<SeatId> {
        self.saga.terms.lines.iter().map(|line| line.seat.clone()).collect()
    }

    pub fn has_seat(&self, seat: &SeatId) -> bool {
        self.saga.terms.lines.iter().any(|line| line.seat == *seat)
    }

    /// The saga's step, if the input was decided on this version: a plan that was made on another one is made again.
    pub fn step(&self, input: &Input, now: Timestamp) -> Result<Step, Rejection> {
        let moved = input.planned_on().is_some_and(|version| version != self.version);
        #[cfg(feature = "planted")]
        let moved = moved && !super::saga::ignores_versions();
        let is_early = *input == Input::Deadline && self.deadline.is_none_or(|deadline| deadline > now);
        if is_early || matches!(input, Input::Readdress { email, .. } if *email == self.email) {
            return Ok(Step::to(self.saga.clone()));
        }
        match self.saga.step(input, now) {
            // What changes nothing is right for every version: a cancellation that is sent again.
            Ok(step) if moved && !step.writes_nothing(&self.saga) => {
                Err(Rejection::PlanChanged(Some(self.plan(now))))
            }
            Err(Rejection::PlanChanged(None)) => Err(Rejection::PlanChanged(Some(self.plan(now)))),
            stepped => stepped,
        }
    }

    /// What a cancellation would do now.
    fn plan(&self, now: Timestamp) -> ReservationPlan {
        let nothing = Money { amount: 0, ..self.saga.terms.total };
        let refund = self.cancellation(now).map_or(nothing, |cancellation| cancellation.refund);
        ReservationPlan { version: self.version, total: nothing, refund, payable: nothing }
    }

    /// The reservation after a step of its saga.
    pub fn with(&self, saga: Saga, input: &Input, now: Timestamp) -> Self {
        let deadline = saga.deadline(now);
        let after = Self { saga, deadline, version: self.version + 1, updated_at: now, ..self.clone() };
        match input {
            Input::Exchange(to) => Self {
                showtime_id: to.showtime_id,
                movie_id: to.movie_id,
                movie_title: to.movie_title.clone(),
                starts_at: to.starts_at,
                ..after
            },
            Input::Readdress { email, .. } => Self { email: email.clone(), ..after },
            _ => after,
        }
    }

    /// What the moviegoer sees; `now` decides what a cancellation would give back.
    pub fn view(&self, now: Timestamp) -> View {
        let (reason, refund) = match &self.saga.state {
            State::Cancelled { reason } => (Some(*reason), None),
            State::Refunding { reason, refund, .. } => {
                (Some(*reason), Some((refund, RefundStatus::Requested)))
            }
            State::Refunded { reason, refund } => (Some(*reason), Some((refund, RefundStatus::Completed))),
            State::NeedsAttention { reason, refund, .. } => {
                (Some(*reason), Some((refund, RefundStatus::Failed)))
            }
            State::AwaitingPayment { .. } | State::Ending { .. } | State::Confirmed { .. } => (None, None),
        };
        let exchanging_to = match &self.saga.state {
            State::Confirmed { exchanging: Some(exchanging), .. } => Some(exchanging.to),
            _ => None,
        };
        let shown = |(refund, status): (&Refund, RefundStatus)| ReservationRefund {
            id: refund.id,
            status,
            total: refund.total,
        };
        View {
            id: self.id,
            status: self.saga.status(),
            version: self.version,
            user_id: self.user_id,
            email: self.email.clone(),
            showtime_id: self.showtime_id,
            movie_id: self.movie_id,
            movie_title: self.movie_title.clone(),
            starts_at: self.starts_at,
            seats: self.seats(),
            lines: self.saga.terms.lines.clone(),
            total: self.saga.terms.total,
            expires_at: self.saga.expires_at,
            reason,
            payment: self.payment(),
            refund: refund.map(shown),
            partial_refunds: self.saga.parts.iter().map(|p| shown((&p.refund, p.status()))).collect(),
            refund_policy: Some(self.saga.terms.refund_policy),
            cancellation: self.cancellation(now),
            exchange_of: self.saga.exchange_of,
            exchanging_to,
            attention: self.saga.needs_attention(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// What its owner would get back by cancelling now.
    fn cancellation(&self, now: Timestamp) -> Option<Cancellation> {
        let terms = &self.saga.terms;
        let cancel = Cancel::by(CancelledBy::User);
        let step = match &self.saga.state {
            State::Confirmed { .. } => self.saga.step(&Input::Cancel(cancel), now).ok()?,
            _ => return None,
        };
        let refund = match step.next.state {
            State::Refunding { refund, .. } => refund.total,
            _ => Money { amount: 0, ..terms.total },
        };
        let until = if now <= terms.refund_until { terms.refund_until } else { terms.starts_at };
        Some(Cancellation { refund, until })
    }

    fn payment(&self) -> Option<ReservationPayment> {
        let known = self.saga.payment.as_ref()?;
        let kept = self.saga.captured.is_some() || matches!(self.saga.state, State::Confirmed { .. });
        let parted = self.saga.parts.iter().any(|part| part.state == PartState::Completed);
        let paid = if parted { PaymentStatus::PartiallyRefunded } else { PaymentStatus::Succeeded };
        let status = match &self.saga.state {
            State::AwaitingPayment { .. } | State::Ending { .. } => PaymentStatus::Processing,
            State::Cancelled { .. } if !kept => PaymentStatus::Failed,
            State::Refunded { .. } if self.saga.left().amount == 0 => PaymentStatus::Refunded,
            State::Refunded { .. } => PaymentStatus::PartiallyRefunded,
            _ => paid,
        };
        Some(ReservationPayment { id: known.id, status, checkout_url: known.checkout_url.clone() })
    }

    /// The events that leave with the change that made this version of `before`.
    pub fn events(&self, before: &Self, events: &[SagaEvent], context: &Context) -> Vec<Outgoing> {
        events.iter().map(|event| self.outgoing(before, event, context)).collect()
    }

    fn outgoing(&self, before: &Self, event: &SagaEvent, context: &Context) -> Outgoing {
        let (at, reservation) = (self.updated_at, self.event());
        match event {
            SagaEvent::Created => Outgoing::new(DOMAIN, &reservation, at, context),
            SagaEvent::Confirmed { payment_id } => {
                let event = ReservationConfirmed { payment_id: *payment_id, reservation };
                Outgoing::new(DOMAIN, &event, at, context)
            }
            SagaEvent::Cancelled { reason } => {
                let event = ReservationCancelled { reason: *reason, reservation };
                Outgoing::new(DOMAIN, &event, at, context)
            }
            SagaEvent::Exchanged { payment_id } => {
                let event = ReservationExchanged {
                    payment_id: *payment_id,
                    previous_showtime_id: before.showtime_id,
                    previous_seats: before.seats(),
                    reservation,
                };
                Outgoing::new(DOMAIN, &event, at, context)
            }
            SagaEvent::Readdressed => {
                let event = ReservationReaddressed { status: self.saga.status(), reservation };
                Outgoing::new(DOMAIN, &event, at, context)
            }
            SagaEvent::RefundRequested(refund) => {
                Outgoing::new(DOMAIN, &self.refund_requested(refund), at, context)
            }
        }
    }

    /// What every `reservation.*` event contains.
    pub fn event(&self) -> ReservationCreated {
        ReservationCreated {
            reservation_id: self.id,
            version: self.version,
            user_id: self.user_id,
            email: self.email.clone(),
            showtime_id: self.showtime_id,
            movie_id: self.movie_id,
            movie_title: self.movie_title.clone(),
            starts_at: self.starts_at,
            seats: self.seats(),
            lines: self.saga.terms.lines.clone(),
            total: self.saga.terms.total,
            expires_at: self.saga.expires_at,
        }
    }

    fn refund_requested(&self, refund: &Refund) -> RefundRequested {
        RefundRequested {
            refund_id: refund.id,
            reservation_id: self.id,
            payment_id: refund.payment_id,
            total: refund.total,
            reason: refund.reason.clone(),
            by: refund.by,
            version: self.version,
        }
    }

    pub fn summary(&self) -> SagaSummary {
        SagaSummary {
            reservation_id: self.id,
            state: self.saga.state.name(),
            status: self.saga.status(),
            version: self.version,
            attention: self.saga.needs_attention(),
            user_id: self.user_id,
            showtime_id: self.showtime_id,
            total: self.saga.terms.total,
            deadline: self.deadline,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// The saga as staff see it, with its steps.
    pub fn saga_view(&self, steps: Vec<SagaStep>, now: Timestamp) -> SagaView {
        let shown = |refund: &Refund, status, asked, ask_at| SagaRefund {
            id: refund.id,
            total: refund.total,
            status,
            reason: refund.reason.clone(),
            by: refund.by,
            asked,
            ask_at,
        };
        let requested = |refund: &Refund, since: Timestamp| {
            let (asked, ask_at) = (times_asked(since, now), ask_again_at(since, now));
            shown(refund, RefundStatus::Requested, asked, Some(ask_at))
        };
        let whole = match &self.saga.state {
            State::Refunding { refund, requested_at, .. } => Some(requested(refund, *requested_at)),
            State::Refunded { refund, .. } => Some(shown(refund, RefundStatus::Completed, 0, None)),
            State::NeedsAttention { refund, .. } => Some(shown(refund, RefundStatus::Failed, 0, None)),
            State::AwaitingPayment { .. }
            | State::Ending { .. }
            | State::Confirmed { .. }
            | State::Cancelled { .. } => None,
        };
        let parts = self.saga.parts.iter().map(|part| match part.requested_at() {
            Some(since) => requested(&part.refund, since),
            None => shown(&part.refund, part.status(), 0, None),
        });
        SagaView {
            summary: self.summary(),
            reservation: self.view(now),
            captured: self.saga.captured,
            refunds: whole.into_iter().chain(parts).collect(),
            steps,
        }
    }
}

/// What a step does to the reservation's claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeatWrite {
    Keep,
    /// Claims seats that must be free: held for a new reservation, sold for money that came late.
    Claim(SeatStatus),
    Sell,
    Free,
    /// Claims the seats that are new and frees those that are not among them any more, in one transaction.
    Exchange,
}

impl SeatWrite {
    pub fn between(before: Claim, after: Claim) -> Self {
        match (before, after) {
            (Claim::None, Claim::Held) => Self::Claim(SeatStatus::Held),
            (Claim::None, Claim::Sold) => Self::Claim(SeatStatus::Sold),
            (Claim::Held, Claim::Sold) => Self::Sell,
            (Claim::Held | Claim::Sold, Claim::None) => Self::Free,
            (Claim::None, Claim::None) | (Claim::Held, Claim::Held) | (Claim::Sold, Claim::Sold) => {
                Self::Keep
            }
            // No transition takes a sold seat back into a hold.
            (Claim::Sold, Claim::Held) => unreachable!("a sold seat is never held again"),
        }
    }
}
