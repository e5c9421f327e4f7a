//! The inputs of a reservation, and how each one is recorded in the saga's log: name, person and detail.
//!
//! Invariant: an input carries every fact that its step needs; the saga reads nothing.

use bus::contract::payment::PaymentSuccess;
use bus::contract::reservation::{CancelReason, RefundAmount};
use bus::contract::{Line, Money, Timestamp, seat_list};
use uuid::Uuid;

use crate::reservation::model::Reservation;

/// The input whose step also writes the address.
pub const READDRESS: &str = "readdress";

#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    BeginPayment {
        payment_id: Uuid,
    },
    PaymentInitiated {
        payment_id: Uuid,
        checkout_url: Option<String>,
        /// The payment's.
        version: i64,
    },
    PaymentSucceeded(PaymentSuccess),
    PaymentFailed {
        payment_id: Uuid,
    },
    /// Nothing was captured and nothing can be any more.
    PaymentOver {
        payment_id: Uuid,
    },
    /// The database refused to claim the seats again.
    ReclaimLost(PaymentSuccess),
    Cancel(Cancel),
    /// Staff give money back.
    GiveBack(GiveBack),
    /// Other seats for the same price or less.
    Exchange(Place),
    /// A dearer reservation shall take this one's place once it is paid. It is made in the same transaction.
    BeginExchange {
        /// As with [`Place::planned_on`].
        planned_on: i64,
        new: Box<Reservation>,
        showtime_version: i64,
    },
    /// The dearer reservation was paid.
    ExchangePaid {
        to: Uuid,
    },
    /// The dearer reservation can never be paid.
    ExchangeOver {
        to: Uuid,
    },
    RefundCompleted {
        refund_id: Uuid,
        /// The payment's.
        version: i64,
    },
    RefundFailed {
        refund_id: Uuid,
        code: Option<String>,
        version: i64,
    },
    Resume {
        by: Option<Uuid>,
    },
    /// Staff put a mistyped address right.
    Readdress {
        email: String,
        by: Uuid,
    },
    /// The deadline has passed, as the database sees it.
    Deadline,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cancel {
    pub by: CancelledBy,
    pub person: Option<Uuid>,
    /// How much of what was paid an ADMIN gives back, whatever the policy says.
    pub percent: Option<u8>,
    pub note: Option<String>,
    /// The version whose refund the caller was shown, where the caller says so.
    pub planned_on: Option<i64>,
}

impl Cancel {
    pub fn by(by: CancelledBy) -> Self {
        Self { by, person: None, percent: None, note: None, planned_on: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelledBy {
    User,
    Admin,
    Showtime,
}

impl CancelledBy {
    pub fn reason(self) -> CancelReason {
        match self {
            Self::User => CancelReason::UserRequest,
            Self::Admin => CancelReason::Admin,
            Self::Showtime => CancelReason::ShowtimeCancelled,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct GiveBack {
    /// All that is left when absent.
    pub amount: Option<RefundAmount>,
    pub reason: String,
    pub by: Uuid,
}

/// Where an exchange leads.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The reservation's version that this was planned on: price and difference are right for no other.
    pub planned_on: i64,
    pub showtime_id: Uuid,
    /// Its seats and prices were chosen by this version.
    pub showtime_version: i64,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    /// Never empty, and of the currency that was paid.
    pub lines: Vec<Line>,
    pub total: Money,
}

impl Input {
    /// As the saga's log records it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BeginPayment { .. } => "begin-payment",
            Self::PaymentInitiated { .. } => "payment-initiated",
            Self::PaymentSucceeded(_) => "payment-succeeded",
            Self::PaymentFailed { .. } => "payment-failed",
            Self::PaymentOver { .. } => "payment-over",
            Self::ReclaimLost(_) => "reclaim-lost",
            Self::Cancel(Cancel { by: CancelledBy::User, .. }) => "cancel-by-user",
            Self::Cancel(Cancel { by: CancelledBy::Admin, .. }) => "cancel-by-admin",
            Self::Cancel(Cancel { by: CancelledBy::Showtime, .. }) => "showtime-cancelled",
            Self::GiveBack(_) => "give-back",
            Self::Exchange(_) => "exchange",
            Self::BeginExchange { .. } => "begin-exchange",
            Self::ExchangePaid { .. } => "exchange-paid",
            Self::ExchangeOver { .. } => "exchange-over",
            Self::RefundCompleted { .. } => "refund-completed",
            Self::RefundFailed { .. } => "refund-failed",
            Self::Resume { .. } => "resume",
            Self::Readdress { .. } => READDRESS,
            Self::Deadline => "deadline",
        }
    }

    /// The reservation's version that the input was decided on, where it is right for no other.
    pub fn planned_on(&self) -> Option<i64> {
        match self {
            Self::Exchange(place) => Some(place.planned_on),
            Self::BeginExchange { planned_on, .. } => Some(*planned_on),
            Self::Cancel(cancel) => cancel.planned_on,
            _ => None,
        }
    }

    /// The person who requested it.
    pub fn by(&self) -> Option<Uuid> {
        match self {
            Self::Cancel(cancel) => cancel.person,
            Self::GiveBack(back) => Some(back.by),
            Self::Resume { by } => *by,
            Self::Readdress { by, .. } => Some(*by),
            _ => None,
        }
    }

    /// What else the log records.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Cancel(Cancel { percent: Some(percent), note, .. }) => Some(
                format!("{percent} % back. {}", note.as_deref().unwrap_or_default()).trim_end().to_owned(),
            ),
            Self::Cancel(cancel) => cancel.note.clone(),
            Self::GiveBack(back) => Some(match back.amount {
                Some(amount) => format!("{}: {}", amount.amount(), back.reason),
                None => format!("all: {}", back.reason),
            }),
            Self::Exchange(to) => {
                let seats = seat_list(to.lines.iter().map(|line| &line.seat));
                Some(format!("{seats} of {}", to.showtime_id))
            }
            Self::BeginExchange { new, .. } => Some(new.id.to_string()),
            Self::ExchangePaid { to } | Self::ExchangeOver { to } => Some(to.to_string()),
            Self::RefundCompleted { refund_id, .. } => Some(refund_id.to_string()),
            Self::RefundFailed { refund_id, code, .. } => {
                Some(format!("{refund_id}: {}", code.as_deref().unwrap_or("no code")))
            }
            Self::PaymentSucceeded(success) => Some(success.provider_ref.clone()),
            Self::Readdress { email, .. } => Some(email.clone()),
            _ => None,
        }
    }
}
