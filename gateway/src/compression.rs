//! Answers of text leave gzipped where the client takes it: a hall's seat map shrinks to a tenth.
//!
//! Invariant: only whole bodies of known text types are touched, never a stream; unpacked they are the same bytes.
//! Nothing here needs hiding from a guesser of lengths: the one credential that a browser sends of its own accord, the
//! refresh token's cookie, opens no answer that repeats what the asker sent.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use poem::http::{HeaderMap, HeaderValue, header};
use poem::{Body, Response};

use crate::fresh::GZIP;

/// Below this it fits into one packet anyway.
const LEAST: usize = 1_024;
/// Some hundred microseconds of work; more is done beside the threads that serve.
const INLINE_MAX: usize = 64 * 1_024;
/// Levels above gain some percent and cost several times as much.
const LEVEL: Compression = Compression::fast();

/// Compresses the body where that is possible and wanted.
pub async fn compress(accepted: bool, mut response: Response) -> Response {
    if !is_text(response.headers()) || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if !accepted {
        return response;
    }
    let Ok(body) = response.take_body().into_bytes().await else { return response };
    if body.len() < LEAST {
        response.set_body(body);
        return response;
    }
    let packed = if body.len() <= INLINE_MAX {
        gzip(&body)
    } else {
        let body = body.clone();
        tokio::task::spawn_blocking(move || gzip(&body))
            .await
            .unwrap_or_else(|e| Err(std::io::Error::other(e)))
    };
    match packed {
        Ok(packed) => {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.remove(header::CONTENT_LENGTH);
            rename(headers);
            response.set_body(Body::from_bytes(packed));
        }
        Err(error) => {
            tracing::error!(%error, "not compressed");
            response.set_body(body);
        }
    }
    response
}

/// Whether the client takes gzip.
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

fn rename(headers: &mut HeaderMap) {
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
