//! Reservation's contract: a reservation and its states. Requests, events, the seat map and the rejections are in files of
//! their own.

mod best;
mod cancel;
mod credit;
mod customer;
mod event;
mod exchange;
mod internal;
mod privacy;
mod quote;
mod rejection;
mod report;
mod request;
mod seat_map;
mod staff;

pub use super::problem::{HoldLimitOf, ReservationPlan};
pub use best::{BestSeats, FindBestSeats};
pub use cancel::{CancelReservation, CancellationPlan, PlanCancellation};
pub use credit::{CREDITED_CAPTURES_MAX, Credit, CreditedCapture};
pub use customer::{
    Customer, GetGuestOrder, GuestOrder, GuestsWithOrders, ListGuestsWithOrders, MergeOrders, MergedOrders,
    SetCustomer,
};
pub(super) use event::event_checks;
pub use event::{
    RefundRequested, ReservationCancelled, ReservationConfirmed, ReservationCreated, ReservationExchanged,
    ReservationReaddressed, ReservationUpdated, event_schemas,
};
pub use exchange::{ExchangeReservation, PlanExchange};
pub use internal::{
    BeginPayment, CLAIMED_SHOWTIMES_MAX, Claimed, CountFreeSeats, DescribeReservation, FreeSeats,
    ListClaimed, PaymentBegun, ReservationDescribed, Sale, SeatCount,
};
pub use privacy::{ListOrdersOf, ListPastGuests, OrdersOf, PastGuests};
pub use quote::{GetTariff, QuoteTickets, ShownTariff, ShownType};
pub use rejection::{Rejection, idempotency_mismatch};
pub use report::*;
pub use request::{
    BestAvailable, CreateReservation, GetReservation, GetTickets, ListReservations, SeatTicket, TicketChoice,
    Tickets, When,
};
pub use seat_map::{GetSeatMap, SeatChange, SeatMap, SeatStatus, SeatView, SeatsChanged, seats_subject};
pub use staff::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::payment::PaymentStatus;
pub use super::payment::RefundStatus;
use super::tariff::TaxSum;
use super::{FeeLine, Line, Locale, Money, OrderCode, SeatId, Timestamp};

/// Core NATS subject of the notices that a reservation has a new version: [`ReservationChanged`].
pub fn changed_subject(reservation: Uuid) -> String {
    format!("changed.reservation.{reservation}")
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReservationChanged {
    pub version: i64,
    pub status: ReservationStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReservationStatus {
    Pending,
    Confirmed,
    Cancelled,
    Refunded,
}

impl ReservationStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Confirmed => "CONFIRMED",
            Self::Cancelled => "CANCELLED",
            Self::Refunded => "REFUNDED",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CancelReason {
    UserRequest,
    PaymentFailed,
    HoldExpired,
    ShowtimeCancelled,
    Admin,
    /// Another reservation took its place.
    Exchanged,
}

impl CancelReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserRequest => "USER_REQUEST",
            Self::PaymentFailed => "PAYMENT_FAILED",
            Self::HoldExpired => "HOLD_EXPIRED",
            Self::ShowtimeCancelled => "SHOWTIME_CANCELLED",
            Self::Admin => "ADMIN",
            Self::Exchanged => "EXCHANGED",
        }
    }
}

/// The reservation's copy of its payment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationPayment {
    pub id: Uuid,
    pub status: PaymentStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout_url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReservationRefund {
    pub id: Uuid,
    pub status: RefundStatus,
    pub total: Money,
}

/// The part that a cancellation gives back, agreed when the reservation was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundPolicy {
    /// Until so many minutes before the show.
    pub until_minutes: u64,
    /// This percentage of the paid money; nothing later.
    pub percent: u8,
}

/// The money that a cancellation would give back now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cancellation {
    pub refund: Money,
    /// Until when this amount applies.
    pub until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    pub id: Uuid,
    /// The order's short name for people, shown in two groups: `K7M2-QX4D`.
    pub code: OrderCode,
    pub status: ReservationStatus,
    /// Grows with every change; send it as `since` with `?wait=`.
    pub version: i64,
    pub user_id: Uuid,
    /// The address that mails about the reservation go to; empty until a guest has given one.
    #[serde(default)]
    pub email: String,
    /// Who the order is for. Absent until a guest has given an address, which paying needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<Customer>,
    /// Made without an account, and not added to one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guest: bool,
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub seats: Vec<SeatId>,
    /// One for each seat; with the fees, the prices add up to `total`.
    pub lines: Vec<Line>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fees: Vec<FeeLine>,
    pub total: Money,
    /// The taxes in `total`, by rate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taxes: Vec<TaxSum>,
    /// Until when the seats are kept; no meaning once the status is not PENDING.
    pub expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<ReservationPayment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<ReservationRefund>,
    /// Partial refunds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial_refunds: Vec<ReservationRefund>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_policy: Option<RefundPolicy>,
    /// While CONFIRMED and the show has not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Cancellation>,
    /// The reservation whose place this one takes once it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_of: Option<Uuid>,
    /// The money of that reservation, which pays for this one; `total` − `credit` − `waived` is charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<Money>,
    /// The part of the difference that is not charged, since it is below the least amount of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<Money>,
    /// What is left to pay, while PENDING.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Money>,
    /// The unpaid reservation that will take this one's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchanging_to: Option<Uuid>,
    /// What comes back of this one when that one is paid: nothing, since its money pays for a part of that one (`credit` there).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_refund: Option<Money>,
    /// The language of its mails and tickets.
    #[serde(default)]
    pub locale: Locale,
    /// Something did not settle by itself; staff are checking it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attention: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
