//! From an error of any kind to one `application/problem+json` answer.
//!
//! Invariant: no other file writes the body of an error, so each has the request id and its headers. An unknown error becomes
//! a blank 500; its details are in the log only.

use bus::contract::{FieldError, Problem, Rule};
use poem::error::{NotFoundError, ResponseError};
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Body, Response};
use poem_openapi::error::{ParseParamError, ParsePathError};
use poem_openapi::registry::{MetaResponses, Registry};

/// A [`Problem`] as an error of Poem.
#[derive(Debug)]
pub struct Refused(pub Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.0.status, self.0.code, self.0.detail)
    }
}

impl std::error::Error for Refused {}

impl ResponseError for Refused {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The document takes the problems of an endpoint from its row, not from here.
impl poem_openapi::ApiResponse for Refused {
    fn meta() -> MetaResponses {
        MetaResponses { responses: Vec::new() }
    }
    fn register(_: &mut Registry) {}
}

/// 400 that names a query parameter.
pub fn bad_query(parameter: &str, rule: Rule) -> Problem {
    let detail = format!("The query parameter {parameter} is not readable: {}.", rule.message());
    let errors = vec![FieldError::new(parameter, rule)];
    Problem { errors, ..Problem::new(400, "bad-query", detail) }
}

/// 404 for a path that no route has.
pub fn no_route(path: &str) -> Problem {
    let detail = match path.strip_prefix("/v").and_then(|rest| rest.split('/').next()) {
        Some(version)
            if version != "1" && !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit()) =>
        {
            "This API has only version 1: its paths begin with /v1. They are listed at /docs."
        }
        _ => "There is nothing at this path. All paths are listed at /docs.",
    };
    Problem::new(404, "no-route", detail)
}

/// The problem for an error of Poem, of poem-openapi or of our own.
pub fn of(error: poem::Error, path: &str) -> Problem {
    let error = match error.downcast::<Refused>() {
        Ok(Refused(problem)) => return problem,
        Err(error) => error,
    };
    if error.is::<NotFoundError>() {
        return no_route(path);
    }
    if error.is::<ParsePathError>() {
        return Problem::new(
            400,
            "bad-id",
            "The id in the path must be a UUID, or a number where the document says so.",
        );
    }
    if let Some(ParseParamError { name, reason }) = error.downcast_ref() {
        return bad_query(name, Rule::unreadable(plain(reason)));
    }
    let status = error.status().as_u16();
    if (400..500).contains(&status) {
        return Problem::new(status, "bad-request", "The request is not readable.");
    }
    tracing::error!(%error, "unexpected failure");
    Problem::internal()
}

/// poem-openapi's message without the name of the Rust type.
fn plain(reason: &str) -> &str {
    match reason.strip_prefix("failed to parse \"").and_then(|rest| rest.split_once("\": ")) {
        Some((_, message)) => message,
        None => reason,
    }
}

/// The HTTP answer with a problem.
pub fn respond(mut problem: Problem, request_id: &str) -> Response {
    problem.request_id = request_id.to_owned();
    let body = serde_json::to_vec(&problem).expect("a problem is plain data and always serializes");
    let mut response = Response::builder()
        .status(StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .content_type("application/problem+json")
        .body(Body::from_vec(body));
    let headers = response.headers_mut();
    if let Some(seconds) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.status == 401 {
        // RFC 6750: no error code without a token.
        let challenge = match problem.code.as_str() {
            "token-invalid" | "token-expired" | "token-revoked" => {
                "Bearer realm=\"marquee\", error=\"invalid_token\""
            }
            _ => "Bearer realm=\"marquee\"",
        };
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}
