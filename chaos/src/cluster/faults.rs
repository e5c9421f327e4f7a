//! The faults of servers of the cluster, and their removal.
//!
//! Invariant: the end of any fault restores all machines: cables, packets, pauses, killed servers. What heals then, heals
//! without hands.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::machine::{self, APPLICATION, ETCD, Lost, Machine, NATS, POSTGRES};
use super::{Cluster, WHOLE_WITHIN};
use crate::deployment::Deployment;
use crate::fault::{self, Fault};

/// Postgres's programs and its children are named so.
const POSTGRES_PROCESS: &str = "postgres";

/// Injects a fault; returns its place. `choice` selects one of several places.
pub async fn begin(fault: Fault, choice: u64, deployment: &Deployment, cluster: &Cluster) -> Result<String> {
    use Fault as F;
    let status = &cluster.status;
    let primary = status.primary().await?;
    let standby = POSTGRES.into_iter().find(|other| *other != primary).unwrap_or(primary);
    match fault {
        F::EventsLeaderKilled => kill(cluster, &[status.events_leader().await?]).await,
        F::MetaLeaderKilled => kill(cluster, &[status.nats_leader().await?]).await,
        F::NatsMajorityKilled => {
            let leader = status.events_leader().await?;
            kill(cluster, &[leader, after(&NATS, leader)]).await
        }
        F::EtcdLeaderKilled => kill(cluster, &[status.etcd_leader().await?]).await,
        F::EtcdMajorityKilled => {
            let leader = status.etcd_leader().await?;
            kill(cluster, &[leader, after(&ETCD, leader)]).await
        }
        F::PrimaryKilled => kill(cluster, &[primary]).await,
        F::StandbyKilled => kill(cluster, &[standby]).await,
        F::PostmasterKilled => {
            primary.signal(Signal::SIGKILL, Some(POSTGRES_PROCESS));
            Ok(format!("Postgres on {}, not Patroni", primary.name))
        }
        F::EventsLeaderFrozen => freeze(cluster, status.events_leader().await?).await,
        F::EtcdLeaderFrozen => freeze(cluster, status.etcd_leader().await?).await,
        F::PrimaryFrozen => freeze(cluster, primary).await,
        F::EventsLeaderCut => unplug(status.events_leader().await?).await,
        F::ServerCut => {
            let servers: Vec<Machine> = NATS.into_iter().chain(ETCD).chain(POSTGRES).collect();
            unplug(servers[(choice % servers.len() as u64) as usize]).await
        }
        F::ApplicationCut => unplug(APPLICATION[(choice % APPLICATION.len() as u64) as usize]).await,
        F::PrimaryPartitioned => {
            primary.lose(Lost::Both, ETCD.into_iter().chain([standby]).map(|peer| peer.ip)).await?;
            Ok(format!("{} from {} and etcd; hosts still reach it", primary.name, standby.name))
        }
        F::OneWayCut => {
            let leaders = [status.events_leader().await?, status.etcd_leader().await?, primary];
            one_way(leaders[(choice % leaders.len() as u64) as usize]).await
        }
        _ => restart_all(deployment, cluster, primary, standby).await,
    }
}

async fn kill(cluster: &Cluster, machines: &[Machine]) -> Result<String> {
    for machine in machines {
        cluster.node(*machine).kill().await?;
    }
    Ok(machines.iter().map(|machine| machine.name).collect::<Vec<_>>().join(" and "))
}

async fn freeze(cluster: &Cluster, machine: Machine) -> Result<String> {
    cluster.node(machine).freeze().await;
    Ok(machine.name.to_owned())
}

async fn unplug(machine: Machine) -> Result<String> {
    machine.unplug().await?;
    Ok(format!("the cable of {}", machine.name))
}

/// What the machine sends to the other servers is lost; it receives everything.
async fn one_way(machine: Machine) -> Result<String> {
    let servers = NATS.into_iter().chain(ETCD).chain(POSTGRES);
    let peers: Vec<Ipv4Addr> = servers.map(|server| server.ip).collect();
    machine.lose(Lost::Sent, peers).await?;
    Ok(format!("what {} sends to other servers", machine.name))
}

/// The next machine of a group.
fn after(group: &[Machine; 3], machine: Machine) -> Machine {
    let at = group.iter().position(|other| *other == machine).unwrap_or_default();
    group[(at + 1) % group.len()]
}

/// Restarts every server by SIGTERM, then every host and gateway, each when the one before is complete again.
async fn restart_all(
    deployment: &Deployment,
    cluster: &Cluster,
    primary: Machine,
    standby: Machine,
) -> Result<String> {
    let mut longest = Duration::ZERO;
    // The primary last: then a fail-over is the only one.
    for machine in NATS.into_iter().chain(ETCD).chain([standby, primary]) {
        let node = cluster.node(machine);
        node.stop().await?;
        node.start().await?;
        longest = longest.max(cluster.until_whole(WHOLE_WITHIN).await?);
    }
    let hosts = fault::rolling_restart(deployment).await?;
    Ok(format!("every server, the slowest whole after {longest:.1?}; {hosts}"))
}

/// Removes every fault.
pub async fn end(cluster: &Cluster) -> Result<()> {
    for machine in machine::all() {
        machine.restore().await?;
    }
    for node in &cluster.nodes {
        node.restore().await?;
    }
    Ok(())
}
