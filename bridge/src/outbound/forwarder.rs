//! The loop of one target: pulls events, publishes them within a window, and acknowledges what is confirmed.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::pull::Batch;
use async_nats::jetstream::{self, consumer::PullConsumer};
use bus::topology::ACK_WAIT;
use bus::{Bus, Failure, consumer, topology};
use futures::StreamExt;
use lapin::Confirmation;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::message::{self, Conversion};
use super::pending::{Outcome, PendingEvents};
use super::publisher::{Progress, Publisher};
use super::{FINISH_MAX, Target};
use crate::Session;

/// How long the server keeps a request for messages; after that it is requested again.
const PULL_EXPIRES: Duration = Duration::from_secs(5);
/// A confirm takes milliseconds, under load some hundred; after this the connection is considered dead.
const CONFIRM_MAX: Duration = Duration::from_secs(10);
/// How often JetStream is notified that a pending event is in progress: three times within the ack wait.
const PROGRESS_EVERY: Duration = ACK_WAIT.checked_div(3).expect("three is not zero");
const TICK: Duration = Duration::from_secs(1);
/// As often as metrics are scraped.
const LAG_EVERY: Duration = Duration::from_secs(15);
/// An event that reached no queue, although a service queue is configured for it, is retried after this: services start
/// within minutes.
const RETRY_UNROUTED_AFTER: Duration = Duration::from_secs(10);
/// How long a stop waits for messages that the server has already sent.
const DRAIN_MAX: Duration = Duration::from_millis(200);

/// Forwards one target's events.
pub(super) struct Forwarder {
    bus: Bus,
    target: Target,
    publisher: Publisher,
    pending: PendingEvents,
    window: usize,
    outbound: Vec<String>,
    /// Events that a service queue is configured for.
    required: HashSet<String>,
    /// Those of them that reached no queue, and when last.
    unrouted: BTreeMap<String, Instant>,
    session: Session,
}

impl Forwarder {
    pub fn new(bus: Bus, session: Session, target: Target) -> Self {
        // Present from the start, so that alarms can be defined on them.
        for name in ["amqp_published_total", "amqp_unroutable_total", "amqp_kept_total"] {
            metrics::counter!(name, "target" => target.consumer).increment(0);
        }
        let settings = session.settings();
        let queues = settings.service_queues.iter().filter(|_| target.in_envelope);
        Self {
            required: queues.flat_map(|queue| queue.events.iter().cloned()).collect(),
            window: settings.window,
            outbound: settings.outbound.clone(),
            publisher: Publisher::new(session.clone(), target.clone()),
            pending: PendingEvents::default(),
            unrouted: BTreeMap::new(),
            bus,
            target,
            session,
        }
    }

