//! The requests about the mail log: list, get, send again; and tickets and receipts as files.
//!
//! Invariant: a file of tickets is for those who may read them. Reservation decides that, by the token of its reader, and has the
//! codes signed; so a file and a list of tickets are refused alike. Likewise payment with receipts.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::contract::notification::{
    GetNotification, ListNotifications, ListOwnNotifications, NotificationStatus, PrintReceipt, PrintTickets,
    RESEND_MAX, ReceiptFile, Rejection, ResendFailed, ResendNotification, Resent, TICKET_FILE_BYTES_MAX,
    TicketFile,
};
use bus::contract::payment::{GetReceipts, Receipt};
use bus::contract::reservation::{GetTickets, SeatTicket};
use bus::service::{Answered, Ask, Call, Server, json};
use bus::{Failure, Problem};
use tokio::time::Instant;
use uuid::Uuid;

use super::facts::ASK_MAX;
use super::model::{Facts, message_id};
use super::store::{self, Reader, Write, Written};
use super::{Env, facts};
use crate::delivery::{Change, read_failure};
use crate::domain::Decision;

pub async fn serve(env: Arc<Env>, mut server: Server) -> Result<Server, Failure> {
    server.serve_with(&env, list).await?;
    server.serve_with(&env, list_own).await?;
    server.serve_with(&env, get).await?;
    server.serve_with(&env, resend).await?;
    server.serve_with(&env, resend_failed).await?;
    server.serve_with(&env, print_tickets).await?;
    server.serve_with(&env, print_receipt).await?;
    Ok(server)
}

async fn list(env: Arc<Env>, call: Call<ListNotifications>) -> Answered {
    json(&store::list(&env.pool, &call.request, env.mailer.domain()).await.map_err(read_failure)?)
}

async fn list_own(env: Arc<Env>, call: Call<ListOwnNotifications>) -> Answered {
    let caller = call.caller()?;
    let reader = match caller.order {
        Some(order) => Reader::Order(order.reservation_id, order.access),
        None => Reader::User(caller.user_id),
    };
    let domain = env.mailer.domain();
    json(&store::list_own(&env.pool, reader, call.request.paging, domain).await.map_err(read_failure)?)
}

async fn get(env: Arc<Env>, call: Call<GetNotification>) -> Answered {
    let found = store::notification(&env.pool, call.request.id, env.mailer.domain()).await;
    json(&found.map_err(read_failure)?.ok_or(Rejection::NoSuchNotification)?.notification)
}

async fn resend(env: Arc<Env>, call: Call<ResendNotification>) -> Answered {
    let answered = env.change(&call, || queue_again(&env, &call)).await;
    env.next_look.at(Instant::now());
    answered
}

async fn queue_again(env: &Env, call: &Call<ResendNotification>) -> Result<Decision<Write>, Problem> {
    let found = store::notification(&env.pool, call.request.id, env.mailer.domain()).await;
    let store::Logged { notification: mut mail, version, is_erased } =
        found.map_err(read_failure)?.ok_or(Rejection::NoSuchNotification)?;
    if is_erased {
        return Err(Rejection::Erased.into());
    }
    if mail.status == NotificationStatus::Queued {
        return Err(Rejection::StillQueued.into());
    }
    let now = env.clock.now();
    mail.status = NotificationStatus::Queued;
    (mail.attempts, mail.error, mail.reason) = (0, None, None);
    (mail.next_try, mail.updated_at) = (Some(now), now);
    mail.message_id = next_message_id(&mail.message_id, mail.id, env.mailer.domain());
    Decision::new(&mail, Write::Resend { id: mail.id, version }, vec![])
}

