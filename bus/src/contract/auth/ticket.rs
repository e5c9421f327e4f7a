//! Signed tickets, which a door can check offline.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::OrderGrant;
use crate::contract::{Access, Fields, Request, SeatId, TariffCode, Timestamp};

/// Signs tickets, so that a door can check them offline against the public keys; and the tokens of mails' links to orders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignTickets {
    pub tickets: Vec<Ticket>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderGrant>,
}

/// One seat's right of entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ticket {
    pub reservation_id: Uuid,
    pub showtime_id: Uuid,
    pub seat: SeatId,
    /// The ticket type, where it has a name: the door shows what the visitor must show.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub ticket_type: Option<TariffCode>,
    pub starts_at: Timestamp,
}

/// One compact JWS (RFC 7515) a ticket, in the order of the request; its `typ` is `ticket+jwt`, so that it is never
/// taken for an access token, nor one for it. Short claims keep its QR code coarse: `sub` the reservation,
/// `show` the showtime, `seat`, `type` the ticket type where it has a name, `exp` a day after the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignedTickets {
    pub tokens: Vec<String>,
    /// One token an order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<String>,
}

impl Request for SignTickets {
    const SUBJECT: &'static str = "rpc.auth.sign_tickets";
    const ACCESS: Access = Access::Internal;
    type Answer = SignedTickets;
    fn validate(&self, fields: &mut Fields) {
        // An order has at most so many seats, and a mail host sends fewer mails at once.
        let count = self.tickets.len() + self.orders.len();
        fields.count(count, 1..=200, "tickets", "tickets and orders");
    }
}

/// The `typ` of a ticket's header.
pub const TICKET_TYP: &str = "ticket+jwt";

/// The claims of a ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TicketClaims {
    /// The reservation.
    pub sub: Uuid,
    /// The showtime.
    pub show: Uuid,
    pub seat: SeatId,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub ticket_type: Option<TariffCode>,
    /// Unix seconds.
    pub exp: i64,
}
