//! The connection to NATS: one client a process, told apart by name, reconnecting for ever.
//!
//! Whoever must act after a reconnect (the relay, consumers) watches [`Bus::connections`].

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

use crate::retry;
use crate::service::nearby::Nearby;

/// A publish ack takes some milliseconds; after this the message counts as not stored and is sent again.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// JetStream API calls (create a stream, a consumer). A refused permission shows as this time-out.
const API_TIMEOUT: Duration = Duration::from_secs(5);
/// Unacknowledged publishes of this process; the relay's own window is smaller.
const ACKS_IN_FLIGHT_MAX: usize = 8_192;
/// Messages that may wait in one subscription before the server calls us a slow consumer.
const SUBSCRIPTION_CAPACITY: usize = 65_536;
/// Longest wait between two tries to reconnect: a restarted server is found within it.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// Where NATS is and how to speak to it.
#[derive(Clone)]
pub struct Config {
    pub url: String,
    pub user: String,
    pub password: String,
    /// Shown by `nats server report connections`.
    pub name: String,
    /// Copies of each stream: 1 for a single server, 3 in a cluster.
    pub replicas: usize,
}

/// A handle to NATS, cheap to clone.
#[derive(Clone)]
pub struct Bus {
    pub client: Client,
    pub jetstream: jetstream::Context,
    pub replicas: usize,
    /// Hosts of this process, which are asked without NATS.
    pub nearby: Nearby,
    connections: watch::Receiver<u64>,
}

impl Bus {
    /// Connects, and waits for a server that is just starting. A refused user or password is an error at once.
    pub async fn connect(config: Config) -> anyhow::Result<Self> {
        let addresses: Vec<ServerAddr> = config
            .url
            .split(',')
            .map(|url| url.trim().parse())
            .collect::<Result<_, _>>()
            .with_context(|| format!("NATS_URL is not a NATS address: {}", redact(&config.url)))?;
        let (sender, mut connections) = watch::channel(0u64);
        let sender = Arc::new(sender);
        let options = || {
            let sender = sender.clone();
            ConnectOptions::with_user_and_password(config.user.clone(), config.password.clone())
                .name(&config.name)
                .custom_inbox_prefix(inbox(&config.user))
                .request_timeout(Some(API_TIMEOUT))
                .connection_timeout(Duration::from_secs(2))
                .ping_interval(Duration::from_secs(5))
                .subscription_capacity(SUBSCRIPTION_CAPACITY)
                .max_reconnects(None)
                .reconnect_delay_callback(|tries| {
                    RECONNECT_DELAY_MAX
                        .min(Duration::from_millis(50) * 2u32.saturating_pow(tries.min(10) as u32))
                })
                .event_callback(move |event| {
                    note_event(event, &sender);
                    async {}
                })
        };
        let connect = async || options().connect(&addresses).await;
        let is_away = |error: &ConnectError| error.kind() != ConnectErrorKind::AuthorizationViolation;
        let client = retry::until_there("NATS", None, connect, is_away)
            .await
            .with_context(|| format!("cannot connect to NATS at {}", redact(&config.url)))?;
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(API_TIMEOUT)
            .ack_timeout(ACK_TIMEOUT)
            .max_ack_inflight(ACKS_IN_FLIGHT_MAX)
            .build(client.clone());
        // The first connection is told of as well, a moment later; nobody shall take it for a second one.
        let first = connections.wait_for(|made| *made > 0);
        tokio::time::timeout(Duration::from_secs(2), first).await.context("NATS told of no connection")??;
        Ok(Self { client, jetstream, replicas: config.replicas, nearby: Nearby::default(), connections })
    }

    /// Changes whenever the connection has been made anew after this call.
    pub fn connections(&self) -> watch::Receiver<u64> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        connections
    }

    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Publishes on core NATS: heard by whoever listens now, kept by nobody. Errors are logged, since the fact
    /// itself is in the database and listeners reload on a gap.
    pub async fn notify<T: serde::Serialize>(&self, subject: String, notice: &T) {
        match serde_json::to_vec(notice) {
            Ok(payload) => {
                if let Err(error) = self.client.publish(subject, payload.into()).await {
                    tracing::warn!(%error, "notice not published");
                }
            }
            Err(error) => tracing::error!(%error, "notice not serializable"),
        }
    }
}

fn note_event(event: Event, connections: &watch::Sender<u64>) {
    match event {
        Event::Connected => {
            connections.send_modify(|n| *n += 1);
            tracing::info!("connected to NATS");
        }
        Event::Disconnected => tracing::warn!("disconnected from NATS"),
        Event::SlowConsumer(sid) => {
            metrics::counter!("nats_slow_consumer_total").increment(1);
            tracing::warn!(sid, "messages dropped: a subscription is too slow");
        }
        // A refused permission comes only this way; the caller sees a time-out.
        Event::ServerError(error) => {
            metrics::counter!("nats_server_error_total").increment(1);
            tracing::error!(%error, "NATS refused something");
        }
        other => tracing::info!(event = %other, "NATS"),
    }
}

/// Where answers to this user come: permissions let each user hear its own only.
fn inbox(user: &str) -> String {
    let token: String = user.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    if token.is_empty() { "_INBOX".to_owned() } else { format!("_INBOX.{token}") }
}

/// The address without user and password.
fn redact(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, host)) => format!("nats://…@{host}"),
        None => url.to_owned(),
    }
}
