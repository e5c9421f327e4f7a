//! Reservation's requests: the caller, key and input of each one, and its answer.
//!
//! Invariant: owner and role are checked against the row: here where it is only read, in the actor where it is written.

use bus::contract::auth::{Role, SignTickets, Ticket};
use bus::contract::payment::{GetPayment, Refund};
use bus::contract::reservation::{
    BeginPayment, CancelReservation, Claimed, CreateReservation, DescribeReservation, FindBestSeats,
    GetReservation, GetSaga, GetSeatMap, GetShowtimeCancellation, GetTickets, ListClaimed, ListHolders,
    ListReservations, ListSagas, PaymentBegun, RefundStatus, Rejection, ReportOccupancy, RequestRefund,
    ReservationDescribed, ReservationStatus, ResumeSaga, Sale, SeatTicket, Tickets, UpdateReservation,
};
use bus::contract::{Request, SeatId, seat_list};
use bus::service::{Answered, Ask, Call, Server, json};
use bus::{Failure, Problem};

use super::actor::{Done, SagaMachine, may_act};
use super::model::Reservation;
use super::order::{Order, replay};
use super::saga::{Cancel, CancelledBy, GiveBack, Input, SagaEvent};
use super::showtime::View;
use super::store::Filter;
use super::{Env, exchange, showtime, store};
use crate::delivery::{IdempotencyKey, request_hash};
use crate::entity_shell::{Caller, Requester, actor as shell};
use tokio::sync::oneshot;

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
    server.serve_with(&env, refund).await?;
    server.serve_with(&env, tickets).await?;
    server.serve_with(&env, sagas).await?;
    server.serve_with(&env, saga).await?;
    server.serve_with(&env, cancellation).await?;
    server.serve_with(&env, occupancy).await?;
    server.serve_with(&env, holds).await?;
    server.serve_with(&env, exchange::exchange).await?;
    server.serve_with(&env, exchange::preview).await?;
    server.serve_with(&env, claimed).await?;
    server.serve_with(&env, seats).await?;
    server.serve_with(&env, best_seats).await?;
    Ok(server)
}

async fn seats(env: Env, call: Call<GetSeatMap>) -> Answered {
    showtime::view(&env, call.request.showtime_id, View::Map).await
}

async fn best_seats(env: Env, call: Call<FindBestSeats>) -> Answered {
    showtime::view(&env, call.request.showtime_id, View::Best(Box::new(call.request))).await
}

