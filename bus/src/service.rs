//! Requests and answers between hosts over the NATS services API, so that `nats micro ls/info/stats` shows every
//! endpoint with its schemas.
//!
//! An answer is JSON; a rejection is a [`Problem`] with its status in `Nats-Service-Error-Code`. A request that is
//! past its deadline is dropped before it is decided. Hosts that answer share a queue group, so any may; one that lives in
//! the asker's own process is asked without NATS ([`nearby`]).

pub mod nearby;

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::RequestErrorKind;
use async_nats::service::{NATS_SERVICE_ERROR_CODE, Service, ServiceExt};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::context::{CORRELATION_ID, TRACEPARENT};
use crate::contract::{Problem, Request, decode};
use crate::token::{Identity, Verifier, authorize};
use crate::trace::{self, Kind};
use crate::{Bus, Context, Failure};

pub const AUTHORIZATION: &str = "Authorization";
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
pub const DEADLINE: &str = "X-Deadline-Ms";
/// The address that a request came from, as the gateway saw it; nobody else sets it.
pub const CLIENT_IP: &str = "X-Client-Ip";

/// How long an asker waits unless told otherwise: beyond it a moviegoer has pressed reload.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests of one endpoint that one host works on at once; more wait in the subscription until their deadline.
const IN_FLIGHT_MAX: usize = 1_024;

/// With what a request is sent.
#[derive(Debug, Clone)]
pub struct Ask {
    pub context: Context,
    /// The caller's own bearer token, never a host's.
    pub token: Option<String>,
    pub idempotency_key: Option<String>,
    /// Who is at the other end of the wire; absent when no person's request caused it.
    pub client_ip: Option<IpAddr>,
    pub timeout: Duration,
    /// Behind all that this connection sent before, a subscription above all: it hears of everything that changes after
    /// the answer. So it goes over NATS also where a neighbour could answer, unless NATS is away and nothing is heard anyway.
    pub ordered: bool,
}

impl Ask {
    pub fn new(context: Context) -> Self {
        Self {
            context,
            token: None,
            idempotency_key: None,
            client_ip: None,
            timeout: ASK_TIMEOUT,
            ordered: false,
        }
    }

    fn headers(&self, context: &Context) -> HeaderMap {
        let mut headers = HeaderMap::new();
        context.write(&mut headers);
        headers.insert(DEADLINE, self.timeout.as_millis().to_string().as_str());
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, format!("Bearer {token}").as_str());
        }
        if let Some(key) = &self.idempotency_key {
            headers.insert(IDEMPOTENCY_KEY, key.as_str());
        }
        if let Some(ip) = &self.client_ip {
            headers.insert(CLIENT_IP, ip.to_string().as_str());
        }
        headers
    }
}

impl Bus {
    /// Asks and reads the answer.
    pub async fn ask<R: Request>(&self, request: &R, ask: &Ask) -> Result<R::Answer, Problem> {
        let bytes = self.ask_raw(request, ask).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            tracing::error!(subject = R::SUBJECT, %error, "unreadable answer");
            Problem::internal()
        })
    }

    /// Asks and returns the answer's bytes as the host wrote them. 503 when no host listens or none answers in
    /// time; after a time-out the outcome is unknown.
    pub async fn ask_raw<R: Request>(&self, request: &R, ask: &Ask) -> Result<Bytes, Problem> {
        let payload =
            serde_json::to_vec(request).expect("contract types are plain data and always serialize");
        self.ask_at(R::SUBJECT, payload.into(), ask).await
    }

    /// The same for a request that is known by its subject alone.
    pub async fn ask_at(&self, subject: &str, payload: Bytes, ask: &Ask) -> Result<Bytes, Problem> {
        let (span, context) = match trace::is_on() {
            true => trace::begin(Kind::Client, format_args!("ask {subject}"), &ask.context),
            false => (tracing::Span::none(), ask.context.clone()),
        };
        let by_nats = ask.ordered && self.is_connected();
        let neighbour = if by_nats { None } else { self.nearby.endpoint(subject) };
        let answered = match neighbour {
            Some(endpoint) => endpoint.ask(payload, ask, context).await,
            None => self.ask_over_nats(subject, payload, ask, &context).await,
        };
        answered.unwrap_or_else(|silence| {
            trace::fail(&span);
            let request_id = &ask.context.correlation_id;
            // Nobody listens: who asked says so where it matters. A host that is there and silent is news.
            match silence {
                Silence::Nobody => tracing::debug!(subject, request_id, "nobody answers"),
                Silence::NoAnswer(why) => tracing::warn!(subject, why, request_id, "no answer"),
            }
            let domain = subject.split('.').nth(1).unwrap_or_default();
            Err(Problem::unavailable(format!("The {domain} host is away or slow. Try again shortly.")))
        })
    }

    async fn ask_over_nats(
        &self,
        subject: &str,
        payload: Bytes,
        ask: &Ask,
        context: &Context,
    ) -> Result<Answered, Silence> {
        let message = async_nats::Request::new()
            .headers(ask.headers(context))
            .payload(payload)
            .timeout(Some(ask.timeout));
        let reply =
            self.client.send_request(subject.to_owned(), message).await.map_err(|error| {
                match error.kind() {
                    RequestErrorKind::NoResponders => Silence::Nobody,
                    _ => Silence::NoAnswer(error.to_string()),
                }
            })?;
        let refused = reply.headers.as_ref().is_some_and(|h| h.get(NATS_SERVICE_ERROR_CODE).is_some());
        if !refused {
            return Ok(Ok(reply.payload));
        }
        Ok(Err(serde_json::from_slice(&reply.payload).unwrap_or_else(|_| Problem::internal())))
    }
}

