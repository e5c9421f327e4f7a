//! Queues of services on Nest's default transport: bound to the exchange with Nest's envelopes as soon as they exist, each
//! for the events that its service handles. `bindings` checks for them every three seconds.
//!
//! Invariant: a queue is only declared passively (a channel is opened for that, because a missing queue closes it), unless
//! the operator configured `declare`: a declaration that differs from the service's own ends the service at its start (406).

use lapin::Channel;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;

use crate::call::{CALL_MAX, DeclareError, close, declare_queue, declare_topic, soft_error, with_timeout};
use crate::{ServiceQueue, Session};
use bus::Failure;

/// Binds every queue that exists. A queue that does not exist or has other properties is reported as degraded.
pub async fn bind_all(session: &Session) {
    for queue in &session.settings().service_queues {
        let bound = bind(session, queue).await;
        let key = format!("service queue {}", queue.name);
        let problem = match &bound {
            Ok(true) => None,
            Ok(false) => Some(format!("the service queue {} is not there yet", queue.name)),
            // The connection is down, which the session reports; the next round binds the queue.
            Err(DeclareError::Failed(_)) if !session.state().borrow().up => return,
            Err(error) => Some(format!("the service queue {} is not bound: {error}", queue.name)),
        };
        if session.set_degraded(&key, problem.clone()) {
            match problem {
                None => tracing::info!(queue = queue.name, events = ?queue.events, "service queue bound"),
                Some(why) => tracing::warn!(queue = queue.name, why, "service queue not bound"),
            }
        }
    }
}

/// Binds one queue; `false` if it does not exist.
async fn bind(session: &Session, queue: &ServiceQueue) -> Result<bool, DeclareError> {
    let channel = session.secondary_channel().await?;
    let exchange = &session.settings().exchange;
    declare_topic(&channel, exchange).await?;
    if queue.declare {
        declare_queue(&channel, &queue.name, queue.durable, queue.field_table()).await?;
    } else if messages(&channel, &queue.name).await?.is_none() {
        return Ok(false);
    }
    for event in &queue.events {
        let options = QueueBindOptions::default();
        let (name, exchange, key) =
            (queue.name.as_str().into(), exchange.as_str().into(), event.as_str().into());
        with_timeout(channel.queue_bind(name, exchange, key, options, FieldTable::default())).await?;
    }
    close(channel).await?;
    Ok(true)
}

/// The service queue for this event that has the most messages, and their number.
pub async fn fullest(session: &Session, event: &str) -> Option<(String, u32)> {
    let mut found: Option<(String, u32)> = None;
    let queues = session.settings().service_queues.iter();
    for queue in queues.filter(|queue| queue.events.iter().any(|of| of == event)) {
        let Ok(channel) = session.secondary_channel().await else { break };
        let Ok(Some(messages)) = messages(&channel, &queue.name).await else { continue };
        let _ = close(channel).await;
        if messages > found.as_ref().map_or(0, |(_, most)| *most) {
            found = Some((queue.name.clone(), messages));
        }
    }
    found
}

/// The number of messages in a queue, without those that a consumer has not acknowledged. `None` if there is no such queue;
/// the broker has then closed the channel.
async fn messages(channel: &Channel, queue: &str) -> Result<Option<u32>, Failure> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declaring = channel.queue_declare(queue.into(), options, FieldTable::default());
    match tokio::time::timeout(CALL_MAX, declaring).await {
        Ok(Ok(queue)) => Ok(Some(queue.message_count())),
        Ok(Err(error)) if soft_error(&error) == Some(&AMQPSoftError::NOTFOUND) => Ok(None),
        Ok(Err(error)) => Err(Failure::transient(error)),
        Err(_) => Err(Failure::transient(format!("no answer from RabbitMQ within {CALL_MAX:?}"))),
    }
}
