//! Notification owns the mails to moviegoers with their log, and projections of the reservations and showtimes that they
//! are about.
//!
//! Invariant: one mail for each kind and subject (`one_mail`), however often an event is delivered.
//! Invariant: a mail is claimed under a version before it is sent and marked under the same one after. When a host ends in
//! between, the claim runs out and the mail is sent again with the same `Message-ID`, so that mail programs show it once.
//! Invariant: whether a mail is still true is decided when it is sent, not when its event was handled.
//! It decides nothing about reservations or money, and sends nothing inside a transaction.

mod address;
mod bounds;
mod calendar;
mod consumer;
mod day;
mod endpoints;
mod format;
mod mailer;
mod marker;
mod message;
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

use futures::FutureExt;
use sqlx::migrate::Migrator;

use crate::config::NotificationSettings;
use crate::domain::{Domain, Tools, configure, consume};
use crate::host::{DomainBuilder, Host, Stage};
use mailer::Mailer;
use sender::NextLook;
use store::Write;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/notification");

pub const DOMAIN: Domain = Domain {
    name: "notification",
    consumer: Some(consumer::CONSUMER),
    publishes: &[],
    migrations: Some(&MIGRATIONS),
    configure: |environment| configure("notification", environment, NotificationSettings::read, spawn),
};

/// No request waits for a mail: events are written, and sent mails are marked, together with all others of this time.
const GATHER: Duration = Duration::from_millis(200);

/// Longest wait for another host that a mail needs.
const ASK_MAX: Duration = Duration::from_secs(5);

/// What consumer, endpoints and sender work with.
struct Env {
    tools: Tools<Write>,
    mailer: Mailer,
    settings: NotificationSettings,
    next_look: NextLook,
}

impl std::ops::Deref for Env {
    type Target = Tools<Write>;
    fn deref(&self) -> &Tools<Write> {
        &self.tools
    }
}

/// Starts the host. The process must have chosen its rustls crypto provider before.
pub async fn spawn(builder: DomainBuilder, settings: NotificationSettings) -> anyhow::Result<Host> {
    let mailer = Mailer::new(&settings)?;
    mailer.check().await?;
    let (journal, database_up, mut children) = builder.delivery::<Write>();
    let env =
        Arc::new(Env { tools: Tools::new(&builder, journal), mailer, settings, next_look: NextLook::new() });
    let handle = consume(&env, |env, delivery| consumer::handle(env, delivery).boxed());
    children.push(builder.consumer(consumer::CONSUMER, database_up.clone(), handle));
    let sending = env.clone();
    children.push(builder.worker(Stage::Intake, "sender", move |stop| sender::run(sending.clone(), stop)));
    children.push(builder.service(move |server| endpoints::serve(env.clone(), server).boxed()));
    builder.start(database_up, move || children.clone()).await
}
