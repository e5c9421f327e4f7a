//! The endpoints of this process: an asker that lives beside a host asks it without NATS, which saves two messages
//! and their way through the server. Decoded, authorized, limited and timed alike; `nats micro stats` does not count it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Answered, Ask, Question, Reply, Silence};
use crate::Context;
use crate::contract::Access;

/// Shared by the [`crate::Bus`]es of one process whose hosts may be asked so. Empty unless somebody shares it.
#[derive(Clone, Default)]
pub struct Nearby {
    endpoints: Arc<Endpoints>,
    outside: bool,
}

#[derive(Default)]
struct Endpoints {
    /// By subject: one for each host of the domain that runs here.
    known: RwLock<HashMap<&'static str, Vec<Endpoint>>>,
    asked: AtomicUsize,
}

impl Nearby {
    /// The same for who speaks for people outside: what only hosts may ask is not here for them.
    pub fn from_outside(&self) -> Self {
        Self { outside: true, ..self.clone() }
    }

    pub(super) fn add(&self, subject: &'static str, endpoint: Endpoint) {
        let mut known = self.endpoints.known.write().unwrap_or_else(|e| e.into_inner());
        let endpoints = known.entry(subject).or_default();
        // Those of a host that was restarted.
        endpoints.retain(Endpoint::takes_more);
        endpoints.push(endpoint);
    }

    /// Whether somebody here takes requests of this subject.
    pub fn answers(&self, subject: &str) -> bool {
        let known = self.endpoints.known.read().unwrap_or_else(|e| e.into_inner());
        known.get(subject).is_some_and(|all| all.iter().any(|endpoint| self.may_ask(endpoint)))
    }

    /// One that takes requests, each host in turn.
    pub(super) fn endpoint(&self, subject: &str) -> Option<Endpoint> {
        let known = self.endpoints.known.read().unwrap_or_else(|e| e.into_inner());
        let all = known.get(subject)?;
        let first = self.endpoints.asked.fetch_add(1, Ordering::Relaxed);
        let turn = |n| &all[(first + n) % all.len()];
        (0..all.len()).map(turn).find(|endpoint| self.may_ask(endpoint)).cloned()
    }

    fn may_ask(&self, endpoint: &Endpoint) -> bool {
        endpoint.takes_more() && !(self.outside && endpoint.access == Access::Internal)
    }
}

/// An endpoint as a neighbour sees it.
#[derive(Clone)]
pub(super) struct Endpoint {
    work: Arc<dyn Fn(Question) -> BoxFuture<'static, ()> + Send + Sync>,
    /// The same limit as for what comes over NATS.
    in_flight: Arc<Semaphore>,
    /// Cancelled when it takes no more.
    stop: CancellationToken,
    access: Access,
}

impl Endpoint {
    pub fn new(
        work: Arc<dyn Fn(Question) -> BoxFuture<'static, ()> + Send + Sync>,
        in_flight: Arc<Semaphore>,
        stop: CancellationToken,
        access: Access,
    ) -> Self {
        Self { work, in_flight, stop, access }
    }

    fn takes_more(&self) -> bool {
        !self.stop.is_cancelled()
    }

    /// In a task of its own: an asker that goes away undoes nothing.
    pub async fn ask(&self, payload: Bytes, ask: &Ask, context: Context) -> Result<Answered, Silence> {
        let deadline = Instant::now() + ask.timeout;
        let (reply, answer) = oneshot::channel();
        let question = Question {
            payload,
            correlation_id: Some(context.correlation_id),
            traceparent: Some(context.traceparent),
            deadline,
            token: ask.token.clone(),
            idempotency_key: ask.idempotency_key.clone(),
            client_ip: ask.client_ip,
            reply: Reply::Nearby(reply),
        };
        let (work, in_flight) = (self.work.clone(), self.in_flight.clone());
        tokio::spawn(async move {
            // Whoever waits for too long is gone when its turn comes.
            if let Ok(Ok(_permit)) = tokio::time::timeout_at(deadline, in_flight.acquire_owned()).await {
                work(question).await;
            }
        });
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(_)) => Err(Silence::NoAnswer("its work ended without one".to_owned())),
            Err(_) => Err(Silence::NoAnswer("timed out".to_owned())),
        }
    }
}
