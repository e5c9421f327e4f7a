//! What travels with every message that a request causes: its correlation id and its W3C trace context.

use async_nats::HeaderMap;

use crate::contract::Locale;

pub const CORRELATION_ID: &str = "X-Correlation-Id";
pub const TRACEPARENT: &str = "traceparent";

/// The request that caused a message. `traceparent` names the last recorded span: a part that records spans replaces it by
/// its own, every other part passes it on unchanged (W3C Trace Context).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Context {
    pub correlation_id: String,
    pub traceparent: String,
    /// The language of the person whose request it is. Sent with requests; an event that needs it has it in its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
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
        let traceparent = traceparent
            .and_then(well_formed)
            .unwrap_or_else(|| format!("00-{}-{:016x}-01", uuid::Uuid::new_v4().simple(), span_id()));
        Self { correlation_id, traceparent, locale: None }
    }

    pub fn from_headers(headers: Option<&HeaderMap>) -> Self {
        let text = |name: &str| headers.and_then(|h| h.get(name)).map(|v| v.as_str());
        Self::from_parts(text(CORRELATION_ID), text(TRACEPARENT))
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

/// A `traceparent` header (W3C Trace Context) in the form of version 00; of a later version only the fields of version 00.
/// Its flags say whether the caller records the trace, which we follow.
fn well_formed(text: &str) -> Option<String> {
    let mut parts = text.split('-');
    let mut hex = |length| {
        let part = parts.next()?;
        let digits = part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        digits.then_some(part)
    };
    let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let is_set = |id: &str| id.bytes().any(|b| b != b'0');
    let is_known = version != "ff" && (version != "00" || parts.next().is_none());
    (is_known && is_set(trace) && is_set(span)).then(|| format!("00-{trace}-{span}-{flags}"))
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
        assert_eq!((kept.correlation_id.as_str(), kept.traceparent.as_str()), ("order-1", given));
        let none = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let no_span = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        for bad in
            ["00-xyz-1-01", "", none, no_span, &given.to_uppercase(), &format!("{given}-more"), &given[..52]]
        {
            let made = Context::from_parts(Some("not valid\n"), Some(bad));
            assert_ne!(made.correlation_id, "not valid\n");
            assert_ne!(made.traceparent, bad);
            assert_eq!(well_formed(&made.traceparent).as_ref(), Some(&made.traceparent), "for {bad}");
        }
        let later = Context::from_parts(None, Some(&format!("01{}-more", &given[2..])));
        assert_eq!(later.traceparent, given);
    }
}
