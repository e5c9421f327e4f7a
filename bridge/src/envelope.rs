//! What stands in an AMQP message: Nest's envelope (`{"pattern","data"}`) or bare JSON, on the way in, and replies in the
//! style of whoever asked. Pure: bytes in, a decision about their meaning out.
//!
//! Invariant: nothing that leaves here has `id` at the top of an event's envelope, since Nest would take it for a request;
//! and a body on the raw exchange is always JSON, since @golevelup/nestjs-rabbitmq requeues what is not, without delay.

use serde::Serialize;
use serde_json::Value;

use bus::Problem;

/// What Nest's own server answers when nobody handles a pattern.
const NO_HANDLER: &str = "There is no matching message handler defined in the remote service.";

/// An event in Nest's envelope. `payload` is JSON.
pub fn nest(event: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(payload.len() + event.len() + 24);
    body.extend_from_slice(br#"{"pattern":"#);
    // A name of the contract: lower-case letters, dots and underscores.
    body.extend_from_slice(Value::from(event).to_string().as_bytes());
    body.extend_from_slice(br#","data":"#);
    body.extend_from_slice(payload);
    body.push(b'}');
    body
}

/// How whoever sent a message speaks, and wants to be answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Style {
    /// Nest's transport; a request has an id, which only the answer "no handler" repeats.
    Nest { id: Option<Value> },
    /// The payload alone, as @golevelup/nestjs-rabbitmq and everybody else sends it.
    Bare,
}

/// A message whose meaning is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// The event or request that it names.
    pub pattern: String,
    pub data: Value,
    pub style: Style,
    /// Somebody waits for an answer.
    pub asks: bool,
}

/// Why a body has no meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    Empty,
    NotJson(String),
    /// It is no envelope, and the queue that it was sent to says nothing about it.
    NoPattern,
}

/// Reads a body. `route` is the routing key where the message came through an exchange; `answerable` says that a reply
/// would find its way.
pub fn read(body: &[u8], route: Option<&str>, answerable: bool) -> Result<Incoming, Unreadable> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Unreadable::Empty);
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|error| Unreadable::NotJson(error.to_string()))?;
    let value = match value {
        Value::Object(mut object) => match enveloped(&object, answerable) {
            Some(pattern) => {
                let id = object.remove("id").filter(|id| !id.is_null());
                // JavaScript leaves out what is undefined.
                let data = object.remove("data").unwrap_or_default();
                let asks = answerable && id.is_some();
                return Ok(Incoming { pattern, data, style: Style::Nest { id }, asks });
            }
            None => Value::Object(object),
        },
        value => value,
    };
    let pattern = route.ok_or(Unreadable::NoPattern)?.to_owned();
    Ok(Incoming { pattern, data: value, style: Style::Bare, asks: answerable })
}

/// The pattern, where the object is Nest's envelope: an event has `data`, a request has an `id` and perhaps no `data`.
fn enveloped(object: &serde_json::Map<String, Value>, answerable: bool) -> Option<String> {
    let asks = answerable && object.get("id").is_some_and(|id| !id.is_null());
    match object.get("pattern")? {
        Value::String(pattern) if asks || object.contains_key("data") => Some(pattern.clone()),
        // Nest's server looks such a pattern up by its JSON.
        pattern @ Value::Object(_) if asks => Some(pattern.to_string()),
        _ => None,
    }
}

/// The answer to a request. `answer` is JSON.
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

/// A problem as an exception of Nest's, which reads `message` and `status`.
#[derive(Serialize)]
struct Exception<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal<'a> {
    err: Exception<'a>,
    is_disposed: bool,
}

/// As @golevelup/nestjs-rabbitmq replies for a handler that threw, and the problem besides.
#[derive(Serialize)]
struct BareRefusal<'a> {
    status: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a Problem>,
}

/// The answer to a request that was refused or failed.
pub fn refusal(style: &Style, problem: &Problem) -> Vec<u8> {
    let message = problem.detail.as_str();
    let body = match style {
        Style::Nest { .. } => {
            serde_json::to_vec(&Refusal { err: Exception { problem, message }, is_disposed: true })
        }
        Style::Bare => serde_json::to_vec(&BareRefusal { status: "error", message, problem: Some(problem) }),
    };
    body.expect("a problem is plain data and always serializes")
}

/// In Nest's own order.
#[derive(Serialize)]
struct NoHandler<'a> {
    id: &'a Value,
    err: &'a str,
    status: &'a str,
}

