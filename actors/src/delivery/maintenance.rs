//! The hourly upkeep of the delivery tables: partitions are made ahead, old rows are deleted.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::database::Database;

const EVERY: Duration = Duration::from_secs(60 * 60);
/// Days that the outbox keeps, as long as the stream; `delivery.maintain` keeps the inbox a day longer.
const OUTBOX_DAYS: i32 = 7;

/// The upkeep worker of one domain.
pub async fn maintain(database: Database, stop: CancellationToken) -> anyhow::Result<()> {
    let mut every = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        let upkeep = sqlx::query("select delivery.upkeep($1, $2)")
            .bind(database.domain)
            .bind(OUTBOX_DAYS)
            .execute(&database.pool);
        let done = tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            done = upkeep => done,
        };
        if let Err(error) = done {
            // Partitions exist a week ahead, so an hour's miss is harmless.
            tracing::warn!(domain = database.domain, %error, "upkeep failed; again in an hour");
        }
    }
}
