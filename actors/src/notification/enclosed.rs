//! What a mail needs of auth when it is sent: signed tickets, the token of its link.
//!
//! Invariant: the tokens of links to orders cost no request each: mails with tickets get theirs with the tickets, and those of a
//! round without tickets are requested together.

use std::collections::HashMap;

use bus::contract::auth::{
    GetResetToken, GetVerificationToken, OrderGrant, SignTickets, SignedTickets, Ticket,
};
use bus::contract::{Line, SeatId};
use bus::service::Ask;
use bus::{Context, Problem};
use uuid::Uuid;

use super::Env;
use super::facts::ASK_MAX;
use super::message::Enclosed;
use super::model::{Facts, Mail, Topic, Trouble};
use super::store::Claimed;

/// The tokens of links to orders, by order, for the mails of a round.
#[derive(Default)]
pub struct Links(HashMap<OrderOf, String>);

type OrderOf = (Uuid, u32);

impl Links {
    /// Requests them for mails without tickets. Where that fails, or there is one only, each mail requests its own.
    pub async fn of(env: &Env, claimed: &[Claimed]) -> Self {
        let others = claimed.iter().filter(|claimed| !claimed.mail.topic.has_tickets());
        let mut orders: Vec<OrderGrant> = others.filter_map(|claimed| grant(&claimed.facts)).collect();
        orders.sort_by_key(|order| order.reservation_id);
        orders.dedup();
        if orders.len() < 2 {
            return Self::default();
        }
        let ask = Ask { timeout: ASK_MAX, ..Ask::new(Context::new()) };
        let names: Vec<OrderOf> = orders.iter().map(|order| (order.reservation_id, order.access)).collect();
        match env.bus.ask(&SignTickets { tickets: vec![], orders }, &ask).await {
            Ok(signed) => Self(names.into_iter().zip(signed.orders).collect()),
            Err(_) => Self::default(),
        }
    }
}

/// The order that a mail's link opens.
fn grant(facts: &Facts) -> Option<OrderGrant> {
    let reservation = &facts.attendee.as_ref()?.reservation;
    let starts_at = facts.showtime.as_ref().map_or(reservation.starts_at, |showtime| showtime.starts_at);
    Some(OrderGrant { reservation_id: reservation.reservation_id, access: reservation.access, starts_at })
}

/// What the mail needs; the inner error says why it is skipped.
pub async fn of(
    env: &Env,
    mail: &Mail,
    facts: &Facts,
    links: &Links,
) -> Result<Result<Enclosed, &'static str>, Trouble> {
    let ask = Ask { timeout: ASK_MAX, ..Ask::new(mail.context.clone()) };
    let account = match &mail.topic {
        Topic::PasswordReset { reset_id, .. } => {
            let answer = env.bus.ask(&GetResetToken { reset_id: *reset_id }, &ask).await;
            of_account(answer.map(|reset| reset.token), "the link was used or has expired")
        }
        Topic::EmailVerification { verification_id, .. } => {
            let request = GetVerificationToken { verification_id: *verification_id };
            let answer = env.bus.ask(&request, &ask).await;
            let gone = "the address is proven already, or the link has expired";
            of_account(answer.map(|verification| verification.token), gone)
        }
        _ => return of_order(env, mail, facts, links, &ask).await.map(Ok),
    };
    Ok(account?.map(|token| Enclosed { account: Some(token), ..Enclosed::default() }))
}

fn of_account(
    answer: Result<String, Problem>,
    gone: &'static str,
) -> Result<Result<String, &'static str>, Trouble> {
    match answer {
        Ok(token) => Ok(Ok(token)),
        Err(problem) if problem.status == 404 => Ok(Err(gone)),
        Err(problem) => Err(Trouble::unanswered(&problem)),
    }
}

async fn of_order(
    env: &Env,
    mail: &Mail,
    facts: &Facts,
    links: &Links,
    ask: &Ask,
) -> Result<Enclosed, Trouble> {
    let Some(order) = grant(facts) else { return Ok(Enclosed::default()) };
    let name = (order.reservation_id, order.access);
    if let Some(token) = links.0.get(&name).filter(|_| !mail.topic.has_tickets()) {
        return Ok(Enclosed { order: Some(token.clone()), ..Enclosed::default() });
    }
    let tickets = if mail.topic.has_tickets() { tickets(facts) } else { vec![] };
    let request = SignTickets { tickets, orders: vec![order] };
    match env.bus.ask(&request, ask).await {
        Ok(SignedTickets { tokens, orders }) => {
            Ok(Enclosed { tickets: tokens, order: orders.into_iter().next(), account: None })
        }
        Err(problem) => Err(Trouble::unanswered(&problem)),
    }
}

fn tickets(facts: &Facts) -> Vec<Ticket> {
    let Some(attendee) = &facts.attendee else { return vec![] };
    let reservation = &attendee.reservation;
    let starts_at = facts.showtime.as_ref().map_or(reservation.starts_at, |showtime| showtime.starts_at);
    let ticket = |seat: &SeatId| Ticket {
        reservation_id: reservation.reservation_id,
        showtime_id: reservation.showtime_id,
        seat: seat.clone(),
        ticket_type: reservation
            .lines
            .iter()
            .find(|line| line.seat == *seat)
            .and_then(Line::named_type)
            .cloned(),
        starts_at,
    };
    reservation.seats.iter().map(ticket).collect()
}
