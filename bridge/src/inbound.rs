//! From RabbitMQ to JetStream: consumes the bridge's two queues, and settles each message only when its result is stored
//! elsewhere: an event in the stream, a rejected message among the dead letters.
//!
//! Invariant: JetStream's ack first, RabbitMQ's second. No message is requeued because of its own content, so none delays
//! the others; during an outage of NATS nothing is consumed, and unsettled messages are returned. Requests alone are
//! acknowledged before they are answered: the caller of a request that is delivered again no longer waits for it.

mod classify;
mod not_stored;
mod rpc;
mod store;
mod subscribe;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use bus::contract::Timestamp;
use bus::{Bus, Failure, retry, topology, trace};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions};
use lapin::{BasicProperties, Channel};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::call::with_timeout;
use crate::names::REJECTED;
use crate::properties;
use crate::publish::{Address, publish};
use crate::{Names, Session, Settings};
use classify::{Action, InboundEvent, classify};
use not_stored::RefusedEvents;
use rpc::RpcServer;
use store::{Stored, send};
use subscribe::Subscription;

/// How often the connection to NATS is checked.
const CHECK_EVERY: Duration = Duration::from_millis(250);
/// How long unacknowledged publishes to JetStream may take when the bridge stops.
const FINISH_MAX: Duration = Duration::from_secs(5);
/// The same during an outage: only for acks that are about to arrive.
const FINISH_OUTAGE_MAX: Duration = Duration::from_millis(500);
/// The key of this part in [`Session::degraded`].
const PART: &str = "inbound";
/// The key of events that NATS refuses.
const PART_REFUSED: &str = "refused events";
/// After running this long without a failure, the next failure counts as the first.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Consumes the bridge's inbound queues; cheap to clone.
#[derive(Clone)]
pub struct Inbound {
    bus: Bus,
    session: Session,
    names: Arc<Names>,
    rpc: RpcServer,
    refused: RefusedEvents,
}

impl Inbound {
    pub fn new(bus: Bus, session: Session) -> Self {
        let names = Arc::new(Names::new(session.settings()));
        let rpc = RpcServer::new(bus.clone(), session.clone());
        Self { bus, session, names, rpc, refused: RefusedEvents::default() }
    }

    fn settings(&self) -> &Settings {
        self.session.settings()
    }

