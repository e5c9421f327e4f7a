//! This process's own count, used while Redis cannot count.
//!
//! Invariant: the number of keys is bounded, from however many addresses requests come.

use std::num::NonZeroU32;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::{EXPORTS_A_MINUTE, Quotas, Rate, Usage};

/// Keys of one class: some 150 bytes each, so at most 75 MB for all five. Beyond this all are deleted: every client then
/// starts with a whole quota, which is better than to refuse clients because of others.
const KEYS_MAX: usize = 100_000;
/// Requests between two checks of the number of keys: a check takes every lock of the map.
const CLEAN_UP_EVERY: u32 = 4_096;

type Keyed = RateLimiter<String, DashMapStateStore<String>, DefaultClock, StateInformationMiddleware>;

pub struct LocalCount {
    reads: Class,
    writes: Class,
    logins: Class,
    guests: Class,
    exports: Class,
}

struct Class {
    quota: Quota,
    keyed: RwLock<Keyed>,
    counted: AtomicU32,
}

impl LocalCount {
    pub fn new(quotas: &Quotas) -> Self {
        let class = Class::new;
        Self {
            reads: class(quotas.reads),
            writes: class(quotas.writes),
            logins: class(quotas.logins),
            guests: class(quotas.guests),
            exports: class(EXPORTS_A_MINUTE),
        }
    }

    pub fn count(&self, rate: Rate, key: String, quota: u32) -> Usage {
        let class = match rate {
            Rate::Read => &self.reads,
            Rate::Write | Rate::Free => &self.writes,
            Rate::Login => &self.logins,
            Rate::Guest => &self.guests,
            Rate::Export => &self.exports,
        };
        class.count(&key, quota)
    }
}

impl Class {
    fn new(quota: u32) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(quota).unwrap_or(NonZeroU32::MIN));
        Self { quota, keyed: RwLock::new(keyed(quota)), counted: AtomicU32::new(0) }
    }

    fn count(&self, key: &String, limit: u32) -> Usage {
        if self.counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(CLEAN_UP_EVERY) {
            self.clean_up(KEYS_MAX);
        }
        let keyed = self.keyed.read().unwrap_or_else(|e| e.into_inner());
        let (remaining, retry_after) = match keyed.check_key(key) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(refused) => (0, Some(refused.wait_time_from(DefaultClock::default().now()))),
        };
        let reset = self.quota.replenish_interval() * limit.saturating_sub(remaining);
        Usage { limit, remaining, reset, retry_after }
    }

    /// Deletes the keys whose quota is whole again, and all keys where too many are left.
    fn clean_up(&self, keys_max: usize) {
        let full = {
            let keyed = self.keyed.read().unwrap_or_else(|e| e.into_inner());
            keyed.retain_recent();
            keyed.len() > keys_max
        };
        if full {
            tracing::warn!("too many addresses to count; all counts start anew");
            *self.keyed.write().unwrap_or_else(|e| e.into_inner()) = keyed(self.quota);
        }
    }
}

fn keyed(quota: Quota) -> Keyed {
    RateLimiter::dashmap(quota).with_middleware()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_keys_is_bounded() {
        let class = Class::new(1);
        for key in 0..50 {
            class.count(&key.to_string(), 1);
        }
        class.clean_up(100);
        assert!(class.count(&"7".to_owned(), 1).retry_after.is_some(), "the count is kept");
        class.clean_up(10);
        assert!(class.count(&"7".to_owned(), 1).retry_after.is_none(), "all counts were deleted");
    }
}
