//! Switches for tests and chaos runs: delayed, duplicated, reordered or dropped webhooks, failing and slow calls, answers that
//! are lost after their effect. They are set together: an absent switch is off, so `{}` resets all.
//! Switches are not stored: a restart turns all of them off.

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disputes::Verdict;
use crate::lock;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Wait this long before a webhook's first attempt.
    pub webhook_delay_ms: u64,
    /// Send every webhook twice, at the same time.
    pub webhook_duplicate: bool,
    /// Send each pair of webhooks in reverse order.
    pub webhook_reorder: bool,
    /// Send no webhooks; they are withheld until `/sandbox/webhooks/flush` or a restart.
    pub webhook_drop: bool,
    pub fail_calls: Option<FailCalls>,
    /// Wait this long before a call takes effect.
    pub call_delay_ms: u64,
    /// For this many POSTs: take effect, then cut the connection instead of answering.
    pub answer_lost: u64,
    /// Refunds are answered `pending` and then fail.
    pub refunds_fail: bool,
    /// Decide every open dispute: `won` or `lost`.
    pub decide_disputes: Option<Verdict>,
    /// Sessions expire as if it were this much later.
    pub clock_ahead_s: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailCalls {
    /// 429, 500 or 503.
    pub status: u16,
    /// The number of calls, −1 for all.
    pub next: i64,
    /// Only calls under this path.
    #[serde(default)]
    pub path_prefix: Option<String>,
    /// Store the failure under the call's idempotency key and replay it, as Stripe does with a 500 of a call that had begun.
    /// If off, the call fails before it begins, and nothing is stored.
    #[serde(default)]
    pub kept: bool,
}

/// The effect of the switches on one call.
#[derive(Debug)]
pub struct Interference {
    pub fail: Option<(u16, bool)>,
    pub delay: Duration,
}

impl Interference {
    /// Without a delay the timer is not used, because it rounds up to a millisecond.
    pub async fn wait(&self) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }
}

/// The current switches, with their remaining counts.
#[derive(Debug, Default)]
pub struct SwitchState(Mutex<Switches>);

impl SwitchState {
    pub fn get(&self) -> Switches {
        lock(&self.0).clone()
    }

    pub fn set(&self, switches: Switches) {
        *lock(&self.0) = switches;
    }

    /// Reads without copying all switches.
    pub fn read<T>(&self, read: impl FnOnce(&Switches) -> T) -> T {
        read(&lock(&self.0))
    }

    /// The effect of the switches on this call; counts it.
    pub fn interference(&self, path: &str) -> Interference {
        let mut switches = lock(&self.0);
        let delay = Duration::from_millis(switches.call_delay_ms);
        let fail = switches.fail_calls.as_mut().and_then(|fail| {
            let matches = fail.path_prefix.as_deref().is_none_or(|prefix| path.starts_with(prefix));
            if !matches || fail.next == 0 {
                return None;
            }
            fail.next = (fail.next - 1).max(-1);
            Some((fail.status, fail.kept))
        });
        Interference { fail, delay }
    }

    /// Whether to lose this answer; counts it.
    pub fn lose_answer(&self) -> bool {
        let mut switches = lock(&self.0);
        let lost = switches.answer_lost > 0;
        switches.answer_lost -= u64::from(lost);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_minus_one_has_no_limit() {
        let switches = SwitchState::default();
        let fail = |next, path_prefix: Option<&str>| {
            let path_prefix = path_prefix.map(str::to_owned);
            let fail_calls = Some(FailCalls { status: 503, next, path_prefix, kept: false });
            switches.set(Switches { fail_calls, ..Switches::default() });
        };
        fail(1, Some("/v1/refunds"));
        assert!(switches.interference("/v1/payment_intents").fail.is_none());
        assert_eq!(switches.interference("/v1/refunds").fail, Some((503, false)));
        assert!(switches.interference("/v1/refunds").fail.is_none());
        fail(-1, None);
        assert!((0..5).all(|_| switches.interference("/v1/events").fail.is_some()));
    }
}
