//! Answers that may be kept: a strong entity tag, how long they stay fresh, and 304 to whoever has them already.
//!
//! Only for rows that say so, all of them public: what they answer is the same for everybody, token or not. Everything
//! else leaves with `no-store`. The tag is a hash of the body, so that any gateway makes the same one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Response, Result};

/// What the tag of a compressed answer ends with: other bytes need another strong tag (RFC 9110, 8.8.3.3).
pub const GZIP: &str = "-gzip";
/// Catalogues change some times a day: for five seconds nobody misses a change, and a rush is answered by a cache. In the
/// ten after that a cache may still answer while it asks anew.
const KEPT: &str = "public, max-age=5, stale-while-revalidate=10";

/// Marks an answer of such a row, or replaces it with 304.
pub async fn freshen(mut response: Response, if_none_match: Option<HeaderValue>) -> Result<Response> {
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let body = response.take_body().into_bytes().await?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &body);
    let tag = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..15]);
    let held =
        if_none_match.as_ref().and_then(|held| held.to_str().ok()).and_then(|held| matching(held, &tag));
    let (status, sent) =
        if held.is_some() { (StatusCode::NOT_MODIFIED, "") } else { (StatusCode::OK, "body") };
    let value = HeaderValue::try_from(format!("\"{}\"", held.unwrap_or(tag))).expect("base64 is printable");
    response.headers_mut().insert(header::ETAG, value);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(KEPT));
    response.set_status(status);
    if sent.is_empty() {
        response.headers_mut().remove(header::CONTENT_TYPE);
    } else {
        response.set_body(body);
    }
    Ok(response)
}

/// The tag among those held that stands for the same content, as it was held. The comparison is the weak one (RFC 9110,
/// 13.1.2), and a compressed copy is as good.
fn matching(held: &str, tag: &str) -> Option<String> {
    let tags = held.split(',').map(|one| one.trim().trim_start_matches("W/").trim_matches('"'));
    let mut same = tags.filter(|one| *one == "*" || one.strip_suffix(GZIP).unwrap_or(one) == tag);
    same.next().map(|one| if one == "*" { tag.to_owned() } else { one.to_owned() })
}
