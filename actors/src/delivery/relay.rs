//! The relay: publishes the outbox to JetStream, straight from memory after the commit, with a sweep of the table
//! behind it for whatever was missed.
//!
//! Invariant: an event is noted as published only after JetStream's ack. What is noted may still be lost by NATS
//! (it acknowledges before fsync; its data may be wiped), so after each connect the last minute, or after a wipe the
//! whole archive, is published again. Every copy has the same id; the inboxes make repeats harmless.

mod flight;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use async_nats::jetstream::context::PublishErrorKind;
use bus::contract::Timestamp;
use bus::event::Outgoing;
use bus::{Bus, topology};
use sqlx::{Connection, PgConnection};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::statements::{self as sql, BATCH_PAGE, OUTBOX_PAGE, Page, Unsent};
use super::within;
use crate::database::Database;
use flight::{Flight, Landed, Landing};

/// Batches of events that may wait in memory; beyond it the sweep takes over.
pub const QUEUE_MAX: usize = 4_096;
/// Publishes without their ack yet: measured, a wider window gains little. All relays of a process together stay below
/// the client's own limit, past which a publish would wait for acks that nobody takes.
const WINDOW: usize = 1_024;
/// Acks are noted in the table together: of this many batches, or after this long.
const MARK_MAX: usize = 512;
const MARK_AFTER: Duration = Duration::from_millis(200);
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Beyond it the database hangs; reading or marking a page takes milliseconds.
const DATABASE_MAX: Duration = Duration::from_secs(10);

/// The events of one group commit.
pub struct Batch {
    pub id: Uuid,
    pub events: Vec<Outgoing>,
}

/// What the relay works with; outlives the worker that runs it.
pub struct Relay {
    database: Database,
    bus: Bus,
    queue: Mutex<mpsc::Receiver<Batch>>,
}

impl Relay {
    pub fn new(database: Database, bus: Bus) -> (mpsc::Sender<Batch>, Arc<Self>) {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        (sender, Arc::new(Self { database, bus, queue: Mutex::new(queue) }))
    }

