//! The relay: publishes the outbox to JetStream, straight from memory after the commit, with a sweep of the table
//! behind it for whatever was missed.
//!
//! Invariant: a row is marked as published only after JetStream's ack. What is marked may still be lost by NATS
//! (it acknowledges before fsync; its data may be wiped), so after each connect the last minute, or after a wipe the
//! whole archive, is published again. Every copy has the same id; the inboxes make repeats harmless.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::contract::Timestamp;
use bus::event::Outgoing;
use bus::{Bus, Failure, topology};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use sqlx::{Connection, PgConnection};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::statements::{self as sql, OUTBOX_PAGE, Unsent};
use crate::database::Database;

/// Batches of events that may wait in memory; beyond it the sweep takes over.
pub const QUEUE_MAX: usize = 4_096;
/// Publishes without their ack yet: measured, a wider window gains little.
const WINDOW: usize = 1_024;
/// Acks are noted in the table together: this many, or after this long.
const MARK_MAX: usize = 512;
const MARK_AFTER: Duration = Duration::from_millis(50);
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What the relay works with; outlives the worker that runs it.
pub struct Relay {
    database: Database,
    bus: Bus,
    queue: Mutex<mpsc::Receiver<Vec<Outgoing>>>,
}

/// What is in the air and what has landed.
#[derive(Default)]
struct Flight {
    acked: Vec<Uuid>,
    oldest: Option<Timestamp>,
    since: Option<Instant>,
}

type Acks = FuturesUnordered<BoxFuture<'static, Option<(Uuid, Timestamp)>>>;

impl Relay {
    pub fn new(database: Database, bus: Bus) -> (mpsc::Sender<Vec<Outgoing>>, Arc<Self>) {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        (sender, Arc::new(Self { database, bus, queue: Mutex::new(queue) }))
    }

