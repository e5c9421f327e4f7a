//! Work that a host does again and again, beside what it is asked for.

use std::time::Duration;

use bus::Failure;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Personal data are removed some days after a show: an hour more or less does not matter.
pub const RETENTION_EVERY: Duration = Duration::from_secs(60 * 60);

/// How often work is done.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub every: Duration,
    /// After a failure, such as a host or a database that is away.
    pub again: Duration,
}

impl From<Duration> for Pace {
    fn from(every: Duration) -> Self {
        Self { every, again: every }
    }
}

/// Does the work at once and at this pace, until `stop`. The first failure after a success is logged, as `what`; those that follow it
/// are not.
pub async fn repeat<F: Future<Output = Result<(), Failure>>>(
    pace: impl Into<Pace>,
    stop: &CancellationToken,
    what: &str,
    mut work: impl FnMut() -> F,
) {
    let Pace { every, again } = pace.into();
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        tokio::select! {
            _ = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let done = tokio::select! {
            _ = stop.cancelled() => return,
            done = work() => done,
        };
        if done.is_err() && again < every {
            tick.reset_after(again);
        }
        match done {
            Ok(()) => is_failing = false,
            Err(failure) if !is_failing => {
                is_failing = true;
                tracing::warn!(%failure, "{what}; trying on");
            }
            Err(_) => {}
        }
    }
}
