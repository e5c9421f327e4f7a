//! A reservation as one value, and what the world and the other domains are told of it.

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

use super::saga::{Cancel, CancelledBy, Claim, Effect, Input, Refund, Saga, Standing, State};

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
    fn from(told: ShowtimeScheduled) -> Self {
        Self {
            id: told.showtime_id,
            version: told.version,
            status: told.status,
            starts_at: told.starts_at,
            movie_id: told.movie_id,
            movie_title: told.movie_title,
            layout: told.rows,
            prices: told.prices,
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
    pub fn step(&self, input: &Input, now: Timestamp) -> Result<(Saga, Vec<Effect>), Rejection> {
        let moved = input.planned_on().is_some_and(|version| version != self.version);
        #[cfg(feature = "planted")]
        let moved = moved && !super::saga::ignores_versions();
        if matches!(input, Input::Readdress { email, .. } if *email == self.email) {
            return Ok((self.saga.clone(), Vec::new()));
        }
        match self.saga.step(input, now) {
            // What changes nothing is right for every version: a cancellation that is sent again.
            Ok((saga, effects)) if moved && (saga != self.saga || !effects.is_empty()) => {
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
        let after = Self { saga, version: self.version + 1, updated_at: now, ..self.clone() };
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

    /// What the moviegoer sees; `now` tells what a cancellation would give back.
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
            refund_policy: self.saga.terms.refund_policy,
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
        let (after, _) = match &self.saga.state {
            State::Confirmed { .. } => self.saga.step(&Input::Cancel(cancel), now).ok()?,
            _ => return None,
        };
        let refund = match after.state {
            State::Refunding { refund, .. } => refund.total,
            _ => Money { amount: 0, ..terms.total },
        };
        let until = if now <= terms.refund_until { terms.refund_until } else { terms.starts_at };
        Some(Cancellation { refund, until })
    }

    fn payment(&self) -> Option<ReservationPayment> {
        let known = self.saga.payment.as_ref()?;
        let kept = self.saga.captured.is_some() || matches!(self.saga.state, State::Confirmed { .. });
        let parted = self.saga.parts.iter().any(|part| part.standing == Standing::Completed);
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
    pub fn events(&self, before: &Self, effects: &[Effect], context: &Context) -> Vec<Outgoing> {
        let at = self.updated_at;
        let say = |effect: &Effect| match effect {
            Effect::TellCreated => Some(Outgoing::new(DOMAIN, &self.told(), at, context)),
            Effect::TellConfirmed { payment_id } => {
                let event = ReservationConfirmed { payment_id: *payment_id, reservation: self.told() };
                Some(Outgoing::new(DOMAIN, &event, at, context))
            }
            Effect::TellCancelled { reason } => {
                let event = ReservationCancelled { reason: *reason, reservation: self.told() };
                Some(Outgoing::new(DOMAIN, &event, at, context))
            }
            Effect::TellExchanged { payment_id } => {
                let event = ReservationExchanged {
                    payment_id: *payment_id,
                    previous_showtime_id: before.showtime_id,
                    previous_seats: before.seats(),
                    reservation: self.told(),
                };
                Some(Outgoing::new(DOMAIN, &event, at, context))
            }
            Effect::TellReaddressed => {
                let event = ReservationReaddressed { status: self.saga.status(), reservation: self.told() };
                Some(Outgoing::new(DOMAIN, &event, at, context))
            }
            Effect::RequestRefund(refund) => {
                Some(Outgoing::new(DOMAIN, &self.refund_requested(refund), at, context))
            }
            Effect::EndPayment { .. } | Effect::TellOld { .. } | Effect::LookAtNew { .. } => None,
        };
        effects.iter().filter_map(say).collect()
    }

    pub fn told(&self) -> ReservationCreated {
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
            reason: self.reason_of(refund),
            by: refund.by,
        }
    }

    /// A refund of format 1 has the reason of its cancellation.
    fn reason_of(&self, refund: &Refund) -> String {
        match &self.saga.state {
            State::Refunding { reason, .. }
            | State::Refunded { reason, .. }
            | State::NeedsAttention { reason, .. }
                if refund.reason.is_empty() =>
            {
                reason.as_str().to_owned()
            }
            _ => refund.reason.clone(),
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
            deadline: self.saga.deadline(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// The saga as staff see it, with its story.
    pub fn saga_view(&self, steps: Vec<SagaStep>, now: Timestamp) -> SagaView {
        let shown = |refund: &Refund, status, asked, ask_at| SagaRefund {
            id: refund.id,
            total: refund.total,
            status,
            reason: self.reason_of(refund),
            by: refund.by,
            asked,
            ask_at,
        };
        let whole = match &self.saga.state {
            State::Refunding { refund, asked, ask_at, .. } => {
                Some(shown(refund, RefundStatus::Requested, *asked, Some(*ask_at)))
            }
            State::Refunded { refund, .. } => Some(shown(refund, RefundStatus::Completed, 0, None)),
            State::NeedsAttention { refund, .. } => Some(shown(refund, RefundStatus::Failed, 0, None)),
            _ => None,
        };
        let parts = self.saga.parts.iter().map(|part| {
            let asked = if let Standing::Asked { asked, .. } = part.standing { asked } else { 0 };
            shown(&part.refund, part.status(), asked, part.ask_at())
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
