//! The deployment under test as real processes: two of each host and two gateways (or two of `marquee up`, which contain
//! all of these), NATS, Postgres, Redis, the provider and a mail server, with a proxy between any two that communicate.
//!
//! Invariant: every process reaches each server only through a proxy of its own, so that any pair can be disconnected. The
//! checks read the end state without the proxies. With `--cluster` hosts connect to NATS directly: its servers are machines
//! whose networks can be cut (`cluster/machine.rs`).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use marquee::local::{Folder, Nats, Postgres, Redis, temporary_password};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::backend::{Backend, Single};
use crate::client::Client;
use crate::cluster::{self, Cluster, Replication};
use crate::disk;
use crate::mail_server::MailServer;
use crate::power::{Power, PowerSpec};
use crate::process::{Process, ProcessSpec};
use crate::proxy::Proxy;

pub const DOMAINS: [&str; 6] = ["auth", "movie", "reservation", "payment", "notification", "scheduler"];
pub const OWNER: (&str, &str) = ("owner@marquee.example", "the first of all");
pub const API_KEY: &str = "sk_test_chaos";
/// Enough for sixteen processes on two busy cores, and for one process while servers are restarted.
pub const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long seats are held, and with a begun payment: short, so that holds end during the load and soon after it.
pub const HOLD_SECONDS: (i64, i64) = (12, 20);
/// Longer than half of the hosts take to start and the other half to stop; at its end everything must still be idle in time.
const HOLD_SECONDS_OF_UPGRADE: (i64, i64) = (80, 90);
pub const GRACE_SECONDS: i64 = 6;
pub const DATABASE: &str = "marquee";
/// On a machine of its own; the health of hosts follows.
const GATEWAY_PORT: u16 = 8080;

/// A showtime on sale.
#[derive(Clone, Debug)]
pub struct Showtime {
    pub id: String,
    /// By ticket types of a price card, not by plain prices.
    pub has_types: bool,
    pub rows: Vec<char>,
    pub seats_per_row: usize,
}

/// The program and the shape of the deployment.
#[derive(Clone, Debug)]
pub struct DeploymentSpec {
    pub program: PathBuf,
    /// Postgres and NATS have small file systems of their own, which can be filled.
    pub small_disks: bool,
    /// Two processes of `marquee up`, each with all hosts and a gateway.
    pub together: bool,
    /// NATS and Postgres are clusters. Needs `cluster::enter`.
    pub cluster: Option<Replication>,
    pub planted: Option<String>,
    /// The release that starts everything and is replaced by `program` under load.
    pub upgrade_from: Option<Release>,
    /// Postgres and NATS have disks that can lose what was not synced.
    pub power: Option<PowerSpec>,
}

/// An older release.
#[derive(Clone, Debug)]
pub struct Release {
    pub program: PathBuf,
    /// Its `nats.conf`, which is replaced before anything else; `None`: that of this program.
    pub nats_conf: Option<String>,
}

impl DeploymentSpec {
    /// The program of the hosts and gateways that are started.
    fn first_program(&self) -> &PathBuf {
        self.upgrade_from.as_ref().map_or(&self.program, |release| &release.program)
    }

    fn hold_seconds(&self) -> (i64, i64) {
        if self.upgrade_from.is_some() { HOLD_SECONDS_OF_UPGRADE } else { HOLD_SECONDS }
    }

    /// The `nats.conf` to start with, of which `own` is this program's.
    pub fn nats_conf(&self, own: &str) -> String {
        match (&self.upgrade_from, &self.power) {
            (Some(Release { nats_conf: Some(older), .. }), _) => older.clone(),
            (_, Some(power)) => power.nats_configuration(own),
            _ => own.to_owned(),
        }
    }
}

