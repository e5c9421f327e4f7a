//! Notification owns the mails to moviegoers and their log, and a projection of whom they are about.
//!
//! Invariant: one mail for each kind and what it is about (`one_mail`), however often an event comes.
//! Invariant: a mail is claimed under a version before it is sent and marked under the same one after. A host that ends in
//! between sends it again when the claim has run out: with the same `Message-ID`, by which mail programs show it once.
//! Invariant: whether a mail is still true is judged when its turn comes, not when its event came.
//! It decides nothing about reservations or money, and sends nothing inside a transaction.

mod address;
mod bounds;
mod calendar;
mod day;
mod desk;
mod format;
mod hear;
mod letter;
mod mailer;
mod model;
mod order;
mod sender;
mod smtp;
mod store;
mod ticket;
mod winansi;
mod wording;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use futures::FutureExt;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio::sync::Notify;

use crate::config::NotificationSettings;
use crate::delivery::{Clock, Journal};
use crate::domain::{Domain, configure};
use crate::host::{DomainBuilder, Host, Stage};
use mailer::Mailer;
use store::Write;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/notification");

pub const DOMAIN: Domain = Domain {
    name: "notification",
    consumer: Some(hear::CONSUMER),
    publishes: &[],
    migrations: Some(&MIGRATIONS),
    configure: |environment| configure("notification", environment, NotificationSettings::read, spawn),
};

/// Nobody sits and waits for a mail: what was heard and what was sent is written with what else comes within this.
/// Without it every mail sent made a transaction of its own.
const MAX_DELAY: Duration = Duration::from_millis(200);

/// What consumer, endpoints and sender work with.
pub struct Env {
    bus: Bus,
    pool: PgPool,
    clock: Clock,
    journal: Journal<Write>,
    mailer: Mailer,
    settings: NotificationSettings,
    /// Tells the sender that there is something to send.
    wake: Arc<Notify>,
}

/// Starts the host. The process must have chosen its rustls crypto provider before.
pub async fn spawn(builder: DomainBuilder, settings: NotificationSettings) -> anyhow::Result<Host> {
    let mailer = Mailer::new(&settings)?;
    mailer.check().await?;
    let (journal, well, mut children) = builder.delivery::<Write>(None);
    let env = Arc::new(Env {
        bus: builder.bus.clone(),
        pool: builder.database.pool.clone(),
        clock: builder.clock.clone(),
        journal,
        mailer,
        settings,
        wake: Arc::new(Notify::new()),
    });
    let (hearing, sending, serving) = (env.clone(), env.clone(), env);
    let hear = Arc::new(move |delivery| hear::hear(&hearing, delivery));
    children.push(builder.consumer(hear::CONSUMER, well.clone(), hear));
    children.push(builder.worker(Stage::Intake, "sender", move |stop| sender::run(sending.clone(), stop)));
    children.push(builder.service(move |server| desk::serve(serving.clone(), server).boxed()));
    builder.start(well, move || children.clone()).await
}
