//! The outermost endpoint, around every request: its id and trace, the log line, metrics, panics, security headers.
//!
//! Invariant: every answer has a request id, `nosniff` and a content security policy, and every error is a problem,
//! whatever happened inside. Each request is logged once, also when its client disconnects.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bus::contract::Locale;
use bus::contract::Problem;
use bus::trace::{self, Kind};
use bus::{Context, context};
use futures::FutureExt;
use poem::http::{HeaderName, HeaderValue, Version, header};
use poem::{Endpoint, Request, Response, Result};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::client::Proxies;
use crate::cors::Cors;
use crate::trace::{RequestLog, Trace};
use crate::{compression, normalize, problem};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// For all answers that set no policy of their own: nothing may be loaded, run or framed.
pub const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
/// For a year browsers use https only, also when a user types http.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The outermost endpoint; it never fails.
pub struct EntryPoint<E> {
    pub inner: E,
    pub config: HttpConfig,
    /// Once it is cancelled each answer closes its connection, so that the client's next request reaches another gateway.
    pub draining: CancellationToken,
}

/// Settings of the HTTP side: proxies, CORS, https.
#[derive(Debug, Clone, Default)]
pub struct HttpConfig {
    /// The address that users type, without a slash at its end; addresses in pages and feeds begin with it. `None`: they begin
    /// with their path.
    pub public_url: Option<String>,
    pub proxies: Proxies,
    pub cors: Cors,
    /// Users connect by https.
    pub is_secure: bool,
    /// The payment provider is the sandbox, which charges nobody; the page says so.
    pub is_sandbox: bool,
}

impl<E: Endpoint<Output = Response>> Endpoint for EntryPoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let text = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
        let (id, parent) = (text(REQUEST_ID.as_str()), text(context::TRACEPARENT));
        let (span, mut context) = trace::enter(Kind::Server, "request", id, parent);
        context.locale = text(header::ACCEPT_LANGUAGE.as_str()).and_then(Locale::accepted);
        Ok(self.answer(request, context, span.clone()).instrument(span).await)
    }
}

impl<E: Endpoint<Output = Response>> EntryPoint<E> {
    async fn answer(&self, mut request: Request, context: Context, span: Span) -> Response {
        let client = self.config.proxies.client(request.remote_addr(), request.headers());
        let trace = Arc::new(Trace::new(context, client));
        let version = request.version();
        let mut log = RequestLog::start(request.method().clone(), trace.clone(), span);
        let origin = request.headers().get(header::ORIGIN).cloned();
        let accepts_gzip = compression::is_accepted(request.headers());
        request.set_data(trace.clone());
        if let Some(mut response) = self.answer_without_route(&mut request, &trace) {
            self.set_headers(&mut response, version, &trace, origin.as_ref());
            log.status = response.status().as_u16();
            return response;
        }
        let uri = request.uri().clone();
        let id = &trace.context.correlation_id;
        let result = match AssertUnwindSafe(self.inner.call(request)).catch_unwind().await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(problem::of(error, uri.path())),
            Err(_) => {
                tracing::error!(request_id = id, path = uri.path(), "panic while handling a request");
                Err(Problem::internal())
            }
        };
        let mut response = result.unwrap_or_else(|problem| problem::respond(problem, id));
        self.set_headers(&mut response, version, &trace, origin.as_ref());
        log.status = response.status().as_u16();
        compression::compress(accepts_gzip, response).await
    }

    /// The answer to a malformed request, to `OPTIONS *` and to a CORS preflight.
    fn answer_without_route(&self, request: &mut Request, trace: &Trace) -> Option<Response> {
        if let Err(problem) = normalize::normalize(request) {
            return Some(problem::respond(problem, &trace.context.correlation_id));
        }
        normalize::server_options(request).or_else(|| self.config.cors.preflight(request))
    }

    fn set_headers(
        &self,
        response: &mut Response,
        version: Version,
        trace: &Trace,
        origin: Option<&HeaderValue>,
    ) {
        set_security_headers(response, &trace.context.correlation_id);
        // HTTP/2 forbids the header (RFC 9113, 8.2.2); its connections get GOAWAY when the gateway stops.
        if self.draining.is_cancelled() && version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.config.is_secure {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
        }
        if let Some(usage) = trace.usage() {
            usage.write(response.headers_mut());
        }
        self.config.cors.allow(origin, response.headers_mut());
    }
}

fn set_security_headers(response: &mut Response, request_id: &str) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    // Answers contain tokens and other people's seats; an answer that may be cached sets its own header.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
