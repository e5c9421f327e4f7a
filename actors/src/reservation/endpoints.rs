//! Reservation's requests: the caller, key and input of each one, and its answer.
//!
//! Invariant: owner and role are checked against the row: in this file where the row is only read, in the actor where it is
//! written.

use bus::contract::Line;
use bus::contract::auth::{Role, SignTickets, Ticket};
use bus::contract::payment::GetPayment;
use bus::contract::reservation::{
    BeginPayment, CancelReservation, Claimed, CountFreeSeats, CreateReservation, DescribeReservation,
    FindBestSeats, FreeSeats, GetReservation, GetSaga, GetSeatMap, GetShowtimeCancellation, GetTariff,
    GetTickets, ListClaimed, ListHolders, ListReservations, ListSagas, QuoteTickets, Rejection,
    ReportOccupancy, ReportSales, ReportTickets, RequestRefund, ReservationDescribed, ReservationStatus,
    ResumeSaga, SalesReport, SeatTicket, TicketReport, Tickets, TicketsBy, UpdateReservation,
};
use bus::service::{Answered, Ask, Call, Server, json};
use bus::{Failure, Problem};

use super::order::Order;
use super::report::{Spans, sales_lines, ticket_lines};
use super::requests::{find, key, send, send_to_saga};
use super::saga::{Cancel, GiveBack, Input};
use super::showtime::View;
use super::store::Filter;
use super::{Env, customer, erasure, exchange, returns, showtime, store};
use crate::delivery::read_failure;

/// Registers every endpoint of the domain.
pub async fn serve(env: Env, mut server: Server) -> Result<Server, Failure> {
    server.serve_with(&env, create).await?;
    server.serve_with(&env, get).await?;
    server.serve_with(&env, describe).await?;
    server.serve_with(&env, list).await?;
    server.serve_with(&env, cancel).await?;
    server.serve_with(&env, begin_payment).await?;
    server.serve_with(&env, resume).await?;
    server.serve_with(&env, update).await?;
    server.serve_with(&env, customer::set).await?;
    server.serve_with(&env, customer::merge).await?;
    server.serve_with(&env, customer::guest_order).await?;
    server.serve_with(&env, customer::guests_with_orders).await?;
    server.serve_with(&env, erasure::orders_of).await?;
    server.serve_with(&env, erasure::past_guests).await?;
    server.serve_with(&env, refund).await?;
    server.serve_with(&env, tickets).await?;
    server.serve_with(&env, sagas).await?;
    server.serve_with(&env, saga).await?;
    server.serve_with(&env, cancellation).await?;
    server.serve_with(&env, occupancy).await?;
    server.serve_with(&env, holds).await?;
    server.serve_with(&env, report_tickets).await?;
    server.serve_with(&env, report_sales).await?;
    server.serve_with(&env, exchange::exchange).await?;
    server.serve_with(&env, exchange::preview).await?;
    server.serve_with(&env, returns::preview).await?;
    server.serve_with(&env, claimed).await?;
    server.serve_with(&env, free_seats).await?;
    server.serve_with(&env, seats).await?;
    server.serve_with(&env, best_seats).await?;
    server.serve_with(&env, tariff).await?;
    server.serve_with(&env, quote).await?;
    Ok(server)
}

async fn seats(env: Env, call: Call<GetSeatMap>) -> Answered {
    showtime::view(&env, call.request.showtime_id, View::Map).await
}

async fn best_seats(env: Env, call: Call<FindBestSeats>) -> Answered {
    showtime::view(&env, call.request.showtime_id, View::Best(Box::new(call.request))).await
}

async fn tariff(env: Env, call: Call<GetTariff>) -> Answered {
    showtime::view(&env, call.request.showtime_id, View::Tariff).await
}

async fn quote(env: Env, call: Call<QuoteTickets>) -> Answered {
    let locale = call.request.locale.or(call.context.locale).unwrap_or_default();
    showtime::view(&env, call.request.showtime_id, View::Quote(Box::new(call.request), locale)).await
}

/// Answers movie, which requests this before it decides a change.
async fn claimed(env: Env, call: Call<ListClaimed>) -> Answered {
    let showtimes = store::claimed(&env.pool, &call.request.showtime_ids).await.map_err(read_failure)?;
    json(&Claimed { showtimes })
}

