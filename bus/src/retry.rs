//! Retry delays, as one pure function that all parts use; and how a process waits for its servers at the start.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// First delay; a short fault (failover, deadlock) is over within it.
const FIRST_MS: u64 = 100;
/// Longest delay: after an operator fixed a fault, processing continues within this.
const LONGEST_MS: u64 = 30_000;

/// How long a process waits at its start for a server that is starting too, or recovers from a crash. After that the start
/// fails.
const THERE_WITHIN: Duration = Duration::from_secs(30);

/// Deliveries after which a message is parked if the infrastructure works: about three minutes with the delays below.
pub const DELIVERIES_MAX: u64 = 12;

/// The delay before try number `attempt + 1`, where `attempt` counts from 1: doubling from 100 ms to 30 s,
/// with up to a fifth more, derived from `seed` so that clients that failed together do not retry together.
pub fn delay(attempt: u64, seed: u64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(20) as u32;
    let base = (FIRST_MS << doublings).min(LONGEST_MS);
    // Fibonacci hashing spreads neighbouring seeds over the whole range.
    let spread = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    Duration::from_millis(base + base / 5 * spread / u32::MAX as u64)
}

/// Connects to a server that may be just starting: retries while `is_away` returns true for the error, and logs the first
/// one. Any other error, or one after half a minute, is returned. `connect` limits the time of each attempt.
pub async fn until_there<T, E: Display>(
    server: &str,
    domain: Option<&str>,
    connect: impl AsyncFn() -> Result<T, E>,
    is_away: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let deadline = Instant::now() + THERE_WITHIN;
    let mut tries = 0;
    loop {
        match connect().await {
            Err(error) if is_away(&error) && Instant::now() < deadline => {
                if tries == 0 {
                    tracing::warn!(domain, %error, "{server} is away; waiting for it");
                }
                tries += 1;
                tokio::time::sleep(delay(tries.min(4), tries)).await;
            }
            answered => return answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_stay_there() {
        let delays: Vec<u128> = (1..=30).map(|n| delay(n, 7).as_millis()).collect();
        assert!(delays.is_sorted(), "{delays:?}");
        assert!(delays[0] >= 100 && delays[0] <= 120);
        assert!(delays[29] >= 30_000 && delays[29] <= 36_000);
    }

    #[test]
    fn neighbours_do_not_return_together() {
        let distinct: std::collections::BTreeSet<_> = (0..50).map(|seed| delay(6, seed)).collect();
        assert!(distinct.len() > 40, "only {} distinct delays", distinct.len());
    }
}
