//! AMQP properties of dead letters: the headers that the broker and the bridge write, and the properties under which a
//! message is published again.
//!
//! Invariant: a republished message has the message id and type of the original, and none of the properties that the
//! broker would act on a second time: `x-death`, a time to live, sender-selected routes (CC), a foreign user name.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};

/// How often a dead letter was returned to its queue.
pub const ATTEMPT: &str = "bridge-attempt";
/// Why a message is a dead letter.
pub const REASON: &str = "bridge-reason";
/// A dead letter's id, by which operators show, replay and drop it.
pub const DEAD_LETTER_ID: &str = "bridge-letter";
/// The queue that dead-lettered the message.
pub const QUEUE: &str = "bridge-queue";
/// Where the message was first published; the broker's own fields change when it is published again.
pub const EXCHANGE: &str = "bridge-exchange";
pub const ROUTING_KEY: &str = "bridge-routing-key";
/// When it was moved to the final dead letter queue (RFC 3339).
pub const PARKED_AT: &str = "bridge-parked-at";

/// Characters of a reason in a header.
const REASON_MAX: usize = 500;
/// Headers that the broker writes on each dead-lettering; and `CC`, `BCC`, by which it would send copies to other queues.
const BROKER_HEADERS: [&str; 9] = [
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
    "CC",
    "BCC",
];

/// Why and from where the broker dead-lettered a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    pub queue: String,
    /// The routing key that the message was published with; the dead letter may have another one.
    pub routing_key: Option<String>,
    /// `rejected`, `expired`, `maxlen` or `delivery_limit`.
    pub reason: String,
}

/// The newest entry of `x-death`; `None` for a message that was published to the dead letter exchange directly.
pub fn death(properties: &BasicProperties) -> Option<Death> {
    let headers = properties.headers().as_ref()?;
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else { return None };
    let Some(AMQPValue::FieldTable(newest)) = deaths.as_slice().first() else { return None };
    let routing_key = match newest.inner().get("routing-keys") {
        Some(AMQPValue::FieldArray(keys)) => keys.as_slice().first().and_then(to_text),
        _ => None,
    };
    let field = |name: &str| newest.inner().get(name).and_then(to_text);
    let queue = field("queue").filter(|queue| !queue.is_empty())?;
    Some(Death { queue, routing_key, reason: field("reason").unwrap_or_default() })
}

/// A header's value as text. The name may be in any case, as in HTTP, from where services know `Authorization`; a header in
/// exactly this case comes first.
pub fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    let headers = properties.headers().as_ref()?.inner();
    let in_any_case = || headers.iter().find(|(other, _)| other.as_str().eq_ignore_ascii_case(name));
    headers.get(name).or_else(|| in_any_case().map(|(_, value)| value)).and_then(to_text)
}

fn to_text(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::ShortShortInt(n) => n.to_string(),
        AMQPValue::ShortShortUInt(n) => n.to_string(),
        AMQPValue::ShortInt(n) => n.to_string(),
        AMQPValue::ShortUInt(n) => n.to_string(),
        AMQPValue::LongInt(n) => n.to_string(),
        AMQPValue::LongUInt(n) => n.to_string(),
        AMQPValue::LongLongInt(n) => n.to_string(),
        _ => return None,
    })
}

/// A header's value. RabbitMQ closes the connection over a short string.
pub fn long_string(text: impl Into<String>) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text.into()))
}

/// The properties for publishing a message again, with these headers set (a value) or removed (`None`).
pub fn republished(properties: &BasicProperties, changes: &[(&str, Option<String>)]) -> BasicProperties {
    let mut headers = FieldTable::default();
    let original = properties.headers().as_ref().map(FieldTable::inner).into_iter().flatten();
    for (name, value) in original {
        let changed = changes.iter().any(|(changed, _)| *changed == name.as_str());
        if !changed && !BROKER_HEADERS.contains(&name.as_str()) {
            let value = match value {
                AMQPValue::ShortString(text) => long_string(text.as_str()),
                value => value.clone(),
            };
            headers.insert(name.clone(), value);
        }
    }
    for (name, value) in changes {
        if let Some(value) = value {
            headers.insert((*name).into(), long_string(value));
        }
    }
    let mut copy = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
    let p = properties;
    copy = set(copy, p.content_type(), BasicProperties::with_content_type);
    copy = set(copy, p.content_encoding(), BasicProperties::with_content_encoding);
    copy = set(copy, p.priority(), BasicProperties::with_priority);
    copy = set(copy, p.correlation_id(), BasicProperties::with_correlation_id);
    copy = set(copy, p.reply_to(), BasicProperties::with_reply_to);
    copy = set(copy, p.message_id(), BasicProperties::with_message_id);
    copy = set(copy, p.timestamp(), BasicProperties::with_timestamp);
    copy = set(copy, p.kind(), BasicProperties::with_type);
    set(copy, p.app_id(), BasicProperties::with_app_id)
}

