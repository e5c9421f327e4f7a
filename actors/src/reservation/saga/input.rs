//! The inputs of a reservation, and how each one is recorded in the saga's log: name, person and detail.
//!
//! Invariant: an input carries every fact that its step needs; the saga reads nothing.

use bus::contract::payment::{PaymentEnd, PaymentSuccess, RefundAnswer};
use bus::contract::reservation::{CancelReason, RefundAmount, ReservationStatus};
use bus::contract::{FeeLine, Line, Money, OrderCode, SeatId, Timestamp, seat_list};
use uuid::Uuid;

use super::{Replace, Saga};

/// The inputs whose steps also write the address, the last one with the owner.
pub const READDRESS: &str = "readdress";
pub const SET_CUSTOMER: &str = "set-customer";
pub const MERGE: &str = "merge";

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
    /// Nothing was captured, and nothing can be captured any more.
    PaymentOver {
        payment_id: Uuid,
    },
    /// The database refused to claim the seats again.
    ReclaimLost(PaymentSuccess),
    Cancel(Cancel),
    /// Staff give back money.
    GiveBack(GiveBack),
    /// Other seats for the same price or less.
    Exchange(Place),
    /// A dearer reservation is to replace this one once it is paid. It is created in the same transaction.
    BeginExchange(Box<Replacement>),
    /// Single tickets are given back.
    Return(Box<Return>),
    /// The reservation that this dearer one replaces was read: both change in one commit.
    Replace(Box<Replace>),
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
    /// The owner or staff correct a mistyped address.
    Readdress {
        email: String,
        by: Uuid,
        by_staff: bool,
    },
    /// The owner says who the order is for, before it is paid.
    SetCustomer {
        email: String,
        name: Option<String>,
    },
    /// A guest's order goes to an account, with its address.
    Merge {
        user_id: Uuid,
        email: String,
    },
    /// The deadline has passed by the database's clock.
    Deadline,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cancel {
    pub by: CancelledBy,
    pub person: Option<Uuid>,
    /// The amount that an ADMIN gives back, regardless of the policy.
    pub percent: Option<u8>,
    pub note: Option<String>,
    /// The version whose refund the caller was shown, where the request names it.
    pub planned_on: Option<i64>,
}

impl Cancel {
    pub fn by(by: CancelledBy) -> Self {
        Self { by, person: None, percent: None, note: None, planned_on: None }
    }

    /// For the log.
    fn detail(&self) -> Option<String> {
        let Some(percent) = self.percent else { return self.note.clone() };
        let note = self.note.as_deref().unwrap_or_default();
        Some(format!("{percent} % back. {note}").trim_end().to_owned())
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
    /// The whole remaining money when absent.
    pub amount: Option<RefundAmount>,
    pub reason: String,
    pub by: Uuid,
}

/// Tickets that are given back.
#[derive(Debug, Clone, PartialEq)]
pub struct Return {
    /// Neither none nor all of the reservation's.
    pub seats: Vec<SeatId>,
    /// The reservation without them: the lines that stay, at the prices that they were sold for.
    pub rest: Place,
    pub cancel: Cancel,
}

/// The target of an exchange, or what is left after tickets are given back.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The reservation's version that this was planned on: price and difference apply to no other.
    pub planned_on: i64,
    pub showtime_id: Uuid,
    /// The showtime's version by which seats and prices were chosen.
    pub showtime_version: i64,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    /// Never empty, and of the currency that was paid.
    pub lines: Vec<Line>,
    pub fees: Vec<FeeLine>,
    pub total: Money,
}

/// The dearer reservation that an exchange begins with. Its customer is that of the reservation that it replaces.
#[derive(Debug, Clone, PartialEq)]
pub struct Replacement {
    pub id: Uuid,
    pub code: OrderCode,
    pub to: Place,
    pub saga: Saga,
    pub created_at: Timestamp,
}

