//! The schedule of faults, which depends only on the seed, so that a run can be repeated.
//!
//! Two lanes run at the same time, one for servers and connections, one for processes and the provider; with `--cluster` there
//! is one lane, for the servers of the cluster. Within a lane a fault is removed before the next one. Each kind is used once, in random order, before any kind is used again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::fault::{Fault, Injection, Lane};

/// The pause between two faults of a lane: long enough for orders, short enough for overlapping recoveries.
const GAP_MS: std::ops::Range<u64> = 1_500..6_000;

/// A fault and its time, counted from the start of the load.
#[derive(Clone, Copy, Debug)]
pub struct ScheduledFault {
    pub injection: Injection,
    pub begin: Duration,
    pub lasts: Duration,
}

/// The faults of a lane within `length`.
pub fn lane(seed: u64, lane: Lane, length: Duration, kinds: &[Fault]) -> Vec<ScheduledFault> {
    let of_lane: Vec<Fault> = kinds.iter().copied().filter(|fault| fault.lane() == lane).collect();
    let mut planned = Vec::new();
    if of_lane.is_empty() {
        return planned;
    }
    let mut random =
        StdRng::seed_from_u64(seed.wrapping_mul(2).wrapping_add(u64::from(lane == Lane::Processes)));
    let mut deck: Vec<Fault> = Vec::new();
    let mut at = Duration::from_millis(random.random_range(GAP_MS));
    loop {
        if deck.is_empty() {
            deck = of_lane.clone();
            deck.shuffle(&mut random);
        }
        let Some(fault) = deck.pop() else { return planned };
        let (shortest, longest) = fault.seconds();
        let lasts = Duration::from_secs(random.random_range(shortest..=longest));
        if at + lasts > length {
            return planned;
        }
        planned.push(ScheduledFault {
            injection: Injection { fault, choice: random.random(), at: None },
            begin: at,
            lasts,
        });
        at += lasts + Duration::from_millis(random.random_range(GAP_MS));
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn a_seed_determines_the_schedule_and_faults_of_a_lane_do_not_overlap() {
        let all = Fault::value_variants();
        let length = Duration::from_secs(3_600);
        for at in [Lane::Infrastructure, Lane::Processes, Lane::Cluster] {
            let planned = lane(7, at, length, all);
            assert_eq!(format!("{planned:?}"), format!("{:?}", lane(7, at, length, all)));
            assert_ne!(format!("{planned:?}"), format!("{:?}", lane(8, at, length, all)));
            assert!(planned.windows(2).all(|pair| pair[0].begin + pair[0].lasts < pair[1].begin));
            let kinds = all.iter().filter(|fault| fault.lane() == at);
            assert!(kinds.clone().all(|kind| planned.iter().any(|planned| planned.injection.fault == *kind)));
        }
    }
}
