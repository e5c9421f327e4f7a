//! `AMQP_SERVICE_QUEUES`: queues of services on Nest's default transport.

use std::collections::BTreeSet;

use bus::config::Environment;
use lapin::types::{AMQPValue, FieldTable};
use serde::Deserialize;
use serde_json::Value;

use super::{expand, is_name};

/// A queue of a service on Nest's default transport, which the bridge binds to its exchange.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceQueue {
    pub name: String,
    /// Events that the service has handlers for; it would log any other as an error.
    pub events: Vec<String>,
    /// Declare the queue, so that it keeps events before the service's first start. The declaration must then equal the
    /// service's own.
    #[serde(default)]
    pub declare: bool,
    #[serde(default = "yes")]
    pub durable: bool,
    #[serde(default)]
    pub arguments: serde_json::Map<String, Value>,
}

fn yes() -> bool {
    true
}

impl ServiceQueue {
    /// The arguments as RabbitMQ compares them: numbers of different widths are equal if their values are.
    pub fn field_table(&self) -> FieldTable {
        table(&self.arguments)
    }
}

fn table(fields: &serde_json::Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert(name.as_str().into(), amqp_value(value));
    }
    table
}

fn amqp_value(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(is) => AMQPValue::Boolean(*is),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => AMQPValue::LongLongInt(whole),
            None => AMQPValue::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(items) => AMQPValue::FieldArray(items.iter().map(amqp_value).collect::<Vec<_>>().into()),
        Value::Object(fields) => AMQPValue::FieldTable(table(fields)),
    }
}

/// A JSON list, or `@` and the file that has it.
pub(super) fn service_queues(e: &mut Environment, outbound: &[String]) -> Vec<ServiceQueue> {
    const SETTING: &str = "AMQP_SERVICE_QUEUES";
    let Some(text) = e.get(SETTING) else { return Vec::new() };
    let text = match text.trim().strip_prefix('@') {
        None => text,
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                e.problem(SETTING, &format!("names a file that is not readable: {error}"));
                return Vec::new();
            }
        },
    };
    let mut queues: Vec<ServiceQueue> = match serde_json::from_str(&text) {
        Ok(queues) => queues,
        Err(error) => {
            let at = format!("line {} column {}", error.line(), error.column());
            e.problem(
                SETTING,
                &format!(
                    "must be a list such as [{{\"name\":\"notifications_queue\",\"events\":[\"reservation.confirmed\"]}}], with declare, durable and arguments where wanted; see {at}"
                ),
            );
            return Vec::new();
        }
    };
    let mut names = BTreeSet::new();
    for (at, queue) in queues.iter_mut().enumerate().map(|(at, queue)| (at + 1, queue)) {
        if !is_name(&queue.name) || !names.insert(queue.name.clone()) {
            e.problem(SETTING, &format!("needs a name of its own for queue {at}"));
        }
        let (events, unknown) = expand(&queue.events);
        if events.is_empty() || !unknown.is_empty() || events.iter().any(|event| !outbound.contains(event)) {
            e.problem(SETTING, &format!("needs events of AMQP_OUTBOUND for queue {at}"));
        }
        queue.events = events;
    }
    queues
}
