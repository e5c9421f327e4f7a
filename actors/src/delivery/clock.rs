//! The database's clock, read with each commit and carried on by this machine's monotonic clock, so that hosts
//! whose wall clocks differ agree on deadlines.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bus::contract::Timestamp;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use super::{is_away, within};
use crate::database::Database;

/// One try: a database that is frozen, or behind a cut line, never refuses.
const TRY_MAX: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub struct Clock(Arc<Mutex<(Timestamp, Instant)>>);

impl Clock {
    /// `at` is the database's time just now.
    pub fn new(at: Timestamp) -> Self {
        Self(Arc::new(Mutex::new((at, Instant::now()))))
    }

    /// Asks the database for its time, and waits for one that is just starting. What it refuses (a password, a name) is an
    /// error at once.
    pub async fn read(database: &Database) -> Result<Self, sqlx::Error> {
        let connect = async || within(TRY_MAX, now(&database.options)).await;
        let at = bus::retry::until_there("the database", Some(database.domain), connect, is_away).await?;
        Ok(Self::new(at))
    }

    /// `at` was the database's time at `read`, which may be some seconds ago.
    pub fn set(&self, at: Timestamp, read: tokio::time::Instant) {
        *self.lock() = (at, read.into_std());
    }

    pub fn now(&self) -> Timestamp {
        let (at, read) = *self.lock();
        at.plus(read.elapsed())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Timestamp, Instant)> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

async fn now(options: &PgConnectOptions) -> Result<Timestamp, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let now: time::OffsetDateTime =
        sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(now.into())
}
