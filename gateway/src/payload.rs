//! Bodies and answers of endpoints: a body is read as its contract type, an answer is the host's JSON.
//!
//! Invariant: a body reaches its host and an answer its caller byte for byte: both are read at most once and never
//! serialized again. So a repeated request gets exactly its first answer.
//! The guard has checked content type and size.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bus::contract::{Problem, Rule, read};
use bus::service::Ask;
use bytes::Bytes;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{FromRequest, IntoResponse, Request, RequestBody, Response, Result};
use poem_openapi::registry::{
    MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchemaRef, Registry,
};
use poem_openapi::types::{ParseError, ParseFromParameter, ParseResult, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};
use schemars::JsonSchema;
use schemars::generate::Contract;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use uuid::Uuid;

use crate::problem::Refused;
use crate::schema;

pub const JSON: &str = "application/json";

/// The headers with which a request is sent to its host; set by the guard.
pub struct Caller(pub Arc<Ask>);

impl<'a> FromRequest<'a> for Caller {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let ask =
            request.data::<Arc<Ask>>().expect("the guard puts the caller into every request that it admits");
        Ok(Self(ask.clone()))
    }
}

/// A JSON body and the request that was read from it. Not readable: 400. A field that does not fit or is unknown: 422.
pub struct Body<T> {
    pub request: T,
    pub json: Bytes,
}

impl<'a, T: DeserializeOwned + JsonSchema + Send> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        schema::register::<T>(registry, Contract::Deserialize);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(request_meta(JSON, schema::reference::<T>(), true))
    }

    async fn from_request(
        _: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let json = body.take()?.into_bytes().await?;
        // serde also reads a struct from an array of its fields' values, which the document does not allow.
        if json.trim_ascii_start().first() == Some(&b'[') {
            let rule = Rule::Type { message: "must be an object".into() };
            return Err(Refused(Problem::invalid_field("", rule)).into());
        }
        Ok(Self { request: read(&json).map_err(Refused)?, json })
    }
}

/// The fields of `T` that are in the body; `P` is in the path. The body may be left out, and must not have the field of the
/// path.
pub struct Rest<T, P = OfItself>(Map<String, Value>, PhantomData<fn() -> (T, P)>);

/// The field whose value is the `{id}` of the path.
pub trait InPath {
    const FIELD: &str;
}

/// The path is that of the resource.
pub struct OfItself;

impl InPath for OfItself {
    const FIELD: &str = "id";
}

/// The path is below that of the resource's showtime.
pub struct OfShowtime;

impl InPath for OfShowtime {
    const FIELD: &str = "showtimeId";
}

impl<T: DeserializeOwned, P: InPath> Rest<T, P> {
    /// The whole body, with the id of the path.
    pub fn with_id(mut self, id: Uuid) -> Result<Body<T>, Problem> {
        let field = P::FIELD;
        if self.0.contains_key(field) {
            let message = format!("unknown field `{field}`: it is in the path");
            return Err(Problem::invalid_field(field, Rule::UnknownField { message }));
        }
        self.0.insert(field.into(), id.to_string().into());
        let json = Bytes::from(serde_json::to_vec(&self.0).expect("a JSON object always serializes"));
        Ok(Body { request: read(&json)?, json })
    }
}

impl<'a, T: JsonSchema + Send, P: InPath> ApiExtractor<'a> for Rest<T, P> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        schema::register_without_path::<T>(registry, P::FIELD);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(request_meta(JSON, schema::reference_without_path::<T>(), false))
    }

    async fn from_request(
        _: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let bytes = body.take()?.into_bytes().await?;
        let fields = if bytes.is_empty() { Map::new() } else { read(&bytes).map_err(Refused)? };
        Ok(Self(fields, PhantomData))
    }
}

/// A body in a foreign format, which is passed on byte for byte.
pub struct Raw(pub Bytes);

impl<'a> ApiExtractor<'a> for Raw {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let anything = MetaSchemaRef::Inline(Box::new(poem_openapi::registry::MetaSchema::new("object")));
        Some(request_meta(JSON, anything, true))
    }

    async fn from_request(
        _: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        Ok(Self(body.take()?.into_bytes().await?))
    }
}

pub fn request_meta(content_type: &'static str, schema: MetaSchemaRef, required: bool) -> MetaRequest {
    MetaRequest { description: None, content: vec![MetaMediaType { content_type, schema }], required }
}

/// A parameter of path or query that is read like a JSON string: ids, times, enums.
pub struct Of<T>(pub T);

impl<T: JsonSchema + Send + Sync> Type for Of<T> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(schema::parameter::<T>()))
    }
    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }
    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: DeserializeOwned + JsonSchema + Send + Sync> ParseFromParameter for Of<T> {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        let text: StrDeserializer<'_, serde::de::value::Error> = value.into_deserializer();
        T::deserialize(text).map(Self).map_err(ParseError::custom)
    }
}

/// A host's answer, passed on as it is.
pub struct Answer<T, const STATUS: u16 = 200> {
    json: Bytes,
    cache_seconds: Option<u32>,
    of: PhantomData<fn() -> T>,
}

/// The result of an endpoint that passes an answer on.
pub type Answered<T, const STATUS: u16 = 200> = Result<Answer<T, STATUS>, Refused>;

