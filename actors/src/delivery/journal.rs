//! The journal: group commit. It takes all changes that wait and writes them in one transaction; the next batch
//! gathers while one commits. One connection a domain and host.
//!
//! It writes as if all win and counts rows. If a count is short or a statement fails, the batch rolls back and its
//! changes run one by one; only a change that fails alone is rejected or poison. Deadlocks are tried again. When
//! the connection is lost at commit, it finds out by the batch's id before it answers anybody.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bus::Failure;
use bus::contract::Timestamp;
use sqlx::{Connection, PgConnection};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::statements as sql;
use super::{
    Change, Clock, IdempotencyKey, IdempotencyWrite, InboxKey, Outcome, Rows, SeatLock, StoredAnswer,
    WriteError, is_away, is_collision,
};
use crate::database::Database;
use bus::event::Outgoing;

/// Changes of one transaction: beyond this a batch's latency grows faster than its throughput.
const BATCH_MAX: usize = 256;
/// While the database is away a change waits this long before its asker hears of it: a failover of seconds passes
/// unnoticed, and nobody stares at a page for longer.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// An idle journal looks this often whether the database is there, so that consumers stop pulling when it is not.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Tries of one batch that collides with another host's.
const COLLISIONS_MAX: u32 = 5;
/// A statement that takes longer than this is stuck behind a lock that nobody releases.
const STATEMENT_TIMEOUT: &str = "10s";

struct Entry<R: Rows> {
    change: Change<R>,
    reply: Reply<R>,
    since: Instant,
    /// The seat lock refused it once; now Postgres alone decides.
    past_lock: bool,
}

/// Tells the outcome exactly once, also when the journal dies with the change in hand.
struct Reply<R: Rows>(Option<Box<dyn FnOnce(Outcome<R>) + Send>>);

impl<R: Rows> Reply<R> {
    fn tell(mut self, outcome: Outcome<R>) {
        if let Some(tell) = self.0.take() {
            tell(outcome);
        }
    }
}

impl<R: Rows> Drop for Reply<R> {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Outcome::Failed(Failure::transient("the journal stopped; the outcome is unknown")));
        }
    }
}

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
        let reply = Reply(Some(Box::new(tell)));
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
    waiting: Mutex<mpsc::UnboundedReceiver<Entry<R>>>,
    relay: mpsc::Sender<Vec<Outgoing>>,
    notify: async_nats::Client,
    lock: Option<SeatLock>,
    well: watch::Sender<bool>,
}

impl<R: Rows> JournalParts<R> {
    pub fn new(
        database: Database,
        clock: Clock,
        relay: mpsc::Sender<Vec<Outgoing>>,
        notify: async_nats::Client,
        lock: Option<SeatLock>,
    ) -> (Journal<R>, Arc<Self>, watch::Receiver<bool>) {
        let (sender, waiting) = mpsc::unbounded_channel();
        let (well, wellness) = watch::channel(true);
        let parts = Self { database, clock, waiting: Mutex::new(waiting), relay, notify, lock, well };
        (Journal(sender), Arc::new(parts), wellness)
    }

