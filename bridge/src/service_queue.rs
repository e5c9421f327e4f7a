//! Queues of services on Nest's default transport: bound to the exchange with Nest's envelopes, each for the events that its
//! service handles, as soon as they are there.
//!
//! Invariant: a queue is looked at passively, on a channel that is thrown away (its absence closes the channel), unless the
//! operator wants it declared: whoever declares it otherwise than its service ends that service at its start (406).

use std::time::Duration;

use lapin::Channel;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use tokio_util::sync::CancellationToken;

use crate::call::{CALL_MAX, Declined, close, declare_queue, declare_topic, soft_error, within};
use crate::{ServiceQueue, Session};
use bus::Failure;

/// How soon a queue that has just been made, or made anew without its bindings, is bound.
const CHECK_EVERY: Duration = Duration::from_secs(3);

/// Binds what appears, until `stop`.
pub async fn run(session: Session, stop: CancellationToken) -> Result<(), Failure> {
    if session.settings().service_queues.is_empty() {
        stop.cancelled().await;
    }
    while session.until_up(&stop).await.is_some() {
        bind_all(&session).await;
        tokio::select! { _ = stop.cancelled() => break, _ = tokio::time::sleep(CHECK_EVERY) => {} }
    }
    Ok(())
}

/// Binds every queue that is there. One that is not, or that is another than it should be, is complained of.
pub async fn bind_all(session: &Session) {
    for queue in &session.settings().service_queues {
        let bound = bind(session, queue).await;
        let key = format!("service queue {}", queue.name);
        let complaint = match &bound {
            Ok(true) => None,
            Ok(false) => Some(format!("the service queue {} is not there yet", queue.name)),
            // The connection is gone; that is told already, and the next round finds out.
            Err(Declined::Failed(_)) if !session.link().borrow().up => return,
            Err(declined) => Some(format!("the service queue {} is not bound: {declined}", queue.name)),
        };
        let wrong = complaint.clone();
        if session.complain(&key, complaint) {
            match wrong {
                None => tracing::info!(queue = queue.name, events = ?queue.events, "service queue bound"),
                Some(why) => tracing::warn!(queue = queue.name, why, "service queue not bound"),
            }
        }
    }
}

/// Whether it is there, and bound by now.
async fn bind(session: &Session, queue: &ServiceQueue) -> Result<bool, Declined> {
    let channel = session.channel_aside().await?;
    let exchange = &session.settings().exchange;
    declare_topic(&channel, exchange).await?;
    if queue.declare {
        declare_queue(&channel, &queue.name, queue.durable, queue.field_table()).await?;
    } else if !is_there(&channel, &queue.name).await? {
        return Ok(false);
    }
    for event in &queue.events {
        let options = QueueBindOptions::default();
        let (name, exchange, key) =
            (queue.name.as_str().into(), exchange.as_str().into(), event.as_str().into());
        within(channel.queue_bind(name, exchange, key, options, FieldTable::default())).await?;
    }
    close(channel).await?;
    Ok(true)
}

/// Whether there is such a queue. When there is none the channel is closed.
async fn is_there(channel: &Channel, queue: &str) -> Result<bool, Failure> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let asking = channel.queue_declare(queue.into(), options, FieldTable::default());
    match tokio::time::timeout(CALL_MAX, asking).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) if soft_error(&error) == Some(&AMQPSoftError::NOTFOUND) => Ok(false),
        Ok(Err(error)) => Err(Failure::transient(error)),
        Err(_) => Err(Failure::transient(format!("no answer from RabbitMQ within {CALL_MAX:?}"))),
    }
}
