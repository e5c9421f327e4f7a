//! Liveness, readiness and metrics; also at `HEALTH_ADDR`, which is not public.
//!
//! Live only means that requests are answered: an orchestrator restarts a process that is not live, which does not help
//! when a part behind it is unavailable. Ready names the available parts, and is false once the gateway drains.

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
use crate::guard::{self, Admission};
use crate::hosts::Hosts;
use crate::limit::Bounds;
use crate::listen::ConnectionAcceptor;
use crate::problem::Refused;
use crate::routes::{ROWS, Row};
use crate::trace::Trace;

/// How long a ping that every domain answered is reused: several probes come every few seconds.
const COMPLETE_FOR: Duration = Duration::from_secs(2);
/// And one with missing domains: a probe that waits for a deployment to start sees a new host soon.
const INCOMPLETE_FOR: Duration = Duration::from_millis(100);

/// One part that the gateway, or the process that it runs in, needs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Part {
    pub ready: bool,
    /// It works with a restriction that callers of the gateway do not notice.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
    /// For an operator: what it does, what it lacks, how often it restarted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Part {
    pub fn new(ready: bool, detail: impl Into<String>) -> Self {
        Self { ready, degraded: false, detail: detail.into() }
    }

    /// A part that is ready with a restriction.
    pub fn degraded(detail: impl Into<String>) -> Self {
        Self { ready: true, degraded: true, detail: detail.into() }
    }
}

/// The parts by name.
pub type Parts = BTreeMap<String, Part>;

#[derive(serde::Serialize)]
struct Ready {
    ready: bool,
    /// Domains without a host, whose requests get 503 while all others are answered, and degraded parts.
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

/// Readiness of the gateway, of the hosts and of the other parts of the process.
pub fn ready(
    hosts: Arc<dyn Hosts>,
    draining: CancellationToken,
    others: Arc<impl Fn() -> Parts + Send + Sync + 'static>,
) -> BoxEndpoint<'static> {
    let readiness = Arc::new(Readiness { hosts, draining, last_ping: Mutex::default() });
    make(move |request: Request| {
        let (readiness, others) = (readiness.clone(), others.clone());
        async move { readiness.answer(others(), &request).await }
    })
    .boxed()
}

struct Readiness {
    hosts: Arc<dyn Hosts>,
    draining: CancellationToken,
    /// When the hosts were pinged last, and which domains answered.
    last_ping: Mutex<Option<(Instant, BTreeSet<&'static str>)>>,
}

/// Every domain that a route sends requests to.
fn domains() -> BTreeSet<&'static str> {
    ROWS.iter().filter_map(|row| row.subject?.strip_prefix("rpc.")?.split('.').next()).collect()
}

impl Readiness {
    async fn answer(&self, mut parts: Parts, request: &Request) -> Response {
        let expected = domains();
        let connected = self.hosts.is_connected();
        parts.insert("nats".into(), Part::new(connected, if connected { "" } else { "not connected" }));
        let draining = self.draining.is_cancelled();
        parts.insert("gateway".into(), Part::new(!draining, if draining { "stopping" } else { "" }));
        // While it drains the result is known, and a ping could take some time.
        let missing = if connected && !draining { self.missing(&expected).await } else { Vec::new() };
        // Taking this gateway out of service brings back no host. It is not ready only where it could answer nothing.
        let is_ready = parts.values().all(|part| part.ready) && missing.len() < expected.len();
        for domain in &missing {
            parts.entry((*domain).to_owned()).or_insert_with(|| Part::new(false, "no host answers"));
        }
        let restricted = || parts.values().filter(|part| part.degraded).count();
        metrics::gauge!("gateway_ready").set(u8::from(is_ready));
        metrics::gauge!("gateway_degraded").set((missing.len() + restricted()) as f64);
        if !is_ready {
            return not_ready(parts, request);
        }
        let restricted = parts.iter().filter(|(_, part)| part.degraded).map(|(name, _)| name.as_str());
        let degraded = missing.into_iter().chain(restricted).map(str::to_owned).collect();
        let body = serde_json::to_vec(&Ready { ready: true, degraded, parts }).unwrap_or_default();
        Response::builder().content_type("application/json").body(body)
    }

    /// The expected domains without a host.
    async fn missing(&self, expected: &BTreeSet<&'static str>) -> Vec<&'static str> {
        // Probes that arrive during a ping wait here for its result.
        let mut last = self.last_ping.lock().await;
        let max_age = |answering: &BTreeSet<_>| match answering.is_superset(expected) {
            true => COMPLETE_FOR,
            false => INCOMPLETE_FOR,
        };
        let answering = match last.take() {
            Some((at, answering)) if at.elapsed() < max_age(&answering) => (at, answering),
            _ => (Instant::now(), self.hosts.answering(expected).await),
        };
        let missing = expected.difference(&answering.1).copied().collect();
        *last = Some(answering);
        missing
    }
}

fn not_ready(parts: Parts, request: &Request) -> Response {
    let missing: Vec<_> =
        parts.iter().filter(|(_, part)| !part.ready).map(|(name, _)| name.as_str()).collect();
    let mut problem = Problem::unavailable(format!("Not ready: {}.", missing.join(", ")));
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

/// The role that may read the metrics at the public address without `METRICS_TOKEN`: they show how much is sold.
const METRICS: Row = Row::page("/metrics").of(Access::Admin);

/// The metrics for the holder of the token and for staff; 401 and 403 for others.
pub fn guarded_metrics(
    admission: Arc<Admission>,
    token: Option<String>,
    handle: PrometheusHandle,
) -> BoxEndpoint<'static> {
    let token = token.map(|token| digest(&SHA256, token.as_bytes()));
    let metrics = Arc::new(metrics(handle));
    make(move |request: Request| {
        let (admission, metrics) = (admission.clone(), metrics.clone());
        async move {
            let given = guard::bearer(request.headers()).ok();
            // The time that comparing hashes takes reveals nothing about the token.
            let given = given.map(|given| digest(&SHA256, given.as_bytes()));
            let is_known =
                token.is_some_and(|token| given.is_some_and(|given| given.as_ref() == token.as_ref()));
            if !is_known {
                let trace = request.data::<Arc<Trace>>().expect("the entry point traces every request");
                admission.identify(&METRICS, trace, request.headers()).await.map_err(Refused)?;
            }
            poem::Endpoint::call(&*metrics, request).await
        }
    })
    .boxed()
}

/// Connections to `HEALTH_ADDR`: probes and collectors of metrics.
const INTERNAL: Bounds = Bounds {
    connections_max: 64,
    connections_per_network_max: None,
    streams_per_network_max: None,
    webhooks_in_work_max: None,
};

/// Serves health and metrics at `HEALTH_ADDR`, which answers however many clients the public address has.
pub async fn serve(
    addr: SocketAddr,
    ready: BoxEndpoint<'static>,
    metrics: BoxEndpoint<'static>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind(addr).and_then(|listener| {
        listener.set_nonblocking(true)?;
        ConnectionAcceptor::new(listener, &INTERNAL, Proxies::default())
    });
    let acceptor = listener
        .with_context(|| format!("HEALTH_ADDR {addr} is in use or not an address of this machine"))?;
    let routes = Route::new().at("/health/live", live()).at("/health/ready", ready).at("/metrics", metrics);
    let server = Server::new_with_acceptor(acceptor);
    tokio::spawn(server.run_with_graceful_shutdown(routes, stop.cancelled_owned(), None));
    tracing::info!(%addr, "serving health and metrics at HEALTH_ADDR");
    Ok(())
}