    /// Runs until `stop`, then writes what still waits and returns.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut waiting = self.waiting.lock().await;
        let mut connection = Open(None);
        let mut held_over: Vec<Entry<R>> = Vec::new();
        let mut beat = tokio::time::interval(HEARTBEAT);
        loop {
            let mut batch = std::mem::take(&mut held_over);
            if connection.0.is_none() {
                connection = match self.connect(&mut batch, &mut waiting, &stop).await {
                    Some(open) => Open(Some(open)),
                    None => return Ok(()),
                };
            }
            if batch.is_empty() {
                tokio::select! {
                    biased;
                    got = waiting.recv_many(&mut batch, BATCH_MAX) => if got == 0 { return Ok(()) },
                    _ = stop.cancelled() => return Ok(()),
                    _ = beat.tick() => connection.check().await,
                }
            }
            while batch.len() < BATCH_MAX
                && let Ok(entry) = waiting.try_recv()
            {
                batch.push(entry);
            }
            if batch.is_empty() {
                continue;
            }
            held_over = self.write_batch(&mut connection, batch).await;
        }
    }

    /// Connects, however long it takes; changes that have waited too long meanwhile are told so. `None` on `stop`.
    async fn connect(
        &self,
        batch: &mut Vec<Entry<R>>,
        waiting: &mut mpsc::UnboundedReceiver<Entry<R>>,
        stop: &CancellationToken,
    ) -> Option<PgConnection> {
        let mut tries = 0u64;
        loop {
            match open(&self.database).await {
                Ok(connection) => {
                    self.well.send_replace(true);
                    return Some(connection);
                }
                Err(error) => {
                    if self.well.send_replace(false) {
                        tracing::error!(domain = self.database.domain, %error, "the database is away");
                    }
                }
            }
            tries += 1;
            while let Ok(entry) = waiting.try_recv() {
                batch.push(entry);
            }
            let overdue = batch.extract_if(.., |entry| entry.since.elapsed() > WAIT_MAX);
            overdue.for_each(|entry| {
                entry.reply.tell(Outcome::Failed(Failure::transient("the database is away")))
            });
            tokio::select! {
                _ = stop.cancelled() => return None,
                _ = tokio::time::sleep(bus::retry::delay(tries.min(4), tries)) => {}
            }
        }
    }

    /// Writes a batch and tells everyone; returns those that the seat lock put off.
    async fn write_batch(&self, connection: &mut Open, batch: Vec<Entry<R>>) -> Vec<Entry<R>> {
        let token = Uuid::now_v7();
        let (mut batch, held_over) = self.take_locks(token, batch).await;
        if !batch.is_empty() {
            metrics::histogram!("journal_batch_size", "domain" => self.database.domain)
                .record(batch.len() as f64);
            let started = Instant::now();
            let changes: Vec<&Change<R>> = batch.iter().map(|entry| &entry.change).collect();
            let written = self.attempt(connection, &changes).await;
            metrics::histogram!("journal_commit_seconds", "domain" => self.database.domain)
                .record(started.elapsed().as_secs_f64());
            match written {
                Ok(outcomes) => self.publish_and_tell(batch, outcomes).await,
                Err(error) if batch.len() == 1 => batch.remove(0).reply.tell(error.into_outcome()),
                Err(BatchError::Away(why)) => {
                    for entry in batch {
                        entry.reply.tell(Outcome::Failed(Failure::transient(&why)));
                    }
                }
                Err(_) => self.one_by_one(connection, batch).await,
            }
        }
        if let Some(lock) = &self.lock {
            lock.release(token).await;
        }
        held_over
    }

    async fn one_by_one(&self, connection: &mut Open, batch: Vec<Entry<R>>) {
        metrics::counter!("journal_fallbacks_total", "domain" => self.database.domain).increment(1);
        for entry in batch {
            match self.attempt(connection, &[&entry.change]).await {
                Ok(outcomes) => self.publish_and_tell(vec![entry], outcomes).await,
                Err(error) => entry.reply.tell(error.into_outcome()),
            }
        }
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

    /// One transaction, tried again when it collides. Connects anew where the last attempt lost the connection.
    async fn attempt(
        &self,
        connection: &mut Open,
        changes: &[&Change<R>],
    ) -> Result<Vec<Outcome<R>>, BatchError<R::Rejection>> {
        let mut collisions = 0;
        loop {
            let open = match connection.get(&self.database).await {
                Ok(open) => open,
                Err(error) => return Err(BatchError::Away(error.to_string())),
            };
            let id = Uuid::now_v7();
            let failed = match transaction(open, id, changes).await {
                Ok((outcomes, at)) => {
                    self.clock.set(at);
                    return Ok(outcomes);
                }
                Err(failed) => failed,
            };
            match failed {
                Failed::Before(WriteError::Sql(error)) if is_away(&error) => {
                    connection.lose();
                    self.well.send_replace(false);
                    tracing::warn!(domain = self.database.domain, %error, "lost the database; nothing was written");
                    return Err(BatchError::Away(error.to_string()));
                }
                Failed::Before(WriteError::Sql(error))
                    if is_collision(&error) && collisions < COLLISIONS_MAX =>
                {
                    collisions += 1;
                    metrics::counter!("journal_collisions_total", "domain" => self.database.domain)
                        .increment(1);
                    tokio::time::sleep(Duration::from_millis(u64::from(collisions) * 2)).await;
                }
                Failed::Before(error) => return Err(BatchError::Refused(error)),
                Failed::AtCommit { error, outcomes, at } => {
                    connection.lose();
                    tracing::warn!(domain = self.database.domain, %error, "lost the database at commit; finding out");
                    if self.find_out(connection, id).await {
                        self.clock.set(at);
                        return Ok(outcomes);
                    }
                    return Err(BatchError::Away(error.to_string()));
                }
            }
        }
    }

    /// Asks until the database says whether the batch was committed: nobody may be told anything before.
    async fn find_out(&self, connection: &mut Open, id: Uuid) -> bool {
        let mut tries = 0u64;
        self.well.send_replace(false);
        loop {
            let found = match connection.get(&self.database).await {
                Ok(open) => sql::was_committed(open, id).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(committed) => {
                    self.well.send_replace(true);
                    tracing::info!(
                        domain = self.database.domain,
                        committed,
                        "found out about the cut-off commit"
                    );
                    return committed;
                }
                Err(_) => {
                    connection.lose();
                    tries += 1;
                    tokio::time::sleep(bus::retry::delay(tries.min(4), tries)).await;
                }
            }
        }
    }

    async fn publish_and_tell(&self, batch: Vec<Entry<R>>, outcomes: Vec<Outcome<R>>) {
        let mut events = Vec::new();
        let mut committed = Vec::new();
        for (entry, outcome) in batch.iter().zip(&outcomes) {
            if let Outcome::Committed { written, .. } = outcome {
                events.extend(entry.change.outbox.iter().cloned());
                committed.push((&entry.change.rows, written));
            }
        }
        let notices = R::notices(&committed);
        for (subject, payload) in notices {
            // Listeners notice a gap and read again.
            if let Err(error) = self.notify.publish(subject, payload).await {
                tracing::warn!(%error, "notice not published");
            }
        }
        // A full queue is no loss: the relay's sweep finds the rows.
        if !events.is_empty() && self.relay.try_send(events).is_err() {
            metrics::counter!("relay_overflow_total", "domain" => self.database.domain).increment(1);
        }
        for (entry, outcome) in batch.into_iter().zip(outcomes) {
            entry.reply.tell(outcome);
        }
    }
}

