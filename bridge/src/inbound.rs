//! From RabbitMQ to JetStream: consumes the bridge's two queues, and settles each message only when what became of it is
//! safe elsewhere: an event in the stream, a refused message among the dead letters.
//!
//! Invariant: JetStream's ack first, RabbitMQ's second. Nothing is requeued for its own fault, so nothing stalls the rest;
//! while NATS is away nothing is consumed and what was in hand goes back. Requests alone are acknowledged before they are
//! answered: nobody waits any more for one that is delivered a second time.

mod classify;
mod rpc;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, ErrorCode};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, SelectAll};
use futures::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    QueueBindOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Consumer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::call::{Declined, close, declare_queue, declare_topic, within};
use crate::names::REJECTED;
use crate::properties;
use crate::publish::{Address, publish};
use crate::{Names, Session, Settings};
use bus::contract::{self, Timestamp};
use bus::{Bus, Failure, retry, topology, trace};
use classify::{Event, Step, judge};
use rpc::Desk;

/// How often it is looked whether NATS is there.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long messages that are on their way to JetStream may take when the intake stops in order.
const FINISH: Duration = Duration::from_secs(5);
/// And when it stops because something is away: only what is as good as done.
const FINISH_AWAY: Duration = Duration::from_millis(500);
/// What a complaint is about.
const INTAKE: &str = "inbound";
/// What went well so long was no failure of before.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// What the intake works with.
#[derive(Clone)]
pub struct Inbound {
    bus: Bus,
    session: Session,
    names: Arc<Names>,
    desk: Desk,
}

/// The consumers of one connection, and where to publish beside them.
struct Line {
    channel: Channel,
    /// With confirms: what is refused.
    letters: Channel,
    deliveries: SelectAll<Consumer>,
}

impl Inbound {
    pub fn new(bus: Bus, session: Session) -> Self {
        let names = Arc::new(Names::new(session.settings()));
        let desk = Desk::new(bus.clone(), session.clone());
        Self { bus, session, names, desk }
    }

    fn settings(&self) -> &Settings {
        self.session.settings()
    }

