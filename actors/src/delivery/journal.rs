//! The journal: group commit. It takes all changes that wait and writes them in one transaction; the next batch
//! gathers while one commits, or longer where all of its changes are patient. One connection a domain and host.
//!
//! It writes as if all win and counts rows. If a count is short the batch rolls back, those that came up short run one by
//! one and the others together again; if a statement fails, all run one by one. Only a change that fails alone is rejected or
//! poison. Deadlocks are tried again. When the connection is lost at commit, it finds out by the batch's id before it
//! answers anybody.
//! Invariant: no wait for the database is without a limit of our own: a server that hangs does not close its socket.

mod line;
mod link;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bus::Failure;
use bus::trace::{self, Kind};
use futures::FutureExt;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::statements as sql;
use super::transaction::{Failed, STATEMENTS_MAX, transaction};
use super::{Change, Clock, Outcome, Rows, SeatLock, WriteError, is_away, is_collision, relay, within};
use crate::database::Database;
use line::{Entry, Line, Reply};
use link::Link;

/// An idle journal looks this often whether the database is there, so that consumers stop pulling when it is not.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Tries of one batch that collides with another host's.
const COLLISIONS_MAX: u32 = 5;
/// How often those that came up short are taken out of a batch; with so many of them all run one by one.
const ROUNDS_MAX: u32 = 3;
/// Longest run of changes one by one, of which some may each be stuck behind a lock.
const ONE_BY_ONE_MAX: Duration = Duration::from_secs(10);

/// A handle to the journal, cheap to clone.
pub struct Journal<R: Rows>(mpsc::UnboundedSender<Entry<R>>);

impl<R: Rows> Clone for Journal<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Rows> Journal<R> {
    /// Hands in a change; `tell` is called once with its outcome. The queue is unbounded, yet bounded in fact by the
    /// requests and deliveries in flight.
    pub fn write(&self, change: Change<R>, tell: impl FnOnce(Outcome<R>) + Send + 'static) {
        let reply = Reply::new(tell);
        // When the journal is gone for good the entry is dropped and with it told.
        let _ = self.0.send(Entry { change, reply, since: Instant::now(), past_lock: false });
    }

    /// Hands in a change and waits for its outcome.
    pub async fn commit(&self, change: Change<R>) -> Outcome<R> {
        let (sender, outcome) = tokio::sync::oneshot::channel();
        self.write(change, move |outcome| {
            let _ = sender.send(outcome);
        });
        outcome.await.unwrap_or_else(|_| Outcome::Failed(Failure::transient("the journal stopped")))
    }
}

/// What a journal works with. It outlives the worker that runs it, so that a restarted worker goes on with what
/// still waits.
pub struct JournalParts<R: Rows> {
    database: Database,
    clock: Clock,
    line: Mutex<Line<R>>,
    relay: mpsc::Sender<relay::Batch>,
    notify: async_nats::Client,
    lock: Option<SeatLock>,
    well: watch::Sender<bool>,
}

impl<R: Rows> JournalParts<R> {
    pub fn new(
        database: Database,
        clock: Clock,
        relay: mpsc::Sender<relay::Batch>,
        notify: async_nats::Client,
        lock: Option<SeatLock>,
    ) -> (Journal<R>, Arc<Self>, watch::Receiver<bool>) {
        let (sender, queue) = mpsc::unbounded_channel();
        let (well, wellness) = watch::channel(true);
        let line = Mutex::new(Line { front: VecDeque::new(), queue });
        let parts = Self { database, clock, line, relay, notify, lock, well };
        (Journal(sender), Arc::new(parts), wellness)
    }

