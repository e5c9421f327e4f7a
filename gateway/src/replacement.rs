//! The body of a PUT that replaces a row: all of its fields, and the version that it replaces.
//!
//! A field that is left out gets its default, as in the row's creation: nothing of the former row stays.

use bus::contract::{Problem, Rule, read, unreadable};
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaRequest, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::payload::{JSON, request_meta};
use crate::problem::Refused;
use crate::schema;

pub struct Replacement<T> {
    pub version: i64,
    pub of: T,
}

/// The field beside those of the row.
const VERSION: &str = "version";

impl<T: DeserializeOwned> Replacement<T> {
    fn read(json: &[u8]) -> Result<Self, Problem> {
        let mut fields: Map<String, Value> = read(json)?;
        let version =
            fields.remove(VERSION).ok_or_else(|| Problem::invalid_field(VERSION, Rule::Required))?;
        let version = i64::deserialize(&version)
            .map_err(|error| Problem::invalid(vec![unreadable(VERSION, &error.to_string())]))?;
        let of = serde_json::to_vec(&fields).expect("a JSON object always serializes");
        Ok(Self { version, of: read(&of)? })
    }
}

impl<'a, T: DeserializeOwned + JsonSchema + Send> ApiExtractor<'a> for Replacement<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        schema::register_with_version::<T>(registry, VERSION);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(request_meta(JSON, schema::reference_with_version::<T>(), true))
    }

    async fn from_request(
        _: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let json = body.take()?.into_bytes().await?;
        Ok(Self::read(&json).map_err(Refused)?)
    }
}