impl<T, const STATUS: u16> Answer<T, STATUS> {
    pub fn new(json: Bytes) -> Self {
        Self { json, cache_seconds: None, of: PhantomData }
    }

    /// Lets clients and proxies cache it.
    pub fn cached(self, seconds: u32) -> Self {
        Self { cache_seconds: Some(seconds), ..self }
    }
}

/// The id of the resource that a 201 created; the guard makes `Location` of it.
#[derive(Debug, Clone, Copy)]
pub struct Created {
    pub id: Uuid,
}

/// The `id` of a JSON object. What follows it is not parsed; in most answers it is the first field.
pub fn id_of(json: &[u8]) -> Option<Uuid> {
    struct FirstId<'a>(&'a Cell<Option<Uuid>>);

    impl<'de> Visitor<'de> for FirstId<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
            while let Some(key) = fields.next_key::<&str>()? {
                if key == "id" {
                    self.0.set(Some(fields.next_value()?));
                    return Ok(());
                }
                fields.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }

    let id = Cell::new(None);
    // Fails where it stopped at the id, since the object goes on.
    let _ = serde_json::Deserializer::from_slice(json).deserialize_map(FirstId(&id));
    id.get()
}

impl<T: Send, const STATUS: u16> IntoResponse for Answer<T, STATUS> {
    fn into_response(self) -> Response {
        let created = if STATUS == 201 { id_of(&self.json).map(|id| Created { id }) } else { None };
        let mut response = Response::builder()
            .status(StatusCode::from_u16(STATUS).expect("an endpoint's status is one of HTTP's"))
            .content_type(JSON)
            .body(self.json);
        if let Some(seconds) = self.cache_seconds {
            let value = HeaderValue::try_from(format!("public, max-age={seconds}"));
            response.headers_mut().insert(header::CACHE_CONTROL, value.expect("a number is printable"));
        }
        if let Some(created) = created {
            response.set_data(created);
        }
        response
    }
}

impl<T: JsonSchema, const STATUS: u16> ApiResponse for Answer<T, STATUS> {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: JSON, schema: schema::reference::<T>() }];
        let description = match STATUS {
            201 => "Created",
            202 => "Accepted",
            _ => "OK",
        };
        response_meta(STATUS, description, content)
    }

    fn register(registry: &mut Registry) {
        schema::register::<T>(registry, Contract::Serialize);
    }
}

/// Either the resource of the request was changed (200), or a new one was created (201).
pub enum Changed<T> {
    Updated(Answer<T>),
    Created(Answer<T, 201>),
}

impl<T: Send> IntoResponse for Changed<T> {
    fn into_response(self) -> Response {
        match self {
            Self::Updated(answer) => answer.into_response(),
            Self::Created(answer) => answer.into_response(),
        }
    }
}

impl<T: JsonSchema> ApiResponse for Changed<T> {
    fn meta() -> MetaResponses {
        let mut responses = Answer::<T>::meta();
        responses.responses.extend(Answer::<T, 201>::meta().responses);
        responses
    }

    fn register(registry: &mut Registry) {
        Answer::<T>::register(registry);
    }
}

/// An answer without a body.
pub struct Done<const STATUS: u16>;

impl<const STATUS: u16> IntoResponse for Done<STATUS> {
    fn into_response(self) -> Response {
        StatusCode::from_u16(STATUS).expect("an endpoint's status is one of HTTP's").into_response()
    }
}

impl<const STATUS: u16> ApiResponse for Done<STATUS> {
    fn meta() -> MetaResponses {
        let description = match STATUS {
            202 => "Accepted",
            204 => "No Content",
            _ => "OK",
        };
        response_meta(STATUS, description, Vec::new())
    }
    fn register(_: &mut Registry) {}
}

/// An endless `text/event-stream`.
pub struct Events(pub poem::Body);

impl IntoResponse for Events {
    fn into_response(self) -> Response {
        // The second header keeps nginx from holding events back to fill its buffer.
        Response::builder().content_type("text/event-stream").header("X-Accel-Buffering", "no").body(self.0)
    }
}

impl ApiResponse for Events {
    fn meta() -> MetaResponses {
        let schema = MetaSchemaRef::Inline(Box::new(poem_openapi::registry::MetaSchema::new("string")));
        response_meta(200, "OK", vec![MetaMediaType { content_type: "text/event-stream", schema }])
    }
    fn register(_: &mut Registry) {}
}

fn response_meta(status: u16, description: &'static str, content: Vec<MetaMediaType>) -> MetaResponses {
    let response =
        MetaResponse { description, status: Some(status), status_range: None, content, headers: Vec::new() };
    MetaResponses { responses: vec![response] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_object_is_found_wherever_it_is() {
        let id = Uuid::from_u128(7);
        for json in [
            format!(r#"{{"id":"{id}","seats":[1,2]}}"#),
            format!(r#"{{ "owner": {{"id": "x"}}, "seats": [{{"id": 1}}], "id": "{id}" }}"#),
        ] {
            assert_eq!(id_of(json.as_bytes()), Some(id), "{json}");
        }
        for json in [r#"{"user":{"id":"x"}}"#, r#"{"id":"x"}"#, r#"{"id":7}"#, "[]", "null", "{", ""] {
            assert_eq!(id_of(json.as_bytes()), None, "{json}");
        }
    }
}
