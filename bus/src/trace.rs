//! Spans: everything that a request causes, from the gateway over all hosts to the last mail, is one trace.
//!
//! A span's parent is only taken from the [`Context`] of the message, never from the surrounding code. A span also adds the
//! request's id to each log line within it. Invariant: unless [`turn_on`] was called, only that log span is created, and the
//! context is passed on unchanged.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer,
};
use opentelemetry::{KeyValue, global};
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::Context;

/// Only spans of this target are exported: libraries create spans of their own, with other parents.
pub const TARGET: &str = "marquee::trace";

static ON: AtomicBool = AtomicBool::new(false);

/// Records spans from now on. The exporter has to be installed before.
pub fn turn_on() {
    ON.store(true, Ordering::Relaxed);
}

pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Which side of a hop a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Server,
    Client,
    Producer,
    Consumer,
    Internal,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Internal => "internal",
        }
    }
}

/// A span for the handling of a request or message with these headers, and the context for what it causes. The span lasts
/// until its last clone is dropped.
pub fn enter(
    kind: Kind,
    name: impl Display,
    correlation_id: Option<&str>,
    traceparent: Option<&str>,
) -> (Span, Context) {
    let mut context = Context::from_parts(correlation_id, traceparent);
    let request_id = context.correlation_id.as_str();
    // The highest level, so that no log filter except `off` removes the request's id from the lines within it.
    if !is_on() {
        return (tracing::error_span!(target: TARGET, parent: None, "work", request_id), context);
    }
    let span = tracing::error_span!(
        target: TARGET, parent: None, "work", request_id,
        otel.name = name.to_string(), otel.kind = kind.name(), otel.status_code = Empty
    );
    if let Some(parent) = traceparent.and_then(remote) {
        // Fails only if no spans are recorded.
        let _ = span.set_parent(parent);
    }
    if let Some(traceparent) = traceparent_of(span.context().span().span_context()) {
        context.traceparent = traceparent;
    }
    (span, context)
}

/// A span for the next step of the work of `parent`.
pub fn begin(kind: Kind, name: impl Display, parent: &Context) -> (Span, Context) {
    enter(kind, name, Some(&parent.correlation_id), Some(&parent.traceparent))
}

/// A span without a log span: nothing is created unless spans are recorded.
pub fn step(kind: Kind, name: impl Display, parent: &Context) -> Span {
    if is_on() { begin(kind, name, parent).0 } else { Span::none() }
}

/// Records a step that has just ended.
pub fn note(kind: Kind, name: &'static str, parent: &Context, took: Duration, facts: &[(&'static str, i64)]) {
    if !is_on() {
        return;
    }
    let Some(parent) = remote(&parent.traceparent) else { return };
    let kind = match kind {
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
        Kind::Internal => SpanKind::Internal,
    };
    let builder = SpanBuilder::from_name(name)
        .with_kind(kind)
        .with_start_time(SystemTime::now() - took)
        .with_attributes(facts.iter().map(|(name, value)| KeyValue::new(*name, *value)));
    global::tracer("marquee").build_with_context(builder, &parent).end();
}

/// Marks a span as failed.
pub fn fail(span: &Span) {
    if is_on() {
        span.record("otel.status_code", "ERROR");
    }
}

/// Renames a span, once its subject is known.
pub fn rename(span: &Span, name: impl Display) {
    if is_on() {
        // `record` does not work: a span that has begun keeps the name of its field.
        span.context().span().update_name(name.to_string());
    }
}

fn remote(traceparent: &str) -> Option<opentelemetry::Context> {
    let mut parts = traceparent.split('-').skip(1);
    let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let parent = SpanContext::new(trace, span, flags, true, TraceState::default());
    parent.is_valid().then(|| opentelemetry::Context::new().with_remote_span_context(parent))
}

fn traceparent_of(span: &SpanContext) -> Option<String> {
    let flags = span.trace_flags().to_u8();
    span.is_valid().then(|| format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()))
}