impl Input {
    /// The input's name in the saga's log.
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
            Self::BeginExchange(_) => "begin-exchange",
            Self::Return(_) => "return",
            Self::Replace(_) => "replace",
            Self::ExchangeOver { .. } => "exchange-over",
            Self::RefundCompleted { .. } => "refund-completed",
            Self::RefundFailed { .. } => "refund-failed",
            Self::Resume { .. } => "resume",
            Self::Readdress { .. } => READDRESS,
            Self::SetCustomer { .. } => SET_CUSTOMER,
            Self::Merge { .. } => MERGE,
            Self::Deadline => "deadline",
        }
    }

    /// The reservation's version that the input was decided on, where it applies to no other.
    pub fn planned_on(&self) -> Option<i64> {
        match self {
            Self::Exchange(place) => Some(place.planned_on),
            Self::BeginExchange(new) => Some(new.to.planned_on),
            Self::Return(back) => Some(back.rest.planned_on),
            Self::Cancel(cancel) => cancel.planned_on,
            _ => None,
        }
    }

    /// The person who requested it.
    pub fn by(&self) -> Option<Uuid> {
        match self {
            Self::Cancel(cancel) => cancel.person,
            Self::Return(back) => back.cancel.person,
            Self::GiveBack(back) => Some(back.by),
            Self::Resume { by } => *by,
            Self::Readdress { by, .. } => Some(*by),
            Self::Merge { user_id, .. } => Some(*user_id),
            _ => None,
        }
    }

    /// Further details for the log.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Cancel(cancel) => cancel.detail(),
            Self::Return(back) => {
                let seats = seat_list(&back.seats);
                Some(back.cancel.detail().map_or(seats.clone(), |detail| format!("{seats}. {detail}")))
            }
            Self::GiveBack(back) => Some(match back.amount {
                Some(amount) => format!("{}: {}", amount.amount(), back.reason),
                None => format!("all: {}", back.reason),
            }),
            Self::Exchange(to) => {
                let seats = seat_list(to.lines.iter().map(|line| &line.seat));
                Some(format!("{seats} of {}", to.showtime_id))
            }
            Self::BeginExchange(new) => Some(new.id.to_string()),
            Self::Replace(replace) => Some(format!("exchange to {}", replace.to)),
            Self::ExchangeOver { to } => Some(to.to_string()),
            Self::RefundCompleted { refund_id, .. } => Some(refund_id.to_string()),
            Self::RefundFailed { refund_id, code, .. } => {
                Some(format!("{refund_id}: {}", code.as_deref().unwrap_or("no code")))
            }
            Self::PaymentSucceeded(success) => Some(success.provider_ref.clone()),
            Self::Readdress { email, .. } | Self::SetCustomer { email, .. } | Self::Merge { email, .. } => {
                Some(email.clone())
            }
            _ => None,
        }
    }
}

/// What the end of a payment is to its reservation; nothing while it is unknown.
pub fn ended_input(payment_id: Uuid, ended: PaymentEnd) -> Option<Input> {
    match ended {
        PaymentEnd::Over => Some(Input::PaymentOver { payment_id }),
        PaymentEnd::Captured { success } => Some(Input::PaymentSucceeded(success)),
        PaymentEnd::Unknown => None,
    }
}

/// What payment answers about a refund; nothing while it goes on.
pub fn refund_input(refund_id: Uuid, answer: RefundAnswer) -> Option<Input> {
    match answer {
        RefundAnswer::Completed { version } => Some(Input::RefundCompleted { refund_id, version }),
        RefundAnswer::Failed { code, version } => Some(Input::RefundFailed { refund_id, code, version }),
        // The refund is still running, or payment has yet to receive the event, which the stream delivers again.
        RefundAnswer::Requested { .. } | RefundAnswer::Unknown => None,
    }
}

/// What the dearer reservation, read at the deadline, is to the one that it replaces; nothing while it may still be paid. Where
/// it is confirmed, the same commit has ended the other one.
pub fn replacement_input(to: Uuid, new: Option<&Saga>) -> Option<Input> {
    let is_open = new.is_some_and(|new| new.status() == ReservationStatus::Pending);
    (!is_open).then_some(Input::ExchangeOver { to })
}
