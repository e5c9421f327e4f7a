//! An upgrade under load: a deployment of an older release gets the new `nats.conf`, the new schema and the new program, as
//! `docs/operations.md` says: NATS and `migrate` first, then the hosts, then the gateways.
//!
//! In between, once only new hosts and once only old hosts run behind the old gateways, so that orders of each version are
//! certainly continued by the other one.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;

use crate::check::Window;
use crate::deployment::{DOMAINS, Deployment, READY_WITHIN};
use crate::journeys::Journeys;

const OLD: &str = "old hosts";
const NEW: &str = "new hosts";
const NEW_GATEWAYS: &str = "new hosts and gateways";
/// Hosts have these numbers; those of each number are one half of the deployment.
const FIRST: usize = 1;
const SECOND: usize = 2;

/// What happened during an upgrade.
#[derive(Debug)]
pub struct UpgradeReport {
    pub window: Window,
    /// Orders of one version that hosts of the other have ended.
    pub journeys: usize,
    pub findings: Vec<String>,
}

/// Upgrades every host and gateway to `program` while customers buy. `pause` is how long each mixture of versions sells.
pub async fn perform(
    deployment: &Deployment,
    program: &Path,
    mut journeys: Journeys,
    pause: Duration,
) -> Result<UpgradeReport> {
    let upgrade = Upgrade { deployment, program, begin: tokio::time::Instant::now() };
    let began = OffsetDateTime::now_utc();
    tokio::time::sleep(pause).await;

    upgrade.say("the new nats.conf and schema, still with old hosts only");
    deployment.nats.lock().await.renew().await?;
    deployment.migrate(program).await.context("migrate of the new program")?;
    tokio::time::sleep(pause).await;

    upgrade.say("hosts are replaced one after another, until one of each is new");
    for domain in DOMAINS {
        upgrade.replace(&format!("{domain}-{FIRST}")).await?;
    }
    tokio::time::sleep(pause).await;

    upgrade.say("new hosts only");
    upgrade.stop_hosts(SECOND).await?;
    let of_new = journeys.begin(NEW).await;

    upgrade.say("old hosts only, which continue orders of new ones");
    upgrade.start_hosts(SECOND).await?;
    upgrade.stop_hosts(FIRST).await?;
    journeys.end(of_new, OLD).await;
    let of_old = journeys.begin(OLD).await;

    upgrade.say("new hosts only, which continue orders of old ones");
    upgrade.start_hosts(FIRST).await?;
    upgrade.stop_hosts(SECOND).await?;
    journeys.end(of_old, NEW).await;
    for domain in DOMAINS {
        upgrade.set_program(&format!("{domain}-{SECOND}")).await;
    }
    upgrade.start_hosts(SECOND).await?;

    upgrade.say("gateways are replaced one after another");
    let of_old_gateways = journeys.begin(NEW).await;
    for number in [FIRST, SECOND] {
        upgrade.replace_gateway(number).await?;
    }
    journeys.end(of_old_gateways, NEW_GATEWAYS).await;

    upgrade.issue_missing_tickets().await?;
    let mut findings = journeys.findings;
    findings.extend(upgrade.old_hosts().await?);
    upgrade.say("everything is new");
    let window = Window { name: "upgrade".to_owned(), begin: began, end: OffsetDateTime::now_utc() };
    Ok(UpgradeReport { window, journeys: journeys.ended, findings })
}

struct Upgrade<'a> {
    deployment: &'a Deployment,
    program: &'a Path,
    begin: tokio::time::Instant,
}

impl Upgrade<'_> {
    fn say(&self, what: &str) {
        println!("  {:6.1} s  {what}", self.begin.elapsed().as_secs_f32());
    }

    async fn set_program(&self, name: &str) {
        self.program.clone_into(&mut self.deployment.processes[name].lock().await.spec.program);
    }

    /// Stops a process, starts the new program in its place and waits until it is ready.
    async fn replace(&self, name: &str) -> Result<()> {
        self.deployment.processes[name].lock().await.stop().await?;
        self.set_program(name).await;
        self.start(name).await
    }

    /// The same for a gateway, to which no requests are sent meanwhile, as a load balancer does.
    async fn replace_gateway(&self, number: usize) -> Result<()> {
        self.deployment.client.take_out(Some(number - 1));
        let replaced = self.replace(&format!("gateway-{number}")).await;
        self.deployment.client.take_out(None);
        replaced
    }

    async fn start(&self, name: &str) -> Result<()> {
        self.deployment.processes[name].lock().await.start()?;
        self.deployment.until_process_ready(name, READY_WITHIN).await
    }

    async fn stop(&self, name: &str) -> Result<()> {
        self.deployment.processes[name].lock().await.stop().await.map(drop)
    }

    /// Starts the stopped hosts of this number at once.
    async fn start_hosts(&self, number: usize) -> Result<()> {
        let names = DOMAINS.map(|domain| format!("{domain}-{number}"));
        try_join_all(names.iter().map(|name| self.start(name))).await.map(drop)
    }

    /// Stops the hosts of this number at once; those of the other number go on.
    async fn stop_hosts(&self, number: usize) -> Result<()> {
        let names = DOMAINS.map(|domain| format!("{domain}-{number}"));
        try_join_all(names.iter().map(|name| self.stop(name))).await.map(drop)
    }

    /// The numbers of tickets that old hosts have sold after `migrate` (CHANGELOG.md, 0.2.0).
    async fn issue_missing_tickets(&self) -> Result<()> {
        let mut db = PgConnection::connect(&self.deployment.database_url).await?;
        sqlx::query("select reservation.issue_missing_tickets()").execute(&mut db).await?;
        Ok(db.close().await?)
    }

    /// A finding for each host that does not report the version of the new program.
    async fn old_hosts(&self) -> Result<Vec<String>> {
        let mut findings = Vec::new();
        for name in self.deployment.hosts().into_iter().filter(|name| !name.starts_with("gateway")) {
            let health = self.deployment.processes[name].lock().await.spec.health;
            let addr = health.with_context(|| format!("{name} has an address for its health"))?;
            let answer =
                self.deployment.client.http.get(format!("http://{addr}/health/ready")).send().await?;
            let health: serde_json::Value = answer.json().await?;
            if health["version"] != env!("CARGO_PKG_VERSION") {
                findings.push(format!("{name} is of the version {}", health["version"]));
            }
        }
        Ok(findings)
    }
}
