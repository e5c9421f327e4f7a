//! The deployment that is measured: local servers and `marquee` processes, as in development or as in production.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actors::auth::token::{Signer, generate_pem};
use anyhow::Context;
use bus::Bus;
use bus::contract::auth::{Claims, Role};
use futures::StreamExt;
use marquee::local::{External, Folder, Servers, temporary_password};
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::client::Client;
use crate::processes::Watched;

const OWNER: (&str, &str) = ("owner@marquee.example", "popcorn-2026");
/// Starting all hosts takes seconds on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// Which processes a deployment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Topology {
    /// `marquee up`: everything in one process
    One,
    /// A process for each host, the gateway and the provider
    Hosts,
    /// As hosts, with four reservation hosts
    Hosts4,
}

impl Topology {
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "one process",
            Self::Hosts => "hosts",
            Self::Hosts4 => "hosts, 4 of reservation",
        }
    }
}

/// A running deployment. Its processes end when it is dropped.
pub struct Deployment {
    pub servers: Servers,
    pub addr: SocketAddr,
    /// Of every gateway, `addr` first; customers take turns.
    addrs: Vec<SocketAddr>,
    customers: AtomicUsize,
    /// Hosts of each domain, and gateways, where they are processes of their own.
    copies: usize,
    pub database_url: String,
    signer: Signer,
    processes: Vec<(String, Child)>,
    environment: Vec<(&'static str, String)>,
    _folder: Folder,
}

impl Deployment {
    /// Starts servers and processes and waits until they are ready.
    pub async fn open(topology: Topology) -> anyhow::Result<Self> {
        let mut deployment = Self::servers().await?;
        deployment.start(topology).await?;
        Ok(deployment)
    }

    /// Starts servers, `copies` hosts of each domain and as many gateways, and waits until every one of them is ready.
    pub async fn open_hosts(copies: usize) -> anyhow::Result<Self> {
        anyhow::ensure!(copies > 0, "a deployment has at least one host of each kind");
        let mut deployment = Self::servers().await?;
        deployment.copies = copies;
        deployment.start(Topology::Hosts).await?;
        deployment.until_all_answer().await?;
        Ok(deployment)
    }

