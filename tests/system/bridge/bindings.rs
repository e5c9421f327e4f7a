//! Exchanges that somebody deletes while the bridge runs: events and requests of services arrive again within seconds, by
//! themselves.

use std::time::{Duration, Instant};

use lapin::Confirmation;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use serde_json::json;
use uuid::Uuid;

use super::nest::{Nest, Transport};
use super::system::{AmqpMessage, BridgeSystem, enveloped, movie};

/// The round is three seconds; the machine may be busy.
const SOON: Duration = Duration::from_secs(20);

async fn delete_exchange(system: &BridgeSystem, name: &str) {
    system.new_channel().await.exchange_delete(name.into(), Default::default()).await.unwrap();
}

/// Publishes a message once, as a service does; returns whether a queue has received it.
async fn is_routed(system: &BridgeSystem, message: &AmqpMessage) -> bool {
    let channel = system.new_channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let AmqpMessage { exchange, routing_key, properties, body } = message.clone();
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (exchange, key) = (exchange.as_str().into(), routing_key.as_str().into());
    // The broker closes the channel where there is no such exchange.
    let Ok(confirm) = channel.basic_publish(exchange, key, options, &body, properties).await else {
        return false;
    };
    let is_routed = matches!(confirm.await, Ok(Confirmation::Ack(None)));
    let _ = channel.close(200, "OK".into()).await;
    is_routed
}

async fn until_routed(system: &BridgeSystem, message: &AmqpMessage) {
    let began = Instant::now();
    while !is_routed(system, message).await {
        assert!(began.elapsed() < SOON, "no queue receives {} of {}", message.routing_key, message.exchange);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_exchange_is_there_again_with_its_bindings_within_seconds() {
    let system = BridgeSystem::open().await;
    for exchange in ["marquee.events", "marquee.events.raw", "marquee.events.dlx"] {
        delete_exchange(&system, exchange).await;
    }
    let nest = enveloped("movie.created", &movie("Dune"));
    until_routed(&system, &AmqpMessage::new("marquee.events", "movie.created", nest).id("nest")).await;
    let raw = movie("Dune").to_string();
    until_routed(&system, &AmqpMessage::new("marquee.events.raw", "movie.created", raw).id("raw")).await;
    system.until_stored("nest").await;
    system.until_stored("raw").await;
    // The dead letters of services would be lost without the binding of their exchange.
    until_routed(&system, &AmqpMessage::new("marquee.events.dlx", "any.key", "{}").id("dead")).await;
    let dead_letter = system.take(&system.names.dead_letter_queue).await;
    assert_eq!(dead_letter.properties.message_id().as_ref().unwrap().as_str(), "dead");
    assert_eq!(system.degraded(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_nest_service_emits_again_after_its_exchange_was_deleted() {
    let mut system = BridgeSystem::open().await;
    let mut service = Nest::start(Transport::Topic, &system.amqp_url, &[]).await;
    delete_exchange(&system, "marquee.events").await;
    let message =
        AmqpMessage::new("marquee.events", "movie.created", enveloped("movie.created", &movie("Dune")));
    until_routed(&system, &message).await;
    let id = Uuid::now_v7().to_string();
    let data = json!({"movieId": Uuid::now_v7(), "title": "Dune", "genres": [], "createdBy": Uuid::nil()});
    service.emit("movie.created", &data, Some(&id)).await;
    system.until_stored(&id).await;
    service.finish().await;
    system.stop_bridge().await;
}
