//! Consumers: poison is parked, outages park nothing, an ack follows its commit, and NATS may go and come.

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
use super::{Probing, SOON, bounded, connect, database, event, own_nats, read_stream, seen, until};

const SPEC: ConsumerSpec = ConsumerSpec { name: "probe-listener", subjects: &["movie.>"] };

/// A consumer whose deliveries go to the test.
struct Listening {
    deliveries: tokio::sync::mpsc::UnboundedReceiver<Delivery>,
    well: watch::Sender<bool>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), Failure>>,
}

impl Listening {
    fn start(bus: &Bus) -> Self {
        Self::start_when(bus, true)
    }

    /// `well`: whether the database is there at the start.
    fn start_when(bus: &Bus, well: bool) -> Self {
        let (sender, deliveries) = tokio::sync::mpsc::unbounded_channel();
        let (well, wellness) = watch::channel(well);
        let stop = CancellationToken::new();
        let handle = Arc::new(move |delivery: Delivery| {
            let _ = sender.send(delivery);
        });
        let running = tokio::spawn(bus::consumer::run(bus.clone(), SPEC, wellness, stop.clone(), handle));
        Self { deliveries, well, stop, running }
    }

    async fn next(&mut self) -> Delivery {
        bounded("a delivery", self.deliveries.recv()).await.expect("the consumer runs")
    }

    /// Takes deliveries until it is this one; acknowledges others.
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

/// Publishes an event, however long NATS is not there, and returns its id.
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
    until("what is not acknowledged", SOON, async || seen(ack_pending(bus).await, |n| *n == wanted)).await;
}

