//! Serves requests over the NATS services API, so that `nats micro ls/info/stats` shows every endpoint with its schemas.
//!
//! An answer is JSON; a rejection is a [`Problem`] with its status in `Nats-Service-Error-Code`. A request that is past its
//! deadline is dropped before it is handled. The hosts of a domain share a queue group, so any of them may answer; requests
//! from the same process arrive without NATS ([`crate::in_process`]).

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::service::{NATS_SERVICE_ERROR_CODE, Service, ServiceExt};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::connection::Bus;
use crate::context::Context;
use crate::contract::{Problem, Request, decode};
use crate::failure::Failure;
use crate::in_process::{Endpoint, Handle, InProcess};
use crate::request::{Incoming, Reply};
use crate::token::{Identity, Verifier, authorize};
use crate::trace::{self, Kind};

pub use crate::request::{ASK_TIMEOUT, AUTHORIZATION, Answered, Ask, CLIENT_IP, DEADLINE, IDEMPOTENCY_KEY};

/// Requests that one endpoint of one host processes at once; more wait in the subscription until their deadline.
const IN_FLIGHT_MAX: usize = 1_024;

/// One request as its handler receives it: decoded, validated, its caller authorized.
pub struct Call<R> {
    pub request: R,
    pub context: Context,
    /// Present unless the request's access is public.
    pub identity: Option<Arc<Identity>>,
    /// The caller's token, for further requests in their name.
    pub token: Option<String>,
    pub idempotency_key: Option<String>,
    /// The address of the person whose request caused this one, if any.
    pub client_ip: Option<IpAddr>,
    pub deadline: Instant,
}

impl<R> Call<R> {
    /// The caller, if the request's access demands one.
    pub fn caller(&self) -> Result<&Arc<Identity>, Problem> {
        self.identity
            .as_ref()
            .ok_or_else(|| Problem::unauthorized("token-missing", "This needs a bearer token."))
    }
}

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
    in_process: InProcess,
    verifier: Verifier,
    stop: CancellationToken,
    endpoints: tokio::task::JoinSet<()>,
}

/// Answers the pings of the NATS services API for a process without endpoints, so that `nats micro ls` and `marquee doctor` see
/// it. Runs until `stop`.
pub async fn announce(bus: Bus, name: &str, stop: CancellationToken) -> Result<(), Failure> {
    let description = format!("Marquee {name}");
    let starting =
        bus.client.service_builder().description(description).start(name, env!("CARGO_PKG_VERSION"));
    let service = starting.await.map_err(Failure::transient)?;
    stop.cancelled().await;
    // A connection that is lost has no subscriptions to end.
    let _ = service.stop().await;
    Ok(())
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
        let (in_process, endpoints) = (bus.in_process.clone(), tokio::task::JoinSet::new());
        Ok(Self { service, in_process, verifier, stop, endpoints })
    }

    /// Serves `R` with a function of the state that the domain's endpoints share.
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
        let in_work = metrics::gauge!("rpc_in_flight", "endpoint" => R::SUBJECT);
        let durations = metrics::histogram!("rpc_duration_seconds", "endpoint" => R::SUBJECT);
        let answering: Handle = Arc::new(move |incoming: Incoming| -> BoxFuture<'static, ()> {
            let (verifier, handle) = (verifier.clone(), handle.clone());
            let (in_work, durations) = (in_work.clone(), durations.clone());
            Box::pin(async move {
                let begun = Instant::now();
                in_work.increment(1.0);
                answer::<R, H, F>(incoming, &verifier, &*handle).await;
                in_work.decrement(1.0);
                durations.record(begun.elapsed());
            })
        });
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let (stop, serving) = (self.stop.clone(), self.stop.child_token());
        let endpoint = Endpoint::new(answering.clone(), in_flight.clone(), serving.clone(), R::ACCESS);
        self.in_process.add(R::SUBJECT, endpoint);
        self.endpoints.spawn(async move {
            let _serving = serving.drop_guard();
            loop {
                let request = tokio::select! {
                    _ = stop.cancelled() => break,
                    request = requests.next() => request,
                };
                let Some(request) = request else { break };
                let permit = in_flight.clone().acquire_owned().await;
                let answering = answering(Incoming::from(request));
                tokio::spawn(async move {
                    let _permit = permit;
                    answering.await;
                });
            }
            // Running requests are completed and answered before the endpoint ends.
            let _ = tokio::time::timeout(ASK_TIMEOUT, in_flight.acquire_many(IN_FLIGHT_MAX as u32)).await;
            in_flight.close();
        });
        Ok(())
    }

    /// Waits until every endpoint has ended: after `stop`, or when the connection to NATS is closed for good.
    pub async fn ended(mut self) {
        while self.endpoints.join_next().await.is_some() {}
        let _ = self.service.stop().await;
    }
}

async fn answer<R, H, F>(incoming: Incoming, verifier: &Verifier, handle: &H)
where
    R: Request,
    H: Fn(Call<R>) -> F,
    F: Future<Output = Answered>,
{
    let Incoming { payload, deadline, token, idempotency_key, client_ip, reply, .. } = incoming;
    let (span, mut context) = trace::enter(
        Kind::Server,
        R::SUBJECT,
        incoming.correlation_id.as_deref(),
        incoming.traceparent.as_deref(),
    );
    context.locale = incoming.locale;
    let request_id = context.correlation_id.clone();
    let handling = async {
        let identity = match &token {
            Some(token) => Some(verifier.verify(token).await?),
            None => None,
        };
        authorize(R::ACCESS, R::BY_ORDER_TOKEN, identity.as_deref())?;
        let request = decode::<R>(&payload)?;
        handle(Call { request, context, identity, token, idempotency_key, client_ip, deadline }).await
    };
    let answered = match tokio::time::timeout_at(deadline, handling.instrument(span.clone())).await {
        Ok(answered) => answered,
        Err(_) => Err(Problem::unavailable("The answer took too long; the request may still take effect.")),
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
                Err(problem) => respond_with_problem(&request, &problem).await,
            };
            if let Err(error) = sent {
                tracing::warn!(subject = R::SUBJECT, %error, request_id, "answer not sent");
            }
        }
        // Fails if the caller no longer waits.
        Reply::InProcess(caller) => drop(caller.send(answered)),
    }
}

async fn respond_with_problem(
    request: &async_nats::service::Request,
    problem: &Problem,
) -> Result<(), async_nats::PublishError> {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_SERVICE_ERROR_CODE, problem.status.to_string().as_str());
    headers.insert(async_nats::service::NATS_SERVICE_ERROR, problem.code.as_str());
    let body = serde_json::to_vec(problem).expect("a problem is plain data and always serializes");
    // With `Ok` the statistics count no error for a rejection; callers read the status from the header.
    request.respond_with_headers(Ok(body.into()), headers).await
}
