//! What every domain needs, written once: its registration, the tools that its endpoints and consumer work with, requests
//! that are answered once for each idempotency key, decisions that are made again when their rows changed, and the loop of
//! a consumer.
//!
//! Invariant: a request that is sent again with its `Idempotency-Key` gets the first answer, byte for byte.
//! Invariant: an event is acknowledged only after the change that it causes is committed.

use std::future::Future;
use std::sync::Arc;

use bus::config::Environment;
use bus::consumer::Delivery;
use bus::contract::reservation::idempotency_mismatch;
use bus::contract::{Event, Request, Timestamp};
use bus::event::Outgoing;
use bus::service::{Answered, Call, json};
use bus::token::Verifier;
use bus::topology::ConsumerSpec;
use bus::{Bus, Context, Failure, Problem};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, LocalBoxFuture};
use serde::Serialize;
use sqlx::PgPool;
use sqlx::migrate::Migrator;

use crate::config::HostConfig;
use crate::delivery::{
    Change, Clock, IdempotencyKey, IdempotencyWrite, Journal, Outcome, Reads, Rows, StoredAnswer,
    request_hash, stored_answers,
};
use crate::host::{DomainBuilder, Host};

/// How often a decision is made again because others changed its rows: few people change the same thing at once.
const TRIES_MAX: usize = 8;

/// A domain as it is registered in [`crate::DOMAINS`]: hosts, migrations, roles, permissions and documents follow from it.
#[derive(Clone, Copy)]
pub struct Domain {
    /// Also the name of its hosts, its schema, its consumer, its NATS user and the source of its events.
    pub name: &'static str,
    pub consumer: Option<ConsumerSpec>,
    /// The subjects of its events.
    pub publishes: &'static [&'static str],
    /// `None` for a domain that stores nothing.
    pub migrations: Option<&'static Migrator>,
    /// Reads the settings of a host and notes what is wrong with them in the environment.
    pub configure: fn(&mut Environment) -> Start,
}

/// Connects and starts a host with settings that were read before. A process with several hosts passes their shared
/// verifier.
pub type Start = Box<dyn FnOnce(Bus, Option<Verifier>) -> LocalBoxFuture<'static, anyhow::Result<Host>>>;

/// [`Domain::configure`] of a domain with a database.
pub fn configure<S, F>(
    name: &'static str,
    environment: &mut Environment,
    read: fn(&mut Environment) -> S,
    spawn: fn(DomainBuilder, S) -> F,
) -> Start
where
    S: 'static,
    F: Future<Output = anyhow::Result<Host>> + 'static,
{
    let (config, settings) = (HostConfig::read(environment), read(environment));
    Box::new(move |bus, verifier| {
        async move {
            let builder = match verifier {
                Some(verifier) => {
                    verifier.add(&config.jwt_public_keys);
                    DomainBuilder::connect_with(&config, bus, name, verifier).await?
                }
                None => DomainBuilder::connect(&config, bus, name).await?,
            };
            spawn(builder, settings).await
        }
        .boxed_local()
    })
}

/// What the endpoints and the consumer of a domain work with.
pub struct Tools<R: Rows> {
    /// The domain's name.
    pub domain: &'static str,
    pub bus: Bus,
    pub pool: PgPool,
    pub clock: Clock,
    pub journal: Journal<R>,
    /// The answers that idempotency keys have.
    pub answers: Reads<IdempotencyKey, StoredAnswer>,
}

impl<R: Rows> Tools<R> {
    pub fn new(builder: &DomainBuilder, journal: Journal<R>) -> Self {
        let pool = builder.database.pool.clone();
        Self {
            domain: builder.domain,
            bus: builder.bus.clone(),
            clock: builder.clock.clone(),
            journal,
            answers: stored_answers(pool.clone()),
            pool,
        }
    }

    /// An event of this domain, as it is published.
    pub fn event<E: Event>(&self, event: &E, at: Timestamp, context: &Context) -> Outgoing {
        Outgoing::new(self.domain, event, at, context)
    }
}

