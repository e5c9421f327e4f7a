//! The journal's connection, and with it the journal's life: each connection numbers its batches from 1 under an id of its own.
//!
//! Invariant: a session that was given up is ended at the server before the next one works: it may still hold locks, or
//! wait for a standby, however long.

use std::time::Duration;

use bus::contract::Timestamp;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::delivery::connect::Setting;
use crate::delivery::statements::batch::{self, BatchKey, Reported};
use crate::delivery::{Clock, Database, statements as sql, within};

/// Connecting, with the check that the database takes writes.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const PING_MAX: Duration = Duration::from_secs(2);
/// After this a journal begins a new life, so that upkeep can distinguish the lives that are over.
const LIFE_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// Settings of the session with which the server gives up too: a journal that hangs or is cut off must not keep row locks that
/// every other host waits for.
const SESSION: [Setting; 10] = [
    // Longer than any wait of ours for an answer. When it ends a commit's wait for a synchronous standby, Postgres answers as
    // if the standby had the commit; we must have given up by then.
    ("statement_timeout", "20s"),
    // Longer than `deadlock_timeout` (1 s), so that a deadlock shows as one.
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "10s"),
    // A statement that waits for a lock does not notice that its client has gone, unless it checks.
    ("client_connection_check_interval", "1s"),
    ("tcp_user_timeout", "10s"),
    // Every statement here finds its rows by key. The planner cannot know how short the arrays are: on a small table it
    // took a hash join over all of it, kept that plan, and each batch read the growing table (measured: 20 ms a batch).
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
    // The plan types turned off above count as so expensive that Postgres would compile the plan each time.
    ("jit", "off"),
];

/// An open connection and the life that the journal has with it.
pub struct Life {
    pub db: PgConnection,
    session: Session,
    journal: Uuid,
    number: i64,
    opened: Instant,
}

/// A session at the server: process ids are used again, so its start belongs to its name.
#[derive(Debug, Clone, Copy)]
struct Session {
    pid: i32,
    started: OffsetDateTime,
}

impl Life {
    /// The key of the next batch, which it has even when it fails.
    pub fn next_key(&mut self, now: Timestamp) -> BatchKey {
        self.number += 1;
        let day = now.date_time().to_offset(time::UtcOffset::UTC).date();
        BatchKey { day, journal: self.journal, number: self.number }
    }
}

/// The journal's one connection, opened again when lost, which also reports whether the database is available.
pub struct Connection<'a> {
    pub database: &'a Database,
    pub clock: &'a Clock,
    pub database_up: &'a watch::Sender<bool>,
    life: Option<Life>,
    /// Given up without an answer; to be ended at the server.
    abandoned: Option<Session>,
}

impl<'a> Connection<'a> {
    pub fn new(database: &'a Database, clock: &'a Clock, database_up: &'a watch::Sender<bool>) -> Self {
        Self { database, clock, database_up, life: None, abandoned: None }
    }

    pub fn is_open(&self) -> bool {
        self.life.is_some()
    }

    pub async fn get(&mut self) -> Result<&mut Life, sqlx::Error> {
        let life = match self.life.take().filter(|life| life.opened.elapsed() < LIFE_MAX) {
            Some(life) => life,
            None => {
                let opened = within(CONNECT_MAX, self.open()).await;
                self.report(opened.is_ok());
                opened?
            }
        };
        Ok(self.life.insert(life))
    }

    /// Gives the connection up. Its session may still be at work.
    pub fn lose(&mut self) {
        if let Some(life) = self.life.take() {
            self.abandoned = Some(life.session);
        }
        self.report(false);
    }

    /// While nothing is written: whether the database is still there.
    pub async fn check(&mut self) {
        let Some(life) = &mut self.life else { return };
        if let Err(error) = within(PING_MAX, life.db.ping()).await {
            tracing::warn!(domain = self.database.domain, %error, "lost the database while idle");
            self.lose();
        }
    }

    /// Queries until the database answers whether the batch was committed: no outcome is reported before. One query at a time,
    /// after growing pauses.
    pub async fn find_out(&mut self, key: BatchKey, limit: Duration) -> Option<Reported> {
        let mut tries = 0u64;
        loop {
            let found = match self.get().await {
                Ok(life) => within(limit, batch::was_committed(&mut life.db, key)).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(reported) => return reported,
                Err(error) => {
                    tracing::warn!(domain = self.database.domain, %error, tries, "the outcome of a batch is not known yet");
                    self.lose();
                    tries += 1;
                    tokio::time::sleep(bus::retry::delay(tries.min(6), tries)).await;
                }
            }
        }
    }

    /// A database that accepts the connection but no writes (disk full, a standby) counts as away: inserting the journal's row
    /// shows it, before consumers pull messages that would only fail.
    async fn open(&mut self) -> Result<Life, sqlx::Error> {
        let mut db = self.database.open(&SESSION).await?;
        if let Some(session) = self.abandoned {
            end(&mut db, session).await?;
            self.abandoned = None;
        }
        let domain = self.database.domain;
        if let Err(error) = sql::make_partitions(&mut db, domain).await {
            tracing::warn!(domain, %error, "no partitions made ahead; upkeep will");
        }
        let (pid, started): (i32, OffsetDateTime) =
            sqlx::query_as("select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()")
                .fetch_one(&mut db)
                .await?;
        let session = Session { pid, started };
        // Should this hang (at a standby), the session is left to the next try.
        self.abandoned = Some(session);
        let journal = Uuid::now_v7();
        let now = batch::open_journal(&mut db, journal).await?;
        self.abandoned = None;
        self.clock.set(now, Instant::now());
        Ok(Life { db, session, journal, number: 0, opened: Instant::now() })
    }

    fn report(&self, is_up: bool) {
        self.database_up.send_if_modified(|was_up| std::mem::replace(was_up, is_up) != is_up);
    }
}

/// A role may end its own sessions. One that has gone already is no error. Behind a pooler in session mode the new connection
/// may have got the old one's session, which the pooler has reset: it holds nothing any more.
///
/// A session that waits for a synchronous standby, or for the disk on the way there, is left alone, which is an error: ending it would
/// end the wait, and make visible a commit that a fail-over may still lose.
async fn end(db: &mut PgConnection, Session { pid, started }: Session) -> Result<(), sqlx::Error> {
    let ended: Option<bool> = sqlx::query_scalar(
        "select case when wait_event_type in ('IO', 'IPC', 'LWLock') then false else pg_terminate_backend(pid) end
         from pg_stat_activity where pid = $1 and backend_start = $2 and pid <> pg_backend_pid()",
    )
    .bind(pid)
    .bind(started)
    .fetch_optional(db)
    .await?;
    match ended {
        Some(false) => Err(sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            "an earlier commit still waits for the disk or for the standby",
        ))),
        Some(true) | None => Ok(()),
    }
}
