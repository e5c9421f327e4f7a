//! Signs tickets, so that a door can check them offline against the public keys, and the tokens of mails' links to orders.
//!
//! Invariant: the same ticket gets the same token in every request (Ed25519 is deterministic, and the token has no time of
//! signing), so a mail that is sent again has the same codes.
//! The requesting host decides who may have a ticket or a link; callers from outside cannot send this request.

use std::sync::Arc;
use std::time::Duration;

use bus::Problem;
use bus::contract::auth::{OrderClaims, OrderGrant, SignTickets, SignedTickets, Ticket, TicketClaims};
use bus::service::{Answered, Call, json};

use crate::auth::Env;

/// How long after the start a ticket is valid: longer than any film, so that a guest who steps out gets in again.
const GOOD_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How long after the start a mail's link opens its order: until refunds have reached the bank.
const OPEN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub async fn sign(env: Arc<Env>, call: Call<SignTickets>) -> Answered {
    let SignTickets { tickets, orders } = call.request;
    let tokens = signed(tickets.into_iter().map(|ticket| env.signer.sign_ticket(&claims(ticket))))?;
    let issuer = env.signer.issuer();
    let orders = signed(orders.iter().map(|order| env.signer.sign_order(&order_claims(order, issuer))))?;
    json(&SignedTickets { tokens, orders })
}

fn signed(tokens: impl Iterator<Item = anyhow::Result<String>>) -> Result<Vec<String>, Problem> {
    tokens.collect::<anyhow::Result<Vec<String>>>().map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "not signed");
        Problem::internal()
    })
}

fn order_claims(order: &OrderGrant, issuer: &str) -> OrderClaims {
    OrderClaims {
        iss: issuer.to_owned(),
        aud: issuer.to_owned(),
        sub: order.reservation_id,
        access: order.access,
        exp: order.starts_at.plus(OPEN_FOR).unix_seconds(),
    }
}

fn claims(ticket: Ticket) -> TicketClaims {
    TicketClaims {
        sub: ticket.reservation_id,
        show: ticket.showtime_id,
        seat: ticket.seat,
        ticket_type: ticket.ticket_type,
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
            ticket_type: bus::contract::TariffCode::parse("UNDER_FOURTEEN"),
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
