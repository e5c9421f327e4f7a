//! Pulls a durable consumer's messages, hands each to its domain, and settles it when the domain says how it went.
//!
//! Invariant: a message is acknowledged only by [`Delivery::ack`], which the domain calls after its commit.
//! Invariant: a message is parked only by its own fault: its handling failed as poison, or it arrived for the
//! N-th time while the infrastructure is well. While [`Wellness`] says no, nothing is pulled and nothing parked.

mod replay;

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
use crate::event::{CE_ID, CE_SOURCE, CE_TIME, MARQUEE_ONLY};
use crate::topology::{self, ConsumerSpec, DLQ_PREFIX};
use crate::{Bus, Context, Failure, retry, trace};

/// Messages asked for at once; the consumer's `max_ack_pending` bounds what is in hand in all.
const PULL_MAX: usize = 512;
const PULL_EXPIRES: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(3);
/// So long after an outage messages that it failed still come: a little more than the longest delay between tries.
const OUTAGE_ECHO: Duration = Duration::from_secs(60);
/// How often a consumer's lag is looked at: as often as metrics are scraped.
const LAG_EVERY: Duration = Duration::from_secs(15);
/// Characters of a reason in a dead letter's header.
const REASON_MAX: usize = 500;
/// How long a consumer that stops waits for messages that the server has already sent, to give them back.
const GIVE_BACK: Duration = Duration::from_millis(200);
/// Headers of a dead letter.
pub const DLQ_REASON: &str = "Marquee-Reason";
pub const DLQ_CONSUMER: &str = "Marquee-Consumer";
pub const DLQ_ATTEMPTS: &str = "Marquee-Attempts";

/// Whether what the handlers need (the database) is there. A domain's journal tells it.
pub type Wellness = watch::Receiver<bool>;

/// How a delivery ended.
enum Verdict {
    Done,
    /// Give it again after a delay.
    Retry(String),
    /// It can never be handled: to the dead letter stream with the reason.
    Park(String),
}

/// One message in hand. Settle it with [`ack`](Self::ack), [`retry`](Self::retry) or [`park`](Self::park);
/// one that is dropped (its actor died) is given again.
pub struct Delivery {
    /// The event's id: the key of the inbox, the same on every copy.
    pub id: String,
    pub subject: String,
    pub payload: Bytes,
    pub context: Context,
    /// Who says it (`ce-source`), such as `/marquee/movie`; empty when it does not say.
    pub source: String,
    /// When it became true (`ce-time`), where it says so readably.
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
        /// That it came over.
        connection: u64,
        settler: mpsc::UnboundedSender<Settlement>,
        /// Lasts until the message is settled.
        span: Span,
    },
    /// An operator waits for what becomes of it.
    DeadLetter(oneshot::Sender<Verdict>),
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
            // A closed channel means that the consumer is gone; the server gives the message again.
            Some(Origin::Stream { message, connection, settler, span }) => {
                if !matches!(verdict, Verdict::Done) {
                    trace::fail(&span);
                }
                let _ = settler.send(Settlement { message, connection, verdict, span });
            }
            // Or that the operator has given up; the letter is still there.
            Some(Origin::DeadLetter(asker)) => {
                let _ = asker.send(verdict);
            }
            None => {}
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle(Verdict::Retry("dropped unsettled".into()));
    }
}

