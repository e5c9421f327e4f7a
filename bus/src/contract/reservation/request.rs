//! Requests of customers: reserve, read, list, cancel, tickets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Reservation, ReservationStatus};
use crate::contract::movie::SeatKind;
use crate::contract::{Access, Fields, Page, Paging, Request, SeatId};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BestAvailable {
    pub count: u16,
    /// STANDARD when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SeatKind>,
}

/// Either `seats` or `bestAvailable`. Needs an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateReservation {
    pub showtime_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<Vec<SeatId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_available: Option<BestAvailable>,
}

impl Request for CreateReservation {
    const SUBJECT: &'static str = "rpc.reservation.create";
    const ACCESS: Access = Access::User;
    type Answer = Reservation;
    fn validate(&self, fields: &mut Fields) {
        validate_choice(&self.seats, &self.best_available, fields);
    }
}

pub(super) fn validate_version(version: Option<i64>, fields: &mut Fields) {
    fields.check(
        version.is_none_or(|version| version >= 1),
        "version",
        "must be a version of the reservation",
    );
}

/// Either seats by name or the best available, never both.
pub(super) fn validate_choice(
    seats: &Option<Vec<SeatId>>,
    best: &Option<BestAvailable>,
    fields: &mut Fields,
) {
    fields.check(seats.is_some() != best.is_some(), "seats", "give either seats or bestAvailable");
    if let Some(seats) = seats {
        // The host's setting limits an order; this only bounds the message.
        fields.check((1..=100).contains(&seats.len()), "seats", "must name 1–100 seats");
        let mut seen = std::collections::HashSet::new();
        for (index, seat) in seats.iter().enumerate() {
            let field = format!("seats[{index}]");
            fields.check(seen.insert(seat), &field, "is there twice");
        }
    }
    if let Some(best) = best {
        fields.check((1..=100).contains(&best.count), "bestAvailable.count", "must be 1–100");
        fields.check(best.kind != Some(SeatKind::Gap), "bestAvailable.kind", "a gap is not sold");
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetReservation {
    pub id: Uuid,
}

impl Request for GetReservation {
    const SUBJECT: &'static str = "rpc.reservation.get";
    const ACCESS: Access = Access::User;
    type Answer = Reservation;
}

/// The caller's own reservations, newest first; an ADMIN sees all, or those of `userId`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListReservations {
    pub status: Option<ReservationStatus>,
    pub user_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub showtime_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    pub paging: Paging,
}

/// Whether a show has begun or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// It has not begun.
    Upcoming,
    Past,
}

impl Request for ListReservations {
    const SUBJECT: &'static str = "rpc.reservation.list";
    const ACCESS: Access = Access::User;
    type Answer = Page<Reservation>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CancelReservation {
    pub id: Uuid,
    /// The caller's reason, kept in the saga's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only for ADMIN: gives back this amount of the paid money, regardless of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_percent: Option<u8>,
    /// The reservation's version whose `cancellation` the caller has seen; another one is refused with `plan-changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}

impl Request for CancelReservation {
    const SUBJECT: &'static str = "rpc.reservation.cancel";
    const ACCESS: Access = Access::User;
    type Answer = Reservation;
    fn validate(&self, fields: &mut Fields) {
        if let Some(reason) = &self.reason {
            fields.text(reason, 0..=500, "reason");
        }
        fields.check(self.refund_percent.is_none_or(|p| p <= 100), "refundPercent", "must be 0–100");
        validate_version(self.version, fields);
    }
}

/// The right of entry for each seat, signed. Only of a CONFIRMED reservation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetTickets {
    pub id: Uuid,
}

impl Request for GetTickets {
    const SUBJECT: &'static str = "rpc.reservation.tickets";
    const ACCESS: Access = Access::User;
    type Answer = Tickets;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tickets {
    pub tickets: Vec<SeatTicket>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatTicket {
    pub seat: SeatId,
    /// A compact JWS that verifies offline against `/.well-known/jwks.json`.
    pub token: String,
}
