//! After each fault of the cluster: how long until every process is ready, a ticket can be bought, and all copies are there.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Cluster, WHOLE_WITHIN};
use crate::deployment::{Deployment, Showtime};
use crate::load::Account;
use crate::record::Recorder;
use crate::recovery;

/// How long to wait for a ticket: longer than promised, to show how late it was.
const BOUGHT_WITHIN: Duration = Duration::from_secs(120);
/// The seats of a hall, some of which are held by attempts whose answers were lost.
const TICKETS_PER_SHOWTIME: usize = 40;

/// How the deployment has recovered from one fault; times count from its end.
#[derive(Clone, Debug)]
pub struct Healing {
    pub fault: String,
    pub ready: Result<Duration, String>,
    pub bought: Result<Duration, String>,
    /// Every server is there again with a current copy.
    pub whole: Result<Duration, String>,
}

/// Buys a ticket after each fault.
#[derive(Debug)]
pub struct Healer {
    buyer: Account,
    /// Not for other customers, who might sell them out.
    showtimes: Vec<Showtime>,
    recorder: Recorder,
    healings: Mutex<Vec<Healing>>,
}

impl Healer {
    /// How many showtimes are needed for so many faults.
    pub fn showtimes_for(faults: usize) -> usize {
        faults.div_ceil(TICKETS_PER_SHOWTIME)
    }

    pub fn new(buyer: Account, showtimes: Vec<Showtime>, recorder: Recorder) -> Self {
        Self { buyer, showtimes, recorder, healings: Mutex::default() }
    }

    pub fn showtimes(&self) -> &[Showtime] {
        &self.showtimes
    }

    pub fn healings(&self) -> Vec<Healing> {
        self.healings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Observes the recovery from a fault that was removed just now. Returns whether all copies are there again: another fault
    /// before would be two at once, which nothing is promised for.
    pub async fn observe(&self, fault: &str, deployment: &Deployment, cluster: &Cluster) -> bool {
        let begun = Instant::now();
        let at = self.healings().len() / TICKETS_PER_SHOWTIME;
        let showtime = &self.showtimes[at.min(self.showtimes.len() - 1)];
        let bought = recovery::buy(deployment, &self.buyer, showtime, &self.recorder, begun + BOUGHT_WITHIN);
        let (ready, bought, whole) = tokio::join!(
            deployment.until_ready(BOUGHT_WITHIN),
            async { bought.await.map(|()| begun.elapsed()) },
            cluster.until_whole(WHOLE_WITHIN),
        );
        let text = |error: anyhow::Error| format!("{error:#}");
        let (ready, bought, whole) = (ready.map_err(text), bought.map_err(text), whole.map_err(text));
        println!("           healed: a ticket after {bought:.1?}, ready {ready:.1?}, all copies {whole:.1?}");
        let is_whole = whole.is_ok();
        let healing = Healing { fault: fault.to_owned(), ready, bought, whole };
        self.healings.lock().unwrap_or_else(PoisonError::into_inner).push(healing);
        is_whole
    }
}
