//! Bridge: repeats every event of JetStream on RabbitMQ and brings in what services there say. It keeps nothing and decides
//! nothing: `bus::amqp` has what it promises, this is its tree of supervised children.
//!
//! Invariant: without RabbitMQ the host stays up and ready; it only says that it is degraded. JetStream keeps the events.

use bus::amqp::{Session, Settings};

use crate::host::{Frame, Host};

/// Starts the host; RabbitMQ may be away.
pub async fn spawn(frame: Frame, settings: Settings) -> anyhow::Result<Host> {
    let (_, well) = tokio::sync::watch::channel(true);
    let session = Session::new(settings);
    let connecting = session.clone();
    let children = vec![frame.taker("session", move |stop| {
        let session = connecting.clone();
        async move { Ok(session.run(stop).await?) }
    })];
    let link = session.link();
    let complaints = move || link.borrow().complaint().into_iter().collect();
    Ok(frame.start(None, well, move || children.clone()).await?.with_complaints(complaints))
}
