//! Checks a request before its endpoint runs, in the order 405, 401, 429, 403, 413, 415, 400.
//!
//! Invariant: an endpoint is reached only through its [`Guard`], so no endpoint checks a token, a size, a content
//! type or a key itself. Unknown paths (404) have no guard; 422 comes from the body's type or the host.

use std::sync::Arc;
use std::time::Duration;

use bus::contract::strict::is_control;
use bus::contract::{Access, FieldError, Problem, Rule, read};
use bus::service::{Ask, IDEMPOTENCY_KEY};
use bus::token::authorize;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Endpoint, Request, Response, Result};
use poem_openapi::__private::UrlQuery;
use uuid::Uuid;

use crate::challenge::{Challenge, Challenged};
use crate::hosts::Hosts;
use crate::limit::{Client, Limiter, Rate};
use crate::media::FORM;
use crate::payload::{Created, JSON};
use crate::problem::{self, Refused};
use crate::routes::{Body, Idempotency, Row, Verb};
use crate::trace::Trace;
use crate::{etag, signed};

/// A body that takes longer to arrive comes over a connection too slow to wait for, or is an attack.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// How much of a refused body is read and discarded: a photograph twice too large, over a fast connection.
const DISCARD_BYTES_MAX: usize = 32 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
const DISCARD_SILENCE_MAX: Duration = Duration::from_millis(500);
/// For a request that has no body: enough for a client that sends an empty object.
const NO_BODY_BYTES_MAX: usize = 4 * 1024;
/// What a form adds to its file: the boundary twice, and the part's headers.
const FORM_BYTES_MAX: usize = 4 * 1024;

/// What identifies and limits callers; shared by all guards.
pub struct Admission {
    pub hosts: Arc<dyn Hosts>,
    pub limiter: Limiter,
    pub challenge: Option<Box<dyn Challenge>>,
}

/// One path with its methods.
pub struct Guard {
    admission: Arc<Admission>,
    methods: Vec<(&'static Row, BoxEndpoint<'static>)>,
    allow: HeaderValue,
}

impl Admission {
    /// The caller's token and account, where the token is valid and its role suffices.
    pub async fn identify(
        &self,
        row: &Row,
        trace: &Trace,
        headers: &HeaderMap,
    ) -> Result<(String, Uuid), Problem> {
        let verified = match bearer(headers) {
            Ok(token) => self.hosts.verify(token).await.map(|identity| (token, identity)),
            Err(problem) => Err(problem),
        };
        let (token, identity) = match verified {
            Ok(verified) => verified,
            Err(problem) => {
                // A client that guesses tokens has no account yet and is counted by address.
                if problem.status == 401 {
                    self.count(row, Rate::Login, Client::Address(trace.client), trace).await?;
                }
                return Err(problem);
            }
        };
        trace.set_user(identity.user_id);
        self.count(row, row.rate(), Client::User(identity.user_id), trace).await?;
        authorize(row.access, row.is_open_by_order, Some(&identity))?;
        Ok((token.to_owned(), identity.user_id))
    }

    /// Counts the request; 429 where the quota is exceeded.
    async fn count(&self, row: &Row, rate: Rate, client: Client, trace: &Trace) -> Result<(), Problem> {
        let Some(usage) = self.limiter.count(row.operation, rate, client).await else { return Ok(()) };
        if usage.retry_after.is_some() {
            metrics::counter!("rate_limited_total", "route" => row.path).increment(1);
        }
        trace.set_usage(usage);
        usage.check()
    }
}

impl Guard {
    pub fn new(admission: Arc<Admission>, methods: Vec<(&'static Row, BoxEndpoint<'static>)>) -> Self {
        let mut allow: Vec<_> = methods.iter().map(|(row, _)| row.verb.allow()).collect();
        allow.sort_unstable();
        let allow = HeaderValue::try_from(allow.join(", ")).expect("method names are printable");
        Self { admission, methods, allow }
    }

