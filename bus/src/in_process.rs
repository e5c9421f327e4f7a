//! The endpoints of this process: a request to a host in the same process does not pass NATS, which saves two messages and
//! the way through the server. It is decoded, authorized, limited and timed in the same way; only `nats micro stats` does
//! not count it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::contract::Access;
use crate::request::{Answered, Ask, Incoming, NoAnswer, Reply};

/// The endpoints of a process, shared by the [`crate::Bus`]es that may use them. Empty unless it is shared.
#[derive(Clone, Default)]
pub struct InProcess {
    endpoints: Arc<Endpoints>,
    from_outside: bool,
}

#[derive(Default)]
struct Endpoints {
    /// By subject: one for each host of the domain in this process.
    by_subject: RwLock<HashMap<&'static str, Vec<Endpoint>>>,
    /// Requests so far, for the rotation among hosts.
    requests: AtomicUsize,
}

impl InProcess {
    /// The same endpoints without those for requests between hosts: for the gateway, which sends requests from outside.
    pub fn from_outside(&self) -> Self {
        Self { from_outside: true, ..self.clone() }
    }

    pub(crate) fn add(&self, subject: &'static str, endpoint: Endpoint) {
        let mut by_subject = self.endpoints.by_subject.write().unwrap_or_else(|e| e.into_inner());
        let endpoints = by_subject.entry(subject).or_default();
        // Removes the endpoints of a host that was restarted.
        endpoints.retain(Endpoint::is_open);
        endpoints.push(endpoint);
    }

    /// Whether a host of this process serves this subject.
    pub fn answers(&self, subject: &str) -> bool {
        let by_subject = self.endpoints.by_subject.read().unwrap_or_else(|e| e.into_inner());
        by_subject.get(subject).is_some_and(|all| all.iter().any(|endpoint| self.may_use(endpoint)))
    }

    /// An open endpoint of the subject, of each host in turn.
    pub(crate) fn endpoint(&self, subject: &str) -> Option<Endpoint> {
        let by_subject = self.endpoints.by_subject.read().unwrap_or_else(|e| e.into_inner());
        let all = by_subject.get(subject)?;
        let first = self.endpoints.requests.fetch_add(1, Ordering::Relaxed);
        let in_turn = |n| &all[(first + n) % all.len()];
        (0..all.len()).map(in_turn).find(|endpoint| self.may_use(endpoint)).cloned()
    }

    fn may_use(&self, endpoint: &Endpoint) -> bool {
        endpoint.is_open() && !(self.from_outside && endpoint.access == Access::Internal)
    }
}

/// Handles a request and sends the answer.
pub(crate) type Handle = Arc<dyn Fn(Incoming) -> BoxFuture<'static, ()> + Send + Sync>;

/// An endpoint of this process.
#[derive(Clone)]
pub(crate) struct Endpoint {
    handle: Handle,
    /// The limit that it shares with requests over NATS.
    in_flight: Arc<Semaphore>,
    /// Cancelled when it stops.
    stop: CancellationToken,
    access: Access,
}

impl Endpoint {
    pub fn new(handle: Handle, in_flight: Arc<Semaphore>, stop: CancellationToken, access: Access) -> Self {
        Self { handle, in_flight, stop, access }
    }

    fn is_open(&self) -> bool {
        !self.stop.is_cancelled()
    }

    /// Runs in a separate task, so that a cancelled caller does not cancel the request.
    pub async fn ask(&self, payload: Bytes, ask: &Ask, context: Context) -> Result<Answered, NoAnswer> {
        let deadline = Instant::now() + ask.timeout;
        let (reply, answer) = oneshot::channel();
        let incoming = Incoming {
            payload,
            correlation_id: Some(context.correlation_id),
            traceparent: Some(context.traceparent),
            locale: ask.context.locale,
            deadline,
            token: ask.token.clone(),
            idempotency_key: ask.idempotency_key.clone(),
            client_ip: ask.client_ip,
            reply: Reply::InProcess(reply),
        };
        let (handle, in_flight) = (self.handle.clone(), self.in_flight.clone());
        tokio::spawn(async move {
            // A request that waited until its deadline is dropped.
            if let Ok(Ok(_permit)) = tokio::time::timeout_at(deadline, in_flight.acquire_owned()).await {
                handle(incoming).await;
            }
        });
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(_)) => Err(NoAnswer::Failed("the handler ended without an answer".to_owned())),
            Err(_) => Err(NoAnswer::Failed("timed out".to_owned())),
        }
    }
}