/// The journal's one connection, made anew when lost.
struct Open(Option<PgConnection>);

impl Open {
    async fn get(&mut self, database: &Database) -> Result<&mut PgConnection, sqlx::Error> {
        if self.0.is_none() {
            self.0 = Some(open(database).await?);
        }
        self.0.as_mut().ok_or(sqlx::Error::WorkerCrashed)
    }
    fn lose(&mut self) {
        self.0 = None;
    }
    async fn check(&mut self) {
        if let Some(open) = &mut self.0 {
            let answered = tokio::time::timeout(Duration::from_secs(2), open.ping()).await;
            if !matches!(answered, Ok(Ok(()))) {
                self.lose();
            }
        }
    }
}

async fn open(database: &Database) -> Result<PgConnection, sqlx::Error> {
    let options = database.options.clone().options([("statement_timeout", STATEMENT_TIMEOUT)]);
    let connecting = PgConnection::connect_with(&options);
    tokio::time::timeout(Duration::from_secs(5), connecting)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
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
            Self::Refused(WriteError::Stale | WriteError::Short) => Outcome::Stale,
            // Still colliding after all tries, or stuck behind a lock: it may pass later.
            Self::Refused(WriteError::Sql(error)) if is_collision(&error) || is_timeout(&error) => {
                Outcome::Failed(Failure::transient(error))
            }
            Self::Refused(WriteError::Sql(error)) => Outcome::Failed(Failure::poison(error)),
        }
    }
}

fn is_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.code().is_some_and(|c| c == "57014" || c == "55P03"))
}

enum Failed<R: Rows> {
    Before(WriteError<R::Rejection>),
    /// The answer to `commit` did not come; it may or may not have gone through.
    AtCommit {
        error: sqlx::Error,
        outcomes: Vec<Outcome<R>>,
        at: Timestamp,
    },
}

impl<R: Rows> From<sqlx::Error> for Failed<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Before(WriteError::Sql(error))
    }
}