    async fn admit(&self, row: &'static Row, trace: &Trace, request: &mut Request) -> Result<(), Problem> {
        let caller = match row.access {
            Access::Public => {
                self.admission.count(row, row.rate(), Client::Address(trace.client), trace).await?;
                None
            }
            _ => Some(self.admission.identify(row, trace, request.headers()).await?),
        };
        if let Body::Signed(_) = row.body {
            signed::check(request.headers(), now())?;
        }
        let (token, user_id) = caller.unzip();
        if let Some(challenge) = self.admission.challenge.as_ref().filter(|_| row.is_challenged) {
            let (operation, headers, client) = (row.operation, request.headers(), trace.client);
            challenge.check(Challenged { operation, headers, client, user_id }).await?;
        }
        if row.body == Body::None && row.verb != Verb::Get {
            refuse_fields(request).await?;
        }
        let body = read_body(row.body, request).await?;
        let idempotency_key = idempotency_key(row.idempotency, request.headers())?;
        if let Some(bytes) = body {
            request.set_body(bytes);
        }
        // poem-openapi reads query parameters from here.
        request.set_data(UrlQuery(query(request)?));
        let context = trace.context.clone();
        let client_ip = Some(trace.client);
        request.set_data(Arc::new(Ask { token, idempotency_key, client_ip, ..Ask::new(context) }));
        Ok(())
    }
}

/// Unix seconds.
fn now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

/// The token of `Authorization: Bearer`.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        let detail = "This needs a bearer token in the Authorization header.";
        return Err(Problem::unauthorized("token-missing", detail));
    };
    let (scheme, token) = given.to_str().ok().and_then(|v| v.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        let detail = "The Authorization header must be Bearer, a space, and the access token.";
        return Err(Problem::unauthorized("token-invalid", detail));
    }
    Ok(token.trim())
}

impl Endpoint for Guard {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let trace = request.data::<Arc<Trace>>().expect("the entry point traces every request").clone();
        let Some((row, endpoint)) = self.methods.iter().find(|(row, _)| row.verb.serves(request.method()))
        else {
            trace.set_row(self.methods[0].0);
            let detail = format!("{} is not supported at this path; see the header Allow.", request.method());
            let problem = Problem::new(405, "method", detail);
            let mut response = problem::respond(problem, &trace.context.correlation_id);
            response.headers_mut().insert(header::ALLOW, self.allow.clone());
            return Ok(response);
        };
        trace.set_row(row);
        self.admit(row, &trace, &mut request).await.map_err(Refused)?;
        let if_none_match =
            request.headers().get(header::IF_NONE_MATCH).filter(|_| row.is_cacheable).cloned();
        let mut response = endpoint.call(request).await?;
        if response.status() == StatusCode::CREATED {
            let location = row.location_of(response.data::<Created>().map(|created| created.id));
            if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
                response.headers_mut().insert(header::LOCATION, location);
            }
        }
        if row.is_cacheable { etag::tag(response, if_none_match).await } else { Ok(response) }
    }
}

/// Reads the body that the row allows: 413 when it is too large, 415 when it is of another type.
async fn read_body(allowed: Body, request: &mut Request) -> Result<Option<Bytes>, Problem> {
    let (limit, content_type, optional) = match allowed {
        Body::None => return Ok(None),
        Body::Json(limit) => (limit, Some(JSON), false),
        Body::OptionalJson(limit) => (limit, Some(JSON), true),
        Body::Signed(limit) => (limit, None, false),
        Body::Upload(limit) => (limit + FORM_BYTES_MAX, Some(FORM), false),
    };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        // With `Expect: 100-continue` the client waits; reading would make it send the whole body.
        if !request.headers().contains_key(header::EXPECT) {
            discard(request.take_body()).await;
        }
        return Err(too_large(limit));
    }
    if let Body::Upload(_) = allowed {
        check_type(content_type, request.headers())?;
        return Ok(None);
    }
    let reading = collect(request.take_body(), limit);
    let bytes = tokio::time::timeout(BODY_TIMEOUT, reading)
        .await
        .unwrap_or_else(|_| Err(Problem::new(400, "body-timeout", "The body did not arrive in time.")))?;
    if !(optional && bytes.is_empty()) {
        check_type(content_type, request.headers())?;
    }
    Ok(Some(bytes))
}

