//! The journal: group commit. It takes all changes that wait and writes them in one transaction; the next batch gathers while
//! one commits, or longer where all of its changes have a delay. One connection for each domain and host.
//!
//! It writes as if every change would succeed, those that are part of one statement apart from those that take a dialogue. Where rows
//! are not found as expected nothing of the batch is written; those changes run one by one, since others of the batch may be
//! the reason, and the others together again; if a statement fails, all run one by one. Only a change that fails alone
//! is rejected or poison. Deadlocks are tried again. When the answer to a commit is lost, the journal reads the batch
//! by its key before it reports any outcome.
//! Invariant: every wait for the database has a limit of our own: a server that hangs does not close its socket.

mod connection;
mod queue;

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

use super::statements as sql;
use super::statements::batch::{BatchKey, Reported};
use super::write::{Failed, STATEMENTS_MAX, write};
use super::{
    Change, Clock, Database, IdempotencyWrite, Loss, Outcome, Rows, WriteError, is_away, is_collision, relay,
    within,
};
use connection::Connection;
use queue::{Entry, Queue, Reply};

/// An idle journal checks this often whether the database is available, so that consumers stop pulling when it is not.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Tries of one batch that collides with another host's.
const COLLISIONS_MAX: u32 = 5;
/// How often changes that lose are taken out of a batch; after that all run one by one.
const ROUNDS_MAX: u32 = 3;
/// Longest run of changes one by one, of which some may each be stuck behind a lock.
const ONE_BY_ONE_MAX: Duration = Duration::from_secs(10);
/// How far the clock may be set back by the time between the database's reading and ours; it runs on by itself meanwhile.
const CLOCK_ERROR_MAX: Duration = Duration::from_millis(50);
/// Bytes of one event: `max_payload` of `nats.conf` less its headers.
const EVENT_MAX: usize = 1_000_000;

/// A handle to the journal, cheap to clone.
pub struct Journal<R: Rows>(mpsc::UnboundedSender<Entry<R>>);

