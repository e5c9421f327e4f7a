//! Message bodies: Nest's envelope (`{"pattern","data"}`) or bare JSON, and replies in the style of the request. Pure
//! functions on bytes.
//!
//! Invariant: an outgoing event's envelope has no `id` at the top, because Nest would handle it as a request; and a body on
//! the raw exchange is always JSON, because @golevelup/nestjs-rabbitmq requeues anything else without delay.

use serde::Serialize;
use serde_json::Value;

use bus::Problem;

/// The answer of Nest's own server to a pattern without a handler.
const NO_HANDLER: &str = "There is no matching message handler defined in the remote service.";

/// An event in Nest's envelope. `payload` is JSON.
pub fn nest(event: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(payload.len() + event.len() + 24);
    body.extend_from_slice(br#"{"pattern":"#);
    // Event names consist of lower-case letters, dots and underscores.
    body.extend_from_slice(Value::from(event).to_string().as_bytes());
    body.extend_from_slice(br#","data":"#);
    body.extend_from_slice(payload);
    body.push(b'}');
    body
}

/// The format of a received message, in which it is also answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Style {
    /// Nest's envelope; a request has an id, which only the answer "no handler" repeats.
    Nest { id: Option<Value> },
    /// The payload alone, as @golevelup/nestjs-rabbitmq and other clients send it.
    Bare,
}

/// A decoded message.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// The name of the event or request.
    pub pattern: String,
    pub data: Value,
    pub style: Style,
    /// The sender waits for a reply.
    pub is_request: bool,
}

/// Why a body cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    Empty,
    NotJson(String),
    /// The body is not an envelope, and the message has no routing key that names an event.
    NoPattern,
}

/// Decodes a body. `routing_key` is that of a message that came through an exchange; `has_reply_to` is whether the
/// message has a reply address.
pub fn read(body: &[u8], routing_key: Option<&str>, has_reply_to: bool) -> Result<Incoming, Unreadable> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Unreadable::Empty);
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|error| Unreadable::NotJson(error.to_string()))?;
    let value = match value {
        Value::Object(mut object) => match envelope_pattern(&object, has_reply_to) {
            Some(pattern) => {
                let id = object.remove("id").filter(|id| !id.is_null());
                // JavaScript omits a field that is undefined.
                let data = object.remove("data").unwrap_or_default();
                let is_request = has_reply_to && id.is_some();
                return Ok(Incoming { pattern, data, style: Style::Nest { id }, is_request });
            }
            None => Value::Object(object),
        },
        value => value,
    };
    let pattern = routing_key.ok_or(Unreadable::NoPattern)?.to_owned();
    Ok(Incoming { pattern, data: value, style: Style::Bare, is_request: has_reply_to })
}

/// The pattern, if the object is Nest's envelope: an event has `data`, a request has an `id` and may lack `data`.
fn envelope_pattern(object: &serde_json::Map<String, Value>, has_reply_to: bool) -> Option<String> {
    let is_request = has_reply_to && object.get("id").is_some_and(|id| !id.is_null());
    match object.get("pattern")? {
        Value::String(pattern) if is_request || object.contains_key("data") => Some(pattern.clone()),
        // Nest's server finds the handler of such a pattern by its JSON.
        pattern @ Value::Object(_) if is_request => Some(pattern.to_string()),
        _ => None,
    }
}

/// The reply to a request. `answer` is JSON.
pub fn reply(style: &Style, answer: &[u8]) -> Vec<u8> {
    match style {
        Style::Bare => answer.to_vec(),
        Style::Nest { .. } => {
            let mut body = Vec::with_capacity(answer.len() + 40);
            body.extend_from_slice(br#"{"response":"#);
            body.extend_from_slice(answer);
            body.extend_from_slice(br#","isDisposed":true}"#);
            body
        }
    }
}

/// A problem as an exception of Nest, which reads `message` and `status`.
#[derive(Serialize)]
struct Exception<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NestError<'a> {
    err: Exception<'a>,
    is_disposed: bool,
}

/// The reply of @golevelup/nestjs-rabbitmq for a handler that threw, with the problem added.
#[derive(Serialize)]
struct BareError<'a> {
    status: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a Problem>,
}

/// The reply to a request that was rejected or failed.
pub fn error_reply(style: &Style, problem: &Problem) -> Vec<u8> {
    let message = problem.detail.as_str();
    let body = match style {
        Style::Nest { .. } => {
            serde_json::to_vec(&NestError { err: Exception { problem, message }, is_disposed: true })
        }
        Style::Bare => serde_json::to_vec(&BareError { status: "error", message, problem: Some(problem) }),
    };
    body.expect("a problem is plain data and always serializes")
}

/// Fields in Nest's own order.
#[derive(Serialize)]
struct NoHandler<'a> {
    id: &'a Value,
    err: &'a str,
    status: &'a str,
}

