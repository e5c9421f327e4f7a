//! The events and notices as AsyncAPI 3.0: channels are subjects, messages are CloudEvents in binary mode, an operation is a
//! domain that publishes or handles one.
//!
//! Payloads come from the contract's schemas; which domain publishes and which consumer handles an event is read from the
//! domains' registration.

use actors::DOMAINS;
use bus::contract::reservation::{ReservationChanged, SeatsChanged};
use serde_json::{Map, Value, json};

/// The domain that publishes an event.
pub(super) fn source(subject: &str) -> &'static str {
    let source = DOMAINS.iter().find(|domain| domain.publishes.contains(&subject));
    source.map(|domain| domain.name).unwrap_or_else(|| panic!("no domain publishes {subject}"))
}

pub fn document() -> Value {
    let mut schemas = Map::from_iter([("CloudEvent".to_owned(), cloud_event())]);
    let (mut channels, mut messages, mut operations) = (Map::new(), Map::new(), Map::new());
    for (subject, schema) in bus::contract::event_schemas() {
        let name = hoist(schema.to_value(), &mut schemas);
        messages.insert(subject.into(), message(subject, &name));
        channels.insert(subject.into(), channel(subject));
        let publisher = source(subject);
        operations.insert(format!("{publisher}.publishes.{subject}"), operation("send", subject, publisher));
    }
    for consumer in DOMAINS.iter().filter_map(|domain| domain.consumer) {
        for subject in consumer.subjects {
            let name = format!("{}.handles.{subject}", consumer.name);
            operations.insert(name, operation("receive", subject, consumer.name));
        }
    }
    for (address, parameter, schema, summary) in notices() {
        let name = hoist(schema, &mut schemas);
        let channel_name = address.split(".{").next().unwrap_or(address);
        channels.insert(channel_name.into(), notice(address, parameter, &name, summary));
        operations.insert(format!("reservation.notifies.{channel_name}"), notice_operation(channel_name));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Marquee's events",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0"},
            "description": DESCRIPTION,
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {
            "host": "127.0.0.1:4222",
            "protocol": "nats",
            "description": "NATS with JetStream; each host has a user of its own (nats.conf).",
        }},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    })
}

const DESCRIPTION: &str = "Every event is one message of the JetStream stream EVENTS, under a subject that is also its \
    RabbitMQ routing key: a CloudEvent in binary mode, its attributes in headers, the data alone in the payload. \
    A message may arrive twice, late or out of order: keep `ce-id` with what it changed, and acknowledge after the commit. \
    Fields are only ever added. `seats.*` and `changed.*` are notices on core NATS, which are not stored: a subscriber that misses one reads the state again.";

/// The headers of every event (`bus::event`).
fn cloud_event() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "type": "object",
        "description": "CloudEvents 1.0 in binary mode, and the trace of the request that caused it.",
        "required": ["ce-id", "ce-type", "ce-source", "ce-time", "ce-specversion", "Nats-Msg-Id", "X-Correlation-Id", "traceparent"],
        "properties": {
            "ce-id": {"type": "string", "format": "uuid", "description": "The event's own id, the same however often it is sent."},
            "ce-type": text("The subject."),
            "ce-source": text("`/marquee/<domain>`."),
            "ce-time": {"type": "string", "format": "date-time", "description": "When it became true."},
            "ce-specversion": {"type": "string", "enum": ["1.0"]},
            "Nats-Msg-Id": text("`ce-id`; a replay adds `#` and a number, so that JetStream takes it again."),
            "X-Correlation-Id": text("The id of the request that caused it, `X-Request-Id` at the gateway."),
            "traceparent": text("W3C trace context."),
            "Marquee-Only": text("In a replay: the one consumer that it is for; others acknowledge and skip."),
        },
    })
}

fn message(subject: &str, schema: &str) -> Value {
    json!({
        "name": subject,
        "title": schema,
        "summary": format!("{subject}, published by {}", source(subject)),
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/CloudEvent"},
        "payload": {"$ref": format!("#/components/schemas/{schema}")},
    })
}

fn channel(subject: &str) -> Value {
    json!({
        "address": subject,
        "description": "In the JetStream stream EVENTS, kept for seven days.",
        "messages": {"event": {"$ref": format!("#/components/messages/{subject}")}},
    })
}

fn operation(action: &str, subject: &str, domain: &str) -> Value {
    let does = match action {
        "send" => "publishes it after the commit, from its outbox, until JetStream has stored it",
        _ => "handles it with a durable consumer and acknowledges it after its own commit",
    };
    json!({
        "action": action,
        "description": format!("{domain} {does}."),
        "channel": {"$ref": format!("#/channels/{subject}")},
        "messages": [{"$ref": format!("#/channels/{subject}/messages/event")}],
        "tags": [{"name": domain}],
    })
}

fn notices() -> [(&'static str, &'static str, Value, &'static str); 2] {
    [
        (
            "seats.{showtimeId}",
            "showtimeId",
            schemars::schema_for!(SeatsChanged).to_value(),
            "What changed in a showtime's seat map; on a gap in `sequence`, read the map again",
        ),
        (
            "changed.reservation.{reservationId}",
            "reservationId",
            schemars::schema_for!(ReservationChanged).to_value(),
            "A reservation has a new version",
        ),
    ]
}

fn notice(address: &str, parameter: &str, schema: &str, summary: &str) -> Value {
    json!({
        "address": address,
        "description": "Core NATS, not stored.",
        "parameters": {parameter: {"description": "Its id, a UUID."}},
        "messages": {"notice": {
            "name": schema,
            "title": schema,
            "summary": summary,
            "contentType": "application/json",
            "payload": {"$ref": format!("#/components/schemas/{schema}")},
        }},
    })
}

fn notice_operation(channel: &str) -> Value {
    json!({
        "action": "send",
        "description": "reservation publishes it after the commit.",
        "channel": {"$ref": format!("#/channels/{channel}")},
        "messages": [{"$ref": format!("#/channels/{channel}/messages/notice")}],
        "tags": [{"name": "reservation"}],
    })
}

/// Puts a root schema and those that it defines among the shared ones, and returns its name.
fn hoist(mut schema: Value, schemas: &mut Map<String, Value>) -> String {
    let name = schema["title"].as_str().expect("a contract's type has a name").to_owned();
    let Some(fields) = schema.as_object_mut() else { return name };
    fields.remove("$schema");
    for (name, mut definition) in
        fields.remove("$defs").and_then(|defs| defs.as_object().cloned()).into_iter().flatten()
    {
        point_to_components(&mut definition);
        schemas.insert(name, definition);
    }
    point_to_components(&mut schema);
    schemas.insert(name.clone(), schema);
    name
}

fn point_to_components(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref") {
                *reference = reference.replace("#/$defs/", "#/components/schemas/");
            }
            fields.values_mut().for_each(point_to_components);
        }
        Value::Array(items) => items.iter_mut().for_each(point_to_components),
        _ => {}
    }
}
