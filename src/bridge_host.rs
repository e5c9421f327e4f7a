//! Bridge: repeats every event of JetStream on RabbitMQ and brings in what services there say. It keeps nothing and decides
//! nothing: the crate `bridge` has what it promises, this is its tree of supervised children.
//!
//! Invariant: without RabbitMQ the host stays up and ready; it only says that it is degraded. JetStream keeps the events.

use std::future::Future;

use anyhow::Context;
use bridge::inbound::Inbound;
use bridge::outbound::Target;
use bridge::retry::Retrier;
use bridge::{Session, Settings, outbound, service_queue};
use bus::Failure;
use tokio_util::sync::CancellationToken;

use actors::host::{Host, HostBuilder, Stage};
use actors::supervision::Child;

/// Starts the host; RabbitMQ may be away, but one that refuses for good (a login, a certificate) ends the start.
pub async fn spawn(builder: HostBuilder, settings: Settings) -> anyhow::Result<Host> {
    let (_, well) = tokio::sync::watch::channel(true);
    let targets = Target::all(&settings);
    let session = Session::new(settings);
    session.check().await.context("AMQP_URL")?;
    let (connecting, bus) = (session.clone(), builder.bus.clone());
    // The others settle what they have in hand before the connection goes.
    let connecting = builder.worker(Stage::Write, "session", move |stop| {
        let session = connecting.clone();
        async move { Ok(session.run(stop).await?) }
    });
    let mut children = vec![
        connecting,
        child(&builder, "service queues", &session, service_queue::run),
        child(&builder, "inbound", &session, move |session, stop| {
            Inbound::new(bus.clone(), session).run(stop)
        }),
        child(&builder, "retries", &session, |session, stop| Retrier::new(session).run(stop)),
    ];
    for target in targets {
        let bus = builder.bus.clone();
        children.push(child(&builder, target.consumer, &session, move |session, stop| {
            outbound::run(bus.clone(), session, target.clone(), stop)
        }));
    }
    let degraded = move || session.complaints();
    Ok(builder.start(None, well, move || children.clone()).await?.with_degraded(degraded))
}

/// A loop of the bridge that works with the one connection to RabbitMQ.
fn child<F, Fut>(builder: &HostBuilder, name: &'static str, session: &Session, run: F) -> Child
where
    F: Fn(Session, CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let session = session.clone();
    builder.worker(Stage::Intake, name, move |stop| {
        let running = run(session.clone(), stop);
        async move { Ok(running.await?) }
    })
}
