//! Numbers that no single message shows: the unpublished events in the outbox and their age, the use of the pool's connections.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Database, within};

/// As often as metrics are scraped; the query reads only unpublished events, by an index of their own.
const EVERY: Duration = Duration::from_secs(15);
const QUERY_MAX: Duration = Duration::from_secs(3);

/// The measuring worker of one domain.
pub async fn measure(database: Database, stop: CancellationToken) -> anyhow::Result<()> {
    let domain = database.domain;
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        let idle = database.pool.num_idle() as f64;
        let all = f64::from(database.pool.size());
        metrics::gauge!("database_connections", "domain" => domain, "state" => "idle").set(idle);
        metrics::gauge!("database_connections", "domain" => domain, "state" => "used").set(all - idle);
        let waiting = sqlx::query_as::<_, (i64, f64)>(
            "select count(*), coalesce(extract(epoch from now() - min(committed_at)), 0)::float8 from unsent",
        );
        // While Postgres is away the gauges keep their values; readiness shows the outage.
        if let Ok((pending, oldest)) = within(QUERY_MAX, waiting.fetch_one(&database.pool)).await {
            metrics::gauge!("outbox_pending", "domain" => domain).set(pending as f64);
            metrics::gauge!("outbox_oldest_seconds", "domain" => domain).set(oldest);
        }
    }
}
