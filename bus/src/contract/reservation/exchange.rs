//! Exchanging: other seats for a confirmed reservation, and the plan of it without doing it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::request::{validate_choice, validate_seats, validate_version};
use super::{BestAvailable, Reservation, ReservationPlan, TicketChoice};
use crate::contract::{Access, Fields, Request, SeatId};

/// Other seats for a confirmed reservation. For the same price or less it is changed at once and the difference is given
/// back; for more the answer is a new reservation with `exchangeOf`, which takes its place when it is paid. Needs an
/// `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExchangeReservation {
    pub id: Uuid,
    /// The same showtime when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub showtime_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// Each seat keeps the ticket type of the seat that it takes the place of, in order; further seats get the default type.
    pub seats: Option<Vec<SeatId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tickets: Option<Vec<TicketChoice>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_available: Option<BestAvailable>,
    /// The reservation's version that the caller has seen; another one is refused with `plan-changed`. Without it the
    /// exchange is planned again when the reservation changes meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}

impl Request for ExchangeReservation {
    const SUBJECT: &'static str = "rpc.reservation.exchange";
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
    type Answer = Reservation;
    fn validate(&self, fields: &mut Fields) {
        validate_choice(&self.seats, &self.tickets, &self.best_available, fields);
        validate_version(self.version, fields);
    }
}

/// The plan of an exchange for the reservation as it is now, without doing it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanExchange {
    pub id: Uuid,
    /// The same showtime when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub showtime_id: Option<Uuid>,
    pub seats: Vec<SeatId>,
}

impl Request for PlanExchange {
    const SUBJECT: &'static str = "rpc.reservation.plan_exchange";
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
    type Answer = ReservationPlan;
    fn validate(&self, fields: &mut Fields) {
        validate_seats(self.seats.iter(), "seats", "", fields);
    }
}
