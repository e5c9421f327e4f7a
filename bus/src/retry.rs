//! When to try again, as one pure function; whoever waits for something outside asks here.

use std::time::Duration;

/// First delay; a passing fault (failover, deadlock) is over within it.
const FIRST_MS: u64 = 100;
/// Longest delay: an operator who mends something sees it picked up within this.
const LONGEST_MS: u64 = 30_000;

/// Deliveries after which a message is parked, given that the infrastructure is well: about three minutes of
/// trying with the delays below.
pub const DELIVERIES_MAX: u64 = 12;

/// The delay before try number `attempt + 1`, where `attempt` counts from 1: doubling from 100 ms to 30 s,
/// with up to a fifth more, drawn from `seed` so that a crowd that failed together does not return together.
pub fn delay(attempt: u64, seed: u64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(20) as u32;
    let base = (FIRST_MS << doublings).min(LONGEST_MS);
    // Fibonacci hashing spreads neighbouring seeds over the whole range.
    let spread = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    Duration::from_millis(base + base / 5 * spread / u32::MAX as u64)
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