impl<R: Rows> Clone for Journal<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Rows> Journal<R> {
    /// Hands in a change; `report` is called once with its outcome. The queue is unbounded, yet bounded in fact by the
    /// requests and deliveries in flight.
    pub fn write(&self, change: Change<R>, report: impl FnOnce(Outcome<R>) + Send + 'static) {
        let reply = Reply::new(report);
        // When the journal is gone for good the entry is dropped, which reports a failure.
        let _ = self.0.send(Entry { change, reply, since: Instant::now() });
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

/// The environment and queue of a journal. It outlives the worker that runs it, so that a restarted worker continues with the
/// changes that still wait.
pub struct JournalParts<R: Rows> {
    database: Database,
    clock: Clock,
    queue: Mutex<Queue<R>>,
    relay: relay::Sender,
    notify: async_nats::Client,
    database_up: watch::Sender<bool>,
}

impl<R: Rows> JournalParts<R> {
    pub fn new(
        database: Database,
        clock: Clock,
        relay: relay::Sender,
        notify: async_nats::Client,
    ) -> (Journal<R>, Arc<Self>, watch::Receiver<bool>) {
        let (sender, received) = mpsc::unbounded_channel();
        let (database_up, availability) = watch::channel(true);
        let queue = Mutex::new(Queue { front: VecDeque::new(), received });
        let parts = Self { database, clock, queue, relay, notify, database_up };
        (Journal(sender), Arc::new(parts), availability)
    }

    /// Runs until `stop`, then writes the changes that still wait and returns.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut queue = self.queue.lock().await;
        let mut connection = Connection::new(&self.database, &self.clock, &self.database_up);
        let mut beat = tokio::time::interval(HEARTBEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stopping = false;
        loop {
            if !connection.is_open() && !self.connect(&mut connection, &mut queue, &stop).await {
                break;
            }
            tokio::select! {
                biased;
                _ = stop.cancelled(), if !stopping => {
                    stopping = true;
                    queue.received.close();
                }
                ready = queue.is_ready() => {
                    if !ready {
                        break;
                    }
                    let batch = queue.take();
                    let left = queue.meanwhile(self.write_batch(&mut connection, batch)).await;
                    queue.put_back(left);
                }
                _ = beat.tick() => connection.check().await,
            }
        }
        queue.close();
        Ok(())
    }

    /// Connects, however long it takes. False on `stop`.
    async fn connect(
        &self,
        connection: &mut Connection<'_>,
        queue: &mut Queue<R>,
        stop: &CancellationToken,
    ) -> bool {
        let mut tries = 0u64;
        loop {
            let opened = tokio::select! {
                _ = stop.cancelled(), if tries > 0 => return false,
                opened = queue.meanwhile(connection.get()) => opened.map(|_| ()),
            };
            let Err(error) = opened else { return true };
            if tries == 0 {
                tracing::error!(domain = self.database.domain, %error, "the database is away");
            }
            tries += 1;
            tokio::select! {
                _ = stop.cancelled() => return false,
                _ = queue.meanwhile(tokio::time::sleep(bus::retry::delay(tries.min(4), tries))) => {}
            }
        }
    }

    /// Writes a batch and reports the outcomes of all but the changes that it returns: an outage put them off.
    async fn write_batch(&self, connection: &mut Connection<'_>, batch: Vec<Entry<R>>) -> Vec<Entry<R>> {
        let batch = self.refuse_too_large(batch);
        if batch.is_empty() {
            return Vec::new();
        }
        metrics::histogram!("journal_batch_size", "domain" => self.database.domain)
            .record(batch.len() as f64);
        let started = Instant::now();
        #[cfg(feature = "planted")]
        if bus::config::planted("publish-before-commit") {
            let events = batch.iter().flat_map(|entry| entry.change.outbox.iter().cloned()).collect();
            self.relay.send_uncommitted(events);
        }
        // What is one statement does not wait for the dialogues, of which there are few.
        let (statements, dialogues): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|entry| entry.change.rows.is_statement());
        let (mut left, mut alone) = (Vec::new(), Vec::new());
        for part in [statements, dialogues].into_iter().filter(|part| !part.is_empty()) {
            let (put_off, lost) = self.together(connection, part).await;
            left.extend(put_off);
            alone.extend(lost);
        }
        metrics::histogram!("journal_commit_seconds", "domain" => self.database.domain)
            .record(started.elapsed().as_secs_f64());
        left.extend(self.one_by_one(connection, alone).await);
        left
    }

    /// An event that no stream accepts would stay in the outbox for ever: its change is not written.
    fn refuse_too_large(&self, batch: Vec<Entry<R>>) -> Vec<Entry<R>> {
        let is_too_large =
            |entry: &Entry<R>| entry.change.outbox.iter().any(|event| event.payload.len() > EVENT_MAX);
        let (refused, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_too_large);
        for entry in refused {
            let why = format!("an event of the change is larger than {EVENT_MAX} bytes");
            entry.reply.send(Outcome::Failed(Failure::poison(why)));
        }
        batch
    }

    /// Writes as many as go together. Returns those that an outage kept from being written, and those to be written alone.
    async fn together(
        &self,
        connection: &mut Connection<'_>,
        mut batch: Vec<Entry<R>>,
    ) -> (Vec<Entry<R>>, Vec<Entry<R>>) {
        let mut alone = Vec::new();
        for round in 0.. {
            let changes: Vec<&Change<R>> = batch.iter().map(|entry| &entry.change).collect();
            match self.attempt(connection, &changes).await {
                Ok(committed) => {
                    self.report(batch, committed);
                    break;
                }
                Err(BatchError::Away(why)) => {
                    batch.append(&mut alone);
                    return (not_overdue(batch, &why), alone);
                }
                Err(BatchError::Refused(error)) if batch.len() == 1 => {
                    let entry = batch.remove(0);
                    self.report_refused(connection, entry, error).await;
                    break;
                }
                Err(BatchError::Refused(error)) => {
                    let losers = error.losers();
                    if round >= ROUNDS_MAX || losers.is_empty() || losers.len() >= batch.len() {
                        alone.append(&mut batch);
                        break;
                    }
                    let entries = batch.into_iter().enumerate();
                    let (out, rest): (Vec<_>, Vec<_>) =
                        entries.partition(|(index, _)| losers.contains(index));
                    alone.extend(out.into_iter().map(|(_, entry)| entry));
                    batch = rest.into_iter().map(|(_, entry)| entry).collect();
                }
            }
        }
        (Vec::new(), alone)
    }

    /// Returns those that an outage kept from being written.
    async fn one_by_one(&self, connection: &mut Connection<'_>, batch: Vec<Entry<R>>) -> Vec<Entry<R>> {
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
            match self.attempt(connection, &[&entry.change]).await {
                Ok(committed) => self.report(vec![entry], committed),
                Err(BatchError::Away(why)) => {
                    return not_overdue(std::iter::once(entry).chain(rest).collect(), &why);
                }
                Err(BatchError::Refused(error)) => self.report_refused(connection, entry, error).await,
            }
        }
        Vec::new()
    }

