//! Pulls a durable consumer's messages, passes each to its domain, and settles it according to the domain's result.
//!
//! Invariant: a message is acknowledged only by [`Delivery::ack`], which the domain calls after its commit.
//! Invariant: a message is parked only because of its own content: its handling failed as poison, or it was delivered for
//! the N-th time while the infrastructure works. While the database is down ([`DatabaseUp`]) nothing is pulled and nothing
//! is parked.

mod parking;
mod places;
mod refill;
mod replay;

pub use parking::park;
pub use refill::Refill;
pub use replay::serve as serve_replays;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, AckKind};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::context::{CORRELATION_ID, TRACEPARENT};
use crate::contract::{Event, Timestamp};
use crate::dead_letter::HANDLING_MAX;
use crate::event::{CE_ID, CE_SOURCE, CE_TIME, MARQUEE_ONLY};
use crate::topology::{self, ConsumerSpec};
use crate::{Bus, Context, Failure, retry, trace};
use places::{Place, Places};

/// Messages requested at once; [`Places`] bounds those that are handled.
const PULL_MAX: usize = 512;
const PULL_EXPIRES: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long after an outage messages that failed during it are redelivered: a little more than the longest retry delay.
const AFTER_OUTAGE: Duration = Duration::from_secs(60);
/// How often a consumer's lag is measured: as often as metrics are scraped.
const LAG_EVERY: Duration = Duration::from_secs(15);
/// How long a consumer that stops waits for messages that the server has already sent, to return them.
const DRAIN_MAX: Duration = Duration::from_millis(200);

/// Whether the database, which the handlers need, is available. A domain's journal publishes it.
pub type DatabaseUp = watch::Receiver<bool>;

/// The result of handling a delivery.
enum Verdict {
    Done,
    /// Redeliver it after a delay.
    Retry(String),
    /// It can never be handled: move it to the dead letter stream with the reason.
    Park(String),
}

/// One delivered message. Settle it with [`ack`](Self::ack), [`retry`](Self::retry) or [`park`](Self::park);
/// one that is dropped (its actor died) is redelivered.
pub struct Delivery {
    /// The event's id, the same on every copy.
    pub id: String,
    pub subject: String,
    pub payload: Bytes,
    pub context: Context,
    /// Its source (`ce-source`), such as `/marquee/movie`; empty if it has none.
    pub source: String,
    /// When it occurred (`ce-time`), if that is readable.
    pub time: Option<Timestamp>,
    /// Counts from 1.
    pub attempt: u64,
    ticket: Ticket,
}

/// Taken when the delivery is settled.
struct Ticket(Option<Origin>);

enum Origin {
    Stream {
        message: jetstream::Message,
        /// The connection over which it was received.
        connection: u64,
        settler: mpsc::UnboundedSender<Settlement>,
        /// Lasts until the message is settled.
        span: Span,
        /// Taken while it is handled.
        place: Option<Place>,
    },
    /// The requester waits for the result: a dead letter that is replayed, an event of an archive.
    Waiting(oneshot::Sender<Verdict>),
}

struct Settlement {
    message: jetstream::Message,
    connection: u64,
    verdict: Verdict,
    span: Span,
}

impl Ticket {
    fn settle(&mut self, verdict: Verdict) {
        match self.0.take() {
            // A closed channel means that the consumer has ended; the server redelivers the message.
            Some(Origin::Stream { message, connection, settler, span, place }) => {
                drop(place);
                if !matches!(verdict, Verdict::Done) {
                    trace::fail(&span);
                }
                let _ = settler.send(Settlement { message, connection, verdict, span });
            }
            // A closed channel means that the requester no longer waits; the event is still stored.
            Some(Origin::Waiting(requester)) => {
                let _ = requester.send(verdict);
            }
            None => {}
        }
    }

    fn hold(&mut self, taken: Place) {
        if let Some(Origin::Stream { place, .. }) = &mut self.0 {
            *place = Some(taken);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle(Verdict::Retry("dropped unsettled".into()));
    }
}

impl Delivery {
    /// Decodes the payload as the event of its subject.
    pub fn event<E: Event>(&self) -> Result<E, Failure> {
        crate::event::read(&self.payload)
    }

    pub fn ack(mut self) {
        self.ticket.settle(Verdict::Done);
    }

    pub fn retry(mut self, why: impl std::fmt::Display) {
        self.ticket.settle(Verdict::Retry(why.to_string()));
    }

    pub fn park(mut self, reason: impl std::fmt::Display) {
        self.ticket.settle(Verdict::Park(reason.to_string()));
    }

