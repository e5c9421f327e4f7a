//! The cluster: it heals after each fault, no two primaries accept writes, and what a primary has acknowledged stays.

use std::collections::BTreeMap;
use std::time::Duration;

use super::CheckResult;
use crate::cluster::{Acknowledged, Seen};

/// How long after the end of a fault a ticket can be bought and every process is ready.
const HEAL_MAX: Duration = Duration::from_secs(60);

/// The checks of a run with `--cluster`.
pub fn all(seen: &Seen) -> Vec<CheckResult> {
    vec![heals_each_time(seen), one_primary(&seen.acknowledged), acknowledged_stays(seen)]
}

/// After each fault everything is ready and a ticket is bought in time, and every copy comes back.
fn heals_each_time(seen: &Seen) -> CheckResult {
    let mut findings = Vec::new();
    let (mut slowest, mut whole) = ((Duration::ZERO, "none"), Duration::ZERO);
    for healing in &seen.healings {
        let fault = &healing.fault;
        for (what, took) in [("ready", &healing.ready), ("a ticket bought", &healing.bought)] {
            match took {
                Ok(took) if *took > HEAL_MAX => findings.push(format!("{fault}: {what} after {took:.1?}")),
                Ok(took) => slowest = slowest.max((*took, fault)),
                Err(error) => findings.push(format!("{fault}: {what}: {error}")),
            }
        }
        match &healing.whole {
            Ok(took) => whole = whole.max(*took),
            Err(error) => findings.push(format!("{fault}: {error}")),
        }
    }
    let evidence = format!(
        "{} times, at the latest after {:.1?} ({}); all copies after {whole:.1?}",
        seen.healings.len(),
        slowest.0,
        slowest.1
    );
    CheckResult::new("heals-after-each-fault", evidence, findings)
}

/// Each timeline belongs to one server, and no write is accepted on a timeline after one was accepted on a later timeline.
fn one_primary(acknowledged: &[Acknowledged]) -> CheckResult {
    let (mut findings, mut servers) = (Vec::new(), BTreeMap::new());
    let mut answered: Vec<&Acknowledged> = acknowledged.iter().collect();
    let mut sent = answered.clone();
    answered.sort_by_key(|write| write.answered);
    sent.sort_by_key(|write| write.sent);
    let (mut latest, mut next) = (0, answered.iter().peekable());
    for write in sent {
        while let Some(before) = next.next_if(|before| before.answered < write.sent) {
            latest = latest.max(before.timeline);
        }
        if write.timeline < latest {
            let (server, timeline) = (write.server, write.timeline);
            findings.push(format!("{server} accepted a write on timeline {timeline} after one on {latest}"));
        }
        let first = *servers.entry(write.timeline).or_insert(write.server);
        if first != write.server {
            findings
                .push(format!("{first} and {} accepted writes on timeline {}", write.server, write.timeline));
        }
    }
    let evidence = format!("{} writes acknowledged on {} timelines", acknowledged.len(), servers.len());
    CheckResult::new("one-primary", evidence, findings)
}

/// Every acknowledged write is there at the end.
fn acknowledged_stays(seen: &Seen) -> CheckResult {
    let is_lost = |write: &&Acknowledged| !seen.written.contains(&(write.server.to_owned(), write.number));
    let lost = seen.acknowledged.iter().filter(is_lost);
    let findings = lost.map(|write| {
        format!("write {} of {} on timeline {} is lost", write.number, write.server, write.timeline)
    });
    let findings: Vec<String> = findings.collect();
    let evidence = format!(
        "{} writes acknowledged, {} rows; the others were not answered",
        seen.acknowledged.len(),
        seen.written.len()
    );
    CheckResult::new("acknowledged-stays", evidence, findings)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Writes of (server, timeline, sent, answered), in seconds.
    fn writes(of: &[(&'static str, i32, u64, u64)]) -> Vec<Acknowledged> {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let write = |number, (server, timeline, sent, answered)| Acknowledged {
            server,
            number,
            timeline,
            sent: at(sent),
            answered: at(answered),
        };
        of.iter().zip(0..).map(|(of, number)| write(number, *of)).collect()
    }

    #[test]
    fn a_primary_that_goes_on_after_the_next_one_began_is_found() {
        let one_after_the_other = writes(&[("a", 1, 0, 1), ("a", 1, 1, 2), ("b", 2, 2, 3), ("a", 3, 4, 5)]);
        assert!(one_primary(&one_after_the_other).findings.is_empty());
        // Sent before the other was answered: its order is not known.
        let overlapping = writes(&[("a", 1, 0, 5), ("b", 2, 1, 2)]);
        assert!(one_primary(&overlapping).findings.is_empty());
        let two = writes(&[("a", 1, 0, 1), ("b", 2, 2, 3), ("a", 1, 4, 5)]);
        assert_eq!(one_primary(&two).findings.len(), 1);
        let same_timeline = writes(&[("a", 1, 0, 1), ("b", 1, 2, 3)]);
        assert_eq!(one_primary(&same_timeline).findings.len(), 1);
    }

    #[test]
    fn an_acknowledged_write_that_is_not_there_is_found() {
        let acknowledged = writes(&[("a", 1, 0, 1), ("b", 2, 2, 3)]);
        let written = [("a".to_owned(), 0), ("b".to_owned(), 7)].into();
        let seen = Seen { healings: Vec::new(), acknowledged, written };
        let found = acknowledged_stays(&seen).findings;
        assert_eq!(found, ["write 1 of b on timeline 2 is lost"]);
    }
}