    /// Runs until `stop`, through every outage of either side.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Failure> {
        let mut failures = 0u64;
        while self.session.until_up(&stop).await.is_some() {
            let began = Instant::now();
            let Err(failure) = self.consume(&stop).await else { continue };
            failures = if began.elapsed() > STABLE_AFTER { 1 } else { failures + 1 };
            self.session.set_degraded(PART, Some(format!("nothing is received from RabbitMQ: {failure}")));
            tracing::warn!(%failure, "the bridge's inbound side is interrupted");
            tokio::select! {
                _ = stop.cancelled() => {}
                // After a restart either side is available within seconds; a longer delay only prolongs the outage.
                _ = tokio::time::sleep(retry::delay(failures.min(5), failures)) => {}
            }
        }
        self.rpc.close().await;
        Ok(())
    }

    /// Consumes until `stop` or until one of the two sides is unavailable.
    async fn consume(&self, stop: &CancellationToken) -> Result<(), Failure> {
        // Checks that NATS answers, and creates the stream if NATS's data was wiped.
        topology::ensure_streams(&self.bus).await?;
        let mut subscription = self.subscribe().await?;
        self.session.set_degraded(PART, None);
        // NATS may have been connected again, with other permissions.
        self.refused.clear();
        self.session.set_degraded(PART_REFUSED, None);
        tracing::info!(queues = ?[&self.names.private_inbox, &self.names.inbox], "the bridge consumes");
        let mut settling = FuturesUnordered::new();
        let mut check = tokio::time::interval(CHECK_EVERY);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                biased;
                _ = stop.cancelled() => break Ok(()),
                _ = check.tick() => if !self.bus.is_connected() {
                    break Err(Failure::transient("NATS is away"));
                },
                Some(settled) = settling.next() => if let Err(failure) = settled { break Err(failure) },
                delivery = subscription.deliveries.next() => match delivery {
                    Some(Ok(delivery)) => match self.handle(&subscription, delivery).await {
                        // Bounded by the prefetch counts of the two queues.
                        Ok(settled) => settling.push(settled),
                        Err(failure) => break Err(failure),
                    },
                    Some(Err(error)) => break Err(Failure::transient(error)),
                    None => break Err(Failure::transient("RabbitMQ ended the consumers")),
                },
            }
        };
        self.close(subscription, settling, ended.is_ok()).await;
        ended
    }

    /// Stops consuming, waits a moment for acks of JetStream, and returns what is not settled.
    async fn close(
        &self,
        subscription: Subscription,
        mut settling: FuturesUnordered<BoxFuture<'static, Result<(), Failure>>>,
        in_order: bool,
    ) {
        for queue in [&self.names.private_inbox, &self.names.inbox] {
            let cancelling =
                subscription.channel.basic_cancel(queue.as_str().into(), BasicCancelOptions::default());
            let _ = tokio::time::timeout(FINISH_OUTAGE_MAX, cancelling).await;
        }
        let finish = if in_order { FINISH_MAX } else { FINISH_OUTAGE_MAX };
        let _ = tokio::time::timeout(finish, async { while settling.next().await.is_some() {} }).await;
        // Everything unsettled, including deliveries that were not yet read. Closing the channel would return them too,
        // but only when the broker notices.
        let all = BasicNackOptions { multiple: true, requeue: true };
        let _ = tokio::time::timeout(FINISH_OUTAGE_MAX, subscription.channel.basic_nack(0, all)).await;
        let _ = tokio::time::timeout(FINISH_OUTAGE_MAX, subscription.channel.close(200, "OK".into())).await;
    }

    /// Classifies a message and starts the action; the returned future settles the message.
    async fn handle(
        &self,
        subscription: &Subscription,
        delivery: Delivery,
    ) -> Result<BoxFuture<'static, Result<(), Failure>>, Failure> {
        match classify(&delivery, self.settings(), &self.names, Timestamp::wall_clock()) {
            Action::Publish(event) if self.refused.contains(&event.subject) => {
                let (inbound, dead_letters) = (self.clone(), subscription.dead_letters.clone());
                let why = not_stored::reason(&event.subject);
                Ok(async move { inbound.reject(&dead_letters, delivery, "not-stored", &why).await }.boxed())
            }
            Action::Publish(event) => {
                let (span, context) = trace::enter(
                    trace::Kind::Consumer,
                    format_args!("bridge receives {}", event.subject),
                    event.trace.correlation_id.as_deref(),
                    event.trace.traceparent.as_deref(),
                );
                let headers = event.headers(&context);
                let message = PublishMessage::build().payload(event.payload.clone()).headers(headers);
                // Sent here and not in the future, so that the order in the stream is the order in the queue.
                let sent_at = Instant::now();
                let ack = send(&self.bus, &event, message.clone()).await?;
                let (inbound, dead_letters) = (self.clone(), subscription.dead_letters.clone());
                Ok(async move {
                    let stored = tokio::select! {
                        stored = inbound.stored(&event, message, ack) => stored,
                        () = inbound.bus.forbidden.refused(&event.subject, sent_at) => Stored::Refused,
                    };
                    inbound.settle(dead_letters, delivery, &event, stored, span).await
                }
                .boxed())
            }
            Action::Answer(request) => {
                // Before the answer, see the file's invariant.
                acknowledge(&delivery).await?;
                self.rpc.spawn(*request);
                Ok(futures::future::ready(Ok(())).boxed())
            }
            Action::Drop(why) => {
                metrics::counter!("amqp_dropped_total", "why" => why).increment(1);
                tracing::debug!(why, "an inbound message is dropped");
                Ok(async move { acknowledge(&delivery).await }.boxed())
            }
            Action::Reject { code, why } => {
                let (inbound, dead_letters) = (self.clone(), subscription.dead_letters.clone());
                Ok(async move { inbound.reject(&dead_letters, delivery, code, &why).await }.boxed())
            }
        }
    }

    /// Acknowledges to RabbitMQ what JetStream has stored, and moves what it never will to the dead letters.
    async fn settle(
        &self,
        dead_letters: Channel,
        delivery: Delivery,
        event: &InboundEvent,
        stored: Stored,
        span: Span,
    ) -> Result<(), Failure> {
        let InboundEvent { subject, id, .. } = event;
        if !matches!(stored, Stored::Acknowledged(_)) {
            trace::fail(&span);
        }
        match stored {
            Stored::Acknowledged(ack) => {
                span.in_scope(|| {
                    tracing::debug!(subject, id, ack.sequence, ack.duplicate, "received");
                });
                if self.refused.remove(subject) {
                    self.report_refused();
                }
                // Subjects are names of the contract, so the number of labels is bounded.
                metrics::counter!("amqp_taken_in_total", "event" => subject.clone()).increment(1);
                acknowledge(&delivery).await
            }
            Stored::Refused => {
                self.refused.add(subject);
                self.report_refused();
                self.reject(&dead_letters, delivery, "not-stored", &not_stored::reason(subject)).await
            }
            Stored::TooLarge(why) => self.reject(&dead_letters, delivery, "too-large", &why).await,
            Stored::Failed(failure) => Err(failure),
        }
    }

    fn report_refused(&self) {
        self.session.set_degraded(PART_REFUSED, self.refused.problem());
    }

    /// Publishes the message to the dead letters, and only then acknowledges it.
    async fn reject(
        &self,
        dead_letters: &Channel,
        delivery: Delivery,
        code: &'static str,
        why: &str,
    ) -> Result<(), Failure> {
        let id = delivery.properties.message_id().as_ref().map(|id| id.as_str()).unwrap_or_default();
        let routing_key = delivery.routing_key.as_str();
        tracing::warn!(code, why, id, routing_key, "an inbound message is rejected");
        metrics::counter!("amqp_rejected_total", "reason" => code).increment(1);
        let properties = rejected(&delivery, code, why);
        let address =
            Address { exchange: &self.names.dead_letter_exchange, routing_key: REJECTED, mandatory: false };
        publish(dead_letters, address, &delivery.data, properties).await?;
        acknowledge(&delivery).await
    }
}

/// The properties of a rejected message: with its exchange and routing key, so that a replay finds the same event.
fn rejected(delivery: &Delivery, code: &str, why: &str) -> BasicProperties {
    let mut changes = vec![properties::reason(&format!("{code}: {why}"))];
    if !delivery.exchange.as_str().is_empty() {
        changes.push((properties::EXCHANGE, Some(delivery.exchange.to_string())));
        changes.push((properties::ROUTING_KEY, Some(delivery.routing_key.to_string())));
    }
    properties::republished(&delivery.properties, &changes)
}

async fn acknowledge(delivery: &Delivery) -> Result<(), Failure> {
    let acked = with_timeout(delivery.acker.ack(BasicAckOptions::default())).await?;
    if acked { Ok(()) } else { Err(Failure::transient("the channel is closed")) }
}
