//! Reservation owns reservations, seat claims, sagas with their log, and the idempotency records of creating.
//!
//! Invariant: a seat has one owner: the constraint `one_owner` decides, and every statement on a claim names the reservation
//! that owns it. Invariant: a reservation's row is its saga's checkpoint, saved with the version it expects.
//! It does not take money (payment does), and of a movie it has only the fields that a showtime copies.

mod access;
mod actor;
pub mod best_available;
pub(crate) mod consumer;
mod customer;
mod endpoints;
mod erasure;
mod exchange;
mod holds;
pub(crate) mod model;
mod order;
mod pricing;
mod report;
mod requests;
mod returns;
pub mod saga;
mod sale_rules;
pub mod seat_map;
mod showtime;
mod sold_together;
pub(crate) mod store;
#[cfg(test)]
mod tests;
mod tickets;

use std::sync::{Arc, OnceLock};

use bus::contract::Event;
use bus::contract::auth::UserMerged;
use bus::contract::movie::ShowtimeChangeRefused;
use bus::contract::reservation::{
    RefundRequested, ReservationCancelled, ReservationConfirmed, ReservationCreated, ReservationExchanged,
    ReservationReaddressed, ReservationUpdated,
};
use bus::token::Verifier;
use futures::FutureExt;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::config::ReservationSettings;
use crate::delivery::{self, Reads, sweep};
use crate::domain::{Domain, Tools, configure};
use crate::entity_shell::Requester;
use crate::host::{DomainBuilder, Host, Stage};
use crate::site_copy::SiteCopy;
use crate::supervision::entity::Entities;
use consumer::CONSUMER;
use model::Reservation;
use saga::Input;
use showtime::ShowtimeActor;
use store::Rows;

use actor::SagaActor;
#[cfg(test)]
pub(crate) use actor::SagaMachine;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/reservation");

pub const DOMAIN: Domain = Domain {
    name: "reservation",
    consumer: Some(CONSUMER),
    publishes: &[
        ReservationCreated::SUBJECT,
        ReservationConfirmed::SUBJECT,
        ReservationCancelled::SUBJECT,
        ReservationExchanged::SUBJECT,
        ReservationUpdated::SUBJECT,
        ReservationReaddressed::SUBJECT,
        RefundRequested::SUBJECT,
        ShowtimeChangeRefused::SUBJECT,
        UserMerged::SUBJECT,
    ],
    migrations: Some(&MIGRATIONS),
    configure: |environment| configure("reservation", environment, ReservationSettings::read, spawn),
};

/// The environment of the domain's actors, cheap to clone.
#[derive(Clone)]
pub struct Env(Arc<Inner>);

pub struct Inner {
    tools: Tools<Rows>,
    settings: Arc<ReservationSettings>,
    sites: Arc<SiteCopy>,
    /// Verifies the tokens of guests and of orders that go to an account.
    verifier: Verifier,
    reservations: Reads<Uuid, Reservation>,
    sequences: Reads<Uuid, i64>,
    entities: OnceLock<(Entities<ShowtimeActor>, Entities<SagaActor>)>,
}

impl std::ops::Deref for Env {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl std::ops::Deref for Inner {
    type Target = Tools<Rows>;
    fn deref(&self) -> &Tools<Rows> {
        &self.tools
    }
}

impl Env {
    fn showtimes(&self) -> &Entities<ShowtimeActor> {
        &self.entities().0
    }
    fn sagas(&self) -> &Entities<SagaActor> {
        &self.entities().1
    }
    /// The entities hold the environment and the environment the entities, so both live until the process ends.
    fn entities(&self) -> &(Entities<ShowtimeActor>, Entities<SagaActor>) {
        self.entities.get_or_init(|| (Entities::new(self.clone()), Entities::new(self.clone())))
    }
}

/// Starts the host.
pub async fn spawn(builder: DomainBuilder, settings: ReservationSettings) -> anyhow::Result<Host> {
    let (journal, well, mut children) = builder.delivery::<Rows>();
    let pool = builder.database.pool.clone();
    let sites = SiteCopy::load(&pool).await?;
    children.push(sites.child(&builder));
    let (by_id, of_showtime) = (pool.clone(), pool.clone());
    let env = Env(Arc::new(Inner {
        tools: Tools::new(&builder, journal),
        settings: Arc::new(settings),
        sites,
        verifier: builder.verifier.clone(),
        reservations: Reads::new(move |ids| {
            let pool = by_id.clone();
            async move { store::reservations(&pool, &ids).await }.boxed()
        }),
        sequences: Reads::new(move |ids| {
            let pool = of_showtime.clone();
            async move { store::sequences(&pool, &ids).await }.boxed()
        }),
        entities: OnceLock::new(),
    }));
    let (serving, consuming, sweeping) = (env.clone(), env.clone(), env.clone());
    let database = builder.database.clone();
    children.push(env.showtimes().child());
    children.push(env.sagas().child());
    children.push(builder.consumer(
        CONSUMER,
        well.clone(),
        Arc::new(move |delivery| consumer::handle(&consuming, delivery)),
    ));
    children.push(builder.worker(Stage::Intake, "deadlines", move |stop| {
        let env = sweeping.clone();
        let due = |pool: PgPool| async move { store::due(&pool, delivery::SWEEP_PAGE).await }.boxed();
        sweep(database.clone(), stop, due, move |id| {
            #[cfg(feature = "planted")]
            if bus::config::planted("no-deadline-sweep") {
                return;
            }
            env.sagas().send(id, actor::Message::Input(Input::Deadline, Requester::Nobody));
        })
    }));
    let (retaining, keep) = (env.clone(), env.settings.retention);
    children.push(
        builder
            .worker(Stage::Intake, "retention", move |stop| erasure::retain(retaining.clone(), keep, stop)),
    );
    children.push(builder.service(move |server| endpoints::serve(serving.clone(), server).boxed()));
    builder.start(well, move || children.clone()).await
}
