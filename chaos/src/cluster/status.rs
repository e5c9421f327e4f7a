//! What the servers of the cluster say about themselves over HTTP: who leads, and whether all copies are there.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::machine::{ETCD, Machine, NATS, POSTGRES};
use super::servers::{ETCD_PORT, NATS_MONITORING, PATRONI_PORT};

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A client for the status of the servers.
#[derive(Clone, Debug)]
pub struct Status(reqwest::Client);

impl Status {
    pub fn new() -> Result<Self> {
        Ok(Self(reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy().build()?))
    }

    /// The answer to a GET whatever its status is, as load balancers see it.
    async fn get(&self, machine: Machine, port: u16, path: &str) -> Result<(u16, Value)> {
        let answer = self.0.get(format!("http://{}{path}", machine.at(port))).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.unwrap_or_default()))
    }

    /// Whether Patroni says that this server is the primary: the check of a load balancer.
    pub async fn is_primary(&self, machine: Machine) -> bool {
        self.get(machine, PATRONI_PORT, "/primary").await.is_ok_and(|(status, _)| status == 200)
    }

    pub async fn primary(&self) -> Result<Machine> {
        for machine in POSTGRES {
            if self.is_primary(machine).await {
                return Ok(machine);
            }
        }
        anyhow::bail!("no server of Postgres is the primary")
    }

    pub async fn etcd_leader(&self) -> Result<Machine> {
        for machine in ETCD {
            let url = format!("http://{}/v3/maintenance/status", machine.at(ETCD_PORT));
            let Ok(answer) = self.0.post(url).json(&json!({})).send().await else { continue };
            let status: Value = answer.json().await.unwrap_or_default();
            if status["leader"].is_string() && status["leader"] == status["header"]["member_id"] {
                return Ok(machine);
            }
        }
        anyhow::bail!("no server of etcd leads")
    }

    /// The leader of NATS's own group, which places streams and consumers.
    pub async fn nats_leader(&self) -> Result<Machine> {
        for machine in NATS {
            let Ok((_, status)) = self.get(machine, NATS_MONITORING, "/jsz").await else { continue };
            if let Some(found) = named(&status["meta_cluster"]["leader"]) {
                return Ok(found);
            }
        }
        anyhow::bail!("no server of NATS leads")
    }

    /// The leader of the stream EVENTS.
    pub async fn events_leader(&self) -> Result<Machine> {
        for machine in NATS {
            let asked = self.get(machine, NATS_MONITORING, "/jsz?accounts=true&streams=true").await;
            let Ok((_, status)) = asked else { continue };
            let accounts = status["account_details"].as_array().into_iter().flatten();
            let mut streams = accounts.flat_map(|of| of["stream_detail"].as_array().into_iter().flatten());
            let events = streams.find(|stream| stream["name"] == "EVENTS");
            if let Some(found) = events.and_then(|stream| named(&stream["cluster"]["leader"])) {
                return Ok(found);
            }
        }
        anyhow::bail!("the stream EVENTS has no leader")
    }

    /// Whether every server is there with a current copy of everything; otherwise what is missing. `standby` is the role of
    /// the standby.
    pub async fn whole(&self, standby: &str) -> Result<()> {
        for machine in NATS {
            let (status, text) = self.get(machine, NATS_MONITORING, "/healthz").await?;
            anyhow::ensure!(status == 200, "{}: {text}", machine.name);
        }
        for machine in ETCD {
            let (status, text) = self.get(machine, ETCD_PORT, "/health").await?;
            anyhow::ensure!(status == 200, "{}: {text}", machine.name);
        }
        let primary = self.primary().await?;
        let (_, cluster) = self.get(primary, PATRONI_PORT, "/cluster").await?;
        let members = cluster["members"].as_array().context("Patroni lists its members")?;
        let has_role = |role: &str| {
            members.iter().any(|member| {
                member["role"] == role
                    && ["running", "streaming"].iter().any(|state| member["state"] == *state)
            })
        };
        anyhow::ensure!(has_role("leader") && has_role(standby), "Postgres: {}", cluster["members"]);
        Ok(())
    }
}

/// The machine of this name.
fn named(name: &Value) -> Option<Machine> {
    NATS.into_iter().find(|machine| name == machine.name)
}
