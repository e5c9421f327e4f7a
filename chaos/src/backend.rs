//! NATS and Postgres of a deployment: one server each, or clusters.

use std::path::Path;

use anyhow::Result;
use marquee::local::{Folder, Nats, Postgres};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::cluster::Cluster;
use crate::deployment::{self, DATABASE, DeploymentSpec};
use crate::power::Power;

/// NATS and Postgres.
pub enum Backend {
    Single(Box<Postgres>, Box<Nats>),
    Cluster(Box<Cluster>),
}

impl Backend {
    /// Starts the servers and creates the database; `work` is for the logs of a cluster, `power` has the disks of single servers.
    pub async fn start(
        spec: &DeploymentSpec,
        folder: &Folder,
        work: &Path,
        power: Option<&Power>,
    ) -> Result<Self> {
        if let Some(replication) = spec.cluster {
            return Ok(Self::Cluster(Box::new(Cluster::start(work, DATABASE, replication).await?)));
        }
        let fsync = spec.power.is_none_or(|power| power.fsync);
        let postgres = async { Postgres::start(&folder.join("postgres")?, fsync).await };
        let nats = async { Nats::start_with(&folder.join("nats")?, |own| spec.nats_conf(own)).await };
        let (mut postgres, nats) = tokio::try_join!(postgres, nats)?;
        if let Some(power) = power {
            power.adopt(&mut postgres).await?;
        }
        postgres.create_database(DATABASE).await?;
        deployment::track_commit_times(&mut postgres).await?;
        Ok(Self::Single(Box::new(postgres), Box::new(nats)))
    }

    /// The single servers, or the cluster.
    pub fn into_parts(self) -> (Single<Postgres>, Single<Nats>, Option<Cluster>) {
        match self {
            Self::Single(postgres, nats) => (Single::new(Some(*postgres)), Single::new(Some(*nats)), None),
            Self::Cluster(cluster) => (Single::new(None), Single::new(None), Some(*cluster)),
        }
    }

    /// For this program, without the proxies of the processes.
    pub fn database_url(&self) -> String {
        match self {
            Self::Single(postgres, _) => postgres.database_url(DATABASE),
            Self::Cluster(cluster) => cluster.own_url(DATABASE),
        }
    }

    pub fn nats_url(&self) -> String {
        match self {
            Self::Single(_, nats) => nats.url(),
            Self::Cluster(cluster) => cluster.nats_url(),
        }
    }
}

/// A server that is the only one of its kind, which no deployment with a cluster has.
pub struct Single<T>(Mutex<Option<T>>);

impl<T> Single<T> {
    pub fn new(server: Option<T>) -> Self {
        Self(Mutex::new(server))
    }

    /// The server. Faults of single servers are not scheduled for a cluster.
    pub async fn lock(&self) -> MappedMutexGuard<'_, T> {
        let server = self.0.lock().await;
        MutexGuard::map(server, |server| server.as_mut().expect("the deployment has no cluster"))
    }
}
