//! A host's own `/health/live`, `/health/ready` and `/metrics`, for whoever starts, stops and watches it.
//!
//! Live says only that the process answers. Ready says no while NATS or the database is away: the host then takes no work
//! by itself, so nothing needs restarting.

use std::net::SocketAddr;

use actors::host::Health;
use anyhow::Context;
use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::web::Json;
use poem::{IntoResponse, Response, Route, Server, get, handler};
use tokio_util::sync::CancellationToken;

type Read = std::sync::Arc<dyn Fn() -> Health + Send + Sync>;

/// As the gateway tells it: the problem's fields beside the host's own.
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
    let away: Vec<&str> = [(health.nats, "NATS"), (health.database != Some(false), "the database")]
        .into_iter()
        .filter_map(|(well, name)| (!well).then_some(name))
        .collect();
    if away.is_empty() {
        return Json(health).into_response();
    }
    let mut problem = bus::Problem::unavailable(format!("Not ready: {} is away.", away.join(" and ")));
    problem.code = "not-ready".into();
    Json(NotReady { problem, health })
        .with_status(StatusCode::SERVICE_UNAVAILABLE)
        .with_content_type("application/problem+json")
        .into_response()
}

#[handler]
fn metrics() -> Response {
    let rendered = crate::telemetry::metrics().render();
    Response::builder().content_type("text/plain; version=0.0.4; charset=utf-8").body(rendered)
}

/// Serves until `stop` and returns where.
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
    let listener = listener.with_context(|| format!("HEALTH_ADDR {addr} is taken or not ours"))?;
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
    async fn a_host_tells_how_it_is_and_measures_in_buckets() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // What is recorded before there is a recorder is lost.
        crate::telemetry::metrics();
        let stop = CancellationToken::new();
        let health = |database| {
            move || Health {
                domain: "movie",
                nats: true,
                database: Some(database),
                restarts: 0,
                degraded: Vec::new(),
            }
        };
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let well = serve(anywhere, health(true), stop.clone()).await.unwrap();
        let unwell = serve(anywhere, health(false), stop.clone()).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let get = |addr: SocketAddr, path: &'static str| client.get(format!("http://{addr}{path}")).send();
        assert_eq!(get(unwell, "/health/live").await.unwrap().status(), 200);
        assert_eq!(get(well, "/health/ready").await.unwrap().status(), 200);
        let away = get(unwell, "/health/ready").await.unwrap();
        assert_eq!(away.headers()["content-type"], "application/problem+json");
        assert_eq!(away.status(), 503);
        let away: serde_json::Value = away.json().await.unwrap();
        assert_eq!((&away["code"], &away["domain"]), (&"not-ready".into(), &"movie".into()));
        ::metrics::histogram!("journal_commit_seconds", "domain" => "movie").record(0.004);
        let numbers = get(well, "/metrics").await.unwrap().text().await.unwrap();
        assert!(
            numbers.contains("journal_commit_seconds_bucket{domain=\"movie\",le=\"0.005\"} 1"),
            "{numbers}"
        );
        assert!(numbers.contains("build_info{version="), "{numbers}");
        stop.cancel();
    }
}
