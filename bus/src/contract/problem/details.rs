//! Details of a problem besides its text: showtimes, overlaps, the plan of a change, the limit that was reached.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::{Money, SeatId, Timestamp};

/// A showtime that a problem is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemShowtime {
    pub id: Uuid,
    pub starts_at: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seats: Vec<SeatId>,
}

/// Which bound on unpaid holds was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldLimit {
    pub of: HoldLimitOf,
    /// How much is allowed, where that is public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HoldLimitOf {
    /// Unpaid reservations of the account.
    Orders,
    /// Unpaid seats of the account in the showtime.
    Seats,
    /// Unpaid seats held from the client's network.
    Network,
}

/// One of two showtimes that overlap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverlappingShowtime {
    pub id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
}

/// Two showtimes of one auditorium: `later` begins before `earlier` is over and the auditorium is clean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overlap {
    pub auditorium_id: Uuid,
    pub auditorium_name: String,
    pub time_zone: String,
    pub earlier: OverlappingShowtime,
    pub later: OverlappingShowtime,
}

/// The result that a change would have for one version of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationPlan {
    /// The version of the reservation that this applies to.
    pub version: i64,
    /// The price of the seats that the customer would have then: 0 after a cancellation.
    pub total: Money,
    /// The money that would be given back; of a dearer exchange once it is paid.
    pub refund: Money,
    /// The money that would have to be paid first: of a dearer exchange, `total`.
    pub payable: Money,
}
