//! The whole house as real processes: two of each host, two gateways (or two of `marquee up`, which is all of these in one),
//! NATS, Postgres, Redis, the provider, a mail server; and a link between any two that talk.
//!
//! Invariant: every process reaches the servers only through links of its own, so any pair can be parted. The harness itself
//! reads the end state past them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use marquee::local::{Folder, Nats, Postgres, Redis, temporary_password};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::disk;
use crate::link::Link;
use crate::post::Post;
use crate::process::{Plan, Process};
use crate::rest::Rest;

pub const DOMAINS: [&str; 6] = ["auth", "movie", "reservation", "payment", "notification", "scheduler"];
pub const OWNER: (&str, &str) = ("owner@marquee.example", "the first of all");
pub const API_KEY: &str = "sk_test_chaos";
/// Sixteen dev builds on two busy cores; one of them while servers come and go.
pub const READY_WITHIN: Duration = Duration::from_secs(120);
/// Short, so that holds end while the load runs and soon after it.
pub const HOLD_SECONDS: i64 = 12;
pub const HOLD_SECONDS_MAX: i64 = 20;
pub const GRACE_SECONDS: i64 = 6;

/// A showtime on sale.
#[derive(Clone, Debug)]
pub struct Hall {
    pub showtime: String,
    pub rows: Vec<char>,
    pub seats_a_row: usize,
}

/// Where the program is and how the house is built.
#[derive(Clone, Debug)]
pub struct Blueprint {
    pub program: PathBuf,
    /// Postgres and NATS on small file systems of their own, which can be filled.
    pub small_disks: bool,
    /// All hosts and the gateway in one process, as `marquee up` has them, and two such processes.
    pub together: bool,
    pub planted: Option<String>,
}

pub struct House {
    pub nats: Mutex<Nats>,
    pub postgres: Mutex<Postgres>,
    pub redis: Mutex<Redis>,
    pub post: Post,
    pub processes: BTreeMap<String, Mutex<Process>>,
    pub links: Vec<Link>,
    pub rest: Rest,
    pub database_url: String,
    pub nats_url: String,
    pub provider: SocketAddr,
    pub folder: Folder,
}

/// A port below those that the kernel gives to outgoing connections, so that none of those takes it while its process is away.
fn free_addr() -> Result<SocketAddr> {
    for _ in 0..100 {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(20_000..32_000)));
        if TcpListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    anyhow::bail!("no free port between 20000 and 32000 on 127.0.0.1")
}

