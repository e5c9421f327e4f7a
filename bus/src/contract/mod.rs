//! The contract: every event and request with its subject, payload and bounds, one module for each domain.
//!
//! Invariant: fields are only added. A request rejects unknown fields ([`read`]); an event or a row, which an older host may have
//! to read, does not, so a type that they carry does not deny them itself.

pub mod auth;
pub mod currency;
pub mod dead_letter;
pub mod event_feed;
pub mod locale;
pub mod media;
pub mod movie;
pub mod notification;
pub mod order_code;
pub mod paging;
pub mod payment;
pub mod privacy;
pub mod problem;
pub mod reminder;
pub mod reservation;
pub mod seat;
pub mod site;
pub mod strict;
pub mod tariff;
pub mod text;
pub mod timestamp;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use currency::{Currency, Money};
pub use locale::{Locale, Names};
pub use order_code::OrderCode;
pub use paging::{Page, Paging};
pub use problem::{FieldError, Fields, Problem, ProblemShowtime, Rule};
pub use seat::{SeatId, seat_list};
pub use tariff::{FeeLine, Line, Tariff, TariffCode};
pub use timestamp::Timestamp;

/// A fact, already true, published to the stream `EVENTS` under its subject (= RabbitMQ routing key).
pub trait Event: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    const SUBJECT: &'static str;
}

/// Who may send a request. The gateway checks it early, the host decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Public,
    /// Anyone with an access token, also a guest's.
    Guest,
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
            Self::Guest => "guest",
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
    /// Whether the token of an order permits it, too: then the host checks that it is this order's.
    const BY_ORDER_TOKEN: bool = false;
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

/// Reads JSON into `T`: 400 if it is not JSON or has a key twice, 422 with the path of the first field that does not fit, has
/// control characters or is unknown, at any depth.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    strict::check(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let mut unknown = None;
    let value = serde_ignored::deserialize(tracked, |path| {
        unknown.get_or_insert_with(|| unknown_field(&path));
    });
    let value = value.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Problem::invalid(vec![unreadable(&track.path().to_string(), &error.to_string())])
        }
        _ => Problem::new(400, "json", format!("The body is not valid JSON: {}", plain(&error.to_string()))),
    })?;
    deserializer.end().map_err(|_| Problem::new(400, "json", "The body goes on after its JSON value."))?;
    match unknown {
        Some(error) => Err(Problem::invalid(vec![error])),
        None => Ok(value),
    }
}

/// The error of a field that no type has.
fn unknown_field(path: &serde_ignored::Path<'_>) -> FieldError {
    let path = dotted(path);
    let name = path.rsplit('.').next().unwrap_or_default();
    let message = format!("unknown field `{name}`");
    FieldError::new(path, Rule::UnknownField { message })
}

/// A path as errors name it: `rows[0].seats[3].label`.
fn dotted(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", dotted(parent)),
        Path::Map { parent, key } => match dotted(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            dotted(parent)
        }
    }
}

/// The error of a value that serde could not read, at the path that serde names. The path of a missing field is that of its
/// object.
pub fn unreadable(path: &str, message: &str) -> FieldError {
    let path = if path == "." { "" } else { path };
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let field = match missing {
        Some(name) if path.is_empty() => name.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None => path.to_owned(),
    };
    FieldError::new(field, Rule::unreadable(plain(message)))
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
        site::event_schemas(),
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
        site::event_checks(),
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

    use super::movie::{CreatePriceCard, PriceCardFields, TicketTypeFields};
    use super::{decode, event_schemas};

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

    /// The paths of the schemas that allow no other fields. A map whose keys have a pattern is no list of fields.
    fn closed(schema: &Value, path: &str, found: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                let is_map = fields.contains_key("patternProperties");
                if fields.get("additionalProperties") == Some(&json!(false)) && !is_map {
                    found.push(path.to_owned());
                }
                for (name, schema) in fields {
                    closed(schema, &format!("{path}/{name}"), found);
                }
            }
            Value::Array(items) => items.iter().for_each(|schema| closed(schema, path, found)),
            _ => {}
        }
    }

    #[test]
    fn an_older_host_reads_events_and_rows_with_later_fields() {
        let rows = [
            ("ticket type", schemars::schema_for!(TicketTypeFields)),
            ("price card", schemars::schema_for!(PriceCardFields)),
        ];
        let mut found = Vec::new();
        for (subject, schema) in event_schemas().into_iter().chain(rows) {
            closed(schema.as_value(), subject, &mut found);
        }
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_request_with_an_unknown_field_at_any_depth_is_refused_with_its_path() {
        let card = |body: Value| {
            let problem = decode::<CreatePriceCard>(body.to_string().as_bytes()).unwrap_err();
            let error = problem.errors.first().expect("a field is named").clone();
            (error.field, error.message)
        };
        let fee = json!({"code": "BOOKING", "name": {"en": "Booking"}, "amount": 50, "per": "TICKET", "channels": ["WEB"],
            "refundable": true});
        let body = |change: &dyn Fn(&mut Value)| {
            let mut body = json!({"name": "Day", "currency": "EUR", "prices": {"ADULT": {"STANDARD": 1200}}, "fees": [fee],
                "position": 0});
            change(&mut body);
            body
        };
        assert!(decode::<CreatePriceCard>(body(&|_| {}).to_string().as_bytes()).is_ok());
        let cases: [(&dyn Fn(&mut Value), &str); 4] = [
            (&|body| body["colour"] = json!(1), "colour"),
            (&|body| body["fees"][0]["most"] = json!(1), "fees[0].most"),
            (&|body| body["fees"][0]["name"]["xx"] = json!("Frais"), "fees[0].name.xx"),
            (&|body| body["tax"] = json!({"tickets": 0, "fees": 0, "included": true, "late": 1}), "tax.late"),
        ];
        for (change, field) in cases {
            let (at, message) = card(body(change));
            assert_eq!(at, field);
            assert!(message.starts_with("unknown field"), "{message}");
        }
    }
}
