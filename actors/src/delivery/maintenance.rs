//! The hourly upkeep of the delivery tables: partitions are made ahead, old rows are deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::database::Database;

const EVERY: Duration = Duration::from_secs(60 * 60);
/// Days that the outbox keeps, as long as the stream.
const OUTBOX_DAYS: i32 = 7;
/// A week is made ahead. With fewer days left than this, upkeep has failed for days, and a person has days to look.
const DAYS_AHEAD_MIN: i64 = 3;

/// For how many days after today the outbox can take rows, as upkeep found last.
#[derive(Clone)]
pub struct DaysAhead(Arc<AtomicI64>);

impl Default for DaysAhead {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MAX)))
    }
}

impl DaysAhead {
    /// Why a host is degraded by it.
    pub fn warning(&self) -> Option<String> {
        let days = self.0.load(Ordering::Relaxed);
        let text =
            || format!("the outbox has partitions for {days} days ahead only: upkeep fails, see the log");
        (days < DAYS_AHEAD_MIN).then(text)
    }
}

/// The upkeep worker of one domain. Days ahead are necessary and have a transaction of their own; what fails to drop what
/// is old (a dump that runs, a long report) must not keep the next days from being made.
pub async fn maintain(database: Database, stop: CancellationToken) -> anyhow::Result<()> {
    let mut every = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            () = upkeep(&database) => {}
        }
    }
}

async fn upkeep(database: &Database) {
    let domain = database.domain;
    let made = sqlx::query("select delivery.prepare($1)").bind(domain).execute(&database.pool);
    if let Err(error) = made.await {
        // Days exist a week ahead, so an hour's miss is harmless; a journal that misses one makes it.
        tracing::warn!(domain, %error, "no days made ahead; again in an hour");
    }
    let days = sqlx::query_scalar::<_, i64>(
        "select coalesce(min(ahead), 8)::bigint - 1 from generate_series(1, 7) as ahead
         where to_regclass(format('%I.outbox_%s', $1::text, to_char(now() at time zone 'utc' + make_interval(days => ahead), 'YYYYMMDD')))
           is null",
    );
    if let Ok(days) = days.bind(domain).fetch_one(&database.pool).await {
        database.days_ahead.0.store(days, Ordering::Relaxed);
        if days < DAYS_AHEAD_MIN {
            tracing::error!(domain, days, "the outbox has few partitions ahead");
        }
    }
    let dropped =
        sqlx::query("select delivery.upkeep($1, $2)").bind(domain).bind(OUTBOX_DAYS).execute(&database.pool);
    if let Err(error) = dropped.await {
        tracing::warn!(domain, %error, "nothing old was dropped; again in an hour");
    }
}
