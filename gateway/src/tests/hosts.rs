//! Hosts in the test's own process: endpoints that answer real requests with set answers, and record each request.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::contract::auth::Role;
use bus::contract::event_feed::WatchEvents;
use bus::contract::{Problem, Request};
use bus::service::Ask;
use bus::token::Identity;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use serde_json::Value;
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::hosts::{Events, Hosts};

/// The text of an answer whose endpoint panics instead.
pub const PANIC: &str = "panic";

pub struct InProcessHosts {
    pub answers: Mutex<HashMap<&'static str, Result<String, Problem>>>,
    pub received: Mutex<Vec<Received>>,
    /// How long an endpoint takes to answer.
    pub delay: Mutex<Duration>,
    /// Change notices by subject.
    pub notices: broadcast::Sender<(String, Bytes)>,
    /// Domains without a host.
    pub missing: Mutex<Vec<&'static str>>,
    /// No token is valid any more.
    pub logins_ended: AtomicBool,
    pub reconnects: watch::Sender<u64>,
}

/// A request as an endpoint received it.
#[derive(Clone)]
pub struct Received {
    pub subject: &'static str,
    pub request: Value,
    pub ask: Ask,
}

impl InProcessHosts {
    pub fn new() -> Self {
        Self {
            answers: Mutex::default(),
            received: Mutex::default(),
            delay: Mutex::new(Duration::from_millis(1)),
            notices: broadcast::Sender::new(1_024),
            missing: Mutex::default(),
            logins_ended: AtomicBool::default(),
            reconnects: watch::Sender::new(0),
        }
    }

    async fn answer(&self, subject: &'static str, payload: &[u8], ask: &Ask) -> Result<Bytes, Problem> {
        let request = serde_json::from_slice(payload).unwrap();
        self.received.lock().unwrap().push(Received { subject, request, ask: ask.clone() });
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        let answer = self.answers.lock().unwrap().get(subject).cloned();
        match answer {
            Some(Ok(json)) if json == PANIC => panic!("an endpoint was set to panic"),
            Some(answer) => answer.map(Bytes::from),
            None => Err(Problem::unavailable("The host is away or slow. Try again shortly.")),
        }
    }

    fn notices(&self, subject: String) -> BoxStream<'static, Bytes> {
        let receiver = self.notices.subscribe();
        futures::stream::unfold(receiver, |mut receiver| async move {
            let notice = receiver.recv().await.ok()?;
            Some((notice, receiver))
        })
        .filter_map(move |(on, payload)| std::future::ready((on == subject).then_some(payload)))
        .boxed()
    }

    fn identity(&self, token: &str) -> Result<Arc<Identity>, Problem> {
        let role = match token {
            _ if self.logins_ended.load(Ordering::Relaxed) => {
                return Err(Problem::unauthorized("token-revoked", "Log in again."));
            }
            "user" => Role::User,
            "admin" => Role::Admin,
            "root" => Role::SuperAdmin,
            "away" => return Err(Problem::unavailable("The auth host is away.")),
            _ => return Err(Problem::unauthorized("token-invalid", "The access token is not valid.")),
        };
        let (email, name) = ("ada@example.org".to_owned(), "Ada".to_owned());
        let (user_id, session_id) = (Uuid::nil(), Uuid::nil());
        let (email_verified, expires_at) = (true, i64::MAX);
        let order = None;
        Ok(Arc::new(Identity { user_id, session_id, email, name, role, email_verified, expires_at, order }))
    }
}

impl Hosts for InProcessHosts {
    fn send<'a>(
        &'a self,
        subject: &'static str,
        payload: Bytes,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Bytes, Problem>> {
        async move { self.answer(subject, &payload, ask).await }.boxed()
    }

    fn subscribe(&self, subject: String) -> BoxFuture<'_, Result<BoxStream<'static, Bytes>, Problem>> {
        let notices = self.notices(subject);
        async move { Ok(notices) }.boxed()
    }

    /// The answer that was set for [`WatchEvents`], then every notice on `events`.
    fn events(&self, _: u64) -> BoxFuture<'_, Result<Events, Problem>> {
        async move {
            let following = self.notices("events".to_owned());
            let last = self.answer(WatchEvents::SUBJECT, b"{}", &Ask::new(bus::Context::new())).await?;
            let following = following.map(|notice| serde_json::from_slice(&notice).unwrap());
            Ok((serde_json::from_slice(&last).unwrap(), following.boxed()))
        }
        .boxed()
    }

    fn verify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Identity>, Problem>> {
        std::future::ready(self.identity(token)).boxed()
    }

    fn reconnects(&self) -> watch::Receiver<u64> {
        self.reconnects.subscribe()
    }

    fn answering<'a>(
        &'a self,
        expected: &'a BTreeSet<&'static str>,
    ) -> BoxFuture<'a, BTreeSet<&'static str>> {
        let missing = self.missing.lock().unwrap();
        let answering = expected.iter().filter(|domain| !missing.contains(domain)).copied().collect();
        std::future::ready(answering).boxed()
    }

    fn is_connected(&self) -> bool {
        true
    }
}
