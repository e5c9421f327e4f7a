//! A whole deployment on real servers of its own, used through REST. Its methods are named after what a user does.
//!
//! `close()` fails the test when something was left over: an unsent event, a dead letter, or seats, money or saga logs
//! that do not add up.

#[path = "cinema/actions.rs"]
mod actions;
#[path = "cinema/checks.rs"]
mod checks;
#[path = "budget/meter.rs"]
pub mod meter;
#[path = "cinema/prices.rs"]
pub mod prices;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use actors::seed::Passwords;
use bus::config::Environment;
use marquee::cinema::{Cinema, Opening};
use marquee::local::{Folder, Nats, Postgres, Redis, shared_postgres};
use reqwest::{Method, StatusCode};
use sandbox::Switches;
use serde_json::Value;
use sqlx::PgPool;

use crate::harness::template;
use meter::Meter;

/// E-mail and password of the first SUPER_ADMIN.
pub const OWNER: (&str, &str) = ("owner@marquee.example", "the first of all");

/// The configuration of a test cinema; everything else is as in `marquee up`.
pub struct Plan {
    pub reservation_hosts: usize,
    /// Requests to hosts of the same process do not go over NATS.
    pub in_process: bool,
    pub environment: Vec<(&'static str, String)>,
    /// A Postgres of its own, which the test may kill.
    pub own_postgres: bool,
    pub redis: bool,
    /// With the accounts and the catalogue of the demo.
    pub seed: bool,
    /// With a count of the exchanges with Postgres and of the messages through NATS.
    pub metered: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            reservation_hosts: 1,
            in_process: false,
            environment: Vec::new(),
            own_postgres: false,
            redis: false,
            seed: false,
            metered: false,
        }
    }
}

impl Plan {
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.environment.push((name, value.to_string()));
        self
    }
}

pub struct TestCinema {
    pub nats: Nats,
    pub postgres: Option<Postgres>,
    pub redis: Option<Redis>,
    pub database: PgPool,
    pub http: reqwest::Client,
    pub folder: Folder,
    pub showtime: String,
    pub meter: Option<Meter>,
    /// The monitoring port of NATS.
    pub nats_monitor: Option<u16>,
    environment: Environment,
    plan: Plan,
    open: Option<Cinema>,
    owner: Option<Person>,
    people: AtomicU64,
}

/// A user who is logged in.
#[derive(Clone)]
pub struct Person {
    pub token: String,
}

