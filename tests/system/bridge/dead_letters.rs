//! Dead letters on RabbitMQ: redelivered to their own queue after a delay, then parked; listed, replayed and dropped by the
//! command line.

use std::process::Output;
use std::time::{Duration, Instant};

use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer, ExchangeKind};
use marquee::local::shared_rabbitmq;
use serde_json::{Value, json};

use super::system::{AmqpMessage, BridgeSystem, MAX_WAIT, enveloped, header, movie};

pub const KEY: &str = "reservation.confirmed";

/// A service with a queue whose dead letters go to the exchange of the bridge.
pub struct Service {
    channel: Channel,
    queue: &'static str,
    deliveries: Consumer,
}

impl Service {
    async fn start(system: &BridgeSystem, queue: &'static str) -> Self {
        let mut arguments = FieldTable::default();
        arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("marquee.events.dlx".into()));
        Self::start_with(system, queue, arguments).await
    }

    pub async fn start_with(system: &BridgeSystem, queue: &'static str, arguments: FieldTable) -> Self {
        let channel = system.new_channel().await;
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.into(), durable, arguments).await.unwrap();
        let (exchange, options) = ("marquee.events".into(), QueueBindOptions::default());
        channel.queue_bind(queue.into(), exchange, KEY.into(), options, FieldTable::default()).await.unwrap();
        let options = BasicConsumeOptions::default();
        let deliveries =
            channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.unwrap();
        Self { channel, queue, deliveries }
    }

    async fn receive(&mut self) -> Delivery {
        let delivery = tokio::time::timeout(MAX_WAIT, self.deliveries.next()).await;
        delivery.unwrap_or_else(|_| panic!("nothing in {} within {MAX_WAIT:?}", self.queue)).unwrap().unwrap()
    }

    pub async fn refuse(&mut self) -> Delivery {
        let delivery = self.receive().await;
        delivery.nack(BasicNackOptions::default()).await.unwrap();
        delivery
    }

    pub async fn accept(&mut self) -> Delivery {
        let delivery = self.receive().await;
        delivery.ack(BasicAckOptions::default()).await.unwrap();
        delivery
    }
}

pub fn confirmed(id: &str) -> AmqpMessage {
    AmqpMessage::new("marquee.events", KEY, enveloped(KEY, &json!({"reservationId": "r1"}))).id(id)
}

fn text(output: &Output) -> String {
    [output.stdout.as_slice(), output.stderr.as_slice()].map(String::from_utf8_lossy).concat()
}

#[track_caller]
fn expect_success(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    text(output)
}

#[track_caller]
fn expect_failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    text(output)
}

