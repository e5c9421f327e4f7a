//! The bridge's exchanges and queues with their bindings, declared when a part of the bridge starts and again every three
//! seconds.
//!
//! Invariant: an exchange or a queue that somebody deletes on a running RabbitMQ works again within seconds. RabbitMQ deletes
//! the bindings with it and notifies nobody: without a new declaration nothing that services publish would arrive.

use std::time::Duration;

use bus::Failure;
use lapin::Channel;
use lapin::options::QueueBindOptions;
use lapin::types::FieldTable;
use tokio_util::sync::CancellationToken;

use crate::call::{close, declare_queue, declare_topic, with_timeout};
use crate::{Names, Session, Settings, retry, service_queue};

/// How soon something that was deleted, or a service queue that has appeared, is bound.
const CHECK_EVERY: Duration = Duration::from_secs(3);
/// The key of this part in [`Session::degraded`].
const PART: &str = "bindings";

/// Declares and binds until `stop`.
pub async fn run(session: Session, stop: CancellationToken) -> Result<(), Failure> {
    let names = Names::new(session.settings());
    while session.until_up(&stop).await.is_some() {
        report(&session, declare_all(&session, &names).await);
        service_queue::bind_all(&session).await;
        tokio::select! { _ = stop.cancelled() => break, _ = tokio::time::sleep(CHECK_EVERY) => {} }
    }
    Ok(())
}

/// Reports a failure, unless the connection is down, which the session reports itself.
fn report(session: &Session, declared: Result<(), Failure>) {
    let problem = match declared {
        Ok(()) => None,
        Err(_) if !session.state().borrow().up => return,
        Err(failure) => Some(format!("the bridge's exchanges and queues are not declared: {failure}")),
    };
    if session.set_degraded(PART, problem.clone())
        && let Some(why) = problem
    {
        tracing::warn!(why, "it is tried again");
    }
}

async fn declare_all(session: &Session, names: &Names) -> Result<(), Failure> {
    let channel = session.secondary_channel().await?;
    declare(&channel, session.settings(), names).await?;
    close(channel).await
}

/// Declares the exchanges, the queues of dead letters, and the private queue with its bindings.
pub(crate) async fn declare(channel: &Channel, settings: &Settings, names: &Names) -> Result<(), Failure> {
    for exchange in names.event_exchanges() {
        declare_topic(channel, exchange).await?;
    }
    retry::declare(channel, names).await?;
    let queue = names.private_inbox.as_str();
    declare_queue(channel, queue, true, FieldTable::default()).await?;
    let patterns = settings.rpc.iter().map(|(pattern, _)| pattern);
    for key in settings.inbound.iter().chain(patterns) {
        for exchange in names.event_exchanges() {
            let (exchange, key, none) = (exchange.into(), key.as_str().into(), FieldTable::default());
            let options = QueueBindOptions::default();
            with_timeout(channel.queue_bind(queue.into(), exchange, key, options, none)).await?;
        }
    }
    Ok(())
}