/// A request's idempotency key, with the hash of the request that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    pub key: IdempotencyKey,
    pub request_hash: [u8; 32],
}

impl RequestKey {
    /// `None` for a request without an `Idempotency-Key`.
    pub fn of<Q: Request>(call: &Call<Q>) -> Result<Option<Self>, Problem> {
        let Some(key) = call.idempotency_key.clone() else { return Ok(None) };
        let key = IdempotencyKey { user_id: call.caller()?.user_id, route: Q::SUBJECT, key };
        Ok(Some(Self { key, request_hash: request_hash(&call.request)? }))
    }

    /// Claims the key together with the change that the request causes. Without a response the request is still running.
    pub fn claim(&self, response: Option<Bytes>) -> IdempotencyWrite {
        IdempotencyWrite::Claim { key: self.key.clone(), request_hash: self.request_hash, response }
    }

    /// The first answer; `None` while the first request is still running. Refused when the key belongs to another request.
    pub fn replay(&self, stored: StoredAnswer) -> Result<Option<Bytes>, Problem> {
        if stored.request_hash != self.request_hash {
            return Err(idempotency_mismatch());
        }
        Ok(stored.response)
    }
}

/// What a request comes to: the answer, and what is written and published before it is given.
pub struct Decision<R> {
    pub answer: Bytes,
    /// `None` where nothing is left to do.
    pub write: Option<R>,
    pub events: Vec<Outgoing>,
}

impl<R> Decision<R> {
    pub fn new(answer: &impl Serialize, write: R, events: Vec<Outgoing>) -> Result<Self, Problem> {
        Ok(Self { answer: json(answer)?, write: Some(write), events })
    }

    pub fn unchanged(answer: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self { answer: json(answer)?, write: None, events: Vec::new() })
    }
}

/// Others changed the rows of a decision each time that it was made.
#[derive(Debug, Clone, Copy)]
pub struct Contended;

impl From<Contended> for Problem {
    fn from(_: Contended) -> Self {
        Problem::unavailable("Others are changing the same thing at this moment. Please try again.")
    }
}

impl From<Contended> for Failure {
    fn from(_: Contended) -> Self {
        Failure::transient("others changed the same rows each time")
    }
}

/// Tries until `attempt` returns a value. It returns `None` when others changed the rows that it had read; the next try
/// reads them again.
pub async fn until_current<T, E, F>(attempt: impl Fn() -> F) -> Result<T, E>
where
    E: From<Contended>,
    F: Future<Output = Result<Option<T>, E>>,
{
    for _ in 0..TRIES_MAX {
        if let Some(value) = attempt().await? {
            return Ok(value);
        }
    }
    Err(Contended.into())
}

