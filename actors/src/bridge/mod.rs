//! Bridge: repeats every event of JetStream on RabbitMQ and brings in what services there say. It keeps nothing and decides
//! nothing: `bus::amqp` has what it promises, this is its tree of supervised children.
//!
//! Invariant: without RabbitMQ the host stays up and ready; it only says that it is degraded. JetStream keeps the events.

use bus::amqp::inbound::Inbound;
use bus::amqp::retry::Retrier;
use bus::amqp::{Session, Settings};

use crate::host::{Frame, Host};

/// Starts the host; RabbitMQ may be away.
pub async fn spawn(frame: Frame, settings: Settings) -> anyhow::Result<Host> {
    let (_, well) = tokio::sync::watch::channel(true);
    let session = Session::new(settings);
    let connecting = session.clone();
    let (bus, taking, retrying) = (frame.bus.clone(), session.clone(), session.clone());
    let children = vec![
        // The others settle what they have in hand before the connection goes.
        frame.carrier("session", move |stop| {
            let session = connecting.clone();
            async move { Ok(session.run(stop).await?) }
        }),
        frame.taker("inbound", move |stop| {
            let inbound = Inbound::new(bus.clone(), taking.clone());
            async move { Ok(inbound.run(stop).await?) }
        }),
        frame.taker("retries", move |stop| {
            let retrier = Retrier::new(retrying.clone());
            async move { Ok(retrier.run(stop).await?) }
        }),
    ];
    let link = session.link();
    let complaints = move || link.borrow().complaint().into_iter().collect();
    Ok(frame.start(None, well, move || children.clone()).await?.with_complaints(complaints))
}