/// Answers movie, whose lists say where few or no seats are left.
async fn free_seats(env: Env, call: Call<CountFreeSeats>) -> Answered {
    let showtimes = store::free_seats(&env.pool, &call.request.showtime_ids).await.map_err(read_failure)?;
    json(&FreeSeats { showtimes })
}

pub async fn create(env: Env, call: Call<CreateReservation>) -> Answered {
    let identity = call.caller()?.clone();
    let (key, request_hash) = key(&call)?.ok_or(Rejection::IdempotencyKeyMissing)?;
    let (showtime, context) = (call.request.showtime_id, call.context);
    let address = call.client_ip;
    let order = |reply| {
        Box::new(Order {
            request: call.request,
            identity,
            address,
            context,
            key,
            request_hash,
            reply,
            checked: None,
            tries: 0,
        })
    };
    showtime::create(&env, order, showtime).await
}

pub async fn get(env: Env, call: Call<GetReservation>) -> Answered {
    json(&find(&env, &call, call.request.id).await?.view(env.clock.now()))
}

/// For hosts that received an event of a payment before the reservation's.
pub async fn describe(env: Env, call: Call<DescribeReservation>) -> Answered {
    let found = env.reservations.get(call.request.id).await?.ok_or(Rejection::NoSuchReservation)?;
    json(&ReservationDescribed { status: found.saga.status(), reservation: found.event() })
}

pub async fn list(env: Env, call: Call<ListReservations>) -> Answered {
    let identity = call.caller()?;
    let ListReservations { status, user_id, showtime_id, when, code, paging } = call.request;
    let user = if identity.role >= Role::Admin { user_id } else { Some(identity.user_id) };
    let filter = Filter { user, status, showtime: showtime_id, when, code };
    let (found, total) = store::list(&env.pool, &filter, paging).await.map_err(read_failure)?;
    let now = env.clock.now();
    json(&paging.of(found.iter().map(|reservation| reservation.view(now)).collect(), total))
}

pub async fn cancel(env: Env, call: Call<CancelReservation>) -> Answered {
    let (caller, id) = (call.caller()?.clone(), call.request.id);
    let found = env.reservations.get(id).await?;
    let cancel = returns::by_caller(&caller, found.as_ref(), call.request.refund_percent)?;
    let note = call.request.reason.clone().filter(|note| !note.trim().is_empty());
    let cancel = Cancel { note, planned_on: call.request.version, ..cancel };
    match call.request.seats.clone() {
        Some(seats) => returns::give_back(&env, call, &seats, cancel).await,
        None => send_to_saga(&env, call, id, Input::Cancel(cancel)).await,
    }
}

pub async fn begin_payment(env: Env, call: Call<BeginPayment>) -> Answered {
    let BeginPayment { reservation_id, payment_id } = call.request;
    let input = Input::BeginPayment { payment_id };
    // Repeating it is harmless: it needs no key.
    send(&env, &call, reservation_id, input, None).await
}

pub async fn resume(env: Env, call: Call<ResumeSaga>) -> Answered {
    let (id, by) = (call.request.reservation_id, call.caller()?.user_id);
    send_to_saga(&env, call, id, Input::Resume { by: Some(by) }).await
}

/// Corrects the order's address; the saga's log records the person.
pub async fn update(env: Env, call: Call<UpdateReservation>) -> Answered {
    let UpdateReservation { id, email } = call.request.clone();
    let caller = call.caller()?;
    let (by, by_staff) = (caller.user_id, caller.role >= Role::Admin);
    send_to_saga(&env, call, id, Input::Readdress { email, by, by_staff }).await
}

/// Money is given back by the reservation's saga, which alone has the sum of all earlier refunds.
pub async fn refund(env: Env, call: Call<RequestRefund>) -> Answered {
    let by = call.caller()?.user_id;
    let ask = Ask { token: call.token.clone(), ..Ask::new(call.context.clone()) };
    let payment = env.bus.ask(&GetPayment { id: call.request.id }, &ask).await?;
    let RequestRefund { amount, reason, .. } = call.request.clone();
    let input = Input::GiveBack(GiveBack { amount, reason, by });
    send_to_saga(&env, call, payment.reservation_id, input).await
}