    /// Runs until `stop`, then publishes what is still in memory. An error (the database or NATS is away) ends one
    /// life of the connections; the next begins.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut tries = 0;
        loop {
            let started = Instant::now();
            tries += 1;
            if let Err(error) = self.relay(&stop).await {
                let error = format!("{error:#}");
                tracing::warn!(domain = self.database.domain, error, tries, "relay interrupted");
            }
            if started.elapsed() > Duration::from_secs(30) {
                tries = 1;
            }
            tokio::select! {
                _ = stop.cancelled() => return Ok(()),
                // A restarted server is back within seconds.
                _ = tokio::time::sleep(bus::retry::delay(tries.min(5), tries)) => {}
            }
        }
    }

    /// One life of the connections: returns on `stop`, and when NATS was connected anew, which calls for publishing
    /// again.
    async fn relay(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut connections = self.bus.connections();
        // Marks need no fsync of their own: a lost mark only means that the row is published once more.
        let options = self.database.options.clone().options([("synchronous_commit", "off")]);
        let connecting = within(DATABASE_MAX, PgConnection::connect_with(&options));
        let mut db = connecting.await.context("connecting to the database")?;
        let mut stream = Stream::default();
        let mut queue = self.queue.lock().await;
        let mut flight = Flight::default();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mark_at =
                flight.since.map_or_else(|| Instant::now() + SWEEP_EVERY, |since| since + MARK_AFTER);
            // The first two come first, so that no load starves them.
            tokio::select! {
                biased;
                // What has its ack is noted first, or a stop that comes soon would leave it looking unsent.
                _ = connections.changed() => return flight.mark(&mut db).await,
                _ = sweep.tick() => if self.bus.is_connected() && !stop.is_cancelled() {
                    if !stream.is_served {
                        stream = self.publish_again(&mut db, &mut flight, stop).await?;
                    }
                    self.sweep(&mut db, &mut flight, &stream, stop).await?;
                },
                landed = flight.next(), if flight.len() > 0 => flight.land(landed),
                batch = queue.recv(), if flight.len() < WINDOW => match batch {
                    // While NATS is away nothing is sent: the rows wait in the table.
                    Some(batch) if self.bus.is_connected() => {
                        self.send(Some(batch.id), batch.events, &mut flight).await;
                    }
                    Some(_) => {}
                    // The journal is gone for good: as good as a stop.
                    None => {
                        flight.settle().await;
                        flight.mark(&mut db).await?;
                        stop.cancelled().await;
                        return Ok(());
                    }
                },
                _ = stop.cancelled(), if queue.is_empty() => {
                    flight.settle().await;
                    return flight.mark(&mut db).await;
                }
                _ = tokio::time::sleep_until(mark_at), if flight.since.is_some() => flight.mark(&mut db).await?,
            }
            if flight.to_note() >= MARK_MAX {
                flight.mark(&mut db).await?;
            }
        }
    }

    /// Publishes events, of a batch whose acks are to be noted or of none, without waiting for the acks, but for room in
    /// the window.
    async fn send(&self, batch: Option<Uuid>, events: Vec<Outgoing>, flight: &mut Flight) {
        let lost = flight.lost;
        flight.take_off(batch, &events);
        let mut events = events.into_iter();
        for event in events.by_ref() {
            while flight.len() >= WINDOW {
                let landed = flight.next().await;
                flight.land(landed);
            }
            let id = event.id;
            let landing = move |landed| Landing { batch, event: id, landed };
            let (span, event) = event.traced();
            match event.send(&self.bus).await {
                Ok(ack) => flight.push(async move {
                    let acked = ack.await;
                    drop(span);
                    let Err(error) = acked else { return landing(Landed::Acked) };
                    tracing::warn!(%id, %error, "not acknowledged; the sweep will send it again");
                    match error.kind() {
                        PublishErrorKind::StreamNotFound => landing(Landed::Refused),
                        _ => landing(Landed::Lost),
                    }
                }),
                Err(bus::Failure::Transient(error)) => {
                    tracing::warn!(%id, error, "not published; the sweep will");
                    flight.land(landing(Landed::Lost));
                }
                Err(bus::Failure::Poison(error)) => {
                    tracing::error!(%id, error, "NATS will never take this event");
                    flight.land(landing(Landed::Refused));
                }
            }
            // The rest would fail the same way, each after its own time-out.
            if flight.lost > lost {
                break;
            }
        }
        for left in events {
            flight.land(Landing { batch, event: left.id, landed: Landed::Lost });
        }
    }

    /// Publishes what is overdue, page by page.
    async fn sweep(
        &self,
        db: &mut PgConnection,
        flight: &mut Flight,
        stream: &Stream,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut after = (Timestamp::from(time::OffsetDateTime::UNIX_EPOCH), Uuid::nil());
        #[cfg(feature = "planted")]
        if bus::config::planted("pointer-relay") {
            after = sql::last_published(db).await?.unwrap_or(after);
        }
        loop {
            let overdue = within(DATABASE_MAX, sql::overdue(db, after)).await?;
            let Some(last) = overdue.last() else { break };
            after = (last.committed_at, last.batch);
            let batches = overdue.len();
            let page = self.read_batches(db, overdue).await?;
            tracing::info!(domain = self.database.domain, batches, "publishing overdue events");
            self.publish_page(db, flight, page, stream).await?;
            if batches < BATCH_PAGE || stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    /// What is unsent of these batches.
    async fn read_batches(
        &self,
        db: &mut PgConnection,
        unsent: Vec<Unsent>,
    ) -> anyhow::Result<Vec<(Option<Uuid>, Vec<Outgoing>)>> {
        let ids: Vec<Uuid> = unsent.iter().flat_map(|batch| &batch.events).copied().collect();
        let found = within(DATABASE_MAX, sql::read_outbox(db, &Page::These(&ids))).await?;
        if found.len() < ids.len() {
            let missing = ids.len() - found.len();
            tracing::error!(domain = self.database.domain, missing, "unsent events are not in the outbox");
        }
        let mut found: HashMap<Uuid, Outgoing> = found.into_iter().map(|event| (event.id, event)).collect();
        let of = |batch: Unsent| {
            let events = batch.events.iter().filter_map(|id| found.remove(id)).collect();
            (Some(batch.batch), events)
        };
        Ok(unsent.into_iter().map(of).collect())
    }

    /// After a connect: streams first, then the last minute, or the whole archive into a stream that is not the one
    /// published to before. One host of the domain does it at a time; while another one does, the stream is not served
    /// yet: that host may die of it.
    async fn publish_again(
        &self,
        db: &mut PgConnection,
        flight: &mut Flight,
        stop: &CancellationToken,
    ) -> anyhow::Result<Stream> {
        topology::ensure_streams(&self.bus).await?;
        let mut stream = Stream { created: self.stream_created().await?, is_served: false };
        // On an error the lock goes with the connection.
        if !advisory(
            db,
            "select pg_try_advisory_lock(hashtext('delivery.relay'), hashtext($1))",
            self.database.domain,
        )
        .await?
        {
            return Ok(stream);
        }
        let remembered = sqlx::query_scalar("select stream_created_at from relay").fetch_optional(&mut *db);
        let remembered: Option<String> = within(DATABASE_MAX, remembered).await?;
        #[cfg(feature = "planted")]
        let remembered = remembered
            .map(|old| if bus::config::planted("blind-to-wipes") { stream.created.clone() } else { old });
        if remembered.as_ref() == Some(&stream.created) {
            let recent = within(DATABASE_MAX, sql::recently_published(db)).await?;
            for ids in recent.chunks(OUTBOX_PAGE) {
                ensure!(!stop.is_cancelled(), "stopped while publishing again");
                let page = within(DATABASE_MAX, sql::read_outbox(db, &Page::These(ids))).await?;
                self.publish_page(db, flight, vec![(None, page)], &stream).await?;
            }
        } else {
            if remembered.is_some() {
                tracing::warn!(
                    domain = self.database.domain,
                    "NATS's data was wiped; publishing the whole archive"
                );
            }
            self.publish_archive(db, flight, &stream, stop).await?;
            let remember = sqlx::query(
                "insert into relay (stream_created_at) values ($1)
                 on conflict (only_row) do update set stream_created_at = excluded.stream_created_at",
            );
            within(DATABASE_MAX, remember.bind(&stream.created).execute(&mut *db)).await?;
        }
        advisory(
            db,
            "select pg_advisory_unlock(hashtext('delivery.relay'), hashtext($1))",
            self.database.domain,
        )
        .await?;
        stream.is_served = true;
        Ok(stream)
    }

    async fn publish_archive(
        &self,
        db: &mut PgConnection,
        flight: &mut Flight,
        stream: &Stream,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut after = Uuid::nil();
        loop {
            ensure!(!stop.is_cancelled(), "stopped while publishing the archive");
            let page = within(DATABASE_MAX, sql::read_outbox(db, &Page::Archive(after))).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            self.publish_page(db, flight, vec![(None, page)], stream).await?;
        }
    }

    /// Publishes one page, waits for every ack and notes them. Fails when NATS did not take some for now; those that
    /// it will never take hold nobody up.
    async fn publish_page(
        &self,
        db: &mut PgConnection,
        flight: &mut Flight,
        page: Vec<(Option<Uuid>, Vec<Outgoing>)>,
        stream: &Stream,
    ) -> anyhow::Result<()> {
        flight.settle().await;
        (flight.lost, flight.refused) = (0, 0);
        for (batch, events) in page {
            self.send(batch, events, flight).await;
            if flight.lost > 0 {
                break;
            }
        }
        flight.settle().await;
        flight.mark(db).await?;
        ensure!(flight.lost == 0, "NATS did not acknowledge {} events", flight.lost);
        if flight.refused > 0 {
            // No stream takes them. Is it their fault, or has the stream gone?
            ensure!(self.stream_created().await? == stream.created, "the stream was replaced");
        }
        Ok(())
    }

    async fn stream_created(&self) -> Result<String, bus::Failure> {
        Ok(topology::events(&self.bus).await?.cached_info().created.to_string())
    }
}

/// The stream that is published to.
#[derive(Default)]
struct Stream {
    /// What tells it from the one before NATS's data was wiped.
    created: String,
    /// The last minute, or the archive, was published again.
    is_served: bool,
}

async fn advisory(db: &mut PgConnection, lock: &'static str, domain: &str) -> Result<bool, sqlx::Error> {
    within(DATABASE_MAX, sqlx::query_scalar(lock).bind(domain).fetch_one(db)).await
}
