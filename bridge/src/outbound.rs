//! Outwards: follows the stream for one target, an exchange, and publishes every event there with confirms.
//!
//! Invariant: JetStream is acknowledged only after RabbitMQ's confirm, and the first copies of events leave in stream order.
//! `bus::consumer` is not used for that: it gives what failed back with a delay that grows with each event's own tries, so
//! that the order is lost with the first outage, and parks what was delivered often. Here what is in hand stays in hand over
//! an outage of RabbitMQ, JetStream is told that it is in work, and nothing more is pulled: memory stays flat.
//! When NATS was away (or this process) the first pull waits until what others had in hand is due again, and so comes first.

mod message;
mod pending;
mod publisher;
mod replay;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::pull::Batch;
use async_nats::jetstream::{self, consumer::PullConsumer};
use futures::StreamExt;
use lapin::Confirmation;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::{Session, Settings};
use bus::topology::ACK_WAIT;
use bus::{Bus, Failure, consumer, retry, topology};
use message::Reading;
use pending::{Hand, Outcome};
use publisher::{Happened, Pipe};

/// How long the server keeps a request for messages; after that it is asked anew.
const PULL_EXPIRES: Duration = Duration::from_secs(5);
/// A confirm takes milliseconds, under load some hundred; after this the connection is taken for dead.
const CONFIRM_MAX: Duration = Duration::from_secs(10);
/// JetStream is told so often that an event in hand is in work: three times within its patience.
const ALIVE_EVERY: Duration = ACK_WAIT.checked_div(3).expect("three is not zero");
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// As often as metrics are scraped.
const LAG_EVERY: Duration = Duration::from_secs(15);
/// An event that reached no queue, although one is to have it, is tried again after this: services start within minutes.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// How long a stop waits for confirms, and for messages that the server has already sent.
const FINISH_MAX: Duration = Duration::from_secs(2);
const GIVE_BACK: Duration = Duration::from_millis(200);

/// An exchange that gets every event.
#[derive(Debug, Clone)]
pub struct Target {
    /// The durable consumer that remembers how far it is; also the target's name in metrics.
    pub consumer: &'static str,
    pub exchange: String,
    /// Nest's envelope, or the bare data.
    pub in_envelope: bool,
}

impl Target {
    pub fn all(settings: &Settings) -> Vec<Self> {
        if settings.outbound.is_empty() {
            return Vec::new();
        }
        let nest = Self { consumer: "bridge-nest", exchange: settings.exchange.clone(), in_envelope: true };
        let raw = settings.raw_exchange.clone();
        let raw = raw.map(|exchange| Self { consumer: "bridge-raw", exchange, in_envelope: false });
        std::iter::once(nest).chain(raw).collect()
    }
}

/// Runs until `stop`, through every outage of either side.
pub async fn run(bus: Bus, session: Session, target: Target, stop: CancellationToken) -> Result<(), Failure> {
    let replaying = replay::serve(bus.clone(), session.clone(), target.clone(), stop.clone());
    let replaying = AbortOnDropHandle::new(tokio::spawn(replaying));
    let mut lane = Lane::new(bus, session, target);
    let mut failures = 0u64;
    while !stop.is_cancelled() {
        match lane.follow(&stop).await {
            Ok(()) => failures = 0,
            Err(failure) => {
                failures += 1;
                tracing::warn!(target = lane.target.consumer, %failure, "outbound interrupted");
                tokio::select! {
                    _ = stop.cancelled() => {}
                    _ = tokio::time::sleep(retry::delay(failures.min(5), failures)) => {}
                }
            }
        }
    }
    // A letter that is being replayed is settled, or its asker is told nothing and looks again.
    let _ = tokio::time::timeout(FINISH_MAX, replaying).await;
    Ok(())
}

/// The way of one target's events.
struct Lane {
    bus: Bus,
    target: Target,
    pipe: Pipe,
    hand: Hand,
    window: usize,
    outbound: Vec<String>,
    /// Events that some service queue is to have.
    awaited: HashSet<String>,
    /// Of them those that went nowhere, and when last.
    nowhere: BTreeMap<String, Instant>,
    session: Session,
}

