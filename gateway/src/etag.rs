//! Cacheable answers: a strong entity tag, how long they stay fresh, and 304 for a client that has them already.
//!
//! Only for rows marked as cacheable, all of them public: their answers are the same for everybody, token or not. All other
//! answers have `no-store`. The tag is a hash of the body, so every gateway computes the same one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Response, Result};

/// The end of a compressed answer's tag: other bytes need another strong tag (RFC 9110, 8.8.3.3).
pub const GZIP: &str = "-gzip";
/// Catalogues change some times a day: a change may be seen five seconds late, and in a rush a cache answers. In the ten
/// seconds after that a cache may still answer while it revalidates.
const CACHE_CONTROL: &str = "public, max-age=5, stale-while-revalidate=10";

/// Adds the tag and `Cache-Control` to an answer, or turns it into 304.
pub async fn tag(mut response: Response, if_none_match: Option<HeaderValue>) -> Result<Response> {
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let body = response.take_body().into_bytes().await?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &body);
    let tag = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..15]);
    let given = if_none_match.as_ref().and_then(|given| given.to_str().ok());
    let cached = given.and_then(|given| matching(given, &tag));
    let is_cached = cached.is_some();
    let value = HeaderValue::try_from(format!("\"{}\"", cached.unwrap_or(tag))).expect("base64 is printable");
    response.headers_mut().insert(header::ETAG, value);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL));
    if is_cached {
        response.set_status(StatusCode::NOT_MODIFIED);
        response.headers_mut().remove(header::CONTENT_TYPE);
    } else {
        response.set_body(body);
    }
    Ok(response)
}

/// The tag of `If-None-Match` that stands for the same content, as the client wrote it. The comparison is the weak one (RFC
/// 9110, 13.1.2), and the tag of the compressed body matches too.
fn matching(given: &str, tag: &str) -> Option<String> {
    let tags = given.split(',').map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'));
    let mut same = tags.filter(|given| *given == "*" || given.strip_suffix(GZIP).unwrap_or(given) == tag);
    same.next().map(|given| if given == "*" { tag.to_owned() } else { given.to_owned() })
}