/// The answer to a request that nobody here handles, as Nest's server words it.
pub fn no_handler(style: &Style) -> Vec<u8> {
    let body = match style {
        Style::Nest { id } => serde_json::to_vec(&NoHandler {
            id: id.as_ref().unwrap_or(&Value::Null),
            err: NO_HANDLER,
            status: "error",
        }),
        Style::Bare => {
            serde_json::to_vec(&BareRefusal { status: "error", message: NO_HANDLER, problem: None })
        }
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

    fn nest_asks() -> Style {
        Style::Nest { id: Some(json!("f032fb")) }
    }

    #[test]
    fn an_event_is_byte_for_byte_what_nest_sends() {
        let body = nest("movie.created", br#"{"id":"m1","title":"Dune"}"#);
        assert_eq!(text(body), r#"{"pattern":"movie.created","data":{"id":"m1","title":"Dune"}}"#);
    }

    #[test]
    fn nests_envelope_names_the_event_and_not_the_queue_it_was_sent_to() {
        let body = br#"{"pattern":"movie.created","data":{"id":"m1"}}"#;
        for route in [None, Some("something.else")] {
            let read = read(body, route, false).unwrap();
            assert_eq!(read.pattern, "movie.created");
            assert_eq!(read.data, json!({"id": "m1"}));
            assert_eq!((read.style, read.asks), (Style::Nest { id: None }, false));
        }
    }

    #[test]
    fn bare_json_is_what_its_routing_key_says_and_nothing_without_one() {
        for body in [r#"{"movieId":"m1"}"#, r#"{"pattern":"houndstooth"}"#, "[1]", "7"] {
            let read = read(body.as_bytes(), Some("movie.created"), false).unwrap();
            assert_eq!((read.pattern.as_str(), read.style), ("movie.created", Style::Bare));
            assert_eq!(read.data.to_string(), body);
            assert_eq!(super::read(body.as_bytes(), None, false), Err(Unreadable::NoPattern));
        }
    }

    #[test]
    fn what_is_not_json_is_told_from_what_is_empty() {
        assert_eq!(read(b"", Some("movie.created"), false), Err(Unreadable::Empty));
        assert_eq!(read(b" \n", Some("movie.created"), false), Err(Unreadable::Empty));
        for body in [&b"{"[..], b"movie", b"\xff\xfe", b"{} {}"] {
            assert!(matches!(read(body, Some("movie.created"), false), Err(Unreadable::NotJson(_))));
        }
        let deep = "[".repeat(10_000);
        assert!(matches!(read(deep.as_bytes(), None, false), Err(Unreadable::NotJson(_))));
    }

    #[test]
    fn a_request_has_an_id_and_somewhere_to_answer_to() {
        let body = br#"{"pattern":"seats.get","data":{"showtimeId":"s1"},"id":"f032fb"}"#;
        let asked = read(body, None, true).unwrap();
        assert_eq!((asked.style, asked.asks), (nest_asks(), true));
        // Nobody could be answered: an emitter that put an id into its event.
        assert!(!read(body, None, false).unwrap().asks);
        let without_data = read(br#"{"pattern":"seats.get","id":"f032fb"}"#, None, true).unwrap();
        assert_eq!((without_data.data, without_data.asks), (Value::Null, true));
        let bare = read(br#"{"showtimeId":"s1"}"#, Some("seats.get"), true).unwrap();
        assert_eq!((bare.pattern.as_str(), bare.style, bare.asks), ("seats.get", Style::Bare, true));
        let object = read(br#"{"pattern":{"cmd":"sum"},"data":[1],"id":"1"}"#, None, true).unwrap();
        assert_eq!(object.pattern, r#"{"cmd":"sum"}"#);
    }

    #[test]
    fn replies_are_byte_for_byte_nests() {
        let ok = reply(&nest_asks(), br#"{"seats":3}"#);
        assert_eq!(text(ok), r#"{"response":{"seats":3},"isDisposed":true}"#);
        assert_eq!(
            text(no_handler(&nest_asks())),
            concat!(
                r#"{"id":"f032fb","err":"There is no matching message handler defined in the remote service.","#,
                r#""status":"error"}"#
            )
        );
        let refused: Value =
            serde_json::from_slice(&refusal(&nest_asks(), &Problem::not_found("reservation"))).unwrap();
        assert_eq!(refused["isDisposed"], true);
        assert_eq!(refused["err"]["status"], 404);
        assert_eq!(refused["err"]["code"], "not-found");
        assert_eq!(refused["err"]["message"], "There is no such reservation, or it is not yours.");
        assert_eq!(refused.get("id"), None, "an id would make Nest wait for more");
    }

    #[test]
    fn a_bare_request_gets_bare_json() {
        assert_eq!(text(reply(&Style::Bare, b"[1]")), "[1]");
        let refused: Value = serde_json::from_slice(&refusal(&Style::Bare, &Problem::internal())).unwrap();
        assert_eq!((&refused["status"], &refused["problem"]["status"]), (&json!("error"), &json!(500)));
        let nobody: Value = serde_json::from_slice(&no_handler(&Style::Bare)).unwrap();
        assert_eq!(nobody["message"], NO_HANDLER);
    }
}
