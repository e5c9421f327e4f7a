//! The events as TypeScript types, for NestJS services: one type for each payload, and the names of all events.
//!
//! They are made from the schemas of the AsyncAPI document, without those that only notices use.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

const HEAD: &str = "\
// The events of Marquee, made from its contract (docs/events.md says when each is published). Copy this file into a service.
// Ids are UUIDs, times RFC 3339 in UTC, amounts in minor units (cents). Fields are only ever added: ignore unknown ones.
";

pub fn types(document: &Value) -> String {
    let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    let events: Vec<(&str, String)> = bus::contract::event_schemas()
        .into_iter()
        .map(|(subject, schema)| {
            (subject, schema.to_value()["title"].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    let mut used = BTreeSet::new();
    for (_, name) in &events {
        reach(name, &schemas, &mut used);
    }
    let mut text = HEAD.to_owned();
    for name in &used {
        text.push('\n');
        text.push_str(&definition(name, &schemas[name]));
    }
    text.push_str(
        "\n/** The payload of each event, by the event's name. */\nexport interface MarqueeEvents {\n",
    );
    for (subject, name) in &events {
        text.push_str(&format!("  '{subject}': {name};\n"));
    }
    text.push_str("}\n\nexport type EventName = keyof MarqueeEvents;\n");
    text
}

/// Adds the schema of this name and all that it refers to.
fn reach(name: &str, schemas: &Map<String, Value>, used: &mut BTreeSet<String>) {
    if used.insert(name.to_owned()) {
        references(&schemas[name], &mut |name| reach(name, schemas, used));
    }
}

fn references(schema: &Value, found: &mut impl FnMut(&str)) {
    match schema {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(referred) {
                found(name);
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// The name at the end of a reference.
fn referred(reference: &Value) -> Option<&str> {
    reference.as_str()?.rsplit('/').next()
}

fn definition(name: &str, schema: &Value) -> String {
    let doc = comment(schema, "");
    let Some(fields) = schema["properties"].as_object() else {
        return format!("{doc}export type {name} = {};\n", type_of(schema));
    };
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = format!("{doc}export interface {name} {{\n");
    for (field, schema) in fields {
        let mark = if required.iter().any(|name| name == field) { "" } else { "?" };
        text.push_str(&format!("{}  {field}{mark}: {};\n", comment(schema, "  "), type_of(schema)));
    }
    text.push_str("}\n");
    text
}

/// The description as a comment.
fn comment(schema: &Value, indent: &str) -> String {
    let described = schema["description"].as_str();
    described.map(|text| format!("{indent}/** {} */\n", text.replace('\n', " "))).unwrap_or_default()
}

fn type_of(schema: &Value) -> String {
    if let Some(name) = referred(&schema["$ref"]) {
        return name.to_owned();
    }
    if let Some(only) = schema.get("const") {
        return literal(only);
    }
    for kind in ["enum", "oneOf", "anyOf"] {
        let Some(items) = schema[kind].as_array() else { continue };
        let items = items.iter().map(|item| if kind == "enum" { literal(item) } else { type_of(item) });
        return union(items);
    }
    match &schema["type"] {
        Value::Array(kinds) => union(kinds.iter().map(|kind| simple(kind, schema))),
        kind => simple(kind, schema),
    }
}

fn simple(kind: &Value, schema: &Value) -> String {
    match kind.as_str() {
        Some("string") => "string".to_owned(),
        Some("integer" | "number") => "number".to_owned(),
        Some("boolean") => "boolean".to_owned(),
        Some("null") => "null".to_owned(),
        Some("array") => match type_of(&schema["items"]) {
            item if item.contains(' ') => format!("({item})[]"),
            item => format!("{item}[]"),
        },
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("Record<string, {}>", type_of(&schema["additionalProperties"]))
        }
        _ => "unknown".to_owned(),
    }
}

fn union(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    items.dedup();
    items.join(" | ")
}

fn literal(value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("'{text}'"),
        None => value.to_string(),
    }
}