    /// Runs until `stop`, then writes what still waits and returns.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut line = self.line.lock().await;
        let mut link = Link { database: &self.database, well: &self.well, open: None };
        let mut beat = tokio::time::interval(HEARTBEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stopping = false;
        loop {
            if link.open.is_none() && !self.connect(&mut link, &mut line, &stop).await {
                break;
            }
            tokio::select! {
                biased;
                _ = stop.cancelled(), if !stopping => {
                    stopping = true;
                    line.queue.close();
                }
                ripe = line.ripe() => {
                    if !ripe {
                        break;
                    }
                    let batch = line.take();
                    let left = line.meanwhile(self.write_batch(&mut link, batch)).await;
                    line.put_back(left);
                }
                _ = beat.tick() => link.check().await,
            }
        }
        line.close();
        Ok(())
    }

    /// Connects, however long it takes. False on `stop`.
    async fn connect(&self, link: &mut Link<'_>, line: &mut Line<R>, stop: &CancellationToken) -> bool {
        let mut tries = 0u64;
        loop {
            let opened = tokio::select! {
                _ = stop.cancelled(), if tries > 0 => return false,
                opened = line.meanwhile(link.get()) => opened.map(|_| ()),
            };
            let Err(error) = opened else { return true };
            if tries == 0 {
                tracing::error!(domain = self.database.domain, %error, "the database is away");
            }
            tries += 1;
            tokio::select! {
                _ = stop.cancelled() => return false,
                _ = line.meanwhile(tokio::time::sleep(bus::retry::delay(tries.min(4), tries))) => {}
            }
        }
    }

    /// Writes a batch and tells everyone but those it returns: they were put off by the seat lock or an outage.
    async fn write_batch(&self, link: &mut Link<'_>, batch: Vec<Entry<R>>) -> Vec<Entry<R>> {
        let token = Uuid::now_v7();
        let (batch, mut left) = self.take_locks(token, batch).await;
        if !batch.is_empty() {
            metrics::histogram!("journal_batch_size", "domain" => self.database.domain)
                .record(batch.len() as f64);
            let started = Instant::now();
            #[cfg(feature = "planted")]
            if bus::config::planted("publish-before-commit") {
                let events = batch.iter().flat_map(|entry| entry.change.outbox.iter().cloned()).collect();
                let _ = self.relay.try_send(relay::Batch { id: Uuid::nil(), events });
            }
            let (put_off, alone) = self.together(link, batch).await;
            metrics::histogram!("journal_commit_seconds", "domain" => self.database.domain)
                .record(started.elapsed().as_secs_f64());
            left.extend(put_off);
            left.extend(self.one_by_one(link, alone).await);
        }
        if let Some(lock) = &self.lock {
            lock.release(token).await;
        }
        left
    }

    /// Writes as many as go together. Returns those that an outage kept from being written, and those to be written alone.
    async fn together(
        &self,
        link: &mut Link<'_>,
        mut batch: Vec<Entry<R>>,
    ) -> (Vec<Entry<R>>, Vec<Entry<R>>) {
        let mut alone = Vec::new();
        for round in 0.. {
            let changes: Vec<&Change<R>> = batch.iter().map(|entry| &entry.change).collect();
            match self.attempt(link, &changes).await {
                Ok((id, outcomes)) => {
                    self.tell(id, batch, outcomes);
                    break;
                }
                Err(BatchError::Away(why)) => {
                    batch.append(&mut alone);
                    return (not_overdue(batch, &why), alone);
                }
                Err(error) if batch.len() == 1 => {
                    batch.remove(0).reply.tell(error.into_outcome());
                    break;
                }
                Err(BatchError::Refused(WriteError::Short(short)))
                    if round < ROUNDS_MAX && !short.is_empty() && short.len() < batch.len() =>
                {
                    let entries = batch.into_iter().enumerate();
                    let (out, rest): (Vec<_>, Vec<_>) = entries.partition(|(index, _)| short.contains(index));
                    alone.extend(out.into_iter().map(|(_, entry)| entry));
                    batch = rest.into_iter().map(|(_, entry)| entry).collect();
                }
                Err(_) => {
                    alone.append(&mut batch);
                    break;
                }
            }
        }
        (Vec::new(), alone)
    }