/// An answer of the gateway.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
    pub text: String,
    pub headers: reqwest::header::HeaderMap,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "the answer was {}", self.text);
        self.body
    }

    /// The code of the problem; empty where the answer has none.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl TestCinema {
    pub async fn open() -> Self {
        Self::open_with(Plan::default()).await
    }

    /// Starts everything; there is one hall of five rows (A–E) of ten seats, and one showtime in a day.
    pub async fn open_with(plan: Plan) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = Folder::temporary().unwrap();
        let nats_folder = folder.join("nats").unwrap();
        let nats_monitor = if plan.metered { Some(free_port().await) } else { None };
        let nats = Nats::start_with(&nats_folder, |configuration| match nats_monitor {
            Some(port) => format!("{configuration}\nhttp: \"127.0.0.1:{port}\"\n"),
            None => configuration.to_owned(),
        });
        let nats = nats.await.unwrap();
        let (postgres, url) = if plan.own_postgres {
            let postgres = Postgres::start(&folder.join("postgres").unwrap(), true).await.unwrap();
            let url = postgres.create_database("marquee").await.unwrap();
            (Some(postgres), url)
        } else {
            (None, shared_postgres().await.unwrap().create_database_from(template().await).await.unwrap())
        };
        let redis =
            if plan.redis { Some(Redis::start(&folder.join("redis").unwrap()).await.unwrap()) } else { None };
        let (meter, hosts_url) = if plan.metered { metered(&url).await } else { (None, url.clone()) };
        let environment = Environment::default()
            .or("DATABASE_URL", &hosts_url)
            .or("NATS_URL", nats.url())
            .or("NATS_PASSWORD", nats.password())
            .or("HTTP_ADDR", "127.0.0.1:0")
            .or("MEDIA_DIR", folder.path().join("media").to_string_lossy())
            .or("JWT_PRIVATE_KEY", actors::auth::token::generate_pem())
            .or("PAYMENT_WEBHOOK_SECRET", "whsec_test")
            .or("PAYMENT_API_KEY", "sk_test_marquee")
            .or("MAIL_DIR", folder.path().join("mail").display().to_string())
            .or("OPEN_HOLDS_MAX", "1000")
            .or("HOLD_MAIL_AFTER_SECONDS", "0")
            .or("RATE_LIMIT_DISABLED", "true")
            .or("SUPER_ADMIN_EMAIL", OWNER.0)
            .or("SUPER_ADMIN_PASSWORD", OWNER.1);
        let environment = redis.iter().fold(environment, |e, redis| e.or("REDIS_URL", redis.url()));
        let environment = plan.environment.iter().fold(environment, |mut e, (name, value)| {
            e.set(name, value);
            e
        });
        let mut cinema = Self {
            nats,
            postgres,
            redis,
            database: PgPool::connect_lazy(&url).unwrap(),
            http: reqwest::Client::builder().timeout(Duration::from_secs(40)).build().unwrap(),
            folder,
            showtime: String::new(),
            meter,
            nats_monitor,
            environment,
            plan,
            open: None,
            owner: None,
            people: AtomicU64::new(0),
        };
        cinema.start_hosts().await;
        cinema.owner = Some(cinema.log_in(OWNER.0, OWNER.1).await);
        cinema.showtime = cinema.schedule(&["SSSSSSSSSS"; 5], 24 * 3600).await;
        cinema
    }

    /// Starts the hosts, the sandbox provider and the gateway on the running servers.
    pub async fn start_hosts(&mut self) {
        let opening = Opening {
            environment: self.environment.clone(),
            sandbox_log: Some(self.folder.path().join("sandbox.jsonl")),
            reservation_hosts: self.plan.reservation_hosts,
            calls_in_process: self.plan.in_process,
            seed: self.plan.seed.then_some(Passwords::Demo),
        };
        self.open = Some(Cinema::open(opening).await.unwrap());
    }

    pub fn database_url(&self) -> String {
        self.environment.get("DATABASE_URL").unwrap()
    }

    /// Changes a setting; it applies from the next start of the hosts.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.set(name, value);
    }

    /// Stops the gateway, the hosts and the sandbox provider in order; the servers go on.
    pub async fn stop_hosts(&mut self) {
        if let Some(cinema) = self.open.take() {
            cinema.close().await;
        }
    }

    /// The settings of a further host.
    pub fn environment(&self) -> Environment {
        let sandbox = self.cinema().sandbox.as_ref().map(|sandbox| sandbox.url());
        sandbox
            .into_iter()
            .fold(self.environment.clone(), |environment, url| environment.or("PAYMENT_API_URL", url))
    }

    /// Starts one more host of a domain; in production several share the work.
    pub async fn start_another(&mut self, domain: &str) {
        let host = self.start_host(domain).await;
        self.cinema_mut().hosts.push(host);
    }

    /// A host that the caller stops, or adds to the cinema's.
    pub async fn start_host(&self, domain: &str) -> actors::host::Host {
        let mut environment = self.environment();
        let nats = marquee::config::nats_among_others(&mut environment, domain);
        let bus = bus::Bus::connect(nats).await.unwrap();
        marquee::hosts::start(domain, &mut environment, bus, None).await.unwrap()
    }

    pub fn cinema(&self) -> &Cinema {
        self.open.as_ref().unwrap()
    }

    pub fn cinema_mut(&mut self) -> &mut Cinema {
        self.open.as_mut().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.cinema().gateway.addr())
    }

    /// Makes the sandbox provider misbehave.
    pub fn switch(&self, switches: Switches) {
        self.cinema().sandbox.as_ref().unwrap().set_switches(switches);
    }

    /// Makes the sandbox provider send the webhooks that `webhook_drop` withheld.
    pub async fn flush_webhooks(&self) {
        let sandbox = self.cinema().sandbox.as_ref().unwrap().url();
        let flushed = self.http.post(format!("{sandbox}/sandbox/webhooks/flush")).send().await.unwrap();
        assert!(flushed.status().is_success());
    }

    pub fn owner(&self) -> Person {
        self.owner.clone().unwrap()
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        who: Option<&Person>,
        body: Option<Value>,
    ) -> Answer {
        let key = uuid::Uuid::new_v4().to_string();
        self.call_with_key(method, path, who, body, &key).await
    }

    pub async fn get(&self, path: &str, who: &Person) -> Answer {
        self.call(Method::GET, path, Some(who), None).await
    }

    pub async fn post(&self, path: &str, who: &Person, body: Value) -> Answer {
        self.call(Method::POST, path, Some(who), Some(body)).await
    }

    pub async fn call_with_key(
        &self,
        method: Method,
        path: &str,
        who: Option<&Person>,
        body: Option<Value>,
        key: &str,
    ) -> Answer {
        self.try_call(method, path, who, body, key).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// As [`Self::call_with_key`], for a gateway that may not be reachable.
    pub async fn try_call(
        &self,
        method: Method,
        path: &str,
        who: Option<&Person>,
        body: Option<Value>,
        key: &str,
    ) -> reqwest::Result<Answer> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.url()));
        if let Some(person) = who {
            request = request.bearer_auth(&person.token);
        }
        if method == Method::POST {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request.send().await?).await
    }
}

/// A meter in front of a database, and the URL of the database through it.
async fn metered(url: &str) -> (Option<Meter>, String) {
    let address = reqwest::Url::parse(url).unwrap();
    let (meter, port) = Meter::start(address.port().unwrap()).await;
    let mut counted = address;
    counted.set_port(Some(port)).unwrap();
    counted.set_host(Some("127.0.0.1")).unwrap();
    (Some(meter), counted.to_string())
}

async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}

pub async fn answer(response: reqwest::Response) -> reqwest::Result<Answer> {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await?;
    Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null), text, headers })
}

pub fn id(of: &Value) -> String {
    of["id"].as_str().unwrap_or_else(|| panic!("no id in {of}")).to_owned()
}
