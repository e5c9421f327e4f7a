//! The gateway: REST over the requests of the bus, the live seat map, the documentation.
//!
//! Invariant: it never sees actors or SQL; what it knows of a domain is its contract.
//! Invariant: it keeps nothing that a restart would lose, so any number of gateways may run.

mod api;
pub mod challenge;
mod client;
mod compression;
mod config;
mod connection;
mod cors;
mod document;
mod edge;
mod example;
mod feed;
mod fresh;
mod front;
mod guard;
mod health;
mod house;
mod hub;
mod limit;
mod listen;
mod media;
mod payload;
mod problem;
mod room;
mod routes;
mod schema;
mod signed;
#[cfg(test)]
mod tests;
mod web;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::Bus;
use bus::token::Verifier;
use metrics_exporter_prometheus::PrometheusHandle;
use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem::{Endpoint, Response, Route, Server};
use poem_openapi::OpenApi;
use tokio::task::JoinHandle;

pub use config::Config;
pub use health::{Part, Parts};

use api::{
    Auth, DeadLetters, EventFeed, MediaFiles, Movies, Notifications, PageLogins, Payments, Reservations,
    Showtimes,
};
use front::{Front, Manners};
use guard::Gate;
use house::{Hosts, House};
use limit::{Bounds, Limiter};
use listen::Door;
use media::MediaRoom;
use routes::{ROWS, Row};

/// The OpenAPI document of all domains.
pub fn openapi() -> serde_json::Value {
    let [(_, whole), ..] = document::documents();
    whole
}

/// How long requests in work may take to end once the gateway stops: a question's own time limit.
const DRAIN: Duration = Duration::from_secs(10);
/// Streams that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 250;

/// A gateway that serves.
pub struct Running {
    addr: SocketAddr,
    url: String,
    house: Arc<House>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What to type into a browser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns when the gateway has ended without having been told to: a bug, or lost infrastructure.
    pub async fn ended(&mut self) -> anyhow::Error {
        match (&mut self.server).await {
            Ok(Ok(())) => anyhow::anyhow!("the gateway ended"),
            Ok(Err(error)) => anyhow::Error::new(error).context("the gateway ended"),
            Err(error) => anyhow::Error::new(error).context("the gateway ended"),
        }
    }

    /// Takes no more connections, ends waits and live seat maps at once, and lets requests in work end within ten
    /// seconds.
    pub async fn stop(self) {
        self.house.stop.cancel();
        // Poem keeps the bound itself; the second one is for its own bugs.
        if tokio::time::timeout(DRAIN + Duration::from_secs(1), self.server).await.is_err() {
            tracing::warn!("the gateway did not end in time");
        }
    }
}

/// Starts serving, at `HEALTH_ADDR` too where there is one. `parts` tells which other parts of this process are ready, for `/health/ready`.
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
    let media = MediaRoom::open(&config.media)?;
    let hosts = Hosts::Nats { bus: Box::new(bus), verifier };
    let house = House::new(hosts, limiter, media, config.currency, &config.bounds);
    // It ends with the house.
    tokio::spawn(media::sweep(house.clone(), config.media_sweep));
    let parts = Arc::new(parts);
    if let Some(addr) = config.health_addr {
        let (ready, metrics) =
            (health::ready(house.clone(), parts.clone()), health::metrics(metrics.clone()));
        health::serve(addr, ready, metrics, house.stop.clone()).await?;
    }
    let metrics = health::guarded_metrics(house.clone(), config.metrics_token, metrics);
    let pages =
        vec![(page("/health/ready"), health::ready(house.clone(), parts)), (page("/metrics"), metrics)];
    let mut running = serve(listener, house, config.manners, &config.bounds, pages)
        .context("cannot use the listening socket")?;
    running.url = config.public_url.unwrap_or(running.url);
    let room = listen::room(config.bounds.connections_max);
    tracing::info!(addr = %running.addr, url = running.url, connections_max = room, "gateway listens");
    Ok(running)
}

