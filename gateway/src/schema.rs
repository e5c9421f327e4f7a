//! The contract's schemas in the OpenAPI document: one source, the contract's own types, no twins.
//!
//! schemars already writes the dialect of OpenAPI 3.0. poem-openapi's registry holds only `'static` strings and no
//! raw JSON, so a component is registered with its schema as its *example*, which [`unpack`] puts into its place
//! once the document is JSON. The alternative, translating field by field into `MetaSchema`, leaks every string
//! and loses what that type cannot say.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use schemars::JsonSchema;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value};

/// Marks a component whose example is its schema.
const PACKED: &str = "x-packed";

/// The schema of `T` as it is read (a request) or written (an answer).
fn schema<T: JsonSchema>(contract: Contract) -> Value {
    let settings = SchemaSettings::openapi3().with(|s| {
        s.meta_schema = None;
        s.contract = contract;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// A reference to `T`'s component.
pub fn reference<T: JsonSchema>() -> MetaSchemaRef {
    MetaSchemaRef::Reference(T::schema_name().into_owned())
}

/// Registers the component that [`reference`] names.
pub fn register<T: JsonSchema>(registry: &mut Registry, contract: Contract) {
    pack::<T>(registry, T::schema_name().into_owned(), schema::<T>(contract));
}

/// A reference to `T` without the fields that the path gives.
pub fn reference_without_path<T: JsonSchema>() -> MetaSchemaRef {
    MetaSchemaRef::Reference(format!("{}Body", T::schema_name()))
}

/// Registers the component that [`reference_without_path`] names.
pub fn register_without_path<T: JsonSchema>(registry: &mut Registry, fields: &[&str]) {
    let mut schema = schema::<T>(Contract::Deserialize);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !fields.contains(&name.as_str()));
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !fields.iter().any(|field| name == field));
    }
    // An empty `required` is not allowed in OpenAPI 3.0.
    if schema["required"].as_array().is_some_and(Vec::is_empty) {
        schema.as_object_mut().map(|schema| schema.remove("required"));
    }
    let name = format!("{}Body", T::schema_name());
    schema["title"] = name.clone().into();
    pack::<T>(registry, name, schema);
}

fn pack<T>(registry: &mut Registry, name: String, schema: Value) {
    registry.create_schema::<T, _>(name, |_| MetaSchema {
        title: Some(PACKED.to_owned()),
        example: Some(schema),
        ..MetaSchema::new("object")
    });
}

/// The schema of a parameter, which is a string: its format and the values it may have.
pub fn parameter<T: JsonSchema>() -> MetaSchema {
    let schema = schema::<T>(Contract::Deserialize);
    let format = match schema["format"].as_str() {
        Some("uuid") => Some("uuid"),
        Some("date-time") => Some("date-time"),
        _ => None,
    };
    let enum_items = schema["enum"].as_array().cloned().unwrap_or_default();
    MetaSchema { format, enum_items, ..MetaSchema::new("string") }
}

/// Puts the packed schemas of a document in their places, and beside them those that they refer to.
///
/// A type that both a request and an answer hold has one component: the request's, which is the stricter.
pub fn unpack(document: &mut Value) {
    let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else {
        return;
    };
    let mut whole = Map::new();
    for (name, mut schema) in std::mem::take(schemas) {
        if schema["title"] == PACKED {
            schema = schema["example"].take();
        }
        let parts = schema.as_object_mut().and_then(|s| s.remove("components"));
        let parts =
            parts.and_then(|mut p| p["schemas"].as_object_mut().map(std::mem::take)).unwrap_or_default();
        for (name, part) in parts {
            merge(&mut whole, name, part);
        }
        merge(&mut whole, name, schema);
    }
    *schemas = whole;
}

fn merge(whole: &mut Map<String, Value>, name: String, schema: Value) {
    let strict = |s: &Value| s["additionalProperties"] == Value::Bool(false);
    match whole.get(&name) {
        Some(known) if strict(known) || !strict(&schema) => {}
        _ => {
            whole.insert(name, schema);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    /// Every shape that the contract uses.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Sample {
        /// Described.
        id: uuid::Uuid,
        nullable: Option<u16>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        optional: Option<Inner>,
        list: Vec<Inner>,
        map: BTreeMap<Kind, Inner>,
        outcome: Outcome,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Inner {
        amount: i64,
    }

    #[derive(Serialize, Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    enum Kind {
        First,
        /// Described.
        Second,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(tag = "outcome", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
    enum Outcome {
        Over,
        Captured { success: Inner },
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Flat {
        more: bool,
        #[serde(flatten)]
        inner: Inner,
    }

    #[test]
    fn every_shape_of_the_contract_converts() {
        insta::assert_json_snapshot!([
            schema::<Sample>(Contract::Deserialize),
            schema::<Sample>(Contract::Serialize),
            schema::<Flat>(Contract::Serialize),
        ]);
    }
}