/// Gives a message `times` deliveries before anybody else sees it.
async fn deliver_in_vain(bus: &Bus, times: u64) {
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
    let mut listening = Listening::start(&bus);
    let delivery = listening.next_of(&poison).await;
    delivery.fail(Failure::poison("not a\nmovie"));
    listening.next_of(&good).await.ack();
    let parked = until("one dead letter", SOON, async || {
        seen(read_stream(&bus, topology::DLQ).await, |letters| letters.len() == 1)
    })
    .await;
    let (id, headers) = &parked[0];
    let text = |name: &str| headers.get(name).map(|value| value.to_string()).unwrap_or_default();
    assert_eq!(*id, poison);
    assert_eq!(text(DLQ_REASON), "not a movie");
    assert_eq!(text(DLQ_CONSUMER), SPEC.name);
    assert_eq!(text(DLQ_ATTEMPTS), "1");
    until_ack_pending(&bus, 0).await;
    listening.nothing_within(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_transient_failure_is_retried_after_growing_delays() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let id = publish(&bus, "try").await;
    let mut listening = Listening::start(&bus);
    let mut times = Vec::new();
    for attempt in 1..=5 {
        let delivery = listening.next_of(&id).await;
        times.push(Instant::now());
        assert_eq!(delivery.attempt, attempt);
        if attempt < 5 {
            delivery.fail(Failure::transient("the provider is away"));
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

#[tokio::test]
async fn a_message_delivered_too_often_is_parked_before_it_is_handled() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    publish(&bus, "again and again").await;
    deliver_in_vain(&bus, bus::retry::DELIVERIES_MAX - 1).await;
    let mut listening = Listening::start(&bus);
    let parked = until("one dead letter", SOON, async || {
        seen(read_stream(&bus, topology::DLQ).await, |letters| letters.len() == 1)
    })
    .await;
    assert_eq!(parked[0].1.get(DLQ_ATTEMPTS).map(|v| v.to_string()).as_deref(), Some("12"));
    listening.nothing_within(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_database_outage_parks_no_message() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let id = publish(&bus, "patience").await;
    deliver_in_vain(&bus, bus::retry::DELIVERIES_MAX + 3).await;
    let mut listening = Listening::start_when(&bus, false);
    listening.nothing_within(Duration::from_millis(500)).await;
    // Back: the deliveries of the outage are not held against it.
    listening.well.send_replace(true);
    listening.next_of(&id).await.ack();
    until_ack_pending(&bus, 0).await;
    assert!(read_stream(&bus, topology::DLQ).await.is_empty());
}

#[tokio::test]
async fn pulling_stops_while_the_database_is_down() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let first = publish(&bus, "before").await;
    let mut listening = Listening::start(&bus);
    listening.next_of(&first).await.ack();
    listening.well.send_replace(false);
    // The pull ends within moments; what came before that is given back.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = publish(&bus, "meanwhile").await;
    listening.nothing_within(Duration::from_millis(500)).await;
    listening.well.send_replace(true);
    let delivery = listening.next_of(&second).await;
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
    let ours = super::stream_ids(&bus).await[1].clone();
    let mut listening = Listening::start(&bus);
    let delivery = listening.next().await;
    assert_eq!(delivery.id, ours);
    delivery.ack();
    until_ack_pending(&bus, 0).await;
    listening.nothing_within(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_dropped_delivery_comes_again() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let id = publish(&bus, "drop").await;
    let mut listening = Listening::start(&bus);
    drop(listening.next_of(&id).await);
    let again = listening.next_of(&id).await;
    assert_eq!(again.attempt, 2);
    again.ack();
    until_ack_pending(&bus, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_acknowledged_after_its_commit_and_changes_rows_once_despite_a_crash_in_between() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let probing = Probing::start(&database().await, &bus).await;
    let id = publish(&bus, "commit").await;
    let mut listening = Listening::start(&bus);
    let account = Probe::open();
    assert!(matches!(probing.journal.commit(Change::new(account.clone())).await, Outcome::Committed { .. }));
    let handle = async || probing.journal.commit(Change::new(Probe::raise(account.id, 1))).await;
    let delivery = listening.next_of(&id).await;
    until_ack_pending(&bus, 1).await;
    assert!(matches!(handle().await, Outcome::Committed { .. }));
    assert_eq!(ack_pending(&bus).await, 1, "the commit alone acknowledges nothing");
    // The task that would have acknowledged it dies.
    drop(delivery);
    let again = listening.next_of(&id).await;
    assert!(matches!(handle().await, Outcome::Stale), "the version tells that it is handled");
    again.ack();
    until_ack_pending(&bus, 0).await;
    assert_eq!(probing.count("select count(*) from accounts where version = 2").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_survives_a_restart_and_a_wipe_of_nats_and_an_old_ack_affects_no_new_message() {
    let mut nats = own_nats().await;
    let bus = connect(&nats).await;
    let first = publish(&bus, "first").await;
    let mut listening = Listening::start(&bus);
    listening.next_of(&first).await.ack();

    nats.kill().await;
    nats.start_again().await.unwrap();
    let second = publish(&bus, "second").await;
    let old = listening.next_of(&second).await;

    nats.wipe().await.unwrap();
    // The new stream's second message has the place of the one in hand.
    publish(&bus, "third").await;
    let fourth = publish(&bus, "fourth").await;
    let new = listening.next_of(&fourth).await;
    until_ack_pending(&bus, 1).await;
    old.ack();
    let fifth = publish(&bus, "fifth").await;
    listening.next_of(&fifth).await.ack();
    until_ack_pending(&bus, 1).await;
    drop(new);
    listening.next_of(&fourth).await.ack();
    until_ack_pending(&bus, 0).await;
    listening.stop.cancel();
    bounded("the consumer ends", listening.running).await.unwrap().unwrap();
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
    // Stops at the first message, when the others are already in its hands.
    let handle = Arc::new(move |delivery: Delivery| {
        *counting.lock().unwrap() += 1;
        stopping.cancel();
        delivery.ack();
    });
    let (_well, wellness) = watch::channel(true);
    bus::consumer::run(bus.clone(), SPEC, wellness, stop, handle).await.unwrap();
    let taken = *handled.lock().unwrap();
    let mut next = Listening::start(&bus);
    let began = Instant::now();
    for _ in taken..100 {
        next.next().await.ack();
    }
    assert!(began.elapsed() < bus::topology::ACK_WAIT / 2, "not after the ack wait: {:?}", began.elapsed());
    until_ack_pending(&bus, 0).await;
}
