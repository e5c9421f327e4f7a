//! Text answers are compressed with gzip where the client accepts it: a hall's seat map shrinks to a tenth.
//!
//! Invariant: only complete bodies of known text types are compressed, never a stream, and decompressing restores the bytes.
//! An attack on the compressed length (BREACH) gains nothing: with the only credential that browsers send by themselves, the
//! cookie of the refresh token, no answer repeats what the client sent.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use poem::http::{HeaderMap, HeaderValue, header};
use poem::{Body, Response};

use crate::etag::GZIP;

/// A smaller body fits into one packet anyway.
const LENGTH_MIN: usize = 1_024;
/// Some hundred microseconds of work; a larger body is compressed on a blocking thread.
const INLINE_MAX: usize = 64 * 1_024;
/// Higher levels gain some percent and cost several times as much.
const LEVEL: Compression = Compression::fast();

/// Compresses the body where it is text and the client accepts gzip.
pub async fn compress(accepted: bool, mut response: Response) -> Response {
    if !is_text(response.headers()) || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if !accepted {
        return response;
    }
    let Ok(body) = response.take_body().into_bytes().await else { return response };
    if body.len() < LENGTH_MIN {
        response.set_body(body);
        return response;
    }
    let compressed = if body.len() <= INLINE_MAX {
        gzip(&body)
    } else {
        let body = body.clone();
        tokio::task::spawn_blocking(move || gzip(&body))
            .await
            .unwrap_or_else(|e| Err(std::io::Error::other(e)))
    };
    match compressed {
        Ok(compressed) => {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.remove(header::CONTENT_LENGTH);
            rename_tag(headers);
            response.set_body(Body::from_bytes(compressed));
        }
        Err(error) => {
            tracing::error!(%error, "a body could not be compressed");
            response.set_body(body);
        }
    }
    response
}

/// Whether the client accepts gzip.
pub fn is_accepted(headers: &HeaderMap) -> bool {
    let given = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = |part: &str| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        named && !parts.any(refused)
    })
}

fn is_text(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    matches!(
        essence,
        "application/json"
            | "application/problem+json"
            | "text/html"
            | "text/css"
            | "text/javascript"
            | "application/javascript"
            | "text/plain"
            | "image/svg+xml"
    )
}

fn rename_tag(headers: &mut HeaderMap) {
    let tag = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
    let Some(bare) = tag.and_then(|tag| tag.strip_suffix('"')) else { return };
    if let Ok(tag) = HeaderValue::try_from(format!("{bare}{GZIP}\"")) {
        headers.insert(header::ETAG, tag);
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), LEVEL);
    encoder.write_all(body)?;
    Ok(encoder.finish()?.into())
}
