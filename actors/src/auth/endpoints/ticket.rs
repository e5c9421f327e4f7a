//! Signs tickets, so that a door can check them offline against the public keys.
//!
//! Invariant: the same ticket gets the same token in every request (Ed25519 is deterministic, and the token has no time of
//! signing), so a mail that is sent again has the same codes.
//! The requesting host decides who may have a ticket; callers from outside cannot send this request.

use std::sync::Arc;
use std::time::Duration;

use bus::Problem;
use bus::contract::auth::{SignTickets, SignedTickets, Ticket, TicketClaims};
use bus::service::{Answered, Call, json};

use crate::auth::Env;

/// How long after the start a ticket is valid: longer than any film, so that a guest who steps out gets in again.
const GOOD_FOR: Duration = Duration::from_secs(24 * 60 * 60);

pub async fn sign(env: Arc<Env>, call: Call<SignTickets>) -> Answered {
    let tokens = call.request.tickets.into_iter().map(|ticket| env.signer.sign_ticket(&claims(ticket)));
    let tokens = tokens.collect::<anyhow::Result<Vec<String>>>().map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "tickets not signed");
        Problem::internal()
    })?;
    json(&SignedTickets { tokens })
}

fn claims(ticket: Ticket) -> TicketClaims {
    TicketClaims {
        sub: ticket.reservation_id,
        show: ticket.showtime_id,
        seat: ticket.seat,
        exp: ticket.starts_at.plus(GOOD_FOR).unix_seconds(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::token::{Signer, generate_pem};
    use bus::contract::Timestamp;
    use bus::contract::auth::TICKET_TYP;
    use uuid::Uuid;

    #[test]
    fn a_ticket_differs_from_an_access_token_and_is_signed_alike_each_time() {
        let signer = Signer::from_pem(&generate_pem()).unwrap();
        let starts_at = Timestamp::wall_clock();
        let ticket = Ticket {
            reservation_id: Uuid::now_v7(),
            showtime_id: Uuid::now_v7(),
            seat: bus::contract::SeatId::new("C", 7),
            starts_at,
        };
        let claims = claims(ticket);
        let token = signer.sign_ticket(&claims).unwrap();
        assert_eq!(token, signer.sign_ticket(&claims).unwrap());
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some(TICKET_TYP));
        assert_eq!(header.kid.as_ref(), Some(&signer.keys().keys[0].kid));
        assert_eq!(claims.exp, starts_at.unix_seconds() + 86_400);
        assert!(token.len() < 420, "{} characters make the QR code too fine", token.len());
    }
}
