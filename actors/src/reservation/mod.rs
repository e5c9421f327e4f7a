//! Reservation owns reservations, seat claims, sagas with their log, and the idempotency records of creating.
//!
//! Invariant: a seat has one owner: the constraint `one_owner` decides, and every statement on a claim names the
//! reservation that owns it. Invariant: a reservation's row is its saga's checkpoint, saved with the version it expects.
//! It does not take money (payment does), nor know movies beyond what a showtime froze.

mod actor;
mod best_available;
mod change;
mod model;
mod order;
mod saga;
mod seat_map;
mod showtime;
mod store;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use bus::consumer::Delivery;
use bus::contract::auth::Role;
use bus::contract::movie::{ShowtimeCancelled, ShowtimeScheduled, ShowtimeUpdated};
use bus::contract::payment::{
    PaymentFailed, PaymentInitiated, PaymentSuccess, RefundCompleted, RefundFailed,
};
use bus::contract::reservation::{
    BeginPayment, CancelReservation, CreateReservation, GetReservation, GetSeatMap, ListClaimed,
    ListReservations, PaymentBegun, Rejection, ResumeSaga, Sale,
};
use bus::contract::{Event, Request};
use bus::service::{Answered, Call, Server, json};
use bus::topology::ConsumerSpec;
use bus::{Bus, Failure};
use futures::FutureExt;
use sqlx::PgPool;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::config::ReservationSettings;
use crate::delivery::{
    self, Change, Clock, IdempotencyKey, InboxKey, Journal, Outcome, Reads, SeatLock, StoredAnswer,
    request_hash, sweep,
};
use crate::host::{Host, Parts};
use crate::supervision::entity::Entities;
use actor::{Origin, SagaActor, call, may_act, read_event};
use model::Reservation;
use order::Order;
use saga::{CancelledBy, Input};
use showtime::ShowtimeActor;
use store::Rows;

/// What the host hears.
pub const CONSUMER: ConsumerSpec = ConsumerSpec {
    name: actor::CONSUMER,
    subjects: &[
        ShowtimeScheduled::SUBJECT,
        ShowtimeUpdated::SUBJECT,
        ShowtimeCancelled::SUBJECT,
        PaymentInitiated::SUBJECT,
        PaymentSuccess::SUBJECT,
        PaymentFailed::SUBJECT,
        RefundCompleted::SUBJECT,
        RefundFailed::SUBJECT,
    ],
};

/// What the domain's actors work with, cheap to clone.
#[derive(Clone)]
pub struct Env(Arc<Inner>);

pub struct Inner {
    bus: Bus,
    pool: PgPool,
    clock: Clock,
    settings: ReservationSettings,
    journal: Journal<Rows>,
    reservations: Reads<Uuid, Reservation>,
    sequences: Reads<Uuid, i64>,
    answers: Reads<IdempotencyKey, StoredAnswer>,
    entities: OnceLock<(Entities<ShowtimeActor>, Entities<SagaActor>)>,
}

