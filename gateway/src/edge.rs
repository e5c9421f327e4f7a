//! What HTTP itself asks of a request, before any route is looked for: one host, a path in its normal form.
//!
//! Proxies and this gateway must see the same host and the same path in the same bytes, or what one of them guards is open
//! at the other (RFC 9112, 3.2; RFC 3986, 6.2.2.2).

use bus::contract::Problem;
use poem::http::uri::Authority;
use poem::http::{HeaderValue, Method, StatusCode, Uri, Version, header};
use poem::{Request, Response};

/// What `OPTIONS *` tells: every method that some path takes.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// 400 for a request that no two readers need understand the same way. Afterwards its path is in the normal form.
pub fn settle(request: &mut Request) -> Result<(), Problem> {
    check_host(request)?;
    let path = request.uri().path();
    // Nothing but `%` can stand for another character.
    if !path.contains('%') {
        return Ok(());
    }
    let decoded = decode(path, |_| true);
    if String::from_utf8_lossy(&decoded).chars().any(char::is_control) {
        return Err(Problem::new(400, "bad-path", "The path must not contain control characters."));
    }
    let normal = decode(path, is_unreserved);
    if normal != path.as_bytes()
        && let Some(uri) = with_path(request.uri(), normal)
    {
        *request.uri_mut() = uri;
    }
    Ok(())
}

/// The answer to `OPTIONS *`, which asks about the server and not about a path (RFC 9110, 9.3.7).
pub fn server_options(request: &Request) -> Option<Response> {
    let is_asked = request.method() == Method::OPTIONS && request.uri().path() == "*";
    is_asked.then(|| {
        let mut response = Response::builder().status(StatusCode::NO_CONTENT).finish();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
        response
    })
}

/// HTTP/1.1 needs one `Host` with a host in it; HTTP/1.0 may have none, and HTTP/2 has it elsewhere.
fn check_host(request: &Request) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let is_right = match (hosts.next(), hosts.next()) {
        (None, _) => request.version() != Version::HTTP_11,
        (Some(host), None) => is_host(host.as_bytes()),
        (Some(_), Some(_)) => false,
    };
    let detail = "A request must have one header Host: a name or an address, perhaps with a port.";
    if is_right { Ok(()) } else { Err(Problem::new(400, "host", detail)) }
}

/// Empty where the address that was asked has no host.
fn is_host(host: &[u8]) -> bool {
    host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
}

/// The path with those characters decoded that `which` names; a `%` that begins no code stands for itself.
fn decode(path: &str, which: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    while let [first, rest @ ..] = bytes {
        let code = bytes.get(1..3).filter(|_| *first == b'%').and_then(|code| hex::decode(code).ok());
        match code.as_deref() {
            Some([byte]) if which(*byte) => {
                decoded.push(*byte);
                bytes = &bytes[3..];
            }
            _ => {
                decoded.push(*first);
                bytes = rest;
            }
        }
    }
    decoded
}

/// Characters that mean the same whether they are encoded or not (RFC 3986, 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn with_path(uri: &Uri, path: Vec<u8>) -> Option<Uri> {
    let mut path = String::from_utf8(path).ok()?;
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(path: &str) -> Result<String, u16> {
        let mut request =
            Request::builder().uri(path.parse().unwrap()).header("Host", "kino.example").finish();
        settle(&mut request).map(|()| request.uri().to_string()).map_err(|problem| problem.status)
    }

    #[test]
    fn a_path_is_the_same_however_its_letters_are_written() {
        let same = [
            ("/v1/%6dovies?name=%6d", "/v1/movies?name=%6d"),
            ("/%76%31/%6D%2e%7E", "/v1/m.~"),
            ("/v1%2Fmovies", "/v1%2Fmovies"),
            ("/a%20b%C3%84", "/a%20b%C3%84"),
            ("/100%", "/100%"),
            ("/%zz%4", "/%zz%4"),
        ];
        for (given, settles) in same {
            assert_eq!(settled(given), Ok(settles.to_owned()));
        }
        for path in ["/a%00b", "/%0a", "/%7f", "/%c2%85"] {
            assert_eq!(settled(path), Err(400), "{path}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for host in ["", "kino.example", "kino.example:8080", "[::1]:80", "127.0.0.1"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in ["a b", "user@kino.example", "a/b"] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
