//! Dead letters of service queues, tried again after a delay: each goes back to the one queue that it is from, by way of a
//! queue in which it waits, and after its last try to the final dead letter queue for a person to look at.
//!
//! Invariant: a letter is published with a confirm before it is acknowledged; it never passes the main exchanges, where
//! every other service would hear it again. How often it was tried stands in a header of ours, since RabbitMQ 4 does not
//! count in `x-death` over a republish. A letter that cannot be brought back is kept, never dropped.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer, ExchangeKind};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call::{close, declare_queue, declare_topic, soft_error, within};
use crate::names::{REJECTED, requeue, retry};
use crate::properties::{self, ATTEMPT, LETTER, PARKED_AT, QUEUE, ROUTING_KEY, death, header};
use crate::publish::{Address, Unpublished, publish};
use crate::{Names, Session, Settings};
use bus::Failure;
use bus::contract::Timestamp;

/// Letters that are handed over before the first is settled; one after another is settled, so more would only wait here.
const PREFETCH: u16 = 32;
/// So long a way back is taken for built. A service that deleted its queue and made it anew has lost the binding.
const BUILT_FOR: Duration = Duration::from_secs(60);
/// Ways back that are remembered: more queues than a broker of this house has.
const BUILT_MAX: usize = 1_000;
/// Of a queue's name: it becomes `<name>.retry.86400`, and RabbitMQ takes 255 bytes.
const QUEUE_NAME_MAX: usize = 230;
/// What a complaint is about.
const RETRIES: &str = "retries";
/// What went well so long was no failure of before.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// What becomes of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// Back to its queue after a delay, as this attempt.
    Again { queue: String, routing_key: String, attempt: u32, delay: Duration },
    /// To the final queue, with the queue that it is from where that is known.
    Last { queue: Option<String>, routing_key: String, reason: String },
}

/// Decides about a letter that came under `routing_key`.
fn fate(properties: &BasicProperties, routing_key: &str, settings: &Settings, names: &Names) -> Fate {
    let last = |queue: Option<&str>, routing_key: &str, reason: String| Fate::Last {
        queue: queue.map(str::to_owned),
        routing_key: routing_key.to_owned(),
        reason,
    };
    let attempts: u32 = header(properties, ATTEMPT).and_then(|n| n.parse().ok()).unwrap_or(0);
    let Some(death) = death(properties) else {
        if routing_key == REJECTED {
            let why = header(properties, properties::REASON).unwrap_or_else(|| "refused".into());
            return last(Some(&names.private_inbox), routing_key, why);
        }
        return last(None, routing_key, "published to the dead letter exchange, from no queue".into());
    };
    let key = death.routing_key.as_deref().unwrap_or(routing_key);
    // It waited, and when its time was over the way back was gone.
    if let Some(queue) = waited_for(&death.queue) {
        return last(Some(queue), key, format!("the queue {queue} is gone"));
    }
    let queue = death.queue.as_str();
    let is_own = [&names.dead, &names.dead_letter_queue].iter().any(|own| *own == queue);
    if is_own || queue.len() > QUEUE_NAME_MAX {
        return last(None, key, format!("from {queue}, to which nothing is given back"));
    }
    match death.reason.as_str() {
        "rejected" | "delivery_limit" => {}
        // Given back it would be late once more, or push another one out.
        other => return last(Some(queue), key, format!("{other} in {queue}")),
    }
    if attempts >= settings.retries_max {
        return last(Some(queue), key, format!("{queue} refused it {} times", attempts + 1));
    }
    let delays = &settings.retry_delays;
    let Some(delay) = delays.get(attempts as usize).or(delays.last()) else {
        return last(Some(queue), key, "AMQP_RETRY_DELAYS is empty".into());
    };
    let (queue, routing_key) = (queue.to_owned(), key.to_owned());
    Fate::Again { queue, routing_key, attempt: attempts + 1, delay: *delay }
}

/// The queue for which a queue made here holds letters back.
fn waited_for(queue: &str) -> Option<&str> {
    let (of, delay) = queue.rsplit_once(".retry.")?;
    (!of.is_empty() && delay.bytes().all(|b| b.is_ascii_digit())).then_some(of)
}

/// Declares where letters come and where they end.
pub async fn declare(channel: &Channel, names: &Names) -> Result<(), Failure> {
    declare_topic(channel, &names.dead_letter_exchange).await?;
    declare_queue(channel, &names.dead, true, FieldTable::default()).await?;
    declare_queue(channel, &names.dead_letter_queue, true, classic()).await?;
    let (queue, exchange) = (names.dead.as_str().into(), names.dead_letter_exchange.as_str().into());
    within(channel.queue_bind(
        queue,
        exchange,
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    ))
    .await
}

