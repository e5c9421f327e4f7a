//! The deadline sweep: reads the ids that are due by the database's clock, and gives each to its entity. Deadlines live only in
//! rows, so nothing is lost with a process and nothing needs a timer of its own.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Database, within};

/// How late a deadline may be noticed.
const EVERY: Duration = Duration::from_millis(500);
/// A database that hangs must not hold up the stop of the host.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Ids of one query. The next tick reads the rest: until they are handled, the same ids are due.
pub const PAGE: i64 = 500;

/// Runs until `stop`. `due` returns up to [`PAGE`] ids whose deadline has passed; `hand_on` must not block.
pub async fn sweep<D, H>(
    database: Database,
    stop: CancellationToken,
    due: D,
    hand_on: H,
) -> anyhow::Result<()>
where
    D: Fn(sqlx::PgPool) -> BoxFuture<'static, Result<Vec<Uuid>, sqlx::Error>> + Send + Sync,
    H: Fn(Uuid) + Send + Sync,
{
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut away = false;
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        match within(ANSWER_MAX, due(database.pool.clone())).await {
            Ok(ids) => {
                away = false;
                ids.into_iter().for_each(&hand_on);
            }
            Err(error) if !away => {
                away = true;
                tracing::warn!(domain = database.domain, %error, "deadline sweep failed; trying on");
            }
            Err(_) => {}
        }
    }
}