    /// Takes in until `stop`, through every outage of either side.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Failure> {
        let mut failures = 0u64;
        while self.session.until_up(&stop).await.is_some() {
            let began = Instant::now();
            let Err(failure) = self.take_in(&stop).await else { continue };
            failures = if began.elapsed() > GOOD_AFTER { 1 } else { failures + 1 };
            self.session.complain(INTAKE, Some(format!("nothing comes in from RabbitMQ: {failure}")));
            tracing::warn!(%failure, "the bridge's intake is interrupted");
            tokio::select! {
                _ = stop.cancelled() => {}
                // Either side is back within seconds; waiting longer only adds to the outage.
                _ = tokio::time::sleep(retry::delay(failures.min(5), failures)) => {}
            }
        }
        self.desk.close().await;
        Ok(())
    }

    /// Consumes until `stop` or until one of the two sides is away.
    async fn take_in(&self, stop: &CancellationToken) -> Result<(), Failure> {
        // That NATS answers, and that there is a stream, also after its data was wiped.
        topology::ensure_streams(&self.bus).await?;
        let mut line = self.open().await?;
        self.session.complain(INTAKE, None);
        tracing::info!(queues = ?[&self.names.private_inbox, &self.names.inbox], "the bridge takes in");
        let mut in_hand = FuturesUnordered::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                biased;
                _ = stop.cancelled() => break Ok(()),
                _ = look.tick() => if !self.bus.is_connected() {
                    break Err(Failure::transient("NATS is away"));
                },
                Some(settled) = in_hand.next() => if let Err(failure) = settled { break Err(failure) },
                delivery = line.deliveries.next() => match delivery {
                    Some(Ok(delivery)) => match self.take(&line, delivery).await {
                        // No more of them than the prefetch counts of both queues.
                        Ok(settling) => in_hand.push(settling),
                        Err(failure) => break Err(failure),
                    },
                    Some(Err(error)) => break Err(Failure::transient(error)),
                    None => break Err(Failure::transient("RabbitMQ ended the consumers")),
                },
            }
        };
        self.close(line, in_hand, ended.is_ok()).await;
        ended
    }

    /// Stops consuming and gives back what is in hand; what is on its way to JetStream may first arrive.
    async fn close(
        &self,
        line: Line,
        mut in_hand: FuturesUnordered<BoxFuture<'static, Result<(), Failure>>>,
        in_order: bool,
    ) {
        for queue in [&self.names.private_inbox, &self.names.inbox] {
            let cancelling = line.channel.basic_cancel(queue.as_str().into(), BasicCancelOptions::default());
            let _ = tokio::time::timeout(FINISH_AWAY, cancelling).await;
        }
        let finish = if in_order { FINISH } else { FINISH_AWAY };
        let _ = tokio::time::timeout(finish, async { while in_hand.next().await.is_some() {} }).await;
        // All that is left, with what was sent and not looked at. Closing the channel would give it back as well, but
        // only when the broker notices.
        let all = BasicNackOptions { multiple: true, requeue: true };
        let _ = tokio::time::timeout(FINISH_AWAY, line.channel.basic_nack(0, all)).await;
        let _ = tokio::time::timeout(FINISH_AWAY, line.channel.close(200, "OK".into())).await;
    }

    /// Declares, binds and consumes.
    async fn open(&self) -> Result<Line, Failure> {
        self.declare().await?;
        self.declare_inbox().await?;
        let (names, settings) = (&*self.names, self.settings());
        let channel = self.session.channel().await?;
        within(channel.basic_qos(settings.prefetch, BasicQosOptions::default())).await?;
        let mut deliveries = SelectAll::new();
        for queue in [&names.private_inbox, &names.inbox] {
            let (queue, tag) = (queue.as_str().into(), queue.as_str().into());
            let options = BasicConsumeOptions::default();
            deliveries.push(within(channel.basic_consume(queue, tag, options, FieldTable::default())).await?);
        }
        let letters = self.session.channel().await?;
        within(letters.confirm_select(Default::default())).await?;
        Ok(Line { channel, letters, deliveries })
    }

    /// Exchanges, and the private queue with its bindings.
    async fn declare(&self) -> Result<(), Failure> {
        let channel = self.session.channel_aside().await?;
        let (names, settings) = (&*self.names, self.settings());
        let exchanges = [Some(&names.exchange), names.raw_exchange.as_ref()].into_iter().flatten();
        for exchange in exchanges.clone() {
            declare_topic(&channel, exchange).await?;
        }
        crate::retry::declare(&channel, names).await?;
        declare_queue(&channel, &names.private_inbox, true, FieldTable::default()).await?;
        for exchange in exchanges {
            let patterns = settings.rpc.iter().map(|(pattern, _)| pattern);
            let (queue, exchange) = (names.private_inbox.as_str(), exchange.as_str());
            // What was allowed before and is no more would only fill the dead letters.
            for key in contract::event_subjects()
                .filter(|subject| settings.inbound.iter().all(|allowed| allowed != subject))
            {
                let none = FieldTable::default();
                within(channel.queue_unbind(queue.into(), exchange.into(), key.into(), none)).await?;
            }
            for key in settings.inbound.iter().chain(patterns) {
                let options = QueueBindOptions::default();
                within(channel.queue_bind(
                    queue.into(),
                    exchange.into(),
                    key.as_str().into(),
                    options,
                    FieldTable::default(),
                ))
                .await?;
            }
        }
        close(channel).await
    }

    /// A Nest client asserts this queue as its own, perhaps before us and otherwise; then it is used as it is.
    async fn declare_inbox(&self) -> Result<(), Failure> {
        let channel = self.session.channel_aside().await?;
        let inbox = &self.names.inbox;
        match declare_queue(&channel, inbox, self.settings().inbox_durable, FieldTable::default()).await {
            Ok(()) => close(channel).await,
            // The channel is closed by that.
            Err(different @ Declined::Different { .. }) => {
                tracing::warn!(%different, "the inbox is used as it is; see AMQP_INBOX_DURABLE");
                Ok(())
            }
            Err(failed) => Err(failed.into()),
        }
    }

    /// Decides about a message and begins what has to be done; the future settles it.
    async fn take(
        &self,
        line: &Line,
        delivery: Delivery,
    ) -> Result<BoxFuture<'static, Result<(), Failure>>, Failure> {
        let step = judge(&delivery, self.settings(), &self.names, Timestamp::wall_clock());
        match step {
            Step::Publish(event) => {
                let (span, context) = trace::enter(
                    trace::Kind::Consumer,
                    format_args!("bridge takes in {}", event.subject),
                    event.trace.correlation_id.as_deref(),
                    event.trace.traceparent.as_deref(),
                );
                let headers = event.headers(&context);
                let message = PublishMessage::build().payload(event.payload.clone()).headers(headers);
                // Here and not in the future, so that the stream's order is the queue's.
                let ack = send(&self.bus, &event, message.clone()).await?;
                let (inbound, letters) = (self.clone(), line.letters.clone());
                Ok(async move { inbound.stored(letters, delivery, &event, message, ack, span).await }.boxed())
            }
            Step::Answer(question) => {
                // Before the answer, see above.
                acknowledge(&delivery).await?;
                self.desk.take(*question);
                Ok(futures::future::ready(Ok(())).boxed())
            }
            Step::Drop(why) => {
                metrics::counter!("amqp_dropped_total", "why" => why).increment(1);
                tracing::debug!(why, "an inbound message is dropped");
                Ok(async move { acknowledge(&delivery).await }.boxed())
            }
            Step::Reject { code, why } => {
                let letters = line.letters.clone();
                let inbound = self.clone();
                Ok(async move { inbound.reject(&letters, delivery, code, &why).await }.boxed())
            }
        }
    }

    /// Waits for JetStream's ack and gives RabbitMQ's.
    async fn stored(
        &self,
        letters: Channel,
        delivery: Delivery,
        event: &Event,
        message: PublishMessage,
        ack: PublishAckFuture,
        span: Span,
    ) -> Result<(), Failure> {
        let mut stored = ack.await;
        if matches!(&stored, Err(error) if error.kind() == PublishErrorKind::TimedOut) {
            // An outage, or a refusal, which NATS tells nobody: a permission that is missing. The stream's answer to
            // something else tells which; under the same id the second try is no second event.
            topology::events(&self.bus).await?;
            stored = send(&self.bus, event, message).await?.await;
            if matches!(&stored, Err(error) if error.kind() == PublishErrorKind::TimedOut) {
                topology::events(&self.bus).await?;
                trace::fail(&span);
                let why = format!("NATS does not take {}; see the bridge's user in nats.conf", event.subject);
                return self.reject(&letters, delivery, "not-stored", &why).await;
            }
        }
        match stored {
            Ok(ack) => {
                span.in_scope(|| {
                    tracing::debug!(
                        subject = event.subject,
                        id = event.id,
                        ack.sequence,
                        ack.duplicate,
                        "taken in"
                    );
                });
                // A subject is a name of the contract, so these are few.
                metrics::counter!("amqp_taken_in_total", "event" => event.subject.clone()).increment(1);
                acknowledge(&delivery).await
            }
            Err(error) if is_too_large(&error) => {
                trace::fail(&span);
                self.reject(&letters, delivery, "too-large", &error.to_string()).await
            }
            Err(error) => {
                trace::fail(&span);
                Err(Failure::transient(error))
            }
        }
    }

    /// Among the dead letters first, and only then away from its queue.
    async fn reject(
        &self,
        letters: &Channel,
        delivery: Delivery,
        code: &'static str,
        why: &str,
    ) -> Result<(), Failure> {
        let id = delivery.properties.message_id().as_ref().map(|id| id.as_str()).unwrap_or_default();
        let routing_key = delivery.routing_key.as_str();
        tracing::warn!(code, why, id, routing_key, "an inbound message is refused");
        metrics::counter!("amqp_rejected_total", "reason" => code).increment(1);
        let properties = rejected(&delivery, code, why);
        let address =
            Address { exchange: &self.names.dead_letter_exchange, routing_key: REJECTED, mandatory: false };
        publish(letters, address, &delivery.data, properties).await?;
        acknowledge(&delivery).await
    }
}

/// A refused message keeps where it came in, so that a replay finds the same event.
fn rejected(delivery: &Delivery, code: &str, why: &str) -> BasicProperties {
    let mut changes = vec![properties::reason(&format!("{code}: {why}"))];
    if !delivery.exchange.as_str().is_empty() {
        changes.push((properties::EXCHANGE, Some(delivery.exchange.to_string())));
        changes.push((properties::ROUTING_KEY, Some(delivery.routing_key.to_string())));
    }
    properties::again(&delivery.properties, &changes)
}

async fn send(bus: &Bus, event: &Event, message: PublishMessage) -> Result<PublishAckFuture, Failure> {
    bus.jetstream.send_publish(event.subject.clone(), message).await.map_err(Failure::transient)
}

async fn acknowledge(delivery: &Delivery) -> Result<(), Failure> {
    let acked = within(delivery.acker.ack(BasicAckOptions::default())).await?;
    if acked { Ok(()) } else { Err(Failure::transient("the channel is closed")) }
}

fn is_too_large(error: &jetstream::context::PublishError) -> bool {
    use std::error::Error as _;
    let source = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
    error.kind() == PublishErrorKind::MaxPayloadExceeded
        || source.is_some_and(|error| error.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)
}
