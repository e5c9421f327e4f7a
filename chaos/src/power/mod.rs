//! Power loss: the disks of Postgres and NATS lose what was not synced, together with every process of the machine, or one
//! server alone, or both at independent moments. Each round is a whole run on a new deployment, with all checks.
//!
//! In half of the rounds NATS syncs as in nats.conf, in the others so rarely that it loses seconds of acknowledged events. The
//! outboxes must publish these again in either case.

mod disk;
mod figures;
mod rounds;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use marquee::local::{Folder, Postgres};

use crate::deployment::Deployment;
use crate::end_state;
use crate::fault::Fault;
use disk::{Disk, Disks};

pub use figures::{Figures, Losses};
pub use rounds::{PowerRun, WITHOUT_FSYNC};

const CONSUMERS: [&str; 4] = ["auth", "reservation", "payment", "notification"];
/// The setting of nats.conf that rounds replace.
const SYNC_INTERVAL: &str = "sync_interval: \"100ms\"";

/// How the servers of a deployment that can lose its power sync.
#[derive(Clone, Copy, Debug)]
pub struct PowerSpec {
    /// Off only to test the method: then Postgres must lose data.
    pub fsync: bool,
    /// Replaces the time between two syncs of NATS.
    pub nats_sync: Option<&'static str>,
}

impl PowerSpec {
    /// The configuration of NATS with this time between syncs.
    pub fn nats_configuration(self, configuration: &str) -> String {
        let Some(every) = self.nats_sync else { return configuration.to_owned() };
        assert!(configuration.contains(SYNC_INTERVAL), "nats.conf has {SYNC_INTERVAL}");
        configuration.replace(SYNC_INTERVAL, &format!("sync_interval: \"{every}\""))
    }
}

/// The power of a deployment.
#[derive(Debug)]
pub struct Power {
    disks: Disks,
    spec: PowerSpec,
    record: Mutex<CutRecord>,
}

#[derive(Debug, Default)]
struct CutRecord {
    /// The stream immediately before the cut that lasts now.
    before: Option<StreamState>,
    losses: Losses,
}

/// How far the stream and its consumers have come.
#[derive(Clone, Debug, Default)]
struct StreamState {
    last_sequence: u64,
    ack_floors: BTreeMap<&'static str, u64>,
}

impl Power {
    /// Creates the disks, before the servers start.
    pub async fn create(folder: &Folder, spec: PowerSpec) -> Result<Self> {
        Ok(Self { disks: Disks::create(folder).await?, spec, record: Mutex::default() })
    }

    /// Moves the new cluster of Postgres to its disk.
    pub async fn adopt(&self, postgres: &mut Postgres) -> Result<()> {
        self.disks.adopt(postgres).await
    }

    /// Without fsync, what the setup has written is synced here. Otherwise Postgres might find no cluster at all after the cut,
    /// and no check would run.
    pub async fn settle(&self) -> Result<()> {
        if self.spec.fsync { Ok(()) } else { self.disks.postgres.sync().await }
    }

    pub fn losses(&self) -> Losses {
        self.record().losses
    }

    fn record(&self) -> std::sync::MutexGuard<'_, CutRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disks_of(&self, victims: Victims) -> Vec<&Disk> {
        let postgres = victims.postgres.then_some(&self.disks.postgres);
        postgres.into_iter().chain(victims.nats.then_some(&self.disks.nats)).collect()
    }
}

/// What loses its power.
#[derive(Clone, Copy, Debug)]
struct Victims {
    postgres: bool,
    nats: bool,
    /// Every host, gateway and Redis too.
    machine: bool,
}

impl Victims {
    fn of(fault: Fault) -> Self {
        let machine = fault == Fault::PowerLoss;
        Self {
            postgres: machine || fault == Fault::PostgresPowerLoss,
            nats: machine || fault == Fault::NatsPowerLoss,
            machine,
        }
    }
}

fn power_of(deployment: &Deployment) -> Result<&Power> {
    deployment.power.as_ref().context("the deployment has no disks that can lose their power")
}

