//! Reservation's events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CancelReason, ReservationStatus};
use crate::contract::{Line, Money, SeatId, Timestamp, events};

/// The content of every `reservation.*` event. A projection ignores a `version` lower than its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationCreated {
    pub reservation_id: Uuid,
    pub version: i64,
    pub user_id: Uuid,
    pub email: String,
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub seats: Vec<SeatId>,
    /// The price of each seat; the prices add up to `total`. Empty in events from before orders had lines.
    #[serde(default)]
    pub lines: Vec<Line>,
    pub total: Money,
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationConfirmed {
    pub payment_id: Uuid,
    #[serde(flatten)]
    pub reservation: ReservationCreated,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationCancelled {
    pub reason: CancelReason,
    #[serde(flatten)]
    pub reservation: ReservationCreated,
}

/// A confirmed reservation has other seats now, perhaps of another showtime; it stays confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationExchanged {
    pub payment_id: Uuid,
    pub previous_showtime_id: Uuid,
    pub previous_seats: Vec<SeatId>,
    #[serde(flatten)]
    pub reservation: ReservationCreated,
}

/// Mails about the reservation go to another address from now on: the one in `email`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationReaddressed {
    pub status: ReservationStatus,
    #[serde(flatten)]
    pub reservation: ReservationCreated,
}

/// Payment gives back `total`. Published once for each refund; its state is requested by `rpc.payment.get_refund`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundRequested {
    pub refund_id: Uuid,
    pub reservation_id: Uuid,
    pub payment_id: Uuid,
    pub total: Money,
    pub reason: String,
    /// The person who requested it, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Uuid>,
    /// The reservation's version.
    #[serde(default)]
    pub version: i64,
}

events! {
    ReservationCreated => "reservation.created",
    ReservationConfirmed => "reservation.confirmed",
    ReservationCancelled => "reservation.cancelled",
    ReservationExchanged => "reservation.exchanged",
    ReservationReaddressed => "reservation.readdressed",
    RefundRequested => "refund.requested",
}
