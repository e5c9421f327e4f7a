//! The seat map of a showtime, and its changes as they are published.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::movie::SeatKind;
use crate::contract::{Access, Money, Request, SeatId};

/// Core NATS subject of a showtime's seat changes: [`SeatsChanged`].
pub fn seats_subject(showtime: Uuid) -> String {
    format!("seats.{showtime}")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SeatStatus {
    Free,
    Held,
    Sold,
    /// Not for sale: the kind has no price, or staff keep it.
    Blocked,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatView {
    pub id: SeatId,
    pub row: String,
    /// The number on the seat.
    pub number: u16,
    /// The seat's place, counted from 1 at the left; seats in adjacent columns of a row are neighbours.
    #[serde(default)]
    pub column: u16,
    pub kind: SeatKind,
    /// Seats of a row with the same unit are sold together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<u16>,
    pub status: SeatStatus,
    pub price: Option<Money>,
}

/// The seat map at one version of the showtime. Gaps are left out; the missing columns show where they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatMap {
    pub sequence: i64,
    pub seats: Vec<SeatView>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatChange {
    pub id: SeatId,
    pub status: SeatStatus,
}

/// All changes of one version: a map at `sequence - 1` becomes one at `sequence`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatsChanged {
    pub sequence: i64,
    pub changes: Vec<SeatChange>,
    /// Seats or prices themselves changed: this version can only be read, not computed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reload: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetSeatMap {
    pub showtime_id: Uuid,
}

impl Request for GetSeatMap {
    const SUBJECT: &'static str = "rpc.reservation.seats";
    const ACCESS: Access = Access::Public;
    type Answer = SeatMap;
}
