//! One actor host: a tree of one domain's consumers, journal, relay, endpoints, entities.
//!
//! It stops step by step: first the intake (endpoints, consumers, sweeps) until what is in work is done, then the
//! journal until what waits is written, then the relay until that is sent.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bus::consumer::{Delivery, Wellness};
use bus::contract::auth::KeySet;
use bus::token::Verifier;
use bus::topology::ConsumerSpec;
use bus::{Bus, service};
use futures::future::BoxFuture;
use ractor::{Actor, ActorRef};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::HostConfig;
use crate::database::Database;
use crate::delivery::relay::Relay;
use crate::delivery::{Clock, Journal, JournalParts, Rows, SeatLock, maintain, measure};
use crate::supervision::{Child, Supervisor, SupervisorArguments, SupervisorMessage, worker};

/// Longest wait for what is in work when the host stops; a request's own deadline is shorter.
const STOP_MAX: Duration = Duration::from_secs(12);

/// A host that starts waits so long for its endpoints to be known to NATS; without NATS it goes on without.
const SERVED_MAX: Duration = Duration::from_secs(3);

/// What every host has: its way to the others, and the order in which its workers stop.
#[derive(Clone)]
pub struct Frame {
    pub domain: &'static str,
    pub bus: Bus,
    /// Cancelled first: endpoints, consumers and sweeps take nothing more.
    pub intake: CancellationToken,
    taking: TaskTracker,
    deciding: CancellationToken,
    writing: TaskTracker,
    sending: CancellationToken,
    publishing: TaskTracker,
}

impl Frame {
    pub fn new(bus: Bus, domain: &'static str) -> Self {
        Self {
            domain,
            bus,
            intake: CancellationToken::new(),
            taking: TaskTracker::new(),
            deciding: CancellationToken::new(),
            writing: TaskTracker::new(),
            sending: CancellationToken::new(),
            publishing: TaskTracker::new(),
        }
    }

    /// A loop of the intake.
    pub fn taker<F, Fut>(&self, name: &'static str, run: F) -> Child
    where
        F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        tracked(name, &self.taking, &self.intake, run)
    }

    /// A loop that the intake stands on: told to stop only when the intake has ended.
    pub fn carrier<F, Fut>(&self, name: &'static str, run: F) -> Child
    where
        F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        tracked(name, &self.writing, &self.deciding, run)
    }

    /// Starts the tree. There is one supervisor, and with its budget the host ends: a second one above it would see a
    /// failure only every half minute and restart for ever.
    pub async fn start(
        self,
        database: Option<Database>,
        well: Wellness,
        children: impl Fn() -> Vec<Child> + Send + Sync + 'static,
    ) -> anyhow::Result<Host> {
        let domain = self.domain;
        let arguments = SupervisorArguments { name: domain.to_owned(), children: children() };
        let (supervisor, ended) = Actor::spawn(None, Supervisor, arguments).await?;
        tracing::info!(domain, "host started");
        let complaints = Arc::new(Vec::new);
        Ok(Host { frame: self, database, supervisor, ended: Some(ended), well, complaints })
    }
}

/// What a domain is built from.
#[derive(Clone)]
pub struct Parts {
    frame: Frame,
    pub database: Database,
    pub clock: Clock,
    pub verifier: Verifier,
    /// `JWT_PUBLIC_KEYS`: what tokens may be signed with besides what auth signs with now.
    pub public_keys: KeySet,
    pub redis: Option<ConnectionManager>,
    /// No endpoint is left to be told to NATS.
    served: watch::Sender<bool>,
}

impl std::ops::Deref for Parts {
    type Target = Frame;
    fn deref(&self) -> &Frame {
        &self.frame
    }
}

impl Parts {
    /// Connects one domain to the servers it needs, waiting a while for Postgres. Redis may be absent or down.
    pub async fn connect(config: &HostConfig, bus: Bus, domain: &'static str) -> anyhow::Result<Self> {
        let verifier = Verifier::new(bus.clone(), &config.jwt_public_keys);
        Self::connect_with(config, bus, domain, verifier).await
    }