impl House {
    /// Builds everything and waits until it is ready.
    pub async fn build(blueprint: &Blueprint) -> Result<Self> {
        let folder = Folder::temporary()?;
        if blueprint.small_disks {
            disk::mount(&folder)?;
        }
        let (mut postgres, nats, redis) = tokio::try_join!(
            async { Postgres::start(&folder.join("postgres")?, true).await },
            async { Nats::start(&folder.join("nats")?).await },
            async { Redis::start(&folder.join("redis")?).await },
        )?;
        let database_url = postgres.create_database("marquee").await?;
        keep_commit_times(&mut postgres).await?;
        let servers = Servers {
            postgres: SocketAddr::from((Ipv4Addr::LOCALHOST, postgres.port())),
            nats: SocketAddr::from((Ipv4Addr::LOCALHOST, nats.port())),
            redis: SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port())),
            provider: free_addr()?,
            post: Post::open().await?,
            gateways: vec![free_addr()?, free_addr()?],
        };
        let work = folder.join("work")?.path().to_owned();
        let local = (&postgres, &redis);
        let builder =
            Builder { blueprint, work, servers: &servers, local, links: Vec::new(), plans: Vec::new() };
        let (plans, links) = builder.all().await?;
        let processes: BTreeMap<_, _> =
            plans.into_iter().map(|plan| (plan.name.clone(), Mutex::new(Process::new(plan)))).collect();
        let house = Self {
            database_url,
            nats_url: nats.url(),
            nats: Mutex::new(nats),
            postgres: Mutex::new(postgres),
            redis: Mutex::new(redis),
            post: servers.post,
            processes,
            links,
            rest: Rest::new(servers.gateways)?,
            provider: servers.provider,
            folder,
        };
        house.migrate(&blueprint.program).await?;
        for process in house.processes.values() {
            process.lock().await.start()?;
        }
        house.until_ready(READY_WITHIN).await?;
        Ok(house)
    }

    async fn migrate(&self, program: &PathBuf) -> Result<()> {
        let migrated = tokio::process::Command::new(program)
            .arg("migrate")
            .env_clear()
            .env("DATABASE_URL", &self.database_url)
            .env("NATS_URL", &self.nats_url)
            .env("NATS_PASSWORD", temporary_password())
            .current_dir(self.folder.path())
            .output()
            .await?;
        anyhow::ensure!(migrated.status.success(), "migrate: {}", String::from_utf8_lossy(&migrated.stderr));
        Ok(())
    }

    /// Waits until every host and gateway says that it is ready; tells how long that took.
    pub async fn until_ready(&self, within: Duration) -> Result<Duration> {
        let started = Instant::now();
        try_join_all(self.processes.values().map(|process| self.until_one_ready(process, started + within)))
            .await?;
        Ok(started.elapsed())
    }

    /// Waits until this one is ready.
    pub async fn one_ready(&self, name: &str, within: Duration) -> Result<()> {
        self.until_one_ready(&self.processes[name], Instant::now() + within).await
    }

    async fn until_one_ready(&self, process: &Mutex<Process>, until: Instant) -> Result<()> {
        let (name, health, log) = {
            let process = process.lock().await;
            (process.plan.name.clone(), process.plan.health, process.log())
        };
        let Some(health) = health else { return Ok(()) };
        loop {
            let asked = self.rest.http.get(format!("http://{health}/health/ready"));
            let seen = match asked.timeout(Duration::from_secs(3)).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            if Instant::now() > until {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(8).collect();
                anyhow::bail!("{name} is not ready: {seen}; its log ends with {tail:#?}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Starts again what ended by itself, every second, for as long as the house stands.
    pub async fn keep(&self) {
        loop {
            for process in self.processes.values() {
                let mut process = process.lock().await;
                match process.revive() {
                    Ok(None) => {}
                    Ok(Some(status)) => {
                        println!(
                            "           {} ended by itself ({status}); started again",
                            process.plan.name
                        );
                    }
                    Err(error) => println!("           {error:#}"),
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Every host and gateway by name, without the provider.
    pub fn hosts(&self) -> Vec<&String> {
        self.processes.keys().filter(|name| *name != "provider").collect()
    }
}

/// Postgres remembers when each transaction was committed: by that the harness orders what happened to a seat.
async fn keep_commit_times(postgres: &mut Postgres) -> Result<()> {
    use sqlx::Connection;
    let mut connection = sqlx::PgConnection::connect(&postgres.superuser_url("postgres")).await?;
    sqlx::raw_sql("alter system set track_commit_timestamp = on").execute(&mut connection).await?;
    connection.close().await?;
    postgres.start_again().await.context("starting Postgres with commit times")
}

/// Where the servers are.
struct Servers {
    postgres: SocketAddr,
    nats: SocketAddr,
    redis: SocketAddr,
    provider: SocketAddr,
    post: Post,
    gateways: Vec<SocketAddr>,
}

/// Makes the plan of every process, with its links.
struct Builder<'a> {
    blueprint: &'a Blueprint,
    work: PathBuf,
    servers: &'a Servers,
    /// They know their passwords.
    local: (&'a Postgres, &'a Redis),
    links: Vec<Link>,
    plans: Vec<Plan>,
}

impl Builder<'_> {
    async fn all(mut self) -> Result<(Vec<Plan>, Vec<Link>)> {
        let key = self.work.join("jwt.pem");
        marquee::config::signing_key(&key)?;
        for number in 1..=2 {
            if self.blueprint.together {
                self.cinema(number, &key).await?;
                continue;
            }
            for domain in DOMAINS {
                self.host(domain, number, &key).await?;
            }
            self.gateway(number).await?;
        }
        self.provider().await?;
        Ok((self.plans, self.links))
    }

    async fn link(&mut self, from: &str, to: &str, targets: Vec<SocketAddr>) -> Result<Link> {
        let link = Link::open(format!("{from}>{to}"), targets).await?;
        self.links.push(link.clone());
        Ok(link)
    }

    /// What every process of ours is told.
    async fn basics(&mut self, name: &str) -> Result<Vec<(String, String)>> {
        let nats = self.link(name, "nats", vec![self.servers.nats]).await?;
        let redis = self.link(name, "redis", vec![self.servers.redis]).await?;
        let mut basics = vec![
            ("NATS_URL".to_owned(), nats.url("nats")),
            ("NATS_PASSWORD".to_owned(), temporary_password().to_owned()),
            ("REDIS_URL".to_owned(), self.local.1.url_through(redis.addr)),
            ("RATE_LIMIT_DISABLED".to_owned(), "true".to_owned()),
            ("RUST_LOG".to_owned(), "info,sqlx=warn,async_nats=warn".to_owned()),
            ("PUBLIC_URL".to_owned(), format!("http://{}", self.servers.gateways[0])),
        ];
        if let Some(bug) = &self.blueprint.planted {
            basics.push(("MARQUEE_PLANTED".to_owned(), bug.clone()));
        }
        Ok(basics)
    }

    async fn host(&mut self, domain: &str, number: usize, key: &Path) -> Result<()> {
        let name = format!("{domain}-{number}");
        let mut environment = self.basics(&name).await?;
        let health = free_addr()?;
        environment.push(("HEALTH_ADDR".to_owned(), health.to_string()));
        if domain != "scheduler" {
            environment.push(self.database(&name).await?);
        }
        environment.extend(self.settings(domain, &name, key).await?);
        self.plan(name, vec!["host".to_owned(), domain.to_owned()], environment, Some(health));
        Ok(())
    }

    async fn database(&mut self, name: &str) -> Result<(String, String)> {
        let postgres = self.link(name, "postgres", vec![self.servers.postgres]).await?;
        Ok(("DATABASE_URL".to_owned(), self.local.0.database_url_through(postgres.addr, "marquee")))
    }

    /// What one domain is told besides the basics, in the process `name`.
    async fn settings(&mut self, domain: &str, name: &str, key: &Path) -> Result<Vec<(String, String)>> {
        let settings = match domain {
            "auth" => vec![
                ("JWT_PRIVATE_KEY", key.display().to_string()),
                ("SUPER_ADMIN_EMAIL", OWNER.0.to_owned()),
                ("SUPER_ADMIN_PASSWORD", OWNER.1.to_owned()),
            ],
            "reservation" => vec![
                ("HOLD_SECONDS", HOLD_SECONDS.to_string()),
                ("HOLD_SECONDS_MAX", HOLD_SECONDS_MAX.to_string()),
                ("HOLD_GRACE_SECONDS", GRACE_SECONDS.to_string()),
                ("OPEN_HOLDS_MAX", "1000".to_owned()),
            ],
            "payment" => {
                let provider = self.link(name, "provider", vec![self.servers.provider]).await?;
                vec![
                    ("PAYMENT_API_URL", provider.url("http")),
                    ("PAYMENT_API_KEY", API_KEY.to_owned()),
                    ("PAYMENT_WEBHOOK_SECRET", "whsec_chaos".to_owned()),
                    ("RECONCILE_SECONDS", "5".to_owned()),
                ]
            }
            "notification" => {
                let post = self.link(name, "post", vec![self.servers.post.addr]).await?;
                vec![
                    ("SMTP_URL", post.url("smtp")),
                    // So that a killed host's mails are sent within a run, and mails about holds at all.
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
        let environment = [self.basics(&name).await?, self.door(number)].concat();
        let addr = self.servers.gateways[number - 1];
        self.plan(name, vec!["gateway".to_owned()], environment, Some(addr));
        Ok(())
    }

    fn door(&self, number: usize) -> Vec<(String, String)> {
        let addr = self.servers.gateways[number - 1];
        let media = self.work.join("media");
        vec![
            ("HTTP_ADDR".to_owned(), addr.to_string()),
            ("MEDIA_DIR".to_owned(), media.display().to_string()),
        ]
    }

    /// Every host and a gateway in one process, who ask each other without NATS.
    async fn cinema(&mut self, number: usize, key: &Path) -> Result<()> {
        let name = format!("cinema-{number}");
        let mut environment = [self.basics(&name).await?, self.door(number)].concat();
        environment.push(self.database(&name).await?);
        for domain in DOMAINS {
            environment.extend(self.settings(domain, &name, key).await?);
        }
        let addr = self.servers.gateways[number - 1];
        let data = self.work.join(&name).display().to_string();
        self.plan(name, ["up", "--data", &data].map(str::to_owned).to_vec(), environment, Some(addr));
        Ok(())
    }

    async fn provider(&mut self) -> Result<()> {
        let webhooks = self.link("provider", "gateways", self.servers.gateways.clone()).await?;
        let environment = vec![
            ("PAYMENT_API_KEY".to_owned(), API_KEY.to_owned()),
            ("PAYMENT_WEBHOOK_SECRET".to_owned(), "whsec_chaos".to_owned()),
        ];
        let arguments = [
            "sandbox".to_owned(),
            "--addr".to_owned(),
            self.servers.provider.to_string(),
            "--log".to_owned(),
            self.work.join("books.jsonl").display().to_string(),
            "--webhook-url".to_owned(),
            format!("{}/v1/payments/webhook", webhooks.url("http")),
        ];
        self.plan("provider".to_owned(), arguments.to_vec(), environment, None);
        Ok(())
    }

    fn plan(
        &mut self,
        name: String,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
        health: Option<SocketAddr>,
    ) {
        let (program, folder) = (self.blueprint.program.clone(), self.work.clone());
        self.plans.push(Plan { name, program, arguments, environment, folder, health });
    }
}
