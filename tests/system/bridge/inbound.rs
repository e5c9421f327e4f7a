//! From RabbitMQ to JetStream: what becomes an event, what is refused, and that neither an outage nor a crash loses or doubles.

use std::collections::BTreeMap;

use lapin::options::QueueBindOptions;
use lapin::types::FieldTable;
use serde_json::json;
use uuid::Uuid;

use super::station::{Said, Station, Stored, Wire, enveloped, header, movie};

fn ids(stored: &[Stored]) -> Vec<&str> {
    stored.iter().map(|event| event.id.as_str()).collect()
}

/// As a golevelup service publishes it.
fn bare(id: &str) -> Said {
    Said::new("marquee.events.raw", "movie.created", movie(id).to_string()).id(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_stored_once_in_every_format_and_from_every_entry_point() {
    let station = Station::open().await;
    let nest = |id: &str| enveloped("movie.created", &movie(id));
    let said = [
        Said::new("marquee.events", "movie.created", nest("topic")).id("topic"),
        bare("raw"),
        Said::new("", "marquee.bridge.inbox", nest("inbox")).id("inbox"),
        // Anybody's JSON on Nest's exchange, and Nest's envelope on the other.
        Said::new("marquee.events", "movie.created", movie("mixed").to_string()).id("mixed"),
        Said::new("marquee.events.raw", "movie.created", nest("mixed-too")).id("mixed-too"),
    ];
    // Each a second time, as a service does that did not hear the confirm.
    for said in said.iter().chain(&said) {
        station.say(said).await;
    }
    station.say(&bare("last")).await;
    let stored = station.until_stored("last").await;
    // Two queues, so in no order between them.
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
    let station = Station::open().await;
    // As `emit()` of an unmodified service is on the wire: no message id, transient.
    let mut said = Said::new("", "marquee.bridge.inbox", enveloped("movie.created", &movie("Dune")));
    said.properties =
        lapin::BasicProperties::default().with_headers(FieldTable::default()).with_delivery_mode(1);
    station.say(&said).await;
    station.say(&bare("last")).await;
    station.until("two events", async |station| station.stored_count().await == 2).await;
    let stored = station.stored().await;
    let dune = stored.iter().find(|event| event.payload["title"] == "Dune").unwrap();
    assert_eq!(Uuid::parse_str(&dune.id).unwrap().get_version_num(), 7);
    assert_eq!(dune.header("Nats-Msg-Id"), dune.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_message_is_parked_with_its_reason_and_the_next_valid_one_is_stored() {
    let station = Station::open().await;
    let raw = |body: Vec<u8>| Said::new("marquee.events.raw", "movie.created", body);
    let large = vec![b' '; 600 * 1024];
    let bad = [
        ("empty", raw(Vec::new())),
        ("not-json", raw(b"{".to_vec())),
        ("too-large", raw(large)),
        ("schema", raw(json!({"title": "Dune"}).to_string().into_bytes())),
        ("not-allowed", raw(enveloped("payment.success", &json!({})).into_bytes())),
        ("unknown-event", raw(enveloped("movie.imagined", &json!({})).into_bytes())),
        ("no-pattern", Said::new("", "marquee.bridge.inbox", movie("Dune").to_string())),
        ("message-id", raw(movie("Dune").to_string().into_bytes()).id("two words")),
    ];
    for (code, said) in &bad {
        let said = said.clone().header("test", code);
        station.say(&said).await;
        station.say(&bare(code)).await;
    }
    let mut reasons = BTreeMap::new();
    for _ in &bad {
        let letter = station.take(&station.names.dead_letter_queue).await;
        reasons.insert(header(&letter, "test").unwrap(), (header(&letter, "bridge-reason").unwrap(), letter));
    }
    for (code, said) in &bad {
        let (reason, letter) = &reasons[*code];
        assert!(reason.starts_with(&format!("{code}: ")), "{reason}");
        assert_eq!(letter.data, said.body, "the body is kept as it came");
        assert_eq!(letter.properties.message_id(), said.properties.message_id());
        assert_eq!(header(letter, "bridge-queue").as_deref(), Some("marquee.events.bridge"));
    }
    station.until("all good ones", async |station| station.stored_count().await == bad.len() as u64).await;
    let mut stored: Vec<_> = station.stored().await.into_iter().map(|event| event.id).collect();
    stored.sort();
    let mut expected: Vec<_> = bad.iter().map(|(code, _)| (*code).to_owned()).collect();
    expected.sort();
    assert_eq!(stored, expected);
    assert_eq!(station.queue("marquee.events.bridge").await.unwrap().0, 0, "nothing is requeued");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_the_bridge_may_not_publish_is_parked_and_blocks_no_other() {
    // Allowed here and forgotten in nats.conf, which NATS answers with silence.
    let station = Station::open_with(&[("AMQP_INBOUND", "movie.created,movie.deleted")]).await;
    let deleted = json!({"movieId": Uuid::now_v7(), "version": 2, "title": "Dune", "by": Uuid::nil()});
    station.say(&Said::new("marquee.events.raw", "movie.deleted", deleted.to_string()).id("silent")).await;
    station.say(&bare("good")).await;
    station.until_stored("good").await;
    let letter = station.take(&station.names.dead_letter_queue).await;
    let reason = header(&letter, "bridge-reason").unwrap();
    assert!(reason.starts_with("not-stored: ") && reason.contains("nats.conf"), "{reason}");
    assert_eq!(station.stored_count().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_nats_loses_no_message() {
    let mut station = Station::open().await;
    station.say_all((0..100).map(|n| bare(&format!("before-{n}")))).await;
    station.nats().kill().await;
    station.say_all((0..200).map(|n| bare(&format!("while-{n}")))).await;
    // What was in hand is back in its queue, for a bridge with a NATS of its own, say.
    station
        .until("the bridge gives back", async |station| {
            let (ready, consumers) = station.queue("marquee.events.bridge").await.unwrap();
            consumers == 0 && ready >= 200
        })
        .await;
    station.nats().start_again().await.unwrap();
    station.say_all((0..100).map(|n| bare(&format!("after-{n}")))).await;
    station.until("all 400", async |station| station.stored_count().await >= 400).await;
    let stored = station.stored().await;
    let mut found = ids(&stored);
    found.sort_unstable();
    found.dedup();
    assert_eq!((found.len(), stored.len()), (400, 400));
    station
        .until("an empty queue", async |station| station.queue("marquee.events.bridge").await.unwrap().0 == 0)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_killed_between_the_two_acks_stores_no_event_twice() {
    let mut station = Station::closed(&[]).await;
    let wire = Wire::to(&station.amqp_url).await;
    let by_wire = wire.url(&station.amqp_url);
    station.start_bridge_at(&by_wire).await;
    // From now on RabbitMQ hears no ack.
    wire.hold();
    station.say_all((0..300).map(|n| bare(&format!("event-{n}")))).await;
    station.until("some are in the stream", async |station| station.stored_count().await >= 100).await;
    station.kill_bridge();
    station
        .until("all are in the queue again", async |station| {
            station.queue("marquee.events.bridge").await == Some((300, 0))
        })
        .await;
    station.start_bridge().await;
    station.until("all are in the stream", async |station| station.stored_count().await >= 300).await;
    station
        .until("an empty queue", async |station| station.queue("marquee.events.bridge").await == Some((0, 1)))
        .await;
    assert_eq!(station.stored_count().await, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_stops_leaves_no_message_unacknowledged() {
    let mut station = Station::open().await;
    // Without ids: a second delivery would be a second event.
    let anonymous = |n: usize| {
        let mut said = bare(&format!("event-{n}"));
        said.properties = lapin::BasicProperties::default().with_headers(FieldTable::default());
        said
    };
    station.say_all((0..500).map(anonymous)).await;
    station.until("some are in the stream", async |station| station.stored_count().await >= 50).await;
    station.stop_bridge().await;
    station.start_bridge().await;
    station
        .until("an empty queue", async |station| station.queue("marquee.events.bridge").await == Some((0, 1)))
        .await;
    station.until("all are in the stream", async |station| station.stored_count().await >= 500).await;
    assert_eq!(station.stored_count().await, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_events_in_both_directions_cause_no_loop() {
    let station = Station::open().await;
    // Somebody listens on both sides to everything.
    for (queue, exchange) in [("nest-listener", "marquee.events"), ("raw-listener", "marquee.events.raw")] {
        let channel = station.new_channel().await;
        channel.queue_declare(queue.into(), Default::default(), FieldTable::default()).await.unwrap();
        let options = QueueBindOptions::default();
        channel
            .queue_bind(queue.into(), exchange.into(), "#".into(), options, FieldTable::default())
            .await
            .unwrap();
    }
    // 500 by each kind of service, and 500 through the inbox; and one on each side at last.
    let nest = |n: usize| {
        Said::new("marquee.events", "movie.created", enveloped("movie.created", &movie("n")))
            .id(&format!("n{n}"))
    };
    let inbox = |n: usize| {
        Said::new("", "marquee.bridge.inbox", enveloped("movie.created", &movie("i"))).id(&format!("i{n}"))
    };
    let raw = |n: usize| bare(&format!("r{n}"));
    station.say_all((0..500).flat_map(|n| [nest(n), raw(n), inbox(n)])).await;
    // Each listener has its own side's, and by the bridge what came from elsewhere: in stream order, so that whatever went
    // round is heard before the last one from the other side.
    station.say_all([nest(500), raw(500)]).await;
    for queue in ["nest-listener", "raw-listener"] {
        let mut heard = BTreeMap::<String, usize>::new();
        while !(heard.contains_key("n500") && heard.contains_key("r500")) {
            let id = station.take(queue).await.properties.message_id().as_ref().unwrap().to_string();
            *heard.entry(id).or_default() += 1;
        }
        assert_eq!(heard.len(), 1_502, "{queue}");
        let twice: Vec<_> = heard.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "{queue} heard twice: {twice:?}");
    }
    // What went out is in the bridge's own queue since then, before this one.
    station.say(&bare("last")).await;
    station.until_stored("last").await;
    assert_eq!(station.stored_count().await, 1_503);
}
