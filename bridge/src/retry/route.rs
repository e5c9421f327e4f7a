//! The exchanges and queues through which a dead letter returns to its queue, declared when first needed.
//!
//! ```text
//! <queue>.retry.<seconds>  exchange ─▶ queue of the same name, time-to-live ─▶ exchange <queue>.requeue ─▶ <queue>
//! ```
//!
//! Invariant: nothing of it outlives its queue for long, and none of it disappears while a message waits in it. RabbitMQ deletes a
//! retry queue that was not declared for a week; an exchange that loses its last binding is deleted with it. Those that an
//! older version has declared differ in their arguments, and are used as they are until they can be replaced.

use std::time::Duration;

use bus::Failure;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use crate::call::{CALL_MAX, close, declare_queue, declare_topic, soft_error, with_timeout};
use crate::names::{requeue, retry};
use crate::properties::long_string;
use crate::{Names, Session};

/// RabbitMQ deletes a retry queue after this time without a declaration, with the messages in it. Each retry declares it (at
/// most a minute before it is used), and no message waits longer than a day in it.
const EXPIRES: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// With this routing key, which no message has, retry queues are bound to the exchange to which they return messages. So it
/// exists as long as one of them, also after the service's queue was deleted.
const KEEPS_EXCHANGE: &str = "bridge.keeps-exchange";

/// Why a message cannot be returned to a queue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    /// The broker refused: the queue does not exist, or the bridge may not use it.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What a declaration found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Declared {
    AsWanted,
    /// It exists with other properties, from an older version.
    Otherwise,
}

/// Declares the dead letter exchange and the two queues of dead letters.
pub(crate) async fn declare(channel: &Channel, names: &Names) -> Result<(), Failure> {
    declare_topic(channel, &names.dead_letter_exchange).await?;
    declare_queue(channel, &names.dead, true, FieldTable::default()).await?;
    declare_queue(channel, &names.dead_letter_queue, true, classic()).await?;
    let (queue, exchange) = (names.dead.as_str().into(), names.dead_letter_exchange.as_str().into());
    let options = QueueBindOptions::default();
    with_timeout(channel.queue_bind(queue, exchange, "#".into(), options, FieldTable::default())).await
}

/// Listing dead letters takes and returns them. A quorum queue (the default of some brokers) counts that as failed
/// deliveries, and drops the message after twenty.
fn classic() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), long_string("classic"));
    arguments
}

/// Declares the exchange that returns messages to one queue.
pub(crate) async fn declare_requeue(session: &Session, names: &Names, queue: &str) -> Result<(), RouteError> {
    requeue_exchange(session, names, queue).await.map(drop)
}

async fn requeue_exchange(session: &Session, names: &Names, queue: &str) -> Result<Declared, RouteError> {
    let channel = session.secondary_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    call(channel.queue_declare(queue.into(), passive, FieldTable::default())).await?;
    let exchange = requeue(queue);
    let mut arguments = FieldTable::default();
    // A message that returns after its queue was deleted becomes a dead letter again instead of being lost.
    arguments.insert("alternate-exchange".into(), long_string(names.dead_letter_exchange.as_str()));
    let found = declared(declare_exchange(&channel, &exchange, ExchangeKind::Topic, arguments)).await?;
    let channel = usable(session, channel, found).await?;
    // The older one is a fanout exchange: to it the key means nothing.
    bind(&channel, queue, &exchange, "#").await?;
    // The declarations remain however the channel is closed.
    let _ = close(channel).await;
    Ok(found)
}

