//! The hourly upkeep of the delivery tables: partitions are made ahead, old rows are deleted.

use std::time::Duration;

use sqlx::PgExecutor;
use tokio_util::sync::CancellationToken;

use super::Database;

const EVERY: Duration = Duration::from_secs(60 * 60);
/// Days that the outbox keeps, as long as the stream.
const OUTBOX_DAYS: i32 = 7;

/// The upkeep worker of one domain. Days ahead are necessary and have a transaction of their own; a failure to drop old rows (a
/// running dump, a long report) must not keep the next days from being created.
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

/// For how many days after today the outbox of a domain can take rows; at most 7.
pub async fn days_ahead(db: impl PgExecutor<'_>, domain: &str) -> Result<i64, sqlx::Error> {
    let days = sqlx::query_scalar(
        "select coalesce(min(ahead), 8)::bigint - 1 from generate_series(1, 7) as ahead
         where to_regclass(format('%I.outbox_%s', $1::text, to_char(now() at time zone 'utc' + make_interval(days => ahead), 'YYYYMMDD')))
           is null",
    );
    days.bind(domain).fetch_one(db).await
}

async fn upkeep(database: &Database) {
    let domain = database.domain;
    let made = sqlx::query("select delivery.prepare($1)").bind(domain).execute(&database.pool);
    if let Err(error) = made.await {
        // Days exist a week ahead, so an hour's miss is harmless; a journal that misses one makes it.
        tracing::warn!(domain, %error, "no days made ahead; again in an hour");
    }
    if let Ok(days) = days_ahead(&database.pool, domain).await {
        database.days_ahead.set(days);
        if let Some(warning) = database.days_ahead.warning() {
            tracing::error!(domain, days, "{warning}");
        }
    }
    let dropped =
        sqlx::query("select delivery.upkeep($1, $2)").bind(domain).bind(OUTBOX_DAYS).execute(&database.pool);
    if let Err(error) = dropped.await {
        tracing::warn!(domain, %error, "nothing old was dropped; again in an hour");
    }
}
