//! Which faults strike when: drawn from the seed alone, so that a run can be repeated.
//!
//! Two lanes strike side by side, one at servers and links, one at processes and the provider; within a lane one fault is over
//! before the next begins. Kinds come from a shuffled deck, so that none comes twice before all came once.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::fault::{Fault, Lane, Strike};

/// Between two faults of a lane: long enough for orders to go through, short enough that recoveries overlap.
const GAP_MS: std::ops::Range<u64> = 1_500..6_000;

/// A fault and its time, from the beginning of the load.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    pub strike: Strike,
    pub begin: Duration,
    pub lasts: Duration,
}

/// The faults of one lane that fit into `length`.
pub fn lane(seed: u64, lane: Lane, length: Duration, kinds: &[Fault]) -> Vec<Planned> {
    let mine: Vec<Fault> = kinds.iter().copied().filter(|fault| fault.lane() == lane).collect();
    let mut planned = Vec::new();
    if mine.is_empty() {
        return planned;
    }
    let mut random =
        StdRng::seed_from_u64(seed.wrapping_mul(2).wrapping_add(u64::from(lane == Lane::People)));
    let mut deck: Vec<Fault> = Vec::new();
    let mut at = Duration::from_millis(random.random_range(GAP_MS));
    loop {
        if deck.is_empty() {
            deck = mine.clone();
            deck.shuffle(&mut random);
        }
        let Some(fault) = deck.pop() else { return planned };
        let (shortest, longest) = fault.seconds();
        let lasts = Duration::from_secs(random.random_range(shortest..=longest));
        if at + lasts > length {
            return planned;
        }
        planned.push(Planned { strike: Strike { fault, die: random.random(), at: None }, begin: at, lasts });
        at += lasts + Duration::from_millis(random.random_range(GAP_MS));
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn a_seed_is_a_schedule_and_faults_of_a_lane_do_not_overlap() {
        let all = Fault::value_variants();
        let length = Duration::from_secs(3_600);
        for at in [Lane::Ground, Lane::People] {
            let planned = lane(7, at, length, all);
            assert_eq!(format!("{planned:?}"), format!("{:?}", lane(7, at, length, all)));
            assert_ne!(format!("{planned:?}"), format!("{:?}", lane(8, at, length, all)));
            assert!(planned.windows(2).all(|pair| pair[0].begin + pair[0].lasts < pair[1].begin));
            let kinds = all.iter().filter(|fault| fault.lane() == at);
            assert!(kinds.clone().all(|kind| planned.iter().any(|planned| planned.strike.fault == *kind)));
        }
    }
}
