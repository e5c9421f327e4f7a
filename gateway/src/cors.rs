//! Which web pages of other origins may call this API from a browser. By default none.
//!
//! Access tokens are sent in a header, so CORS allows no credentials: even with `*` a page can only do what the holder of
//! the token can do anyway. The only cookie (`api/page_login.rs`) is for the page of this origin, and requires a header that
//! other origins may not send.

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Request, Response};

/// The headers of an answer that a page may read.
const EXPOSED: &str =
    "X-Request-Id, ETag, Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const HEADERS: &str =
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, X-Request-Id, traceparent";
/// Seconds that a browser caches a preflight: Chrome's maximum.
const MAX_AGE: u64 = 7_200;

/// The origins that may call.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    pub origins: Vec<HeaderValue>,
    pub any: bool,
}

impl Cors {
    /// The answer to a preflight of an allowed origin; `None` for every other request.
    pub fn preflight(&self, request: &Request) -> Option<Response> {
        let is_preflight = request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let origin = request.headers().get(header::ORIGIN).filter(|_| is_preflight)?;
        self.allowed(origin)?;
        let mut response = Response::builder().status(StatusCode::NO_CONTENT).finish();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(MAX_AGE));
        Some(response)
    }

    /// Allows the page of this origin to read the answer, where the origin is allowed.
    pub fn allow(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if !self.any && self.origins.is_empty() {
            return;
        }
        // Also without an origin: a shared cache must not return the answer to a page of another origin.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(allowed) = origin.and_then(|origin| self.allowed(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }

    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        (self.any || self.origins.contains(origin)).then(|| origin.clone())
    }
}
