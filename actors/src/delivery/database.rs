//! Connections to Postgres: each domain has its own pool whose `search_path` is the domain's schema, so that the
//! delivery tables are found under one name in every domain.
//!
//! Invariant: every connection of a host sets its session by a statement ([`connect::open`]), since a connection pooler
//! does not pass on the `options` of a startup message.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};

use super::connect::{self, Setting};

/// Connections of one domain's pool in one host, for reads and sweeps, which are grouped; journal and relay have their own.
const POOL_MAX: u32 = 3;
/// Stays open, so that a request at a quiet time need not connect first.
const POOL_MIN: u32 = 1;
/// A connection that was not used for this long is closed, well before [`ACQUIRE_TIMEOUT`]: five hosts share the 20
/// connections of a session pooler (pgbouncer's default), and need 25 only when all are busy.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// A request that waits longer for a connection answers 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// A statement is planned for the table as it is now. After five runs Postgres would keep a plan of its own: made while a
/// table was small it reads all of it, each time, however large it grows (measured: rows by id in 226 µs instead of 18, until
/// the next ANALYZE). Reads are grouped, so planning them costs little; the journal's statements are planned once (`delivery/journal/connection.rs`).
const PLANNED: Setting = ("plan_cache_mode", "force_custom_plan");

/// A week is made ahead. With fewer days left than this, upkeep has failed for days, and a person has days to look.
pub const DAYS_AHEAD_MIN: i64 = 3;
/// Connections that one host may open: its pool, and those of its journal and its relay.
pub const CONNECTIONS_MAX: u32 = POOL_MAX + 2;

/// One domain's connections to its schema.
#[derive(Clone)]
pub struct Database {
    pub domain: &'static str,
    pub pool: PgPool,
    options: PgConnectOptions,
    settings: [Setting; 3],
    pub days_ahead: DaysAhead,
}

impl Database {
    /// `url` is `DATABASE_URL`. Nothing connects before the first use.
    pub fn new(url: &str, domain: &'static str) -> anyhow::Result<Self> {
        let options = connect::options(url)?.application_name(&format!("marquee-{domain}"));
        let settings = [("search_path", domain), ("timezone", "UTC"), PLANNED];
        let pool = PgPoolOptions::new()
            .max_connections(POOL_MAX)
            .min_connections(POOL_MIN)
            .idle_timeout(IDLE_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| Box::pin(connect::set(connection, settings.to_vec())))
            .connect_lazy_with(options.clone());
        Ok(Self { domain, pool, options, settings, days_ahead: DaysAhead::default() })
    }

    /// How its connections are opened, without the settings of their sessions.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// A connection of its own, outside the pool, with these settings in addition.
    pub async fn open(&self, settings: &[Setting]) -> Result<PgConnection, sqlx::Error> {
        let settings = self.settings.iter().chain(settings).copied().collect();
        connect::open(&self.options, settings).await
    }
}

/// For how many days after today the outbox can take rows, as upkeep found last.
#[derive(Clone)]
pub struct DaysAhead(Arc<AtomicI64>);

impl Default for DaysAhead {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MAX)))
    }
}

impl DaysAhead {
    pub fn set(&self, days: i64) {
        self.0.store(days, Ordering::Relaxed);
    }

    /// None before upkeep has looked.
    pub fn known(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|days| *days != i64::MAX)
    }

    /// Why the host is degraded.
    pub fn warning(&self) -> Option<String> {
        let days = self.0.load(Ordering::Relaxed);
        let text =
            || format!("the outbox has partitions for {days} days ahead only: upkeep fails, see the log");
        (days < DAYS_AHEAD_MIN).then(text)
    }
}
