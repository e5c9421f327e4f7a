//! A request's context, and what is learnt about it while it is handled; the log line and the metrics are made of it.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bus::Context;
use bus::trace;
use poem::http::Method;
use tracing::Span;
use uuid::Uuid;

use crate::limit::Usage;
use crate::routes::Row;

/// nginx's status for a client that disconnected before its answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// In the data of every request; set by the entry point.
pub struct Trace {
    pub context: Context,
    pub client: IpAddr,
    row: OnceLock<&'static Row>,
    user: OnceLock<Uuid>,
    usage: OnceLock<Usage>,
}

impl Trace {
    pub fn new(context: Context, client: IpAddr) -> Self {
        Self { context, client, row: OnceLock::new(), user: OnceLock::new(), usage: OnceLock::new() }
    }

    pub fn set_row(&self, row: &'static Row) {
        let _ = self.row.set(row);
    }

    pub fn set_user(&self, user: Uuid) {
        let _ = self.user.set(user);
    }

    pub fn set_usage(&self, usage: Usage) {
        let _ = self.usage.set(usage);
    }

    /// How much of its quota the caller has used, where this request was counted.
    pub fn usage(&self) -> Option<&Usage> {
        self.usage.get()
    }
}

/// One log line and one measurement, written on drop: when a client disconnects, its request is dropped.
pub struct RequestLog {
    method: Method,
    trace: Arc<Trace>,
    span: Span,
    started: Instant,
    pub status: u16,
}

impl RequestLog {
    pub fn start(method: Method, trace: Arc<Trace>, span: Span) -> Self {
        metrics::gauge!("http_requests_in_flight").increment(1.0);
        Self { method, trace, span, started: Instant::now(), status: CLIENT_CLOSED_REQUEST }
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        metrics::gauge!("http_requests_in_flight").decrement(1.0);
        let row = self.trace.row.get();
        // The pattern, not the path: there are unlimited paths, and each label value is one more metric.
        let route = row.map_or("unknown", |row| row.path);
        let asks = row.and_then(|row| row.subject);
        let method = known_method(&self.method);
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
            ms = elapsed.as_secs_f64() * 1000.0,
            user = self.trace.user.get().map(tracing::field::display),
            request_id = self.trace.context.correlation_id,
            "request"
        );
        metrics::counter!("http_requests_total", "method" => method, "route" => route, "status" => status.clone())
            .increment(1);
        metrics::histogram!("http_request_duration_seconds", "route" => route, "status" => status)
            .record(elapsed.as_secs_f64());
    }
}

/// A client may send any word as the method, and each label value is one more metric.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
