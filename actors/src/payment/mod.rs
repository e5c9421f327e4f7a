//! Payment: takes the money for a reservation through a provider, and gives it back.
//!
//! It owns payments with their attempts, refunds and log, and the provider's events. One payment a reservation.
//! Invariant: of a payment one capture is accepted, and any other is given back; see `rules`, `hear` and `refund`.
//! Invariant: the provider is called only after the attempt's row is committed and never inside a transaction, and what
//! is not known is asked about until it is, by a deadline in the row.
//! Invariant: what it has booked is booked for the show that the reservation is for now; see `show` and `ledger`.
//! It does not decide whether a reservation is confirmed, cancelled or refunded: that is the saga's.

mod actor;
mod calls;
mod change;
pub(crate) mod declines;
mod dispute;
mod endpoint;
mod hear;
mod ledger;
pub(crate) mod model;
pub(crate) mod provider;
mod reconcile;
pub(crate) mod refund;
pub(crate) mod rules;
pub(crate) mod show;
pub(crate) mod step;
mod store;
mod stripe;
pub(crate) mod webhook;
mod wire;
mod work;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use bus::Bus;
use bus::Failure;
use bus::consumer::Delivery;
use bus::contract::Event;
use bus::contract::payment::{
    PaymentDisputed, PaymentFailed, PaymentInitiated, PaymentSuccess, RefundCompleted, RefundFailed,
};
use bus::contract::reservation::{
    RefundRequested, ReservationCancelled, ReservationCreated, ReservationExchanged,
};
use bus::service::Server;
use bus::topology::ConsumerSpec;
use futures::FutureExt;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::config::{DeclineLimits, PaymentSettings};
use crate::delivery::{self, Clock, IdempotencyKey, Journal, Reads, StoredAnswer, sweep};
use crate::domain::{Domain, configure};
use crate::host::{DomainBuilder, Host, Stage};
use crate::supervision::entity::Entities;
use actor::{Message, PaymentActor};
use model::Payment;
use provider::Provider;
use store::Rows;
use work::Work;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/payment");

pub const DOMAIN: Domain = Domain {
    name: "payment",
    consumer: Some(CONSUMER),
    publishes: &[
        PaymentInitiated::SUBJECT,
        PaymentSuccess::SUBJECT,
        PaymentFailed::SUBJECT,
        PaymentDisputed::SUBJECT,
        RefundCompleted::SUBJECT,
        RefundFailed::SUBJECT,
    ],
    migrations: Some(&MIGRATIONS),
    configure: |environment| configure("payment", environment, PaymentSettings::read, spawn),
};

const CONSUMER: ConsumerSpec = ConsumerSpec {
    name: work::CONSUMER,
    subjects: &[
        ReservationCreated::SUBJECT,
        ReservationCancelled::SUBJECT,
        ReservationExchanged::SUBJECT,
        RefundRequested::SUBJECT,
    ],
};

/// What the domain's actors and endpoints work with, cheap to clone.
#[derive(Clone)]
pub struct Env(Arc<Inner>);

pub struct Inner {
    bus: Bus,
    pool: PgPool,
    clock: Clock,
    declines: Option<DeclineLimits>,
    webhook_secret: String,
    provider: Arc<dyn Provider>,
    journal: Journal<Rows>,
    payments: Reads<Uuid, Payment>,
    answers: Reads<IdempotencyKey, StoredAnswer>,
    entities: OnceLock<Entities<PaymentActor>>,
}

impl std::ops::Deref for Env {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Env {
    /// The entities hold the environment and the environment the entities: one lives as long as the other.
    fn entities(&self) -> &Entities<PaymentActor> {
        self.entities.get_or_init(|| Entities::new(self.clone()))
    }

    fn send(&self, reservation: Uuid, work: Work) {
        self.entities().send(reservation, Message::Work(work));
    }
}

/// Starts the host. The process must have chosen its rustls crypto provider before.
pub async fn spawn(builder: DomainBuilder, settings: PaymentSettings) -> anyhow::Result<Host> {
    if settings.is_sandbox {
        tracing::warn!("SANDBOX=true: payments are tests, no money is charged");
    }
    let every = settings.reconcile;
    let (journal, well, mut children) = builder.delivery::<Rows>(None);
    let pool = builder.database.pool.clone();
    let env = Env(Arc::new(Inner {
        bus: builder.bus.clone(),
        clock: builder.clock.clone(),
        declines: settings.declines,
        webhook_secret: settings.webhook_secret.clone(),
        provider: Arc::new(stripe::Stripe::new(settings)?),
        journal,
        payments: store::payments(pool.clone()),
        answers: delivery::stored_answers(pool.clone()),
        pool,
        entities: OnceLock::new(),
    }));
    let (serving, hearing, sweeping) = (env.clone(), env.clone(), env.clone());
    let database = builder.database.clone();
    children.push(env.entities().child());
    children.push(builder.consumer(
        CONSUMER,
        well.clone(),
        Arc::new(move |delivery| hear(&hearing, delivery)),
    ));
    children.push(builder.worker(Stage::Intake, "deadlines", move |stop| {
        let env = sweeping.clone();
        let due = |pool: PgPool| async move { store::due(&pool).await }.boxed();
        sweep(database.clone(), stop, due, move |reservation| env.send(reservation, Work::Due))
    }));
    let reading = env.clone();
    children.push(
        builder.worker(Stage::Intake, "reconciliation", move |stop| {
            reconcile::run(reading.clone(), every, stop)
        }),
    );
    children.push(builder.service(move |server| serve(serving.clone(), server).boxed()));
    builder.start(well, move || children.clone()).await
}

async fn serve(env: Env, mut server: Server) -> Result<Server, Failure> {
    server.serve_with(&env, endpoint::pay).await?;
    server.serve_with(&env, endpoint::get).await?;
    server.serve_with(&env, endpoint::list).await?;
    server.serve_with(&env, endpoint::resume).await?;
    server.serve_with(&env, endpoint::revenue).await?;
    server.serve_with(&env, endpoint::end).await?;
    server.serve_with(&env, endpoint::webhook).await?;
    Ok(server)
}

fn hear(env: &Env, delivery: Delivery) {
    match read(&delivery) {
        Ok(Heard::Created(event)) => {
            env.send(event.reservation_id, Work::Created(Box::new(event), delivery));
        }
        Ok(Heard::Cancelled(event)) => {
            env.send(event.reservation.reservation_id, Work::Cancelled(Box::new(event), delivery));
        }
        Ok(Heard::Exchanged(event)) => {
            env.send(event.reservation.reservation_id, Work::Exchanged(Box::new(event), delivery));
        }
        Ok(Heard::Refund(event)) => env.send(event.reservation_id, Work::Refund(Box::new(event), delivery)),
        Err(failure) => delivery.fail(failure),
    }
}

enum Heard {
    Created(ReservationCreated),
    Cancelled(ReservationCancelled),
    Exchanged(ReservationExchanged),
    Refund(RefundRequested),
}

fn read(delivery: &Delivery) -> Result<Heard, Failure> {
    match delivery.subject.as_str() {
        ReservationCreated::SUBJECT => delivery.event().map(Heard::Created),
        ReservationCancelled::SUBJECT => delivery.event().map(Heard::Cancelled),
        ReservationExchanged::SUBJECT => delivery.event().map(Heard::Exchanged),
        RefundRequested::SUBJECT => delivery.event().map(Heard::Refund),
        other => Err(Failure::poison(format!("payment does not hear {other}"))),
    }
}
