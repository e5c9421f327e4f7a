//! Retries dead letters of service queues: each returns to the one queue that it came from, after a delay in a retry queue;
//! after its last retry it is moved to the final dead letter queue, for a person to examine.
//!
//! Invariant: a message is published with a confirm before the dead letter is acknowledged; it never passes the main
//! exchanges, where every other service would receive it again. A header of our own counts the retries, because RabbitMQ 4
//! does not continue the count in `x-death` when a message is published again. A message that cannot be returned is
//! parked, never dropped.

mod decide;
mod route;

use std::collections::HashMap;
use std::time::Duration;

use bus::Failure;
use bus::contract::Timestamp;
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call::{close, with_timeout};
use crate::names::{REJECTED, retry};
use crate::properties::{self, ATTEMPT, DEAD_LETTER_ID, PARKED_AT, QUEUE, ROUTING_KEY, header};
use crate::publish::{Address, PublishError, publish};
use crate::{Names, Session};
use decide::{Decision, decide};
pub(crate) use route::{RouteError, declare, declare_requeue};

/// Unacknowledged dead letters. They are settled one after another, so more would only wait in this process.
const PREFETCH: u16 = 32;
/// How long a declared route is assumed to exist. A service that deletes and recreates its queue removes the binding.
const DECLARED_FOR: Duration = Duration::from_secs(60);
/// Routes that are cached: more than a broker of one deployment has.
const DECLARED_MAX: usize = 1_000;
/// The key of this part in [`Session::degraded`].
const PART: &str = "retries";
/// After running this long without a failure, the next failure counts as the first.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Consumes dead letters.
pub struct Retrier {
    session: Session,
    names: Names,
    /// Retry queues, and when they were declared.
    declared: HashMap<String, Instant>,
}

impl Retrier {
    pub fn new(session: Session) -> Self {
        let names = Names::new(session.settings());
        Self { session, names, declared: HashMap::new() }
    }

