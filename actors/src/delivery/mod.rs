//! Delivery: how a decision becomes rows and messages, exactly once in effect.
//!
//! A domain gives a [`Change`] to its [`Journal`], which writes many changes in one transaction (rows, idempotency records,
//! events) and reports each one's [`Outcome`]. After the commit the [`relay`] publishes the events.
//! Invariant: nothing is published before the commit, and a received message is acknowledged only after it.
//! Invariant: every transaction of a deployment is opened here.

mod archive;
mod clock;
pub mod connect;
mod database;
mod erasure;
mod gaps;
mod gauges;
mod journal;
mod maintenance;
mod reads;
pub mod relay;
mod roles;
mod rows;
mod sites;
mod statements;
mod sweep;
#[cfg(test)]
mod tests;
mod write;

pub use archive::serve_archive;
pub use clock::Clock;
pub use database::{CONNECTIONS_MAX, DAYS_AHEAD_MIN, Database, DaysAhead};
pub use erasure::{Person, erase_traces, remember_erased};
pub use gaps::{GapWatch, Warnings};
pub use gauges::{measure, sessions, unpublished};
pub use journal::{Journal, JournalParts};
pub use maintenance::{days_ahead, maintain};
pub use reads::Reads;
pub use roles::{RolePasswords, grant as grant_roles};
pub use rows::{Gauge, Loss, RowError, Rows, Statement, WriteError};
pub use sites::{store_site, stored_sites};
pub use sweep::{PAGE as SWEEP_PAGE, sweep};

use std::time::Duration;

use bus::contract::Timestamp;
use bus::event::Outgoing;
use bus::{Failure, Problem};
use bytes::Bytes;
use uuid::Uuid;

/// One decision: the rows that it writes, and the messages published after the commit.
pub struct Change<R> {
    pub rows: R,
    pub idempotency: Option<IdempotencyWrite>,
    pub outbox: Vec<Outgoing>,
    /// How long it may wait for others to share its transaction: a batch costs nearly as much for one change as for many. Zero
    /// where a caller waits for the outcome.
    pub max_delay: Duration,
}

impl<R> Change<R> {
    pub fn new(rows: R) -> Self {
        Self { rows, idempotency: None, outbox: Vec::new(), max_delay: Duration::ZERO }
    }
}

/// Identifies a request with an `Idempotency-Key`: one user's key on one route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    pub user_id: Uuid,
    /// The request's subject.
    pub route: &'static str,
    pub key: String,
}

/// The write of an idempotency record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdempotencyWrite {
    /// Claims the key; `response` is `None` while the request continues after this change.
    Claim { key: IdempotencyKey, request_hash: [u8; 32], response: Option<Bytes> },
    /// Stores the answer of a claimed key.
    Complete { key: IdempotencyKey, response: Bytes },
    /// Frees a claimed key: a refusal may be tried again.
    Forget { key: IdempotencyKey },
}

impl IdempotencyWrite {
    fn key(&self) -> &IdempotencyKey {
        match self {
            Self::Claim { key, .. } | Self::Complete { key, .. } | Self::Forget { key } => key,
        }
    }
}

/// A stored idempotency record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    pub request_hash: [u8; 32],
    pub response: Option<Bytes>,
}

/// How a change ended.
#[derive(Debug)]
pub enum Outcome<R: Rows> {
    /// The change is in the database; `at` is the database's time of the commit.
    Committed {
        written: R::Written,
        at: Timestamp,
    },
    /// Its idempotency key was used before; nothing was written.
    Repeated(StoredAnswer),
    Rejected(R::Rejection),
    /// The version moved; nothing was written.
    Stale,
    /// Nothing was written. Transient: the same change may be tried again. (Also when the journal was killed while it
    /// committed; then the version or the idempotency key shows at the next try whether it was written.)
    Failed(Failure),
}

/// The hash of a request that an idempotency key is bound to: of its canonical JSON, so that white space and the
/// order of fields do not matter.
pub fn request_hash<T: serde::Serialize>(request: &T) -> Result<[u8; 32], Problem> {
    let canonical = serde_json::to_value(request).and_then(|value| serde_json::to_vec(&value));
    let canonical = canonical.map_err(|_| Problem::internal())?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &canonical);
    digest.as_ref().try_into().map_err(|_| Problem::internal())
}

/// Reads idempotency records, those of many requests in one query.
pub fn stored_answers(pool: sqlx::PgPool) -> Reads<IdempotencyKey, StoredAnswer> {
    Reads::new(move |keys| {
        let pool = pool.clone();
        Box::pin(async move { Ok(statements::find_idempotency(&pool, &keys).await?.into_iter().collect()) })
    })
}

/// Whether the error means that the database is away (as opposed to: it refused the statement).
pub fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        // 08 connection, 57P0x shutdown, 53 out of memory, disk or connections, 58 system error, 25006 a standby,
        // 25P03 and 25P04 thrown out for hanging in a transaction
        sqlx::Error::Database(e) => e.code().is_some_and(|code| {
            ["08", "57P0", "53", "58", "25006", "25P03", "25P04"].iter().any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

/// Waits for the database no longer than `limit`: when it hangs, or a network drops everything, no error ever comes.
/// After a time-out the connection must be given up.
pub async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(timed_out()))
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// Serialization failure or deadlock: the same transaction may well pass the next time.
pub fn is_collision(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.code().is_some_and(|c| c == "40001" || c == "40P01"))
}

/// Reads fail as transient, whatever the reason: a read changes nothing and may be repeated.
pub fn read_failure(error: sqlx::Error) -> Failure {
    Failure::transient(error)
}
