//! A system for one test: its own NATS and its own database on the shared Postgres, hosts started in this process, and
//! accounts to ask them with.

use std::time::{Duration, Instant};

use actors::auth::token;
use actors::config::{AuthSettings, HostConfig, MovieSettings, Promotes};
use actors::host::{DomainBuilder, Host};
use bus::connection::Credentials;
use bus::contract::Request;
use bus::contract::auth::{KeySet, Login, Register, Session};
use bus::service::Ask;
use bus::{Bus, Config, Context, Problem};
use marquee::config::OPERATOR;
use marquee::local::{Folder, Nats, shared_postgres, temporary_password};
use sqlx::PgPool;
use tokio::sync::OnceCell;

pub const SUPER_ADMIN: (&str, &str) = ("root@marquee.example", "the first of all");
pub const PASSWORD: &str = "correct horse";

/// The name of a migrated database, which the tests copy.
pub async fn template() -> &'static str {
    const NAME: &str = "template_migrated";
    static MIGRATED: OnceCell<()> = OnceCell::const_new();
    MIGRATED
        .get_or_init(async || {
            let url = shared_postgres().await.unwrap().create_database(NAME).await.unwrap();
            actors::migrations::migrate(&url).await.unwrap();
        })
        .await;
    NAME
}

/// A connection of its own, as a user of `nats.conf`.
pub async fn connect(nats_url: &str, user: &str) -> Bus {
    let (url, user) = (nats_url.to_owned(), user.to_owned());
    let (password, name) = (temporary_password().into(), "test".into());
    Bus::connect(Config {
        urls: vec![url],
        user,
        credentials: Credentials::Password(password),
        name,
        streams: Default::default(),
    })
    .await
    .unwrap()
}

/// Everything that a test talks to.
pub struct TestSystem {
    pub bus: Bus,
    pub database: PgPool,
    pub config: HostConfig,
    /// Signs access tokens.
    pub jwt_private_key: String,
    pub nats: Nats,
    hosts: Vec<Host>,
}

impl TestSystem {
    /// Servers, and no host yet.
    pub async fn start() -> Self {
        let nats = Nats::start(&Folder::temporary().unwrap()).await.unwrap();
        let database_url =
            shared_postgres().await.unwrap().create_database_from(template().await).await.unwrap();
        Self {
            bus: connect(&nats.url(), OPERATOR).await,
            database: PgPool::connect_lazy(&database_url).unwrap(),
            config: HostConfig { database_url, redis_url: None, jwt_public_keys: KeySet::default() },
            jwt_private_key: token::generate_pem(),
            nats,
            hosts: Vec::new(),
        }
    }

    pub async fn builder(&self, domain: &'static str) -> DomainBuilder {
        DomainBuilder::connect(&self.config, self.bus.clone(), domain).await.unwrap()
    }

    pub async fn with_auth(self) -> Self {
        self.with_auth_as(|_| ()).await
    }

    /// An auth host with other settings.
    pub async fn with_auth_as(mut self, change: impl FnOnce(&mut AuthSettings)) -> Self {
        let (email, password) = SUPER_ADMIN;
        let mut settings = AuthSettings {
            jwt_private_key: self.jwt_private_key.clone(),
            super_admin: Some((email.into(), password.into())),
            issuer: bus::token::ISSUER.to_owned(),
            login_max: Duration::from_secs(90 * 24 * 60 * 60),
            throttle: None,
            is_shared: false,
            promotes: Promotes::Movie,
        };
        change(&mut settings);
        self.hosts.push(actors::auth::spawn(self.builder("auth").await, settings).await.unwrap());
        self
    }

    pub async fn with_movie(mut self) -> Self {
        self.hosts
            .push(actors::movie::spawn(self.builder("movie").await, MovieSettings::default()).await.unwrap());
        self
    }

    /// Asks with a token, or without one for public requests. Waits for a host that has just been started.
    pub async fn ask<R: Request>(&self, request: &R, token: Option<&str>) -> Result<R::Answer, Problem> {
        let ask = Ask { token: token.map(str::to_owned), ..Ask::new(Context::new()) };
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.bus.ask(request, &ask).await {
                // Nobody listens there yet; a host that is busy would say so itself.
                Err(problem) if problem.detail.contains("away or slow") && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                answered => return answered,
            }
        }
    }

    pub async fn register(&self, email: &str) -> Session {
        let (email, password, name) = (email.to_owned(), PASSWORD.to_owned(), "Ada".to_owned());
        self.ask(&Register { email, password, name }, None).await.unwrap()
    }

    pub async fn log_in(&self, email: &str, password: &str) -> Result<Session, Problem> {
        self.ask(&Login { email: email.to_owned(), password: password.to_owned(), device_token: None }, None)
            .await
    }

    /// The token of somebody who may do everything.
    pub async fn super_admin(&self) -> String {
        self.log_in(SUPER_ADMIN.0, SUPER_ADMIN.1).await.unwrap().access_token
    }

    /// Waits until so many events of this subject are in the stream, and returns their payloads in order.
    pub async fn events<E: bus::contract::Event>(&self, count: usize) -> Vec<E> {
        let seen = tokio::time::timeout(Duration::from_secs(30), async {
            let stream = loop {
                match bus::topology::events(&self.bus).await {
                    Ok(stream) => break stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
            let mut seen = Vec::new();
            let mut next = 1;
            while seen.len() < count {
                match stream.get_first_raw_message_by_subject(E::SUBJECT, next).await {
                    Ok(message) => {
                        next = message.sequence + 1;
                        seen.push(serde_json::from_slice(&message.payload).unwrap());
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
            seen
        });
        seen.await.unwrap_or_else(|_| panic!("not {count} events {} within 30 s", E::SUBJECT))
    }

    /// Waits until a consumer has acknowledged all that it hears up to this place in the stream.
    pub async fn until_heard(&self, consumer: &str, sequence: u64) {
        let stream = bus::topology::events(&self.bus).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let info = stream.consumer_info(consumer).await.unwrap();
            // Not by what is pending: a consumer may not have noticed yet what the stream has.
            if info.ack_floor.stream_sequence >= sequence {
                return;
            }
            assert!(Instant::now() < deadline, "not heard: {info:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for a fact in the database.
    pub async fn until(&self, what: &str, fact: impl AsyncFn(&PgPool) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !fact(&self.database).await {
            assert!(Instant::now() < deadline, "not within 30 s: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the hosts in order; what they wrote has left by then.
    pub async fn finish(self) {
        for host in self.hosts {
            host.stop().await;
        }
        for schema in ["auth", "movie", "reservation", "payment"] {
            let query = format!("select count(*) from {schema}.unsent");
            let unsent: i64 =
                sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&self.database).await.unwrap();
            assert_eq!(unsent, 0, "events in {schema}'s outbox were not sent");
        }
    }
}
