//! Numbers that no single message shows: the unpublished events in the outbox and their age, the days that the outbox has
//! partitions for, connections to Postgres, and what the domain's own rows tell.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgExecutor, Row};
use tokio_util::sync::CancellationToken;

use super::rows::Gauge;
use super::{Database, within};

/// As often as metrics are scraped; each query reads only the rows that wait for something, by an index of their own.
const EVERY: Duration = Duration::from_secs(15);
const QUERY_MAX: Duration = Duration::from_secs(3);

/// Two columns for the session's domain: events that JetStream has not acknowledged, and the age of the oldest in seconds.
const UNPUBLISHED: &str =
    "select count(*), coalesce(extract(epoch from now() - min(committed_at)), 0)::float8 from unsent";

/// Sessions of clients in the whole server, and how many it allows to roles without special rights.
const SESSIONS: &str = "select (select count(*) from pg_stat_activity where usesysid is not null)::float8,
    (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int)::float8";

/// The events of the session's domain that JetStream has not acknowledged, and the age of the oldest in seconds.
pub async fn unpublished(db: impl PgExecutor<'_>) -> Result<(i64, f64), sqlx::Error> {
    sqlx::query_as(UNPUBLISHED).fetch_one(db).await
}

/// Sessions of clients in the whole server, and how many it allows.
pub async fn sessions(db: impl PgExecutor<'_>) -> Result<(f64, f64), sqlx::Error> {
    sqlx::query_as(SESSIONS).fetch_one(db).await
}

/// The measuring worker of one domain; `own` are the gauges of its rows.
pub async fn measure(
    database: Database,
    own: &'static [Gauge],
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let domain = database.domain;
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let queries: String = own.iter().map(|(_, query)| format!(", ({query})::float8")).collect();
    // One exchange for all of them.
    let statement = format!(
        "select outbox.*, sessions.*{queries} from ({UNPUBLISHED}) as outbox, ({SESSIONS}) as sessions"
    );
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        let idle = database.pool.num_idle() as f64;
        let all = f64::from(database.pool.size());
        metrics::gauge!("database_connections", "domain" => domain, "state" => "idle").set(idle);
        metrics::gauge!("database_connections", "domain" => domain, "state" => "used").set(all - idle);
        if let Some(days) = database.days_ahead.known() {
            metrics::gauge!("outbox_days_ahead", "domain" => domain).set(days as f64);
        }
        let asked = sqlx::query(AssertSqlSafe(statement.clone()));
        // While Postgres is away the gauges keep their values; readiness shows the outage.
        let Ok(row) = within(QUERY_MAX, asked.fetch_one(&database.pool)).await else { continue };
        metrics::gauge!("outbox_pending", "domain" => domain).set(row.try_get::<i64, _>(0)? as f64);
        metrics::gauge!("outbox_oldest_seconds", "domain" => domain).set(row.try_get::<f64, _>(1)?);
        metrics::gauge!("postgres_connections", "domain" => domain).set(row.try_get::<f64, _>(2)?);
        metrics::gauge!("postgres_connections_max", "domain" => domain).set(row.try_get::<f64, _>(3)?);
        for (at, (name, _)) in own.iter().enumerate() {
            let value: Option<f64> = row.try_get(4 + at)?;
            metrics::gauge!(*name, "domain" => domain).set(value.unwrap_or_default());
        }
    }
}