pub async fn tickets(env: Env, call: Call<GetTickets>) -> Answered {
    let reservation = find(&env, &call, call.request.id).await?;
    if reservation.saga.status() != ReservationStatus::Confirmed {
        return Err(Rejection::NotConfirmed.into());
    }
    let seats = reservation.seats();
    let ticket = |line: &Line| Ticket {
        reservation_id: reservation.id,
        showtime_id: reservation.showtime_id,
        seat: line.seat.clone(),
        ticket_type: line.named_type().cloned(),
        starts_at: reservation.starts_at,
    };
    let tickets = reservation.saga.terms.lines.iter().map(ticket).collect();
    let sign = SignTickets { tickets, orders: vec![] };
    let signed = env.bus.ask(&sign, &Ask::new(call.context.clone())).await?;
    if signed.tokens.len() != seats.len() {
        tracing::error!(reservation = %reservation.id, "not one token a ticket");
        return Err(Problem::internal());
    }
    let tickets = seats.into_iter().zip(signed.tokens);
    json(&Tickets { tickets: tickets.map(|(seat, token)| SeatTicket { seat, token }).collect() })
}

pub async fn sagas(env: Env, call: Call<ListSagas>) -> Answered {
    let (items, total) = store::sagas(&env.pool, &call.request).await.map_err(read_failure)?;
    json(&call.request.paging.of(items, total))
}

pub async fn saga(env: Env, call: Call<GetSaga>) -> Answered {
    let reservation = find(&env, &call, call.request.reservation_id).await?;
    let steps = store::steps(&env.pool, reservation.id).await.map_err(read_failure)?;
    json(&reservation.saga_view(steps, env.clock.now()))
}

pub async fn cancellation(env: Env, call: Call<GetShowtimeCancellation>) -> Answered {
    let counts = store::cancellation(&env.pool, call.request.showtime_id).await.map_err(read_failure)?;
    json(&counts.ok_or(Rejection::NoSuchShowtime)?)
}

pub async fn occupancy(env: Env, call: Call<ReportOccupancy>) -> Answered {
    let (items, total) = store::occupancy(&env.pool, &call.request).await.map_err(read_failure)?;
    json(&call.request.paging.of(items, total))
}

pub async fn holds(env: Env, call: Call<ListHolders>) -> Answered {
    let paging = call.request.paging;
    let since = env.clock.now().minus(store::UNPAID_ENDS_FOR);
    let (items, total) = store::holders(&env.pool, since, paging).await.map_err(read_failure)?;
    json(&paging.of(items, total))
}

pub async fn report_tickets(env: Env, call: Call<ReportTickets>) -> Answered {
    let ReportTickets { by, from, to, time_zone, paging } = call.request;
    let zone = crate::zone::any(&time_zone).ok_or(Rejection::NoSuchTimeZone)?;
    let spans = match by {
        TicketsBy::Day => Spans::days(&from, &to, &zone)?,
        TicketsBy::Movie | TicketsBy::Showtime | TicketsBy::Type => Spans::film_weeks(&from, &to, &zone)?,
    };
    let cells = store::tickets(&env.pool, by, &spans).await.map_err(read_failure)?;
    let names = store::names(&env.pool, &spans).await.map_err(read_failure)?;
    let (lines, totals) = ticket_lines(by, &spans, &cells, &names).ok_or_else(unreadable_row)?;
    json(&TicketReport { by, from, to, time_zone, totals, lines: paging.page_of(lines) })
}

pub async fn report_sales(env: Env, call: Call<ReportSales>) -> Answered {
    let ReportSales { from, to, time_zone, paging } = call.request;
    let zone = crate::zone::any(&time_zone).ok_or(Rejection::NoSuchTimeZone)?;
    let spans = Spans::days(&from, &to, &zone)?;
    let cells = store::sales(&env.pool, &spans).await.map_err(read_failure)?;
    let (lines, totals) = sales_lines(&spans, &cells).ok_or_else(unreadable_row)?;
    json(&SalesReport { from, to, time_zone, totals, lines: paging.page_of(lines) })
}

/// A newer version has written a currency that this one does not know.
fn unreadable_row() -> Problem {
    tracing::error!("the ticket log has a currency that is not in the table");
    Problem::internal()
}
