//! Delivery: how a decision becomes rows and messages, exactly once in effect.
//!
//! A domain hands a [`Change`] to its [`Journal`], which writes many changes in one transaction (rows, inbox,
//! idempotency record, outbox) and tells each its [`Outcome`]. After the commit the [`relay`] publishes the outbox.
//! Invariant: nothing leaves before the commit, and what was received is acknowledged only after it.
//! Invariant: every transaction of the house is opened here.

mod clock;
pub mod connect;
mod gauges;
mod inboxes;
mod journal;
mod lock;
mod maintenance;
mod reads;
pub mod relay;
mod roles;
mod statements;
mod sweep;
#[cfg(test)]
mod tests;
mod transaction;

pub use clock::Clock;
pub use gauges::measure;
pub use inboxes::Inboxes;
pub use journal::{Journal, JournalParts};
pub use lock::SeatLock;
pub use maintenance::maintain;
pub use reads::Reads;
pub use roles::{RolePasswords, grant as grant_roles};
pub use sweep::{PAGE as SWEEP_PAGE, sweep};

use std::time::Duration;

use bus::contract::Timestamp;
use bus::event::Outgoing;
use bus::{Failure, Problem};
use bytes::Bytes;
use futures::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

/// The rows of one domain's decision, written set-based together with those of others.
pub trait Rows: Send + Sync + Sized + 'static {
    /// Why the database says no to a change that is written alone.
    type Rejection: Send + 'static;
    /// What the commit tells the decider, such as the showtime's new sequence.
    type Written: Send + Sync + 'static;

    /// Writes all of `rows`, tables in a fixed order and rows sorted, and returns what to tell each, in the order
    /// of `rows`. With several rows any shortfall is [`WriteError::Short`]; those that it names then come again alone and
    /// the others together, and with one row the error must say exactly why.
    fn write<'a>(
        connection: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<Vec<Self::Written>, WriteError<Self::Rejection>>>;

    /// Keys of the seat lock that this change takes, such as `<showtime>/<seat>`.
    fn lock_keys(&self) -> Vec<String> {
        Vec::new()
    }

    /// What to say on core NATS after the commit, for the whole batch: subject and JSON.
    fn notices(_committed: &[(&Self, &Self::Written)]) -> Vec<(String, Bytes)> {
        Vec::new()
    }
}

/// Why rows were not written.
#[derive(Debug)]
pub enum WriteError<R> {
    /// These rows of the batch, by their indexes, did not find what they expect; none where it is not known which. Why shows
    /// when each is written alone.
    Short(Vec<usize>),
    /// The version moved: load again and decide again.
    Stale,
    Rejected(R),
    Sql(sqlx::Error),
}

impl<R> From<sqlx::Error> for WriteError<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// One decision: what it writes and what leaves after it is written.
pub struct Change<R> {
    pub rows: R,
    /// The message that caused it, where it came from a stream.
    pub inbox: Option<InboxKey>,
    pub idempotency: Option<IdempotencyWrite>,
    pub outbox: Vec<Outgoing>,
    /// How long it may wait for others to share its transaction: a batch costs nearly as much for one change as for
    /// many. Zero where anybody waits for the outcome.
    pub patience: Duration,
}

impl<R> Change<R> {
    pub fn new(rows: R) -> Self {
        Self { rows, inbox: None, idempotency: None, outbox: Vec::new(), patience: Duration::ZERO }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InboxKey {
    pub consumer: &'static str,
    pub event_id: String,
}

/// Names a request with an `Idempotency-Key`: one user's key on one route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    pub user_id: Uuid,
    /// The request's subject.
    pub route: &'static str,
    pub key: String,
}

/// What a change does to an idempotency record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdempotencyWrite {
    /// Claims the key; `response` is `None` while the request goes on after this change.
    Claim { key: IdempotencyKey, request_hash: [u8; 32], response: Option<Bytes> },
    /// Stores the answer of a claimed key.
    Complete { key: IdempotencyKey, response: Bytes },
    /// Frees a claimed key: a refusal may be tried again.
    Forget { key: IdempotencyKey },
}

/// A record as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    pub request_hash: [u8; 32],
    pub response: Option<Bytes>,
}

/// How a change ended.
#[derive(Debug)]
pub enum Outcome<R: Rows> {
    /// It is in the database; `at` is the database's time of the commit.
    Committed {
        written: R::Written,
        at: Timestamp,
    },
    /// Its message was handled before; nothing was written.
    Duplicate,
    /// Its idempotency key was used before; nothing was written.
    Repeated(StoredAnswer),
    Rejected(R::Rejection),
    /// The version moved; nothing was written.
    Stale,
    /// Nothing was written. Transient: the same change may be tried again. (Who outlives a journal that was killed
    /// at its commit hears this too; the inbox or the idempotency key then tells.)
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

/// Looks idempotency records up, many askers to a query.
pub fn stored_answers(pool: sqlx::PgPool) -> Reads<IdempotencyKey, StoredAnswer> {
    Reads::new(move |keys| {
        let pool = pool.clone();
        Box::pin(async move { Ok(statements::find_idempotency(&pool, &keys).await?.into_iter().collect()) })
    })
}

/// Whether the error means that the database is away (as opposed to: it said no).
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
async fn within<T>(
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

/// Reads fail as transient, whatever the reason: a read changes nothing and may be asked again.
pub fn read_failure(error: sqlx::Error) -> Failure {
    Failure::transient(error)
}