/// Declares all of it: the exchange and queue in which a message waits, and the exchange that returns it.
pub(super) async fn declare_retry(
    session: &Session,
    names: &Names,
    queue: &str,
    delay: Duration,
) -> Result<(), RouteError> {
    let returning = requeue_exchange(session, names, queue).await?;
    let waiting = retry(queue, delay);
    let wanted = || arguments(queue, delay);
    let channel = session.secondary_channel().await?;
    let found = declared(declare_waiting(&channel, &waiting, wanted())).await?;
    let mut channel = usable(session, channel, found).await?;
    if found == Declared::Otherwise {
        let was_deleted = delete_unused(channel, &waiting).await?;
        channel = session.secondary_channel().await?;
        if was_deleted {
            call(declare_waiting(&channel, &waiting, wanted())).await?;
        }
    }
    let fanout = declare_exchange(&channel, &waiting, ExchangeKind::Fanout, FieldTable::default());
    let found = declared(fanout).await?;
    let channel = usable(session, channel, found).await?;
    bind(&channel, &waiting, &waiting, "").await?;
    // The older exchange would return each message to the retry queue, too.
    if returning == Declared::AsWanted {
        bind(&channel, &waiting, &requeue(queue), KEEPS_EXCHANGE).await?;
    }
    let _ = close(channel).await;
    Ok(())
}

fn arguments(queue: &str, delay: Duration) -> FieldTable {
    let milliseconds =
        |time: Duration| AMQPValue::LongInt(i32::try_from(time.as_millis()).unwrap_or(i32::MAX));
    let mut arguments = FieldTable::default();
    arguments.insert("x-message-ttl".into(), milliseconds(delay));
    arguments.insert("x-dead-letter-exchange".into(), long_string(requeue(queue)));
    arguments.insert("x-expires".into(), milliseconds(EXPIRES));
    arguments
}

async fn declare_waiting(channel: &Channel, name: &str, arguments: FieldTable) -> lapin::Result<()> {
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(name.into(), durable, arguments).await.map(drop)
}

/// An exchange that is deleted with its last binding.
async fn declare_exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    arguments: FieldTable,
) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { durable: true, auto_delete: true, ..Default::default() };
    channel.exchange_declare(name.into(), kind, options, arguments).await
}

/// Deletes a retry queue and its exchange if no message waits there; returns whether it did. Only this bridge publishes
/// there, so none can arrive in between. The channel is closed.
async fn delete_unused(channel: Channel, name: &str) -> Result<bool, RouteError> {
    let unused = QueueDeleteOptions { if_unused: true, if_empty: true, ..Default::default() };
    if declared(channel.queue_delete(name.into(), unused)).await? == Declared::Otherwise {
        return Ok(false);
    }
    let unused = ExchangeDeleteOptions { if_unused: true, ..Default::default() };
    if declared(channel.exchange_delete(name.into(), unused)).await? == Declared::AsWanted {
        let _ = close(channel).await;
    }
    Ok(true)
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), RouteError> {
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    call(channel.queue_bind(queue.into(), exchange.into(), key.into(), options, none)).await
}

/// The channel, or a new one if the broker has closed it over a difference.
async fn usable(session: &Session, channel: Channel, found: Declared) -> Result<Channel, RouteError> {
    match found {
        Declared::AsWanted => Ok(channel),
        Declared::Otherwise => Ok(session.secondary_channel().await?),
    }
}

/// Runs a declaration; the broker closes the channel if something else has this name.
async fn declared<T>(declaring: impl Future<Output = lapin::Result<T>>) -> Result<Declared, RouteError> {
    match tokio::time::timeout(CALL_MAX, declaring).await {
        Ok(Ok(_)) => Ok(Declared::AsWanted),
        Ok(Err(error)) => match soft_error(&error) {
            Some(AMQPSoftError::PRECONDITIONFAILED) => Ok(Declared::Otherwise),
            Some(_) => Err(RouteError::Refused(error.to_string())),
            None => Err(Failure::transient(error).into()),
        },
        Err(_) => Err(Failure::transient("no answer from RabbitMQ").into()),
    }
}

/// Runs a call that the broker may refuse for good.
async fn call<T>(call: impl Future<Output = lapin::Result<T>>) -> Result<(), RouteError> {
    match tokio::time::timeout(CALL_MAX, call).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if soft_error(&error).is_some() => Err(RouteError::Refused(error.to_string())),
        Ok(Err(error)) => Err(Failure::transient(error).into()),
        Err(_) => Err(Failure::transient("no answer from RabbitMQ").into()),
    }
}
