//! Notification owns the mails to moviegoers with their log, and projections of the reservations and showtimes that they
//! are about.
//!
//! Invariant: one mail for each kind and subject (`one_mail`), however often an event is delivered.
//! Invariant: a mail is claimed under a version before it is sent and marked under the same one after. When a host ends in
//! between, the claim runs out and the mail is sent again with the same `Message-ID`, so that mail programs show it once.
//! Invariant: whether a mail is still true is decided when it is sent, not when its event was handled.
//! Invariant: after a restore from a backup no mail of an earlier event is sent without a person's decision.
//! It decides nothing about reservations or money, and sends nothing inside a transaction.

mod address;
mod bounds;
mod calendar;
mod code;
mod consumer;
mod day;
mod enclosed;
mod endpoints;
mod erasure;
mod face;
mod facts;
mod format;
mod logo;
mod look;
mod mailer;
mod marker;
mod message;
mod model;
mod order;
mod pdf;
mod picture;
mod receipt;
mod sender;
mod showing;
mod smtp;
mod store;
mod stream;
mod structured;
mod texts;
mod ticket;
mod typeface;
mod typesetting;
mod wording;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bus::contract::Timestamp;
use futures::FutureExt;
use sqlx::migrate::Migrator;

use crate::config::NotificationSettings;
use crate::domain::{Domain, Tools, configure, consume};
use crate::host::{DomainBuilder, Host, Stage};
use crate::site_copy::SiteCopy;
use face::Faces;
use logo::LogoCopy;
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

/// What consumer, endpoints and sender work with.
struct Env {
    tools: Tools<Write>,
    mailer: Mailer,
    sites: Arc<SiteCopy>,
    faces: Faces,
    logo: LogoCopy,
    settings: Arc<NotificationSettings>,
    next_look: NextLook,
    /// When the database was last restored; read once, since hosts are stopped for a restore.
    restored_at: Option<Timestamp>,
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
    let (tools, settings) = (Tools::new(&builder, journal), Arc::new(settings));
    let sites = SiteCopy::load(&builder.database.pool).await?;
    children.push(sites.child(&builder));
    let restored_at = store::restored_at(&builder.database.pool).await?;
    let (faces, logo, next_look) = (Faces::default(), LogoCopy::default(), NextLook::new());
    let env = Arc::new(Env { tools, mailer, sites, faces, logo, settings, next_look, restored_at });
    let handle = consume(&env, |env, delivery| consumer::handle(env, delivery).boxed());
    children.push(builder.consumer(consumer::CONSUMER, database_up.clone(), handle));
    let sending = env.clone();
    children.push(builder.worker(Stage::Intake, "sender", move |stop| sender::run(sending.clone(), stop)));
    let showing = env.clone();
    children.push(builder.worker(Stage::Intake, "logo", move |stop| logo::keep(showing.clone(), stop)));
    if let Some(keep) = env.settings.retention {
        let retaining = env.clone();
        children.push(
            builder.worker(Stage::Intake, "retention", move |stop| {
                erasure::retain(retaining.clone(), keep, stop)
            }),
        );
    }
    children.push(builder.service(move |server| endpoints::serve(env.clone(), server).boxed()));
    builder.start(database_up, move || children.clone()).await
}