    /// One transaction, tried again when it collides or when its day has no partition yet. Connects anew where the last
    /// attempt lost the connection.
    async fn attempt(
        &self,
        connection: &mut Connection<'_>,
        changes: &[&Change<R>],
    ) -> Result<Committed<R>, BatchError<R::Rejection>> {
        let domain = self.database.domain;
        let (mut collisions, mut has_made_partitions) = (0, false);
        loop {
            let life = connection.get().await.map_err(|error| BatchError::Away(error.to_string()))?;
            let key = life.next_key(self.clock.now());
            let sent = Instant::now();
            match write(&mut life.db, key, changes).await {
                Ok(written) => {
                    // The time was read before the commit: a slow commit would set the clock back.
                    if sent.elapsed() < CLOCK_ERROR_MAX {
                        self.clock.set(written.reported.committed_at, Instant::now());
                    }
                    return Ok(committed(key, changes, written.reported, written.rows));
                }
                Err(Failed::Refused(WriteError::Sql(error))) if is_away(&error) => {
                    connection.lose();
                    tracing::warn!(domain, %error, "lost the database; nothing was written");
                    return Err(BatchError::Away(error.to_string()));
                }
                Err(Failed::Refused(WriteError::Sql(error)))
                    if is_collision(&error) && collisions < COLLISIONS_MAX =>
                {
                    collisions += 1;
                    metrics::counter!("journal_collisions_total", "domain" => domain).increment(1);
                    tokio::time::sleep(Duration::from_millis(u64::from(collisions) * 2)).await;
                }
                Err(Failed::Refused(WriteError::Sql(error)))
                    if is_without_partition(&error) && !has_made_partitions =>
                {
                    has_made_partitions = true;
                    tracing::warn!(domain, %error, "today has no partition; making it");
                    if let Err(error) =
                        within(STATEMENTS_MAX, sql::make_partitions(&mut life.db, domain)).await
                    {
                        connection.lose();
                        return Err(BatchError::Away(error.to_string()));
                    }
                }
                Err(Failed::Refused(error)) => return Err(BatchError::Refused(error)),
                Err(Failed::Unknown(error, rows)) => {
                    connection.lose();
                    tracing::warn!(domain, %error, "lost the database at a commit; finding out whether it was");
                    let reported = connection.find_out(key, STATEMENTS_MAX).await;
                    tracing::info!(domain, committed = reported.is_some(), "found out about the commit");
                    let Some(reported) = reported else { return Err(BatchError::Away(error.to_string())) };
                    return Ok(committed(key, changes, reported, rows));
                }
            }
        }
    }

    /// Nothing in this function waits or fails: a committed change is always reported as such.
    fn report(&self, batch: Vec<Entry<R>>, Committed { key, reported, rows }: Committed<R>) {
        let mut events = Vec::new();
        let mut committed = Vec::new();
        for (entry, written) in batch.iter().zip(&rows) {
            if let Some(event) = entry.change.outbox.first() {
                let facts = [("journal.batch", batch.len() as i64)];
                trace::note(Kind::Internal, "journal commit", &event.context, entry.since.elapsed(), &facts);
            }
            events.extend(entry.change.outbox.iter().cloned());
            committed.push((&entry.change.rows, written));
        }
        self.relay.send(relay::Batch { key, events });
        let notices = catch_unwind(AssertUnwindSafe(|| R::notices(&committed))).unwrap_or_else(|_| {
            tracing::error!(domain = self.database.domain, "making the notices of a batch panicked");
            Vec::new()
        });
        let at = reported.committed_at;
        for (entry, written) in batch.into_iter().zip(rows) {
            entry.reply.send(Outcome::Committed { written, at });
        }
        self.notify(notices);
    }

