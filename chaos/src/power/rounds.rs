//! The rounds of `chaos --power-loss`: the plan of each, their sum, and the test of the method.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Figures, PowerSpec};
use crate::check::CheckResult;
use crate::deployment::DeploymentSpec;
use crate::fault::{Fault, Injection};
use crate::run::{self, Report, RunPlan};
use crate::schedule::ScheduledFault;

/// The planted bug that tests the method: Postgres without fsync.
pub const WITHOUT_FSYNC: &str = "without-fsync";
/// The check that must find it.
const FOUND_BY: &str = "accepted-exists-once";

const LOAD: Duration = Duration::from_secs(24);
/// The first cut, counted from the start of the load: there are orders in every state.
const FIRST_MS: std::ops::Range<u64> = 4_000..9_000;
/// From the end of one cut to the next one of the same server: sometimes while hosts start, sometimes in the middle of orders.
const NEXT_MS: std::ops::Range<u64> = 1_500..9_000;
const DARK_MS: std::ops::Range<u64> = 200..3_000;
const CUTS_OF_A_SERVER: u32 = 2;
/// Long enough to lose seconds of events, and less than the minute that is published again.
const RARE_SYNC: &str = "20s";
/// With data lost, nothing needs to be awaited for long.
const PLANTED_MAX_WAIT: Duration = Duration::from_secs(20);

/// The faults of a round; those of different lanes are independent of each other.
const KINDS: [&[Fault]; 4] = [
    &[Fault::PowerLoss],
    &[Fault::PostgresPowerLoss],
    &[Fault::NatsPowerLoss],
    &[Fault::PostgresPowerLoss, Fault::NatsPowerLoss],
];

/// A number of rounds.
#[derive(Clone, Debug)]
pub struct PowerRun {
    pub program: PathBuf,
    /// That of the first round; each further round has the next one.
    pub seed: u64,
    pub rounds: u64,
    pub customers: usize,
    pub max_wait: Duration,
}

impl PowerRun {
    /// Runs all rounds; returns whether a promise was broken.
    pub async fn run(&self, logs: impl Fn(&str) -> Result<PathBuf>) -> Result<bool> {
        println!("chaos --power-loss --seed {} --rounds {}", self.seed, self.rounds);
        let (mut sum, mut broken) = (Figures::default(), 0);
        for seed in self.seed..self.seed + self.rounds {
            let (spec, plan) = (self.spec(power_spec(seed)), self.plan(seed));
            let syncs = power_spec(seed).nats_sync.unwrap_or("100ms");
            println!("round {} of {}: NATS syncs every {syncs}", seed - self.seed + 1, self.rounds);
            let begun = Instant::now();
            let report = run::run(&spec, &plan, &logs(&format!("power-loss-{seed}"))?).await?;
            let failed = report.failed();
            report.results.iter().filter(|result| !result.findings.is_empty()).for_each(CheckResult::print);
            let checks = report.results.len();
            match failed.as_slice() {
                [] => println!("  {checks} checks found nothing; {:.0?}", begun.elapsed()),
                failed => println!(
                    "  broken: {}; repeat with --power-loss --seed {seed} --rounds 1",
                    failed.join(", ")
                ),
            }
            broken += failed.len();
            sum.add(&report.figures);
        }
        let run = format!("--power-loss --seed {} --rounds {}", self.seed, self.rounds);
        println!("{}", sum.row(&run, self.rounds, broken));
        println!("{}", if broken == 0 { "every promise held" } else { "promises were broken" });
        Ok(broken > 0)
    }

    /// The test of the method: a Postgres without fsync must be found to lose orders. Returns whether it was not.
    pub async fn test_method(&self, logs: &Path) -> Result<bool> {
        println!("{WITHOUT_FSYNC}: Postgres does not sync (--seed {})", self.seed);
        let spec = self.spec(PowerSpec { fsync: false, nats_sync: None });
        let report: Report = run::run(&spec, &self.planted_plan(), logs).await?;
        report.results.iter().filter(|result| !result.findings.is_empty()).for_each(CheckResult::print);
        let is_found = report.failed().contains(&FOUND_BY);
        let verdict = if is_found { "as expected" } else { "NOT AS EXPECTED" };
        println!("  {WITHOUT_FSYNC} {verdict}: {}", report.failed().join(", "));
        Ok(!is_found)
    }

    fn spec(&self, power: PowerSpec) -> DeploymentSpec {
        let program = self.program.clone();
        DeploymentSpec {
            program,
            small_disks: false,
            together: false,
            cluster: None,
            planted: None,
            upgrade_from: None,
            power: Some(power),
        }
    }

    fn plan(&self, seed: u64) -> RunPlan {
        RunPlan {
            seed,
            load: LOAD,
            customers: self.customers,
            lanes: lanes(seed),
            only: None,
            max_wait: self.max_wait,
        }
    }

    /// One cut, and no new showtime before it: the checks could not read the map of one that is lost.
    fn planted_plan(&self) -> RunPlan {
        let begin = Duration::from_secs(8);
        let cut = scheduled(Fault::PostgresPowerLoss, begin, Duration::from_secs(1));
        let load = Duration::from_secs(12);
        RunPlan { load, lanes: vec![vec![cut]], max_wait: PLANTED_MAX_WAIT, ..self.plan(self.seed) }
    }
}

/// Alternates after all kinds have been used once, so that each kind has both.
fn power_spec(seed: u64) -> PowerSpec {
    let is_rare = seed / KINDS.len() as u64 % 2 == 1;
    PowerSpec { fsync: true, nats_sync: is_rare.then_some(RARE_SYNC) }
}

/// The cuts of a round: every kind in turn, at random moments.
fn lanes(seed: u64) -> Vec<Vec<ScheduledFault>> {
    let mut random = StdRng::seed_from_u64(seed);
    let kind = KINDS[(seed % KINDS.len() as u64) as usize];
    let mut lane = |fault: &Fault| {
        let mut at = Duration::from_millis(random.random_range(FIRST_MS));
        let mut cuts = Vec::new();
        for _ in 0..CUTS_OF_A_SERVER {
            let dark = Duration::from_millis(random.random_range(DARK_MS));
            cuts.push(scheduled(*fault, at, dark));
            at += dark + Duration::from_millis(random.random_range(NEXT_MS));
        }
        cuts
    };
    kind.iter().map(&mut lane).collect()
}

fn scheduled(fault: Fault, begin: Duration, lasts: Duration) -> ScheduledFault {
    ScheduledFault { injection: Injection { fault, choice: 0, at: None }, begin, lasts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_its_round_and_eight_rounds_have_every_kind_with_both_times_between_syncs() {
        assert_eq!(format!("{:?}", lanes(7)), format!("{:?}", lanes(7)));
        assert_ne!(format!("{:?}", lanes(7)), format!("{:?}", lanes(11)));
        let mut seen = std::collections::BTreeSet::new();
        for seed in 1..=8 {
            let kind: Vec<_> = lanes(seed).iter().map(|lane| lane[0].injection.fault).collect();
            seen.insert((kind, power_spec(seed).nats_sync));
        }
        assert_eq!(seen.len(), 8);
    }

    #[test]
    fn cuts_of_a_server_do_not_overlap_and_end_before_the_load() {
        for lane in (0..1_000).flat_map(lanes) {
            assert!(lane.windows(2).all(|pair| pair[0].begin + pair[0].lasts < pair[1].begin));
            assert!(lane.iter().all(|cut| cut.begin + cut.lasts < LOAD));
        }
    }
}