/// A queue of letters is read by taking and giving back, which a quorum queue (the default of some brokers) counts as
/// failed deliveries, and after twenty of them drops the letter.
fn classic() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), properties::long("classic"));
    arguments
}

/// Why there is no way back to a queue.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoWay {
    /// The broker says no: there is no such queue, or it may not be used.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Builds the exchange that leads back to one queue.
pub(super) async fn build_requeue(session: &Session, names: &Names, queue: &str) -> Result<(), NoWay> {
    let channel = session.channel_aside().await?;
    requeue_on(&channel, names, queue).await?;
    // What was declared stays, however the channel ends.
    let _ = close(channel).await;
    Ok(())
}

async fn requeue_on(channel: &Channel, names: &Names, queue: &str) -> Result<(), NoWay> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    asked(channel.queue_declare(queue.into(), passive, FieldTable::default())).await?;
    let back = requeue(queue);
    let mut arguments = FieldTable::default();
    // What comes back when the queue is gone is a dead letter again instead of lost.
    arguments.insert("alternate-exchange".into(), properties::long(names.dead_letter_exchange.as_str()));
    declare_fanout(channel, &back, arguments).await?;
    let options = QueueBindOptions::default();
    asked(channel.queue_bind(queue.into(), back.into(), "".into(), options, FieldTable::default())).await
}

/// Builds the whole way: exchange and queue in which to wait, and the exchange back.
async fn build(session: &Session, names: &Names, queue: &str, delay: Duration) -> Result<(), NoWay> {
    let channel = session.channel_aside().await?;
    requeue_on(&channel, names, queue).await?;
    let waiting = retry(queue, delay);
    declare_fanout(&channel, &waiting, FieldTable::default()).await?;
    let mut arguments = FieldTable::default();
    let milliseconds = i32::try_from(delay.as_millis()).unwrap_or(i32::MAX);
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(milliseconds));
    arguments.insert("x-dead-letter-exchange".into(), properties::long(requeue(queue)));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    asked(channel.queue_declare(waiting.as_str().into(), durable, arguments)).await?;
    let (to, from) = (waiting.as_str().into(), waiting.as_str().into());
    asked(channel.queue_bind(to, from, "".into(), QueueBindOptions::default(), FieldTable::default()))
        .await?;
    let _ = close(channel).await;
    Ok(())
}

async fn declare_fanout(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), NoWay> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    asked(channel.exchange_declare(name.into(), ExchangeKind::Fanout, options, arguments)).await
}

/// A call that the broker may refuse for good.
async fn asked<T>(call: impl Future<Output = lapin::Result<T>>) -> Result<(), NoWay> {
    match tokio::time::timeout(crate::call::CALL_MAX, call).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if soft_error(&error).is_some() => Err(NoWay::Refused(error.to_string())),
        Ok(Err(error)) => Err(Failure::transient(error).into()),
        Err(_) => Err(Failure::transient("no answer from RabbitMQ").into()),
    }
}

/// Gives dead letters back.
pub struct Retrier {
    session: Session,
    names: Names,
    /// Ways back, and when they were built.
    built: HashMap<String, Instant>,
}

impl Retrier {
    pub fn new(session: Session) -> Self {
        let names = Names::new(session.settings());
        Self { session, names, built: HashMap::new() }
    }