/// Answers movie, before it decides a change.
async fn claimed(env: Env, call: Call<ListClaimed>) -> Answered {
    let showtimes =
        store::claimed(&env.pool, &call.request.showtime_ids).await.map_err(Failure::transient)?;
    json(&Claimed { showtimes })
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

/// The request's idempotency key with the hash that it is bound to.
pub fn key<R: Request>(call: &Call<R>) -> Result<Option<Keyed>, Problem> {
    let Some(key) = call.idempotency_key.clone() else { return Ok(None) };
    let key = IdempotencyKey { user_id: call.caller()?.user_id, route: R::SUBJECT, key };
    Ok(Some((key, request_hash(&call.request)?)))
}

pub type Keyed = (IdempotencyKey, [u8; 32]);

/// Answers a request, or gives the first answer to it again. The key is read before and after: a refusal may be caused by
/// the same request, sent twice at once.
pub async fn once(env: &Env, key: &Option<Keyed>, answer: impl Future<Output = Answered>) -> Answered {
    let Some((key, hash)) = key else { return answer.await };
    if let Some(first) = env.answers.get(key.clone()).await? {
        return replay(hash, first);
    }
    let answered = answer.await;
    match env.answers.get(key.clone()).await {
        Ok(Some(first)) => replay(hash, first),
        _ => answered,
    }
}

/// One reservation, if the caller may see it.
pub async fn find<R>(env: &Env, call: &Call<R>, id: uuid::Uuid) -> Result<Reservation, Problem> {
    let found = env.reservations.get(id).await?;
    let mine = found.filter(|reservation| call.caller().is_ok_and(|identity| may_act(reservation, identity)));
    Ok(mine.ok_or(Rejection::NoSuchReservation)?)
}

/// Sends an input in the caller's name; a repeated request gets the first answer.
async fn ask_saga<R: Request>(env: &Env, call: Call<R>, id: uuid::Uuid, input: Input) -> Answered {
    let key = key(&call)?;
    once(env, &key, send(env, &call, id, input, key.clone())).await
}

/// Sends an input in the caller's name and waits for the answer.
pub async fn send<R>(
    env: &Env,
    call: &Call<R>,
    id: uuid::Uuid,
    input: Input,
    key: Option<Keyed>,
) -> Answered {
    let (reply, answer) = oneshot::channel();
    let (identity, context) = (Some(call.caller()?.clone()), call.context.clone());
    let requester = Requester::Call(Box::new(Caller { identity, context, key, until: None, reply }));
    shell::ask::<SagaMachine>(env.sagas(), id, input, requester, answer).await
}

/// What the caller of an input is answered: the reservation, but for three inputs.
pub fn answer(done: &Done<'_>) -> Answered {
    match done.input {
        Input::BeginPayment { .. } => payment_begun(done.after),
        Input::GiveBack(_) => refund_requested(done),
        // The reservation to pay.
        Input::BeginExchange { new, .. } => json(&new.view(done.now)),
        _ => json(&done.after.view(done.now)),
    }
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
    let ListReservations { status, user_id, showtime_id, when, paging } = call.request;
    let user = if identity.role >= Role::Admin { user_id } else { Some(identity.user_id) };
    let filter = Filter { user, status, showtime: showtime_id, when };
    let (found, total) = store::list(&env.pool, &filter, paging).await.map_err(Failure::transient)?;
    let now = env.clock.now();
    json(&paging.of(found.iter().map(|reservation| reservation.view(now)).collect(), total))
}

pub async fn cancel(env: Env, call: Call<CancelReservation>) -> Answered {
    let identity = call.caller()?.clone();
    let percent = call.request.refund_percent;
    if percent.is_some() && identity.role < Role::Admin {
        return Err(Rejection::RefundByStaffOnly.into());
    }
    let id = call.request.id;
    let own = env.reservations.get(id).await?.is_some_and(|r| r.user_id == identity.user_id);
    // Staff who say what is given back act as staff, also on their own seats.
    let by = if own && percent.is_none() { CancelledBy::User } else { CancelledBy::Admin };
    let note = call.request.reason.clone().filter(|note| !note.trim().is_empty());
    let planned_on = call.request.version;
    let cancel = Cancel { by, person: Some(identity.user_id), percent, note, planned_on };
    ask_saga(&env, call, id, Input::Cancel(cancel)).await
}

pub async fn begin_payment(env: Env, call: Call<BeginPayment>) -> Answered {
    let BeginPayment { reservation_id, payment_id } = call.request;
    let input = Input::BeginPayment { payment_id };
    // Repeating it is harmless: it needs no key.
    send(&env, &call, reservation_id, input, None).await
}

fn payment_begun(reservation: &Reservation) -> Answered {
    json(&PaymentBegun {
        reservation_id: reservation.id,
        user_id: reservation.user_id,
        email: reservation.email.clone(),
        description: format!("{} · {}", reservation.movie_title, seat_list(&reservation.seats())),
        total: reservation.saga.terms.total,
        expires_at: reservation.saga.expires_at,
        sale: Some(Sale {
            showtime_id: reservation.showtime_id,
            movie_id: reservation.movie_id,
            movie_title: reservation.movie_title.clone(),
            starts_at: reservation.starts_at,
            tickets: reservation.saga.terms.lines.len() as u16,
        }),
    })
}

pub async fn resume(env: Env, call: Call<ResumeSaga>) -> Answered {
    let (id, by) = (call.request.reservation_id, call.caller()?.user_id);
    ask_saga(&env, call, id, Input::Resume { by: Some(by) }).await
}

/// Puts the order's address right; the saga's log keeps who did it.
pub async fn update(env: Env, call: Call<UpdateReservation>) -> Answered {
    let UpdateReservation { id, email } = call.request.clone();
    let by = call.caller()?.user_id;
    ask_saga(&env, call, id, Input::Readdress { email, by }).await
}

/// A payment's money goes back by its reservation's saga, which alone knows what was promised already.
pub async fn refund(env: Env, call: Call<RequestRefund>) -> Answered {
    let by = call.caller()?.user_id;
    let ask = Ask { token: call.token.clone(), ..Ask::new(call.context.clone()) };
    let payment = env.bus.ask(&GetPayment { id: call.request.id }, &ask).await?;
    let RequestRefund { amount, reason, .. } = call.request.clone();
    let input = Input::GiveBack(GiveBack { amount, reason, by });
    ask_saga(&env, call, payment.reservation_id, input).await
}

fn refund_requested(done: &Done<'_>) -> Answered {
    let requested = done.events.iter().find_map(|event| match event {
        SagaEvent::RefundRequested(refund) => Some(refund),
        _ => None,
    });
    let refund = requested.ok_or_else(Problem::internal)?;
    let (id, total, created_at) = (refund.id, refund.total, done.now);
    json(&Refund { id, total, status: RefundStatus::Requested, created_at })
}

pub async fn tickets(env: Env, call: Call<GetTickets>) -> Answered {
    let reservation = find(&env, &call, call.request.id).await?;
    if reservation.saga.status() != ReservationStatus::Confirmed {
        return Err(Rejection::NotConfirmed.into());
    }
    let seats = reservation.seats();
    let ticket = |seat: &SeatId| Ticket {
        reservation_id: reservation.id,
        showtime_id: reservation.showtime_id,
        seat: seat.clone(),
        starts_at: reservation.starts_at,
    };
    let sign = SignTickets { tickets: seats.iter().map(ticket).collect() };
    let signed = env.bus.ask(&sign, &Ask::new(call.context.clone())).await?;
    if signed.tokens.len() != seats.len() {
        tracing::error!(reservation = %reservation.id, "not one token a ticket");
        return Err(Problem::internal());
    }
    let tickets = seats.into_iter().zip(signed.tokens);
    json(&Tickets { tickets: tickets.map(|(seat, token)| SeatTicket { seat, token }).collect() })
}

pub async fn sagas(env: Env, call: Call<ListSagas>) -> Answered {
    let (items, total) = store::sagas(&env.pool, &call.request).await.map_err(Failure::transient)?;
    json(&call.request.paging.of(items, total))
}

pub async fn saga(env: Env, call: Call<GetSaga>) -> Answered {
    let reservation = find(&env, &call, call.request.reservation_id).await?;
    let steps = store::steps(&env.pool, reservation.id).await.map_err(Failure::transient)?;
    json(&reservation.saga_view(steps, env.clock.now()))
}

pub async fn cancellation(env: Env, call: Call<GetShowtimeCancellation>) -> Answered {
    let counts =
        store::cancellation(&env.pool, call.request.showtime_id).await.map_err(Failure::transient)?;
    json(&counts.ok_or(Rejection::NoSuchShowtime)?)
}

pub async fn occupancy(env: Env, call: Call<ReportOccupancy>) -> Answered {
    let (items, total) = store::occupancy(&env.pool, &call.request).await.map_err(Failure::transient)?;
    json(&call.request.paging.of(items, total))
}

pub async fn holds(env: Env, call: Call<ListHolders>) -> Answered {
    let paging = call.request.paging;
    let since = env.clock.now().minus(store::UNPAID_ENDS_FOR);
    let (items, total) = store::holders(&env.pool, since, paging).await.map_err(Failure::transient)?;
    json(&paging.of(items, total))
}
