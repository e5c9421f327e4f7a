//! Reservation's events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CancelReason, Credit, CreditedCapture, ReservationStatus};
use crate::contract::site::default_site;
use crate::contract::{FeeLine, Line, Locale, Money, OrderCode, SeatId, Timestamp, events};

/// The content of every `reservation.*` event. A projection ignores a `version` lower than its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationCreated {
    pub reservation_id: Uuid,
    /// The order's short name for people. Absent in events from before orders had codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<OrderCode>,
    pub version: i64,
    pub user_id: Uuid,
    /// Empty while a guest has given none.
    #[serde(default)]
    pub email: String,
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub seats: Vec<SeatId>,
    /// One for each seat; with the fees, the prices add up to `total`. Empty in events from before orders had lines.
    #[serde(default)]
    pub lines: Vec<Line>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fees: Vec<FeeLine>,
    pub total: Money,
    pub expires_at: Timestamp,
    /// The language that the order was made in.
    #[serde(default)]
    pub locale: Locale,
    /// The site that sold it.
    #[serde(default = "default_site")]
    pub site_id: Uuid,
    /// Links in mails open the order only with this number.
    #[serde(default)]
    pub access: u32,
    /// The reservation whose place this one takes once it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_of: Option<Uuid>,
    /// What pays for it besides its own payment. Gone when it is cancelled unpaid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<Credit>,
    /// What its own payment charges, where that is not `total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Money>,
}

impl ReservationCreated {
    pub fn due(&self) -> Money {
        self.due.unwrap_or(self.total)
    }
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
    /// With the reason EXCHANGED: the captures whose money pays for the reservation in its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credited: Vec<CreditedCapture>,
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

/// Seats of a confirmed reservation were given back; the others stay, for the prices that they were sold for, and it stays
/// confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationUpdated {
    pub payment_id: Uuid,
    pub returned_seats: Vec<SeatId>,
    /// What is given back for them; requested by a `refund.requested` of its own, unless it is nothing.
    pub refund: Money,
    #[serde(flatten)]
    pub reservation: ReservationCreated,
}

/// Mails about the reservation go to another address from now on: the one in `email`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationReaddressed {
    pub status: ReservationStatus,
    /// The person who changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Uuid>,
    /// Empty where a guest's order had none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_email: Option<String>,
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
    /// The credited capture that it gives back from; absent for the payment's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_ref: Option<String>,
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
    ReservationUpdated => "reservation.updated",
    ReservationReaddressed => "reservation.readdressed",
    RefundRequested => "refund.requested",
}
