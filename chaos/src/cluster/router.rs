//! Finds the primary, as a load balancer such as HAProxy does: it asks every Patroni for `/primary`, once a second.
//!
//! New connections go to the server that answers 200; when it does not twice in a row, its connections are reset, and the
//! other one gets them once it answers 200. A server that claims to be the primary is believed, so that two that claim
//! it at the same time would do harm, which the checks would find.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::machine::POSTGRES;
use super::servers::POSTGRES_PORT;
use super::status::Status;

const EVERY: Duration = Duration::from_secs(1);
const FAILURES_MAX: u32 = 2;

/// The address of the primary, or none, for as long as this program runs.
pub fn watch_primary(status: Status) -> watch::Receiver<Vec<SocketAddr>> {
    let (sender, receiver) = watch::channel(Vec::new());
    tokio::spawn(async move {
        let mut choice = Choice::default();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let claims = join_all(POSTGRES.map(|machine| status.is_primary(machine))).await;
            let chosen = choice.next(&claims).map(|at| POSTGRES[at].at(POSTGRES_PORT));
            let targets: Vec<SocketAddr> = chosen.into_iter().collect();
            sender.send_if_modified(|current| {
                let is_other = *current != targets;
                *current = targets;
                is_other
            });
        }
    });
    receiver
}

/// The server that gets the connections.
#[derive(Debug, Default)]
struct Choice {
    current: Option<usize>,
    failures: u32,
}

impl Choice {
    /// The choice after an observation: whether each server claims to be the primary.
    fn next(&mut self, claims: &[bool]) -> Option<usize> {
        if let Some(current) = self.current {
            self.failures = if claims[current] { 0 } else { self.failures + 1 };
            if self.failures >= FAILURES_MAX {
                self.current = None;
            }
        }
        if self.current.is_none() {
            (self.current, self.failures) = (claims.iter().position(|claim| *claim), 0);
        }
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_stay_until_the_primary_has_failed_twice() {
        let mut choice = Choice::default();
        let seen =
            [[false, false], [true, false], [false, false], [true, true], [false, true], [false, true]];
        let chosen: Vec<Option<usize>> = seen.iter().map(|claims| choice.next(claims)).collect();
        assert_eq!(chosen, [None, Some(0), Some(0), Some(0), Some(0), Some(1)]);
        assert_eq!(choice.next(&[false, false]), Some(1));
        assert_eq!(choice.next(&[false, false]), None);
    }
}
