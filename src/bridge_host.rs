//! The host of the bridge to RabbitMQ: supervises the loops of the crate `bridge`. It owns no data and decides nothing.
//!
//! Invariant: without RabbitMQ the host stays up and ready, and only reports itself as degraded; JetStream keeps the events.

use std::future::Future;

use actors::host::{Host, HostBuilder, Stage};
use actors::supervision::Child;
use anyhow::Context;
use bridge::inbound::Inbound;
use bridge::outbound::Target;
use bridge::retry::Retrier;
use bridge::{Session, Settings, bindings, outbound};
use bus::Failure;
use tokio_util::sync::CancellationToken;

/// Starts the host. RabbitMQ may be unavailable, but a refusal (a login, a certificate) is an error.
pub async fn spawn(builder: HostBuilder, settings: Settings) -> anyhow::Result<Host> {
    let (_, database_up) = tokio::sync::watch::channel(true);
    let targets = Target::all(&settings);
    let session = Session::new(settings);
    session.check().await.context("AMQP_URL")?;
    let (connection, bus) = (session.clone(), builder.bus.clone());
    let (announced, name) = (builder.bus.clone(), builder.domain);
    // Stopped last: the other loops need the connection to settle their messages.
    let connection = builder.worker(Stage::Write, "session", move |stop| {
        let session = connection.clone();
        async move { Ok(session.run(stop).await?) }
    });
    let mut children = vec![
        connection,
        child(&builder, "bindings", &session, bindings::run),
        child(&builder, "inbound", &session, move |session, stop| {
            Inbound::new(bus.clone(), session).run(stop)
        }),
        child(&builder, "retries", &session, |session, stop| Retrier::new(session).run(stop)),
        builder.worker(Stage::Intake, "service", move |stop| {
            let bus = announced.clone();
            async move { Ok(bus::service::announce(bus, name, stop).await?) }
        }),
    ];
    for target in targets {
        let bus = builder.bus.clone();
        children.push(child(&builder, target.consumer, &session, move |session, stop| {
            outbound::run(bus.clone(), session, target.clone(), stop)
        }));
    }
    let degraded = move || session.degraded();
    Ok(builder.start(None, database_up, move || children.clone()).await?.with_degraded(degraded))
}

/// One loop of the bridge, which uses the shared connection to RabbitMQ.
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