    /// Runs until `stop`, through every outage.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        let mut failures = 0u64;
        while self.session.until_up(&stop).await.is_some() {
            let began = Instant::now();
            let Err(failure) = self.consume(&stop).await else { continue };
            failures = if began.elapsed() > STABLE_AFTER { 1 } else { failures + 1 };
            self.session.set_degraded(PART, Some(format!("dead letters on RabbitMQ wait: {failure}")));
            tracing::warn!(%failure, "the bridge's retries are interrupted");
            tokio::select! {
                _ = stop.cancelled() => {}
                _ = tokio::time::sleep(bus::retry::delay(failures.min(8), failures)) => {}
            }
        }
        Ok(())
    }

    async fn consume(&mut self, stop: &CancellationToken) -> Result<(), Failure> {
        self.declared.clear();
        let declaring = self.session.secondary_channel().await?;
        declare(&declaring, &self.names).await?;
        close(declaring).await?;
        let channel = self.session.channel().await?;
        with_timeout(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
        let (queue, tag) = (self.names.dead.as_str().into(), "".into());
        let options = BasicConsumeOptions::default();
        let mut deliveries: Consumer =
            with_timeout(channel.basic_consume(queue, tag, options, FieldTable::default())).await?;
        // One message at a time is in flight on it, so that a returned message is attributed correctly.
        let publisher = self.session.channel().await?;
        with_timeout(publisher.confirm_select(Default::default())).await?;
        self.session.set_degraded(PART, None);
        loop {
            let delivery = tokio::select! {
                biased;
                _ = stop.cancelled() => break,
                delivery = deliveries.next() => delivery,
            };
            match delivery {
                Some(Ok(delivery)) => self.settle(&publisher, delivery).await?,
                Some(Err(error)) => return Err(Failure::transient(error)),
                None => return Err(Failure::transient("RabbitMQ ended the consumer")),
            }
        }
        // Closing the channel returns what was delivered and not settled.
        close(channel).await
    }

    /// Publishes the message where it belongs, and acknowledges the dead letter.
    async fn settle(&mut self, publisher: &Channel, delivery: Delivery) -> Result<(), Failure> {
        let settings = self.session.settings();
        match decide(&delivery.properties, delivery.routing_key.as_str(), settings, &self.names) {
            Decision::Retry { queue, routing_key, attempt, delay } => {
                match self.retry(publisher, &delivery, &queue, &routing_key, attempt, delay).await {
                    Ok(()) => {
                        metrics::counter!("amqp_retries_total").increment(1);
                        let id = message_id(&delivery);
                        tracing::info!(queue, attempt, ?delay, id, "a dead letter is retried");
                    }
                    Err(RouteError::Refused(why)) => {
                        let reason = format!("it cannot be returned to {queue}: {why}");
                        self.park(publisher, &delivery, Some(queue), &routing_key, &reason).await?;
                    }
                    Err(RouteError::Failed(failure)) => return Err(failure),
                }
            }
            Decision::Park { queue, routing_key, reason } => {
                self.park(publisher, &delivery, queue, &routing_key, &reason).await?;
            }
        }
        with_timeout(delivery.acker.ack(BasicAckOptions::default())).await.map(drop)
    }

    async fn retry(
        &mut self,
        publisher: &Channel,
        delivery: &Delivery,
        queue: &str,
        routing_key: &str,
        attempt: u32,
        delay: Duration,
    ) -> Result<(), RouteError> {
        let waiting = retry(queue, delay);
        if self.declared.get(&waiting).is_none_or(|at| at.elapsed() > DECLARED_FOR) {
            route::declare_retry(&self.session, &self.names, queue, delay).await?;
            if self.declared.len() >= DECLARED_MAX {
                self.declared.clear();
            }
            self.declared.insert(waiting.clone(), Instant::now());
        }
        let changes = [(ATTEMPT, Some(attempt.to_string()))];
        let properties = properties::republished(&delivery.properties, &changes);
        let to = Address { exchange: &waiting, routing_key, mandatory: true };
        match publish(publisher, to, &delivery.data, properties).await {
            Ok(()) => Ok(()),
            Err(PublishError::Failed(failure)) => Err(failure.into()),
            // The retry queue was deleted within the last minute.
            Err(unroutable) => {
                self.declared.remove(&waiting);
                Err(Failure::transient(unroutable).into())
            }
        }
    }

    /// Moves a dead letter to the final queue, with an id of its own and the headers that a replay needs.
    async fn park(
        &self,
        publisher: &Channel,
        delivery: &Delivery,
        queue: Option<String>,
        routing_key: &str,
        reason: &str,
    ) -> Result<(), Failure> {
        let dead_letter_id =
            header(&delivery.properties, DEAD_LETTER_ID).unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        // A rejected message has its original routing key in a header.
        let original_key = match header(&delivery.properties, ROUTING_KEY) {
            Some(original) if delivery.routing_key.as_str() == REJECTED => original,
            _ => routing_key.to_owned(),
        };
        let changes = [
            (DEAD_LETTER_ID, Some(dead_letter_id.clone())),
            (QUEUE, queue.clone()),
            (ROUTING_KEY, Some(original_key).filter(|key| key != REJECTED)),
            (PARKED_AT, Some(Timestamp::wall_clock().to_string())),
            properties::reason(reason),
        ];
        let properties = properties::republished(&delivery.properties, &changes);
        let to = Address { exchange: "", routing_key: &self.names.dead_letter_queue, mandatory: true };
        publish(publisher, to, &delivery.data, properties).await?;
        metrics::counter!("amqp_dead_letters_total").increment(1);
        let id = message_id(delivery);
        tracing::error!(letter = dead_letter_id, queue, reason, id, "parked in RabbitMQ's dead letter queue");
        Ok(())
    }
}

fn message_id(delivery: &Delivery) -> &str {
    delivery.properties.message_id().as_ref().map(|id| id.as_str()).unwrap_or_default()
}