impl Lane {
    fn new(bus: Bus, session: Session, target: Target) -> Self {
        // From the start, so that an alarm can be set on them.
        for name in ["amqp_published_total", "amqp_unroutable_total", "amqp_kept_total"] {
            metrics::counter!(name, "target" => target.consumer).increment(0);
        }
        let settings = session.settings();
        let queues = settings.service_queues.iter().filter(|_| target.in_envelope);
        Self {
            awaited: queues.flat_map(|queue| queue.events.iter().cloned()).collect(),
            window: settings.window,
            outbound: settings.outbound.clone(),
            pipe: Pipe::new(session.clone(), target.clone()),
            hand: Hand::default(),
            nowhere: BTreeMap::new(),
            bus,
            target,
            session,
        }
    }

    /// Follows the stream until `stop`, or until NATS was connected anew, perhaps to a server that has lost everything.
    async fn follow(&mut self, stop: &CancellationToken) -> Result<(), Failure> {
        let mut connections = self.bus.connections();
        let connection = *connections.borrow_and_update();
        topology::ensure_streams(&self.bus).await?;
        let consumer = topology::ensure_durable(&self.bus, self.target.consumer, &self.outbound).await?;
        if consumer.cached_info().num_ack_pending > 0 {
            tracing::info!(
                target = self.target.consumer,
                "waiting for events that were in hand to be due again"
            );
            tokio::select! {
                _ = stop.cancelled() => return Ok(()),
                _ = connections.changed() => return Ok(()),
                _ = tokio::time::sleep(ACK_WAIT + LOOK_EVERY) => {}
            }
        }
        let mut batch = None;
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut measured = None;
        loop {
            self.publish().await;
            self.pull(&consumer, &mut batch).await?;
            tokio::select! {
                _ = stop.cancelled() => break,
                _ = connections.changed() => {
                    // JetStream gives all of it again; an ack of the old connection might meet another message.
                    self.hand = Hand::default();
                    self.pipe.break_off("NATS was connected anew");
                    return Ok(());
                }
                happened = self.pipe.next() => self.happened(happened, connection).await,
                message = next(&mut batch) => match message {
                    Some(Ok(message)) => self.receive(message, connection).await,
                    Some(Err(error)) => {
                        tracing::info!(target = self.target.consumer, %error, "a pull ended");
                        batch = None;
                    }
                    None => batch = None,
                },
                _ = look.tick() => {
                    self.look(connection).await;
                    if measured.is_none_or(|at: Instant| at.elapsed() >= LAG_EVERY) {
                        measured = Some(Instant::now());
                        tokio::spawn(consumer::measure(consumer.clone(), self.target.consumer));
                    }
                }
            }
        }
        self.finish(batch, connection).await;
        Ok(())
    }

    async fn publish(&mut self) {
        while self.pipe.takes()
            && let Some((ordinal, event)) = self.hand.publish_next(self.pipe.window(self.window))
        {
            self.pipe.send(ordinal, event).await;
        }
        metrics::gauge!("amqp_confirms_pending", "target" => self.target.consumer)
            .set(self.hand.on_the_way() as f64);
    }

    /// Asks for as many events as there is room for: a window on its way and another one that waits behind it.
    async fn pull(&mut self, consumer: &PullConsumer, batch: &mut Option<Batch>) -> Result<(), Failure> {
        let room = (2 * self.window).saturating_sub(self.hand.len());
        // Half a window at a time: asking for each event alone would cost as much as the events.
        if batch.is_none() && self.pipe.takes() && room >= self.window.div_ceil(2) {
            let asking = consumer.batch().max_messages(room).expires(PULL_EXPIRES).messages();
            *batch = Some(asking.await.map_err(Failure::transient)?);
        }
        Ok(())
    }

    async fn receive(&mut self, message: jetstream::Message, connection: u64) {
        match message::read(&message, &self.target) {
            Reading::Publish(event) => {
                let repeated = message.info().is_ok_and(|info| info.delivered > 1);
                self.hand.take(event, message, repeated);
            }
            Reading::Skip => self.settle(&message, connection, AckKind::Ack).await,
            Reading::Poison(reason) => {
                let parking =
                    consumer::park(self.bus.clone(), self.target.consumer, message, reason.to_owned());
                // In a task of its own: an ack from the dead letter stream may take seconds.
                tokio::spawn(parking);
            }
        }
    }