impl Delivery {
    /// The payload as the event its subject promises.
    pub fn event<E: Event>(&self) -> Result<E, Failure> {
        serde_json::from_slice(&self.payload)
            .map_err(|e| Failure::poison(format!("not a {}: {e}", E::SUBJECT)))
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

    /// Transient → again after a delay, poison → parked.
    pub fn fail(self, failure: Failure) {
        match failure {
            Failure::Transient(why) => self.retry(why),
            Failure::Poison(why) => self.park(why),
        }
    }
}

/// Runs until `stop`, through every outage. `handle` must not block: it casts to an actor or spawns.
pub async fn run(
    bus: Bus,
    spec: ConsumerSpec,
    mut well: Wellness,
    stop: CancellationToken,
    handle: Arc<dyn Fn(Delivery) + Send + Sync>,
) -> Result<(), Failure> {
    // Unbounded, yet bounded in fact: no more than `max_ack_pending` messages are out at a time.
    let (settler, verdicts) = mpsc::unbounded_channel();
    let settling = tokio::spawn(settle(bus.clone(), spec.name, verdicts));
    let replaying =
        tokio::spawn(replay::serve(bus.clone(), spec.name, well.clone(), stop.clone(), handle.clone()));
    let mut intake = Intake { spec, settler, handle, unwell: None };
    let mut failures = 0u64;
    while !stop.is_cancelled() {
        let away = !*well.borrow();
        let until_well = well.wait_for(|well| *well);
        tokio::select! {
            _ = stop.cancelled() => break,
            gone = until_well => if gone.is_err() { break },
        }
        if away {
            intake.unwell = Some(Instant::now());
        }
        let pulled = pull(&bus, &mut intake, &mut well, &stop).await;
        if !*well.borrow() {
            intake.unwell = Some(Instant::now());
        }
        if let Err(failure) = pulled {
            failures += 1;
            tracing::warn!(consumer = spec.name, %failure, "consumer interrupted");
            tokio::select! {
                _ = stop.cancelled() => break,
                // A restarted NATS is back within seconds; waiting longer only adds to the outage.
                _ = tokio::time::sleep(retry::delay(failures.min(5), failures)) => {}
            }
        } else {
            failures = 0;
        }
    }
    drop(intake);
    // A letter that is being replayed is settled like the rest, or its asker is told nothing and looks again.
    let _ = tokio::time::timeout(Duration::from_secs(2), replaying).await;
    // What is still in hand settles on its own or is given again after the ack wait.
    let _ = tokio::time::timeout(Duration::from_secs(2), settling).await;
    Ok(())
}

/// Pulls until `stop`, until the database is away, or until NATS was connected anew.
async fn pull(
    bus: &Bus,
    intake: &mut Intake,
    well: &mut Wellness,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut connections = bus.connections();
    let connection = *connections.borrow_and_update();
    // Again on every interruption: after a wipe of NATS's data neither stream nor consumer is there.
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
    loop {
        let message = tokio::select! {
            biased;
            _ = stop.cancelled() => break,
            // The database went away: stop pulling, so that the outage is not counted against messages.
            _ = well.wait_for(|well| !*well) => break,
            // Perhaps to a server that has lost everything.
            _ = connections.changed() => return Ok(()),
            // Before the messages, so that it shows under load.
            _ = look.tick() => {
                tokio::spawn(measure(watch.clone(), intake.spec.name));
                continue;
            }
            message = messages.next() => message,
        };
        match message {
            Some(Ok(message)) => intake.receive(message, connection),
            Some(Err(error)) => return Err(Failure::transient(error)),
            None => return Err(Failure::transient("the pull ended")),
        }
    }
    // What was pulled and not handed on, some of it still on its way, need not wait for the end of the ack wait.
    let until = Instant::now() + GIVE_BACK;
    while let Ok(Some(Ok(message))) = tokio::time::timeout_at(until, messages.next()).await {
        intake
            .ticket(message, connection, Span::none())
            .settle(Verdict::Retry("pulled and not handled".into()));
    }
    Ok(())
}

/// Tells how far behind the consumer is. A look that fails says nothing; the pull notices an outage itself.
pub async fn measure(mut consumer: PullConsumer, name: &'static str) {
    if let Ok(info) = consumer.info().await {
        metrics::gauge!("consumer_lag", "consumer" => name).set(info.num_pending as f64);
        metrics::gauge!("consumer_in_hand", "consumer" => name).set(info.num_ack_pending as f64);
    }
}

/// Hands messages on.
struct Intake {
    spec: ConsumerSpec,
    settler: mpsc::UnboundedSender<Settlement>,
    handle: Arc<dyn Fn(Delivery) + Send + Sync>,
    /// When the database was last away, as far as this process has seen.
    unwell: Option<Instant>,
}

impl Intake {
    fn ticket(&self, message: jetstream::Message, connection: u64, span: Span) -> Ticket {
        Ticket(Some(Origin::Stream { message, connection, settler: self.settler.clone(), span }))
    }

