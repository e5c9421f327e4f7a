//! The contract: every event and request with its subject, payload and bounds, one module for each domain.
//!
//! Invariant: fields are only added. A request from outside rejects unknown fields; an event, which an older host may have
//! to read, does not.

pub mod auth;
pub mod currency;
pub mod dead_letter;
pub mod event_feed;
pub mod media;
pub mod movie;
pub mod notification;
pub mod paging;
pub mod payment;
pub mod problem;
pub mod reminder;
pub mod reservation;
pub mod seat;
pub mod strict;
pub mod text;
pub mod timestamp;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use currency::{Currency, Money};
pub use paging::{Page, Paging};
pub use problem::{FieldError, Fields, Problem, ProblemShowtime};
pub use seat::{Line, SeatId, seat_list};
pub use timestamp::Timestamp;

/// A fact, already true, published to the stream `EVENTS` under its subject (= RabbitMQ routing key).
pub trait Event: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    const SUBJECT: &'static str;
}

/// Who may send a request. The gateway checks it early, the host decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Public,
    User,
    Admin,
    SuperAdmin,
    /// Between hosts: guarded by NATS permissions, never routed by the gateway.
    Internal,
}

impl Access {
    /// The name in a service's metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::User => "user",
            Self::Admin => "admin",
            Self::SuperAdmin => "super-admin",
            Self::Internal => "internal",
        }
    }
}

/// A request over the NATS services API, with its answer.
pub trait Request: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    const SUBJECT: &'static str;
    const ACCESS: Access;
    type Answer: Serialize + DeserializeOwned + JsonSchema + Send + 'static;

    /// Reports every field that is readable but not valid.
    fn validate(&self, _fields: &mut Fields) {}
}

/// Reads and validates a request's JSON: unreadable → 400, readable but not valid → 422 with the fields named.
pub fn decode<R: Request>(bytes: &[u8]) -> Result<R, Problem> {
    let request: R = read(bytes)?;
    let mut fields = Fields::default();
    request.validate(&mut fields);
    fields.into_result()?;
    Ok(request)
}

/// Reads JSON into `T`: 400 if it is not JSON or has a key twice, 422 with the path of the first field that does not fit or
/// has control characters.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    strict::check(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => Problem::invalid(vec![FieldError {
                field: if path == "." { String::new() } else { path },
                message: plain(&inner.to_string()),
            }]),
            _ => Problem::new(
                400,
                "json",
                format!("The body is not valid JSON: {}", plain(&inner.to_string())),
            ),
        }
    })?;
    deserializer.end().map_err(|_| Problem::new(400, "json", "The body goes on after its JSON value."))?;
    Ok(value)
}

/// serde_json's message without its position, which is wrong after a re-encoding.
fn plain(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

/// Implements [`Event`] for types with their subjects, and lists the schemas and the checks of all.
macro_rules! events {
    ($($type:ty => $subject:literal),* $(,)?) => {
        $(impl $crate::contract::Event for $type { const SUBJECT: &'static str = $subject; })*
        pub fn event_schemas() -> Vec<(&'static str, schemars::Schema)> {
            vec![$(($subject, schemars::schema_for!($type))),*]
        }
        pub(crate) fn event_checks() -> Vec<(&'static str, $crate::contract::Check)> {
            vec![$(($subject, $crate::contract::check::<$type> as $crate::contract::Check)),*]
        }
    };
}
pub(crate) use events;

/// The JSON Schema of every event, by subject.
pub fn event_schemas() -> Vec<(&'static str, schemars::Schema)> {
    [
        auth::event_schemas(),
        movie::event_schemas(),
        reminder::event_schemas(),
        reservation::event_schemas(),
        payment::event_schemas(),
    ]
    .concat()
}

/// Checks whether a payload is the event of its subject.
pub(crate) type Check = fn(&Value) -> Result<(), String>;

fn check<E: Event>(payload: &Value) -> Result<(), String> {
    if strict::has_control(payload) {
        return Err("a text has control characters".to_owned());
    }
    let read: Result<E, _> = serde_path_to_error::deserialize(payload);
    read.map(|_| ()).map_err(|error| match error.path().to_string().as_str() {
        "." => error.inner().to_string(),
        path => format!("{path}: {}", error.inner()),
    })
}

static CHECKS: LazyLock<BTreeMap<&str, Check>> = LazyLock::new(|| {
    [
        auth::event_checks(),
        movie::event_checks(),
        reminder::event_checks(),
        reservation::event_checks(),
        payment::event_checks(),
    ]
    .concat()
    .into_iter()
    .collect()
});

/// Whether a payload from outside is the event of this subject, as every consumer would read it; `None` if there is no such
/// event.
pub fn check_event(subject: &str, payload: &Value) -> Option<Result<(), String>> {
    CHECKS.get(subject).map(|check| check(payload))
}

/// Every event's subject.
pub fn event_subjects() -> impl Iterator<Item = &'static str> {
    CHECKS.keys().copied()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    #[test]
    fn a_payload_that_is_not_its_event_is_refused_and_its_field_named() {
        let nobody = uuid::Uuid::nil();
        let created = json!({"movieId": nobody, "title": "Dune", "genres": [], "createdBy": nobody});
        let check = |payload: &Value| super::check_event("movie.created", payload);
        assert_eq!(check(&created), Some(Ok(())));
        let mut newer = created.clone();
        newer["more"] = json!("from a newer version");
        assert_eq!(check(&newer), Some(Ok(())));
        newer["genres"] = json!(["a", 7]);
        let wrong = check(&newer).unwrap().unwrap_err();
        assert!(wrong.starts_with("genres[1]: "), "{wrong}");
        let mut hidden = created.clone();
        hidden["title"] = json!("Du\0ne");
        assert!(check(&hidden).unwrap().is_err());
        let wrong = check(&json!({})).unwrap().unwrap_err();
        assert!(wrong.contains("movieId"), "{wrong}");
        assert_eq!(super::check_event("movie.imagined", &created), None);
    }

    #[test]
    fn duplicate_keys_and_control_characters_are_refused_before_anything_is_read() {
        let read = |body: &str| super::read::<Value>(body.as_bytes()).map_err(|problem| problem.status);
        assert_eq!(read(r#"{"email": "a\u0000b"}"#), Err(422));
        assert_eq!(read(r#"{"email": 1, "email": 2}"#), Err(400));
        assert_eq!(read(r#"{"email": 1}"#), Ok(json!({"email": 1})));
    }

    #[test]
    fn every_event_has_a_check() {
        for (subject, _) in super::event_schemas() {
            assert!(super::check_event(subject, &json!(null)).unwrap().is_err(), "{subject}");
        }
    }

    #[test]
    fn event_schemas_change_only_on_purpose() {
        insta::assert_json_snapshot!(super::event_schemas());
    }
}
