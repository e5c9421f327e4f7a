//! The connection to RabbitMQ: one a bridge, made anew for ever with a growing delay, its state there for all to watch.
//!
//! Invariant: nothing of an old connection lives on in a new one. Whoever works on a channel sees its calls fail, waits for
//! [`Session::until_up`] and declares, binds and publishes again; lapin's own recovery is off, since it would replay
//! without asking what was confirmed. What the broker may refuse is asked on a second connection, which follows the first.

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
use crate::call::within;
use bus::contract::Timestamp;
use bus::{Failure, tls};

/// First delay between two tries to connect, doubled up to the longest: a broker that restarts is found soon, one that is
/// away for the night is not hammered.
const DELAY_FIRST: Duration = Duration::from_millis(500);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one: after it the delays begin anew.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// A handshake takes milliseconds; a paused broker accepts and never answers.
const CONNECT_MAX: Duration = Duration::from_secs(10);
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// A start waits no longer to learn whether it is refused for good.
const CHECK_MAX: Duration = Duration::from_secs(3);
/// How often the connection is asked whether it is one, beside what it tells by itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How the connection is.
#[derive(Debug, Clone)]
pub struct Link {
    /// Counts connections made so far; 0 before the first. Another number: everything is to be declared anew.
    pub epoch: u64,
    pub up: bool,
    /// Since when it is up or down.
    pub since: Timestamp,
    /// Why it went down or does not come up.
    pub error: Option<String>,
    /// The broker takes nothing for now (an alarm of memory or disk), and says why.
    pub blocked: Option<String>,
}

impl Link {
    /// One sentence for a person when something is wrong.
    pub fn complaint(&self) -> Option<String> {
        let why = |text: &Option<String>| text.as_ref().map(|e| format!(": {e}")).unwrap_or_default();
        if !self.up {
            return Some(format!("RabbitMQ is away since {}{}", self.since, why(&self.error)));
        }
        self.blocked.is_some().then(|| format!("RabbitMQ takes nothing for now{}", why(&self.blocked)))
    }
}

/// A handle to RabbitMQ, cheap to clone. [`run`](Self::run) keeps it connected.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    settings: Settings,
    link: watch::Sender<Link>,
    connection: Mutex<Option<Arc<Connection>>>,
    aside: tokio::sync::Mutex<Option<Aside>>,
    /// The epoch whose connection is of no use any more, and why.
    given_up: watch::Sender<(u64, String)>,
    /// What is wrong beside the connection, by what it is wrong with.
    complaints: Mutex<BTreeMap<String, String>>,
}

/// A second connection, whose channels the broker may close.
struct Aside {
    /// Of the first connection, with which it comes and goes.
    epoch: u64,
    connection: Connection,
    /// Channels so far.
    opened: u16,
}

