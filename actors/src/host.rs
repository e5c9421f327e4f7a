//! One actor host: a supervised tree of one domain's endpoints, consumers, journal, relay and entities.
//!
//! It stops in stages: first the intake (endpoints, consumers, sweeps) until the requests and messages in work are done,
//! then the journal until all waiting changes are written, then the relay until their events are published.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bus::consumer::{DatabaseUp, Delivery};
use bus::contract::auth::KeySet;
use bus::token::Verifier;
use bus::topology::ConsumerSpec;
use bus::{Bus, service};
use futures::future::BoxFuture;
use ractor::{Actor, ActorRef};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::DOMAINS;
use crate::config::HostConfig;
use crate::delivery::relay::Relay;
use crate::delivery::{
    Clock, Database, DaysAhead, GapWatch, Journal, JournalParts, Rows, Warnings, maintain, measure,
    serve_archive,
};
use crate::supervision::{Child, Supervisor, SupervisorArguments, SupervisorMessage, worker};

/// Longest wait for each stage when the host stops; a request's own deadline is shorter.
const STAGE_STOP_MAX: Duration = Duration::from_secs(12);

/// Longest wait at the start until NATS knows the host's endpoints; after that the host goes on without NATS.
const SERVED_MAX: Duration = Duration::from_secs(3);

/// When a worker stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Stops first: it takes requests, messages or due deadlines.
    Intake,
    /// Stops when the intake has ended, which works with it.
    Write,
    /// Stops last: it publishes what was written.
    Publish,
}

/// The workers of one stage, and the signal that stops them.
#[derive(Clone, Default)]
struct Workers {
    running: TaskTracker,
    stop: CancellationToken,
}

/// What every host is built from, with or without a database: its name, its bus and its workers by stage.
#[derive(Clone)]
pub struct HostBuilder {
    pub domain: &'static str,
    pub bus: Bus,
    warnings: Warnings,
    intake: Workers,
    write: Workers,
    publish: Workers,
}

impl HostBuilder {
    pub fn new(bus: Bus, domain: &'static str) -> Self {
        let (intake, write, publish) = (Workers::default(), Workers::default(), Workers::default());
        Self { domain, bus, warnings: Warnings::default(), intake, write, publish }
    }

    /// A supervised loop that is waited for when the host stops.
    pub fn worker<F, Fut>(&self, stage: Stage, name: &'static str, run: F) -> Child
    where
        F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let Workers { running, stop } = self.workers(stage).clone();
        worker(name, stop, move |stop| running.track_future(run(stop)))
    }

    fn workers(&self, stage: Stage) -> &Workers {
        match stage {
            Stage::Intake => &self.intake,
            Stage::Write => &self.write,
            Stage::Publish => &self.publish,
        }
    }

    /// Starts the tree. There is one supervisor, and the host ends when its restart budget is spent: a second supervisor
    /// above it would see a failure only every half minute and restart it for ever.
    pub async fn start(
        self,
        database: Option<Database>,
        database_up: DatabaseUp,
        children: impl Fn() -> Vec<Child> + Send + Sync + 'static,
    ) -> anyhow::Result<Host> {
        let domain = self.domain;
        let arguments = SupervisorArguments { name: domain.to_owned(), children: children() };
        let (supervisor, ended) = Actor::spawn(None, Supervisor, arguments).await?;
        tracing::info!(domain, "host started");
        let degraded = Arc::new(Vec::new);
        Ok(Host { builder: self, database, supervisor, ended: Some(ended), database_up, degraded })
    }

    async fn stop(&self, stage: Stage, unfinished: &'static str) {
        let Workers { running, stop } = self.workers(stage);
        stop.cancel();
        running.close();
        if tokio::time::timeout(STAGE_STOP_MAX, running.wait()).await.is_err() {
            tracing::warn!(domain = self.domain, "{unfinished}");
        }
    }
}

/// What a domain with a database is built from: a host builder and the domain's connections.
#[derive(Clone)]
pub struct DomainBuilder {
    host: HostBuilder,
    pub database: Database,
    pub clock: Clock,
    pub verifier: Verifier,
    /// `JWT_PUBLIC_KEYS`: accepted besides the key that auth signs with now.
    pub public_keys: KeySet,
    /// Whether NATS knows every endpoint.
    served: watch::Sender<bool>,
}

impl std::ops::Deref for DomainBuilder {
    type Target = HostBuilder;
    fn deref(&self) -> &HostBuilder {
        &self.host
    }
}

