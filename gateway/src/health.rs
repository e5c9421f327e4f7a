//! Whether this process lives, whether it can serve, and its numbers; at `HEALTH_ADDR` for the inside alone.
//!
//! Live says only that requests are answered: an orchestrator restarts what is not live, which mends nothing when
//! a part behind it is away. Ready says which parts are there, and no once the gateway stops.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::contract::{Access, Problem};
use metrics_exporter_prometheus::PrometheusHandle;
use poem::endpoint::{BoxEndpoint, make, make_sync};
use poem::{EndpointExt, Request, Response, Route, Server};
use ring::digest::{SHA256, digest};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::Proxies;
use crate::front::Trace;
use crate::guard;
use crate::house::House;
use crate::limit::Bounds;
use crate::listen::Door;
use crate::problem::Refused;
use crate::routes::{ROWS, Row};

/// How long it is believed that every domain is there: probes come every few seconds from several sides.
const PRESENT_FOR: Duration = Duration::from_secs(2);
/// And that one is missing: whoever waits for a house that starts shall not wait for what was before.
const ABSENT_FOR: Duration = Duration::from_millis(100);

/// One part that the gateway, or the process that it runs in, needs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Part {
    pub ready: bool,
    /// It goes on and something of it waits; nobody who asks the gateway misses it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
    /// For a person: what it does, what it lacks, how often it restarted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Part {
    pub fn new(ready: bool, detail: impl Into<String>) -> Self {
        Self { ready, degraded: false, detail: detail.into() }
    }

    /// One that is ready and lacks something.
    pub fn degraded(detail: impl Into<String>) -> Self {
        Self { ready: true, degraded: true, detail: detail.into() }
    }
}

/// The parts by name.
pub type Parts = BTreeMap<String, Part>;

#[derive(serde::Serialize)]
struct Ready {
    ready: bool,
    /// Domains of which no host is there: their requests get 503, all others go on. And parts that lack something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
    parts: Parts,
}

#[derive(serde::Serialize)]
struct NotReady {
    #[serde(flatten)]
    problem: Problem,
    parts: Parts,
}

pub fn live() -> BoxEndpoint<'static> {
    make_sync(|_| Response::builder().content_type("application/json").body(r#"{"live":true}"#)).boxed()
}

pub fn ready(
    house: Arc<House>,
    others: Arc<impl Fn() -> Parts + Send + Sync + 'static>,
) -> BoxEndpoint<'static> {
    let hosts = Arc::new(Hosts::default());
    make(move |request: Request| {
        let (house, others, hosts) = (house.clone(), others.clone(), hosts.clone());
        async move { answer(&house, others(), &hosts, &request).await }
    })
    .boxed()
}

