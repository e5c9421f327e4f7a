//! The schemas in the OpenAPI document, generated from the contract's own types.
//!
//! schemars writes the dialect of OpenAPI 3.0. poem-openapi's registry accepts only `'static` strings and no raw JSON, so a
//! component is registered with its schema, and those that it refers to, as its *example*; [`unpack`] moves them to their
//! places once the document is JSON. The alternative, translating field by field into `MetaSchema`, would leak every string
//! and lose what that type cannot express.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use schemars::generate::{Contract, SchemaSettings};
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// Marks a component whose example is a map of schemas by name.
const PACKED: &str = "x-packed";

/// The schemas of `T` and of all that it refers to, as they are read (a request) or written (an answer).
fn schemas<T: JsonSchema>(contract: Contract) -> Map<String, Value> {
    let settings = SchemaSettings::openapi3().with(|s| {
        s.meta_schema = None;
        s.contract = contract;
    });
    let mut generator = settings.with_transform(Nullable).with_transform(CodeKeys).into_generator();
    generator.subschema_for::<T>();
    generator.take_definitions(true)
}

/// Writes "this, or null" as OpenAPI 3.0 does; schemars writes an `anyOf` that few tools understand.
#[derive(Clone)]
struct Nullable;

impl Transform for Nullable {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some([this, null]) = schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice)
            && null["enum"] == json!([null])
        {
            let this = this.clone();
            schema.remove("anyOf");
            schema.insert("allOf".into(), json!([this]));
            schema.insert("nullable".into(), true.into());
        }
        transform_subschemas(self, schema);
    }
}

/// OpenAPI 3.0 has no `patternProperties`, which schemars writes for a map whose keys have a pattern: the pattern is left out.
#[derive(Clone)]
struct CodeKeys;

impl Transform for CodeKeys {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::Object(patterns)) = schema.remove("patternProperties") {
            let values = patterns.into_iter().next().map_or(Value::Bool(false), |(_, values)| values);
            schema.insert("additionalProperties".into(), values);
        }
        transform_subschemas(self, schema);
    }
}

/// A reference to `T`'s component.
pub fn reference<T: JsonSchema>() -> MetaSchemaRef {
    MetaSchemaRef::Reference(T::schema_name().into_owned())
}

/// Registers the component that [`reference`] names.
pub fn register<T: JsonSchema>(registry: &mut Registry, contract: Contract) {
    pack::<T>(registry, T::schema_name().into_owned(), schemas::<T>(contract));
}

/// A reference to `T` without the fields that are in the path.
pub fn reference_without_path<T: JsonSchema>() -> MetaSchemaRef {
    MetaSchemaRef::Reference(format!("{}Body", T::schema_name()))
}

/// Registers the component that [`reference_without_path`] names.
pub fn register_without_path<T: JsonSchema>(registry: &mut Registry, field: &str) {
    let mut schemas = schemas::<T>(Contract::Deserialize);
    let mut schema = schemas.remove(&*T::schema_name()).unwrap_or_default();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove(field);
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != field);
    }
    // An empty `required` is not allowed in OpenAPI 3.0.
    if schema["required"].as_array().is_some_and(Vec::is_empty) {
        schema.as_object_mut().map(|schema| schema.remove("required"));
    }
    let name = format!("{}Body", T::schema_name());
    schemas.insert(name.clone(), schema);
    pack::<T>(registry, name, schemas);
}

/// A reference to `T` with the version of the row that it replaces.
pub fn reference_with_version<T: JsonSchema>() -> MetaSchemaRef {
    MetaSchemaRef::Reference(with_version::<T>())
}

/// Registers the component that [`reference_with_version`] names.
pub fn register_with_version<T: JsonSchema>(registry: &mut Registry, field: &str) {
    let mut schemas = schemas::<T>(Contract::Deserialize);
    let mut schema = schemas.remove(&*T::schema_name()).unwrap_or_default();
    schema["properties"][field] =
        json!({"type": "integer", "format": "int64", "description": "Of the row that is replaced."});
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.push(field.into());
    }
    schemas.insert(with_version::<T>(), schema);
    pack::<T>(registry, with_version::<T>(), schemas);
}

fn with_version<T: JsonSchema>() -> String {
    format!("{}WithVersion", T::schema_name())
}

fn pack<T>(registry: &mut Registry, name: String, schemas: Map<String, Value>) {
    registry.create_schema::<T, _>(name, |_| MetaSchema {
        title: Some(PACKED.to_owned()),
        example: Some(schemas.into()),
        ..MetaSchema::new("object")
    });
}

/// The schema of a parameter, which is a string: its format and the values it may have.
pub fn parameter<T: JsonSchema>() -> MetaSchema {
    let schema = SchemaSettings::openapi3().into_generator().into_root_schema_for::<T>().to_value();
    let format = match schema["format"].as_str() {
        Some("uuid") => Some("uuid"),
        Some("date-time") => Some("date-time"),
        _ => None,
    };
    // A variant with a description is a schema of its own.
    let kinds = schema["oneOf"].as_array().into_iter().flatten().chain([&schema]);
    let enum_items = kinds.filter_map(|kind| kind["enum"].as_array()).flatten().cloned().collect();
    MetaSchema { format, enum_items, ..MetaSchema::new("string") }
}

/// Moves the packed schemas of a document to their places. A type that is part of both a request and an answer has one
/// component: the request's, which is stricter.
pub fn unpack(document: &mut Value) {
    let Some(components) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else {
        return;
    };
    let strict = |schema: &Value| schema["additionalProperties"] == Value::Bool(false);
    let mut whole = Map::new();
    for (name, mut component) in std::mem::take(components) {
        let parts = match component["example"].take() {
            Value::Object(parts) if component["title"] == PACKED => parts,
            _ => Map::from_iter([(name, component)]),
        };
        for (name, part) in parts {
            if !whole.get(&name).is_some_and(|known| strict(known) || !strict(&part)) {
                whole.insert(name, part);
            }
        }
    }
    type_nullable(&mut whole);
    *components = whole;
}

/// OpenAPI 3.0.3 allows `nullable` only beside a `type`, so the type is added where there is a single one; otherwise
/// `nullable` is removed.
fn type_nullable(schemas: &mut Map<String, Value>) {
    // An enum with described variants has its type in each variant.
    let kind = |schema: &Value| schema.get("type").unwrap_or(&schema["oneOf"][0]["type"]).clone();
    let types: Map<String, Value> =
        schemas.iter().map(|(name, schema)| (name.clone(), kind(schema))).collect();
    fn walk(schema: &mut Value, types: &Map<String, Value>) {
        let target = schema["allOf"][0]["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        let kind = target.and_then(|name| types.get(name)).filter(|kind| kind.is_string()).cloned();
        match (schema, kind) {
            (Value::Object(fields), Some(kind)) if fields.contains_key("nullable") => {
                fields.insert("type".into(), kind);
            }
            (Value::Object(fields), _) => {
                if fields.get("nullable") == Some(&Value::Bool(true)) && !fields.contains_key("type") {
                    fields.remove("nullable");
                }
                fields.values_mut().for_each(|schema| walk(schema, types));
            }
            (Value::Array(items), _) => items.iter_mut().for_each(|schema| walk(schema, types)),
            _ => {}
        }
    }
    schemas.values_mut().for_each(|schema| walk(schema, &types));
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
            schemas::<Sample>(Contract::Deserialize),
            schemas::<Sample>(Contract::Serialize),
            schemas::<Flat>(Contract::Serialize),
        ]);
    }
}
