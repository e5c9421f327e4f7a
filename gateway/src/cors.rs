//! Which web pages of other origins may call this API from a browser. None, unless configured.
//!
//! Access tokens travel in a header, so no origin is given credentials: even `*` lets a page do only what every holder of
//! the token can do anyway. The one cookie (`api/page_login.rs`) is for this origin's own page, and the header that it
//! counts beside is not among those that another origin may send.

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Request, Response};

/// What a page may read of an answer besides its body.
const EXPOSED: &str =
    "X-Request-Id, ETag, Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const HEADERS: &str =
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, X-Request-Id, traceparent";
/// Seconds that a browser remembers a preflight: Chrome's own limit.
const REMEMBERED: u64 = 7_200;

/// The origins that may call.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    pub origins: Vec<HeaderValue>,
    pub any: bool,
}

impl Cors {
    /// The answer to a browser that asks whether a page may call; `None` where it is something else, or may not.
    pub fn preflight(&self, request: &Request) -> Option<Response> {
        let asks = request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let origin = request.headers().get(header::ORIGIN).filter(|_| asks)?;
        self.allowed(origin)?;
        let mut response = Response::builder().status(StatusCode::NO_CONTENT).finish();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(REMEMBERED));
        Some(response)
    }

    /// Lets the page of this origin read the answer, where it may.
    pub fn allow(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if !self.any && self.origins.is_empty() {
            return;
        }
        // Also where none was given: a shared cache must not hand the answer to a page of another origin.
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
