//! The relay: publishes events to JetStream, straight from memory after the commit, and a sweep of the table publishes every
//! batch that was missed.
//!
//! Invariant: an event is published only when its commit is durable, and a batch is marked as published only after JetStream's
//! acks. NATS may still lose marked events (it acknowledges before fsync; its data may be wiped), so after each connect the last
//! minutes, or after a wipe the whole archive, are published again. Every copy has the same id, and handlers are idempotent.

mod again;
mod progress;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use async_nats::jetstream::context::PublishErrorKind;
use bus::Bus;
use bus::event::Outgoing;
use sqlx::PgConnection;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::statements::archive::{self as sql, Places};
use super::statements::batch::BatchKey;
use super::{Database, within};
use again::Again;
use progress::{End, Progress, PublishResult};

/// Batches that may wait in memory; beyond it the sweep takes over.
pub const QUEUE_MAX: usize = 4_096;
/// Publishes without their ack yet: measured, a wider window gains little. All relays of a process together stay below
/// the client's own limit, past which a publish would wait for acks that nothing takes.
const WINDOW: usize = 1_024;
/// Marks are gathered: one update of a row for all batches of this time.
const MARK_AFTER: Duration = Duration::from_millis(700);
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Between the pages of an archive that is published again: new events go first, and consumers keep up.
const ARCHIVE_EVERY: Duration = Duration::from_millis(50);
/// After this the database counts as hanging; reading or marking a page takes milliseconds.
const DATABASE_MAX: Duration = Duration::from_secs(10);

/// The events of one group commit.
pub struct Batch {
    pub key: BatchKey,
    pub events: Vec<Outgoing>,
}

/// The journal's handle to the relay.
#[derive(Clone)]
pub struct Sender {
    queue: mpsc::Sender<Batch>,
    /// Batches that the queue had no room for.
    overflow: mpsc::UnboundedSender<BatchKey>,
    domain: &'static str,
    #[cfg(feature = "planted")]
    bus: Bus,
}

impl Sender {
    /// Never waits. A full queue is no loss: the relay's sweep finds the batch.
    pub fn send(&self, batch: Batch) {
        let Err(error) = self.queue.try_send(batch) else { return };
        metrics::counter!("relay_overflow_total", "domain" => self.domain).increment(1);
        let _ = self.overflow.send(error.into_inner().key);
    }

    /// A planted bug: events are published before their transaction.
    #[cfg(feature = "planted")]
    pub fn send_uncommitted(&self, events: Vec<Outgoing>) {
        let bus = self.bus.clone();
        tokio::spawn(async move {
            for event in events {
                let _ = event.send(&bus).await;
            }
        });
    }
}

/// The environment and state of the relay; outlives the worker that runs it.
pub struct Relay {
    database: Database,
    bus: Bus,
    state: Mutex<State>,
}

struct State {
    queue: mpsc::Receiver<Batch>,
    overflow: mpsc::UnboundedReceiver<BatchKey>,
    progress: Progress,
}

impl Relay {
    pub fn new(database: Database, bus: Bus) -> (Sender, Arc<Self>) {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let (overflow, missed) = mpsc::unbounded_channel();
        let sender = Sender {
            queue: sender,
            overflow,
            domain: database.domain,
            #[cfg(feature = "planted")]
            bus: bus.clone(),
        };
        let state = Mutex::new(State { queue, overflow: missed, progress: Progress::default() });
        (sender, Arc::new(Self { database, bus, state }))
    }

    /// Runs until `stop`, then publishes the batches that are still in memory. An error (the database or NATS is away) ends one
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