    /// Forwards until `stop`, or until NATS was reconnected, possibly to a server that has lost its data.
    pub async fn run(&mut self, stop: &CancellationToken) -> Result<(), Failure> {
        let mut connections = self.bus.connections();
        let connection = *connections.borrow_and_update();
        topology::ensure_streams(&self.bus).await?;
        let consumer = topology::ensure_durable(&self.bus, self.target.consumer, &self.outbound).await?;
        if consumer.cached_info().num_ack_pending > 0 {
            tracing::info!(
                target = self.target.consumer,
                "waiting until unacknowledged events are redelivered"
            );
            tokio::select! {
                _ = stop.cancelled() => return Ok(()),
                _ = connections.changed() => return Ok(()),
                _ = tokio::time::sleep(ACK_WAIT + TICK) => {}
            }
        }
        let mut batch = None;
        let mut tick = tokio::time::interval(TICK);
        let mut measured = None;
        loop {
            self.publish().await;
            self.pull(&consumer, &mut batch).await?;
            tokio::select! {
                _ = stop.cancelled() => break,
                _ = connections.changed() => {
                    // JetStream redelivers all of them. Over the new connection an old ack could acknowledge another
                    // message with the same sequence.
                    self.pending = PendingEvents::default();
                    self.publisher.reopen("NATS was reconnected");
                    return Ok(());
                }
                progress = self.publisher.next() => self.progress(progress, connection).await,
                message = next(&mut batch) => match message {
                    Some(Ok(message)) => self.receive(message, connection).await,
                    Some(Err(error)) => {
                        tracing::info!(target = self.target.consumer, %error, "a pull ended");
                        batch = None;
                    }
                    None => batch = None,
                },
                _ = tick.tick() => {
                    self.tick(connection).await;
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
        while self.publisher.is_ready()
            && let Some((ordinal, event)) = self.pending.publish_next(self.publisher.window(self.window))
        {
            self.publisher.send(ordinal, event).await;
        }
        metrics::gauge!("amqp_confirms_pending", "target" => self.target.consumer)
            .set(self.pending.in_flight() as f64);
    }

    /// Requests as many events as there is room for: one window in flight and another one waiting.
    async fn pull(&mut self, consumer: &PullConsumer, batch: &mut Option<Batch>) -> Result<(), Failure> {
        let room = (2 * self.window).saturating_sub(self.pending.len());
        // At least half a window at a time: to request single events would cost as much as the events.
        if batch.is_none() && self.publisher.is_ready() && room >= self.window.div_ceil(2) {
            let request = consumer.batch().max_messages(room).expires(PULL_EXPIRES).messages();
            *batch = Some(request.await.map_err(Failure::transient)?);
        }
        Ok(())
    }

    async fn receive(&mut self, message: jetstream::Message, connection: u64) {
        match message::convert(&message, &self.target) {
            Conversion::Publish(event) => {
                let redelivered = message.info().is_ok_and(|info| info.delivered > 1);
                self.pending.add(event, message, redelivered);
            }
            Conversion::Skip => self.settle(&message, connection, AckKind::Ack).await,
            Conversion::Poison(reason) => {
                let parking =
                    consumer::park(self.bus.clone(), self.target.consumer, message, reason.to_owned());
                // In a separate task: the ack of the dead letter stream may take seconds.
                tokio::spawn(parking);
            }
        }
    }

    async fn progress(&mut self, progress: Progress, connection: u64) {
        match progress {
            Progress::Opened => {}
            Progress::Broken => self.pending.reset(),
            Progress::Confirmed(ordinal, Confirmation::Ack(returned)) => {
                if let Some(returned) = returned {
                    metrics::counter!("amqp_unroutable_total", "target" => self.target.consumer).increment(1);
                    let id = returned.properties.message_id().clone();
                    if let Some(id) = id.filter(|_| self.required.contains(returned.routing_key.as_str())) {
                        self.pending.mark_returned(id.to_string());
                    }
                }
                let outcome = self.pending.confirm(ordinal, |event| self.required.contains(&event.subject));
                for outcome in outcome.into_iter().chain(self.pending.decide()) {
                    self.finish_event(outcome, connection).await;
                }
            }
            Progress::Confirmed(ordinal, _) => {
                let event = self.pending.subject(ordinal).unwrap_or("an event").to_owned();
                self.publisher.set_refused(event);
                self.pending.reset();
            }
        }
    }

    async fn finish_event(&mut self, outcome: Outcome, connection: u64) {
        match outcome {
            Outcome::Published(message) => {
                metrics::counter!("amqp_published_total", "target" => self.target.consumer).increment(1);
                self.unrouted.remove(message.subject.as_str());
                self.settle(&message, connection, AckKind::Ack).await;
            }
            Outcome::Unrouted(message, event) => {
                metrics::counter!("amqp_kept_total", "target" => self.target.consumer).increment(1);
                if self.unrouted.insert(event.subject.clone(), Instant::now()).is_none() {
                    tracing::error!(
                        event = event.subject,
                        "no queue received it, although a service queue is configured for it; it is retried"
                    );
                }
                self.settle(&message, connection, AckKind::Nak(Some(RETRY_UNROUTED_AFTER))).await;
            }
        }
    }

    /// Acknowledges to JetStream, unless the connection has changed since the message was received.
    async fn settle(&mut self, message: &jetstream::Message, connection: u64, how: AckKind) {
        if *self.bus.connections().borrow() != connection || !self.bus.is_connected() {
            return;
        }
        if let Err(error) = message.ack_with(how).await {
            // It is redelivered after the ack wait, with the same id.
            tracing::warn!(target = self.target.consumer, error, "event not settled");
        }
    }

    /// Periodic work: progress acks, the time limit for confirms, and the report of events that reach no queue.
    async fn tick(&mut self, connection: u64) {
        let in_progress: Vec<jetstream::Message> = self
            .pending
            .without_progress_for(PROGRESS_EVERY)
            .map(|item| {
                item.progress_at = Instant::now();
                item.message.clone()
            })
            .collect();
        for message in &in_progress {
            self.settle(message, connection, AckKind::Progress).await;
        }
        if !self.publisher.is_ready() {
            // During an alarm the broker confirms nothing, so the time limit starts again after it.
            self.pending.restart_timers();
        }
        if self.pending.oldest().is_some_and(|age| age > CONFIRM_MAX) {
            self.publisher.abandon_connection(&format!("no confirm within {CONFIRM_MAX:?}"));
            self.pending.reset();
        }
        // Not seen for three retries: the event is no longer in the stream.
        self.unrouted.retain(|_, at| at.elapsed() < 3 * RETRY_UNROUTED_AFTER);
        let events: Vec<&str> = self.unrouted.keys().map(String::as_str).collect();
        let problem =
            format!("{} reach no queue, although service queues are configured for them", events.join(", "));
        // A key of this target's own, or another target without problems would clear it.
        let part = format!("unrouted events of {}", self.target.consumer);
        self.session.set_degraded(&part, (!events.is_empty()).then_some(problem));
    }

    /// Waits a moment for confirms, then returns the rest in stream order, so that the next start receives it at once.
    async fn finish(&mut self, mut batch: Option<Batch>, connection: u64) {
        let until = Instant::now() + DRAIN_MAX;
        while let Ok(Some(Ok(message))) = tokio::time::timeout_at(until, next(&mut batch)).await {
            self.receive(message, connection).await;
        }
        let until = Instant::now() + FINISH_MAX;
        while self.pending.in_flight() > 0
            && let Ok(progress) = tokio::time::timeout_at(until, self.publisher.next()).await
        {
            if matches!(progress, Progress::Broken) {
                break;
            }
            self.progress(progress, connection).await;
        }
        for message in self.pending.drain() {
            self.settle(&message, connection, AckKind::Nak(None)).await;
        }
        let _ = tokio::time::timeout(FINISH_MAX, self.bus.client.flush()).await;
    }
}

/// The next message of a pull; pending for ever if nothing was requested.
async fn next(
    batch: &mut Option<Batch>,
) -> Option<Result<jetstream::Message, Box<dyn std::error::Error + Send + Sync>>> {
    match batch {
        Some(batch) => batch.next().await,
        None => std::future::pending().await,
    }
}
