//! A host's own `/health/live`, `/health/ready` and `/metrics`.

use std::net::SocketAddr;

use actors::host::Health;
use anyhow::Context;
use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::web::Json;
use poem::{IntoResponse, Response, Route, Server, get, handler};
use tokio_util::sync::CancellationToken;

type Read = std::sync::Arc<dyn Fn() -> Health + Send + Sync>;

#[handler]
fn live() -> &'static str {
    "live"
}

#[handler]
fn ready(health: poem::web::Data<&Read>) -> Response {
    let health = (health.0)();
    let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Json(health).with_status(status).into_response()
}

#[handler]
fn metrics() -> String {
    crate::telemetry::metrics().render()
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