    /// The same with a verifier that others of this process have too, so that each token is verified once.
    pub async fn connect_with(
        config: &HostConfig,
        bus: Bus,
        domain: &'static str,
        verifier: Verifier,
    ) -> anyhow::Result<Self> {
        let database = Database::new(&config.database_url, domain)?;
        let clock = Clock::read(&database).await?;
        let redis = match &config.redis_url {
            Some(url) => connect_redis(url, domain).await?,
            None => None,
        };
        let public_keys = config.jwt_public_keys.clone();
        let (frame, served) = (Frame::new(bus, domain), watch::Sender::new(true));
        Ok(Self { frame, verifier, public_keys, database, clock, redis, served })
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
        let (database, measured) = (self.database.clone(), self.database.clone());
        let children = vec![
            tracked("journal", &self.writing, &self.deciding, move |stop| parts.clone().run(stop)),
            tracked("relay", &self.publishing, &self.sending, move |stop| relay.clone().run(stop)),
            self.taker("maintenance", move |stop| maintain(database.clone(), stop)),
            self.taker("gauges", move |stop| measure(measured.clone(), stop)),
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
        self.service_once(watch::channel(true).1, serve)
    }

    /// A NATS service that nobody sees before the host is `prepared`.
    pub fn service_once<F>(&self, prepared: watch::Receiver<bool>, serve: F) -> Child
    where
        F: Fn(service::Server) -> BoxFuture<'static, Result<service::Server, bus::Failure>>
            + Send
            + Sync
            + 'static,
    {
        self.served.send_replace(false);
        let parts = self.clone();
        let serve = Arc::new(serve);
        self.taker("service", move |stop| {
            let (parts, serve, mut prepared) = (parts.clone(), serve.clone(), prepared.clone());
            async move {
                tokio::select! {
                    _ = stop.cancelled() => return Ok(()),
                    // Who tells may be gone once it is told.
                    is = prepared.wait_for(|is| *is) => drop(is),
                }
                let server =
                    service::Server::start(&parts.bus, parts.domain, parts.verifier.clone(), stop.clone())
                        .await?;
                let server = serve(server).await?;
                parts.served.send_replace(true);
                server.ended().await;
                anyhow::ensure!(stop.is_cancelled(), "the endpoints ended");
                Ok(())
            }
        })
    }

    /// Starts the tree (see [`Frame::start`]) and returns once its endpoints answer: who is told that a host is there may ask it.
    pub async fn start(
        self,
        well: Wellness,
        children: impl Fn() -> Vec<Child> + Send + Sync + 'static,
    ) -> anyhow::Result<Host> {
        let (domain, bus, mut served) = (self.domain, self.bus.clone(), self.served.subscribe());
        let host = self.frame.start(Some(self.database), well, children).await?;
        let answering = async {
            served.wait_for(|served| *served).await?;
            // NATS takes what a connection says in order: with this answer it knows every endpoint.
            bus::topology::ensure_streams(&bus).await?;
            anyhow::Ok(())
        };
        match tokio::time::timeout(SERVED_MAX, answering).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(domain, %error, "started, but NATS does not answer"),
            Err(_) => tracing::warn!(domain, "started, but NATS does not answer in time"),
        }
        Ok(host)
    }
}

/// A running host.
pub struct Host {
    frame: Frame,
    /// A host that keeps nothing has none.
    database: Option<Database>,
    supervisor: ActorRef<SupervisorMessage>,
    ended: Option<JoinHandle<()>>,
    well: Wellness,
    complaints: Complaints,
}

/// What is wrong with a host that goes on all the same, a sentence each.
type Complaints = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What `/health/ready` tells of a host.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    pub domain: &'static str,
    pub nats: bool,
    /// Absent where the host has no database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<bool>,
    /// Children that were restarted since this process started.
    pub restarts: u64,
    /// What is wrong although the host is ready: work waits, and nothing that others need from it is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
}

impl Health {
    pub fn is_ready(&self) -> bool {
        self.nats && self.database != Some(false)
    }
}

impl Host {
    pub fn domain(&self) -> &'static str {
        self.frame.domain
    }

    /// Adds what the host says of itself when it is degraded.
    pub fn with_complaints(self, complaints: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        Self { complaints: Arc::new(complaints), ..self }
    }

    /// Reads a host's health at any time, without holding the host.
    pub fn health(&self) -> impl Fn() -> Health + Send + Sync + Clone + 'static {
        let (domain, bus, well) = (self.frame.domain, self.frame.bus.clone(), self.well.clone());
        let (has_database, complaints) = (self.database.is_some(), self.complaints.clone());
        move || Health {
            domain,
            nats: bus.is_connected(),
            database: has_database.then(|| *well.borrow()),
            restarts: crate::supervision::restarts(),
            degraded: complaints(),
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
        let frame = self.frame;
        frame.intake.cancel();
        frame.taking.close();
        if tokio::time::timeout(STOP_MAX, frame.taking.wait()).await.is_err() {
            tracing::warn!(domain = frame.domain, "requests still in work at the stop");
        }
        frame.deciding.cancel();
        frame.writing.close();
        if tokio::time::timeout(STOP_MAX, frame.writing.wait()).await.is_err() {
            tracing::warn!(
                domain = frame.domain,
                "the database hangs; what was not written is lost and was told so"
            );
        }
        frame.sending.cancel();
        frame.publishing.close();
        if tokio::time::timeout(STOP_MAX, frame.publishing.wait()).await.is_err() {
            tracing::warn!(domain = frame.domain, "the outbox waits for the next start");
        }
        self.supervisor.stop(None);
        if let Some(database) = self.database {
            database.pool.close().await;
        }
        tracing::info!(domain = frame.domain, "host stopped");
    }

    /// Ends at once, as a crash would: nothing is finished, nothing is sent.
    pub fn kill(self) {
        self.supervisor.kill();
        if let Some(ended) = self.ended {
            ended.abort();
        }
    }
}

/// A worker that is waited for when the host stops.
fn tracked<F, Fut>(name: &'static str, tracker: &TaskTracker, stop: &CancellationToken, run: F) -> Child
where
    F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let tracker = tracker.clone();
    worker(name, stop.clone(), move |stop| tracker.track_future(run(stop)))
}

/// Redis is an optimisation: when it does not answer now the host starts without, and says why.
async fn connect_redis(url: &str, domain: &'static str) -> anyhow::Result<Option<ConnectionManager>> {
    let client = bus::redis::client(url)?;
    let look = client.clone();
    tokio::spawn(async move {
        if let Some(why) = bus::redis::why_away(&look).await {
            tracing::warn!(domain, why, "Redis does not answer; going on without it");
        }
    });
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_millis(500)));
    Ok(Some(ConnectionManager::new_lazy_with_config(client, config)?))
}
