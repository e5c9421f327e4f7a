//! Signed tickets, which a door can check offline.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::{Access, Fields, Request, SeatId, Timestamp};

/// Signs tickets, so that a door can check them offline against the public keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignTickets {
    pub tickets: Vec<Ticket>,
}

/// One seat's right of entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ticket {
    pub reservation_id: Uuid,
    pub showtime_id: Uuid,
    pub seat: SeatId,
    pub starts_at: Timestamp,
}

/// One compact JWS (RFC 7515) a ticket, in the order of the request; its `typ` is `ticket+jwt`, so that it is never
/// taken for an access token, nor one for it. Short claims keep its QR code coarse: `sub` the reservation,
/// `show` the showtime, `seat`, `exp` a day after the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignedTickets {
    pub tokens: Vec<String>,
}

impl Request for SignTickets {
    const SUBJECT: &'static str = "rpc.auth.sign_tickets";
    const ACCESS: Access = Access::Internal;
    type Answer = SignedTickets;
    fn validate(&self, fields: &mut Fields) {
        // An order has at most so many seats.
        fields.check((1..=100).contains(&self.tickets.len()), "tickets", "must name 1–100 tickets");
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
    /// Unix seconds.
    pub exp: i64,
}
