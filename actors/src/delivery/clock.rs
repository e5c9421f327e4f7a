//! The database's clock, read with each commit and carried on by this machine's monotonic clock, so that hosts
//! whose wall clocks differ agree on deadlines.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use bus::contract::Timestamp;

use super::{Database, connect};

#[derive(Clone)]
pub struct Clock(Arc<Mutex<(Timestamp, Instant)>>);

impl Clock {
    /// `at` is the database's time just now.
    pub fn new(at: Timestamp) -> Self {
        Self(Arc::new(Mutex::new((at, Instant::now()))))
    }

    /// Reads the database's time, and waits for a database that is just starting. A refusal (of a password, a name, a version)
    /// is an error at once.
    pub async fn read(database: &Database) -> anyhow::Result<Self> {
        Ok(Self::new(connect::first_look(database).await?))
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
