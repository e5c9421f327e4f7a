//! The exchanges and queues through which a dead letter returns to its queue, declared when first needed.

use std::time::Duration;

use bus::Failure;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use crate::call::{CALL_MAX, close, declare_queue, declare_topic, soft_error, with_timeout};
use crate::names::{requeue, retry};
use crate::properties::long_string;
use crate::{Names, Session};

/// Why a message cannot be returned to a queue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    /// The broker refused: the queue does not exist, or the bridge may not use it.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Failed(#[from] Failure),
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
    let channel = session.secondary_channel().await?;
    requeue_on(&channel, names, queue).await?;
    // The declarations remain however the channel is closed.
    let _ = close(channel).await;
    Ok(())
}

async fn requeue_on(channel: &Channel, names: &Names, queue: &str) -> Result<(), RouteError> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    call(channel.queue_declare(queue.into(), passive, FieldTable::default())).await?;
    let exchange = requeue(queue);
    let mut arguments = FieldTable::default();
    // A message that returns after its queue was deleted becomes a dead letter again instead of being lost.
    arguments.insert("alternate-exchange".into(), long_string(names.dead_letter_exchange.as_str()));
    declare_fanout(channel, &exchange, arguments).await?;
    let options = QueueBindOptions::default();
    call(channel.queue_bind(queue.into(), exchange.into(), "".into(), options, FieldTable::default())).await
}

/// Declares all of it: the exchange and queue in which a message waits, and the exchange that returns it.
pub(super) async fn declare_retry(
    session: &Session,
    names: &Names,
    queue: &str,
    delay: Duration,
) -> Result<(), RouteError> {
    let channel = session.secondary_channel().await?;
    requeue_on(&channel, names, queue).await?;
    let waiting = retry(queue, delay);
    declare_fanout(&channel, &waiting, FieldTable::default()).await?;
    let mut arguments = FieldTable::default();
    let milliseconds = i32::try_from(delay.as_millis()).unwrap_or(i32::MAX);
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(milliseconds));
    arguments.insert("x-dead-letter-exchange".into(), long_string(requeue(queue)));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    call(channel.queue_declare(waiting.as_str().into(), durable, arguments)).await?;
    let (to, from) = (waiting.as_str().into(), waiting.as_str().into());
    call(channel.queue_bind(to, from, "".into(), QueueBindOptions::default(), FieldTable::default())).await?;
    let _ = close(channel).await;
    Ok(())
}

async fn declare_fanout(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), RouteError> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    call(channel.exchange_declare(name.into(), ExchangeKind::Fanout, options, arguments)).await
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
