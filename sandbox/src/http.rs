//! The HTTP server: authorization, the rule of each path, and the form of the answer.
//! `/v1` is Stripe's API and needs the secret key; `/pay` is the customer's pay page; `/sandbox` has the switches for tests,
//! without a key, and is therefore served only on a loopback address. `/health` is for checks of the process.

use std::sync::Arc;

use base64::Engine;
use bytes::Bytes;
use poem::http::{HeaderMap, Method, StatusCode, header};
use poem::{Endpoint, Request, Response};
use serde_json::{Value, json};

use crate::connections::Connections;
use crate::fault::Fault;
use crate::form::Form;
use crate::model::show_fault;
use crate::outcome::{Decision, Moment, Outcome, new_id};
use crate::page;
use crate::provider::{Claim, Key, Provider};
use crate::store::{Answer, Store};
use crate::switches::Switches;
use crate::{checkout, reads, refunds, rules, webhook};

/// Our largest request is a session with metadata; Stripe's own limit is higher.
const BODY_BYTES_MAX: usize = 64 * 1024;

pub struct Http {
    pub provider: Arc<Provider>,
    pub connections: Connections,
    /// Whether the switches are served.
    pub on_loopback: bool,
}

/// The answer to a call.
struct Reply {
    body: Value,
    status: u16,
    replayed: bool,
    /// Cut the connection instead of sending the answer.
    lost: bool,
}

impl Endpoint for Http {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        Ok(match segments.as_slice() {
            ["v1", ..] => self.stripe(request, &path).await,
            ["pay", id] => self.page(request, id).await,
            ["sandbox", rest @ ..] if self.on_loopback => self.sandbox(request, rest).await,
            ["health", "live" | "ready"] => healthy(),
            _ => refused(&Fault::no_route(request.method().as_str(), &path)),
        })
    }
}

/// The sandbox has read its log before it listens, and depends on no other server.
fn healthy() -> Response {
    Response::builder().content_type("application/json").body(r#"{"ready":true}"#)
}

impl Http {
    async fn stripe(&self, request: Request, path: &str) -> Response {
        let peer = request.remote_addr().clone();
        let reply = match self.answer(request, path).await {
            Ok(reply) => reply,
            Err(fault) => return refused(&fault),
        };
        if reply.lost {
            self.connections.cut(&peer);
        }
        let mut response = respond(reply.status, &reply.body);
        if reply.replayed {
            response.headers_mut().insert("idempotent-replayed", header::HeaderValue::from_static("true"));
        }
        response
    }

    async fn answer(&self, mut request: Request, path: &str) -> Result<Reply, Fault> {
        self.authorize(request.headers())?;
        let interference = self.provider.switches.interference(path);
        let is_read = request.method() == Method::GET;
        if let Some((status, kept)) = interference.fail
            && (is_read || !kept)
        {
            return Err(Fault::provider_error(status));
        }
        let segments: Vec<&str> = path.split('/').skip(2).collect();
        if is_read {
            interference.wait().await;
            let form = Form::parse(request.uri().query().unwrap_or_default());
            let url = &self.provider.public_url;
            let body = self.provider.read(|store| reads::answer(store, &segments, &form, url))?;
            return Ok(Reply { body, status: 200, replayed: false, lost: false });
        }
        let call = Call::of(request.method(), &segments)
            .ok_or_else(|| Fault::no_route(request.method().as_str(), path))?;
        let form = read_form(&mut request).await?;
        let key = idempotency_key(request.headers(), &form, path)?;
        let guard = match self.provider.claim(key.as_ref())? {
            Claim::Run(guard) => guard,
            Claim::Replay(answer) => return Ok(self.reply(&answer, true)),
        };
        let provider = self.provider.clone();
        let run = async move {
            interference.wait().await;
            let rule = |store: &Store, moment: Moment| match interference.fail {
                Some((status, _)) => {
                    let answer = Answer { fault: Some(Fault::provider_error(status)), object: None };
                    Ok(Outcome { records: Vec::new(), answer, afterwards: Vec::new() })
                }
                None => call.decide(store, &form, moment),
            };
            let answer = provider.change(key.as_ref(), rule);
            drop(guard);
            answer
        };
        // In a separate task: a caller that disconnects does not undo a charge.
        let answer = tokio::spawn(run).await.map_err(|_| Fault::provider_error(500))??;
        Ok(self.reply(&answer, false))
    }

    fn reply(&self, answer: &Answer, replayed: bool) -> Reply {
        let (status, body) = match (&answer.fault, &answer.object) {
            (Some(fault), about) => (fault.status, json!({"error": show_fault(fault, about.as_ref())})),
            (None, Some(object)) => (200, object.show(&self.provider.public_url)),
            (None, None) => (200, json!({})),
        };
        Reply { body, status, replayed, lost: self.provider.switches.lose_answer() }
    }

    fn authorize(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let given =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let key = match given.split_once(' ') {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim().to_owned(),
            // curl -u sk_test_…: the key is the user name, without a password.
            Some((scheme, text)) if scheme.eq_ignore_ascii_case("basic") => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).unwrap_or_default();
                String::from_utf8_lossy(&bytes).split(':').next().unwrap_or_default().to_owned()
            }
            _ => return Err(Fault::unauthorized("You did not provide an API key.")),
        };
        if key == self.provider.api_key {
            Ok(())
        } else {
            Err(Fault::unauthorized("Invalid API Key provided."))
        }
    }

    async fn page(&self, mut request: Request, id: &str) -> Response {
        if request.method() == Method::GET {
            return page::show(&self.provider, id);
        }
        match read_form(&mut request).await {
            Ok(form) if request.method() == Method::POST => page::pay(&self.provider, id, &form),
            Ok(_) => respond(405, &json!({"error": {"message": "GET or POST"}})),
            Err(fault) => refused(&fault),
        }
    }

    async fn sandbox(&self, mut request: Request, path: &[&str]) -> Response {
        let method = request.method().clone();
        match (method.as_str(), path) {
            ("GET", ["switches"]) => respond(200, &json!(self.provider.switches.get())),
            ("POST", ["switches"]) => match read_switches(&mut request).await {
                Ok(switches) => {
                    self.provider.switches.set(switches);
                    respond(200, &json!(self.provider.switches.get()))
                }
                Err(fault) => refused(&fault),
            },
            ("POST", ["webhooks", "flush"]) => {
                respond(200, &json!({"released": webhook::release(&self.provider, true)}))
            }
            _ => refused(&Fault::no_route(method.as_str(), &format!("/sandbox/{}", path.join("/")))),
        }
    }
}

