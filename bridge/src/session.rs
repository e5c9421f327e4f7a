//! The bridge's connection to RabbitMQ: reconnects with growing delays until it is stopped, and publishes its state.
//!
//! Invariant: no state of an old connection is used on a new one. Calls on an old channel fail; its user then waits for
//! [`Session::until_up`] and declares, binds and publishes again. lapin's own recovery is off: it would publish
//! again what was already confirmed. Calls that the broker may refuse run on a secondary connection
//! ([`Session::secondary_channel`]), which is opened and closed with the first.

mod refusal;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use lapin::tcp::OwnedTLSConfig;
use lapin::{Channel, Connection, ConnectionProperties, DefaultConnectionBuilder, Event};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Settings;
use crate::call::with_timeout;
use bus::contract::Timestamp;
use bus::{Failure, tls};
use refusal::refusal;

/// First delay between two connection attempts, doubled up to the longest: a broker that restarts is reconnected soon, and
/// a long outage causes few attempts.
const DELAY_FIRST: Duration = Duration::from_millis(500);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// After a connection that lasted this long the delays start again at the first.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// A handshake takes milliseconds; a paused broker accepts and never answers.
const CONNECT_MAX: Duration = Duration::from_secs(10);
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// The longest that a start waits to learn whether RabbitMQ refuses the connection for good.
const CHECK_MAX: Duration = Duration::from_secs(3);
/// How often the connection's status is checked, in addition to its events.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// State of the connection.
#[derive(Debug, Clone)]
pub struct ConnectionState {
    /// Number of connections made so far; 0 before the first. When it changes, everything has to be declared again.
    pub epoch: u64,
    pub up: bool,
    /// Since when it has been up or down.
    pub since: Timestamp,
    /// Why it is down.
    pub error: Option<String>,
    /// Whether the broker answers and refuses this bridge, so that a setting or the broker has to be corrected.
    pub refused: bool,
    /// The reason that the broker gives for not accepting messages (an alarm of memory or disk).
    pub blocked: Option<String>,
}

impl ConnectionState {
    /// One sentence for an operator if the bridge cannot publish.
    pub fn degraded(&self) -> Option<String> {
        let why = |text: &Option<String>| text.as_ref().map(|e| format!(": {e}")).unwrap_or_default();
        match &self.error {
            Some(error) if self.refused => return Some(format!("{error}; since {}", self.since)),
            _ if !self.up => {
                return Some(format!("RabbitMQ is away since {}{}", self.since, why(&self.error)));
            }
            _ => {}
        }
        self.blocked.is_some().then(|| format!("RabbitMQ accepts no messages{}", why(&self.blocked)))
    }
}

/// A handle to the connection, cheap to clone. [`run`](Self::run) keeps it connected.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    settings: Settings,
    state: watch::Sender<ConnectionState>,
    connection: Mutex<Option<Arc<Connection>>>,
    secondary: tokio::sync::Mutex<Option<Secondary>>,
    /// The epoch of a connection that is to be closed, and why.
    abandoned: watch::Sender<(u64, String)>,
    /// Problems other than the connection's own, by the part of the bridge that has them.
    degraded: Mutex<BTreeMap<String, String>>,
}

/// The secondary connection, whose channels the broker may close.
struct Secondary {
    /// The epoch of the first connection at the time; it is valid only as long as that one.
    epoch: u64,
    connection: Connection,
    /// Channels opened so far.
    opened: u16,
}

