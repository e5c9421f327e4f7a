//! A reservation as one value, and what the world and the other domains are told of it.

use bus::Context;
use bus::contract::Timestamp;
use bus::contract::movie::{Prices, Row, ShowtimeScheduled, ShowtimeStatus};
use bus::contract::payment::PaymentStatus;
use bus::contract::reservation::{
    RefundRequested, RefundStatus, Reservation as View, ReservationCancelled, ReservationConfirmed,
    ReservationCreated, ReservationPayment, ReservationRefund, SeatStatus,
};
use bus::event::Outgoing;
use uuid::Uuid;

use super::saga::{Claim, Effect, Refund, Saga, State};

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
    pub claims: Vec<(String, SeatStatus)>,
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
    pub seats: Vec<String>,
    /// Counts the changes; a save expects the one before.
    pub version: i64,
    pub saga: Saga,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Reservation {
    /// The reservation after a step of its saga.
    pub fn with(&self, saga: Saga, now: Timestamp) -> Self {
        Self { saga, version: self.version + 1, updated_at: now, ..self.clone() }
    }

    pub fn needs_attention(&self) -> bool {
        matches!(self.saga.state, State::NeedsAttention { .. })
    }

    /// What the moviegoer sees.
    pub fn view(&self) -> View {
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
        View {
            id: self.id,
            status: self.saga.status(),
            version: self.version,
            user_id: self.user_id,
            showtime_id: self.showtime_id,
            movie_id: self.movie_id,
            movie_title: self.movie_title.clone(),
            starts_at: self.starts_at,
            seats: self.seats.clone(),
            total: self.saga.terms.total,
            expires_at: self.saga.expires_at,
            reason,
            payment: self.payment(),
            refund: refund.map(|(refund, status)| ReservationRefund {
                id: refund.id,
                status,
                total: refund.total,
            }),
            attention: self.needs_attention(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    fn payment(&self) -> Option<ReservationPayment> {
        let known = self.saga.payment.as_ref()?;
        let status = match &self.saga.state {
            State::AwaitingPayment { .. } | State::Ending { .. } => PaymentStatus::Processing,
            State::Confirmed { .. } | State::Refunding { .. } | State::NeedsAttention { .. } => {
                PaymentStatus::Succeeded
            }
            State::Refunded { .. } => PaymentStatus::Refunded,
            State::Cancelled { .. } => PaymentStatus::Failed,
        };
        Some(ReservationPayment { id: known.id, status, checkout_url: known.checkout_url.clone() })
    }

    /// The events that leave with the change that made this version.
    pub fn events(&self, effects: &[Effect], context: &Context) -> Vec<Outgoing> {
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
            Effect::RequestRefund(refund) => {
                Some(Outgoing::new(DOMAIN, &self.refund_requested(refund), at, context))
            }
            Effect::EndPayment { .. } => None,
        };
        effects.iter().filter_map(say).collect()
    }

    fn told(&self) -> ReservationCreated {
        ReservationCreated {
            reservation_id: self.id,
            version: self.version,
            user_id: self.user_id,
            email: self.email.clone(),
            showtime_id: self.showtime_id,
            movie_id: self.movie_id,
            movie_title: self.movie_title.clone(),
            starts_at: self.starts_at,
            seats: self.seats.clone(),
            total: self.saga.terms.total,
            expires_at: self.saga.expires_at,
        }
    }

    fn refund_requested(&self, refund: &Refund) -> RefundRequested {
        let reason = self.view().reason.and_then(|reason| serde_json::to_value(reason).ok());
        RefundRequested {
            refund_id: refund.id,
            reservation_id: self.id,
            payment_id: refund.payment_id,
            total: refund.total,
            reason: reason.and_then(|reason| reason.as_str().map(str::to_owned)).unwrap_or_default(),
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

    /// What the seat map shows afterwards, if anything changed.
    pub fn status(self) -> Option<SeatStatus> {
        match self {
            Self::Keep => None,
            Self::Claim(status) => Some(status),
            Self::Sell => Some(SeatStatus::Sold),
            Self::Free => Some(SeatStatus::Free),
        }
    }
}
