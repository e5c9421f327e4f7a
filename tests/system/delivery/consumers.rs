//! Consumers: poison is parked, outages park nothing, an ack follows its commit, and consumers survive restarts of NATS.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actors::delivery::{Change, Outcome};
use async_nats::jetstream::{AckKind, consumer::PullConsumer};
use bus::consumer::Delivery;
use bus::dead_letter::{DLQ_ATTEMPTS, DLQ_CONSUMER, DLQ_REASON};
use bus::event::MARQUEE_ONLY;
use bus::topology::{self, ConsumerSpec};
use bus::{Bus, Failure};
use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::probe::Probe;
use super::{ProbeHost, SOON, bounded, check, connect, database, event, own_nats, read_stream, until};

const SPEC: ConsumerSpec = ConsumerSpec { name: "probe-listener", subjects: &["movie.>"] };

/// A consumer that passes its deliveries to the test.
struct TestConsumer {
    deliveries: tokio::sync::mpsc::UnboundedReceiver<Delivery>,
    database_up: watch::Sender<bool>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), Failure>>,
}

impl TestConsumer {
    fn start(bus: &Bus) -> Self {
        Self::start_when(bus, true)
    }

    /// As [`Self::start`], with the availability of the database at the start.
    fn start_when(bus: &Bus, is_up: bool) -> Self {
        let (sender, deliveries) = tokio::sync::mpsc::unbounded_channel();
        let (database_up, availability) = watch::channel(is_up);
        let stop = CancellationToken::new();
        let handle = Arc::new(move |delivery: Delivery| {
            let _ = sender.send(delivery);
        });
        let running = tokio::spawn(bus::consumer::run(bus.clone(), SPEC, availability, stop.clone(), handle));
        Self { deliveries, database_up, stop, running }
    }

    async fn next(&mut self) -> Delivery {
        bounded("a delivery", self.deliveries.recv()).await.expect("the consumer runs")
    }

    /// Takes deliveries until this event is delivered, and acknowledges the others.
    async fn next_of(&mut self, id: &str) -> Delivery {
        loop {
            let delivery = self.next().await;
            if delivery.id == id {
                return delivery;
            }
            delivery.ack();
        }
    }

    async fn nothing_within(&mut self, bound: Duration) {
        if let Ok(Some(delivery)) = tokio::time::timeout(bound, self.deliveries.recv()).await {
            panic!("{} was delivered", delivery.id);
        }
    }
}

