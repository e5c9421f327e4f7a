//! One actor host: a tree host → domain → consumers, journal, relay, endpoints, entities.
//!
//! It stops in two steps: first the intake (endpoints, consumers, sweeps) until what is in work is done, then the
//! delivery (journal, relay) until what waits is written and sent.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::consumer::{Delivery, Wellness};
use bus::token::Verifier;
use bus::topology::ConsumerSpec;
use bus::{Bus, service};
use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::{Actor, ActorRef};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::HostConfig;
use crate::database::Database;
use crate::delivery::relay::Relay;
use crate::delivery::{Clock, Journal, JournalParts, Rows, SeatLock, maintain};
use crate::supervision::{Child, Supervisor, SupervisorArguments, SupervisorMessage, worker};

/// Longest wait for what is in work when the host stops; a request's own deadline is shorter.
const STOP_MAX: Duration = Duration::from_secs(12);

/// What a domain is built from.
#[derive(Clone)]
pub struct Parts {
    pub domain: &'static str,
    pub bus: Bus,
    pub database: Database,
    pub clock: Clock,
    pub verifier: Verifier,
    pub redis: Option<ConnectionManager>,
    /// Cancelled first: endpoints, consumers and sweeps take nothing more.
    pub intake: CancellationToken,
    taking: TaskTracker,
    delivering: CancellationToken,
    writing: TaskTracker,
}

impl Parts {
    /// Connects one domain to the servers it needs. Redis may be absent or down.
    pub async fn connect(config: &HostConfig, bus: Bus, domain: &'static str) -> anyhow::Result<Self> {
        let database = Database::new(&config.database_url, domain)?;
        let clock =
            Clock::read(&database.pool).await.context("the database does not answer at DATABASE_URL")?;
        let redis = match &config.redis_url {
            Some(url) => connect_redis(url).await?,
            None => None,
        };
        Ok(Self {
            domain,
            verifier: Verifier::new(bus.clone(), &config.jwt_public_keys),
            bus,
            database,
            clock,
            redis,
            intake: CancellationToken::new(),
            taking: TaskTracker::new(),
            delivering: CancellationToken::new(),
            writing: TaskTracker::new(),
        })
    }

    /// The domain's journal and relay, with the children that run them.
    pub fn delivery<R: Rows>(&self, lock: Option<SeatLock>) -> (Journal<R>, Wellness, Vec<Child>) {
        let (queue, relay) = Relay::new(self.database.clone(), self.bus.clone());
        let (journal, parts, well) = JournalParts::<R>::new(
            self.database.clone(),
            self.clock.clone(),
            queue,
            self.bus.client.clone(),
            lock,
        );
        let database = self.database.clone();
        let children = vec![
            self.writer("journal", move |stop| parts.clone().run(stop)),
            self.writer("relay", move |stop| relay.clone().run(stop)),
            self.taker("maintenance", move |stop| maintain(database.clone(), stop)),
        ];
        (journal, well, children)
    }

    /// A durable consumer whose messages go to `handle`.
    pub fn consumer(
        &self,
        spec: ConsumerSpec,
        well: Wellness,
        handle: Arc<dyn Fn(Delivery) + Send + Sync>,
    ) -> Child {
        let bus = self.bus.clone();
        self.taker("consumer", move |stop| {
            let running = bus::consumer::run(bus.clone(), spec, well.clone(), stop, handle.clone());
            async move { Ok(running.await?) }
        })
    }

    /// The domain's NATS service; `serve` adds its endpoints.
    pub fn service<F>(&self, serve: F) -> Child
    where
        F: Fn(service::Server) -> BoxFuture<'static, Result<service::Server, bus::Failure>>
            + Send
            + Sync
            + 'static,
    {
        let parts = self.clone();
        let serve = Arc::new(serve);
        self.taker("service", move |stop| {
            let (parts, serve) = (parts.clone(), serve.clone());
            async move {
                let server =
                    service::Server::start(&parts.bus, parts.domain, parts.verifier.clone(), stop.clone())
                        .await?;
                serve(server).await?.ended().await;
                anyhow::ensure!(stop.is_cancelled(), "the endpoints ended");
                Ok(())
            }
        })
    }

