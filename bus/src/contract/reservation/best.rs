//! The best available seats: requested before an order, so that a page shows the seats that the order would get.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::movie::SeatKind;
use crate::contract::{Access, Fields, Money, Request, Rule, SeatId};

/// The seats that `bestAvailable` would get now. Nothing is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FindBestSeats {
    pub showtime_id: Uuid,
    pub count: u16,
    /// STANDARD when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SeatKind>,
    /// Seats to stay close to, instead of the middle of the hall.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<SeatId>,
}

impl Request for FindBestSeats {
    const SUBJECT: &'static str = "rpc.reservation.best_seats";
    const ACCESS: Access = Access::Public;
    type Answer = BestSeats;
    fn validate(&self, fields: &mut Fields) {
        fields.range(self.count, 1..=100, "count");
        fields.check(self.kind != Some(SeatKind::Gap), "kind", Rule::Gap);
        fields.count(self.near.len(), 0..=100, "near", "seats");
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BestSeats {
    pub seats: Vec<SeatId>,
    /// Whether they stand side by side.
    pub together: bool,
    pub total: Money,
    /// The seat map's version that this applies to.
    pub sequence: i64,
}
