//! NATS and Postgres as clusters: three servers of NATS with three copies of each stream, a primary and a synchronous standby
//! of Postgres under Patroni, and three servers of etcd, which decide who the primary is.
//!
//! Each server and each group of hosts is a machine with its own network namespace (`machine.rs`). Hosts get the addresses
//! of all three servers of NATS, and reach the primary through the proxies of this program, which ask Patroni who it is
//! (`router.rs`): sqlx connects to one address and knows no `target_session_attrs`.

pub mod enter;
pub mod faults;
mod heal;
mod machine;
mod node;
mod router;
mod servers;
mod status;
mod writers;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::proxy::Proxy;
pub use heal::{Healer, Healing};
pub use machine::{APPLICATION, PROGRAM};
use machine::{Machine, NATS, POSTGRES};
use node::Node;
pub use servers::Replication;
use servers::{NATS_PORT, POSTGRES_PORT, Passwords, SUPERUSER, USER};
use status::Status;
pub use writers::Acknowledged;
use writers::Writers;

/// How long until every copy is there again: the copy of a standby that cannot be joined is made anew.
pub const WHOLE_WITHIN: Duration = Duration::from_secs(120);
/// Two election timeouts, `initdb`, a base backup, and a busy machine.
const START_WITHIN: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const READ_WITHIN: Duration = Duration::from_secs(5);
const STANDBYS: &str =
    "select count(*) from pg_stat_replication where state = 'streaming' and sync_state = $1";

/// The copies of each stream.
pub const REPLICAS: usize = NATS.len();

/// The servers of the cluster.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    status: Status,
    /// The address of the primary, or none.
    primary: watch::Receiver<Vec<SocketAddr>>,
    /// To the primary, for everything that is no process of the deployment.
    own_proxy: Proxy,
    passwords: Passwords,
    replication: Replication,
    writers: Writers,
}

/// What was seen of the cluster in a run.
#[derive(Debug)]
pub struct Seen {
    pub healings: Vec<Healing>,
    pub acknowledged: Vec<Acknowledged>,
    /// The rows that are there at the end, by server and number.
    pub written: HashSet<(String, i64)>,
}

impl Cluster {
    /// Starts everything and creates the database; `folder` is for logs and data.
    pub async fn start(folder: &Path, database: &str, replication: Replication) -> Result<Self> {
        machine::connect_all().await?;
        let passwords = Passwords::random();
        let mut nodes = Vec::new();
        for (machine, spec) in servers::all(folder, &passwords, replication)? {
            let node = Node::new(machine, spec);
            node.start().await?;
            nodes.push(node);
        }
        let status = Status::new()?;
        let primary = router::watch_primary(status.clone());
        let own_proxy = Proxy::open_at(PROGRAM, "chaos>postgres", primary.clone()).await?;
        let writers = Writers::default();
        let cluster = Self { nodes, status, primary, own_proxy, passwords, replication, writers };
        cluster.until_whole(START_WITHIN).await?;
        cluster.create_databases(&[database, writers::DATABASE]).await?;
        writers::create_table(&cluster.own_url(writers::DATABASE)).await?;
        let urls = POSTGRES.map(|machine| {
            (
                machine,
                cluster.url(USER, &cluster.passwords.user, machine.at(POSTGRES_PORT), writers::DATABASE),
            )
        });
        cluster.writers.start(urls.into());
        Ok(cluster)
    }

    async fn create_databases(&self, names: &[&str]) -> Result<()> {
        let url = self.url(SUPERUSER, &self.passwords.superuser, self.own_proxy.addr, "postgres");
        let mut db = PgConnection::connect(&url).await?;
        let create = format!("create role {USER} login password '{}'", self.passwords.user);
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut db).await?;
        for name in names {
            let create = format!("create database {name} owner {USER}");
            sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut db).await?;
        }
        Ok(db.close().await?)
    }

    fn url(&self, user: &str, password: &str, addr: SocketAddr, database: &str) -> String {
        format!("postgres://{user}:{password}@{addr}/{database}")
    }

    /// The URL of a database at the server that is the primary now, for this program.
    pub fn own_url(&self, database: &str) -> String {
        self.url_through(self.own_proxy.addr, database)
    }

    /// The same through another proxy.
    pub fn url_through(&self, addr: SocketAddr, database: &str) -> String {
        self.url(USER, &self.passwords.user, addr, database)
    }

    /// A new proxy to the primary, which resets its connections when another server becomes the primary.
    pub async fn proxy_to_primary(&self, name: String) -> Result<Proxy> {
        Proxy::open_at(PROGRAM, name, self.primary.clone()).await
    }

    /// The addresses of all servers of NATS, as `NATS_URL` lists them.
    pub fn nats_url(&self) -> String {
        NATS.map(|machine| format!("nats://{}", machine.at(NATS_PORT))).join(",")
    }

    fn node(&self, machine: Machine) -> &Node {
        let found = self.nodes.iter().find(|node| node.machine == machine);
        found.expect("every server has a node")
    }

    async fn whole(&self) -> Result<()> {
        let (state, role) = self.replication.standby();
        self.status.whole(role).await?;
        // What Patroni says may be some seconds old.
        let url = self.url(SUPERUSER, &self.passwords.superuser, self.own_proxy.addr, "postgres");
        let copies = async {
            let mut db = PgConnection::connect(&url).await?;
            let copies: i64 = sqlx::query_scalar(STANDBYS).bind(state).fetch_one(&mut db).await?;
            db.close().await?;
            anyhow::Ok(copies)
        };
        let copies =
            tokio::time::timeout(READ_WITHIN, copies).await.context("the primary does not answer")??;
        anyhow::ensure!(copies == 1, "the primary has {copies} standbys that are {state}");
        Ok(())
    }

    /// Waits until every server is there with a current copy of everything; returns how long that took.
    pub async fn until_whole(&self, within: Duration) -> Result<Duration> {
        let begun = Instant::now();
        loop {
            match self.whole().await {
                Ok(()) => return Ok(begun.elapsed()),
                Err(error) if begun.elapsed() > within => {
                    return Err(error.context(format!("not all copies are there after {within:?}")));
                }
                Err(_) => {}
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Starts servers again that have ended by themselves, as systemd does.
    pub async fn restart_ended(&self) -> Result<()> {
        for node in &self.nodes {
            if let Some(status) = node.process.lock().await.restart_if_ended()? {
                println!("           {} ended by itself ({status}); started again", node.name());
            }
        }
        Ok(())
    }

    /// Ends the writers and reads what they have written.
    pub async fn seen(&self, healings: Vec<Healing>) -> Result<Seen> {
        let acknowledged = self.writers.stop();
        let written = writers::read(&self.own_url(writers::DATABASE)).await?;
        Ok(Seen { healings, acknowledged, written })
    }
}