/// A repeated request finds nothing more to do, so that it needs no key.
async fn resend_failed(env: Arc<Env>, call: Call<ResendFailed>) -> Answered {
    let ResendFailed { from, to } = call.request;
    let written = env.commit(Change::new(Write::ResendFailed { from, to, most: RESEND_MAX })).await?;
    let Some(Written::Resent { queued, left }) = written else { return Err(Problem::internal()) };
    env.next_look.at(Instant::now());
    tracing::info!(queued, left, by = %call.caller()?.user_id, "failed mails are queued again");
    json(&Resent { queued, left })
}

/// The id that the mail gets with its next resend; `current` is `<mail>.<resends>@<domain>`.
fn next_message_id(current: &str, mail: uuid::Uuid, domain: &str) -> String {
    let resends = current.split(['.', '@']).nth(1).and_then(|number| number.parse::<i32>().ok());
    message_id(mail, resends.unwrap_or(0) + 1, domain)
}

async fn print_tickets(env: Arc<Env>, call: Call<PrintTickets>) -> Answered {
    let id = call.request.reservation_id;
    let ask = Ask { timeout: ASK_MAX, ..Ask::new(call.context.clone()) };
    let of_reader = Ask { token: call.token.clone(), ..ask.clone() };
    let tickets = env.bus.ask(&GetTickets { id }, &of_reader).await?.tickets;
    let facts = facts::now(&env, id, &ask).await?.ok_or_else(|| Problem::not_found("reservation"))?;
    let reservation = facts.attendee.as_ref().map(|attendee| &attendee.reservation);
    let order_code = reservation.and_then(|reservation| reservation.code);
    let locale = reservation.map(|reservation| reservation.locale).unwrap_or_default();
    // Between the two answers the seats were exchanged.
    let tokens = in_order(&facts, tickets).ok_or_else(|| Problem::unavailable("Please try again."))?;
    let face = env.face();
    let pdf = printed(id, move || face.printer.pdf(&facts, &tokens, locale)).await?;
    json(&TicketFile { order_code, pdf })
}

async fn print_receipt(env: Arc<Env>, call: Call<PrintReceipt>) -> Answered {
    let PrintReceipt { reservation_id, number } = call.request;
    let ask = Ask { timeout: ASK_MAX, token: call.token.clone(), ..Ask::new(call.context.clone()) };
    let receipts = env.bus.ask(&GetReceipts { reservation_id }, &ask).await?.receipts;
    // The oldest is that of the payment.
    let wanted = |receipt: &Receipt| number.as_ref().is_none_or(|number| *number == receipt.number);
    let receipt = receipts.into_iter().find(wanted).ok_or(Rejection::NoSuchReceipt)?;
    let (number, face) = (receipt.number.clone(), env.face());
    let pdf = printed(reservation_id, move || face.printer.receipt(&receipt)).await?;
    json(&ReceiptFile { number, pdf })
}

/// A PDF in base64, written by a thread of its own.
async fn printed(
    reservation: Uuid,
    print: impl FnOnce() -> Result<Vec<u8>, String> + Send + 'static,
) -> Result<String, Problem> {
    let printed = tokio::task::spawn_blocking(print).await.unwrap_or_else(|panic| Err(panic.to_string()));
    let printed = printed.and_then(|pdf| match pdf.len() {
        0..=TICKET_FILE_BYTES_MAX => Ok(pdf),
        bytes => Err(format!("{bytes} bytes do not fit into a message")),
    });
    let pdf = printed.map_err(|error| {
        tracing::error!(%reservation, error, "not printed");
        Problem::internal()
    })?;
    Ok(STANDARD.encode(pdf))
}

/// The codes in the order of the facts' seats; `None` where they are of other seats.
fn in_order(facts: &Facts, tickets: Vec<SeatTicket>) -> Option<Vec<String>> {
    let seats = &facts.attendee.as_ref()?.reservation.seats;
    let mut tokens: HashMap<_, _> = tickets.into_iter().map(|ticket| (ticket.seat, ticket.token)).collect();
    let in_order = seats.iter().map(|seat| tokens.remove(seat)).collect::<Option<Vec<String>>>()?;
    tokens.is_empty().then_some(in_order)
}