    /// Until `stop`, through every outage.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        let mut failures = 0u64;
        while self.session.until_up(&stop).await.is_some() {
            let began = Instant::now();
            let Err(failure) = self.give_back(&stop).await else { continue };
            failures = if began.elapsed() > GOOD_AFTER { 1 } else { failures + 1 };
            self.session.complain(RETRIES, Some(format!("dead letters on RabbitMQ wait: {failure}")));
            tracing::warn!(%failure, "the bridge's retries are interrupted");
            tokio::select! {
                _ = stop.cancelled() => {}
                _ = tokio::time::sleep(bus::retry::delay(failures.min(8), failures)) => {}
            }
        }
        Ok(())
    }

    async fn give_back(&mut self, stop: &CancellationToken) -> Result<(), Failure> {
        self.built.clear();
        let declaring = self.session.channel_aside().await?;
        declare(&declaring, &self.names).await?;
        close(declaring).await?;
        let channel = self.session.channel().await?;
        within(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
        let (queue, tag) = (self.names.dead.as_str().into(), "".into());
        let options = BasicConsumeOptions::default();
        let mut letters: Consumer =
            within(channel.basic_consume(queue, tag, options, FieldTable::default())).await?;
        // One letter at a time is on its way, so that a returned one is told from the others.
        let publisher = self.session.channel().await?;
        within(publisher.confirm_select(Default::default())).await?;
        self.session.complain(RETRIES, None);
        loop {
            let letter = tokio::select! {
                biased;
                _ = stop.cancelled() => break,
                letter = letters.next() => letter,
            };
            match letter {
                Some(Ok(letter)) => self.settle(&publisher, letter).await?,
                Some(Err(error)) => return Err(Failure::transient(error)),
                None => return Err(Failure::transient("RabbitMQ ended the consumer")),
            }
        }
        // What was handed over and not looked at goes back with the channel.
        close(channel).await
    }

    /// Publishes the letter where it belongs, and acknowledges it.
    async fn settle(&mut self, publisher: &Channel, letter: Delivery) -> Result<(), Failure> {
        let settings = self.session.settings();
        match fate(&letter.properties, letter.routing_key.as_str(), settings, &self.names) {
            Fate::Again { queue, routing_key, attempt, delay } => {
                match self.again(publisher, &letter, &queue, &routing_key, attempt, delay).await {
                    Ok(()) => {
                        metrics::counter!("amqp_retries_total").increment(1);
                        tracing::info!(
                            queue,
                            attempt,
                            ?delay,
                            id = id(&letter),
                            "a dead letter is tried again"
                        );
                    }
                    Err(NoWay::Refused(why)) => {
                        let reason = format!("there is no way back to {queue}: {why}");
                        self.park(publisher, &letter, Some(queue), &routing_key, &reason).await?;
                    }
                    Err(NoWay::Failed(failure)) => return Err(failure),
                }
            }
            Fate::Last { queue, routing_key, reason } => {
                self.park(publisher, &letter, queue, &routing_key, &reason).await?;
            }
        }
        within(letter.acker.ack(BasicAckOptions::default())).await.map(drop)
    }

    async fn again(
        &mut self,
        publisher: &Channel,
        letter: &Delivery,
        queue: &str,
        routing_key: &str,
        attempt: u32,
        delay: Duration,
    ) -> Result<(), NoWay> {
        let waiting = retry(queue, delay);
        if self.built.get(&waiting).is_none_or(|at| at.elapsed() > BUILT_FOR) {
            build(&self.session, &self.names, queue, delay).await?;
            if self.built.len() >= BUILT_MAX {
                self.built.clear();
            }
            self.built.insert(waiting.clone(), Instant::now());
        }
        let properties = properties::again(&letter.properties, &[(ATTEMPT, Some(attempt.to_string()))]);
        let to = Address { exchange: &waiting, routing_key, mandatory: true };
        match publish(publisher, to, &letter.data, properties).await {
            Ok(()) => Ok(()),
            Err(Unpublished::Failed(failure)) => Err(failure.into()),
            // Somebody removed the waiting queue within the minute.
            Err(unroutable) => {
                self.built.remove(&waiting);
                Err(Failure::transient(unroutable).into())
            }
        }
    }

    /// To the final queue, with a name of its own and all that a replay needs.
    async fn park(
        &self,
        publisher: &Channel,
        letter: &Delivery,
        queue: Option<String>,
        routing_key: &str,
        reason: &str,
    ) -> Result<(), Failure> {
        let name = header(&letter.properties, LETTER).unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        // A refused message says itself where it came in.
        let came_under = match header(&letter.properties, ROUTING_KEY) {
            Some(said) if letter.routing_key.as_str() == REJECTED => said,
            _ => routing_key.to_owned(),
        };
        let changes = [
            (LETTER, Some(name.clone())),
            (QUEUE, queue.clone()),
            (ROUTING_KEY, Some(came_under).filter(|key| key != REJECTED)),
            (PARKED_AT, Some(Timestamp::wall_clock().to_string())),
            properties::reason(reason),
        ];
        let properties = properties::again(&letter.properties, &changes);
        let to = Address { exchange: "", routing_key: &self.names.dead_letter_queue, mandatory: true };
        publish(publisher, to, &letter.data, properties).await?;
        metrics::counter!("amqp_dead_letters_total").increment(1);
        tracing::error!(
            letter = name,
            queue,
            reason,
            id = id(letter),
            "parked in RabbitMQ's dead letter queue"
        );
        Ok(())
    }
}

fn id(letter: &Delivery) -> &str {
    letter.properties.message_id().as_ref().map(|id| id.as_str()).unwrap_or_default()
}

#[cfg(test)]
#[path = "retry/tests.rs"]
mod tests;
