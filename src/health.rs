//! A host's own `/health/live`, `/health/ready` and `/metrics`, for orchestrators and monitoring.
//!
//! Live only means that the process answers. Ready is false while NATS or the database is unavailable: the host then takes no
//! work and recovers by itself, so it need not be restarted.

use std::net::SocketAddr;

use actors::host::Health;
use anyhow::Context;
use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::web::Json;
use poem::{IntoResponse, Response, Route, Server, get, handler};
use tokio_util::sync::CancellationToken;

type Read = std::sync::Arc<dyn Fn() -> Health + Send + Sync>;

/// The fields of a problem, as in the gateway's answer, and those of the host's health.
#[derive(serde::Serialize)]
struct NotReady {
    #[serde(flatten)]
    problem: bus::Problem,
    #[serde(flatten)]
    health: Health,
}

#[handler]
fn live() -> Response {
    Response::builder().content_type("application/json").body(r#"{"live":true}"#)
}

#[handler]
fn ready(health: poem::web::Data<&Read>) -> Response {
    let health = (health.0)();
    let missing: Vec<&str> = [(health.nats, "NATS"), (health.database != Some(false), "the database")]
        .into_iter()
        .filter_map(|(is_up, name)| (!is_up).then_some(name))
        .collect();
    if missing.is_empty() {
        return Json(health).into_response();
    }
    let mut problem = bus::Problem::unavailable(format!("Not ready: {} is away.", missing.join(" and ")));
    problem.code = "not-ready".into();
    Json(NotReady { problem, health })
        .with_status(StatusCode::SERVICE_UNAVAILABLE)
        .with_content_type("application/problem+json")
        .into_response()
}

#[handler]
fn metrics(health: poem::web::Data<&Read>) -> Response {
    let health = (health.0)();
    ::metrics::gauge!("host_ready", "domain" => health.domain).set(u8::from(health.is_ready()));
    ::metrics::gauge!("host_degraded", "domain" => health.domain).set(health.degraded.len() as f64);
    let rendered = crate::telemetry::metrics().render();
    Response::builder().content_type("text/plain; version=0.0.4; charset=utf-8").body(rendered)
}

/// Serves until `stop` is cancelled; returns the address.
pub async fn serve(
    addr: SocketAddr,
    health: impl Fn() -> Health + Send + Sync + 'static,
    stop: CancellationToken,
) -> anyhow::Result<SocketAddr> {
    use poem::EndpointExt;
    let read: Read = std::sync::Arc::new(health);
    let routes = Route::new()
        .at("/health/live", get(live))
        .at("/health/ready", get(ready))
        .at("/metrics", get(metrics))
        .data(read);
    let listener = tokio::net::TcpListener::bind(addr).await;
    let listener = listener
        .with_context(|| format!("HEALTH_ADDR {addr} is in use or not an address of this machine"))?;
    let local = listener.local_addr()?;
    let acceptor = TcpAcceptor::from_tokio(listener)?;
    let server = Server::new_with_acceptor(acceptor);
    tokio::spawn(server.run_with_graceful_shutdown(routes, stop.cancelled_owned(), None));
    Ok(local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_reports_its_health_and_its_metrics_in_buckets() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Values recorded before the recorder is installed are lost.
        crate::telemetry::metrics();
        let stop = CancellationToken::new();
        let health = |database| {
            move || Health {
                domain: "movie",
                version: "1.2.3",
                nats: true,
                database: Some(database),
                restarts: 0,
                degraded: Vec::new(),
            }
        };
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let up = serve(anywhere, health(true), stop.clone()).await.unwrap();
        let down = serve(anywhere, health(false), stop.clone()).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let get = |addr: SocketAddr, path: &'static str| client.get(format!("http://{addr}{path}")).send();
        assert_eq!(get(down, "/health/live").await.unwrap().status(), 200);
        let answer = get(up, "/health/ready").await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(answer["version"], "1.2.3");
        let answer = get(down, "/health/ready").await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.status(), 503);
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert_eq!((&answer["code"], &answer["domain"]), (&"not-ready".into(), &"movie".into()));
        ::metrics::histogram!("journal_commit_seconds", "domain" => "movie").record(0.004);
        let exposition = get(up, "/metrics").await.unwrap().text().await.unwrap();
        assert!(
            exposition.contains("journal_commit_seconds_bucket{domain=\"movie\",le=\"0.005\"} 1"),
            "{exposition}"
        );
        for line in
            ["build_info{version=", "host_ready{domain=\"movie\"} 1", "host_degraded{domain=\"movie\"} 0"]
        {
            assert!(exposition.contains(line), "{line}: {exposition}");
        }
        stop.cancel();
    }
}
