//! Payment: takes the money for a reservation through a provider, and gives it back.
//!
//! It owns payments with their attempts, refunds and disputes, the ledger, receipts, and the provider's events. Each reservation has one
//! payment.
//! Invariant: of a payment one capture is accepted, and any other is given back; see `machine` and `attempt`.
//! Invariant: the provider is called only after the attempt's row is committed and never inside a transaction, and an unknown
//! outcome is checked until it is known, by a next check in the row.
//! Invariant: postings are booked for the show that the reservation is for now; see `ledger`.
//! Whether a reservation is confirmed, cancelled or refunded is decided by its saga.

mod actor;
mod attempt;
pub(crate) mod call;
pub(crate) mod consumer;
mod credit;
mod dispute;
pub(crate) mod endpoints;
mod erasure;
pub mod fiscal;
pub(crate) mod ledger;
pub(crate) mod machine;
pub(crate) mod model;
mod numbering;
pub(crate) mod provider;
mod purchase;
mod receipt;
mod receipt_requests;
mod reconcile;
mod refund;
pub(crate) mod step;
pub(crate) mod store;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use bus::contract::Event;
use bus::contract::payment::{
    PaymentDisputed, PaymentFailed, PaymentInitiated, PaymentSuccess, RefundCompleted, RefundFailed,
};
use futures::FutureExt;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::config::{DeclineLimits, PaymentSettings};
use crate::delivery::{Reads, sweep};
use crate::domain::{Domain, Tools, configure};
use crate::entity_shell::Requester;
use crate::host::{DomainBuilder, Host, Stage};
use crate::periodic;
use crate::site_copy::SiteCopy;
use crate::supervision::entity::Entities;
use actor::{Message, PaymentActor};
#[cfg(test)]
pub(crate) use actor::{PaymentMachine, Wait};
use consumer::CONSUMER;
use fiscal::Fiscal;
use machine::Input;
use model::Payment;
use numbering::Issuer;
use provider::Provider;
use provider::stripe::Stripe;
use store::Rows;

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

/// The environment of the domain's actors and endpoints, cheap to clone.
#[derive(Clone)]
pub struct Env(Arc<Inner>);

pub struct Inner {
    tools: Tools<Rows>,
    declines: Option<DeclineLimits>,
    webhook_secret: String,
    provider: Arc<dyn Provider>,
    issuer: Issuer,
    sites: Arc<SiteCopy>,
    payments: Reads<Uuid, Payment>,
    entities: OnceLock<Entities<PaymentActor>>,
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
    /// The entities hold the environment and the environment the entities, so both live until the process ends.
    fn entities(&self) -> &Entities<PaymentActor> {
        self.entities.get_or_init(|| Entities::new(self.clone()))
    }
}

/// Starts the host, without a fiscal service. The process must have chosen its rustls crypto provider before.
pub async fn spawn(builder: DomainBuilder, settings: PaymentSettings) -> anyhow::Result<Host> {
    spawn_with(builder, settings, None).await
}

/// Starts the host with the fiscal service that signs its receipts.
pub async fn spawn_with(
    builder: DomainBuilder,
    settings: PaymentSettings,
    fiscal: Option<Arc<dyn Fiscal>>,
) -> anyhow::Result<Host> {
    if settings.is_sandbox {
        tracing::warn!("SANDBOX=true: payments are tests, no money is charged");
    }
    let every = settings.reconcile;
    let terms = erasure::Terms { address: settings.retention, buyer_years: settings.records_years };
    let (journal, well, mut children) = builder.delivery::<Rows>();
    let pool = builder.database.pool.clone();
    let sites = SiteCopy::load(&pool).await?;
    children.push(sites.child(&builder));
    let env = Env(Arc::new(Inner {
        tools: Tools::new(&builder, journal),
        declines: settings.declines,
        webhook_secret: settings.webhook_secret.clone(),
        issuer: Issuer::new(&settings.seller, fiscal.is_some()),
        sites,
        provider: Arc::new(Stripe::new(settings)?),
        payments: store::payments(pool),
        entities: OnceLock::new(),
    }));
    let (serving, consuming, sweeping) = (env.clone(), env.clone(), env.clone());
    let database = builder.database.clone();
    children.push(env.entities().child());
    children.push(builder.consumer(
        CONSUMER,
        well.clone(),
        Arc::new(move |delivery| consumer::handle(&consuming, delivery)),
    ));
    children.push(builder.worker(Stage::Intake, "deadlines", move |stop| {
        let env = sweeping.clone();
        let due = |pool: PgPool| async move { store::due(&pool).await }.boxed();
        sweep(database.clone(), stop, due, move |reservation| {
            env.entities().send(reservation, Message::Input(Input::Due, Requester::Nobody));
        })
    }));
    let reading = env.clone();
    children.push(
        builder.worker(Stage::Intake, "reconciliation", move |stop| {
            reconcile::run(reading.clone(), every, stop)
        }),
    );
    let numbering = env.clone();
    children
        .push(builder.worker(Stage::Intake, "receipts", move |stop| numbering::run(numbering.clone(), stop)));
    let retaining = env.clone();
    children.push(
        builder
            .worker(Stage::Intake, "retention", move |stop| erasure::retain(retaining.clone(), terms, stop)),
    );
    if let Some(fiscal) = fiscal {
        let signing = env.clone();
        children.push(builder.worker(Stage::Intake, "signing", move |stop| {
            fiscal::run(signing.clone(), fiscal.clone(), stop)
        }));
    }
    children.push(builder.service(move |server| endpoints::serve(serving.clone(), server).boxed()));
    builder.start(well, move || children.clone()).await
}