/// Why an asker hears nothing.
enum Silence {
    Nobody,
    NoAnswer(String),
}

/// One request as its handler gets it: decoded, validated, its caller authorized.
pub struct Call<R> {
    pub request: R,
    pub context: Context,
    /// Present whenever the request's access is not public.
    pub identity: Option<Arc<Identity>>,
    /// The caller's token, for asking further in their name.
    pub token: Option<String>,
    pub idempotency_key: Option<String>,
    /// Where the person's request came from, where one caused this.
    pub client_ip: Option<IpAddr>,
    pub deadline: Instant,
}

impl<R> Call<R> {
    /// The caller, where the request's access demands one.
    pub fn caller(&self) -> Result<&Arc<Identity>, Problem> {
        self.identity
            .as_ref()
            .ok_or_else(|| Problem::unauthorized("token-missing", "This needs a bearer token."))
    }
}

/// A handler's answer: JSON bytes, or why not.
pub type Answered = Result<Bytes, Problem>;

/// Serializes a handler's answer.
pub fn json<T: serde::Serialize>(answer: &T) -> Answered {
    serde_json::to_vec(answer).map(Bytes::from).map_err(|error| {
        tracing::error!(%error, "answer not serializable");
        Problem::internal()
    })
}

/// A domain's NATS service. Endpoints are served until `stop`.
pub struct Server {
    service: Service,
    nearby: nearby::Nearby,
    verifier: Verifier,
    stop: CancellationToken,
    endpoints: tokio::task::JoinSet<()>,
}

impl Server {
    pub async fn start(
        bus: &Bus,
        domain: &str,
        verifier: Verifier,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        let service = bus
            .client
            .service_builder()
            .description(format!("Marquee {domain}"))
            .queue_group(domain)
            .start(domain, env!("CARGO_PKG_VERSION"))
            .await
            .map_err(Failure::transient)?;
        let (nearby, endpoints) = (bus.nearby.clone(), tokio::task::JoinSet::new());
        Ok(Self { service, nearby, verifier, stop, endpoints })
    }

    /// Serves `R` with a function of what the domain's endpoints share.
    pub async fn serve_with<S, R, H, F>(&mut self, shared: &S, handle: H) -> Result<(), Failure>
    where
        S: Clone + Send + Sync + 'static,
        R: Request,
        H: Fn(S, Call<R>) -> F + Send + Sync + 'static,
        F: Future<Output = Answered> + Send + 'static,
    {
        let shared = shared.clone();
        self.serve(move |call| handle(shared.clone(), call)).await
    }

    /// Serves `R` with `handle`, each request in its own task.
    pub async fn serve<R, H, F>(&mut self, handle: H) -> Result<(), Failure>
    where
        R: Request,
        H: Fn(Call<R>) -> F + Send + Sync + 'static,
        F: Future<Output = Answered> + Send + 'static,
    {
        let schema = |schema: schemars::Schema| serde_json::to_string(&schema).unwrap_or_default();
        let metadata = HashMap::from([
            ("request".to_owned(), schema(schemars::schema_for!(R))),
            ("response".to_owned(), schema(schemars::schema_for!(R::Answer))),
            ("access".to_owned(), R::ACCESS.name().to_owned()),
        ]);
        let mut requests = self
            .service
            .endpoint_builder()
            .name(R::SUBJECT.rsplit('.').next().unwrap_or(R::SUBJECT))
            .metadata(metadata)
            .add(R::SUBJECT)
            .await
            .map_err(Failure::transient)?;
        let (verifier, handle) = (self.verifier.clone(), Arc::new(handle));
        let working = metrics::gauge!("rpc_in_flight", "endpoint" => R::SUBJECT);
        let durations = metrics::histogram!("rpc_duration_seconds", "endpoint" => R::SUBJECT);
        let work = Arc::new(move |question: Question| -> BoxFuture<'static, ()> {
            let (verifier, handle) = (verifier.clone(), handle.clone());
            let (working, durations) = (working.clone(), durations.clone());
            Box::pin(async move {
                let begun = Instant::now();
                working.increment(1.0);
                answer::<R, H, F>(question, &verifier, &*handle).await;
                working.decrement(1.0);
                durations.record(begun.elapsed());
            })
        });
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let (stop, serving) = (self.stop.clone(), self.stop.child_token());
        let endpoint = nearby::Endpoint::new(work.clone(), in_flight.clone(), serving.clone(), R::ACCESS);
        self.nearby.add(R::SUBJECT, endpoint);
        self.endpoints.spawn(async move {
            let _serving = serving.drop_guard();
            loop {
                let request = tokio::select! {
                    _ = stop.cancelled() => break,
                    request = requests.next() => request,
                };
                let Some(request) = request else { break };
                let permit = in_flight.clone().acquire_owned().await;
                let work = work(Question::from(request));
                tokio::spawn(async move {
                    let _permit = permit;
                    work.await;
                });
            }
            // Requests in work finish and answer before the endpoint is gone.
            let _ = tokio::time::timeout(ASK_TIMEOUT, in_flight.acquire_many(IN_FLIGHT_MAX as u32)).await;
            in_flight.close();
        });
        Ok(())
    }

    /// Waits until every endpoint has ended: after `stop`, or when NATS is gone for good.
    pub async fn ended(mut self) {
        while self.endpoints.join_next().await.is_some() {}
        let _ = self.service.stop().await;
    }
}