async fn transaction<R: Rows>(
    connection: &mut PgConnection,
    id: Uuid,
    changes: &[&Change<R>],
) -> Result<(Vec<Outcome<R>>, Timestamp), Failed<R>> {
    let mut tx = connection.begin().await?;
    let mut outcomes: Vec<Option<Outcome<R>>> = changes.iter().map(|_| None).collect();
    drop_duplicates(&mut tx, changes, &mut outcomes).await?;
    drop_repeats(&mut tx, changes, &mut outcomes).await?;
    let open: Vec<usize> = (0..changes.len()).filter(|i| outcomes[*i].is_none()).collect();
    let rows: Vec<&R> = open.iter().map(|i| &changes[*i].rows).collect();
    let written =
        if rows.is_empty() { Vec::new() } else { R::write(&mut tx, &rows).await.map_err(Failed::Before)? };
    assert_eq!(written.len(), rows.len(), "write returns one result for each of its rows");
    let events: Vec<&Outgoing> = open.iter().flat_map(|i| &changes[*i].outbox).collect();
    if !events.is_empty() {
        sql::insert_outbox(&mut tx, &events).await?;
    }
    let at = sql::insert_batch(&mut tx, id).await?;
    for (index, written) in open.into_iter().zip(written) {
        outcomes[index] = Some(Outcome::Committed { written, at });
    }
    let outcomes =
        outcomes.into_iter().map(|outcome| outcome.expect("every change has an outcome by now")).collect();
    match tx.commit().await {
        Ok(()) => Ok((outcomes, at)),
        // Postgres itself refused (a deferred constraint): surely rolled back.
        Err(error @ sqlx::Error::Database(_)) if !is_away(&error) => Err(error.into()),
        Err(error) => Err(Failed::AtCommit { error, outcomes, at }),
    }
}

/// Messages that were handled before, or that are twice in this batch, change nothing.
async fn drop_duplicates<R: Rows>(
    db: &mut PgConnection,
    changes: &[&Change<R>],
    outcomes: &mut [Option<Outcome<R>>],
) -> Result<(), sqlx::Error> {
    let keys: HashSet<&InboxKey> = changes.iter().filter_map(|change| change.inbox.as_ref()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<&InboxKey> = keys.into_iter().collect();
    let mut new = sql::insert_inbox(db, &keys).await?;
    for (change, outcome) in changes.iter().zip(outcomes) {
        if change.inbox.as_ref().is_some_and(|key| !new.remove(key)) {
            *outcome = Some(Outcome::Duplicate);
        }
    }
    Ok(())
}

/// Requests whose key was used before change nothing; they are told what is stored.
async fn drop_repeats<R: Rows>(
    db: &mut PgConnection,
    changes: &[&Change<R>],
    outcomes: &mut [Option<Outcome<R>>],
) -> Result<(), sqlx::Error> {
    let mut claims = Vec::new();
    let mut claimed = HashSet::new();
    let mut settled = Vec::new();
    for (change, outcome) in changes.iter().zip(outcomes.iter()) {
        match &change.idempotency {
            Some(IdempotencyWrite::Claim { key, request_hash, response })
                if outcome.is_none() && claimed.insert(key) =>
            {
                claims.push((key, request_hash, response.as_deref()));
            }
            Some(write) if outcome.is_none() => settled.push(write),
            _ => {}
        }
    }
    sql::settle_idempotency(db, &settled).await?;
    if claims.is_empty() {
        return Ok(());
    }
    let mut new = sql::claim_idempotency(db, &claims).await?;
    let mut used: Vec<(usize, IdempotencyKey)> = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        if let (Some(IdempotencyWrite::Claim { key, .. }), None) = (&change.idempotency, &outcomes[index])
            && !new.remove(key)
        {
            used.push((index, key.clone()));
        }
    }
    if used.is_empty() {
        return Ok(());
    }
    let keys: Vec<IdempotencyKey> = used.iter().map(|(_, key)| key.clone()).collect();
    let stored = sql::find_idempotency(db, &keys).await?;
    for (index, key) in used {
        let answer: Option<StoredAnswer> =
            stored.iter().find(|(k, _)| *k == key).map(|(_, answer)| answer.clone());
        let answer = answer.ok_or(sqlx::Error::RowNotFound)?;
        outcomes[index] = Some(Outcome::Repeated(answer));
    }
    Ok(())
}
