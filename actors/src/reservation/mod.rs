//! Reservation owns reservations, seat claims, sagas with their log, and the idempotency records of creating.
//!
//! Invariant: a seat has one owner: the constraint `one_owner` decides, and every statement on a claim names the
//! reservation that owns it. Invariant: a reservation's row is its saga's checkpoint, saved with the version it expects.
//! It does not take money (payment does), nor know movies beyond what a showtime froze.

mod actor;
pub mod best_available;
mod change;
mod endpoint;
mod exchange;
mod holds;
mod model;
mod order;
pub mod saga;
pub mod seat_map;
mod showtime;
mod sold_together;
mod store;
mod takeover;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use bus::consumer::Delivery;
use bus::contract::Event;
use bus::contract::auth::EmailVerified;
use bus::contract::movie::{ShowtimeCancelled, ShowtimeChangeRefused, ShowtimeScheduled, ShowtimeUpdated};
use bus::contract::payment::{
    PaymentFailed, PaymentInitiated, PaymentSuccess, RefundCompleted, RefundFailed,
};
use bus::contract::reservation::{
    FindBestSeats, GetSeatMap, RefundRequested, ReservationCancelled, ReservationConfirmed,
    ReservationCreated, ReservationExchanged, ReservationReaddressed,
};
use bus::service::{Answered, Call, Server};
use bus::topology::ConsumerSpec;
use bus::{Bus, Failure};
use futures::FutureExt;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::config::ReservationSettings;
use crate::delivery::{
    self, Change, Clock, IdempotencyKey, Journal, Outcome, Reads, SeatLock, StoredAnswer, sweep,
};
use crate::domain::{Domain, configure};
use crate::host::{DomainBuilder, Host, Stage};
use crate::supervision::entity::Entities;
use actor::{Origin, SagaActor, read_event};
use model::Reservation;
use saga::{Cancel, CancelledBy, Input};
use showtime::{ShowtimeActor, View};
use store::Rows;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/reservation");

pub const DOMAIN: Domain = Domain {
    name: "reservation",
    consumer: Some(CONSUMER),
    publishes: &[
        ReservationCreated::SUBJECT,
        ReservationConfirmed::SUBJECT,
        ReservationCancelled::SUBJECT,
        ReservationExchanged::SUBJECT,
        ReservationReaddressed::SUBJECT,
        RefundRequested::SUBJECT,
        ShowtimeChangeRefused::SUBJECT,
    ],
    migrations: Some(&MIGRATIONS),
    configure: |environment| configure("reservation", environment, ReservationSettings::read, spawn),
};

const CONSUMER: ConsumerSpec = ConsumerSpec {
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
        EmailVerified::SUBJECT,
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
pub async fn spawn(builder: DomainBuilder, settings: ReservationSettings) -> anyhow::Result<Host> {
    let lock = builder.redis.clone().map(SeatLock::new);
    let (journal, well, mut children) = builder.delivery::<Rows>(lock);
    let pool = builder.database.pool.clone();
    let (by_id, of_showtime) = (pool.clone(), pool.clone());
    let env = Env(Arc::new(Inner {
        bus: builder.bus.clone(),
        clock: builder.clock.clone(),
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
    let database = builder.database.clone();
    children.push(env.showtimes().child());
    children.push(env.sagas().child());
    children.push(builder.consumer(
        CONSUMER,
        well.clone(),
        Arc::new(move |delivery| hear(&hearing, delivery)),
    ));
    children.push(builder.worker(Stage::Intake, "deadlines", move |stop| {
        let env = sweeping.clone();
        let due = |pool: PgPool| async move { store::due(&pool, delivery::SWEEP_PAGE).await }.boxed();
        sweep(database.clone(), stop, due, move |id| {
            #[cfg(feature = "planted")]
            if bus::config::planted("no-deadline-sweep") {
                return;
            }
            env.sagas().send(id, actor::Message::Input(Input::Deadline, Origin::Clock));
        })
    }));
    children.push(builder.service(move |server| serve(serving.clone(), server).boxed()));
    builder.start(well, move || children.clone()).await
}

async fn serve(env: Env, mut server: Server) -> Result<Server, Failure> {
    server.serve_with(&env, endpoint::create).await?;
    server.serve_with(&env, endpoint::get).await?;
    server.serve_with(&env, endpoint::describe).await?;
    server.serve_with(&env, endpoint::list).await?;
    server.serve_with(&env, endpoint::cancel).await?;
    server.serve_with(&env, endpoint::begin_payment).await?;
    server.serve_with(&env, endpoint::resume).await?;
    server.serve_with(&env, endpoint::update).await?;
    server.serve_with(&env, endpoint::refund).await?;
    server.serve_with(&env, endpoint::tickets).await?;
    server.serve_with(&env, endpoint::sagas).await?;
    server.serve_with(&env, endpoint::saga).await?;
    server.serve_with(&env, endpoint::cancellation).await?;
    server.serve_with(&env, endpoint::occupancy).await?;
    server.serve_with(&env, endpoint::holds).await?;
    server.serve_with(&env, exchange::exchange).await?;
    server.serve_with(&env, exchange::preview).await?;
    server.serve_with(&env, change::claimed).await?;
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
        EmailVerified::SUBJECT => {
            let env = env.clone();
            tokio::spawn(async move { takeover::hear(&env, delivery).await });
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
        env.sagas().send(id, actor::Message::Input(Input::Cancel(Cancel::by(CancelledBy::Showtime)), origin));
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
    let change = Change::new(Rows::Showtime(told.into()));
    match env.journal.commit(change).await {
        Outcome::Committed { .. } => delivery.ack(),
        Outcome::Failed(failure) => delivery.fail(failure),
        other => delivery.park(format!("a showtime is only ever stored, but: {other:?}")),
    }
}
