//! Connections to Postgres: each domain has its own pool whose `search_path` is the domain's schema, so that the
//! delivery tables are found under one name in every domain.

use std::time::Duration;

use crate::delivery::{DaysAhead, connect};
use bus::contract::SeatId;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// Connections of one domain's pool in one host, for reads and sweeps; journal and relay have their own. With six
/// domains of two hosts each this stays below Postgres's usual 100–200.
const POOL_MAX: u32 = 8;
/// A request that waits longer for a connection answers 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// A statement is planned for the table as it is now. After five runs Postgres would keep a plan of its own: made while a
/// table was small it reads all of it, each time, however large it grows (measured: rows by id in 226 µs instead of 18, until
/// the next ANALYZE). Reads are grouped, so planning them costs little; the journal's statements are planned once (`delivery/journal/connection.rs`).
const PLANNED: (&str, &str) = ("plan_cache_mode", "force_custom_plan");

/// One domain's connections to its schema.
#[derive(Clone)]
pub struct Database {
    pub domain: &'static str,
    pub pool: PgPool,
    pub options: PgConnectOptions,
    pub days_ahead: DaysAhead,
}

impl Database {
    /// `url` is `DATABASE_URL`. Nothing connects before the first use.
    pub fn new(url: &str, domain: &'static str) -> anyhow::Result<Self> {
        let options = connect::options(url)?.application_name(&format!("marquee-{domain}")).options([
            ("search_path", domain),
            ("timezone", "UTC"),
            PLANNED,
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(POOL_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options.clone());
        Ok(Self { domain, pool, options, days_ahead: DaysAhead::default() })
    }
}

/// Seats of a `text[]` column.
pub fn seat_ids(column: Vec<String>) -> Result<Vec<SeatId>, sqlx::Error> {
    let id = |text: String| {
        SeatId::parse(&text).ok_or_else(|| sqlx::Error::Decode(format!("{text:?} is no seat id").into()))
    };
    column.into_iter().map(id).collect()
}

/// Seats as one of many such values of a statement, for `string_to_array`: Postgres has no arrays of arrays of unlike
/// lengths, and no seat's id has a comma.
pub fn seat_column(seats: &[SeatId]) -> String {
    seats.iter().map(SeatId::as_str).collect::<Vec<_>>().join(",")
}
