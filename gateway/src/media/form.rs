//! A form with one part, `file`, read in chunks.
//!
//! Invariant: never more than the limit is read, and a client that stops sending is given up after [`SILENCE_MAX`].

use std::time::Duration;

use bus::contract::media::Rejection;
use bus::contract::strict::is_control;
use bus::contract::{FieldError, Problem};
use poem::web::Multipart;
use poem::{FromRequest, Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::problem::Refused;

pub const FORM: &str = "multipart/form-data";
/// Between two chunks; a connection that is slower than this is broken.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// An upload whose file was not yet read.
pub struct Upload(Multipart);

impl Upload {
    /// Reads the file into memory.
    pub async fn bytes(self, limit: usize) -> Result<Vec<u8>, Problem> {
        let mut whole = Vec::new();
        self.copy(&mut whole, limit).await?;
        Ok(whole)
    }

    /// Writes the file to `sink` and returns its length.
    pub async fn copy(
        mut self,
        sink: &mut (impl AsyncWrite + Unpin),
        limit: usize,
    ) -> Result<usize, Problem> {
        let field = self.0.next_field().await.map_err(unreadable)?.ok_or(Rejection::Parts)?;
        if field.name() != Some("file") {
            return Err(Rejection::Parts.into());
        }
        if field.file_name().is_some_and(|name| name.chars().any(is_control)) {
            return Err(Problem::invalid(vec![FieldError::control("filename")]));
        }
        let length = copy(field.into_async_read(), sink, limit).await?;
        match self.0.next_field().await.map_err(unreadable)? {
            None if length > 0 => Ok(length),
            _ => Err(Rejection::Parts.into()),
        }
    }
}

async fn copy(
    file: impl AsyncRead,
    sink: &mut (impl AsyncWrite + Unpin),
    limit: usize,
) -> Result<usize, Problem> {
    let mut file = std::pin::pin!(file);
    let mut chunk = vec![0; CHUNK];
    let mut length = 0;
    loop {
        let read = tokio::time::timeout(SILENCE_MAX, file.read(&mut chunk)).await;
        let read = read
            .map_err(|_| Problem::new(400, "body-timeout", "The file did not arrive in time."))?
            .map_err(unreadable)?;
        if read == 0 {
            return Ok(length);
        }
        length += read;
        if length > limit {
            return Err(Rejection::TooLarge(limit).into());
        }
        sink.write_all(&chunk[..read]).await.map_err(|error| {
            tracing::error!(%error, "an upload could not be written");
            Problem::from(Rejection::Store)
        })?;
    }
}

fn unreadable(error: impl std::fmt::Display) -> Problem {
    tracing::debug!(%error, "an upload could not be read");
    Problem::new(400, "body", "The form could not be read to its end.")
}

impl<'a> ApiExtractor<'a> for Upload {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let file = MetaSchema { format: Some("binary"), ..MetaSchema::new("string") };
        let form = MetaSchema {
            required: vec!["file"],
            properties: vec![("file", MetaSchemaRef::Inline(Box::new(file)))],
            ..MetaSchema::new("object")
        };
        let content =
            vec![MetaMediaType { content_type: FORM, schema: MetaSchemaRef::Inline(Box::new(form)) }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        // The guard has checked the content type, so only the boundary can be missing.
        let form = <Multipart as FromRequest>::from_request(request, body)
            .await
            .map_err(|error| Refused(unreadable(error)))?;
        Ok(Self(form))
    }
}