/// A request as it came, from wherever.
struct Question {
    payload: Bytes,
    correlation_id: Option<String>,
    traceparent: Option<String>,
    deadline: Instant,
    token: Option<String>,
    idempotency_key: Option<String>,
    client_ip: Option<IpAddr>,
    reply: Reply,
}

/// Where the answer goes.
enum Reply {
    Nats(Box<async_nats::service::Request>),
    Nearby(oneshot::Sender<Answered>),
}

impl From<async_nats::service::Request> for Question {
    fn from(request: async_nats::service::Request) -> Self {
        let headers = request.message.headers.as_ref();
        let text = |name: &str| headers.and_then(|h| h.get(name)).map(|v| v.as_str());
        let left = text(DEADLINE).and_then(|ms| ms.parse().ok()).map_or(ASK_TIMEOUT, Duration::from_millis);
        Self {
            payload: request.message.payload.clone(),
            correlation_id: text(CORRELATION_ID).map(str::to_owned),
            traceparent: text(TRACEPARENT).map(str::to_owned),
            deadline: Instant::now() + left.min(Duration::from_secs(60)),
            token: text(AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer ")).map(str::to_owned),
            idempotency_key: text(IDEMPOTENCY_KEY).map(str::to_owned),
            client_ip: text(CLIENT_IP).and_then(|ip| ip.parse().ok()),
            reply: Reply::Nats(Box::new(request)),
        }
    }
}

async fn answer<R, H, F>(question: Question, verifier: &Verifier, handle: &H)
where
    R: Request,
    H: Fn(Call<R>) -> F,
    F: Future<Output = Answered>,
{
    let Question { payload, deadline, token, idempotency_key, client_ip, reply, .. } = question;
    let (span, context) = trace::enter(
        Kind::Server,
        R::SUBJECT,
        question.correlation_id.as_deref(),
        question.traceparent.as_deref(),
    );
    let request_id = context.correlation_id.clone();
    let called = async {
        let identity = match &token {
            Some(token) => Some(verifier.verify(token).await?),
            None => None,
        };
        authorize(R::ACCESS, identity.as_deref())?;
        let request = decode::<R>(&payload)?;
        handle(Call { request, context, identity, token, idempotency_key, client_ip, deadline }).await
    };
    let answered = match tokio::time::timeout_at(deadline, called.instrument(span.clone())).await {
        Ok(answered) => answered,
        Err(_) => Err(Problem::unavailable("The answer took too long; the outcome will show.")),
    };
    let answered = answered.map_err(|mut problem| {
        if problem.status >= 500 {
            trace::fail(&span);
            let (status, code) = (problem.status, &problem.code);
            tracing::warn!(subject = R::SUBJECT, request_id, status, code, "request failed");
        }
        problem.request_id.clone_from(&request_id);
        problem
    });
    match reply {
        Reply::Nats(request) => {
            let sent = match answered {
                Ok(bytes) => request.respond(Ok(bytes)).await,
                Err(problem) => refuse(&request, &problem).await,
            };
            if let Err(error) = sent {
                tracing::warn!(subject = R::SUBJECT, %error, request_id, "answer not sent");
            }
        }
        // An asker that has gone waits for nothing.
        Reply::Nearby(asker) => drop(asker.send(answered)),
    }
}

async fn refuse(
    request: &async_nats::service::Request,
    problem: &Problem,
) -> Result<(), async_nats::PublishError> {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_SERVICE_ERROR_CODE, problem.status.to_string().as_str());
    headers.insert(async_nats::service::NATS_SERVICE_ERROR, problem.code.as_str());
    let body = serde_json::to_vec(problem).expect("a problem is plain data and always serializes");
    // respond_with_headers with Ok keeps the stats' error count at zero; the code is in the header for askers.
    request.respond_with_headers(Ok(body.into()), headers).await
}