    fn receive(&self, message: jetstream::Message, connection: u64) {
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
            format_args!("{consumer} hears {}", message.subject),
            correlation_id.as_deref(),
            traceparent.as_deref(),
        );
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
        // Before handling, so that a message that kills its host ends here too. Deliveries of an outage count for
        // nothing: a database that comes and goes must not park what it failed.
        let was_well = self.unwell.is_none_or(|at| at.elapsed() > OUTAGE_ECHO);
        if attempt >= retry::DELIVERIES_MAX && was_well {
            return delivery.park(format!("delivered {attempt} times"));
        }
        span.in_scope(|| (self.handle)(delivery));
    }
}

async fn settle(bus: Bus, consumer: &'static str, mut verdicts: mpsc::UnboundedReceiver<Settlement>) {
    let connections = bus.connections();
    while let Some(Settlement { message, connection, verdict, span }) = verdicts.recv().await {
        // An ack names only stream, consumer and sequence. After a wipe of NATS's data another message may have them,
        // and would be lost. Over a mere reconnect the message comes again, and the inbox knows it.
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
                    tracing::info!(consumer, subject = %message.subject, attempt = info.0, ?delay, why, "again later");
                });
                message.ack_with(AckKind::Nak(Some(delay))).await.map_err(|e| e.to_string())
            }
            Verdict::Park(reason) => {
                // In a task of its own: an ack from the dead letter stream may take seconds.
                tokio::spawn(park(bus.clone(), consumer, message, reason).instrument(span));
                Ok(())
            }
        };
        if let Err(error) = settled {
            // The server gives it again after the ack wait; the inbox makes that harmless.
            tracing::warn!(consumer, error, "message not settled");
        }
    }
}

/// First to the dead letter stream, and only after its ack away from the consumer.
pub async fn park(bus: Bus, consumer: &'static str, message: jetstream::Message, reason: String) {
    let attempts = message.info().map(|i| i.delivered).unwrap_or(0);
    let mut headers = message.headers.clone().unwrap_or_default();
    // One dead letter for each message and consumer, however often parking itself is repeated.
    let id = headers.get(CE_ID).map(|v| v.to_string()).unwrap_or_else(|| message.subject.to_string());
    let sequence = message.info().map(|i| i.stream_sequence).unwrap_or(0);
    headers.insert(async_nats::header::NATS_MESSAGE_ID, format!("{consumer}/{id}/{sequence}").as_str());
    let reason: String = reason.replace(['\r', '\n'], " ").chars().take(REASON_MAX).collect();
    headers.insert(DLQ_REASON, reason.as_str());
    headers.insert(DLQ_CONSUMER, consumer);
    headers.insert(DLQ_ATTEMPTS, attempts.to_string().as_str());
    let subject = format!("{DLQ_PREFIX}{}", message.subject);
    let stored = match bus.jetstream.publish_with_headers(subject, headers, message.payload.clone()).await {
        Ok(ack) => ack.await.map(|_| ()).map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let settled = match stored {
        Ok(()) => {
            metrics::counter!("dead_letters_total", "consumer" => consumer).increment(1);
            tracing::error!(consumer, subject = %message.subject, id, reason, attempts, "parked in the dead letter stream");
            message.ack_with(AckKind::Term).await
        }
        Err(error) => {
            tracing::error!(consumer, error, "dead letter not stored; again later");
            message.ack_with(AckKind::Nak(Some(retry::delay(5, sequence)))).await
        }
    };
    if let Err(error) = settled {
        tracing::warn!(consumer, %error, "message not settled");
    }
}