impl<R: Rows> Tools<R>
where
    R::Rejection: Into<Problem>,
{
    /// Writes a change that a request causes. `None`: others changed the rows that it rests on, nothing was written.
    pub async fn commit(&self, change: Change<R>) -> Result<Option<R::Written>, Problem> {
        match self.journal.commit(change).await {
            Outcome::Committed { written, .. } => Ok(Some(written)),
            Outcome::Stale => Ok(None),
            Outcome::Rejected(rejection) => Err(rejection.into()),
            Outcome::Failed(failure) => Err(failure.into()),
            Outcome::Repeated(_) => Err(self.unexpected("a change without a key was a repeat")),
        }
    }

    /// Answers a request that changes something: decides by the rows as they are, writes, and decides again where they
    /// changed in between. With an `Idempotency-Key` the first answer is stored with the change and given again, also
    /// when the request could not be decided any more.
    pub async fn change<Q, F>(&self, call: &Call<Q>, decide: impl Fn() -> F) -> Answered
    where
        Q: Request,
        F: Future<Output = Result<Decision<R>, Problem>>,
    {
        let Some(key) = RequestKey::of(call)? else {
            return until_current(|| async { self.write(decide().await?, None).await }).await;
        };
        if let Some(first) = self.first_answer(&key).await? {
            return Ok(first);
        }
        let answered = until_current(|| async { self.write(decide().await?, Some(&key)).await }).await;
        match answered {
            Ok(answer) => Ok(answer),
            // The same request, sent twice at once, may be the reason for the refusal.
            Err(refusal) => match self.first_answer(&key).await {
                Ok(Some(first)) => Ok(first),
                _ => Err(refusal),
            },
        }
    }

    async fn write(&self, decision: Decision<R>, key: Option<&RequestKey>) -> Result<Option<Bytes>, Problem> {
        let Decision { answer, write, events } = decision;
        let Some(write) = write else { return Ok(Some(answer)) };
        let idempotency = key.map(|key| key.claim(Some(answer.clone())));
        let change = Change { idempotency, outbox: events, ..Change::new(write) };
        match (self.journal.commit(change).await, key) {
            (Outcome::Committed { .. }, _) => Ok(Some(answer)),
            (Outcome::Stale, _) => Ok(None),
            (Outcome::Rejected(rejection), _) => Err(rejection.into()),
            (Outcome::Failed(failure), _) => Err(failure.into()),
            (Outcome::Repeated(first), Some(key)) => self.answer_of(key, first).map(Some),
            (Outcome::Repeated(_), None) => Err(self.unexpected("a change without a key was a repeat")),
        }
    }

    async fn first_answer(&self, key: &RequestKey) -> Result<Option<Bytes>, Problem> {
        match self.answers.get(key.key.clone()).await? {
            Some(first) => self.answer_of(key, first).map(Some),
            None => Ok(None),
        }
    }

    fn answer_of(&self, key: &RequestKey, first: StoredAnswer) -> Answered {
        let answer = key.replay(first)?;
        answer.ok_or_else(|| self.unexpected("the answer is written with the key, but there is none"))
    }

    fn unexpected(&self, what: &'static str) -> Problem {
        tracing::error!(domain = self.domain, what, "a change ended unexpectedly");
        Problem::internal()
    }
}

/// How a change that an event causes ended.
pub enum Handled<R: Rows> {
    /// It is committed.
    Done,
    /// Others changed the rows that it rests on; nothing was written.
    Stale,
    Rejected(R::Rejection),
}

impl<R: Rows> Tools<R> {
    /// Writes a change that an event causes. An event may come again: the rows of the change must make a copy harmless, by a
    /// version, a unique name or a natural key.
    pub async fn commit_event(&self, change: Change<R>) -> Result<Handled<R>, Failure> {
        match self.journal.commit(change).await {
            Outcome::Committed { .. } => Ok(Handled::Done),
            Outcome::Stale => Ok(Handled::Stale),
            Outcome::Rejected(rejection) => Ok(Handled::Rejected(rejection)),
            Outcome::Failed(failure) => Err(failure),
            Outcome::Repeated(_) => Err(Failure::poison("an event has no idempotency key")),
        }
    }
}

/// Handles one event. `Ok` acknowledges it, a transient failure has it delivered again later, poison parks it.
pub type Handle<S> = for<'a> fn(&'a S, &'a Delivery) -> BoxFuture<'a, Result<(), Failure>>;

/// Handles each message of a consumer in a task of its own, and settles it by the result. The consumer's places
/// (`bus::consumer`) bound the number of tasks.
pub fn consume<S>(shared: &S, handle: Handle<S>) -> Arc<dyn Fn(Delivery) + Send + Sync>
where
    S: Clone + Send + Sync + 'static,
{
    let shared = shared.clone();
    Arc::new(move |delivery| {
        let shared = shared.clone();
        tokio::spawn(async move {
            match handle(&shared, &delivery).await {
                Ok(()) => delivery.ack(),
                Err(failure) => delivery.fail(failure),
            }
        });
    })
}

/// An event that the consumer did not subscribe to.
pub fn unknown_event(consumer: &str, delivery: &Delivery) -> Failure {
    Failure::poison(format!("the consumer {consumer} does not handle {}", delivery.subject))
}