impl std::ops::Deref for Env {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Env {
    fn showtimes(&self) -> &Entities<ShowtimeActor> {
        &self.entities().0
    }
    fn sagas(&self) -> &Entities<SagaActor> {
        &self.entities().1
    }
    /// The entities hold the environment and the environment the entities: one lives as long as the other.
    fn entities(&self) -> &(Entities<ShowtimeActor>, Entities<SagaActor>) {
        self.entities.get_or_init(|| (Entities::new(self.clone()), Entities::new(self.clone())))
    }
}

/// Starts the host.
pub async fn spawn(parts: Parts, settings: ReservationSettings) -> anyhow::Result<Host> {
    let lock = parts.redis.clone().map(SeatLock::new);
    let (journal, well, mut children) = parts.delivery::<Rows>(lock);
    let pool = parts.database.pool.clone();
    let (by_id, of_showtime) = (pool.clone(), pool.clone());
    let env = Env(Arc::new(Inner {
        bus: parts.bus.clone(),
        clock: parts.clock.clone(),
        settings,
        journal,
        reservations: Reads::new(move |ids| {
            let pool = by_id.clone();
            async move { store::reservations(&pool, &ids).await }.boxed()
        }),
        sequences: Reads::new(move |ids| {
            let pool = of_showtime.clone();
            async move { store::sequences(&pool, &ids).await }.boxed()
        }),
        answers: delivery::stored_answers(pool.clone()),
        pool,
        entities: OnceLock::new(),
    }));
    let (serving, hearing, sweeping) = (env.clone(), env.clone(), env.clone());
    let database = parts.database.clone();
    children.push(env.showtimes().child());
    children.push(env.sagas().child());
    children.push(parts.consumer(CONSUMER, well.clone(), Arc::new(move |delivery| hear(&hearing, delivery))));
    children.push(parts.taker("deadlines", move |stop| {
        let env = sweeping.clone();
        let due = |pool: PgPool| async move { store::due(&pool, delivery::SWEEP_PAGE).await }.boxed();
        sweep(database.clone(), stop, due, move |id| {
            env.sagas().send(id, actor::Message::Input(Input::Deadline, Origin::Clock));
        })
    }));
    children.push(parts.service(move |server| serve(serving.clone(), server).boxed()));
    parts.start(well, move || children.clone()).await
}

async fn serve(env: Env, mut server: Server) -> Result<Server, Failure> {
    let e = env.clone();
    server.serve(move |call: Call<CreateReservation>| create(e.clone(), call)).await?;
    let e = env.clone();
    server.serve(move |call: Call<GetReservation>| get(e.clone(), call)).await?;
    let e = env.clone();
    server.serve(move |call: Call<ListReservations>| list(e.clone(), call)).await?;
    let e = env.clone();
    server.serve(move |call: Call<CancelReservation>| cancel(e.clone(), call)).await?;
    let e = env.clone();
    server.serve(move |call: Call<BeginPayment>| begin_payment(e.clone(), call)).await?;
    let e = env.clone();
    server.serve(move |call: Call<ResumeSaga>| resume(e.clone(), call)).await?;
    let e = env.clone();
    server.serve(move |call: Call<ListClaimed>| change::claimed(e.clone(), call)).await?;
    let e = env;
    server
        .serve(move |call: Call<GetSeatMap>| {
            let env = e.clone();
            async move { showtime::view(&env, &call.request).await }
        })
        .await?;
    Ok(server)
}

async fn create(env: Env, call: Call<CreateReservation>) -> Answered {
    let identity = call.caller()?.clone();
    let key = call.idempotency_key.clone().ok_or(Rejection::IdempotencyKeyMissing)?;
    let key = IdempotencyKey { user_id: identity.user_id, route: CreateReservation::SUBJECT, key };
    let request_hash = request_hash(&call.request)?;
    let (showtime, context) = (call.request.showtime_id, call.context);
    let order = |reply| {
        Box::new(Order {
            request: call.request,
            identity,
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

async fn get(env: Env, call: Call<GetReservation>) -> Answered {
    let found = env.reservations.get(call.request.id).await?;
    let mine = found.filter(|reservation| call.caller().is_ok_and(|identity| may_act(reservation, identity)));
    json(&mine.ok_or(Rejection::NoSuchReservation)?.view())
}

async fn list(env: Env, call: Call<ListReservations>) -> Answered {
    let identity = call.caller()?;
    let ListReservations { status, user_id, paging } = call.request;
    let user = if identity.role >= Role::Admin { user_id } else { Some(identity.user_id) };
    let (found, total) = store::list(&env.pool, user, status, paging).await.map_err(Failure::transient)?;
    json(&paging.of(found.iter().map(Reservation::view).collect(), total))
}

async fn cancel(env: Env, request: Call<CancelReservation>) -> Answered {
    let identity = request.caller()?.clone();
    let own = env.reservations.get(request.request.id).await?.is_some_and(|r| r.user_id == identity.user_id);
    let by = if own { CancelledBy::User } else { CancelledBy::Admin };
    json(&call(&env, request.request.id, Input::Cancel(by), identity, request.context).await?.view())
}

async fn begin_payment(env: Env, request: Call<BeginPayment>) -> Answered {
    let identity = request.caller()?.clone();
    let BeginPayment { reservation_id, payment_id } = request.request;
    let reservation =
        call(&env, reservation_id, Input::BeginPayment { payment_id }, identity, request.context).await?;
    json(&PaymentBegun {
        reservation_id,
        user_id: reservation.user_id,
        email: reservation.email.clone(),
        description: format!("{} · {}", reservation.movie_title, reservation.seats.join(", ")),
        total: reservation.saga.terms.total,
        expires_at: reservation.saga.expires_at,
        sale: Some(Sale {
            showtime_id: reservation.showtime_id,
            movie_id: reservation.movie_id,
            movie_title: reservation.movie_title.clone(),
            starts_at: reservation.starts_at,
            tickets: reservation.seats.len() as u16,
        }),
    })
}

async fn resume(env: Env, request: Call<ResumeSaga>) -> Answered {
    let identity = request.caller()?.clone();
    json(&call(&env, request.request.reservation_id, Input::Resume, identity, request.context).await?.view())
}

fn hear(env: &Env, delivery: Delivery) {
    match delivery.subject.as_str() {
        ShowtimeScheduled::SUBJECT => {
            let env = env.clone();
            tokio::spawn(async move { keep_showtime(&env, delivery).await });
        }
        ShowtimeUpdated::SUBJECT => {
            let env = env.clone();
            tokio::spawn(async move { change::hear(&env, delivery).await });
        }
        ShowtimeCancelled::SUBJECT => {
            let env = env.clone();
            tokio::spawn(async move { cancel_showtime(&env, delivery).await });
        }
        _ => match read_event(&delivery) {
            Ok((id, input)) => env.sagas().send(id, actor::Message::Input(input, Origin::Event(delivery))),
            Err(failure) => delivery.fail(failure),
        },
    }
}

/// First nothing more is sold, then every saga gives its seats and money back. Acknowledged when all have; a part that
/// is done again changes nothing.
async fn cancel_showtime(env: &Env, delivery: Delivery) {
    let told: ShowtimeCancelled = match delivery.event() {
        Ok(told) => told,
        Err(failure) => return delivery.fail(failure),
    };
    let showtime_id = told.showtime.showtime_id;
    let closed = Rows::ShowtimeCancelled(Box::new(told.showtime.into()));
    let closed = env.journal.commit(Change::new(closed)).await;
    if !matches!(closed, Outcome::Committed { .. }) {
        return delivery.retry(format!("the showtime was not closed: {closed:?}"));
    }
    let open = match store::open_of_showtime(&env.pool, showtime_id).await {
        Ok(open) => open,
        Err(error) => return delivery.retry(error),
    };
    let cancels = open.into_iter().map(|id| {
        let (told, cancelled) = oneshot::channel();
        let origin = Origin::Asked { context: delivery.context.clone(), reply: told };
        env.sagas().send(id, actor::Message::Input(Input::Cancel(CancelledBy::Showtime), origin));
        cancelled
    });
    let cancelled = futures::future::join_all(cancels).await;
    if cancelled.iter().all(|done| matches!(done, Ok(Ok(_)))) {
        delivery.ack();
    } else {
        delivery.retry("not every reservation is cancelled yet");
    }
}

async fn keep_showtime(env: &Env, delivery: Delivery) {
    let told: ShowtimeScheduled = match delivery.event() {
        Ok(told) => told,
        Err(failure) => return delivery.fail(failure),
    };
    let inbox = Some(InboxKey { consumer: actor::CONSUMER, event_id: delivery.id.clone() });
    let change = Change { inbox, ..Change::new(Rows::Showtime(told.into())) };
    match env.journal.commit(change).await {
        Outcome::Committed { .. } | Outcome::Duplicate => delivery.ack(),
        Outcome::Failed(failure) => delivery.fail(failure),
        other => delivery.park(format!("a showtime is only ever stored, but: {other:?}")),
    }
}