    /// Starts only the servers, with a migrated database.
    pub async fn servers() -> anyhow::Result<Self> {
        let folder = Folder::temporary()?;
        let servers = Servers::start(&folder, External::default()).await?;
        let pem = generate_pem();
        let addr = free_addr()?;
        let environment = vec![
            ("DATABASE_URL", servers.database_url.clone()),
            ("NATS_URL", servers.nats_url.clone()),
            ("NATS_PASSWORD", temporary_password().to_owned()),
            ("REDIS_URL", servers.redis_url.clone().unwrap_or_default()),
            ("JWT_PRIVATE_KEY", pem.clone()),
            ("HTTP_ADDR", addr.to_string()),
            ("PUBLIC_URL", format!("http://{addr}")),
            ("RATE_LIMIT_DISABLED", "true".to_owned()),
            ("SUPER_ADMIN_EMAIL", OWNER.0.to_owned()),
            ("SUPER_ADMIN_PASSWORD", OWNER.1.to_owned()),
            ("PAYMENT_API_KEY", "sk_test_bench".to_owned()),
            ("PAYMENT_WEBHOOK_SECRET", "whsec_bench".to_owned()),
            ("MAIL_DIR", folder.join("mail")?.path().display().to_string()),
            ("MEDIA_DIR", folder.join("media")?.path().display().to_string()),
            ("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned())),
        ];
        let database_url = servers.database_url.clone();
        let signer = Signer::from_pem(&pem)?;
        let deployment = Self {
            servers,
            addr,
            addrs: vec![addr],
            customers: AtomicUsize::new(0),
            copies: 1,
            database_url,
            signer,
            processes: vec![],
            environment,
            _folder: folder,
        };
        actors::migrations::migrate(&deployment.database_url).await?;
        Ok(deployment)
    }

    /// Starts the processes and waits until they are ready.
    pub async fn start(&mut self, topology: Topology) -> anyhow::Result<Duration> {
        let started = Instant::now();
        match topology {
            Topology::One => {
                let data = self._folder.join("up")?.path().display().to_string();
                self.spawn("marquee", &["up", "--data", &data], None)?;
            }
            Topology::Hosts | Topology::Hosts4 => {
                let provider = free_addr()?;
                let log = self._folder.join("sandbox")?.path().join("books.jsonl").display().to_string();
                let webhook = format!("http://{}/v1/payments/webhook", self.addr);
                self.spawn(
                    "sandbox",
                    &["sandbox", "--addr", &provider.to_string(), "--log", &log, "--webhook-url", &webhook],
                    None,
                )?;
                self.environment.retain(|(name, _)| *name != "PAYMENT_API_URL");
                self.environment.push(("PAYMENT_API_URL", format!("http://{provider}")));
                for host in actors::DOMAINS.iter().map(|domain| domain.name) {
                    let is_four = host == "reservation" && topology == Topology::Hosts4;
                    for _ in 0..if is_four { 4 } else { self.copies } {
                        self.spawn(host, &["host", host], None)?;
                    }
                }
                self.addrs.truncate(1);
                for copy in 0..self.copies {
                    if copy > 0 {
                        self.addrs.push(free_addr()?);
                    }
                    self.spawn("gateway", &["gateway"], Some(self.addrs[copy]))?;
                }
            }
        }
        self.until_ready().await?;
        Ok(started.elapsed())
    }

    /// `http_addr` replaces that of the environment.
    fn spawn(&mut self, name: &str, arguments: &[&str], http_addr: Option<SocketAddr>) -> anyhow::Result<()> {
        let child = Command::new(program()?)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
            .envs(http_addr.map(|addr| ("HTTP_ADDR", addr.to_string())))
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start marquee")?;
        self.processes.push((name.to_owned(), child));
        Ok(())
    }

    async fn until_ready(&mut self) -> anyhow::Result<()> {
        for addr in self.addrs.clone() {
            self.until_ready_at(addr).await?;
        }
        Ok(())
    }

    async fn until_ready_at(&mut self, addr: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Ok(mut client) = Client::connect(addr, None).await
                && let Ok(answer) = client.get("/health/ready").await
                && answer.status.is_success()
                && answer.json()?.get("degraded").is_none()
            {
                return Ok(());
            }
            for (name, child) in &mut self.processes {
                if let Some(status) = child.try_wait()? {
                    anyhow::bail!("{name} ended: {status}");
                }
            }
            anyhow::ensure!(Instant::now() < deadline, "the deployment was not ready within {START_MAX:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A gateway is ready when one host of each domain answers. This waits for all of them.
    async fn until_all_answer(&self) -> anyhow::Result<()> {
        let client = self.bus().await?.client;
        let deadline = Instant::now() + START_MAX;
        loop {
            let inbox = client.new_inbox();
            let mut answers = client.subscribe(inbox.clone()).await?;
            client.publish_with_reply("$SRV.PING", inbox, "".into()).await?;
            let mut instances: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            while let Ok(Some(answer)) =
                tokio::time::timeout(Duration::from_millis(300), answers.next()).await
            {
                let service: serde_json::Value = serde_json::from_slice(&answer.payload)?;
                let text = |field: &str| service[field].as_str().unwrap_or_default().to_owned();
                instances.entry(text("name")).or_default().insert(text("id"));
            }
            // A domain without tables answers no requests.
            let mut domains = actors::DOMAINS.iter().filter(|domain| domain.migrations.is_some());
            let answers =
                |domain: &actors::domain::Domain| instances.get(domain.name).map_or(0, BTreeSet::len);
            if domains.all(|domain| answers(domain) >= self.copies) {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "of {} hosts of each domain these answered within {START_MAX:?}: {instances:?}",
                self.copies
            );
        }
    }

    /// Kills every `marquee` process at once; the servers keep running.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        for (_, mut child) in self.processes.drain(..) {
            child.kill().await?;
        }
        Ok(())
    }

    /// Stops processes and servers gracefully.
    pub async fn close(mut self) -> anyhow::Result<()> {
        use nix::sys::signal::{Signal, kill};
        for (_, child) in &self.processes {
            if let Some(pid) = child.id() {
                kill(nix::unistd::Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)?;
            }
        }
        for (_, child) in &mut self.processes {
            child.wait().await?;
        }
        self.servers.stop().await
    }

    /// A connection of the SUPER_ADMIN.
    pub async fn owner(&self) -> anyhow::Result<Client> {
        let mut client = Client::connect(self.addr, None).await?;
        let login = serde_json::json!({"email": OWNER.0, "password": OWNER.1});
        let session = client.post("/v1/auth/login", None, &login).await?.expect(200)?;
        client.set_token(session["accessToken"].as_str().context("no token")?);
        Ok(client)
    }

    /// A connection of a customer. The token is signed here: hundreds of logins would measure argon2.
    pub async fn customer(&self) -> anyhow::Result<Client> {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let sub = Uuid::now_v7();
        let claims = Claims {
            iss: format!("http://{}", self.addr),
            aud: format!("http://{}", self.addr),
            sub,
            sid: Uuid::now_v7(),
            email: format!("{sub}@bench.example"),
            name: "Ada".to_owned(),
            role: Role::User,
            email_verified: true,
            epoch: 0,
            iat: now,
            exp: now + 3_600,
        };
        let turn = self.customers.fetch_add(1, Ordering::Relaxed);
        Client::connect(self.addrs[turn % self.addrs.len()], Some(self.signer.sign(&claims)?)).await
    }

    /// A NATS connection that may do everything.
    pub async fn bus(&self) -> anyhow::Result<Bus> {
        Bus::connect(bus::Config {
            urls: vec![self.servers.nats_url.clone()],
            user: marquee::config::MAINTENANCE.to_owned(),
            credentials: bus::connection::Credentials::Password(temporary_password().to_owned()),
            name: "bench".to_owned(),
            streams: Default::default(),
        })
        .await
    }

    /// All processes whose CPU time is measured, including the load generator.
    pub fn watched(&self) -> Vec<Watched> {
        let own = self
            .processes
            .iter()
            .filter_map(|(name, child)| Some(Watched { name: name.clone(), pid: child.id()? }));
        let servers = [
            ("postgres", self.servers.postgres.as_ref().and_then(|s| s.pid())),
            ("nats", self.servers.nats.as_ref().and_then(|s| s.pid())),
            ("redis", self.servers.redis.as_ref().and_then(|s| s.pid())),
            ("load generator", Some(std::process::id())),
        ];
        let servers =
            servers.into_iter().filter_map(|(name, pid)| Some(Watched { name: name.to_owned(), pid: pid? }));
        own.chain(servers).collect()
    }
}

/// The `marquee` binary in this program's folder.
fn program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("marquee");
    anyhow::ensure!(program.exists(), "{} does not exist; `make bench` builds it", program.display());
    Ok(program)
}

fn free_addr() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