    /// Returns those that an outage kept from being written.
    async fn one_by_one(&self, link: &mut Link<'_>, batch: Vec<Entry<R>>) -> Vec<Entry<R>> {
        if batch.is_empty() {
            return batch;
        }
        metrics::counter!("journal_fallbacks_total", "domain" => self.database.domain).increment(1);
        let started = Instant::now();
        let mut rest = batch.into_iter();
        while let Some(entry) = rest.next() {
            if started.elapsed() > ONE_BY_ONE_MAX {
                entry.give_up("others of the batch were stuck behind a lock");
                continue;
            }
            match self.attempt(link, &[&entry.change]).await {
                Ok((id, outcomes)) => self.tell(id, vec![entry], outcomes),
                Err(BatchError::Away(why)) => {
                    return not_overdue(std::iter::once(entry).chain(rest).collect(), &why);
                }
                Err(error) => entry.reply.tell(error.into_outcome()),
            }
        }
        Vec::new()
    }

    async fn take_locks(&self, token: Uuid, batch: Vec<Entry<R>>) -> (Vec<Entry<R>>, Vec<Entry<R>>) {
        let Some(lock) = &self.lock else { return (batch, Vec::new()) };
        let wanted: Vec<Vec<String>> =
            batch.iter().map(|e| if e.past_lock { Vec::new() } else { e.change.rows.lock_keys() }).collect();
        let granted = lock.acquire(token, &wanted).await;
        let (mut now, mut later) = (Vec::with_capacity(batch.len()), Vec::new());
        for (mut entry, granted) in batch.into_iter().zip(granted) {
            if granted {
                now.push(entry);
            } else {
                entry.past_lock = true;
                later.push(entry);
            }
        }
        (now, later)
    }

    /// One transaction, tried again when it collides, and the id of the batch that was committed. Connects anew where the
    /// last attempt lost the connection.
    async fn attempt(
        &self,
        link: &mut Link<'_>,
        changes: &[&Change<R>],
    ) -> Result<(Uuid, Vec<Outcome<R>>), BatchError<R::Rejection>> {
        let domain = self.database.domain;
        let mut collisions = 0;
        loop {
            let open = link.get().await.map_err(|error| BatchError::Away(error.to_string()))?;
            let id = Uuid::now_v7();
            match transaction(open, id, changes).await {
                Ok(written) => {
                    self.clock.set(written.at, written.read);
                    return Ok((id, written.outcomes));
                }
                Err(Failed::Before(WriteError::Sql(error))) if is_away(&error) => {
                    link.lose();
                    tracing::warn!(domain, %error, "lost the database; nothing was written");
                    return Err(BatchError::Away(error.to_string()));
                }
                Err(Failed::Before(WriteError::Sql(error)))
                    if is_collision(&error) && collisions < COLLISIONS_MAX =>
                {
                    collisions += 1;
                    metrics::counter!("journal_collisions_total", "domain" => domain).increment(1);
                    tokio::time::sleep(Duration::from_millis(u64::from(collisions) * 2)).await;
                }
                Err(Failed::Before(error)) => return Err(BatchError::Refused(error)),
                Err(Failed::AtCommit(error, written)) => {
                    link.lose();
                    tracing::warn!(domain, %error, "lost the database at commit; finding out");
                    let committed = find_out(link, id).await;
                    tracing::info!(domain, committed, "found out about the cut-off commit");
                    if committed {
                        self.clock.set(written.at, written.read);
                        return Ok((id, written.outcomes));
                    }
                    return Err(BatchError::Away(error.to_string()));
                }
            }
        }
    }

