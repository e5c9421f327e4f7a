//! From JetStream to RabbitMQ: every event reaches both exchanges, once each without faults; none is lost or out of order
//! when a server is killed.

use std::time::Duration;

use bridge::{Session, Settings, service_queue};
use bus::config::Environment;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{ExchangeKind, message::Delivery};
use marquee::local::{Folder, RabbitMq};
use tokio_util::sync::CancellationToken;

use super::outbound_system::*;
use super::system::StallingProxy;

const NEST: &str = "marquee.events";
const RAW: &str = "marquee.events.raw";

/// Waits until the bridge has declared the exchanges.
async fn until_declared(system: &OutboundSystem) {
    let connection = system.service().await;
    let began = std::time::Instant::now();
    for exchange in [NEST, RAW] {
        loop {
            let channel = connection.create_channel().await.unwrap();
            let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
            let declared = channel.exchange_declare(
                exchange.into(),
                ExchangeKind::Topic,
                passive,
                FieldTable::default(),
            );
            if declared.await.is_ok() {
                break;
            }
            assert!(began.elapsed() < MAX_WAIT, "no {exchange}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn body(delivery: &Delivery) -> serde_json::Value {
    serde_json::from_slice(&delivery.data).unwrap()
}

#[tokio::test]
async fn every_event_arrives_on_both_exchanges_under_its_own_id() {
    let system = OutboundSystem::open(&[]).await;
    let connection = system.service().await;
    let channel = connection.create_channel().await.unwrap();
    until_declared(&system).await;
    bound_queue(&channel, "nest", NEST).await;
    bound_queue(&channel, "raw", RAW).await;
    let (mut nest, mut raw) = (consume(&channel, "nest").await, consume(&channel, "raw").await);
    for (at, (subject, _)) in bus::contract::event_schemas().into_iter().enumerate() {
        system.publish(subject, 0..1).await;
        let (enveloped, bare) = (receive(&mut nest).await, receive(&mut raw).await);
        assert_eq!(body(&enveloped)["pattern"], subject);
        assert_eq!(body(&enveloped)["data"], body(&bare));
        assert_eq!(body(&bare)["number"], 0);
        for delivery in [enveloped, bare] {
            assert_eq!(delivery.routing_key.as_str(), subject);
            assert_eq!(message_id(&delivery), id(subject, 0));
            let properties = &delivery.properties;
            assert_eq!(properties.delivery_mode(), &Some(2));
            assert_eq!(properties.kind().as_ref().unwrap().as_str(), subject);
            assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), "order-1");
            assert_eq!((properties.reply_to(), properties.timestamp()), (&None, &Some(1_795_386_660)));
            let header = |name| text(&delivery, name).unwrap_or_default();
            assert_eq!(header("bridge-origin"), "marquee");
            assert_eq!(header("bridge-event-id"), id(subject, 0));
            assert_eq!(header("bridge-stream-seq"), (at + 1).to_string());
            assert_eq!(header("occurred-at"), "2026-11-22T22:31:00.500Z");
            assert!(header("traceparent").starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        }
    }
    system.close().await;
}

#[tokio::test]
async fn an_event_that_came_from_an_exchange_is_not_sent_back_to_it() {
    let system = OutboundSystem::open(&[]).await;
    let connection = system.service().await;
    let channel = connection.create_channel().await.unwrap();
    until_declared(&system).await;
    bound_queue(&channel, "nest", NEST).await;
    bound_queue(&channel, "raw", RAW).await;
    let (mut nest, mut raw) = (consume(&channel, "nest").await, consume(&channel, "raw").await);
    let mut from_nest = headers("from-nest", "movie.created");
    from_nest.insert("Bridge-Source", "amqp:marquee.events");
    from_nest.insert("Bridge-Hops", "2");
    let sent = system.bus.jetstream.publish_with_headers("movie.created", from_nest, "{}".into());
    sent.await.unwrap().await.unwrap();
    system.publish("movie.created", 0..1).await;
    let crossed = receive(&mut raw).await;
    assert_eq!(
        (message_id(&crossed).as_str(), text(&crossed, "bridge-hops").unwrap().as_str()),
        ("from-nest", "3")
    );
    assert_eq!(message_id(&receive(&mut raw).await), id("movie.created", 0));
    assert_eq!(
        message_id(&receive(&mut nest).await),
        id("movie.created", 0),
        "the first event is not sent to its own exchange"
    );
    system.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_rabbitmq_among_ten_thousand_events_loses_none_and_keeps_their_order() {
    const COUNT: usize = 10_000;
    let mut system = OutboundSystem::with_own_broker().await;
    let connection = system.service().await;
    let channel = connection.create_channel().await.unwrap();
    until_declared(&system).await;
    bound_queue(&channel, "nest", NEST).await;
    bound_queue(&channel, "raw", RAW).await;
    // RabbitMQ is killed when some events are delivered and others are not.
    let mut broker = system.broker.take().unwrap();
    system.publish("reservation.created", 0..COUNT / 2).await;
    let mut early = consume(&channel, "nest").await;
    for _ in 0..COUNT / 20 {
        receive(&mut early).await;
    }
    drop(early);
    system.publish("reservation.created", COUNT / 2..COUNT / 2 + 100).await;
    broker.kill().await;
    system.until_degraded("RabbitMQ is away").await;
    system.publish("reservation.created", COUNT / 2 + 100..COUNT).await;
    broker.start_again().await.unwrap();
    let connection = system.service().await;
    let channel = connection.create_channel().await.unwrap();
    // Nothing was consumed from the queue `raw` so far.
    let seen = until_complete(&mut consume(&channel, "raw").await, "reservation.created", COUNT).await;
    let repeats: usize = seen.values().map(|times| times - 1).sum();
    assert!(repeats <= 512, "{repeats} repeats, more than were unconfirmed");
    system.until_degraded("").await;
    assert_eq!(system.health().restarts, 0);
    system.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_bridge_with_unconfirmed_events_loses_none_and_keeps_their_order() {
    let url = marquee::local::shared_rabbitmq().await.unwrap().create_virtual_host().await.unwrap();
    let proxy = StallingProxy::to(&url).await;
    let mut system = OutboundSystem::at(proxy.url(&url), None, &[]).await;
    let connection = lapin::Connection::connect(&url, Default::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    system.until_degraded("").await;
    until_declared(&system).await;
    bound_queue(&channel, "nest", NEST).await;
    let mut reading = consume(&channel, "nest").await;
    system.publish("movie.created", 0..10).await;
    for number in 0..10 {
        assert_eq!(message_id(&receive(&mut reading).await), id("movie.created", number));
    }
    // From now on nothing that the bridge sends arrives.
    proxy.stall();
    system.publish("movie.created", 10..400).await;
    let began = std::time::Instant::now();
    loop {
        let stream = system.bus.jetstream.get_stream(bus::topology::EVENTS).await.unwrap();
        let consumer = stream.consumer_info("bridge-nest").await.unwrap();
        if consumer.num_ack_pending + consumer.num_pending as usize == 390 && consumer.num_ack_pending > 0 {
            break;
        }
        assert!(began.elapsed() < MAX_WAIT, "{consumer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    system.kill_bridge_and_start_at(&url).await;
    for number in 10..400 {
        assert_eq!(message_id(&receive(&mut reading).await), id("movie.created", number));
    }
    system.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_nats_loses_no_event_and_keeps_their_order() {
    const COUNT: usize = 4_000;
    let mut system = OutboundSystem::open(&[]).await;
    let connection = system.service().await;
    let channel = connection.create_channel().await.unwrap();
    until_declared(&system).await;
    bound_queue(&channel, "raw", RAW).await;
    system.publish("payment.success", 0..COUNT).await;
    let mut reading = consume(&channel, "raw").await;
    let mut first = Vec::new();
    for _ in 0..COUNT / 10 {
        first.push(message_id(&receive(&mut reading).await));
    }
    system.nats.kill().await;
    system.nats.start_again().await.unwrap();
    let expected: Vec<String> = (0..COUNT).map(|number| id("payment.success", number)).collect();
    assert_eq!(first, expected[..first.len()]);
    while first.len() < COUNT {
        let next = message_id(&receive(&mut reading).await);
        if !first.contains(&next) {
            assert_eq!(next, expected[first.len()], "new events arrive in order");
            first.push(next);
        }
    }
    system.close().await;
}

#[tokio::test]
async fn a_bridge_that_starts_without_rabbitmq_is_ready_and_catches_up() {
    let mut broker = RabbitMq::start(&Folder::temporary().unwrap()).await.unwrap();
    broker.stop().await.unwrap();
    let system = OutboundSystem::at(broker.url(), None, &[("AMQP_OUTBOUND", "movie.*")]).await;
    system.until_degraded("RabbitMQ is away since").await;
    assert!(system.health().is_ready());
    broker.start_again().await.unwrap();
    system.until_degraded("").await;
    until_declared(&system).await;
    let connection = system.service().await;
    let channel = connection.create_channel().await.unwrap();
    bound_queue(&channel, "nest", NEST).await;
    system.publish("reservation.created", 0..1).await;
    system.publish("movie.created", 0..1).await;
    let mut reading = consume(&channel, "nest").await;
    assert_eq!(
        receive(&mut reading).await.routing_key.as_str(),
        "movie.created",
        "only allowed events are sent"
    );
    // A full disk: the broker reads nothing from publishers and notifies them.
    let alarm = "{resource_limit, disk, node()}";
    broker.evaluate(&format!("rabbit_alarm:set_alarm({{{alarm}, []}}).")).await.unwrap();
    system.publish("movie.created", 1..600).await;
    let blocked = "RabbitMQ accepts no messages: low on disk";
    system.until_degraded(blocked).await;
    // Longer than a confirm may take otherwise: the bridge must not close the blocked connection.
    system.stays_degraded(blocked, Duration::from_secs(12)).await;
    broker.evaluate(&format!("rabbit_alarm:clear_alarm({alarm}).")).await.unwrap();
    for number in 1..600 {
        assert_eq!(message_id(&receive(&mut reading).await), id("movie.created", number), "once, in order");
    }
    system.until_degraded("").await;
    system.close().await;
}

#[tokio::test]
async fn a_full_queue_delays_its_events_is_named_and_does_not_flood_the_other_queues() {
    let queues = r#"[{"name": "small", "events": ["movie.created"]}]"#;
    let system = OutboundSystem::open(&[("AMQP_SERVICE_QUEUES", queues)]).await;
    let connection = system.service().await;
    let channel = connection.create_channel().await.unwrap();
    until_declared(&system).await;
    let mut small = FieldTable::default();
    small.insert("x-max-length".into(), AMQPValue::LongInt(1));
    small.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    channel.queue_declare("small".into(), Default::default(), small).await.unwrap();
    let no_arguments = FieldTable::default();
    channel
        .queue_bind("small".into(), NEST.into(), "#".into(), Default::default(), no_arguments)
        .await
        .unwrap();
    bound_queue(&channel, "other", NEST).await;
    system.publish("movie.created", 0..20).await;
    system.until_degraded("RabbitMQ could not keep movie.created on marquee.events (basic.nack)").await;
    system.until_degraded("most likely small, which has 1 messages").await;
    system.stays_degraded("(basic.nack)", Duration::from_secs(5)).await;
    until_complete(&mut consume(&channel, "small").await, "movie.created", 20).await;
    system.until_degraded("").await;
    // Each event arrives at the first attempt and when the full queue has space again; in between one event for each retry,
    // with growing delays.
    let mut reading = consume(&channel, "other").await;
    let seen = until_complete(&mut reading, "movie.created", 20).await;
    system.publish("movie.updated", 0..1).await;
    let mut repeats: usize = seen.values().map(|times| times - 1).sum();
    while receive(&mut reading).await.routing_key.as_str() != "movie.updated" {
        repeats += 1;
    }
    assert!(repeats < 100, "{repeats} repeats");
    system.close().await;
}

#[tokio::test]
async fn a_service_queue_is_bound_when_it_appears_and_its_events_are_kept_until_then() {
    let queues = r#"[{"name": "notifications_queue", "events": ["reservation.confirmed"]}]"#;
    let system = OutboundSystem::open(&[("AMQP_SERVICE_QUEUES", queues)]).await;
    system.until_degraded("the service queue notifications_queue is not there yet").await;
    system.publish("reservation.confirmed", 0..1).await;
    system.publish("movie.created", 0..1).await;
    system.until_degraded("reservation.confirmed reach no queue").await;
    // It stays degraded until that is fixed.
    system.stays_degraded("reservation.confirmed reach no queue", Duration::from_secs(3)).await;
    let connection = system.service().await;
    let channel = connection.create_channel().await.unwrap();
    // The service starts and declares its queue.
    declare(&channel, "notifications_queue").await;
    let mut reading = consume(&channel, "notifications_queue").await;
    let stored = receive(&mut reading).await;
    assert_eq!(message_id(&stored), id("reservation.confirmed", 0));
    assert_eq!(body(&stored)["pattern"], "reservation.confirmed");
    system.publish("movie.created", 1..2).await;
    system.publish("reservation.confirmed", 1..2).await;
    assert_eq!(
        message_id(&receive(&mut reading).await),
        id("reservation.confirmed", 1),
        "only events of the setting arrive"
    );
    system.until_degraded("").await;
    system.close().await;
}

#[tokio::test]
async fn a_queue_that_is_missing_for_long_uses_up_no_channels() {
    let url = marquee::local::shared_rabbitmq().await.unwrap().create_virtual_host().await.unwrap();
    let queues = r#"[{"name": "notifications_queue", "events": ["reservation.confirmed"]}]"#;
    let mut environment = Environment::default()
        // Instead of the 2,047 channels that RabbitMQ allows, which would take two hours.
        .or("AMQP_URL", format!("{url}?channel_max=8"))
        .or("AMQP_SERVICE_QUEUES", queues);
    let settings = Settings::read(&mut environment);
    environment.check().unwrap();
    let (session, stop) = (Session::new(settings), CancellationToken::new());
    let running = tokio::spawn(session.clone().run(stop.clone()));
    let epoch = session.until_up(&stop).await;
    for round in 0..40 {
        service_queue::bind_all(&session).await;
        let complaints = session.degraded();
        assert_eq!(complaints, ["the service queue notifications_queue is not there yet"], "round {round}");
        let channel = session.channel().await.unwrap();
        channel.close(200, "OK".into()).await.unwrap();
    }
    let connection = lapin::Connection::connect(&url, Default::default()).await.unwrap();
    declare(&connection.create_channel().await.unwrap(), "notifications_queue").await;
    service_queue::bind_all(&session).await;
    assert_eq!(session.degraded(), [""; 0]);
    assert_eq!(session.until_up(&stop).await, epoch, "it is still the first connection");
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_emptied_rabbitmq_gets_its_exchanges_and_bindings_again() {
    let queues = r#"[{"name": "notifications_queue", "events": ["reservation.confirmed"]}]"#;
    let system = OutboundSystem::open(&[("AMQP_SERVICE_QUEUES", queues)]).await;
    let service = async || {
        let connection = system.service().await;
        let channel = connection.create_channel().await.unwrap();
        declare(&channel, "notifications_queue").await;
        (consume(&channel, "notifications_queue").await, connection)
    };
    let (mut reading, _connection) = service().await;
    system.until_degraded("").await;
    system.publish("reservation.confirmed", 0..1).await;
    assert_eq!(message_id(&receive(&mut reading).await), id("reservation.confirmed", 0));
    // Deletes exchanges, queues and bindings, as on a new disk; the connections end.
    let broker = marquee::local::shared_rabbitmq().await.unwrap();
    broker.empty_virtual_host(&system.amqp_url).await.unwrap();
    system.publish("reservation.confirmed", 1..2).await;
    system.until_degraded("the service queue notifications_queue is not there yet").await;
    let (mut reading, _connection) = service().await;
    assert_eq!(message_id(&receive(&mut reading).await), id("reservation.confirmed", 1));
    system.until_degraded("").await;
    assert_eq!(system.health().restarts, 0);
    system.close().await;
}

#[tokio::test]
async fn an_exchange_of_another_kind_degrades_its_target_and_no_other() {
    let url = marquee::local::shared_rabbitmq().await.unwrap().create_virtual_host().await.unwrap();
    let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let fanout = channel.exchange_declare(RAW.into(), ExchangeKind::Fanout, durable, FieldTable::default());
    fanout.await.unwrap();
    declare_topic(&channel, NEST).await;
    bound_queue(&channel, "nest", NEST).await;
    let system = OutboundSystem::at(url, None, &[]).await;
    system.until_degraded("PRECONDITION_FAILED").await;
    system.publish("movie.created", 0..3).await;
    let mut reading = consume(&channel, "nest").await;
    for number in 0..3 {
        assert_eq!(message_id(&receive(&mut reading).await), id("movie.created", number));
    }
    assert_eq!(system.health().restarts, 0, "the bridge was restarted");
    // When the exchange is fixed, the bridge goes on without a restart.
    channel.exchange_delete(RAW.into(), Default::default()).await.unwrap();
    declare_topic(&channel, RAW).await;
    bound_queue(&channel, "raw", RAW).await;
    let mut raw = consume(&channel, "raw").await;
    for number in 0..3 {
        assert_eq!(message_id(&receive(&mut raw).await), id("movie.created", number));
    }
    system.close().await;
}

#[tokio::test]
async fn an_event_that_is_not_json_is_parked_and_the_next_one_is_sent() {
    let system = OutboundSystem::open(&[]).await;
    let connection = system.service().await;
    let channel = connection.create_channel().await.unwrap();
    until_declared(&system).await;
    bound_queue(&channel, "raw", RAW).await;
    let bad = headers("bad", "movie.created");
    let sent = system.bus.jetstream.publish_with_headers("movie.created", bad, "not json".into());
    sent.await.unwrap().await.unwrap();
    system.publish("movie.created", 0..1).await;
    let mut reading = consume(&channel, "raw").await;
    assert_eq!(message_id(&receive(&mut reading).await), id("movie.created", 0));
    let dead_letters = system.bus.jetstream.get_stream(bus::topology::DLQ).await.unwrap();
    let began = std::time::Instant::now();
    // One dead letter for each target.
    while dead_letters.get_info().await.unwrap().state.messages < 2 {
        assert!(began.elapsed() < MAX_WAIT, "not parked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Each target answers the replay of its own dead letter, which is still poison.
    for target in ["bridge-nest", "bridge-raw"] {
        let mut answers = String::new();
        for sequence in 1..=2 {
            let request = format!(r#"{{"sequence":{sequence}}}"#);
            let answer = system.bus.client.request(format!("replay.{target}"), request.into()).await.unwrap();
            answers += str::from_utf8(&answer.payload).unwrap();
        }
        assert!(answers.contains("not JSON") && answers.contains("another consumer's"), "{answers}");
    }
    system.close().await;
}