    /// Runs until `stop`, then publishes what is still in memory. An error (the database or NATS is away) ends it;
    /// the loop of [`Self::run`] begins again.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut tries = 0;
        loop {
            let started = Instant::now();
            match self.relay(&stop).await {
                Ok(()) if stop.is_cancelled() => return Ok(()),
                Ok(()) => {}
                Err(error) => tracing::warn!(
                    domain = self.database.domain,
                    error = format!("{error:#}"),
                    "relay interrupted"
                ),
            }
            tries = if started.elapsed() > Duration::from_secs(30) { 1 } else { tries + 1 };
            tokio::select! {
                _ = stop.cancelled() => return Ok(()),
                // A restarted server is back within seconds.
                _ = tokio::time::sleep(bus::retry::delay(tries.min(5), tries)) => {}
            }
        }
    }

    /// One life of the connections: returns when NATS was connected anew, which calls for publishing again.
    async fn relay(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut connections = self.bus.connections();
        connections.mark_unchanged();
        // Marks need no fsync of their own: a lost mark only means that the row is published once more.
        let options = self.database.options.clone().options([("synchronous_commit", "off")]);
        let mut db = PgConnection::connect_with(&options).await.context("connecting to the database")?;
        self.publish_again(&mut db).await?;
        let mut queue = self.queue.lock().await;
        let mut acks = Acks::new();
        let mut flight = Flight::default();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mark_at =
                flight.since.map_or_else(|| Instant::now() + SWEEP_EVERY, |since| since + MARK_AFTER);
            tokio::select! {
                biased;
                Some(acked) = acks.next(), if !acks.is_empty() => flight.land(acked),
                events = queue.recv(), if acks.len() < WINDOW => match events {
                    Some(events) => self.send(events, &mut acks).await,
                    None => return Ok(()),
                },
                _ = stop.cancelled(), if queue.is_empty() => {
                    while let Some(acked) = acks.next().await {
                        flight.land(acked);
                    }
                    return Ok(flight.mark(&mut db).await?);
                }
                _ = connections.changed() => return Ok(()),
                _ = tokio::time::sleep_until(mark_at), if flight.since.is_some() => flight.mark(&mut db).await?,
                _ = sweep.tick() => if self.bus.is_connected() { self.sweep(&mut db).await? },
            }
            if flight.acked.len() >= MARK_MAX {
                flight.mark(&mut db).await?;
            }
        }
    }

    /// Publishes without waiting. While NATS is away nothing is sent: the rows wait in the table.
    async fn send(&self, events: Vec<Outgoing>, acks: &mut Acks) {
        if !self.bus.is_connected() {
            return;
        }
        for event in events {
            let (id, time) = (event.id, event.time);
            match event.send(&self.bus).await {
                Ok(ack) => acks.push(Box::pin(async move {
                    match ack.await {
                        Ok(_) => Some((id, time)),
                        Err(error) => {
                            tracing::warn!(%id, %error, "not acknowledged; the sweep will send it again");
                            None
                        }
                    }
                })),
                Err(error) => tracing::warn!(%id, %error, "not published; the sweep will"),
            }
        }
    }

    /// Publishes what is overdue, page by page.
    async fn sweep(&self, db: &mut PgConnection) -> anyhow::Result<()> {
        loop {
            let overdue = sql::read_outbox(&mut *db, &Unsent::Overdue).await?;
            let page = overdue.len() as i64;
            if page > 0 {
                tracing::info!(domain = self.database.domain, events = page, "publishing overdue events");
                self.publish_page(db, overdue).await?;
            }
            if page < OUTBOX_PAGE {
                return Ok(());
            }
        }
    }

    /// After a connect: streams first, then the last minute, or the whole archive into a stream that is not the one
    /// published to before. One host of the domain does it at a time.
    async fn publish_again(&self, db: &mut PgConnection) -> anyhow::Result<()> {
        topology::ensure_streams(&self.bus).await?;
        let created = topology::events(&self.bus).await?.cached_info().created.to_string();
        sqlx::query("select pg_advisory_lock(hashtext('delivery.relay'), hashtext($1))")
            .bind(self.database.domain)
            .execute(&mut *db)
            .await?;
        let remembered: Option<String> =
            sqlx::query_scalar("select stream_created_at from relay").fetch_optional(&mut *db).await?;
        match remembered {
            Some(remembered) if remembered == created => {
                let recent = sql::read_outbox(&mut *db, &Unsent::Recent).await?;
                for page in recent.chunks(OUTBOX_PAGE as usize) {
                    self.publish_page(db, page.to_vec()).await?;
                }
            }
            remembered => {
                if remembered.is_some() {
                    tracing::warn!(
                        domain = self.database.domain,
                        "NATS's data was wiped; publishing the whole archive"
                    );
                }
                self.publish_archive(db).await?;
            }
        }
        sqlx::query(
            "insert into relay (stream_created_at) values ($1)
             on conflict (only_row) do update set stream_created_at = excluded.stream_created_at",
        )
        .bind(&created)
        .execute(&mut *db)
        .await?;
        sqlx::query("select pg_advisory_unlock(hashtext('delivery.relay'), hashtext($1))")
            .bind(self.database.domain)
            .execute(&mut *db)
            .await?;
        Ok(())
    }

    async fn publish_archive(&self, db: &mut PgConnection) -> anyhow::Result<()> {
        let mut after = (Timestamp::from(time::OffsetDateTime::UNIX_EPOCH), Uuid::nil());
        loop {
            let page = sql::read_outbox(&mut *db, &Unsent::Archive(after.0, after.1)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = (last.time, last.id);
            self.publish_page(db, page).await?;
        }
    }

    /// Publishes one page, waits for every ack and marks the rows.
    async fn publish_page(&self, db: &mut PgConnection, page: Vec<Outgoing>) -> anyhow::Result<()> {
        let mut acks = Vec::with_capacity(page.len());
        let mut flight = Flight::default();
        for event in &page {
            acks.push((event.id, event.time, event.send(&self.bus).await?));
        }
        for (id, time, ack) in acks {
            ack.await.map_err(Failure::transient)?;
            flight.land(Some((id, time)));
        }
        Ok(flight.mark(db).await?)
    }
}

impl Flight {
    fn land(&mut self, acked: Option<(Uuid, Timestamp)>) {
        if let Some((id, time)) = acked {
            self.acked.push(id);
            self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
            self.since.get_or_insert_with(Instant::now);
        }
    }

    async fn mark(&mut self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        if let Some(oldest) = self.oldest {
            sql::mark_published(db, &self.acked, oldest).await?;
            metrics::counter!("events_published_total").increment(self.acked.len() as u64);
        }
        *self = Self::default();
        Ok(())
    }
}
