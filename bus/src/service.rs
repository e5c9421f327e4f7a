//! Requests and answers between hosts over the NATS services API, so that `nats micro ls/info/stats` shows every
//! endpoint with its schemas.
//!
//! An answer is JSON; a rejection is a [`Problem`] with its status in `Nats-Service-Error-Code`. A request that is
//! past its deadline is dropped before it is decided. Hosts that answer share a queue group, so any may.

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
use tokio::sync::Semaphore;
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
}

impl Ask {
    pub fn new(context: Context) -> Self {
        Self { context, token: None, idempotency_key: None, client_ip: None, timeout: ASK_TIMEOUT }
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
        let (span, context) = if trace::is_on() {
            trace::begin(Kind::Client, &format!("ask {subject}"), &ask.context)
        } else {
            (tracing::Span::none(), ask.context.child())
        };
        let message = async_nats::Request::new()
            .headers(ask.headers(&context))
            .payload(payload)
            .timeout(Some(ask.timeout));
        let domain = subject.split('.').nth(1).unwrap_or_default();
        let reply = self.client.send_request(subject.to_owned(), message).await.map_err(|error| {
            trace::fail(&span);
            // Nobody listens: who asked says so where it matters. A host that is there and silent is news.
            if error.kind() == RequestErrorKind::NoResponders {
                tracing::debug!(subject, request_id = ask.context.correlation_id, "nobody answers");
            } else {
                tracing::warn!(subject, %error, request_id = ask.context.correlation_id, "no answer");
            }
            Problem::unavailable(format!("The {domain} host is away or slow. Try again shortly."))
        })?;
        let refused = reply.headers.as_ref().is_some_and(|h| h.get(NATS_SERVICE_ERROR_CODE).is_some());
        if !refused {
            return Ok(reply.payload);
        }
        Err(serde_json::from_slice(&reply.payload).unwrap_or_else(|_| Problem::internal()))
    }
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
        Ok(Self { service, verifier, stop, endpoints: tokio::task::JoinSet::new() })
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
        let verifier = self.verifier.clone();
        let stop = self.stop.clone();
        let handle = Arc::new(handle);
        self.endpoints.spawn(async move {
            let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
            let working = metrics::gauge!("rpc_in_flight", "endpoint" => R::SUBJECT);
            let durations = metrics::histogram!("rpc_duration_seconds", "endpoint" => R::SUBJECT);
            loop {
                let request = tokio::select! {
                    _ = stop.cancelled() => break,
                    request = requests.next() => request,
                };
                let Some(request) = request else { break };
                let permit = in_flight.clone().acquire_owned().await;
                let (verifier, handle) = (verifier.clone(), handle.clone());
                let (working, durations) = (working.clone(), durations.clone());
                tokio::spawn(async move {
                    let _permit = permit;
                    let begun = Instant::now();
                    working.increment(1.0);
                    answer::<R, H, F>(request, &verifier, &*handle).await;
                    working.decrement(1.0);
                    durations.record(begun.elapsed());
                });
            }
            // Requests in work finish and answer before the endpoint is gone.
            let _ = tokio::time::timeout(ASK_TIMEOUT, in_flight.acquire_many(IN_FLIGHT_MAX as u32)).await;
        });
        Ok(())
    }

    /// Waits until every endpoint has ended: after `stop`, or when NATS is gone for good.
    pub async fn ended(mut self) {
        while self.endpoints.join_next().await.is_some() {}
        let _ = self.service.stop().await;
    }
}

async fn answer<R, H, F>(request: async_nats::service::Request, verifier: &Verifier, handle: &H)
where
    R: Request,
    H: Fn(Call<R>) -> F,
    F: Future<Output = Answered>,
{
    let headers = request.message.headers.as_ref();
    let text = |name: &str| headers.and_then(|h| h.get(name)).map(|v| v.as_str().to_owned());
    let (correlation_id, traceparent) = (text(CORRELATION_ID), text(TRACEPARENT));
    let (span, context) =
        trace::enter(Kind::Server, R::SUBJECT, correlation_id.as_deref(), traceparent.as_deref());
    let left = text(DEADLINE).and_then(|ms| ms.parse().ok()).map_or(ASK_TIMEOUT, Duration::from_millis);
    let deadline = Instant::now() + left.min(Duration::from_secs(60));
    let request_id = context.correlation_id.clone();
    let called = async {
        let token = text(AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer ").map(str::to_owned));
        let identity = match &token {
            Some(token) => Some(verifier.verify(token).await?),
            None => None,
        };
        authorize(R::ACCESS, identity.as_deref())?;
        let decoded = decode::<R>(&request.message.payload)?;
        let idempotency_key = text(IDEMPOTENCY_KEY);
        let client_ip = text(CLIENT_IP).and_then(|ip| ip.parse().ok());
        handle(Call { request: decoded, context, identity, token, idempotency_key, client_ip, deadline })
            .await
    };
    let answered = match tokio::time::timeout_at(deadline, called.instrument(span.clone())).await {
        Ok(answered) => answered,
        Err(_) => Err(Problem::unavailable("The answer took too long; the outcome will show.")),
    };
    let sent = match answered {
        Ok(bytes) => request.respond(Ok(bytes)).await,
        Err(problem) => {
            if problem.status >= 500 {
                trace::fail(&span);
            }
            refuse(&request, problem, R::SUBJECT, &request_id).await
        }
    };
    if let Err(error) = sent {
        tracing::warn!(subject = R::SUBJECT, %error, request_id, "answer not sent");
    }
}

async fn refuse(
    request: &async_nats::service::Request,
    mut problem: Problem,
    subject: &str,
    request_id: &str,
) -> Result<(), async_nats::PublishError> {
    if problem.status >= 500 {
        tracing::warn!(subject, request_id, status = problem.status, code = problem.code, "request failed");
    }
    problem.request_id = request_id.to_owned();
    let mut headers = HeaderMap::new();
    headers.insert(NATS_SERVICE_ERROR_CODE, problem.status.to_string().as_str());
    headers.insert(async_nats::service::NATS_SERVICE_ERROR, problem.code.as_str());
    let body = serde_json::to_vec(&problem).expect("a problem is plain data and always serializes");
    // respond_with_headers with Ok keeps the stats' error count at zero; the code is in the header for askers.
    request.respond_with_headers(Ok(body.into()), headers).await
}
