//! Queues of services on Nest's default transport: bound to the exchange with Nest's envelopes as soon as they exist, each
//! for the events that its service handles.
//!
//! Invariant: a queue is only declared passively (a channel is opened for that, because a missing queue closes it), unless
//! the operator configured `declare`: a declaration that differs from the service's own ends the service at its start (406).

use std::time::Duration;

use lapin::Channel;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use tokio_util::sync::CancellationToken;

use crate::call::{CALL_MAX, DeclareError, close, declare_queue, declare_topic, soft_error, with_timeout};
use crate::{ServiceQueue, Session};
use bus::Failure;

/// How soon a queue that was created, or created again without its bindings, is bound.
const CHECK_EVERY: Duration = Duration::from_secs(3);

/// Binds queues as they appear, until `stop`.
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
    } else if !exists(&channel, &queue.name).await? {
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

/// Whether the queue exists. If it does not, the broker has closed the channel.
async fn exists(channel: &Channel, queue: &str) -> Result<bool, Failure> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declaring = channel.queue_declare(queue.into(), options, FieldTable::default());
    match tokio::time::timeout(CALL_MAX, declaring).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) if soft_error(&error) == Some(&AMQPSoftError::NOTFOUND) => Ok(false),
        Ok(Err(error)) => Err(Failure::transient(error)),
        Err(_) => Err(Failure::transient(format!("no answer from RabbitMQ within {CALL_MAX:?}"))),
    }
}