/// The reply to a request without a handler, byte for byte as Nest's server sends it.
pub fn no_handler(style: &Style) -> Vec<u8> {
    let body = match style {
        Style::Nest { id } => serde_json::to_vec(&NoHandler {
            id: id.as_ref().unwrap_or(&Value::Null),
            err: NO_HANDLER,
            status: "error",
        }),
        Style::Bare => serde_json::to_vec(&BareError { status: "error", message: NO_HANDLER, problem: None }),
    };
    body.expect("texts serialize")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(body: Vec<u8>) -> String {
        String::from_utf8(body).unwrap()
    }

    fn nest_request() -> Style {
        Style::Nest { id: Some(json!("f032fb")) }
    }

    #[test]
    fn an_event_is_byte_for_byte_what_nest_sends() {
        let body = nest("movie.created", br#"{"id":"m1","title":"Dune"}"#);
        assert_eq!(text(body), r#"{"pattern":"movie.created","data":{"id":"m1","title":"Dune"}}"#);
    }

    #[test]
    fn the_event_is_named_by_nests_envelope_and_not_by_the_routing_key() {
        let body = br#"{"pattern":"movie.created","data":{"id":"m1"}}"#;
        for routing_key in [None, Some("something.else")] {
            let read = read(body, routing_key, false).unwrap();
            assert_eq!(read.pattern, "movie.created");
            assert_eq!(read.data, json!({"id": "m1"}));
            assert_eq!((read.style, read.is_request), (Style::Nest { id: None }, false));
        }
    }

    #[test]
    fn bare_json_is_named_by_its_routing_key_and_rejected_without_one() {
        for body in [r#"{"movieId":"m1"}"#, r#"{"pattern":"houndstooth"}"#, "[1]", "7"] {
            let read = read(body.as_bytes(), Some("movie.created"), false).unwrap();
            assert_eq!((read.pattern.as_str(), read.style), ("movie.created", Style::Bare));
            assert_eq!(read.data.to_string(), body);
            assert_eq!(super::read(body.as_bytes(), None, false), Err(Unreadable::NoPattern));
        }
    }

    #[test]
    fn a_body_that_is_not_json_is_distinguished_from_an_empty_one() {
        assert_eq!(read(b"", Some("movie.created"), false), Err(Unreadable::Empty));
        assert_eq!(read(b" \n", Some("movie.created"), false), Err(Unreadable::Empty));
        for body in [&b"{"[..], b"movie", b"\xff\xfe", b"{} {}"] {
            assert!(matches!(read(body, Some("movie.created"), false), Err(Unreadable::NotJson(_))));
        }
        let deep = "[".repeat(10_000);
        assert!(matches!(read(deep.as_bytes(), None, false), Err(Unreadable::NotJson(_))));
    }

    #[test]
    fn a_request_has_an_id_and_a_reply_address() {
        let body = br#"{"pattern":"seats.get","data":{"showtimeId":"s1"},"id":"f032fb"}"#;
        let request = read(body, None, true).unwrap();
        assert_eq!((request.style, request.is_request), (nest_request(), true));
        // Without a reply address it is an event whose sender put an id into it.
        assert!(!read(body, None, false).unwrap().is_request);
        let without_data = read(br#"{"pattern":"seats.get","id":"f032fb"}"#, None, true).unwrap();
        assert_eq!((without_data.data, without_data.is_request), (Value::Null, true));
        let bare = read(br#"{"showtimeId":"s1"}"#, Some("seats.get"), true).unwrap();
        assert_eq!((bare.pattern.as_str(), bare.style, bare.is_request), ("seats.get", Style::Bare, true));
        let object = read(br#"{"pattern":{"cmd":"sum"},"data":[1],"id":"1"}"#, None, true).unwrap();
        assert_eq!(object.pattern, r#"{"cmd":"sum"}"#);
    }

    #[test]
    fn replies_are_byte_for_byte_nests() {
        let ok = reply(&nest_request(), br#"{"seats":3}"#);
        assert_eq!(text(ok), r#"{"response":{"seats":3},"isDisposed":true}"#);
        assert_eq!(
            text(no_handler(&nest_request())),
            concat!(
                r#"{"id":"f032fb","err":"There is no matching message handler defined in the remote service.","#,
                r#""status":"error"}"#
            )
        );
        let refused: Value =
            serde_json::from_slice(&error_reply(&nest_request(), &Problem::not_found("reservation")))
                .unwrap();
        assert_eq!(refused["isDisposed"], true);
        assert_eq!(refused["err"]["status"], 404);
        assert_eq!(refused["err"]["code"], "not-found");
        assert_eq!(refused["err"]["message"], "There is no such reservation, or it is not yours.");
        assert_eq!(refused.get("id"), None, "an id would make Nest wait for more");
    }

    #[test]
    fn a_bare_request_gets_bare_json() {
        assert_eq!(text(reply(&Style::Bare, b"[1]")), "[1]");
        let refused: Value =
            serde_json::from_slice(&error_reply(&Style::Bare, &Problem::internal())).unwrap();
        assert_eq!((&refused["status"], &refused["problem"]["status"]), (&json!("error"), &json!(500)));
        let no_handler: Value = serde_json::from_slice(&no_handler(&Style::Bare)).unwrap();
        assert_eq!(no_handler["message"], NO_HANDLER);
    }
}