/// 422 for a write without a body that is sent fields: the caller would believe that they took effect. `{}` is accepted.
async fn refuse_fields(request: &mut Request) -> Result<(), Problem> {
    let reading = collect(request.take_body(), NO_BODY_BYTES_MAX);
    let bytes = tokio::time::timeout(BODY_TIMEOUT, reading)
        .await
        .unwrap_or_else(|_| Err(Problem::new(400, "body-timeout", "The body did not arrive in time.")))?;
    if bytes.trim_ascii().is_empty() {
        return Ok(());
    }
    match read(&bytes)? {
        serde_json::Value::Null => Ok(()),
        serde_json::Value::Object(fields) if fields.is_empty() => Ok(()),
        serde_json::Value::Object(fields) => {
            let errors = fields.into_iter().map(|(field, _)| {
                let message = format!("unknown field `{field}`: this request has no body");
                FieldError::new(field, Rule::UnknownField { message })
            });
            Err(Problem::invalid(errors.collect()))
        }
        _ => {
            let message = "must be left out: this request has no body".to_owned();
            Err(Problem::invalid_field("", Rule::Type { message }))
        }
    }
}

/// Reads and drops a refused body: a client that is still sending when the connection closes does not read the answer.
async fn discard(body: poem::Body) {
    let mut chunks = std::pin::pin!(body.into_bytes_stream());
    let mut left = DISCARD_BYTES_MAX;
    let reading = async {
        // A client that sends nothing more waits for its answer.
        while let Ok(Some(Ok(chunk))) = tokio::time::timeout(DISCARD_SILENCE_MAX, chunks.next()).await
            && left > chunk.len()
        {
            left -= chunk.len();
        }
    };
    // A client that sends more, or more slowly, may not read the answer.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, reading).await;
}

async fn collect(body: poem::Body, limit: usize) -> Result<Bytes, Problem> {
    let unreadable = |_| Problem::new(400, "body", "The body could not be read to its end.");
    let mut chunks = std::pin::pin!(body.into_bytes_stream());
    let Some(first) = chunks.next().await.transpose().map_err(unreadable)? else {
        return Ok(Bytes::new());
    };
    if first.len() > limit {
        return Err(too_large(limit));
    }
    // Nearly every body is one chunk, which is used without a copy.
    let Some(second) = chunks.next().await.transpose().map_err(unreadable)? else {
        return Ok(first);
    };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if whole.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&chunk);
        next = chunks.next().await.transpose().map_err(unreadable)?;
    }
    Ok(whole.freeze())
}

fn too_large(limit: usize) -> Problem {
    Problem::new(413, "too-large", format!("The body may have at most {limit} bytes."))
}

fn check_type(required: Option<&str>, headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Problem::new(415, "content-encoding", "The body must not be compressed."));
    }
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    match required {
        Some(required) if !essence.eq_ignore_ascii_case(required) => {
            Err(Problem::new(415, "content-type", format!("The body must be sent as {required}.")))
        }
        _ => Ok(()),
    }
}

/// 1–255 visible ASCII characters, or 400.
fn idempotency_key(idempotency: Idempotency, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let given = match idempotency {
        Idempotency::None => return Ok(None),
        Idempotency::Optional | Idempotency::Required => headers.get(IDEMPOTENCY_KEY),
    };
    let Some(given) = given else {
        if idempotency == Idempotency::Optional {
            return Ok(None);
        }
        let detail = "The header Idempotency-Key is required here: a text that is new for each new request.";
        return Err(Problem::new(400, "idempotency-key-missing", detail));
    };
    match given.to_str() {
        Ok(key) if (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(key.to_owned()))
        }
        _ => {
            let detail = "The header Idempotency-Key must have 1–255 visible ASCII characters.";
            Err(Problem::new(400, "idempotency-key-invalid", detail))
        }
    }
}

fn query(request: &Request) -> Result<Vec<(String, String)>, Problem> {
    if request.uri().query().is_none_or(str::is_empty) {
        return Ok(Vec::new());
    }
    let unreadable = |_| Problem::new(400, "bad-query", "The query string is not readable.");
    let parameters: Vec<(String, String)> = request.params().map_err(unreadable)?;
    let is_refused = |text: &str| text.chars().any(is_control);
    match parameters.iter().find(|(name, value)| is_refused(name) || is_refused(value)) {
        // No stored text contains one, so no search could match.
        Some((name, _)) => Err(Problem::invalid(vec![FieldError::control(&name.replace(is_control, ""))])),
        None => Ok(parameters),
    }
}