/// The names of the dead letters in a listing.
fn names(listing: &str) -> Vec<String> {
    let names = listing.lines().filter(|line| line.starts_with("amqp:"));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

async fn until_parked(system: &BridgeSystem, count: u32) {
    let queue = system.names.dead_letter_queue.clone();
    system
        .until(&format!("{count} dead letters in {queue}"), async |system| {
            system.queue(&queue).await.unwrap().0 == count
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_refused_twice_is_delivered_a_third_time_to_its_own_queue_only() {
    let system = BridgeSystem::open_with(&[("AMQP_RETRY_DELAYS", "1,2")]).await;
    let (mut mails, mut ledger) =
        (Service::start(&system, "mails").await, Service::start(&system, "ledger").await);
    let message = confirmed("m1").header("tenant", "odeon");
    let began = Instant::now();
    system.publish(&message).await;
    mails.refuse().await;
    let second = mails.refuse().await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let third = mails.accept().await;
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    for (delivery, attempt) in [(&second, "1"), (&third, "2")] {
        assert_eq!(delivery.data, message.body);
        assert_eq!(delivery.routing_key.as_str(), KEY);
        assert_eq!(delivery.properties.message_id(), message.properties.message_id());
        assert_eq!(header(delivery, "tenant").as_deref(), Some("odeon"));
        assert_eq!(header(delivery, "bridge-attempt").as_deref(), Some(attempt));
    }
    assert_eq!(ledger.accept().await.data, message.body);
    assert_eq!(system.queue("ledger").await, Some((0, 1)), "delivered once");
    assert_eq!(system.queue(&system.names.dead_letter_queue).await.unwrap().0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_always_refused_is_parked_listed_shown_and_replayed_by_the_command_line() {
    let system = BridgeSystem::open_with(&[("AMQP_RETRY_DELAYS", "1"), ("AMQP_RETRIES_MAX", "1")]).await;
    let mut mails = Service::start(&system, "mails").await;
    for id in ["m1", "m2"] {
        system.publish(&confirmed(id)).await;
    }
    for _ in 0..4 {
        mails.refuse().await;
    }
    until_parked(&system, 2).await;
    let listed = expect_success(&system.marquee(&["dead-letters", "list"]).await);
    assert!(listed.contains("0 of 0 dead letters\n"), "dead letters of NATS: {listed}");
    assert!(listed.contains("2 of 2 dead letters on RabbitMQ"), "{listed}");
    assert!(listed.contains("reservation.confirmed → mails, 1 retries, message m1"), "{listed}");
    assert!(listed.contains("mails refused it 2 times"), "{listed}");
    // Listing removes nothing.
    until_parked(&system, 2).await;
    let names = names(&listed);
    let (first, second) = (&names[0], &names[1]);
    let shown: Value =
        serde_json::from_str(&expect_success(&system.marquee(&["dead-letters", "show", first]).await))
            .unwrap();
    assert_eq!((&shown["messageId"], &shown["queue"]), (&json!("m1"), &json!("mails")), "{shown}");
    assert_eq!(shown["payload"]["data"]["reservationId"], "r1", "{shown}");

    let replayed = expect_success(&system.marquee(&["dead-letters", "replay", first]).await);
    assert!(replayed.contains("reservation.confirmed to mails"), "{replayed}");
    let delivery = mails.accept().await;
    assert_eq!(delivery.properties.message_id().as_ref().unwrap().as_str(), "m1");
    assert_eq!(delivery.routing_key.as_str(), KEY);
    assert_eq!(header(&delivery, "bridge-attempt"), None, "a replayed message gets all retries again");
    until_parked(&system, 1).await;

    let dropped = expect_success(&system.marquee(&["dead-letters", "drop", second]).await);
    assert!(dropped.contains("dropped"), "{dropped}");
    until_parked(&system, 0).await;
    let gone = expect_failure(&system.marquee(&["dead-letters", "show", second]).await);
    assert!(gone.contains("not-found"), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_whose_queue_is_gone_is_kept_with_the_reason() {
    let system = BridgeSystem::open_with(&[("AMQP_RETRY_DELAYS", "1")]).await;
    let mut mails = Service::start(&system, "mails").await;
    system.publish(&confirmed("m1")).await;
    mails.refuse().await;
    // The queue is deleted while the message waits for its retry.
    system
        .until("the message waits for its retry", async |system| {
            system.queue("mails.retry.1").await.is_some()
        })
        .await;
    mails.channel.queue_delete("mails".into(), QueueDeleteOptions::default()).await.unwrap();
    until_parked(&system, 1).await;
    let listed = expect_success(&system.marquee(&["dead-letters", "list"]).await);
    assert!(listed.contains("the queue mails is gone"), "{listed}");
    let name = &names(&listed)[0];
    let failed = expect_failure(&system.marquee(&["dead-letters", "replay", name]).await);
    assert!(failed.contains("no-way-back") && failed.contains("mails"), "{failed}");
    until_parked(&system, 1).await;
    // The service starts again.
    let mut mails = Service::start(&system, "mails").await;
    expect_success(&system.marquee(&["dead-letters", "replay", "all"]).await);
    assert_eq!(mails.accept().await.properties.message_id().as_ref().unwrap().as_str(), "m1");
    until_parked(&system, 0).await;
}

/// Whether the broker has an exchange of this name.
async fn has_exchange(system: &BridgeSystem, name: &str) -> bool {
    let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let channel = system.new_channel().await;
    let found = channel.exchange_declare(name.into(), ExchangeKind::Topic, passive, FieldTable::default());
    found.await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_queue_expires_after_a_week_and_takes_its_exchanges_with_it() {
    let system = BridgeSystem::open_with(&[("AMQP_RETRY_DELAYS", "1")]).await;
    // What an older version has declared: without an expiry.
    let channel = system.new_channel().await;
    let mut older = FieldTable::default();
    older.insert("x-message-ttl".into(), AMQPValue::LongInt(1_000));
    older.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("mails.requeue".into()));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("mails.retry.1".into(), durable, older).await.unwrap();
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let kind = ExchangeKind::Fanout;
    channel.exchange_declare("mails.retry.1".into(), kind, durable, FieldTable::default()).await.unwrap();

    let mut mails = Service::start(&system, "mails").await;
    system.publish(&confirmed("m1")).await;
    mails.refuse().await;
    mails.accept().await;
    let (_, host) = system.amqp_url.rsplit_once('/').unwrap();
    let queue = format!(r#"rabbit_misc:r(<<"{host}">>, queue, <<"mails.retry.1">>)"#);
    let expression = format!(
        r#"{{ok, Q}} = rabbit_amqqueue:lookup({queue}), rabbit_misc:table_lookup(amqqueue:get_arguments(Q), <<"x-expires">>)."#
    );
    let expires = shared_rabbitmq().await.unwrap().evaluate(&expression).await.unwrap();
    assert!(expires.contains("604800000"), "milliseconds of a week: {expires}");

    // The service is gone for good, and a week later RabbitMQ deletes the retry queue.
    channel.queue_delete("mails".into(), QueueDeleteOptions::default()).await.unwrap();
    for exchange in ["mails.requeue", "mails.retry.1"] {
        assert!(has_exchange(&system, exchange).await, "{exchange} is there as long as the retry queue");
    }
    channel.queue_delete("mails.retry.1".into(), QueueDeleteOptions::default()).await.unwrap();
    for exchange in ["mails.requeue", "mails.retry.1"] {
        system
            .until(&format!("{exchange} is gone"), async |system| !has_exchange(system, exchange).await)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_without_a_queue_is_kept_and_can_only_be_dropped() {
    let system = BridgeSystem::open().await;
    system.publish(&AmqpMessage::new("marquee.events.dlx", "whatever", "not even JSON").id("m1")).await;
    until_parked(&system, 1).await;
    let listed = expect_success(&system.marquee(&["dead-letters", "list"]).await);
    assert!(listed.contains("from no queue"), "{listed}");
    let name = &names(&listed)[0];
    let shown = expect_success(&system.marquee(&["dead-letters", "show", name]).await);
    assert!(shown.contains("not even JSON"), "{shown}");
    let failed = expect_failure(&system.marquee(&["dead-letters", "replay", name]).await);
    assert!(failed.contains("can only be dropped"), "{failed}");
    expect_success(&system.marquee(&["dead-letters", "drop", name]).await);
    until_parked(&system, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_refused_by_the_bridge_becomes_an_event_when_it_is_allowed_and_replayed() {
    let mut system = BridgeSystem::without_bridge(&[("AMQP_INBOUND", "")]).await;
    system.start_bridge().await;
    let dune = enveloped("movie.created", &movie("Dune"));
    system.publish(&AmqpMessage::new("", "marquee.bridge.inbox", dune).id("dune")).await;
    until_parked(&system, 1).await;
    assert_eq!(system.stored_count().await, 0);
    system.stop_bridge().await;
    system.set("AMQP_INBOUND", "movie.created");
    system.start_bridge().await;
    let listed = expect_success(&system.marquee(&["dead-letters", "list"]).await);
    assert!(listed.contains("not-allowed: AMQP_INBOUND does not name movie.created"), "{listed}");
    expect_success(&system.marquee(&["dead-letters", "replay", &names(&listed)[0]]).await);
    system.until_stored("dune").await;
    until_parked(&system, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rabbitmq_the_command_line_lists_the_dead_letters_of_nats_and_names_the_error() {
    let mut system = BridgeSystem::without_bridge(&[]).await;
    let listed = expect_success(&system.marquee(&["dead-letters", "list"]).await);
    assert!(listed.contains("0 of 0 dead letters on RabbitMQ"), "without the queues of a bridge: {listed}");
    system.amqp_url = "amqp://guest:guest@127.0.0.1:1/%2f".into();
    let listed = expect_failure(&system.marquee(&["dead-letters", "list"]).await);
    assert!(listed.contains("0 of 0 dead letters\n") && listed.contains("RabbitMQ is away"), "{listed}");
    assert!(!listed.contains("guest"), "{listed}");
}