impl DomainBuilder {
    /// Connects one domain to the servers it needs, waiting a while for Postgres.
    pub async fn connect(config: &HostConfig, bus: Bus, domain: &'static str) -> anyhow::Result<Self> {
        let verifier = Verifier::new(bus.clone(), &config.jwt_public_keys);
        Self::connect_with(config, bus, domain, verifier).await
    }

    /// The same with a verifier that all hosts of this process share, so that each token is verified once.
    pub async fn connect_with(
        config: &HostConfig,
        bus: Bus,
        domain: &'static str,
        verifier: Verifier,
    ) -> anyhow::Result<Self> {
        let database = Database::new(&config.database_url, domain)?;
        let clock = Clock::read(&database).await?;
        let public_keys = config.jwt_public_keys.clone();
        let (host, served) = (HostBuilder::new(bus, domain), watch::Sender::new(true));
        Ok(Self { host, verifier, public_keys, database, clock, served })
    }

    /// The domain's journal and relay, with the children that run them.
    pub fn delivery<R: Rows>(&self) -> (Journal<R>, DatabaseUp, Vec<Child>) {
        let (queue, relay) = Relay::new(self.database.clone(), self.bus.clone());
        let (journal, parts, database_up) =
            JournalParts::<R>::new(self.database.clone(), self.clock.clone(), queue, self.bus.client.clone());
        let (database, measured, archived) =
            (self.database.clone(), self.database.clone(), self.database.clone());
        let bus = self.bus.clone();
        let mut children = vec![
            self.worker(Stage::Write, "journal", move |stop| parts.clone().run(stop)),
            self.worker(Stage::Publish, "relay", move |stop| relay.clone().run(stop)),
            self.worker(Stage::Intake, "maintenance", move |stop| maintain(database.clone(), stop)),
            self.worker(Stage::Intake, "gauges", move |stop| measure(measured.clone(), R::GAUGES, stop)),
        ];
        if publishes(self.domain) {
            children.push(self.worker(Stage::Intake, "archive", move |stop| {
                serve_archive(archived.clone(), bus.clone(), subjects_of, stop)
            }));
        }
        (journal, database_up, children)
    }