/// Publishes an event, waiting while NATS is down, and returns its id.
async fn publish(bus: &Bus, text: &str) -> String {
    let event = event(text, bus::contract::Timestamp::wall_clock());
    until("an event is published", SOON, async || {
        let _ = topology::ensure_streams(bus).await;
        match event.send(bus).await {
            Ok(ack) => ack.await.map(|_| ()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    event.id.to_string()
}

async fn ack_pending(bus: &Bus) -> usize {
    let stream = topology::events(bus).await.unwrap();
    let mut consumer: PullConsumer = stream.get_consumer(SPEC.name).await.unwrap();
    consumer.info().await.unwrap().num_ack_pending
}

async fn until_ack_pending(bus: &Bus, wanted: usize) {
    until("the number of unacknowledged messages", SOON, async || {
        check(ack_pending(bus).await, |n| *n == wanted)
    })
    .await;
}

/// Delivers a message several times without handling it.
async fn deliver_and_reject(bus: &Bus, times: u64) {
    topology::ensure_streams(bus).await.unwrap();
    let consumer = topology::ensure_consumer(bus, SPEC).await.unwrap();
    for _ in 0..times {
        let batch = consumer.batch().max_messages(1).expires(Duration::from_secs(5));
        let mut batch = batch.messages().await.unwrap();
        let message = batch.next().await.unwrap().unwrap();
        message.ack_with(AckKind::Nak(None)).await.unwrap();
        bus.client.flush().await.unwrap();
    }
}

#[tokio::test]
async fn a_poison_message_is_parked_with_its_reason_and_later_messages_are_handled() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let poison = publish(&bus, "poison").await;
    let good = publish(&bus, "good").await;
    let mut consumer = TestConsumer::start(&bus);
    let delivery = consumer.next_of(&poison).await;
    delivery.fail(Failure::poison("not a\nmovie"));
    consumer.next_of(&good).await.ack();
    let parked = until("one dead letter", SOON, async || {
        check(read_stream(&bus, topology::DLQ).await, |messages| messages.len() == 1)
    })
    .await;
    let (id, headers) = &parked[0];
    let text = |name: &str| headers.get(name).map(|value| value.to_string()).unwrap_or_default();
    assert_eq!(*id, poison);
    assert_eq!(text(DLQ_REASON), "not a movie");
    assert_eq!(text(DLQ_CONSUMER), SPEC.name);
    assert_eq!(text(DLQ_ATTEMPTS), "1");
    until_ack_pending(&bus, 0).await;
    consumer.nothing_within(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_transient_failure_is_retried_after_growing_delays() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let id = publish(&bus, "try").await;
    let mut consumer = TestConsumer::start(&bus);
    let mut times = Vec::new();
    for attempt in 1..=5 {
        let delivery = consumer.next_of(&id).await;
        times.push(Instant::now());
        assert_eq!(delivery.attempt, attempt);
        if attempt < 5 {
            delivery.fail(Failure::transient("the provider is down"));
        } else {
            delivery.ack();
        }
    }
    let delays: Vec<u128> = times.windows(2).map(|two| (two[1] - two[0]).as_millis()).collect();
    for (delay, least) in delays.iter().zip([100, 200, 400, 800]) {
        assert!(*delay >= least - 10, "{delays:?}");
    }
    until_ack_pending(&bus, 0).await;
    assert!(read_stream(&bus, topology::DLQ).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_messages_that_wait_for_their_retry_hold_up_no_new_one() {
    const FAILING: usize = 2_500;
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    topology::ensure_streams(&bus).await.unwrap();
    for _ in 0..FAILING {
        let event = event("failing", bus::contract::Timestamp::wall_clock());
        event.send(&bus).await.unwrap().await.unwrap();
    }
    let mut consumer = TestConsumer::start(&bus);
    let mut failed = std::collections::HashSet::new();
    // At least as many as are handled at a time, each of which is delivered again and fails again.
    bounded("every message was tried", async {
        while failed.len() < FAILING {
            let delivery = consumer.next().await;
            failed.insert(delivery.id.clone());
            delivery.retry("its provider is away");
        }
    })
    .await;
    let good = publish(&bus, "good").await;
    bounded("a new message is handled", async {
        loop {
            let delivery = consumer.next().await;
            if delivery.id == good {
                return delivery.ack();
            }
            delivery.retry("its provider is away");
        }
    })
    .await;
    assert!(read_stream(&bus, topology::DLQ).await.is_empty());
}

#[tokio::test]
async fn a_message_delivered_too_often_is_parked_before_it_is_handled() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    publish(&bus, "again and again").await;
    deliver_and_reject(&bus, bus::retry::DELIVERIES_MAX - 1).await;
    let mut consumer = TestConsumer::start(&bus);
    let parked = until("one dead letter", SOON, async || {
        check(read_stream(&bus, topology::DLQ).await, |messages| messages.len() == 1)
    })
    .await;
    assert_eq!(parked[0].1.get(DLQ_ATTEMPTS).map(|v| v.to_string()).as_deref(), Some("12"));
    consumer.nothing_within(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_database_outage_parks_no_message() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let id = publish(&bus, "outage").await;
    deliver_and_reject(&bus, bus::retry::DELIVERIES_MAX + 3).await;
    let mut consumer = TestConsumer::start_when(&bus, false);
    consumer.nothing_within(Duration::from_millis(500)).await;
    // The deliveries of the outage do not count when the database is up again.
    consumer.database_up.send_replace(true);
    consumer.next_of(&id).await.ack();
    until_ack_pending(&bus, 0).await;
    assert!(read_stream(&bus, topology::DLQ).await.is_empty());
}

#[tokio::test]
async fn pulling_stops_while_the_database_is_down() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let first = publish(&bus, "before").await;
    let mut consumer = TestConsumer::start(&bus);
    consumer.next_of(&first).await.ack();
    consumer.database_up.send_replace(false);
    until("no pull request is open", SOON, async || {
        let stream = topology::events(&bus).await.unwrap();
        check(stream.consumer_info(SPEC.name).await.unwrap().num_waiting, |waiting| *waiting == 0)
    })
    .await;
    let second = publish(&bus, "meanwhile").await;
    consumer.nothing_within(Duration::from_millis(500)).await;
    consumer.database_up.send_replace(true);
    let delivery = consumer.next_of(&second).await;
    assert!(delivery.attempt <= 2, "{}", delivery.attempt);
    delivery.ack();
}

#[tokio::test]
async fn a_replay_for_another_consumer_is_acknowledged_and_skipped() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    topology::ensure_streams(&bus).await.unwrap();
    for only in ["somebody-else", SPEC.name] {
        let event = event("replay", bus::contract::Timestamp::wall_clock());
        let mut headers = event.headers();
        headers.insert(MARQUEE_ONLY, only);
        let ack = bus.jetstream.publish_with_headers(event.subject, headers, event.payload).await.unwrap();
        ack.await.unwrap();
    }
    let own = super::stream_ids(&bus).await[1].clone();
    let mut consumer = TestConsumer::start(&bus);
    let delivery = consumer.next().await;
    assert_eq!(delivery.id, own);
    delivery.ack();
    until_ack_pending(&bus, 0).await;
    consumer.nothing_within(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_acknowledged_after_its_commit_and_changes_rows_once_despite_a_crash_in_between() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let host = ProbeHost::start(&database().await, &bus).await;
    let id = publish(&bus, "commit").await;
    let mut consumer = TestConsumer::start(&bus);
    let account = Probe::open();
    assert!(matches!(host.journal.commit(Change::new(account.clone())).await, Outcome::Committed { .. }));
    let handle = async || host.journal.commit(Change::new(Probe::raise(account.id, 1))).await;
    let delivery = consumer.next_of(&id).await;
    until_ack_pending(&bus, 1).await;
    assert!(matches!(handle().await, Outcome::Committed { .. }));
    assert_eq!(ack_pending(&bus).await, 1, "the commit alone acknowledges nothing");
    // As if the host was killed before its ack: a dropped delivery is delivered again.
    drop(delivery);
    let again = consumer.next_of(&id).await;
    assert_eq!(again.attempt, 2);
    assert!(matches!(handle().await, Outcome::Stale), "the version shows that the event is handled");
    again.ack();
    until_ack_pending(&bus, 0).await;
    assert_eq!(host.count("select count(*) from accounts where version = 2").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_survives_a_restart_and_a_wipe_of_nats_and_an_old_ack_affects_no_new_message() {
    let mut nats = own_nats().await;
    let bus = connect(&nats).await;
    let first = publish(&bus, "first").await;
    let mut consumer = TestConsumer::start(&bus);
    consumer.next_of(&first).await.ack();

    nats.kill().await;
    nats.start_again().await.unwrap();
    let second = publish(&bus, "second").await;
    let old = consumer.next_of(&second).await;

    nats.wipe().await.unwrap();
    // In the new stream the second message has the same sequence as the unacknowledged one of the old stream.
    publish(&bus, "third").await;
    let fourth = publish(&bus, "fourth").await;
    let new = consumer.next_of(&fourth).await;
    until_ack_pending(&bus, 1).await;
    old.ack();
    let fifth = publish(&bus, "fifth").await;
    consumer.next_of(&fifth).await.ack();
    until_ack_pending(&bus, 1).await;
    drop(new);
    consumer.next_of(&fourth).await.ack();
    until_ack_pending(&bus, 0).await;
    consumer.stop.cancel();
    bounded("the consumer ends", consumer.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_consumer_that_stops_returns_its_unhandled_messages_at_once() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let handled = Arc::new(Mutex::new(0));
    let stop = CancellationToken::new();
    let (counting, stopping) = (handled.clone(), stop.clone());
    for n in 0..100 {
        publish(&bus, &n.to_string()).await;
    }
    // Stops at the first message, when the others are already delivered.
    let handle = Arc::new(move |delivery: Delivery| {
        *counting.lock().unwrap() += 1;
        stopping.cancel();
        delivery.ack();
    });
    let (_database_up, availability) = watch::channel(true);
    bus::consumer::run(bus.clone(), SPEC, availability, stop, handle).await.unwrap();
    let taken = *handled.lock().unwrap();
    let mut next = TestConsumer::start(&bus);
    let began = Instant::now();
    for _ in taken..100 {
        next.next().await.ack();
    }
    assert!(
        began.elapsed() < bus::topology::ACK_WAIT / 2,
        "they came back only after the ack wait: {:?}",
        began.elapsed()
    );
    until_ack_pending(&bus, 0).await;
}
