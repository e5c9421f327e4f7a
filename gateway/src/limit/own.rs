//! This process's own count, for when there is no shared one.
//!
//! Invariant: the keys that it remembers are bounded, whoever asks from however many addresses.

use std::num::NonZeroU32;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::{Quotas, Rate, Standing};

/// Keys of one class: some 150 bytes each, so at most 30 MB for both. Beyond it all are forgotten: everybody starts
/// with a whole quota then, which is better than to refuse strangers for what others did.
const KEYS_MAX: usize = 100_000;
/// Requests between two looks at the number of keys, which takes every lock of the map.
const LOOK_EVERY: u32 = 4_096;

type Keyed = RateLimiter<String, DashMapStateStore<String>, DefaultClock, StateInformationMiddleware>;

pub struct Own {
    reads: Class,
    writes: Class,
    logins: Class,
}

struct Class {
    quota: Quota,
    keyed: RwLock<Keyed>,
    counted: AtomicU32,
}

impl Own {
    pub fn new(quotas: &Quotas) -> Self {
        let class = Class::new;
        Self { reads: class(quotas.reads), writes: class(quotas.writes), logins: class(quotas.logins) }
    }

    pub fn count(&self, rate: Rate, key: String, quota: u32) -> Standing {
        let class = match rate {
            Rate::Read => &self.reads,
            Rate::Write | Rate::Free => &self.writes,
            Rate::Login => &self.logins,
        };
        class.count(&key, quota)
    }
}

impl Class {
    fn new(quota: u32) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(quota).unwrap_or(NonZeroU32::MIN));
        Self { quota, keyed: RwLock::new(keyed(quota)), counted: AtomicU32::new(0) }
    }

    fn count(&self, key: &String, limit: u32) -> Standing {
        if self.counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY) {
            self.forget(KEYS_MAX);
        }
        let keyed = self.keyed.read().unwrap_or_else(|e| e.into_inner());
        let (remaining, refused_for) = match keyed.check_key(key) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(refused) => (0, Some(refused.wait_time_from(DefaultClock::default().now()))),
        };
        let reset = self.quota.replenish_interval() * limit.saturating_sub(remaining);
        Standing { limit, remaining, reset, refused_for }
    }

    /// Forgets whoever has a whole quota again, and all where too many are left.
    fn forget(&self, keys_max: usize) {
        let full = {
            let keyed = self.keyed.read().unwrap_or_else(|e| e.into_inner());
            keyed.retain_recent();
            keyed.len() > keys_max
        };
        if full {
            tracing::warn!("too many addresses to count; all start anew");
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
    fn what_is_remembered_is_bounded() {
        let class = Class::new(1);
        for key in 0..50 {
            class.count(&key.to_string(), 1);
        }
        class.forget(100);
        assert!(class.count(&"7".to_owned(), 1).refused_for.is_some(), "still known");
        class.forget(10);
        assert!(class.count(&"7".to_owned(), 1).refused_for.is_none(), "all were forgotten");
    }
}