    async fn happened(&mut self, happened: Happened, connection: u64) {
        match happened {
            Happened::Opened => {}
            Happened::Broken => self.hand.start_over(),
            Happened::Confirmed(ordinal, Confirmation::Ack(returned)) => {
                if let Some(returned) = returned {
                    metrics::counter!("amqp_unroutable_total", "target" => self.target.consumer).increment(1);
                    let id = returned.properties.message_id().clone();
                    if let Some(id) = id.filter(|_| self.awaited.contains(returned.routing_key.as_str())) {
                        self.hand.returned(id.to_string());
                    }
                }
                let outcome = self.hand.confirmed(ordinal, |event| self.awaited.contains(&event.subject));
                for outcome in outcome.into_iter().chain(self.hand.decide()) {
                    self.decided(outcome, connection).await;
                }
            }
            Happened::Confirmed(..) => {
                self.pipe.refuse();
                self.hand.start_over();
            }
        }
    }

    async fn decided(&mut self, outcome: Outcome, connection: u64) {
        match outcome {
            Outcome::Arrived(message) => {
                metrics::counter!("amqp_published_total", "target" => self.target.consumer).increment(1);
                self.nowhere.remove(message.subject.as_str());
                self.settle(&message, connection, AckKind::Ack).await;
            }
            Outcome::Nowhere(message, event) => {
                metrics::counter!("amqp_kept_total", "target" => self.target.consumer).increment(1);
                if self.nowhere.insert(event.subject.clone(), Instant::now()).is_none() {
                    tracing::error!(
                        event = event.subject,
                        "no queue has it, though a service queue is to; kept and tried again"
                    );
                }
                self.settle(&message, connection, AckKind::Nak(Some(KEPT_FOR))).await;
            }
        }
    }

    /// Tells JetStream, unless that is another JetStream by now.
    async fn settle(&mut self, message: &jetstream::Message, connection: u64, how: AckKind) {
        if *self.bus.connections().borrow() != connection || !self.bus.is_connected() {
            return;
        }
        if let Err(error) = message.ack_with(how).await {
            // It is given again after the ack wait: a repeat with the same id.
            tracing::warn!(target = self.target.consumer, error, "event not settled");
        }
    }

    /// What has to be seen to now and then.
    async fn look(&mut self, connection: u64) {
        let silent: Vec<jetstream::Message> = self
            .hand
            .silent_for(ALIVE_EVERY)
            .map(|item| {
                item.alive = Instant::now();
                item.message.clone()
            })
            .collect();
        for message in &silent {
            self.settle(message, connection, AckKind::Progress).await;
        }
        if !self.pipe.takes() {
            // A broker with an alarm confirms nothing, and needs a moment after it.
            self.hand.wait_anew();
        }
        if self.hand.oldest().is_some_and(|age| age > CONFIRM_MAX) {
            self.pipe.give_up(&format!("no confirm within {CONFIRM_MAX:?}"));
            self.hand.start_over();
        }
        // Three tries without it: it is not in the stream any more.
        self.nowhere.retain(|_, at| at.elapsed() < 3 * KEPT_FOR);
        let events: Vec<&str> = self.nowhere.keys().map(String::as_str).collect();
        let complaint =
            format!("{} reach no queue, though service queues are to have them", events.join(", "));
        // Under its own name: another target, which has nothing to say, would take this back a moment later.
        let about = format!("events that {} keeps", self.target.consumer);
        self.session.complain(&about, (!events.is_empty()).then_some(complaint));
    }

    /// Lets confirms come in for a moment, then gives the rest back in stream order, so that the next start has it at once.
    async fn finish(&mut self, mut batch: Option<Batch>, connection: u64) {
        let until = Instant::now() + GIVE_BACK;
        while let Ok(Some(Ok(message))) = tokio::time::timeout_at(until, next(&mut batch)).await {
            self.receive(message, connection).await;
        }
        let until = Instant::now() + FINISH_MAX;
        while self.hand.on_the_way() > 0
            && let Ok(happened) = tokio::time::timeout_at(until, self.pipe.next()).await
        {
            if matches!(happened, Happened::Broken) {
                break;
            }
            self.happened(happened, connection).await;
        }
        for message in self.hand.give_back() {
            self.settle(&message, connection, AckKind::Nak(None)).await;
        }
        let _ = tokio::time::timeout(FINISH_MAX, self.bus.client.flush()).await;
    }
}

/// The next message of a pull; never, where nothing was asked for.
async fn next(
    batch: &mut Option<Batch>,
) -> Option<Result<jetstream::Message, Box<dyn std::error::Error + Send + Sync>>> {
    match batch {
        Some(batch) => batch.next().await,
        None => std::future::pending().await,
    }
}
