//! Reservation's requests: each one's caller, key and input, and what of the outcome is told.
//!
//! Invariant: owner and role are checked against the row, here where only is read and in the actor where is written.

use bus::contract::auth::{Role, SignTickets, Ticket};
use bus::contract::payment::{GetPayment, Refund};
use bus::contract::reservation::{
    BeginPayment, CancelReservation, CreateReservation, DescribeReservation, GetReservation, GetSaga,
    GetShowtimeCancellation, GetTickets, ListHolders, ListReservations, ListSagas, PaymentBegun,
    RefundStatus, Rejection, ReportOccupancy, RequestRefund, ReservationDescribed, ReservationStatus,
    ResumeSaga, Sale, SeatTicket, Tickets, UpdateReservation,
};
use bus::contract::{Request, SeatId, seat_list};
use bus::service::{Answered, Ask, Call, json};
use bus::{Failure, Problem};

use super::actor::{Caller, Done, Shape, as_view, call, may_act};
use super::model::Reservation;
use super::order::{Order, replay};
use super::saga::{Cancel, CancelledBy, Effect, GiveBack, Input};
use super::store::Filter;
use super::{Env, showtime, store};
use crate::delivery::{IdempotencyKey, request_hash};

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

type Keyed = (IdempotencyKey, [u8; 32]);

/// Answers a request, or gives the first answer to it again. Looks before and after: what `answer` saw may be the doing
/// of the same request, sent twice at once.
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

/// Sends an input in the caller's name; a request that was answered before is answered alike.
async fn ask_saga<R: Request>(
    env: &Env,
    asked: Call<R>,
    id: uuid::Uuid,
    input: Input,
    shape: Shape,
) -> Answered {
    let key = key(&asked)?;
    let identity = asked.caller()?.clone();
    let (context, kept) = (asked.context, key.clone());
    once(env, &key, call(env, id, input, |reply| Caller { identity, context, key: kept, shape, reply })).await
}

pub async fn get(env: Env, call: Call<GetReservation>) -> Answered {
    json(&find(&env, &call, call.request.id).await?.view(env.clock.now()))
}

/// For hosts that heard of a payment before its reservation.
pub async fn describe(env: Env, call: Call<DescribeReservation>) -> Answered {
    let found = env.reservations.get(call.request.id).await?.ok_or(Rejection::NoSuchReservation)?;
    json(&ReservationDescribed { status: found.saga.status(), reservation: found.told() })
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

pub async fn cancel(env: Env, asked: Call<CancelReservation>) -> Answered {
    let identity = asked.caller()?.clone();
    let percent = asked.request.refund_percent;
    if percent.is_some() && identity.role < Role::Admin {
        return Err(Rejection::RefundByStaffOnly.into());
    }
    let id = asked.request.id;
    let own = env.reservations.get(id).await?.is_some_and(|r| r.user_id == identity.user_id);
    // Staff who say what is given back act as staff, also on their own seats.
    let by = if own && percent.is_none() { CancelledBy::User } else { CancelledBy::Admin };
    let words = asked.request.reason.clone().filter(|words| !words.trim().is_empty());
    let planned_on = asked.request.version;
    let cancel = Cancel { by, asker: Some(identity.user_id), percent, words, planned_on };
    ask_saga(&env, asked, id, Input::Cancel(cancel), as_view).await
}

pub async fn begin_payment(env: Env, asked: Call<BeginPayment>) -> Answered {
    let BeginPayment { reservation_id, payment_id } = asked.request;
    let input = Input::BeginPayment { payment_id };
    let (identity, context) = (asked.caller()?.clone(), asked.context);
    // Asking again is harmless by itself: no key, and no look for one.
    let caller = |reply| Caller { identity, context, key: None, shape: as_begun, reply };
    call(&env, reservation_id, input, caller).await
}

fn as_begun(done: &Done<'_>) -> Answered {
    let reservation = done.after;
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

pub async fn resume(env: Env, asked: Call<ResumeSaga>) -> Answered {
    let (id, by) = (asked.request.reservation_id, asked.caller()?.user_id);
    ask_saga(&env, asked, id, Input::Resume { by: Some(by) }, as_view).await
}

/// Puts the order's address right; the saga's log keeps who did it.
pub async fn update(env: Env, asked: Call<UpdateReservation>) -> Answered {
    let UpdateReservation { id, email } = asked.request.clone();
    let by = asked.caller()?.user_id;
    ask_saga(&env, asked, id, Input::Readdress { email, by }, as_view).await
}

/// A payment's money goes back by its reservation's saga, which alone knows what was promised already.
pub async fn refund(env: Env, asked: Call<RequestRefund>) -> Answered {
    let by = asked.caller()?.user_id;
    let ask = Ask { token: asked.token.clone(), ..Ask::new(asked.context.clone()) };
    let payment = env.bus.ask(&GetPayment { id: asked.request.id }, &ask).await?;
    let RequestRefund { amount, reason, .. } = asked.request.clone();
    let input = Input::GiveBack(GiveBack { amount, reason, by });
    ask_saga(&env, asked, payment.reservation_id, input, as_refund).await
}

fn as_refund(done: &Done<'_>) -> Answered {
    let asked = done.effects.iter().find_map(|effect| match effect {
        Effect::RequestRefund(refund) => Some(refund),
        _ => None,
    });
    let refund = asked.ok_or_else(Problem::internal)?;
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