pub struct Deployment {
    pub nats: Single<Nats>,
    pub postgres: Single<Postgres>,
    cluster: Option<Cluster>,
    pub redis: Mutex<Redis>,
    pub mail_server: MailServer,
    pub processes: BTreeMap<String, Mutex<Process>>,
    pub proxies: Vec<Proxy>,
    pub client: Client,
    pub database_url: String,
    pub nats_url: String,
    pub provider: SocketAddr,
    /// Before the folder, which contains its mounts.
    pub power: Option<Power>,
    pub folder: Folder,
}

/// A free port below those of outgoing connections, one of which could take it while its process is stopped.
fn free_addr() -> Result<SocketAddr> {
    for _ in 0..100 {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(20_000..32_000)));
        if TcpListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    anyhow::bail!("no free port between 20000 and 32000 on 127.0.0.1")
}

impl Deployment {
    /// Starts everything and waits until it is ready.
    pub async fn start(spec: &DeploymentSpec) -> Result<Self> {
        let folder = Folder::temporary()?;
        if spec.small_disks {
            disk::mount(&folder)?;
        }
        let power = match spec.power {
            Some(power) => Some(Power::create(&folder, power).await?),
            None => None,
        };
        let work = folder.join("work")?.path().to_owned();
        let redis = Redis::start(&folder.join("redis")?).await?;
        let backend = Backend::start(spec, &folder, &work, power.as_ref()).await?;
        let is_cluster = matches!(backend, Backend::Cluster(_));
        let servers = Servers {
            redis: SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port())),
            provider: free_addr()?,
            mail_server: MailServer::open().await?,
            gateways: match is_cluster {
                true => cluster::APPLICATION.map(|machine| machine.at(GATEWAY_PORT)).to_vec(),
                false => vec![free_addr()?, free_addr()?],
            },
        };
        let builder = Builder {
            spec,
            work,
            servers: &servers,
            backend: &backend,
            redis: &redis,
            proxies: Vec::new(),
            specs: Vec::new(),
        };
        let (specs, proxies) = builder.all().await?;
        let processes: BTreeMap<_, _> =
            specs.into_iter().map(|spec| (spec.name.clone(), Mutex::new(Process::new(spec)))).collect();
        let (database_url, nats_url) = (backend.database_url(), backend.nats_url());
        let (postgres, nats, cluster) = backend.into_parts();
        let deployment = Self {
            database_url,
            nats_url,
            nats,
            postgres,
            cluster,
            redis: Mutex::new(redis),
            mail_server: servers.mail_server,
            processes,
            proxies,
            client: Client::new(servers.gateways)?,
            provider: servers.provider,
            power,
            folder,
        };
        deployment.migrate(spec.first_program()).await?;
        for process in deployment.processes.values() {
            process.lock().await.start()?;
        }
        deployment.until_ready(READY_WITHIN).await?;
        Ok(deployment)
    }

    /// The cluster of a deployment that has one. Only faults of clusters and their checks ask for it.
    pub fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("the deployment has a cluster")
    }

    pub fn has_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    fn replicas(&self) -> usize {
        if self.has_cluster() { cluster::REPLICAS } else { 1 }
    }

    /// Runs `migrate` of a program.
    pub async fn migrate(&self, program: &Path) -> Result<()> {
        let migrated = tokio::process::Command::new(program)
            .arg("migrate")
            .env_clear()
            .env("DATABASE_URL", &self.database_url)
            .env("NATS_URL", &self.nats_url)
            .env("NATS_PASSWORD", temporary_password())
            // Without NATS_USER: each release has its own user for this command.
            .env("NATS_REPLICAS", self.replicas().to_string())
            .current_dir(self.folder.path())
            .output()
            .await?;
        anyhow::ensure!(migrated.status.success(), "migrate: {}", String::from_utf8_lossy(&migrated.stderr));
        Ok(())
    }

    /// Waits until every host and gateway is ready; returns how long that took.
    pub async fn until_ready(&self, within: Duration) -> Result<Duration> {
        let started = Instant::now();
        try_join_all(self.processes.values().map(|process| self.poll_until_ready(process, started + within)))
            .await?;
        Ok(started.elapsed())
    }

    /// Waits until this process is ready.
    pub async fn until_process_ready(&self, name: &str, within: Duration) -> Result<()> {
        self.poll_until_ready(&self.processes[name], Instant::now() + within).await
    }

    async fn poll_until_ready(&self, process: &Mutex<Process>, until: Instant) -> Result<()> {
        let (name, health, log) = {
            let process = process.lock().await;
            (process.spec.name.clone(), process.spec.health, process.log())
        };
        let Some(health) = health else { return Ok(()) };
        loop {
            let request = self.client.http.get(format!("http://{health}/health/ready"));
            let answer = match request.timeout(Duration::from_secs(3)).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            if Instant::now() > until {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(8).collect();
                anyhow::bail!("{name} is not ready: {answer}; its log ends with {tail:#?}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Supervises the processes: starts those again that have ended by themselves. Runs until it is aborted.
    pub async fn supervise(&self) {
        loop {
            for process in self.processes.values() {
                let mut process = process.lock().await;
                match process.restart_if_ended() {
                    Ok(None) => {}
                    Ok(Some(status)) => {
                        println!(
                            "           {} ended by itself ({status}); started again",
                            process.spec.name
                        );
                    }
                    Err(error) => println!("           {error:#}"),
                }
            }
            if let Some(cluster) = &self.cluster
                && let Err(error) = cluster.restart_ended().await
            {
                println!("           {error:#}");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Every host and gateway by name, without the provider.
    pub fn hosts(&self) -> Vec<&String> {
        self.processes.keys().filter(|name| *name != "provider").collect()
    }
}

/// Makes Postgres record the time of each commit, by which the checks order what happened to a seat.
pub async fn track_commit_times(postgres: &mut Postgres) -> Result<()> {
    use sqlx::Connection;
    let mut connection = sqlx::PgConnection::connect(&postgres.superuser_url("postgres")).await?;
    sqlx::raw_sql("alter system set track_commit_timestamp = on").execute(&mut connection).await?;
    connection.close().await?;
    postgres.start_again().await.context("starting Postgres with commit times")
}

/// The addresses of the other servers and of the gateways.
struct Servers {
    redis: SocketAddr,
    provider: SocketAddr,
    mail_server: MailServer,
    gateways: Vec<SocketAddr>,
}

/// Creates the specification of every process, with its proxies.
struct Builder<'a> {
    spec: &'a DeploymentSpec,
    work: PathBuf,
    servers: &'a Servers,
    backend: &'a Backend,
    /// For its URL with its password.
    redis: &'a Redis,
    proxies: Vec<Proxy>,
    specs: Vec<ProcessSpec>,
}

impl Builder<'_> {
    async fn all(mut self) -> Result<(Vec<ProcessSpec>, Vec<Proxy>)> {
        let key = self.work.join("jwt.pem");
        marquee::config::signing_key(&key)?;
        for number in 1..=2 {
            if self.spec.together {
                self.single_process(number, &key).await?;
                continue;
            }
            for domain in DOMAINS {
                self.host(domain, number, &key).await?;
            }
            self.gateway(number).await?;
        }
        self.provider().await?;
        Ok((self.specs, self.proxies))
    }

    fn is_cluster(&self) -> bool {
        matches!(self.backend, Backend::Cluster(_))
    }

    async fn proxy(&mut self, from: &str, to: &str, targets: Vec<SocketAddr>) -> Result<Proxy> {
        let name = format!("{from}>{to}");
        let proxy = match self.is_cluster() {
            true => Proxy::open_at(cluster::PROGRAM, name, watch::channel(targets).1).await?,
            false => Proxy::open(name, targets).await?,
        };
        self.proxies.push(proxy.clone());
        Ok(proxy)
    }

    /// The settings of every process of Marquee.
    async fn common_settings(&mut self, name: &str) -> Result<Vec<(String, String)>> {
        let (nats_url, replicas) = match self.backend {
            Backend::Single(_, nats) => {
                let nats = SocketAddr::from((Ipv4Addr::LOCALHOST, nats.port()));
                (self.proxy(name, "nats", vec![nats]).await?.url("nats"), 1)
            }
            Backend::Cluster(cluster) => (cluster.nats_url(), cluster::REPLICAS),
        };
        let redis = self.proxy(name, "redis", vec![self.servers.redis]).await?;
        let mut settings = vec![
            ("NATS_URL".to_owned(), nats_url),
            ("NATS_REPLICAS".to_owned(), replicas.to_string()),
            ("NATS_PASSWORD".to_owned(), temporary_password().to_owned()),
            ("REDIS_URL".to_owned(), self.redis.url_through(redis.addr)),
            ("RATE_LIMIT_DISABLED".to_owned(), "true".to_owned()),
            ("RUST_LOG".to_owned(), "info,sqlx=warn,async_nats=warn".to_owned()),
            ("PUBLIC_URL".to_owned(), self.public_url()),
        ];
        if let Some(bug) = &self.spec.planted {
            settings.push(("MARQUEE_PLANTED".to_owned(), bug.clone()));
        }
        Ok(settings)
    }

    async fn host(&mut self, domain: &str, number: usize, key: &Path) -> Result<()> {
        let name = format!("{domain}-{number}");
        let mut environment = self.common_settings(&name).await?;
        let health = self.health(domain, number)?;
        environment.push(("HEALTH_ADDR".to_owned(), health.to_string()));
        if domain != "scheduler" {
            environment.push(self.database(&name).await?);
        }
        environment.extend(self.domain_settings(domain, &name, key).await?);
        self.add(name, vec!["host".to_owned(), domain.to_owned()], environment, Some(health));
        Ok(())
    }

    /// An address for the health of a host. On a machine of its own every port is free.
    fn health(&self, domain: &str, number: usize) -> Result<SocketAddr> {
        if !self.is_cluster() {
            return free_addr();
        }
        let at = DOMAINS.iter().position(|name| *name == domain).unwrap_or_default();
        Ok(cluster::APPLICATION[number - 1].at(GATEWAY_PORT + 1 + u16::try_from(at)?))
    }

    /// Only used in links, which are not followed by their address. A cluster keeps the settings of one machine.
    fn public_url(&self) -> String {
        match self.is_cluster() {
            true => format!("http://localhost:{GATEWAY_PORT}"),
            false => format!("http://{}", self.servers.gateways[0]),
        }
    }

    async fn database(&mut self, name: &str) -> Result<(String, String)> {
        let url = match self.backend {
            Backend::Single(postgres, _) => {
                let server = SocketAddr::from((Ipv4Addr::LOCALHOST, postgres.port()));
                let proxy = self.proxy(name, "postgres", vec![server]).await?;
                postgres.database_url_through(proxy.addr, DATABASE)
            }
            Backend::Cluster(cluster) => {
                let proxy = cluster.proxy_to_primary(format!("{name}>postgres")).await?;
                let url = cluster.url_through(proxy.addr, DATABASE);
                self.proxies.push(proxy);
                url
            }
        };
        Ok(("DATABASE_URL".to_owned(), url))
    }

    /// The further settings of a domain in the process `name`.
    async fn domain_settings(
        &mut self,
        domain: &str,
        name: &str,
        key: &Path,
    ) -> Result<Vec<(String, String)>> {
        let settings = match domain {
            "auth" => vec![
                ("JWT_PRIVATE_KEY", key.display().to_string()),
                ("SUPER_ADMIN_EMAIL", OWNER.0.to_owned()),
                ("SUPER_ADMIN_PASSWORD", OWNER.1.to_owned()),
            ],
            "reservation" => vec![
                ("HOLD_SECONDS", self.spec.hold_seconds().0.to_string()),
                ("HOLD_SECONDS_MAX", self.spec.hold_seconds().1.to_string()),
                ("HOLD_GRACE_SECONDS", GRACE_SECONDS.to_string()),
                ("OPEN_HOLDS_MAX", "1000".to_owned()),
            ],
            "payment" => {
                let provider = self.proxy(name, "provider", vec![self.servers.provider]).await?;
                vec![
                    ("PAYMENT_API_URL", provider.url("http")),
                    ("PAYMENT_API_KEY", API_KEY.to_owned()),
                    ("PAYMENT_WEBHOOK_SECRET", "whsec_chaos".to_owned()),
                    ("RECONCILE_SECONDS", "5".to_owned()),
                ]
            }
            "notification" => {
                let mail_server = self.proxy(name, "mail", vec![self.servers.mail_server.addr]).await?;
                vec![
                    ("SMTP_URL", mail_server.url("smtp")),
                    // So that the mails of a killed host are sent within the run, and mails about holds are sent at all.
                    ("MAIL_CLAIM_SECONDS", "20".to_owned()),
                    ("HOLD_MAIL_AFTER_SECONDS", "0".to_owned()),
                ]
            }
            _ => Vec::new(),
        };
        Ok(settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    async fn gateway(&mut self, number: usize) -> Result<()> {
        let name = format!("gateway-{number}");
        let environment = [self.common_settings(&name).await?, self.gateway_settings(number)].concat();
        let addr = self.servers.gateways[number - 1];
        self.add(name, vec!["gateway".to_owned()], environment, Some(addr));
        Ok(())
    }

    fn gateway_settings(&self, number: usize) -> Vec<(String, String)> {
        let addr = self.servers.gateways[number - 1];
        let media = self.work.join("media");
        vec![
            ("HTTP_ADDR".to_owned(), addr.to_string()),
            ("MEDIA_DIR".to_owned(), media.display().to_string()),
            // Short, so that a rolling restart fits into the run.
            ("DRAIN_SECONDS".to_owned(), "1".to_owned()),
        ]
    }

    /// All hosts and a gateway in one process, which sends its requests without NATS.
    async fn single_process(&mut self, number: usize, key: &Path) -> Result<()> {
        let name = format!("all-{number}");
        let mut environment = [self.common_settings(&name).await?, self.gateway_settings(number)].concat();
        environment.push(self.database(&name).await?);
        for domain in DOMAINS {
            environment.extend(self.domain_settings(domain, &name, key).await?);
        }
        let addr = self.servers.gateways[number - 1];
        let data = self.work.join(&name).display().to_string();
        self.add(name, ["up", "--data", &data].map(str::to_owned).to_vec(), environment, Some(addr));
        Ok(())
    }

    async fn provider(&mut self) -> Result<()> {
        let webhooks = self.proxy("provider", "gateways", self.servers.gateways.clone()).await?;
        let environment = vec![
            ("PAYMENT_API_KEY".to_owned(), API_KEY.to_owned()),
            ("PAYMENT_WEBHOOK_SECRET".to_owned(), "whsec_chaos".to_owned()),
        ];
        let arguments = [
            "sandbox".to_owned(),
            "--addr".to_owned(),
            self.servers.provider.to_string(),
            "--log".to_owned(),
            self.work.join("provider.jsonl").display().to_string(),
            "--webhook-url".to_owned(),
            format!("{}/v1/payments/webhook", webhooks.url("http")),
        ];
        self.add("provider".to_owned(), arguments.to_vec(), environment, None);
        // It stands for a provider outside, which no upgrade replaces.
        if let Some(provider) = self.specs.last_mut() {
            provider.program.clone_from(&self.spec.program);
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: String,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
        health: Option<SocketAddr>,
    ) {
        let (program, folder) = (self.spec.first_program().clone(), self.work.clone());
        // The number of a host is that of its machine; the provider is on none.
        let machine = |number: char| cluster::APPLICATION.get(number.to_digit(10)?.checked_sub(1)? as usize);
        let namespace = match self.is_cluster() {
            true => name.chars().next_back().and_then(machine).map(|machine| machine.namespace()),
            false => None,
        };
        self.specs.push(ProcessSpec { name, program, arguments, environment, folder, health, namespace });
    }
}
