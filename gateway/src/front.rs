//! Around every request, outermost: its id and trace, one log line, metrics, panics, security headers.
//!
//! Invariant: whatever happens inside, an answer leaves with a request id, `nosniff` and a content security policy,
//! and every error leaves as a problem. One line is logged a request, also when its client goes away.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bus::contract::Problem;
use bus::trace::{self, Kind};
use bus::{Context, context};
use futures::FutureExt;
use poem::http::{HeaderName, HeaderValue, Method, header};
use poem::{Endpoint, Request, Response, Result};
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::client::Proxies;
use crate::cors::Cors;
use crate::limit::Standing;
use crate::routes::Row;
use crate::{compression, edge, problem};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// For everything but the documentation, which sets its own: nothing may load, run or frame.
pub const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
/// A year: browsers then come by https only, also when somebody types http.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// nginx's name for it: the client left before its answer.
const CLIENT_GONE: u16 = 499;

/// What is known of a request while it is under way, for its log line.
pub struct Trace {
    pub context: Context,
    pub client: IpAddr,
    row: OnceLock<&'static Row>,
    user: OnceLock<Uuid>,
    standing: OnceLock<Standing>,
}

impl Trace {
    pub fn note_row(&self, row: &'static Row) {
        let _ = self.row.set(row);
    }
    pub fn note_user(&self, user: Uuid) {
        let _ = self.user.set(user);
    }
    pub fn note_standing(&self, standing: Standing) {
        let _ = self.standing.set(standing);
    }
}

/// The outermost endpoint; it never fails.
pub struct Front<E> {
    pub inner: E,
    pub manners: Manners,
}

/// How a gateway deals with the world in front of it.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    pub proxies: Proxies,
    pub cors: Cors,
    /// Users come by https.
    pub is_secure: bool,
    /// The payment provider charges nobody, which the page has to say.
    pub is_sandbox: bool,
}

impl<E: Endpoint<Output = Response>> Endpoint for Front<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let text = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
        let (id, parent) = (text(REQUEST_ID.as_str()), text(context::TRACEPARENT));
        let (span, context) = trace::enter(Kind::Server, "request", id, parent);
        Ok(self.answer(request, context, span.clone()).instrument(span).await)
    }
}

impl<E: Endpoint<Output = Response>> Front<E> {
    async fn answer(&self, mut request: Request, context: Context, span: Span) -> Response {
        let client = self.manners.proxies.client(request.remote_addr(), request.headers());
        let trace = Arc::new(Trace {
            context,
            client,
            row: OnceLock::new(),
            user: OnceLock::new(),
            standing: OnceLock::new(),
        });
        let mut line = Line::begin(request.method().clone(), trace.clone(), span);
        let origin = request.headers().get(header::ORIGIN).cloned();
        let takes_gzip = compression::is_accepted(request.headers());
        request.set_data(trace.clone());
        if let Some(mut response) = self.answer_early(&mut request, &trace) {
            self.finish(&mut response, &trace, origin.as_ref());
            line.status = response.status().as_u16();
            return response;
        }
        let uri = request.uri().clone();
        let problem = match AssertUnwindSafe(self.inner.call(request)).catch_unwind().await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(problem::of(error, uri.path())),
            Err(_) => {
                tracing::error!(
                    request_id = trace.context.correlation_id,
                    path = uri.path(),
                    "panic while answering"
                );
                Err(Problem::internal())
            }
        };
        let id = &trace.context.correlation_id;
        let mut response = problem.unwrap_or_else(|problem| problem::respond(problem, id));
        self.finish(&mut response, &trace, origin.as_ref());
        line.status = response.status().as_u16();
        compression::compress(takes_gzip, response).await
    }

    /// What no route is needed for: requests that are not clear, and questions about the server or about an origin.
    fn answer_early(&self, request: &mut Request, trace: &Trace) -> Option<Response> {
        if let Err(problem) = edge::settle(request) {
            return Some(problem::respond(problem, &trace.context.correlation_id));
        }
        edge::server_options(request).or_else(|| self.manners.cors.preflight(request))
    }

    fn finish(&self, response: &mut Response, trace: &Trace, origin: Option<&HeaderValue>) {
        secure(response, &trace.context.correlation_id);
        if self.manners.is_secure {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
        }
        if let Some(standing) = trace.standing.get() {
            standing.write(response.headers_mut());
        }
        self.manners.cors.allow(origin, response.headers_mut());
    }
}

fn secure(response: &mut Response, request_id: &str) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    // Answers hold tokens and other people's seats; what may be kept says so itself.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// One log line and one measurement, written when it is dropped: a client that goes away drops its request.
struct Line {
    method: Method,
    trace: Arc<Trace>,
    span: Span,
    begun: Instant,
    status: u16,
}

impl Line {
    fn begin(method: Method, trace: Arc<Trace>, span: Span) -> Self {
        metrics::gauge!("http_requests_in_flight").increment(1.0);
        Self { method, trace, span, begun: Instant::now(), status: CLIENT_GONE }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        metrics::gauge!("http_requests_in_flight").decrement(1.0);
        // The pattern, never the path: paths are without bound, and metrics are kept for each.
        let route = self.trace.row.get().map_or("unknown", |row| row.path);
        let asks = self.trace.row.get().and_then(|row| row.subject);
        let method = match self.method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PUT" => "PUT",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            // Methods are the caller's to invent.
            _ => "other",
        };
        trace::rename(&self.span, format_args!("{method} {route}"));
        if self.status >= 500 {
            trace::fail(&self.span);
        }
        let status = self.status.to_string();
        tracing::info!(
            method,
            route,
            asks,
            status = self.status,
            ms = took.as_secs_f64() * 1000.0,
            user = self.trace.user.get().map(tracing::field::display),
            request_id = self.trace.context.correlation_id,
            "request"
        );
        metrics::counter!("http_requests_total", "method" => method, "route" => route, "status" => status.clone())
            .increment(1);
        metrics::histogram!("http_request_duration_seconds", "route" => route, "status" => status)
            .record(took.as_secs_f64());
    }
}
