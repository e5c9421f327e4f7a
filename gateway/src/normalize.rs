//! Checks of a request that precede routing: exactly one host, and a path in its normal form.
//!
//! Proxies and this gateway must read the same host and the same path from the same bytes; otherwise a path that a proxy
//! blocks could be reached here in another spelling (RFC 9112, 3.2; RFC 3986, 6.2.2.2).

use bus::contract::Problem;
use poem::http::uri::Authority;
use poem::http::{HeaderValue, Method, StatusCode, Uri, Version, header};
use poem::{Request, Response};

/// The answer to `OPTIONS *`: every method that at least one path supports.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// 400 for a request that two servers may read differently. Afterwards its path is in the normal form.
pub fn normalize(request: &mut Request) -> Result<(), Problem> {
    check_host(request)?;
    let path = request.uri().path();
    // Only a path with `%` can have other spellings.
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

/// The answer to `OPTIONS *`, which is about the server and not about a path (RFC 9110, 9.3.7).
pub fn server_options(request: &Request) -> Option<Response> {
    let is_options = request.method() == Method::OPTIONS && request.uri().path() == "*";
    is_options.then(|| {
        let mut response = Response::builder().status(StatusCode::NO_CONTENT).finish();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
        response
    })
}

/// HTTP/1.1 requires one `Host` that contains a host; HTTP/1.0 may have none, and HTTP/2 has it elsewhere.
fn check_host(request: &Request) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let is_valid = match (hosts.next(), hosts.next()) {
        (None, _) => request.version() != Version::HTTP_11,
        (Some(host), None) => is_host(host.as_bytes()),
        (Some(_), Some(_)) => false,
    };
    let detail = "A request must have one header Host: a name or an address, optionally with a port.";
    if is_valid { Ok(()) } else { Err(Problem::new(400, "host", detail)) }
}

/// It is empty where the requested URI has no host.
fn is_host(host: &[u8]) -> bool {
    host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
}

/// The path with the characters decoded for which `is_decoded` holds; a `%` that begins no escape stays as it is.
fn decode(path: &str, is_decoded: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    while let [first, rest @ ..] = bytes {
        let code = bytes.get(1..3).filter(|_| *first == b'%').and_then(|code| hex::decode(code).ok());
        match code.as_deref() {
            Some([byte]) if is_decoded(*byte) => {
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

    fn normalized(path: &str) -> Result<String, u16> {
        let mut request =
            Request::builder().uri(path.parse().unwrap()).header("Host", "kino.example").finish();
        normalize(&mut request).map(|()| request.uri().to_string()).map_err(|problem| problem.status)
    }

    #[test]
    fn spellings_of_one_path_have_one_normal_form() {
        let same = [
            ("/v1/%6dovies?name=%6d", "/v1/movies?name=%6d"),
            ("/%76%31/%6D%2e%7E", "/v1/m.~"),
            ("/v1%2Fmovies", "/v1%2Fmovies"),
            ("/a%20b%C3%84", "/a%20b%C3%84"),
            ("/100%", "/100%"),
            ("/%zz%4", "/%zz%4"),
        ];
        for (given, normal) in same {
            assert_eq!(normalized(given), Ok(normal.to_owned()));
        }
        for path in ["/a%00b", "/%0a", "/%7f", "/%c2%85"] {
            assert_eq!(normalized(path), Err(400), "{path}");
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
