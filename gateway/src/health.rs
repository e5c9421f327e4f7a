//! Whether this process lives, whether it can serve, and its numbers.
//!
//! Live says only that requests are answered: an orchestrator restarts what is not live, which mends nothing when
//! a part behind it is away. Ready says which parts are there, and no once the gateway stops.

use std::collections::BTreeMap;
use std::sync::Arc;

use bus::contract::Problem;
use metrics_exporter_prometheus::PrometheusHandle;
use poem::endpoint::{BoxEndpoint, make_sync};
use poem::{EndpointExt, Request, Response};

use crate::front::Trace;
use crate::house::House;

/// One part that the gateway, or the process that it runs in, needs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Part {
    pub ready: bool,
    /// For a person: what it does, how often it restarted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Part {
    pub fn new(ready: bool, detail: impl Into<String>) -> Self {
        Self { ready, detail: detail.into() }
    }
}

/// The parts by name.
pub type Parts = BTreeMap<String, Part>;

#[derive(serde::Serialize)]
struct Ready {
    ready: bool,
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

pub fn ready(house: Arc<House>, others: impl Fn() -> Parts + Send + Sync + 'static) -> BoxEndpoint<'static> {
    make_sync(move |request: Request| {
        let mut parts = others();
        let connected = house.hosts.is_connected();
        parts.insert("nats".into(), Part::new(connected, if connected { "" } else { "not connected" }));
        let stopping = house.stop.is_cancelled();
        parts.insert("gateway".into(), Part::new(!stopping, if stopping { "stopping" } else { "" }));
        if parts.values().all(|part| part.ready) {
            let body = serde_json::to_vec(&Ready { ready: true, parts }).unwrap_or_default();
            return Response::builder().content_type("application/json").body(body);
        }
        let away: Vec<_> =
            parts.iter().filter(|(_, part)| !part.ready).map(|(name, _)| name.as_str()).collect();
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
    })
    .boxed()
}

pub fn metrics(handle: PrometheusHandle) -> BoxEndpoint<'static> {
    make_sync(move |_| {
        Response::builder().content_type("text/plain; version=0.0.4; charset=utf-8").body(handle.render())
    })
    .boxed()
}