fn serve(
    listener: std::net::TcpListener,
    house: Arc<House>,
    manners: Manners,
    bounds: &Bounds,
    pages: Vec<(&'static Row, BoxEndpoint<'static>)>,
) -> std::io::Result<Running> {
    let addr = listener.local_addr()?;
    let door = Door::new(listener, bounds, manners.proxies.clone())?;
    let app = app(&house, manners, pages);
    let stop = house.stop.clone().cancelled_owned();
    let server = Server::new_with_acceptor(door).http2_max_concurrent_streams(STREAMS_MAX);
    let server = tokio::spawn(server.run_with_graceful_shutdown(app, stop, Some(DRAIN)));
    Ok(Running { addr, url: format!("http://{addr}"), house, server })
}

fn page(path: &'static str) -> &'static Row {
    // Once a start and a few bytes each: the rows of the table are `'static` too.
    Box::leak(Box::new(Row::page(path)))
}

/// All paths behind their gates, behind the front.
fn app(
    house: &Arc<House>,
    manners: Manners,
    pages: Vec<(&'static Row, BoxEndpoint<'static>)>,
) -> impl Endpoint<Output = Response> + use<> {
    let mut endpoints = HashMap::new();
    Auth::new(house.clone()).add_routes(&mut endpoints);
    PageLogins { house: house.clone(), is_secure: manners.is_secure }.add_routes(&mut endpoints);
    Movies { house: house.clone() }.add_routes(&mut endpoints);
    Showtimes { house: house.clone() }.add_routes(&mut endpoints);
    MediaFiles { house: house.clone() }.add_routes(&mut endpoints);
    Reservations { house: house.clone() }.add_routes(&mut endpoints);
    Payments { house: house.clone() }.add_routes(&mut endpoints);
    Notifications { house: house.clone() }.add_routes(&mut endpoints);
    DeadLetters { house: house.clone() }.add_routes(&mut endpoints);
    EventFeed { house: house.clone() }.add_routes(&mut endpoints);
    let mut gates: HashMap<String, Vec<(&'static Row, BoxEndpoint<'static>)>> = HashMap::new();
    for row in ROWS {
        let pattern = pattern(row.path);
        let endpoint = take(&mut endpoints, &pattern, &row.verb.method());
        let endpoint = endpoint.unwrap_or_else(|| panic!("the row of {} has no signature in api/", row.path));
        gates.entry(pattern).or_default().push((row, endpoint));
    }
    let files = house
        .media
        .folder()
        .map(|folder| media::serve(folder, listen::files_max()))
        .map(|(path, endpoint)| (page(path), endpoint));
    let origin = house.media.origin();
    let web =
        web::pages(origin, manners.is_sandbox).into_iter().map(|(path, endpoint)| (page(path), endpoint));
    for (row, endpoint) in static_pages().into_iter().chain(pages).chain(files).chain(web) {
        gates.entry(row.path.to_owned()).or_default().push((row, endpoint));
    }
    let routes = gates
        .into_iter()
        .fold(Route::new(), |routes, (path, methods)| routes.at(path, Gate::new(house.clone(), methods)));
    Front { inner: web::Signpost::new(routes, origin, manners.is_sandbox), manners }
}

fn take(
    endpoints: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>,
    pattern: &str,
    method: &Method,
) -> Option<BoxEndpoint<'static>> {
    endpoints.get_mut(pattern)?.remove(method)
}

/// The path as poem-openapi's macro names it for Poem: parameters by their place.
fn pattern(path: &str) -> String {
    let mut place = 0;
    let parts = path.split('/').map(|part| {
        if !part.starts_with('{') {
            return part.to_owned();
        }
        place += 1;
        format!(":param{}", place - 1)
    });
    parts.collect::<Vec<_>>().join("/")
}

/// What is the same in every gateway: the documents, being alive.
fn static_pages() -> Vec<(&'static Row, BoxEndpoint<'static>)> {
    let mut pages = vec![(page("/health/live"), health::live())];
    for (name, document) in document::documents() {
        let (json, html) = match name {
            "" => ("/openapi.json".to_owned(), "/docs".to_owned()),
            _ => (format!("/openapi/{name}.json"), format!("/docs/{name}")),
        };
        pages.push((page(json.leak()), document::json(&document)));
        pages.push((page(html.leak()), document::page(document)));
    }
    pages
}
