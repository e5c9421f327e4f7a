//! The gateway: REST over requests to the hosts, the live seat map, the web page, the API documents.
//!
//! Invariant: it uses neither actors nor SQL; of a domain it knows only the contract.
//! Invariant: it has no state that a restart would lose, so any number of gateways may run.

mod api;
mod app;
pub mod challenge;
mod client;
mod compression;
mod config;
mod connection;
mod cors;
mod csv_file;
mod document;
mod entrypoint;
mod etag;
mod event_feed;
mod example;
mod guard;
mod health;
mod hosts;
mod language;
mod limit;
mod listen;
mod media;
mod nats;
mod normalize;
mod payload;
mod pdf_file;
mod problem;
mod programme;
mod replacement;
mod routes;
mod schema;
mod seat_map;
mod signed;
mod site;
#[cfg(test)]
mod tests;
mod trace;
mod wait;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::Bus;
use bus::token::Verifier;
use metrics_exporter_prometheus::PrometheusHandle;
use poem::Server;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use health::{Part, Parts};

use app::{Page, Shared, page};
use entrypoint::HttpConfig;
use limit::{Bounds, Limiter};
use listen::ConnectionAcceptor;
use nats::NatsHosts;

/// The OpenAPI document of all domains.
pub fn openapi() -> serde_json::Value {
    let [(_, whole), ..] = document::documents();
    whole
}

/// How long running requests may continue after the gateway was stopped: the time-out of a request to a host.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Streams that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 250;

/// A running gateway.
pub struct Running {
    addr: SocketAddr,
    url: String,
    /// How long it drains.
    drain: Duration,
    draining: CancellationToken,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

impl Running {
    /// The address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL that users open.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns when the server has ended without [`Running::stop`]: a bug, or lost infrastructure.
    pub async fn ended(&mut self) -> anyhow::Error {
        match (&mut self.server).await {
            Ok(Ok(())) => anyhow::anyhow!("the gateway ended"),
            Ok(Err(error)) => anyhow::Error::new(error).context("the gateway ended"),
            Err(error) => anyhow::Error::new(error).context("the gateway ended"),
        }
    }

    /// Is not ready from now on, and goes on accepting and serving for `DRAIN_SECONDS`, with `Connection: close` in each answer:
    /// a load balancer that has not noticed yet loses no request. Returns at once where that is 0.
    pub async fn drain(&self) {
        self.draining.cancel();
        if self.drain.is_zero() {
            return;
        }
        tracing::info!(seconds = self.drain.as_secs(), "the gateway drains: not ready, and still serving");
        tokio::time::sleep(self.drain).await;
    }

    /// Accepts no more connections, ends waits and live streams at once, and lets running requests end within ten seconds.
    pub async fn stop(self) {
        self.stop.cancel();
        // Poem enforces the limit itself; the second one is for a bug there.
        if tokio::time::timeout(STOP_MAX + Duration::from_secs(1), self.server).await.is_err() {
            tracing::warn!("the gateway did not end in time");
        }
    }
}

/// Starts a gateway, with health and metrics also at `HEALTH_ADDR` where it is set. `parts` returns the state of the other
/// parts of this process, for `/health/ready`.
pub async fn start(
    config: Config,
    bus: Bus,
    verifier: Verifier,
    metrics: PrometheusHandle,
    parts: impl Fn() -> Parts + Send + Sync + 'static,
) -> anyhow::Result<Running> {
    let listener = listen::bind(config.addr)?;
    let limiter = Limiter::new(config.quotas, config.redis_url.as_deref())?;
    limiter.warm_up().await;
    let hosts = Arc::new(NatsHosts::new(bus.clone(), verifier));
    let shared = Shared::new(hosts, limiter, None, &config.media, config.site(), &config.bounds)?;
    let stop = shared.stop.clone();
    tokio::spawn(bus::service::announce(bus, "gateway", stop.clone()));
    tokio::spawn(shared.site.clone().keep(stop.clone()));
    tokio::spawn(media::sweep(shared.uploads.clone(), config.media_sweep, stop.clone()));
    let parts = Arc::new(parts);
    let ready = || health::ready(shared.hosts.clone(), shared.draining.clone(), parts.clone());
    if let Some(addr) = config.health_addr {
        health::serve(addr, ready(), health::metrics(metrics.clone()), stop.clone()).await?;
    }
    let metrics = health::guarded_metrics(shared.admission.clone(), config.metrics_token, metrics);
    let pages = vec![(page("/health/ready"), ready()), (page("/metrics"), metrics)];
    let mut running = serve(listener, &shared, config.http, &config.bounds, pages)
        .context("cannot use the listening socket")?;
    running.url = config.public_url.unwrap_or(running.url);
    running.drain = config.drain;
    let connections_max = listen::capacity(config.bounds.connections_max);
    tracing::info!(addr = %running.addr, url = running.url, connections_max, "gateway listens");
    Ok(running)
}

fn serve(
    listener: std::net::TcpListener,
    shared: &Shared,
    config: HttpConfig,
    bounds: &Bounds,
    pages: Vec<Page>,
) -> std::io::Result<Running> {
    let addr = listener.local_addr()?;
    let acceptor = ConnectionAcceptor::new(listener, bounds, config.proxies.clone())?;
    let public_url = config.public_url.unwrap_or_else(|| format!("http://{addr}"));
    let config = HttpConfig { public_url: Some(public_url), ..config };
    let app = shared.app(config, pages);
    let stop = shared.stop.clone();
    let server = Server::new_with_acceptor(acceptor).http2_max_concurrent_streams(STREAMS_MAX);
    let stopped = stop.clone().cancelled_owned();
    let server = tokio::spawn(server.run_with_graceful_shutdown(app, stopped, Some(STOP_MAX)));
    let (draining, drain) = (shared.draining.clone(), Duration::ZERO);
    Ok(Running { addr, url: format!("http://{addr}"), drain, draining, stop, server })
}