    /// Transient: redelivered after a delay. Poison: parked.
    pub fn fail(self, failure: Failure) {
        match failure {
            Failure::Transient(why) => self.retry(why),
            Failure::Poison(why) => self.park(why),
        }
    }
}

/// Has an event handled that does not come from the stream; `None` where there is no verdict within [`HANDLING_MAX`].
async fn verdict_of(handle: &(dyn Fn(Delivery) + Send + Sync), delivery: Delivery) -> Option<Verdict> {
    let (sender, verdict) = oneshot::channel();
    handle(Delivery { ticket: Ticket(Some(Origin::Waiting(sender))), ..delivery });
    // A ticket that is dropped is settled too, so the channel has a verdict in the end.
    tokio::time::timeout(HANDLING_MAX, verdict).await.ok()?.ok()
}

/// Runs until `stop`, through every outage. `handle` must not block: it casts to an actor or spawns a task.
pub async fn run(
    bus: Bus,
    spec: ConsumerSpec,
    mut database_up: DatabaseUp,
    stop: CancellationToken,
    handle: Arc<dyn Fn(Delivery) + Send + Sync>,
) -> Result<(), Failure> {
    // Bounded in practice: by the places, and by the retries that wait for one.
    let (settler, verdicts) = mpsc::unbounded_channel();
    let settling = tokio::spawn(settle(bus.clone(), spec.name, verdicts));
    let replaying = tokio::spawn(replay::serve(
        bus.clone(),
        spec.name,
        database_up.clone(),
        stop.clone(),
        handle.clone(),
    ));
    let places = Places::new();
    let mut intake = Intake { spec, settler, handle, places, down_at: None };
    let mut failures = 0u64;
    while !stop.is_cancelled() {
        let is_down = !*database_up.borrow();
        let until_up = database_up.wait_for(|database_up| *database_up);
        tokio::select! {
            _ = stop.cancelled() => break,
            closed = until_up => if closed.is_err() { break },
        }
        if is_down {
            intake.down_at = Some(Instant::now());
        }
        let pulled = pull(&bus, &mut intake, &mut database_up, &stop).await;
        if !*database_up.borrow() {
            intake.down_at = Some(Instant::now());
        }
        if let Err(failure) = pulled {
            failures += 1;
            tracing::warn!(consumer = spec.name, %failure, "consumer interrupted");
            tokio::select! {
                _ = stop.cancelled() => break,
                // A restarted NATS is available within seconds; a longer delay only prolongs the outage.
                _ = tokio::time::sleep(retry::delay(failures.min(5), failures)) => {}
            }
        } else {
            failures = 0;
        }
    }
    drop(intake);
    // A dead letter that is being replayed is settled like the others; otherwise the operator's request times out.
    let _ = tokio::time::timeout(Duration::from_secs(2), replaying).await;
    // Unsettled messages are settled by their handlers or redelivered after the ack wait.
    let _ = tokio::time::timeout(Duration::from_secs(2), settling).await;
    Ok(())
}

/// Pulls until `stop`, until the database is down, or until NATS was reconnected.
async fn pull(
    bus: &Bus,
    intake: &mut Intake,
    database_up: &mut DatabaseUp,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut connections = bus.connections();
    let connection = *connections.borrow_and_update();
    // Repeated after every interruption: if NATS's data was wiped, neither stream nor consumer exists.
    topology::ensure_streams(bus).await?;
    let consumer = topology::ensure_consumer(bus, intake.spec).await?;
    let watch = consumer.clone();
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(PULL_MAX)
        .expires(PULL_EXPIRES)
        .heartbeat(HEARTBEAT)
        .messages()
        .await
        .map_err(Failure::transient)?;
    let mut look = tokio::time::interval(LAG_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Retries that wait for a place are returned when the pull ends.
    let pulling = stop.child_token();
    let _ended = pulling.clone().drop_guard();
    loop {
        let next = async { (intake.places.for_new().await, messages.next().await) };
        let (place, message) = tokio::select! {
            biased;
            _ = stop.cancelled() => break,
            // The database is down: stop pulling, so that the outage does not count as failed deliveries.
            _ = database_up.wait_for(|database_up| !*database_up) => break,
            // Possibly to a server that has lost its data.
            _ = connections.changed() => return Ok(()),
            // Before the messages, so that the lag is measured under load.
            _ = look.tick() => {
                tokio::spawn(measure(watch.clone(), intake.spec.name));
                continue;
            }
            next = next => next,
        };
        match message {
            Some(Ok(message)) => intake.receive(message, connection, place, &pulling),
            Some(Err(error)) => return Err(Failure::transient(error)),
            None => return Err(Failure::transient("the pull ended")),
        }
    }
    pulling.cancel();
    // Return pulled messages that were not handled, including those still in transfer, before their ack wait ends.
    let until = Instant::now() + DRAIN_MAX;
    while let Ok(Some(Ok(message))) = tokio::time::timeout_at(until, messages.next()).await {
        intake
            .ticket(message, connection, Span::none())
            .settle(Verdict::Retry("pulled and not handled".into()));
    }
    Ok(())
}

/// Sets the metrics of the consumer's lag. A failure is ignored: the pull itself detects an outage.
pub async fn measure(mut consumer: PullConsumer, name: &'static str) {
    if let Ok(info) = consumer.info().await {
        metrics::gauge!("consumer_lag", "consumer" => name).set(info.num_pending as f64);
        metrics::gauge!("consumer_in_hand", "consumer" => name).set(info.num_ack_pending as f64);
    }
}

/// Passes messages to the domain.
struct Intake {
    spec: ConsumerSpec,
    settler: mpsc::UnboundedSender<Settlement>,
    handle: Arc<dyn Fn(Delivery) + Send + Sync>,
    places: Places,
    /// When this process last saw the database down.
    down_at: Option<Instant>,
}

impl Intake {
    fn ticket(&self, message: jetstream::Message, connection: u64, span: Span) -> Ticket {
        Ticket(Some(Origin::Stream { message, connection, settler: self.settler.clone(), span, place: None }))
    }

    fn receive(
        &self,
        message: jetstream::Message,
        connection: u64,
        place: Place,
        pulling: &CancellationToken,
    ) {
        #[cfg(feature = "planted")]
        if crate::config::planted("ack-before-commit") {
            let early = message.clone();
            tokio::spawn(async move { early.ack().await.map_err(|error| error.to_string()) });
        }
        let consumer = self.spec.name;
        let attempt = message.info().map(|info| info.delivered.max(1) as u64).unwrap_or(1);
        let header =
            |name: &str| message.headers.as_ref().and_then(|h| h.get(name)).map(|v| v.as_str().to_owned());
        let only = header(MARQUEE_ONLY);
        let id = header(CE_ID);
        let (correlation_id, traceparent) = (header(CORRELATION_ID), header(TRACEPARENT));
        let (span, context) = trace::enter(
            trace::Kind::Consumer,
            format_args!("{consumer} receives {}", message.subject),
            correlation_id.as_deref(),
            traceparent.as_deref(),
        );
        let retried = (attempt > 1).then(|| message.clone());
        let delivery = Delivery {
            id: id.clone().unwrap_or_default(),
            subject: message.subject.to_string(),
            payload: message.payload.clone(),
            context,
            source: header(CE_SOURCE).unwrap_or_default(),
            time: header(CE_TIME).and_then(|time| serde_json::from_value(time.into()).ok()),
            attempt,
            ticket: self.ticket(message, connection, span.clone()),
        };
        metrics::counter!("events_received_total", "consumer" => consumer).increment(1);
        if only.is_some_and(|only| only != consumer) {
            return delivery.ack();
        }
        if id.is_none_or(|id| id.is_empty() || id.len() > 200) {
            return delivery.park("the message has no ce-id");
        }
        // Before handling, so that a message that kills its host is parked too. Deliveries around an outage do not count:
        // a database that fails repeatedly must not park the messages that it failed.
        let was_up = self.down_at.is_none_or(|at| at.elapsed() > AFTER_OUTAGE);
        if attempt >= retry::DELIVERIES_MAX && was_up {
            return delivery.park(format!("delivered {attempt} times"));
        }
        match retried {
            None => self.pass(delivery, place, &span),
            Some(message) => {
                drop(place);
                self.pass_retry(delivery, message, span, pulling.clone());
            }
        }
    }

    fn pass(&self, mut delivery: Delivery, place: Place, span: &Span) {
        delivery.ticket.hold(place);
        span.in_scope(|| (self.handle)(delivery));
    }

    /// Passes a retry to the domain once it has a place.
    fn pass_retry(
        &self,
        mut delivery: Delivery,
        message: jetstream::Message,
        span: Span,
        pulling: CancellationToken,
    ) {
        if let Some(place) = self.places.for_retry() {
            return self.pass(delivery, place, &span);
        }
        let (places, handle) = (self.places.clone(), self.handle.clone());
        tokio::spawn(async move {
            // Without a place it is dropped, which returns it to the server.
            if let Some(place) = places.until_retry(&message, &pulling).await {
                delivery.ticket.hold(place);
                span.in_scope(|| handle(delivery));
            }
        });
    }
}

async fn settle(bus: Bus, consumer: &'static str, mut verdicts: mpsc::UnboundedReceiver<Settlement>) {
    let connections = bus.connections();
    while let Some(Settlement { message, connection, verdict, span }) = verdicts.recv().await {
        // An ack names only stream, consumer and sequence. After NATS's data was wiped another message may have the same,
        // and would be lost. After a plain reconnect the message is redelivered, and its handler is idempotent.
        if *connections.borrow() != connection || !bus.is_connected() {
            continue;
        }
        let settled = match verdict {
            Verdict::Done => message.ack().await.map_err(|e| e.to_string()),
            Verdict::Retry(why) => {
                let info =
                    message.info().map(|i| (i.delivered.max(1) as u64, i.stream_sequence)).unwrap_or((1, 0));
                let delay = retry::delay(info.0, info.1);
                span.in_scope(|| {
                    tracing::info!(consumer, subject = %message.subject, attempt = info.0, ?delay, why, "redelivered later");
                });
                message.ack_with(AckKind::Nak(Some(delay))).await.map_err(|e| e.to_string())
            }
            Verdict::Park(reason) => {
                // In a separate task: the ack of the dead letter stream may take seconds.
                tokio::spawn(park(bus.clone(), consumer, message, reason).instrument(span));
                Ok(())
            }
        };
        if let Err(error) = settled {
            // The server redelivers it after the ack wait; its handler is idempotent.
            tracing::warn!(consumer, error, "message not settled");
        }
    }
}
