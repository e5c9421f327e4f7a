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
use tokio::sync::Notify;

use crate::config::NotificationSettings;
use crate::delivery::{Clock, Journal};
use crate::host::{Host, Parts};
use mailer::Mailer;
use store::Write;

/// Nobody sits and waits for a mail: what was heard and what was sent is written with what else comes within this.
/// Without it every mail sent made a transaction of its own.
const PATIENCE: Duration = Duration::from_millis(200);

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
pub async fn spawn(parts: Parts, settings: NotificationSettings) -> anyhow::Result<Host> {
    let mailer = Mailer::new(&settings)?;
    mailer.check().await?;
    let (journal, well, mut children) = parts.delivery::<Write>(None);
    let env = Arc::new(Env {
        bus: parts.bus.clone(),
        pool: parts.database.pool.clone(),
        clock: parts.clock.clone(),
        journal,
        mailer,
        settings,
        wake: Arc::new(Notify::new()),
    });
    let (hearing, sending, serving) = (env.clone(), env.clone(), env);
    let hear = Arc::new(move |delivery| hear::hear(&hearing, delivery));
    children.push(parts.consumer(hear::CONSUMER, well.clone(), hear));
    children.push(parts.taker("sender", move |stop| sender::run(sending.clone(), stop)));
    children.push(parts.service(move |server| desk::serve(serving.clone(), server).boxed()));
    parts.start(well, move || children.clone()).await
}