fn set<T: Clone>(
    properties: BasicProperties,
    value: &Option<T>,
    with: fn(BasicProperties, T) -> BasicProperties,
) -> BasicProperties {
    match value {
        Some(value) => with(properties, value.clone()),
        None => properties,
    }
}

/// The header with the reason, shortened and on one line.
pub fn reason(text: &str) -> (&'static str, Option<String>) {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_MAX).collect();
    (REASON, Some(line))
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;

    use super::*;

    fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    fn array(values: &[AMQPValue]) -> AMQPValue {
        let mut array = FieldArray::default();
        values.iter().for_each(|value| array.push(value.clone()));
        AMQPValue::FieldArray(array)
    }

    fn dead() -> BasicProperties {
        let entry = |queue: &str, reason: &str| {
            AMQPValue::FieldTable(table(&[
                ("queue", long_string(queue)),
                ("reason", long_string(reason)),
                ("count", AMQPValue::LongLongInt(1)),
                ("routing-keys", array(&[long_string("movie.created"), long_string("copy")])),
            ]))
        };
        let headers = table(&[
            (
                "x-death",
                array(&[entry("notifications", "rejected"), entry("notifications.retry.1000", "expired")]),
            ),
            ("x-first-death-queue", long_string("notifications")),
            ("CC", array(&[long_string("copy")])),
            ("tenant", AMQPValue::ShortString("odeon".into())),
            (ATTEMPT, long_string("1")),
        ]);
        BasicProperties::default()
            .with_headers(headers)
            .with_message_id("m1".into())
            .with_type("movie.created".into())
            .with_expiration("60000".into())
            .with_user_id("notifications".into())
            .with_delivery_mode(1)
    }

    #[test]
    fn the_newest_death_has_the_queue_and_the_original_routing_key() {
        let death = death(&dead()).unwrap();
        assert_eq!((death.queue.as_str(), death.reason.as_str()), ("notifications", "rejected"));
        assert_eq!(death.routing_key.as_deref(), Some("movie.created"));
        assert_eq!(super::death(&BasicProperties::default()), None);
        let forged = table(&[("x-death", long_string("notifications"))]);
        assert_eq!(super::death(&BasicProperties::default().with_headers(forged)), None);
    }

    #[test]
    fn a_republished_message_keeps_its_ids_and_loses_what_the_broker_would_act_on() {
        let copy = republished(&dead(), &[(ATTEMPT, Some("2".into())), reason("it\nbroke")]);
        assert_eq!(copy.message_id().as_ref().unwrap().as_str(), "m1");
        assert_eq!(copy.kind().as_ref().unwrap().as_str(), "movie.created");
        assert_eq!((copy.expiration(), copy.user_id(), copy.delivery_mode()), (&None, &None, &Some(2)));
        assert_eq!(header(&copy, ATTEMPT).as_deref(), Some("2"));
        assert_eq!(header(&copy, REASON).as_deref(), Some("it broke"));
        let names: Vec<&str> =
            copy.headers().as_ref().unwrap().inner().keys().map(|name| name.as_str()).collect();
        assert_eq!(names, [ATTEMPT, REASON, "tenant"]);
        let tenant = copy.headers().as_ref().unwrap().inner()["tenant"].clone();
        assert_eq!(tenant, long_string("odeon"), "the broker closes the connection over a short string");
        assert_eq!(header(&republished(&copy, &[(ATTEMPT, None)]), ATTEMPT), None);
    }

    #[test]
    fn a_header_is_found_in_any_case_and_in_its_own_case_first() {
        let of = |names: &[&str]| {
            let entries: Vec<_> = names.iter().map(|name| (*name, long_string(*name))).collect();
            header(&BasicProperties::default().with_headers(table(&entries)), "authorization")
        };
        assert_eq!(of(&["Authorization"]).as_deref(), Some("Authorization"));
        assert_eq!(of(&["AUTHORIZATION", "other"]).as_deref(), Some("AUTHORIZATION"));
        assert_eq!(of(&["Authorization", "authorization"]).as_deref(), Some("authorization"));
        assert_eq!(of(&["authorizations"]), None);
    }

    #[test]
    fn there_is_always_a_table_of_headers() {
        assert!(republished(&BasicProperties::default(), &[]).headers().is_some());
    }
}
