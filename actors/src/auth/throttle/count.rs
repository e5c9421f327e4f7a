//! Wrong passwords as this process counts them: the rule of the delays, without Redis.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::{COUNT_EXPIRES_AFTER, DELAY_FIRST, DELAY_MAX};

/// Accounts and addresses counted, some 150 bytes each.
const COUNTED_MAX: usize = 100_000;

/// The counts by key.
#[derive(Default)]
pub struct Counts(Mutex<HashMap<String, Count>>);

impl Counts {
    /// Counts a try of each key, with its free tries; or returns how long to wait, and whether this is the first refusal.
    pub fn begin(&self, wanted: &[(String, u32)], now: Instant) -> (Duration, bool) {
        let mut counts = self.lock();
        if counts.len() + wanted.len() > COUNTED_MAX {
            counts.retain(|_, count| !count.has_expired(now));
            if counts.len() + wanted.len() > COUNTED_MAX {
                counts.clear();
            }
        }
        let mut wait = (Duration::ZERO, false);
        for (key, _) in wanted {
            if let Some((left, is_first)) = counts.get_mut(key).and_then(|count| count.refuses(now)) {
                wait = (wait.0.max(left), wait.1 || is_first);
            }
        }
        if wait.0.is_zero() {
            for (key, free) in wanted {
                counts.entry(key.clone()).or_insert(Count::new(now)).begin(*free, now);
            }
        }
        wait
    }

    pub fn clear(&self, key: &str) {
        self.lock().remove(key);
    }

    /// Takes one try of each back.
    pub fn take_back(&self, keys: &[String]) {
        let mut counts = self.lock();
        for key in keys {
            if let Some(count) = counts.get_mut(key) {
                count.wrong = count.wrong.saturating_sub(1);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Count>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The tries of one account or address.
struct Count {
    wrong: u32,
    until: Instant,
    refused: bool,
    last: Instant,
}

impl Count {
    fn new(now: Instant) -> Self {
        Self { wrong: 0, until: now, refused: false, last: now }
    }

    fn has_expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= COUNT_EXPIRES_AFTER
    }

    /// How long to wait, and whether this is the first refusal.
    fn refuses(&mut self, now: Instant) -> Option<(Duration, bool)> {
        let left = self.until.saturating_duration_since(now);
        (!left.is_zero()).then(|| (left, !std::mem::replace(&mut self.refused, true)))
    }

    fn begin(&mut self, free: u32, now: Instant) {
        if self.has_expired(now) {
            *self = Self::new(now);
        }
        self.wrong = self.wrong.saturating_add(1);
        self.last = now;
        if let Some(over) = self.wrong.checked_sub(free + 1) {
            self.until = now + (DELAY_FIRST * 2u32.pow(over.min(30))).min(DELAY_MAX);
            self.refused = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(account: &str) -> Vec<(String, u32)> {
        vec![(account.to_owned(), 3), ("address".to_owned(), 5)]
    }

    #[test]
    fn delays_double_up_to_a_bound_and_refused_tries_cost_nothing() {
        let counts = Counts::default();
        let mut now = Instant::now();
        let account = vec![("ada".to_owned(), 3)];
        let mut delays = Vec::new();
        for _ in 0..13 {
            assert_eq!(counts.begin(&account, now).0, Duration::ZERO);
            let until = counts.lock()["ada"].until.max(now);
            let delay = until - now;
            if !delay.is_zero() {
                assert_eq!(counts.begin(&account, now), (delay, true), "the first refusal is news");
                assert_eq!(counts.begin(&account, now), (delay, false), "and the next one is not");
            }
            delays.push(delay.as_secs());
            now = until;
        }
        assert_eq!(delays, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    }

    #[test]
    fn an_hour_without_a_wrong_password_clears_the_count() {
        let counts = Counts::default();
        let now = Instant::now();
        for _ in 0..4 {
            counts.begin(&wanted("ada"), now);
        }
        assert_eq!(counts.begin(&wanted("ada"), now).0, DELAY_FIRST);
        let later = now + COUNT_EXPIRES_AFTER;
        for _ in 0..3 {
            assert_eq!(counts.begin(&wanted("ada"), later).0, Duration::ZERO);
        }
        assert_eq!(counts.lock()["ada"].wrong, 3);
    }
}
