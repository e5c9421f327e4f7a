//! The database's clock, read with each commit and carried on by this machine's monotonic clock, so that hosts
//! whose wall clocks differ agree on deadlines.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use bus::contract::Timestamp;

#[derive(Clone)]
pub struct Clock(Arc<Mutex<(Timestamp, Instant)>>);

impl Clock {
    /// `at` is the database's time just now.
    pub fn new(at: Timestamp) -> Self {
        Self(Arc::new(Mutex::new((at, Instant::now()))))
    }

    /// Asks the database for its time.
    pub async fn read(pool: &sqlx::PgPool) -> Result<Self, sqlx::Error> {
        let now: time::OffsetDateTime =
            sqlx::query_scalar("select clock_timestamp()").fetch_one(pool).await?;
        Ok(Self::new(now.into()))
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
