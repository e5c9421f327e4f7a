//! Cancelling: a whole reservation or single seats of it, and the plan of it without doing it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Reservation;
use super::request::{validate_seats, validate_version};
use crate::contract::tariff::TaxSum;
use crate::contract::{Access, FeeLine, Fields, Line, Money, Request, Rule, SeatId, Timestamp};

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CancelReservation {
    pub id: Uuid,
    /// Only these seats of a CONFIRMED reservation are given back; the others stay as they were sold. The whole reservation when
    /// absent, or when all its seats are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<Vec<SeatId>>,
    /// The caller's reason, kept in the saga's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only for ADMIN: gives back this amount of the paid money, regardless of the policy; with `seats` of
    /// their price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_percent: Option<u8>,
    /// The reservation's version whose `cancellation` the caller has seen; another one is refused with `plan-changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}

impl Request for CancelReservation {
    const SUBJECT: &'static str = "rpc.reservation.cancel";
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
    type Answer = Reservation;
    fn validate(&self, fields: &mut Fields) {
        if let Some(seats) = &self.seats {
            validate_seats(seats.iter(), "seats", "", fields);
        }
        if let Some(reason) = &self.reason {
            fields.text(reason, 0..=500, "reason");
        }
        validate_percent(self.refund_percent, fields);
        validate_version(self.version, fields);
    }
}

fn validate_percent(percent: Option<u8>, fields: &mut Fields) {
    let is_share = percent.is_none_or(|percent| percent <= 100);
    fields.check(is_share, "refundPercent", Rule::Range { min: 0, max: 100 });
}

/// The plan of giving back seats of a CONFIRMED reservation as it is now, by its refund policy or the percentage that staff choose, without
/// doing it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanCancellation {
    pub id: Uuid,
    pub seats: Vec<SeatId>,
    /// Only for ADMIN: the plan of a cancellation with this `refundPercent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_percent: Option<u8>,
}

impl Request for PlanCancellation {
    const SUBJECT: &'static str = "rpc.reservation.plan_cancellation";
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
    type Answer = CancellationPlan;
    fn validate(&self, fields: &mut Fields) {
        validate_seats(self.seats.iter(), "seats", "", fields);
        validate_percent(self.refund_percent, fields);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CancellationPlan {
    /// The version of the reservation that this applies to; send it with the cancellation.
    pub version: i64,
    /// The seats that would be given back.
    pub seats: Vec<SeatId>,
    pub refund: Money,
    /// Until when this refund applies.
    pub until: Timestamp,
    /// The tickets that would be left, at the prices that they were sold for.
    pub lines: Vec<Line>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fees: Vec<FeeLine>,
    /// The price of what would be left.
    pub total: Money,
    /// The taxes in `total`, by rate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taxes: Vec<TaxSum>,
}
