//! What goes in and comes out of an endpoint: bodies read as the contract's types, answers passed on as bytes.
//!
//! Invariant: an answer's body is the host's own bytes, never read and written again, so that a repeated request
//! gets its first answer byte for byte.
//! Content type and size were checked by the guard; here a body is only read.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use bus::contract::{FieldError, Problem, read};
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
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde_json::{Map, Value};

use crate::problem::Refused;
use crate::schema;

pub const JSON: &str = "application/json";

/// With what a request is passed on to its host; made by the guard.
pub struct Caller(pub Arc<Ask>);

impl<'a> FromRequest<'a> for Caller {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let ask =
            request.data::<Arc<Ask>>().expect("the guard puts the caller into every request that it admits");
        Ok(Self(ask.clone()))
    }
}

/// A JSON body: unreadable → 400, a field that does not fit or is unknown → 422.
pub struct Body<T>(pub T);

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
        let bytes = body.take()?.into_bytes().await?;
        // serde would take an array of the fields' values in their order, which no document promises.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            let message = "must be an object".to_owned();
            return Err(Refused(Problem::invalid(vec![FieldError { field: String::new(), message }])).into());
        }
        Ok(Self(read(&bytes).map_err(Refused)?))
    }
}

/// The part of `T` that comes in the body; the path gives the rest. A body may be left out, and may not hold what
/// the path gives.
pub struct Rest<T>(Map<String, Value>, PhantomData<fn() -> T>);

/// The only field that a path gives so far.
const PATH_FIELD: &str = "id";

impl<T: DeserializeOwned> Rest<T> {
    /// `T` with the path's id.
    pub fn with_id(mut self, id: uuid::Uuid) -> Result<T, Problem> {
        if self.0.contains_key(PATH_FIELD) {
            let message = format!("unknown field `{PATH_FIELD}`: the path gives it");
            return Err(Problem::invalid(vec![FieldError { field: PATH_FIELD.into(), message }]));
        }
        self.0.insert(PATH_FIELD.into(), id.to_string().into());
        let whole = serde_json::to_vec(&self.0).expect("a JSON object always serializes");
        read(&whole)
    }
}

impl<'a, T: JsonSchema + Send> ApiExtractor<'a> for Rest<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        schema::register_without_path::<T>(registry, &[PATH_FIELD]);
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

/// A body that is somebody else's format and is passed on byte for byte.
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

fn request_meta(content_type: &'static str, schema: MetaSchemaRef, required: bool) -> MetaRequest {
    MetaRequest { description: None, content: vec![MetaMediaType { content_type, schema }], required }
}

/// A parameter of path or query that is read as its JSON string would be: ids, times, enums.
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

/// A host's answer, passed on as it came.
pub struct Answer<T, const STATUS: u16 = 200> {
    json: Bytes,
    cache_seconds: Option<u32>,
    of: PhantomData<fn() -> T>,
}

/// What an endpoint that passes an answer on returns.
pub type Answered<T, const STATUS: u16 = 200> = Result<Answer<T, STATUS>, Refused>;

impl<T, const STATUS: u16> Answer<T, STATUS> {
    pub fn new(json: Bytes) -> Self {
        Self { json, cache_seconds: None, of: PhantomData }
    }

    /// Lets whoever asked, and proxies, keep it.
    pub fn cached(self, seconds: u32) -> Self {
        Self { cache_seconds: Some(seconds), ..self }
    }
}

/// What a 201 made; the guard turns it into `Location`.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
pub struct Created {
    pub id: uuid::Uuid,
}

impl<T: Send, const STATUS: u16> IntoResponse for Answer<T, STATUS> {
    fn into_response(self) -> Response {
        let created = if STATUS == 201 { serde_json::from_slice::<Created>(&self.json).ok() } else { None };
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
        response_meta(STATUS, if STATUS == 201 { "Created" } else { "OK" }, content)
    }

    fn register(registry: &mut Registry) {
        schema::register::<T>(registry, Contract::Serialize);
    }
}

/// It is done and there is nothing to say.
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