    /// A loop of the intake.
    pub fn taker<F, Fut>(&self, name: &'static str, run: F) -> Child
    where
        F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let tracker = self.taking.clone();
        worker(name, self.intake.clone(), move |stop| tracker.track_future(run(stop)))
    }

    fn writer<F, Fut>(&self, name: &'static str, run: F) -> Child
    where
        F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let tracker = self.writing.clone();
        worker(name, self.delivering.clone(), move |stop| tracker.track_future(run(stop)))
    }

    /// Starts the tree. `children` is asked again each time the domain's supervisor is restarted.
    pub async fn start(
        self,
        well: Wellness,
        children: impl Fn() -> Vec<Child> + Send + Sync + 'static,
    ) -> anyhow::Result<Host> {
        let domain = self.domain;
        let children = Arc::new(children);
        let tree = Child::new(domain, move |supervisor| {
            let arguments = SupervisorArguments { name: domain.to_owned(), children: children() };
            async move { Ok(Actor::spawn_linked(None, Supervisor, arguments, supervisor).await?.0.get_cell()) }.boxed()
        });
        let arguments = SupervisorArguments { name: format!("host {domain}"), children: vec![tree] };
        let (supervisor, ended) = Actor::spawn(None, Supervisor, arguments).await?;
        tracing::info!(domain, "host started");
        Ok(Host { parts: self, supervisor, ended: Some(ended), well })
    }
}

/// A running host.
pub struct Host {
    parts: Parts,
    supervisor: ActorRef<SupervisorMessage>,
    ended: Option<JoinHandle<()>>,
    well: Wellness,
}

/// What `/health/ready` tells of a host.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    pub domain: &'static str,
    pub nats: bool,
    pub database: bool,
    /// Children that were restarted since this process started.
    pub restarts: u64,
}

impl Host {
    pub fn domain(&self) -> &'static str {
        self.parts.domain
    }

    /// Reads a host's health at any time, without holding the host.
    pub fn health(&self) -> impl Fn() -> Health + Send + Sync + Clone + 'static {
        let (domain, bus, well) = (self.parts.domain, self.parts.bus.clone(), self.well.clone());
        move || Health {
            domain,
            nats: bus.is_connected(),
            database: *well.borrow(),
            restarts: crate::supervision::restarts(),
        }
    }

    /// Waits until the tree has given up. A host that stops in order does not end this way.
    pub async fn failed(&mut self) {
        if let Some(ended) = &mut self.ended {
            // A panic of the supervisor is an end as well.
            let _ = ended.await;
            self.ended = None;
        }
    }

    /// Takes nothing more, finishes what is in work, writes and sends what waits, ends.
    pub async fn stop(self) {
        let parts = self.parts;
        parts.intake.cancel();
        parts.taking.close();
        if tokio::time::timeout(STOP_MAX, parts.taking.wait()).await.is_err() {
            tracing::warn!(domain = parts.domain, "requests still in work at the stop");
        }
        parts.delivering.cancel();
        parts.writing.close();
        if tokio::time::timeout(STOP_MAX, parts.writing.wait()).await.is_err() {
            tracing::warn!(domain = parts.domain, "the outbox waits for the next start");
        }
        self.supervisor.stop(None);
        parts.database.pool.close().await;
        tracing::info!(domain = parts.domain, "host stopped");
    }

    /// Ends at once, as a crash would: nothing is finished, nothing is sent.
    pub fn kill(self) {
        self.supervisor.kill();
        if let Some(ended) = self.ended {
            ended.abort();
        }
    }
}

/// Redis is an optimisation: when it does not answer now the host starts without, and says so.
async fn connect_redis(url: &str) -> anyhow::Result<Option<ConnectionManager>> {
    let client = redis::Client::open(url).context("REDIS_URL is not a Redis URL")?;
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_millis(500)));
    Ok(Some(ConnectionManager::new_lazy_with_config(client, config)?))
}