impl Session {
    pub fn new(settings: Settings) -> Self {
        let state = ConnectionState {
            epoch: 0,
            up: false,
            since: Timestamp::wall_clock(),
            error: None,
            refused: false,
            blocked: None,
        };
        metrics::gauge!("amqp_connected").set(0.0);
        Self(Arc::new(Inner {
            settings,
            state: watch::Sender::new(state),
            connection: Mutex::new(None),
            secondary: tokio::sync::Mutex::default(),
            abandoned: watch::Sender::new((0, String::new())),
            degraded: Mutex::default(),
        }))
    }

    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The connection's state, now and whenever it changes.
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.0.state.subscribe()
    }

    /// Waits for a connection on which the broker accepts messages and returns its epoch; `None` at `stop`.
    pub async fn until_up(&self, stop: &CancellationToken) -> Option<u64> {
        let mut state = self.state();
        let up = state.wait_for(|state| state.up && state.blocked.is_none());
        tokio::select! {
            _ = stop.cancelled() => None,
            up = up => up.ok().map(|state| state.epoch),
        }
    }

    /// A new channel on the current connection, for calls that the broker has no reason to refuse.
    pub async fn channel(&self) -> Result<Channel, Failure> {
        // Read before the connection: to abandon an older epoch has no effect.
        let epoch = self.0.state.borrow().epoch;
        let connection = self.slot().clone().ok_or_else(away)?;
        with_timeout(async {
            let opened = connection.create_channel().await;
            if let Err(error) = &opened {
                // Every later channel would fail as well, see `secondary_channel`. A time-out is different: it may be
                // an alarm of the broker.
                self.abandon(epoch, format!("it opens no channel: {error}"));
            }
            opened
        })
        .await
    }

    /// A new channel on the secondary connection, for calls that the broker may answer by closing the channel (404, 406).
    ///
    /// lapin (4.12) keeps the error with the channel's number, and a later channel with the same number fails with it.
    /// Numbers repeat after 2,047 channels: to check for a queue every three seconds would stop the bridge within two
    /// hours. Here the connection is replaced before a number repeats.
    pub async fn secondary_channel(&self) -> Result<Channel, Failure> {
        let mut secondary = self.0.secondary.lock().await;
        let state = self.0.state.borrow().clone();
        if !state.up {
            return Err(away());
        }
        let is_usable = |secondary: &Secondary| {
            let numbers = secondary.connection.configuration().channel_max();
            secondary.epoch == state.epoch
                && secondary.connection.status().connected()
                && secondary.opened < numbers
        };
        let mut current = match secondary.take().filter(is_usable) {
            Some(usable) => usable,
            // The previous one, if any, closes with its last channel.
            None => {
                Secondary { epoch: state.epoch, connection: self.connect("-secondary").await?, opened: 0 }
            }
        };
        current.opened += 1;
        let opened = with_timeout(current.connection.create_channel()).await;
        // A connection that opens no channel is not used again.
        *secondary = opened.is_ok().then_some(current);
        opened
    }

    /// Has the connection of this epoch closed and replaced, because it does not work (for example: no confirms arrive).
    pub fn abandon(&self, epoch: u64, why: impl Into<String>) {
        self.0.abandoned.send_replace((epoch, why.into()));
    }

    /// Records the problem of one part of the bridge, or that it has none. Returns whether this is a change.
    pub fn set_degraded(&self, part: &str, problem: Option<String>) -> bool {
        let mut degraded = self.0.degraded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let before = match problem.clone() {
            Some(problem) => degraded.insert(part.to_owned(), problem),
            None => degraded.remove(part),
        };
        before != problem
    }

    /// All problems, one sentence each; during an outage of RabbitMQ only the outage.
    pub fn degraded(&self) -> Vec<String> {
        if let Some(outage) = self.0.state.borrow().degraded() {
            return vec![outage];
        }
        self.0.degraded.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).values().cloned().collect()
    }

    /// Connects and reconnects until `stop`.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Failure> {
        let mut tries = 0u32;
        while !stop.is_cancelled() {
            let started = Instant::now();
            let (why, refused) = match self.connect("").await {
                Ok(connection) => (self.watch(connection, &stop).await, false),
                Err(failure) => (failure.to_string(), matches!(failure, Failure::Poison(_))),
            };
            self.set_down(&why, refused);
            tries = if started.elapsed() > STABLE_AFTER { 1 } else { tries + 1 };
            let delay = delay(tries, rand::random());
            if !stop.is_cancelled() {
                tracing::warn!(why, ?delay, "not connected to RabbitMQ; connecting again");
            }
            tokio::select! { _ = stop.cancelled() => {}, _ = tokio::time::sleep(delay) => {} }
        }
        Ok(())
    }

    async fn connect(&self, suffix: &str) -> Result<Connection, Failure> {
        let name = format!("marquee-bridge-{}{suffix}", self.0.settings.bridge_id);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let roots = OwnedTLSConfig { identity: None, cert_chain: tls::besides_pem() };
        let builder = DefaultConnectionBuilder::new().map_err(Failure::transient)?;
        let builder =
            builder.with_uri(self.0.settings.url.clone()).with_properties(properties).with_tls_config(roots);
        match tokio::time::timeout(CONNECT_MAX, builder.connect()).await {
            Ok(connected) => connected.map_err(|error| match refusal(&error, &self.0.settings.url) {
                Some(why) => Failure::poison(why),
                None => Failure::transient(tls::with_causes(&error)),
            }),
            Err(_) => Err(Failure::transient(format!("no handshake within {CONNECT_MAX:?}"))),
        }
    }

    /// Connects once, when the process starts. An error means that retrying cannot help, such as a refused login or a
    /// certificate that is not trusted. An unavailable broker is no error.
    pub async fn check(&self) -> Result<(), Failure> {
        match tokio::time::timeout(CHECK_MAX, self.connect("-check")).await {
            Ok(Ok(connection)) => {
                let _ = tokio::time::timeout(CLOSE_MAX, connection.close(200, "OK".into())).await;
                Ok(())
            }
            Ok(Err(refused @ Failure::Poison(_))) => Err(refused),
            Ok(Err(Failure::Transient(_))) | Err(_) => Ok(()),
        }
    }

    /// Publishes the connection and waits until it ends; returns why.
    async fn watch(&self, connection: Connection, stop: &CancellationToken) -> String {
        let connection = Arc::new(connection);
        let mut events = std::pin::pin!(connection.events_listener());
        *self.slot() = Some(connection.clone());
        let epoch = self.set_up();
        let mut abandoned = self.0.abandoned.subscribe();
        let mut check = tokio::time::interval(CHECK_EVERY);
        let why = loop {
            tokio::select! {
                _ = stop.cancelled() => break "stopping".to_owned(),
                event = events.next() => match event {
                    // Errors of channels are among them: a channel closes when a queue does not exist.
                    Some(Event::Error(error)) if !error.is_amqp_soft_error() => break error.to_string(),
                    Some(Event::ConnectionBlocked(reason)) => self.block(Some(reason)),
                    Some(Event::ConnectionUnblocked) => self.block(None),
                    Some(_) => {}
                    None => break "the connection ended".to_owned(),
                },
                abandoned = abandoned.wait_for(|(which, _)| *which == epoch) => {
                    break abandoned.map_or_else(|_| "abandoned".to_owned(), |abandoned| abandoned.1.clone());
                }
                _ = check.tick() => if !connection.status().connected() {
                    break "the connection is closed".to_owned();
                },
            }
        };
        *self.slot() = None;
        // Close in order if the broker still answers, so that it logs no error; do not wait for one that hangs.
        let secondary = async {
            if let Some(secondary) = self.0.secondary.lock().await.take() {
                let _ = secondary.connection.close(200, "OK".into()).await;
            }
        };
        let closing = futures::future::join(secondary, connection.close(200, "OK".into()));
        let _ = tokio::time::timeout(CLOSE_MAX, closing).await;
        why
    }

    fn set_up(&self) -> u64 {
        self.0.state.send_modify(|state| {
            let (epoch, since) = (state.epoch + 1, Timestamp::wall_clock());
            *state = ConnectionState { epoch, up: true, since, error: None, refused: false, blocked: None };
        });
        let epoch = self.0.state.borrow().epoch;
        metrics::gauge!("amqp_connected").set(1.0);
        metrics::counter!("amqp_reconnects_total").increment(u64::from(epoch > 1));
        tracing::info!(epoch, "connected to RabbitMQ");
        epoch
    }

    fn set_down(&self, why: &str, refused: bool) {
        metrics::gauge!("amqp_connected").set(0.0);
        self.0.state.send_modify(|state| {
            // A failed attempt does not change when the outage began.
            if state.up {
                state.since = Timestamp::wall_clock();
            }
            (state.up, state.error, state.blocked) = (false, Some(why.to_owned()), None);
            state.refused = refused;
        });
    }

    fn block(&self, reason: Option<String>) {
        tracing::warn!(reason, "RabbitMQ blocks or unblocks publishers");
        self.0.state.send_modify(|state| state.blocked = reason);
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Connection>>> {
        self.0.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn away() -> Failure {
    Failure::transient("RabbitMQ is away")
}

/// Doubles from half a second to half a minute; up to a fifth is added so that several clients do not reconnect together.
pub(super) fn delay(tries: u32, seed: u32) -> Duration {
    let base = DELAY_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(DELAY_MAX);
    base + base.mul_f64(0.2 * f64::from(seed) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_from_half_a_second_to_half_a_minute() {
        let delays: Vec<_> = (1..=12).map(|tries| delay(tries, 0)).collect();
        assert_eq!((delays[0], delays[11]), (DELAY_FIRST, DELAY_MAX));
        assert!(delays.is_sorted());
        assert!(delay(12, u32::MAX) <= DELAY_MAX.mul_f64(1.21) && delay(1, u32::MAX) > DELAY_FIRST);
    }
}