    /// One life of the connections: returns on `stop`, and when NATS was connected again, which requires publishing again.
    async fn relay(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut connections = self.bus.connections();
        // Marks need no fsync of their own: a lost mark only means that the batches are published once more.
        let settings = [("synchronous_commit", "off")];
        let connecting = within(DATABASE_MAX, self.database.open(&settings));
        let mut db = connecting.await.context("connecting to the database")?;
        let State { queue, overflow, progress } = &mut *self.state.lock().await;
        // Publishes in flight of an earlier life.
        progress.give_up();
        let mut again = Again::default();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut archive = tokio::time::interval(ARCHIVE_EVERY);
        archive.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mark_at =
                progress.mark_since.map_or_else(|| Instant::now() + SWEEP_EVERY, |since| since + MARK_AFTER);
            // In this order, so that no load starves the first ones.
            tokio::select! {
                biased;
                // Acknowledged batches are marked first, or after a soon stop they would count as unsent.
                _ = connections.changed() => return progress.mark(&mut db).await,
                _ = sweep.tick() => if self.bus.is_connected() && !stop.is_cancelled() {
                    if !again.is_begun() {
                        again.begin(self).await?;
                    }
                    self.sweep(&mut db, progress, &again, stop).await?;
                    again.follow_up(self, &mut db, progress, stop).await?;
                },
                Some(key) = overflow.recv() => progress.miss(key),
                result = progress.next(), if progress.in_flight() > 0 => progress.end(result),
                batch = queue.recv(), if progress.in_flight() < WINDOW => match batch {
                    // While NATS is away nothing is sent: the rows wait in the table.
                    Some(batch) if self.bus.is_connected() => {
                        progress.begin(batch.key, batch.events.len());
                        self.send(Some(batch.key), batch.events, progress).await;
                    }
                    Some(batch) => {
                        progress.begin(batch.key, 0);
                        if !batch.events.is_empty() {
                            progress.miss(batch.key);
                        }
                    }
                    // The journal has ended: the same as a stop.
                    None => {
                        progress.settle().await;
                        progress.mark(&mut db).await?;
                        stop.cancelled().await;
                        return Ok(());
                    }
                },
                _ = stop.cancelled(), if queue.is_empty() => {
                    progress.settle().await;
                    return progress.mark(&mut db).await;
                }
                _ = tokio::time::sleep_until(mark_at), if progress.mark_since.is_some() => {
                    progress.mark(&mut db).await?;
                }
                _ = archive.tick(), if again.has_archive() && self.bus.is_connected() => {
                    again.publish_page_of_archive(self, &mut db, progress).await?;
                }
            }
        }
    }

    /// Publishes events, of a batch whose progress is followed or of none, without waiting for the acks, but for room in
    /// the window.
    async fn send(&self, batch: Option<BatchKey>, events: Vec<Outgoing>, progress: &mut Progress) {
        let lost = progress.lost;
        let mut events = events.into_iter();
        for event in events.by_ref() {
            while progress.in_flight() >= WINDOW {
                let result = progress.next().await;
                progress.end(result);
            }
            let id = event.id;
            let kept = event.clone();
            let result = move |end| PublishResult { batch, event: kept, end };
            let (span, event) = event.traced();
            match event.send(&self.bus).await {
                Ok(ack) => progress.push(async move {
                    let acked = ack.await;
                    drop(span);
                    let Err(error) = acked else { return result(End::Acked) };
                    tracing::warn!(%id, %error, "not acknowledged; the sweep will send it again");
                    match error.kind() {
                        PublishErrorKind::StreamNotFound => result(End::Refused),
                        _ => result(End::Lost),
                    }
                }),
                Err(bus::Failure::Transient(error)) => {
                    tracing::warn!(%id, error, "not published; the sweep will");
                    progress.end(result(End::Lost));
                }
                Err(bus::Failure::Poison(error)) => {
                    tracing::error!(%id, error, "NATS refuses this event permanently");
                    progress.end(result(End::Refused));
                }
            }
            // The rest would fail the same way, each after its own time-out.
            if progress.lost > lost {
                break;
            }
        }
        for event in events {
            progress.end(PublishResult { batch, event, end: End::Lost });
        }
    }

    /// Publishes overdue batches, page by page.
    async fn sweep(
        &self,
        db: &mut PgConnection,
        progress: &mut Progress,
        again: &Again,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut after = Places::new();
        #[cfg(feature = "planted")]
        if bus::config::planted("pointer-relay") {
            after = sql::pointer(db).await?;
        }
        loop {
            let page = within(DATABASE_MAX, sql::overdue(db, &after)).await?;
            if page.is_empty() {
                return Ok(());
            }
            after.extend(page.iter().map(|batch| (batch.key.journal, batch.key.number)));
            let page: Vec<sql::Batch> = page.into_iter().filter(|batch| !progress.has(&batch.key)).collect();
            if page.is_empty() {
                continue;
            }
            tracing::info!(domain = self.database.domain, batches = page.len(), "publishing overdue events");
            let page = page.into_iter().map(|batch| (Some(batch.key), batch.events)).collect();
            self.publish_page(db, progress, page, again).await?;
            if stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Publishes one page that was read from the table, waits for every ack and marks it. Fails when NATS refused some events
    /// temporarily; permanently refused ones delay no other.
    async fn publish_page(
        &self,
        db: &mut PgConnection,
        progress: &mut Progress,
        page: Vec<(Option<BatchKey>, Vec<Outgoing>)>,
        again: &Again,
    ) -> anyhow::Result<()> {
        // Another host's commit may be visible before it is durable. What is sent from memory has been answered.
        within(DATABASE_MAX, sql::until_durable(db))
            .await
            .context("waiting until what was read is durable")?;
        progress.settle().await;
        (progress.lost, progress.refusals) = (0, 0);
        progress.accepted.clear();
        for (key, events) in page {
            if let Some(key) = key {
                progress.begin_swept(key, events.len());
            }
            self.send(key, events, progress).await;
            if progress.lost > 0 {
                break;
            }
        }
        progress.settle().await;
        let lost = progress.lost;
        if lost == 0 && progress.refusals > 0 {
            // No stream accepts some events: either they are invalid, or the stream is deleted.
            again.ensure_same_stream(self).await?;
        }
        progress.mark(db).await?;
        ensure!(lost == 0, "NATS did not acknowledge {lost} events");
        Ok(())
    }
}