    /// Nothing in here waits or fails: whatever happens, a committed change is told so.
    fn tell(&self, id: Uuid, batch: Vec<Entry<R>>, outcomes: Vec<Outcome<R>>) {
        let mut events = Vec::new();
        let mut committed = Vec::new();
        for (entry, outcome) in batch.iter().zip(&outcomes) {
            if let Outcome::Committed { written, .. } = outcome {
                if let Some(event) = entry.change.outbox.first() {
                    let facts = [("journal.batch", batch.len() as i64)];
                    trace::note(
                        Kind::Internal,
                        "journal commit",
                        &event.context,
                        entry.since.elapsed(),
                        &facts,
                    );
                }
                events.extend(entry.change.outbox.iter().cloned());
                committed.push((&entry.change.rows, written));
            }
        }
        // A full queue is no loss: the relay's sweep finds the rows.
        if !events.is_empty() && self.relay.try_send(relay::Batch { id, events }).is_err() {
            metrics::counter!("relay_overflow_total", "domain" => self.database.domain).increment(1);
        }
        let notices = catch_unwind(AssertUnwindSafe(|| R::notices(&committed))).unwrap_or_else(|_| {
            tracing::error!(domain = self.database.domain, "making the notices of a batch panicked");
            Vec::new()
        });
        for (entry, outcome) in batch.into_iter().zip(outcomes) {
            entry.reply.tell(outcome);
        }
        self.notify(notices);
    }

    /// Notices are dropped rather than waited for (listeners see the gap and read again): while NATS is away the
    /// client's queue is full, and a journal that waited for room would stop all commits.
    fn notify(&self, notices: Vec<(String, bytes::Bytes)>) {
        let connected = self.notify.connection_state() == async_nats::connection::State::Connected;
        for (subject, payload) in notices {
            let publish = tokio::task::unconstrained(self.notify.publish(subject, payload));
            if !connected || !matches!(publish.now_or_never(), Some(Ok(()))) {
                metrics::counter!("notices_dropped_total", "domain" => self.database.domain).increment(1);
            }
        }
    }
}

/// After an outage: those that may still wait; the others are told.
fn not_overdue<R: Rows>(entries: Vec<Entry<R>>, why: &str) -> Vec<Entry<R>> {
    let (overdue, left): (Vec<_>, Vec<_>) = entries.into_iter().partition(Entry::is_overdue);
    overdue.into_iter().for_each(|entry| entry.give_up(why));
    left
}

/// Asks until the database says whether the batch was committed: nobody may be told anything before.
async fn find_out(link: &mut Link<'_>, id: Uuid) -> bool {
    let mut tries = 0u64;
    loop {
        let found = match link.get().await {
            Ok(open) => within(STATEMENTS_MAX, sql::was_committed(open, id)).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(committed) => return committed,
            Err(_) => {
                link.lose();
                tries += 1;
                tokio::time::sleep(bus::retry::delay(tries.min(4), tries)).await;
            }
        }
    }
}

enum BatchError<R> {
    /// Nothing was written; the database is away.
    Away(String),
    Refused(WriteError<R>),
}

impl<R> BatchError<R> {
    /// What a change that was written alone is told.
    fn into_outcome<W: Rows<Rejection = R>>(self) -> Outcome<W> {
        match self {
            Self::Away(why) => Outcome::Failed(Failure::transient(why)),
            Self::Refused(WriteError::Rejected(rejection)) => Outcome::Rejected(rejection),
            Self::Refused(WriteError::Stale | WriteError::Short(_)) => Outcome::Stale,
            // Still colliding after all tries, or not the change's own fault: it may pass later.
            Self::Refused(WriteError::Sql(error)) if is_collision(&error) || is_passing(&error) => {
                Outcome::Failed(Failure::transient(error))
            }
            Self::Refused(WriteError::Sql(error)) => Outcome::Failed(Failure::poison(error)),
        }
    }
}

/// Stuck behind a lock (57014, 55P03), or a host that is newer than its tables or has not the rights (3F, 42).
fn is_passing(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.code().is_some_and(|c|
        c == "57014" || c == "55P03" || c.starts_with("3F") || c.starts_with("42")))
}