/// Calls that change the state.
enum Call {
    CreateIntent,
    ConfirmIntent(String),
    CancelIntent(String),
    CreateSession,
    ExpireSession(String),
    CreateRefund,
}

impl Call {
    fn of(method: &Method, segments: &[&str]) -> Option<Self> {
        if method != Method::POST {
            return None;
        }
        Some(match segments {
            ["payment_intents"] => Self::CreateIntent,
            ["payment_intents", id, "confirm"] => Self::ConfirmIntent((*id).to_owned()),
            ["payment_intents", id, "cancel"] => Self::CancelIntent((*id).to_owned()),
            ["checkout", "sessions"] => Self::CreateSession,
            ["checkout", "sessions", id, "expire"] => Self::ExpireSession((*id).to_owned()),
            ["refunds"] => Self::CreateRefund,
            _ => return None,
        })
    }

    fn decide(&self, store: &Store, form: &Form, moment: Moment) -> Decision {
        match self {
            Self::CreateIntent => rules::create_intent(store, form, moment),
            Self::ConfirmIntent(id) => rules::confirm_intent(store, id, form, moment),
            Self::CancelIntent(id) => rules::cancel_intent(store, id, form, moment),
            Self::CreateSession => checkout::create(store, form, moment),
            Self::ExpireSession(id) => checkout::expire(store, id, form, moment),
            Self::CreateRefund => refunds::create(store, form, moment),
        }
    }
}

fn idempotency_key(headers: &HeaderMap, form: &Form, path: &str) -> Result<Option<Key>, Fault> {
    let Some(given) = headers.get("idempotency-key") else { return Ok(None) };
    let key = given.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
    let key =
        key.ok_or_else(|| Fault::invalid("An Idempotency-Key has 1 to 255 visible ASCII characters."))?;
    Ok(Some(Key { key: key.to_owned(), fingerprint: form.fingerprint(path) }))
}

async fn read_body(request: &mut Request) -> Result<Bytes, Fault> {
    let body = request.take_body().into_bytes_limit(BODY_BYTES_MAX).await;
    body.map_err(|_| Fault::invalid("The request's body could not be read or is too large."))
}

async fn read_form(request: &mut Request) -> Result<Form, Fault> {
    Ok(Form::parse(&String::from_utf8_lossy(&read_body(request).await?)))
}

/// Only `application/json`: a browser cannot send that from another site without a preflight request.
async fn read_switches(request: &mut Request) -> Result<Switches, Fault> {
    if !request.content_type().is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(Fault::invalid("Switches are application/json."));
    }
    let switches = serde_json::from_slice(&read_body(request).await?);
    let switches: Switches =
        switches.map_err(|error| Fault::invalid(format!("Invalid switches: {error}")))?;
    match &switches.fail_calls {
        Some(fail) if ![429, 500, 503].contains(&fail.status) => {
            Err(Fault::invalid("fail_calls.status is 429, 500 or 503."))
        }
        _ => Ok(switches),
    }
}

fn refused(fault: &Fault) -> Response {
    let mut response = respond(fault.status, &json!({"error": show_fault(fault, None)}));
    if matches!(fault.status, 429 | 503) {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

fn respond(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let builder = Response::builder().status(status).content_type("application/json");
    builder.header("request-id", new_id("req_")).body(body.to_string())
}
