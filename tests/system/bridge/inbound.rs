//! From RabbitMQ to JetStream: which messages become events, which are refused, and that outages and crashes lose and duplicate
//! none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lapin::options::QueueBindOptions;
use lapin::types::FieldTable;
use serde_json::json;
use uuid::Uuid;

use super::system::{AmqpMessage, BridgeSystem, StallingProxy, enveloped, header, movie};
use crate::harness::StoredEvent;

fn ids(stored: &[StoredEvent]) -> Vec<&str> {
    stored.iter().map(|event| event.id.as_str()).collect()
}

/// A `movie.created` as a golevelup service publishes it.
fn bare(id: &str) -> AmqpMessage {
    AmqpMessage::new("marquee.events.raw", "movie.created", movie(id).to_string()).id(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_stored_once_in_every_format_and_from_every_entry_point() {
    let system = BridgeSystem::open().await;
    let nest = |id: &str| enveloped("movie.created", &movie(id));
    let messages = [
        AmqpMessage::new("marquee.events", "movie.created", nest("topic")).id("topic"),
        bare("raw"),
        AmqpMessage::new("", "marquee.bridge.inbox", nest("inbox")).id("inbox"),
        // Plain JSON on the exchange of Nest, and Nest's envelope on the other one.
        AmqpMessage::new("marquee.events", "movie.created", movie("mixed").to_string()).id("mixed"),
        AmqpMessage::new("marquee.events.raw", "movie.created", nest("mixed-too")).id("mixed-too"),
    ];
    // Each twice, as a service does that has not received the confirm.
    for message in messages.iter().chain(&messages) {
        system.publish(message).await;
    }
    system.publish(&bare("last")).await;
    let stored = system.until_stored("last").await;
    // The messages came through two queues, so their order is not defined.
    let mut found = ids(&stored);
    found.sort_unstable();
    assert_eq!(found, ["inbox", "last", "mixed", "mixed-too", "raw", "topic"]);
    for event in &stored {
        assert_eq!((event.subject.as_str(), event.header("ce-source")), ("movie.created", "/marquee/bridge"));
        assert_eq!(event.payload["title"], event.id, "the payload alone, without the envelope");
    }
    let by_id: BTreeMap<_, _> = stored.iter().map(|event| (event.id.as_str(), event)).collect();
    assert_eq!(by_id["topic"].header("Bridge-Source"), "amqp:marquee.events");
    assert_eq!(by_id["raw"].header("Bridge-Source"), "amqp:marquee.events.raw");
    assert_eq!(by_id["inbox"].header("Bridge-Source"), "amqp:");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nests_default_message_without_an_id_becomes_an_event_with_a_new_id() {
    let system = BridgeSystem::open().await;
    // As `emit()` of an unmodified service sends it: transient and without a message id.
    let mut message =
        AmqpMessage::new("", "marquee.bridge.inbox", enveloped("movie.created", &movie("Dune")));
    message.properties =
        lapin::BasicProperties::default().with_headers(FieldTable::default()).with_delivery_mode(1);
    system.publish(&message).await;
    system.publish(&bare("last")).await;
    system.until("two events", async |system| system.stored_count().await == 2).await;
    let stored = system.stored().await;
    let dune = stored.iter().find(|event| event.payload["title"] == "Dune").unwrap();
    assert_eq!(Uuid::parse_str(&dune.id).unwrap().get_version_num(), 7);
    assert_eq!(dune.header("Nats-Msg-Id"), dune.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_message_is_parked_with_its_reason_and_the_next_valid_one_is_stored() {
    let system = BridgeSystem::open().await;
    let raw = |body: Vec<u8>| AmqpMessage::new("marquee.events.raw", "movie.created", body);
    let large = vec![b' '; 600 * 1024];
    let bad = [
        ("empty", raw(Vec::new())),
        ("not-json", raw(b"{".to_vec())),
        ("too-large", raw(large)),
        ("schema", raw(json!({"title": "Dune"}).to_string().into_bytes())),
        ("not-allowed", raw(enveloped("payment.success", &json!({})).into_bytes())),
        ("unknown-event", raw(enveloped("movie.imagined", &json!({})).into_bytes())),
        ("no-pattern", AmqpMessage::new("", "marquee.bridge.inbox", movie("Dune").to_string())),
        ("message-id", raw(movie("Dune").to_string().into_bytes()).id("two words")),
    ];
    for (code, message) in &bad {
        let message = message.clone().header("test", code);
        system.publish(&message).await;
        system.publish(&bare(code)).await;
    }
    let mut reasons = BTreeMap::new();
    for _ in &bad {
        let dead_letter = system.take(&system.names.dead_letter_queue).await;
        let reason = header(&dead_letter, "bridge-reason").unwrap();
        reasons.insert(header(&dead_letter, "test").unwrap(), (reason, dead_letter));
    }
    for (code, message) in &bad {
        let (reason, dead_letter) = &reasons[*code];
        assert!(reason.starts_with(&format!("{code}: ")), "{reason}");
        assert_eq!(dead_letter.data, message.body, "the body is unchanged");
        assert_eq!(dead_letter.properties.message_id(), message.properties.message_id());
        assert_eq!(header(dead_letter, "bridge-queue").as_deref(), Some("marquee.events.bridge"));
    }
    system
        .until("all valid messages are stored", async |system| {
            system.stored_count().await == bad.len() as u64
        })
        .await;
    let mut stored: Vec<_> = system.stored().await.into_iter().map(|event| event.id).collect();
    stored.sort();
    let mut expected: Vec<_> = bad.iter().map(|(code, _)| (*code).to_owned()).collect();
    expected.sort();
    assert_eq!(stored, expected);
    assert_eq!(system.queue("marquee.events.bridge").await.unwrap().0, 0, "nothing is requeued");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_the_bridge_may_not_publish_is_parked_and_blocks_no_other() {
    // Allowed by the setting but not by nats.conf: NATS gives no answer to the publication.
    let system = BridgeSystem::open_with(&[("AMQP_INBOUND", "movie.created,movie.deleted")]).await;
    let deleted = json!({"movieId": Uuid::now_v7(), "version": 2, "title": "Dune", "by": Uuid::nil()});
    let silent = |n: usize| {
        let id = format!("silent-{n}");
        AmqpMessage::new("marquee.events.raw", "movie.deleted", deleted.to_string()).id(&id)
    };
    // More than the bridge takes at once (128).
    system.publish_all((0..300).map(silent)).await;
    system.publish(&bare("good")).await;
    let began = Instant::now();
    system.until_stored("good").await;
    // One publication without an ack would take ten seconds.
    assert!(began.elapsed() < Duration::from_secs(8), "delayed by {:?}", began.elapsed());
    assert!(system.degraded().contains("NATS refuses movie.deleted, which AMQP_INBOUND names"));
    for _ in 0..300 {
        let dead_letter = system.take(&system.names.dead_letter_queue).await;
        let reason = header(&dead_letter, "bridge-reason").unwrap();
        assert!(reason.starts_with("not-stored: ") && reason.contains("nats.conf"), "{reason}");
    }
    assert_eq!(system.stored_count().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_nats_loses_no_message() {
    let mut system = BridgeSystem::open().await;
    system.publish_all((0..100).map(|n| bare(&format!("before-{n}")))).await;
    system.nats().kill().await;
    system.publish_all((0..200).map(|n| bare(&format!("while-{n}")))).await;
    // The unacknowledged messages are back in their queue, where another bridge could take them.
    system
        .until("the bridge returns its messages", async |system| {
            let (ready, consumers) = system.queue("marquee.events.bridge").await.unwrap();
            consumers == 0 && ready >= 200
        })
        .await;
    system.nats().start_again().await.unwrap();
    system.publish_all((0..100).map(|n| bare(&format!("after-{n}")))).await;
    system.until("all 400", async |system| system.stored_count().await >= 400).await;
    let stored = system.stored().await;
    let mut found = ids(&stored);
    found.sort_unstable();
    found.dedup();
    assert_eq!((found.len(), stored.len()), (400, 400));
    system
        .until("an empty queue", async |system| system.queue("marquee.events.bridge").await.unwrap().0 == 0)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_killed_between_the_two_acks_stores_no_event_twice() {
    let mut system = BridgeSystem::without_bridge(&[]).await;
    let proxy = StallingProxy::to(&system.amqp_url).await;
    system.start_bridge_at(&proxy.url(&system.amqp_url)).await;
    // From now on RabbitMQ receives no ack.
    proxy.stall();
    system.publish_all((0..300).map(|n| bare(&format!("event-{n}")))).await;
    system.until("some are in the stream", async |system| system.stored_count().await >= 100).await;
    system.kill_bridge();
    system
        .until("all are in the queue again", async |system| {
            system.queue("marquee.events.bridge").await == Some((300, 0))
        })
        .await;
    system.start_bridge().await;
    system.until("all are in the stream", async |system| system.stored_count().await >= 300).await;
    system
        .until("an empty queue", async |system| system.queue("marquee.events.bridge").await == Some((0, 1)))
        .await;
    assert_eq!(system.stored_count().await, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_stops_leaves_no_message_unacknowledged() {
    let mut system = BridgeSystem::open().await;
    // Without ids, so that a second delivery would become a second event.
    let anonymous = |n: usize| {
        let mut message = bare(&format!("event-{n}"));
        message.properties = lapin::BasicProperties::default().with_headers(FieldTable::default());
        message
    };
    system.publish_all((0..500).map(anonymous)).await;
    system.until("some are in the stream", async |system| system.stored_count().await >= 50).await;
    system.stop_bridge().await;
    system.start_bridge().await;
    system
        .until("an empty queue", async |system| system.queue("marquee.events.bridge").await == Some((0, 1)))
        .await;
    system.until("all are in the stream", async |system| system.stored_count().await >= 500).await;
    assert_eq!(system.stored_count().await, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_events_in_both_directions_cause_no_loop() {
    let system = BridgeSystem::open().await;
    // A queue for all events on each side.
    for (queue, exchange) in [("nest-listener", "marquee.events"), ("raw-listener", "marquee.events.raw")] {
        let channel = system.new_channel().await;
        channel.queue_declare(queue.into(), Default::default(), FieldTable::default()).await.unwrap();
        let options = QueueBindOptions::default();
        channel
            .queue_bind(queue.into(), exchange.into(), "#".into(), options, FieldTable::default())
            .await
            .unwrap();
    }
    // 500 from each kind of service and 500 through the inbox; finally one on each side.
    let nest = |n: usize| {
        AmqpMessage::new("marquee.events", "movie.created", enveloped("movie.created", &movie("n")))
            .id(&format!("n{n}"))
    };
    let inbox = |n: usize| {
        AmqpMessage::new("", "marquee.bridge.inbox", enveloped("movie.created", &movie("i")))
            .id(&format!("i{n}"))
    };
    let raw = |n: usize| bare(&format!("r{n}"));
    system.publish_all((0..500).flat_map(|n| [nest(n), raw(n), inbox(n)])).await;
    // Each queue gets the messages of its own side directly and the others from the bridge, in the order of the stream: an
    // event in a loop would arrive before the last one of the other side.
    system.publish_all([nest(500), raw(500)]).await;
    for queue in ["nest-listener", "raw-listener"] {
        let mut received = BTreeMap::<String, usize>::new();
        while !(received.contains_key("n500") && received.contains_key("r500")) {
            let id = system.take(queue).await.properties.message_id().as_ref().unwrap().to_string();
            *received.entry(id).or_default() += 1;
        }
        assert_eq!(received.len(), 1_502, "{queue}");
        let twice: Vec<_> = received.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "{queue} received twice: {twice:?}");
    }
    // Outgoing messages are in the bridge's own queue too, before this one, so they have been handled by now.
    system.publish(&bare("last")).await;
    system.until_stored("last").await;
    assert_eq!(system.stored_count().await, 1_503);
}
