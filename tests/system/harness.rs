//! A system for one test: its own NATS, its own database on the shared Postgres, hosts started in this process, and
//! accounts whose tokens the requests carry.
//!
//! `finish()` fails the test when an event was not published or a dead letter is left.

use std::time::{Duration, Instant};

use actors::auth::token;
use actors::config::{AuthSettings, HostConfig, MovieSettings, Promotes};
use actors::host::{DomainBuilder, Host};
use async_nats::HeaderMap;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bus::connection::Credentials;
use bus::contract::Request;
use bus::contract::auth::{KeySet, Login, Register, Session};
use bus::service::Ask;
use bus::{Bus, Config, Context, Problem};
use marquee::config::MAINTENANCE;
use marquee::local::{Folder, Nats, shared_postgres, temporary_password};
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::OnceCell;

pub const SUPER_ADMIN: (&str, &str) = ("root@marquee.example", "the first of all");
pub const PASSWORD: &str = "correct horse";
/// Long enough for a busy machine; only a failing test waits so long.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The name of a migrated database of which each test gets a copy.
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

/// A new connection as a user of `nats.conf`.
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

/// An event in the stream EVENTS.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    pub id: String,
    pub subject: String,
    pub headers: HeaderMap,
    pub payload: Value,
}

impl StoredEvent {
    /// The value of a header; empty where the event has none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.as_str()).unwrap_or_default()
    }
}

/// All events of a subject (`>` for every subject) in the stream, in order. Waits while the stream cannot be read.
pub async fn events_of(bus: &Bus, subject: &str) -> Vec<StoredEvent> {
    let began = Instant::now();
    loop {
        match try_events_of(bus, subject).await {
            Ok(events) => return events,
            Err(error) => assert!(began.elapsed() < MAX_WAIT, "the stream cannot be read: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn try_events_of(bus: &Bus, subject: &str) -> anyhow::Result<Vec<StoredEvent>> {
    let stream = bus.jetstream.get_stream(bus::topology::EVENTS).await?;
    let (mut found, mut next) = (Vec::new(), 1);
    loop {
        let message = match stream.get_first_raw_message_by_subject(subject, next).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(found),
            Err(error) => return Err(error.into()),
        };
        next = message.sequence + 1;
        found.push(StoredEvent {
            id: message.headers.get(bus::event::CE_ID).map(ToString::to_string).unwrap_or_default(),
            subject: message.subject.to_string(),
            payload: serde_json::from_slice(&message.payload).unwrap(),
            headers: message.headers,
        });
    }
}

/// The servers and hosts of one test, and what it needs to use them.
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
    /// Starts the servers, without any host.
    pub async fn start() -> Self {
        let nats = Nats::start(&Folder::temporary().unwrap()).await.unwrap();
        let database_url =
            shared_postgres().await.unwrap().create_database_from(template().await).await.unwrap();
        Self {
            bus: connect(&nats.url(), MAINTENANCE).await,
            database: PgPool::connect_lazy(&database_url).unwrap(),
            config: HostConfig { database_url, jwt_public_keys: KeySet::default() },
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

    /// Starts an auth host with changed settings.
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
            retention: None,
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

    /// Sends a request with a token, or without one for public requests. Waits for a host that has just been started.
    pub async fn ask<R: Request>(&self, request: &R, token: Option<&str>) -> Result<R::Answer, Problem> {
        let ask = Ask { token: token.map(str::to_owned), ..Ask::new(Context::new()) };
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.bus.ask(request, &ask).await {
                // No host has subscribed yet; a host that is busy answers with another problem.
                Err(problem) if problem.detail.contains("away or slow") && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                answered => return answered,
            }
        }
    }

    pub async fn register(&self, email: &str) -> Session {
        let (email, password, name) = (email.to_owned(), PASSWORD.to_owned(), "Ada".to_owned());
        self.ask(&Register { email, password, name, order_token: None }, None).await.unwrap()
    }

    pub async fn log_in(&self, email: &str, password: &str) -> Result<Session, Problem> {
        self.ask(&Login { email: email.to_owned(), password: password.to_owned(), device_token: None }, None)
            .await
    }

    /// The access token of the SUPER_ADMIN.
    pub async fn super_admin(&self) -> String {
        self.log_in(SUPER_ADMIN.0, SUPER_ADMIN.1).await.unwrap().access_token
    }

    /// Waits until the stream has at least so many events of this subject, and returns the payloads of all, in order.
    pub async fn events<E: bus::contract::Event>(&self, count: usize) -> Vec<E> {
        let began = Instant::now();
        loop {
            let stored = events_of(&self.bus, E::SUBJECT).await;
            if stored.len() >= count {
                return stored.into_iter().map(|e| serde_json::from_value(e.payload).unwrap()).collect();
            }
            let seen = stored.len();
            assert!(began.elapsed() < MAX_WAIT, "{seen} of {count} events {} in {MAX_WAIT:?}", E::SUBJECT);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a consumer has acknowledged all its messages up to this sequence of the stream.
    pub async fn until_handled(&self, consumer: &str, sequence: u64) {
        let stream = bus::topology::events(&self.bus).await.unwrap();
        let began = Instant::now();
        loop {
            let info = stream.consumer_info(consumer).await.unwrap();
            // `num_pending` may be 0 before the consumer has noticed a new message of the stream.
            if info.ack_floor.stream_sequence >= sequence {
                return;
            }
            assert!(began.elapsed() < MAX_WAIT, "message {sequence} is not handled: {info:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until `fact` is true; it gets the database.
    pub async fn until(&self, what: &str, fact: impl AsyncFn(&PgPool) -> bool) {
        let began = Instant::now();
        while !fact(&self.database).await {
            assert!(began.elapsed() < MAX_WAIT, "not within {MAX_WAIT:?}: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the test: the hosts stop in order, which publishes what they have written, and no dead letter may be left.
    pub async fn finish(self) {
        for host in self.hosts {
            host.stop().await;
        }
        for schema in ["auth", "movie", "reservation", "payment", "notification"] {
            let query = format!("select count(*) from {schema}.unsent");
            let unsent: i64 =
                sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&self.database).await.unwrap();
            assert_eq!(unsent, 0, "{schema}.outbox has events that were not published");
        }
        let dead_letters = self.bus.jetstream.get_stream(bus::topology::DLQ).await.unwrap();
        assert_eq!(dead_letters.cached_info().state.messages, 0, "there are dead letters");
    }
}