/// Cuts the power; returns the place.
pub async fn cut(deployment: &Deployment, fault: Fault) -> Result<String> {
    let (power, victims) = (power_of(deployment)?, Victims::of(fault));
    // Only what is cut is locked: the other server may be starting just now.
    let mut postgres = if victims.postgres { Some(deployment.postgres.lock().await) } else { None };
    let mut nats = if victims.nats { Some(deployment.nats.lock().await) } else { None };
    let before = if victims.nats { Some(StreamState::read(deployment).await?) } else { None };
    // Paused first: without power no server acknowledges anything. What is in the middle of a system call stays unfinished.
    if let Some(postgres) = &postgres {
        postgres.pause();
    }
    if let Some(nats) = &nats {
        nats.pause();
    }
    Disks::cut(&power.disks_of(victims)).await?;
    if let Some(postgres) = &mut postgres {
        postgres.kill().await;
        power.record().losses.postgres_cuts += 1;
    }
    if let Some(nats) = &mut nats {
        nats.kill().await;
        let mut record = power.record();
        record.before = before;
        record.losses.nats_cuts += 1;
    }
    if victims.machine {
        for name in deployment.hosts() {
            deployment.processes[name].lock().await.kill().await?;
        }
        deployment.redis.lock().await.kill().await;
        return Ok("the machine: Postgres, NATS, Redis, every host and gateway".to_owned());
    }
    Ok(if victims.nats { "nats" } else { "postgres" }.to_owned())
}

/// Ends the cut: the disks are mounted again, and everything that was cut starts at the same time, as on a machine that boots.
pub async fn restore(deployment: &Deployment, fault: Fault) -> Result<()> {
    let (power, victims) = (power_of(deployment)?, Victims::of(fault));
    for disk in power.disks_of(victims) {
        disk.restore().await?;
    }
    if victims.machine {
        for name in deployment.hosts() {
            deployment.processes[name].lock().await.start()?;
        }
    }
    let postgres = async {
        if victims.postgres { deployment.postgres.lock().await.start_again().await } else { Ok(()) }
    };
    let nats = async {
        if !victims.nats {
            return Ok(());
        }
        deployment.nats.lock().await.start_again().await?;
        let after = StreamState::read(deployment).await?;
        power.record().note(&after);
        anyhow::Ok(())
    };
    let redis =
        async { if victims.machine { deployment.redis.lock().await.start_again().await } else { Ok(()) } };
    tokio::try_join!(postgres, nats, redis)?;
    Ok(())
}

impl CutRecord {
    /// Counts what the stream had before the cut and has not now.
    fn note(&mut self, after: &StreamState) {
        let Some(before) = self.before.take() else { return };
        let events = before.last_sequence.saturating_sub(after.last_sequence);
        let floor = |state: &StreamState, name: &str| state.ack_floors.get(name).copied().unwrap_or_default();
        let acknowledgements: u64 =
            CONSUMERS.iter().map(|name| floor(&before, name).saturating_sub(floor(after, name))).sum();
        let losses = &mut self.losses;
        losses.events += events;
        losses.nats_fell_behind += u64::from(events > 0);
        losses.acknowledgements += acknowledgements;
        losses.consumers_fell_behind += u64::from(acknowledgements > 0);
        println!("           NATS has lost {events} events and {acknowledgements} acknowledgements");
    }
}

impl StreamState {
    /// Zero for a stream or consumer that does not exist.
    async fn read(deployment: &Deployment) -> Result<Self> {
        let jetstream = end_state::nats(deployment).await?;
        let mut state = Self::default();
        let Ok(mut stream) = jetstream.get_stream("EVENTS").await else { return Ok(state) };
        for name in CONSUMERS {
            if let Ok(info) = stream.consumer_info(name).await {
                state.ack_floors.insert(name, info.ack_floor.stream_sequence);
            }
        }
        // Last, as close to the cut as possible.
        state.last_sequence = stream.info().await.context("the stream EVENTS")?.state.last_sequence;
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last_sequence: u64, floor: u64) -> StreamState {
        StreamState { last_sequence, ack_floors: CONSUMERS.map(|name| (name, floor)).into() }
    }

    #[test]
    fn what_the_stream_and_its_consumers_had_before_a_cut_and_not_after_it_is_counted() {
        let mut record = CutRecord { before: Some(at(100, 90)), losses: Losses::default() };
        record.note(&at(97, 80));
        assert_eq!((record.losses.nats_fell_behind, record.losses.events), (1, 3));
        assert_eq!((record.losses.consumers_fell_behind, record.losses.acknowledgements), (1, 40));
        record.before = Some(at(100, 90));
        record.note(&at(104, 95));
        assert_eq!((record.losses.nats_fell_behind, record.losses.events), (1, 3));
        assert_eq!((record.losses.consumers_fell_behind, record.losses.acknowledgements), (1, 40));
    }

    #[test]
    fn the_time_between_syncs_of_nats_is_that_of_nats_conf_unless_a_round_replaces_it() {
        let configuration = include_str!("../../../nats.conf");
        let of = |nats_sync| PowerSpec { fsync: true, nats_sync }.nats_configuration(configuration);
        assert_eq!(of(None), configuration);
        assert!(of(Some("20s")).contains("sync_interval: \"20s\""));
        assert!(!of(Some("20s")).contains(SYNC_INTERVAL));
    }
}