impl Session {
    pub fn new(settings: Settings) -> Self {
        let link = Link { epoch: 0, up: false, since: Timestamp::wall_clock(), error: None, blocked: None };
        metrics::gauge!("amqp_connected").set(0.0);
        Self(Arc::new(Inner {
            settings,
            link: watch::Sender::new(link),
            connection: Mutex::new(None),
            aside: tokio::sync::Mutex::default(),
            given_up: watch::Sender::new((0, String::new())),
            complaints: Mutex::default(),
        }))
    }

    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// How the connection is, now and whenever that changes.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.0.link.subscribe()
    }

    /// Waits for a connection on which the broker takes messages and returns its epoch; `None` at `stop`.
    pub async fn until_up(&self, stop: &CancellationToken) -> Option<u64> {
        let mut link = self.link();
        let up = link.wait_for(|link| link.up && link.blocked.is_none());
        tokio::select! {
            _ = stop.cancelled() => None,
            up = up => up.ok().map(|link| link.epoch),
        }
    }

    /// A new channel on the connection that there is, for what the broker has no reason to refuse.
    pub async fn channel(&self) -> Result<Channel, Failure> {
        // Read first: of an older connection it does no harm.
        let epoch = self.0.link.borrow().epoch;
        let connection = self.slot().clone().ok_or_else(away)?;
        within(async {
            let opened = connection.create_channel().await;
            if let Err(error) = &opened {
                // Nobody else will do better on it, see `channel_aside`. No answer is something else: an alarm, say.
                self.give_up(epoch, format!("it opens no channel: {error}"));
            }
            opened
        })
        .await
    }

    /// A new channel for what the broker may answer by closing it (404, 406), on a connection of its own.
    ///
    /// lapin (4.12) keeps the error with the channel's number, and a later channel of the same number fails with it. Numbers
    /// go round, after 2,047 of them: a queue that is looked for every three seconds would stop the bridge within two
    /// hours. Here no number is given twice.
    pub async fn channel_aside(&self) -> Result<Channel, Failure> {
        let mut aside = self.0.aside.lock().await;
        let link = self.0.link.borrow().clone();
        if !link.up {
            return Err(away());
        }
        let is_fresh = |aside: &Aside| {
            let numbers = aside.connection.configuration().channel_max();
            aside.epoch == link.epoch && aside.connection.status().connected() && aside.opened < numbers
        };
        let mut current = match aside.take().filter(is_fresh) {
            Some(fresh) => fresh,
            // The old one, if any, ends with its last channel.
            None => Aside { epoch: link.epoch, connection: self.connect("-aside").await?, opened: 0 },
        };
        current.opened += 1;
        let opened = within(current.connection.create_channel()).await;
        // One that opens nothing is not asked again.
        *aside = opened.is_ok().then_some(current);
        opened
    }

    /// Says that the connection of this epoch is of no use (confirms do not come); another one is made.
    pub fn give_up(&self, epoch: u64, why: impl Into<String>) {
        self.0.given_up.send_replace((epoch, why.into()));
    }

    /// Notes what is wrong with something, or that nothing is any more. True: that is news.
    pub fn complain(&self, about: &str, complaint: Option<String>) -> bool {
        let mut complaints = self.0.complaints.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let before = match complaint.clone() {
            Some(complaint) => complaints.insert(about.to_owned(), complaint),
            None => complaints.remove(about),
        };
        before != complaint
    }

    /// All that is wrong, a sentence each; while RabbitMQ is away that is all there is to say.
    pub fn complaints(&self) -> Vec<String> {
        if let Some(complaint) = self.0.link.borrow().complaint() {
            return vec![complaint];
        }
        self.0.complaints.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).values().cloned().collect()
    }

    /// Connects, again and again, until `stop`.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Failure> {
        let mut tries = 0u32;
        while !stop.is_cancelled() {
            let started = Instant::now();
            let why = match self.connect("").await {
                Ok(connection) => self.hold(connection, &stop).await,
                Err(failure) => failure.to_string(),
            };
            self.went_down(&why);
            tries = if started.elapsed() > GOOD_AFTER { 1 } else { tries + 1 };
            let delay = delay(tries, rand::random());
            if !stop.is_cancelled() {
                tracing::warn!(why, ?delay, "RabbitMQ is away; connecting again");
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
            Ok(connected) => connected.map_err(|error| match refusal(&error) {
                Some(why) => Failure::poison(why),
                None => Failure::transient(tls::with_causes(&error)),
            }),
            Err(_) => Err(Failure::transient(format!("no handshake within {CONNECT_MAX:?}"))),
        }
    }

    /// Connects once, for a start: an error is what no waiting mends, such as a refused login or a certificate that is not
    /// trusted. A broker that is away is fine.
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

    /// Tells of the connection and waits until it is gone; returns why.
    async fn hold(&self, connection: Connection, stop: &CancellationToken) -> String {
        let connection = Arc::new(connection);
        let mut events = std::pin::pin!(connection.events_listener());
        *self.slot() = Some(connection.clone());
        let epoch = self.came_up();
        let mut given_up = self.0.given_up.subscribe();
        let mut look = tokio::time::interval(LOOK_EVERY);
        let why = loop {
            tokio::select! {
                _ = stop.cancelled() => break "stopping".to_owned(),
                event = events.next() => match event {
                    // It tells of channels as well, which close for a queue that is not there.
                    Some(Event::Error(error)) if !error.is_amqp_soft_error() => break error.to_string(),
                    Some(Event::ConnectionBlocked(reason)) => self.block(Some(reason)),
                    Some(Event::ConnectionUnblocked) => self.block(None),
                    Some(_) => {}
                    None => break "the connection ended".to_owned(),
                },
                given_up = given_up.wait_for(|(which, _)| *which == epoch) => {
                    break given_up.map_or_else(|_| "given up".to_owned(), |given_up| given_up.1.clone());
                }
                _ = look.tick() => if !connection.status().connected() {
                    break "the connection is closed".to_owned();
                },
            }
        };
        *self.slot() = None;
        // In good order where the broker still listens, so that it shows no error; a hung one is left alone.
        let aside = async {
            if let Some(aside) = self.0.aside.lock().await.take() {
                let _ = aside.connection.close(200, "OK".into()).await;
            }
        };
        let closing = futures::future::join(aside, connection.close(200, "OK".into()));
        let _ = tokio::time::timeout(CLOSE_MAX, closing).await;
        why
    }

    fn came_up(&self) -> u64 {
        self.0.link.send_modify(|link| {
            let epoch = link.epoch + 1;
            *link = Link { epoch, up: true, since: Timestamp::wall_clock(), error: None, blocked: None };
        });
        let epoch = self.0.link.borrow().epoch;
        metrics::gauge!("amqp_connected").set(1.0);
        metrics::counter!("amqp_reconnects_total").increment(u64::from(epoch > 1));
        tracing::info!(epoch, "connected to RabbitMQ");
        epoch
    }

    fn went_down(&self, why: &str) {
        metrics::gauge!("amqp_connected").set(0.0);
        self.0.link.send_modify(|link| {
            // Failed tries do not make an outage younger.
            if link.up {
                link.since = Timestamp::wall_clock();
            }
            (link.up, link.error, link.blocked) = (false, Some(why.to_owned()), None);
        });
    }

    fn block(&self, reason: Option<String>) {
        tracing::warn!(reason, "RabbitMQ blocks or unblocks publishers");
        self.0.link.send_modify(|link| link.blocked = reason);
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Connection>>> {
        self.0.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Why the broker refuses for good, which no waiting mends; `None` when it is away, or may let us in later.
fn refusal(error: &lapin::Error) -> Option<String> {
    match error.kind() {
        // 403 the login, 530 a virtual host that is not there or not ours; 402 is its older number.
        lapin::ErrorKind::ProtocolError(refused) if [402, 403, 530].contains(&refused.get_id()) => {
            Some(format!("RabbitMQ refuses: {refused}"))
        }
        lapin::ErrorKind::InvalidProtocolVersion(_) | lapin::ErrorKind::ParsingError(_) => {
            Some(format!("what answers there is no RabbitMQ ({error})"))
        }
        _ => tls::refusal(error),
    }
}

fn away() -> Failure {
    Failure::transient("RabbitMQ is away")
}

/// Doubling from half a second to half a minute, with up to a fifth more so that many do not return together.
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
