//! What tests and chaos runs turn on: slow, doubled, swapped or withheld webhooks, failing and slow calls,
//! answers that get lost after their effect. Set as a whole: what is absent is off, so `{}` resets.
//! Switches are no part of the books: a restart turns all of them off.

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disputes::Verdict;
use crate::held;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Wait this long before a webhook's first try.
    pub webhook_delay_ms: u64,
    /// Send every webhook twice, at the same time.
    pub webhook_duplicate: bool,
    /// Send each pair of webhooks the wrong way round.
    pub webhook_reorder: bool,
    /// Send none; they are held until `/sandbox/webhooks/flush` or a restart.
    pub webhook_drop: bool,
    pub fail_calls: Option<FailCalls>,
    /// Wait this long before a call takes effect.
    pub call_delay_ms: u64,
    /// For so many POSTs: do it, book it, then cut the connection instead of answering.
    pub answer_lost: u64,
    /// Refunds are answered `pending` and then fail.
    pub refunds_fail: bool,
    /// Decide every open dispute so: `won` or `lost`.
    pub decide_disputes: Option<Verdict>,
    /// Sessions expire as if it were so much later.
    pub clock_ahead_s: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailCalls {
    /// 429, 500 or 503.
    pub status: u16,
    /// How many calls, −1 for all.
    pub next: i64,
    /// Only calls under this path.
    #[serde(default)]
    pub path_prefix: Option<String>,
    /// Keep the failure under the call's idempotency key and replay it, as Stripe does with a 500 from a call
    /// that had begun. Off, the failure comes from in front of the API and nothing is kept.
    #[serde(default)]
    pub kept: bool,
}

/// How one call is to go wrong.
#[derive(Debug)]
pub struct Trouble {
    pub fail: Option<(u16, bool)>,
    pub delay: Duration,
}

impl Trouble {
    /// Without a delay it must not touch the timer, which rounds up to a millisecond.
    pub async fn wait(&self) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }
}

/// The switches as they stand, with what is left of their counts.
#[derive(Debug, Default)]
pub struct Panel(Mutex<Switches>);

impl Panel {
    pub fn get(&self) -> Switches {
        held(&self.0).clone()
    }

    pub fn set(&self, switches: Switches) {
        *held(&self.0) = switches;
    }

    /// Reads without a copy of the whole.
    pub fn look<T>(&self, read: impl FnOnce(&Switches) -> T) -> T {
        read(&held(&self.0))
    }

    /// What this call has to suffer; counts it.
    pub fn trouble(&self, path: &str) -> Trouble {
        let mut switches = held(&self.0);
        let delay = Duration::from_millis(switches.call_delay_ms);
        let fail = switches.fail_calls.as_mut().and_then(|fail| {
            let concerned = fail.path_prefix.as_deref().is_none_or(|prefix| path.starts_with(prefix));
            if !concerned || fail.next == 0 {
                return None;
            }
            fail.next = (fail.next - 1).max(-1);
            Some((fail.status, fail.kept))
        });
        Trouble { fail, delay }
    }

    /// True when this answer is to be lost; counts it.
    pub fn lose_answer(&self) -> bool {
        let mut switches = held(&self.0);
        let lost = switches.answer_lost > 0;
        switches.answer_lost -= u64::from(lost);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_minus_one_never_ends() {
        let panel = Panel::default();
        let fail = |next, path_prefix: Option<&str>| {
            let path_prefix = path_prefix.map(str::to_owned);
            let fail_calls = Some(FailCalls { status: 503, next, path_prefix, kept: false });
            panel.set(Switches { fail_calls, ..Switches::default() });
        };
        fail(1, Some("/v1/refunds"));
        assert!(panel.trouble("/v1/payment_intents").fail.is_none());
        assert_eq!(panel.trouble("/v1/refunds").fail, Some((503, false)));
        assert!(panel.trouble("/v1/refunds").fail.is_none());
        fail(-1, None);
        assert!((0..5).all(|_| panel.trouble("/v1/events").fail.is_some()));
    }
}
