//! Delivery on real servers, which are killed, paused, wiped and disconnected.
//!
//! The domain under test is `probe`: accounts with an owner and a version, just enough for a rejection, a stale change and
//! a broken constraint. It is assembled from the same `DomainBuilder` as every domain. Every outcome must agree with the database,
//! and every committed event must be in the stream exactly once by its id.

mod consumers;
mod journal;
mod outages;
mod probe;
mod proxy;
mod query_plans;
mod relay;
mod supervision;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use actors::config::HostConfig;
use actors::delivery::{Change, Journal};
use actors::host::{DomainBuilder, Host};
use bus::Bus;
use bus::consumer::DatabaseUp;
use bus::contract::Timestamp;
use bus::contract::auth::KeySet;
use bus::event::Outgoing;
use futures::StreamExt;
use marquee::config::MAINTENANCE;
use marquee::local::{Folder, Nats, Postgres, shared_postgres};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::OnceCell;
use uuid::Uuid;

use probe::Probe;

/// Long enough for a busy machine; only a failing test waits so long.
const SOON: Duration = Duration::from_secs(30);

/// Waits until `fact` is `Ok`; panics with the last error otherwise.
async fn until<T, S: Debug>(what: &str, bound: Duration, mut fact: impl AsyncFnMut() -> Result<T, S>) -> T {
    let end = Instant::now() + bound;
    loop {
        match tokio::time::timeout(bound, fact()).await {
            Ok(Ok(found)) => return found,
            Ok(Err(seen)) => assert!(Instant::now() < end, "not within {bound:?}: {what}; seen: {seen:?}"),
            Err(_) => panic!("not within {bound:?}: {what}; it did not return"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// `Ok` with the value if `fact` is true for it, else `Err` with the value.
fn check<T: Debug>(value: T, fact: impl Fn(&T) -> bool) -> Result<T, T> {
    if fact(&value) { Ok(value) } else { Err(value) }
}

/// Panics instead of waiting for ever.
async fn bounded<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"))
}

async fn make_probe_schema(url: &str) {
    actors::migrations::migrate(url).await.unwrap();
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(
        "create schema probe;
         select delivery.create_tables('probe');
         create table probe.accounts (
           id      uuid primary key,
           owner   text not null constraint one_account_an_owner unique,
           version bigint not null constraint versions_are_positive check (version > 0)
         )",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
}

/// A database for this test on the Postgres that all tests share.
async fn database() -> String {
    static TEMPLATE: OnceCell<()> = OnceCell::const_new();
    let postgres = shared_postgres().await.unwrap();
    TEMPLATE
        .get_or_init(async || make_probe_schema(&postgres.create_database("delivery").await.unwrap()).await)
        .await;
    postgres.create_database_from("delivery").await.unwrap()
}

/// A Postgres that this test may kill.
async fn own_postgres() -> (Postgres, String) {
    let folder = Folder::temporary().unwrap().join("postgres").unwrap();
    let postgres = Postgres::start(&folder, false).await.unwrap();
    let url = postgres.create_database("delivery").await.unwrap();
    make_probe_schema(&url).await;
    (postgres, url)
}

async fn own_nats() -> Nats {
    Nats::start(&Folder::temporary().unwrap().join("nats").unwrap()).await.unwrap()
}

async fn connect(nats: &Nats) -> Bus {
    crate::harness::connect(&nats.url(), MAINTENANCE).await
}

/// A host of the domain `probe`.
struct ProbeHost {
    journal: Journal<Probe>,
    database_up: DatabaseUp,
    builder: DomainBuilder,
    running: Host,
    /// A direct connection, even where the host connects through a proxy.
    pool: PgPool,
}

impl ProbeHost {
    async fn start(database: &str, bus: &Bus) -> Self {
        Self::start_with(database, database, bus).await
    }

    async fn start_with(hosts: &str, direct: &str, bus: &Bus) -> Self {
        let config = HostConfig { database_url: hosts.to_owned(), jwt_public_keys: KeySet::default() };
        let builder = DomainBuilder::connect(&config, bus.clone(), "probe").await.unwrap();
        let (journal, database_up, children) = builder.delivery::<Probe>();
        let running = builder.clone().start(database_up.clone(), move || children.clone()).await.unwrap();
        let pool = actors::delivery::Database::new(direct, "probe").unwrap().pool;
        Self { journal, database_up, builder, running, pool }
    }

    /// An event with the id of a probe.
    fn event(&self, probe: &Probe) -> Outgoing {
        event(&probe.id.to_string(), self.builder.clock.now())
    }

    /// A change with one event.
    fn change(&self, probe: Probe) -> Change<Probe> {
        let outbox = vec![self.event(&probe)];
        Change { outbox, ..Change::new(probe) }
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    async fn accounts(&self) -> BTreeSet<Uuid> {
        let ids: Vec<Uuid> =
            sqlx::query_scalar("select id from accounts").fetch_all(&self.pool).await.unwrap();
        ids.into_iter().collect()
    }

    async fn outbox_ids(&self) -> BTreeSet<String> {
        let ids: Vec<String> =
            sqlx::query_scalar("select id::text from events").fetch_all(&self.pool).await.unwrap();
        ids.into_iter().collect()
    }

    /// Waits until the stream has exactly the events of the outbox, once each by id, and all are marked as published.
    async fn until_all_is_published(&self, bus: &Bus) -> BTreeSet<String> {
        let outbox = self.outbox_ids().await;
        until("every outbox row is in the stream once", SOON, async || {
            let stream = stream_ids(bus).await;
            let distinct: BTreeSet<String> = stream.iter().cloned().collect();
            let unmarked = self.count("select count(*) from unsent").await;
            if distinct == outbox && stream.len() == distinct.len() && unmarked == 0 {
                Ok(())
            } else {
                Err(format!(
                    "{} rows, {unmarked} of them unmarked; stream has {}, {} distinct",
                    outbox.len(),
                    stream.len(),
                    distinct.len()
                ))
            }
        })
        .await;
        outbox
    }
}

fn event(text: &str, time: Timestamp) -> Outgoing {
    Outgoing {
        id: Uuid::now_v7(),
        subject: "movie.probed".into(),
        source: "/marquee/probe".into(),
        time,
        payload: format!(r#"{{"probe":"{text}"}}"#).into(),
        context: bus::Context::new(),
    }
}

/// The ids of all events in EVENTS.
async fn stream_ids(bus: &Bus) -> Vec<String> {
    read_stream(bus, bus::topology::EVENTS).await.into_iter().map(|(id, _)| id).collect()
}

/// The ids and headers of all messages in a stream. Waits while the stream cannot be read.
async fn read_stream(bus: &Bus, name: &str) -> Vec<(String, async_nats::HeaderMap)> {
    until("the stream can be read", SOON, async || {
        try_read_stream(bus, name).await.map_err(|e| e.to_string())
    })
    .await
}

async fn try_read_stream(bus: &Bus, name: &str) -> anyhow::Result<Vec<(String, async_nats::HeaderMap)>> {
    let mut stream = bus.jetstream.get_stream(name).await?;
    let messages = stream.info().await?.state.messages as usize;
    let config = async_nats::jetstream::consumer::pull::Config {
        ack_policy: async_nats::jetstream::consumer::AckPolicy::None,
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let mut found = Vec::new();
    while found.len() < messages {
        let mut batch = consumer.fetch().max_messages(5_000).messages().await?;
        let before = found.len();
        while let Some(Ok(message)) = batch.next().await {
            let headers = message.headers.clone().unwrap_or_default();
            let id = headers.get(bus::event::CE_ID).map(|id| id.to_string()).unwrap_or_default();
            found.push((id, headers));
        }
        anyhow::ensure!(found.len() > before, "only {before} of {messages} messages can be read");
    }
    Ok(found)
}
