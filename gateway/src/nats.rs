//! [`Hosts`] over NATS, or without it where the host runs in the same process.
//!
//! Invariant: no other file of this crate speaks NATS.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bus::contract::Problem;
use bus::service::Ask;
use bus::token::{Identity, Verifier};
use bus::{Bus, dead_letter, event_feed};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Semaphore, watch};

use crate::hosts::{Events, Hosts};

/// Requests in flight. A host works on 1,024 of one endpoint; beyond this a queue would only grow, and its requests
/// would time out before their answers come.
const IN_FLIGHT_MAX: usize = 2_048;

/// A host answers a ping within a millisecond; one that needs longer than this counts as absent.
const PING_MAX: Duration = Duration::from_millis(300);

/// A restarted NATS server is back within a second; after this a request fails with 503.
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// The hosts as a process of the deployment reaches them.
pub struct NatsHosts {
    bus: Bus,
    verifier: Verifier,
    in_flight: Semaphore,
}

impl NatsHosts {
    pub fn new(bus: Bus, verifier: Verifier) -> Self {
        Self { bus, verifier, in_flight: Semaphore::new(IN_FLIGHT_MAX) }
    }

    async fn request(&self, subject: &'static str, payload: Bytes, ask: &Ask) -> Result<Bytes, Problem> {
        let Ok(_permit) = self.in_flight.try_acquire() else {
            metrics::counter!("gateway_overloaded_total").increment(1);
            return Err(Problem {
                code: "overloaded".into(),
                ..Problem::unavailable("Too many requests at once.")
            });
        };
        if dead_letter::is_request(subject) {
            // No host answers these: the stream of dead letters is read from here.
            self.wait_until_connected().await?;
            return dead_letter::answer(&self.bus, subject, &payload, &ask.context).await;
        }
        if !self.bus.in_process.answers(subject) {
            self.wait_until_connected().await?;
        }
        self.bus.ask_at(subject, payload, ask).await
    }

    /// Fails unless the connection is there or comes back soon. Without this check the client would buffer a request
    /// while disconnected and send it long after its caller got a 503.
    async fn wait_until_connected(&self) -> Result<(), Problem> {
        if self.bus.is_connected() {
            return Ok(());
        }
        let mut connections = self.bus.connections();
        match tokio::time::timeout(RECONNECT_MAX, connections.wait_for(|_| self.bus.is_connected())).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Problem::unavailable("The connection to the hosts is lost. Try again shortly.")),
        }
    }

    /// Pings every service at once (NATS services API) until all expected ones have answered or the time is up.
    async fn ping(&self, expected: &BTreeSet<&'static str>) -> anyhow::Result<BTreeSet<&'static str>> {
        #[derive(serde::Deserialize)]
        struct Pong<'a> {
            name: &'a str,
        }
        let client = &self.bus.client;
        let inbox = client.new_inbox();
        let mut pongs = client.subscribe(inbox.clone()).await?;
        client.publish_with_reply("$SRV.PING", inbox, Bytes::new()).await?;
        let mut answering = BTreeSet::new();
        let deadline = tokio::time::Instant::now() + PING_MAX;
        while answering.len() < expected.len()
            && let Ok(Some(pong)) = tokio::time::timeout_at(deadline, pongs.next()).await
        {
            let pong = serde_json::from_slice::<Pong<'_>>(&pong.payload);
            answering.extend(pong.ok().and_then(|pong| expected.get(pong.name)));
        }
        Ok(answering)
    }
}

impl Hosts for NatsHosts {
    fn send<'a>(
        &'a self,
        subject: &'static str,
        payload: Bytes,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Bytes, Problem>> {
        self.request(subject, payload, ask).boxed()
    }

    fn subscribe(&self, subject: String) -> BoxFuture<'_, Result<BoxStream<'static, Bytes>, Problem>> {
        async move {
            match self.bus.client.subscribe(subject).await {
                Ok(notices) => Ok(notices.map(|message| message.payload).boxed()),
                Err(error) => {
                    tracing::warn!(%error, "cannot subscribe to change notices");
                    Err(Problem::unavailable("Live changes are not available. Try again shortly."))
                }
            }
        }
        .boxed()
    }

    fn events(&self, max: u64) -> BoxFuture<'_, Result<Events, Problem>> {
        async move {
            let following = event_feed::listen(&self.bus).await?;
            Ok((event_feed::last(&self.bus, max).await?, following))
        }
        .boxed()
    }

    fn verify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Identity>, Problem>> {
        self.verifier.verify(token).boxed()
    }

    fn reconnects(&self) -> watch::Receiver<u64> {
        self.bus.connections()
    }

    fn answering<'a>(
        &'a self,
        expected: &'a BTreeSet<&'static str>,
    ) -> BoxFuture<'a, BTreeSet<&'static str>> {
        async move { self.ping(expected).await.unwrap_or_default() }.boxed()
    }

    fn is_connected(&self) -> bool {
        self.bus.is_connected()
    }
}