    /// A durable consumer whose messages go to `handle`, with a watch for what its stream discards before that.
    pub fn consumer(
        &self,
        spec: ConsumerSpec,
        database_up: DatabaseUp,
        handle: Arc<dyn Fn(Delivery) + Send + Sync>,
    ) -> Child {
        let bus = self.bus.clone();
        let watch = GapWatch {
            database: self.database.clone(),
            bus: bus.clone(),
            spec,
            publishers: publishers_of(&spec),
            database_up: database_up.clone(),
            handle: handle.clone(),
            warnings: self.warnings.clone(),
        };
        self.worker(Stage::Intake, "consumer", move |stop| {
            let watch_stop = stop.child_token();
            let running = bus::consumer::run(bus.clone(), spec, database_up.clone(), stop, handle.clone());
            let watching = watch.clone().run(watch_stop.clone());
            async move {
                let consuming = async {
                    let ended = running.await;
                    watch_stop.cancel();
                    ended
                };
                let (consumed, watched) = tokio::join!(consuming, watching);
                consumed?;
                watched
            }
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

    /// A NATS service that nobody can find before the host is `prepared`.
    pub fn service_once<F>(&self, prepared: watch::Receiver<bool>, serve: F) -> Child
    where
        F: Fn(service::Server) -> BoxFuture<'static, Result<service::Server, bus::Failure>>
            + Send
            + Sync
            + 'static,
    {
        self.served.send_replace(false);
        let builder = self.clone();
        let serve = Arc::new(serve);
        self.worker(Stage::Intake, "service", move |stop| {
            let (builder, serve, mut prepared) = (builder.clone(), serve.clone(), prepared.clone());
            async move {
                tokio::select! {
                    _ = stop.cancelled() => return Ok(()),
                    // The sender may be dropped once it has sent `true`.
                    is = prepared.wait_for(|is| *is) => drop(is),
                }
                let (domain, verifier) = (builder.domain, builder.verifier.clone());
                let server = service::Server::start(&builder.bus, domain, verifier, stop.clone()).await?;
                let server = serve(server).await?;
                builder.served.send_replace(true);
                server.ended().await;
                anyhow::ensure!(stop.is_cancelled(), "the endpoints ended");
                Ok(())
            }
        })
    }

    /// Starts the tree (see [`HostBuilder::start`]) and returns once its endpoints answer, so that the caller may send
    /// requests at once.
    pub async fn start(
        self,
        database_up: DatabaseUp,
        children: impl Fn() -> Vec<Child> + Send + Sync + 'static,
    ) -> anyhow::Result<Host> {
        let (domain, bus, mut served) = (self.domain, self.bus.clone(), self.served.subscribe());
        let host = self.host.start(Some(self.database), database_up, children).await?;
        let answering = async {
            served.wait_for(|served| *served).await?;
            // NATS handles a connection's messages in order: when it answers this, it has every subscription.
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

/// Whether a domain publishes any event.
fn publishes(name: &str) -> bool {
    DOMAINS.iter().any(|domain| domain.name == name && !domain.publishes.is_empty())
}

/// The domains that publish events of this consumer and keep them.
fn publishers_of(spec: &ConsumerSpec) -> Vec<&'static str> {
    let keeping = DOMAINS.iter().filter(|domain| domain.migrations.is_some());
    let publishing =
        keeping.filter(|domain| domain.publishes.iter().any(|subject| spec.subjects.contains(subject)));
    publishing.map(|domain| domain.name).collect()
}

/// The subjects of a registered consumer.
fn subjects_of(consumer: &str) -> Option<&'static [&'static str]> {
    let mut consumers = DOMAINS.iter().filter_map(|domain| domain.consumer);
    consumers.find(|spec| spec.name == consumer).map(|spec| spec.subjects)
}

/// A running host.
pub struct Host {
    builder: HostBuilder,
    /// `None` for a host that stores nothing.
    database: Option<Database>,
    supervisor: ActorRef<SupervisorMessage>,
    ended: Option<JoinHandle<()>>,
    database_up: DatabaseUp,
    degraded: Reasons,
}

/// Why a host that works is degraded, a sentence each.
type Reasons = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What `/health/ready` shows of a host.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    pub domain: &'static str,
    /// Of the program: during an upgrade it says which hosts are new.
    pub version: &'static str,
    pub nats: bool,
    /// Absent where the host has no database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<bool>,
    /// Children that were restarted since this process started.
    pub restarts: u64,
    /// What is wrong although the host is ready: work waits, but the host answers every request.
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
        self.builder.domain
    }

    /// `degraded` returns why the host is degraded now; nothing when it is not.
    pub fn with_degraded(self, degraded: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        Self { degraded: Arc::new(degraded), ..self }
    }

    /// Reads the host's health at any time, without holding the host.
    pub fn health(&self) -> impl Fn() -> Health + Send + Sync + Clone + 'static {
        let (domain, bus, database_up) =
            (self.builder.domain, self.builder.bus.clone(), self.database_up.clone());
        let (has_database, degraded) = (self.database.is_some(), self.degraded.clone());
        let days_ahead = self.database.as_ref().map(|database| database.days_ahead.clone());
        let warnings = self.builder.warnings.clone();
        let of_delivery =
            move || warnings.all().into_iter().chain(days_ahead.as_ref().and_then(DaysAhead::warning));
        move || Health {
            domain,
            version: env!("CARGO_PKG_VERSION"),
            nats: bus.is_connected(),
            database: has_database.then(|| *database_up.borrow()),
            restarts: crate::supervision::restarts(),
            degraded: degraded().into_iter().chain(of_delivery()).collect(),
        }
    }

    /// Waits until the supervisor has given up. A host that is stopped does not end this way.
    pub async fn failed(&mut self) {
        if let Some(ended) = &mut self.ended {
            // A panic of the supervisor is an end as well.
            let _ = ended.await;
            self.ended = None;
        }
    }

    /// Takes nothing more, finishes the work in progress, writes and publishes what waits, ends.
    pub async fn stop(self) {
        let builder = self.builder;
        builder.stop(Stage::Intake, "requests still in work at the stop").await;
        let lost = "the database hangs; waiting changes are lost, and their callers got an error";
        builder.stop(Stage::Write, lost).await;
        builder.stop(Stage::Publish, "events stay in the outbox until the next start").await;
        self.supervisor.stop(None);
        if let Some(database) = self.database {
            database.pool.close().await;
        }
        tracing::info!(domain = builder.domain, "host stopped");
    }

    /// Ends at once, as a crash would: nothing is finished, nothing is sent.
    pub fn kill(self) {
        self.supervisor.kill();
        if let Some(ended) = self.ended {
            ended.abort();
        }
    }
}