/// Which domains were there a moment ago.
#[derive(Default)]
struct Hosts(Mutex<Option<(Instant, BTreeSet<&'static str>)>>);

impl Hosts {
    async fn away(&self, house: &House, expected: &BTreeSet<&'static str>) -> Vec<&'static str> {
        // Whoever comes while one asks waits for that one's answer.
        let mut known = self.0.lock().await;
        let believed =
            |present: &BTreeSet<_>| if present.is_superset(expected) { PRESENT_FOR } else { ABSENT_FOR };
        if known.as_ref().is_none_or(|(at, present)| at.elapsed() >= believed(present)) {
            *known = Some((Instant::now(), house.hosts.present(expected).await));
        }
        let present = known.as_ref().map(|(_, present)| present);
        let away = expected.iter().filter(|domain| !present.is_some_and(|present| present.contains(*domain)));
        away.copied().collect()
    }
}

/// Every domain that some route asks.
fn domains() -> BTreeSet<&'static str> {
    ROWS.iter().filter_map(|row| row.subject?.strip_prefix("rpc.")?.split('.').next()).collect()
}

async fn answer(house: &House, mut parts: Parts, hosts: &Hosts, request: &Request) -> Response {
    let expected = domains();
    let connected = house.hosts.is_connected();
    parts.insert("nats".into(), Part::new(connected, if connected { "" } else { "not connected" }));
    let stopping = house.stop.is_cancelled();
    parts.insert("gateway".into(), Part::new(!stopping, if stopping { "stopping" } else { "" }));
    let away = if connected { hosts.away(house, &expected).await } else { Vec::new() };
    // A gateway that is taken out of service mends no host; it helps only where it could answer nothing at all.
    let alone = away.len() == expected.len();
    let well = parts.values().all(|part| part.ready) && !alone;
    for domain in &away {
        parts.entry((*domain).to_owned()).or_insert_with(|| Part::new(false, "no host answers"));
    }
    if well {
        let lacking = parts.iter().filter(|(_, part)| part.degraded).map(|(name, _)| name.as_str());
        let degraded = away.into_iter().chain(lacking).map(str::to_owned).collect();
        let body = serde_json::to_vec(&Ready { ready: true, degraded, parts }).unwrap_or_default();
        return Response::builder().content_type("application/json").body(body);
    }
    let away: Vec<_> = parts.iter().filter(|(_, part)| !part.ready).map(|(name, _)| name.as_str()).collect();
    let mut problem = Problem::unavailable(format!("Not ready: {}.", away.join(", ")));
    problem.code = "not-ready".into();
    if let Some(trace) = request.data::<Arc<Trace>>() {
        problem.request_id = trace.context.correlation_id.clone();
    }
    let body = serde_json::to_vec(&NotReady { problem, parts }).unwrap_or_default();
    Response::builder()
        .status(poem::http::StatusCode::SERVICE_UNAVAILABLE)
        .header(poem::http::header::RETRY_AFTER, 1)
        .content_type("application/problem+json")
        .body(body)
}

pub fn metrics(handle: PrometheusHandle) -> BoxEndpoint<'static> {
    make_sync(move |_| {
        Response::builder().content_type("text/plain; version=0.0.4; charset=utf-8").body(handle.render())
    })
    .boxed()
}

/// Who may read the numbers at the public address, besides the holder of `METRICS_TOKEN`: they tell how much is sold.
const NUMBERS: Row = Row::page("/metrics").of(Access::Admin);

/// The numbers for the holder of the token and for staff; 401 and 403 for others.
pub fn guarded_metrics(
    house: Arc<House>,
    token: Option<String>,
    handle: PrometheusHandle,
) -> BoxEndpoint<'static> {
    let token = token.map(|token| digest(&SHA256, token.as_bytes()));
    let numbers = Arc::new(metrics(handle));
    make(move |request: Request| {
        let (house, numbers) = (house.clone(), numbers.clone());
        async move {
            let given = guard::bearer(request.headers()).ok();
            // Hashes are compared, since how long that takes says nothing about the token.
            let given = given.map(|given| digest(&SHA256, given.as_bytes()));
            let is_known =
                token.is_some_and(|token| given.is_some_and(|given| given.as_ref() == token.as_ref()));
            if !is_known {
                let trace = request.data::<Arc<Trace>>().expect("the front traces every request");
                guard::identify(&house, &NUMBERS, trace, request.headers()).await.map_err(Refused)?;
            }
            poem::Endpoint::call(&*numbers, request).await
        }
    })
    .boxed()
}

/// Connections of the inside: probes and whoever collects numbers.
const INSIDE: Bounds = Bounds {
    connections_max: 64,
    connections_per_network_max: None,
    streams_per_network_max: None,
    webhooks_in_work_max: None,
};

/// Health and numbers at an address of their own, which answers however many clients the public one has.
pub async fn serve(
    addr: SocketAddr,
    ready: BoxEndpoint<'static>,
    metrics: BoxEndpoint<'static>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind(addr).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Door::new(listener, &INSIDE, Proxies::default())
    });
    let door = listener.with_context(|| format!("HEALTH_ADDR {addr} is taken or not ours"))?;
    let routes = Route::new().at("/health/live", live()).at("/health/ready", ready).at("/metrics", metrics);
    let server = Server::new_with_acceptor(door);
    tokio::spawn(server.run_with_graceful_shutdown(routes, stop.cancelled_owned(), None));
    tracing::info!(%addr, "health and numbers at HEALTH_ADDR");
    Ok(())
}