    /// Why a change that was written alone is not in the database. A request whose key was used before gets the stored answer,
    /// even if the change failed for another reason too: its first copy may have taken the same seats.
    async fn report_refused(
        &self,
        connection: &mut Connection<'_>,
        entry: Entry<R>,
        error: WriteError<R::Rejection>,
    ) {
        if let Some(IdempotencyWrite::Claim { key, .. }) = &entry.change.idempotency {
            let found = match connection.get().await {
                Ok(life) => {
                    let key = std::slice::from_ref(key);
                    within(STATEMENTS_MAX, sql::find_idempotency(&mut life.db, key)).await
                }
                Err(error) => Err(error),
            };
            match found.map(|mut found| found.pop()) {
                Ok(Some((_, stored))) => return entry.reply.send(Outcome::Repeated(stored)),
                Ok(None) => {}
                Err(error) => {
                    connection.lose();
                    return entry.reply.send(Outcome::Failed(Failure::transient(error)));
                }
            }
        }
        if let WriteError::Sql(error) = &error
            && is_of_the_tables(error)
        {
            // Every change would fail the same way: an outage, and no fault of this change.
            tracing::error!(domain = self.database.domain, %error, "the host's own tables fail");
            connection.lose();
        }
        entry.reply.send(outcome_of(error));
    }

    /// Notices are dropped rather than waited for (subscribers see the gap and read again): while NATS is away the
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

/// A batch that is in the database, with the result for each of its changes.
struct Committed<R: Rows> {
    key: BatchKey,
    reported: Reported,
    rows: Vec<R::Written>,
}

fn committed<R: Rows>(
    key: BatchKey,
    changes: &[&Change<R>],
    reported: Reported,
    rows: Option<Vec<R::Written>>,
) -> Committed<R> {
    let rows = rows.unwrap_or_else(|| {
        let rows: Vec<&R> = changes.iter().map(|change| &change.rows).collect();
        R::written(&rows, &reported.written)
    });
    assert_eq!(rows.len(), changes.len(), "there is one result for each change");
    Committed { key, reported, rows }
}

/// After an outage: those that may still wait; the others fail.
fn not_overdue<R: Rows>(entries: Vec<Entry<R>>, why: &str) -> Vec<Entry<R>> {
    let (overdue, left): (Vec<_>, Vec<_>) = entries.into_iter().partition(Entry::is_overdue);
    overdue.into_iter().for_each(|entry| entry.give_up(why));
    left
}

enum BatchError<R> {
    /// Nothing was written; the database is away.
    Away(String),
    Refused(WriteError<R>),
}

/// The outcome of a change that was written alone.
fn outcome_of<R: Rows>(error: WriteError<R::Rejection>) -> Outcome<R> {
    match error {
        WriteError::Lost(lost) => match lost.into_iter().next().map(|(_, loss)| loss) {
            Some(Loss::Rejected(rejection)) => Outcome::Rejected(rejection),
            Some(Loss::Stale) => Outcome::Stale,
            Some(Loss::Broken(what)) => Outcome::Failed(Failure::poison(what)),
            // The key's record has expired meanwhile, or was freed.
            Some(Loss::Repeated) => Outcome::Failed(Failure::transient("the idempotency key was just used")),
            None => Outcome::Failed(Failure::poison("the batch is incomplete, and nothing of it is missing")),
        },
        // Still colliding after all tries, or not the change's own fault: it may pass later.
        WriteError::Sql(error) if is_collision(&error) || is_passing(&error) || is_of_the_tables(&error) => {
            Outcome::Failed(Failure::transient(error))
        }
        WriteError::Sql(error) => Outcome::Failed(Failure::poison(error)),
    }
}

/// Timed out behind a lock (57014, 55P03).
fn is_passing(error: &sqlx::Error) -> bool {
    has_code(error, |code| code == "57014" || code == "55P03")
}

/// A check constraint without a name of ours: the row has no partition (23514 with the outbox's name).
fn is_without_partition(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.code().is_some_and(|code| code == "23514")
        && e.table().is_some_and(|table| table.starts_with("outbox")))
}

/// A host that is newer than its tables, or lacks the rights (3F, 42), or whose day has no partition.
fn is_of_the_tables(error: &sqlx::Error) -> bool {
    is_without_partition(error) || has_code(error, |code| code.starts_with("3F") || code.starts_with("42"))
}

fn has_code(error: &sqlx::Error, is: impl Fn(&str) -> bool) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().is_some_and(|code| is(&code)))
}
