//! What travels with every message that a request causes: its correlation id and its W3C trace context.

use async_nats::HeaderMap;

pub const CORRELATION_ID: &str = "X-Correlation-Id";
pub const TRACEPARENT: &str = "traceparent";

/// The request that caused a message. `traceparent` keeps the trace id and gets a new span id at each hop.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Context {
    pub correlation_id: String,
    pub traceparent: String,
}

impl Context {
    /// A context for work that no request caused (a sweep, a schedule).
    pub fn new() -> Self {
        Self::from_parts(None, None)
    }

    /// Takes the caller's ids where they are well formed and makes new ones where not.
    pub fn from_parts(correlation_id: Option<&str>, traceparent: Option<&str>) -> Self {
        let correlation_id = match correlation_id {
            Some(id) if is_request_id(id) => id.to_owned(),
            _ => uuid::Uuid::now_v7().to_string(),
        };
        let traceparent = match traceparent.and_then(trace_id) {
            Some((trace, flags)) => format!("00-{trace}-{:016x}-{flags}", span_id()),
            None => format!("00-{}-{:016x}-01", uuid::Uuid::new_v4().simple(), span_id()),
        };
        Self { correlation_id, traceparent }
    }

    pub fn from_headers(headers: Option<&HeaderMap>) -> Self {
        let text = |name: &str| headers.and_then(|h| h.get(name)).map(|v| v.as_str());
        Self::from_parts(text(CORRELATION_ID), text(TRACEPARENT))
    }

    /// The context of the next hop: same correlation and trace, a new span.
    pub fn child(&self) -> Self {
        Self::from_parts(Some(&self.correlation_id), Some(&self.traceparent))
    }

    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(CORRELATION_ID, self.correlation_id.as_str());
        headers.insert(TRACEPARENT, self.traceparent.as_str());
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

/// 1–128 of `[A-Za-z0-9._-]`: safe in a header, a log line and a shell.
pub fn is_request_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Trace id and flags of a `traceparent` header (W3C Trace Context, version 00), if it is one. The flags tell whether the
/// caller records the trace, and we follow.
fn trace_id(traceparent: &str) -> Option<(&str, &str)> {
    let mut parts = traceparent.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |s: &str, len| s.len() == len && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |s: &str| s.bytes().all(|b| b == b'0');
    let flags = parts.next().filter(|flags| hex(flags, 2)).unwrap_or("01");
    let valid = hex(version, 2) && hex(trace, 32) && hex(span, 16) && !zero(trace) && !zero(span);
    valid.then_some((trace, flags))
}

fn span_id() -> u64 {
    rand::random::<u64>().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_trace_is_continued_and_a_bad_one_replaced() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let kept = Context::from_parts(Some("order-1"), Some(given));
        assert!(kept.traceparent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert_ne!(kept.traceparent, given);
        assert_eq!(kept.correlation_id, "order-1");
        let made = Context::from_parts(Some("not valid\n"), Some("00-xyz-1-01"));
        assert_ne!(made.correlation_id, "not valid\n");
        assert_eq!(made.traceparent.len(), given.len());
    }
}
