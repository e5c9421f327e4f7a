//! Requests of customers: reserve, read, list, tickets.

use std::collections::{BTreeMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Reservation, ReservationStatus};
use crate::contract::movie::SeatKind;
use crate::contract::{
    Access, Fields, Locale, Money, OrderCode, Page, Paging, Request, Rule, SeatId, TariffCode,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BestAvailable {
    /// The number of seats, all for the default ticket type; or `types`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u16>,
    /// How many tickets of each type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<BTreeMap<TariffCode, u16>>,
    /// STANDARD when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SeatKind>,
}

impl BestAvailable {
    /// The number of seats.
    pub fn size(&self) -> usize {
        let of_types = self.types.as_ref().map(|types| types.values().map(|count| usize::from(*count)).sum());
        of_types.or(self.count.map(usize::from)).unwrap_or(0)
    }

    fn validate(&self, fields: &mut Fields) {
        let same = match (&self.types, self.count) {
            (Some(_), Some(count)) => self.size() == usize::from(count),
            (types, count) => types.is_some() != count.is_some(),
        };
        fields.check(same, "bestAvailable.count", Rule::CountOrTypes);
        if let Some(count) = self.count {
            fields.range(count, 1..=100, "bestAvailable.count");
        }
        if let Some(types) = &self.types {
            fields.count(self.size(), 1..=100, "bestAvailable.types", "tickets");
            for (of, count) in types {
                fields.range(*count, 1..=100, &format!("bestAvailable.types.{of}"));
            }
        }
        fields.check(self.kind != Some(SeatKind::Gap), "bestAvailable.kind", Rule::Gap);
    }
}

/// A seat with the type of the ticket for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketChoice {
    pub seat: SeatId,
    #[serde(rename = "type")]
    pub ticket_type: TariffCode,
}

/// One of `seats`, `tickets` and `bestAvailable`. Needs an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateReservation {
    pub showtime_id: Uuid,
    /// Seats for the default ticket type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<Vec<SeatId>>,
    /// Seats with a ticket type each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tickets: Option<Vec<TicketChoice>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_available: Option<BestAvailable>,
    /// The total that the customer has seen; another one is refused with `price-changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_total: Option<Money>,
    /// The language of the order's mails and tickets; without it that of `Accept-Language`, else English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
}

impl Request for CreateReservation {
    const SUBJECT: &'static str = "rpc.reservation.create";
    const ACCESS: Access = Access::Guest;
    type Answer = Reservation;
    fn validate(&self, fields: &mut Fields) {
        validate_choice(&self.seats, &self.tickets, &self.best_available, fields);
    }
}

pub(super) fn validate_version(version: Option<i64>, fields: &mut Fields) {
    fields.check(version.is_none_or(|version| version >= 1), "version", Rule::Version);
}

/// One of seats by name, seats with ticket types, and the best available.
pub(super) fn validate_choice(
    seats: &Option<Vec<SeatId>>,
    tickets: &Option<Vec<TicketChoice>>,
    best: &Option<BestAvailable>,
    fields: &mut Fields,
) {
    let given = [seats.is_some(), tickets.is_some(), best.is_some()];
    fields.check(given.iter().filter(|given| **given).count() == 1, "seats", Rule::SeatsChoice);
    if let Some(seats) = seats {
        validate_seats(seats.iter(), "seats", "", fields);
    }
    if let Some(tickets) = tickets {
        validate_seats(tickets.iter().map(|ticket| &ticket.seat), "tickets", ".seat", fields);
    }
    if let Some(best) = best {
        best.validate(fields);
    }
}

pub(super) fn validate_seats<'a>(
    seats: impl ExactSizeIterator<Item = &'a SeatId>,
    name: &str,
    part: &str,
    fields: &mut Fields,
) {
    // The host's setting limits an order; this only bounds the message.
    fields.count(seats.len(), 1..=100, name, "seats");
    let mut seen = HashSet::new();
    for (index, seat) in seats.enumerate() {
        fields.check(seen.insert(seat), &format!("{name}[{index}]{part}"), Rule::Twice);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetReservation {
    pub id: Uuid,
}

impl Request for GetReservation {
    const SUBJECT: &'static str = "rpc.reservation.get";
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<OrderCode>,
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
    const ACCESS: Access = Access::Guest;
    type Answer = Page<Reservation>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
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
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
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
