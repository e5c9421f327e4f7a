//! Dead letters on RabbitMQ: tried again with a delay, by their own queue alone; kept when that does not help; listed,
//! replayed and dropped from the command line.

use std::process::Output;
use std::time::{Duration, Instant};

use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use serde_json::{Value, json};

use super::station::{Said, Station, enveloped, header, movie};

/// Longest wait for a fact; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);
pub const KEY: &str = "reservation.confirmed";

/// A service with a queue whose dead letters go to the bridge's exchange.
pub struct Service {
    channel: Channel,
    queue: &'static str,
    deliveries: Consumer,
}

impl Service {
    async fn start(station: &Station, queue: &'static str) -> Self {
        let mut arguments = FieldTable::default();
        arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("marquee.events.dlx".into()));
        Self::start_with(station, queue, arguments).await
    }

    pub async fn start_with(station: &Station, queue: &'static str, arguments: FieldTable) -> Self {
        let channel = station.new_channel().await;
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.into(), durable, arguments).await.unwrap();
        let (exchange, options) = ("marquee.events".into(), QueueBindOptions::default());
        channel.queue_bind(queue.into(), exchange, KEY.into(), options, FieldTable::default()).await.unwrap();
        let options = BasicConsumeOptions::default();
        let deliveries =
            channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.unwrap();
        Self { channel, queue, deliveries }
    }

    async fn hear(&mut self) -> Delivery {
        let heard = tokio::time::timeout(PATIENCE, self.deliveries.next()).await;
        heard.unwrap_or_else(|_| panic!("{} hears nothing", self.queue)).unwrap().unwrap()
    }

    pub async fn refuse(&mut self) -> Delivery {
        let heard = self.hear().await;
        heard.nack(BasicNackOptions::default()).await.unwrap();
        heard
    }

    pub async fn accept(&mut self) -> Delivery {
        let heard = self.hear().await;
        heard.ack(BasicAckOptions::default()).await.unwrap();
        heard
    }
}

pub fn confirmed(id: &str) -> Said {
    Said::new("marquee.events", KEY, enveloped(KEY, &json!({"reservationId": "r1"}))).id(id)
}

fn text(output: &Output) -> String {
    [output.stdout.as_slice(), output.stderr.as_slice()].map(String::from_utf8_lossy).concat()
}

#[track_caller]
fn well(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    text(output)
}

#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    text(output)
}

/// The names of the letters in a listing.
fn names(listing: &str) -> Vec<String> {
    let names = listing.lines().filter(|line| line.starts_with("amqp:"));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

async fn until_parked(station: &Station, count: u32) {
    let queue = station.names.dead_letter_queue.clone();
    station
        .until(&format!("{count} letters in {queue}"), async |station| {
            station.queue(&queue).await.unwrap().0 == count
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_refused_twice_is_delivered_a_third_time_to_its_own_queue_only() {
    let station = Station::open_with(&[("AMQP_RETRY_DELAYS", "1,2")]).await;
    let (mut mails, mut ledger) =
        (Service::start(&station, "mails").await, Service::start(&station, "ledger").await);
    let said = confirmed("m1").header("tenant", "odeon");
    let began = Instant::now();
    station.say(&said).await;
    mails.refuse().await;
    let second = mails.refuse().await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let third = mails.accept().await;
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    for (heard, attempt) in [(&second, "1"), (&third, "2")] {
        assert_eq!(heard.data, said.body);
        assert_eq!(heard.routing_key.as_str(), KEY);
        assert_eq!(heard.properties.message_id(), said.properties.message_id());
        assert_eq!(header(heard, "tenant").as_deref(), Some("odeon"));
        assert_eq!(header(heard, "bridge-attempt").as_deref(), Some(attempt));
    }
    assert_eq!(ledger.accept().await.data, said.body);
    assert_eq!(station.queue("ledger").await, Some((0, 1)), "once");
    assert_eq!(station.queue(&station.names.dead_letter_queue).await.unwrap().0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_always_refused_is_parked_listed_shown_and_replayed_by_the_command_line() {
    let station = Station::open_with(&[("AMQP_RETRY_DELAYS", "1"), ("AMQP_RETRIES_MAX", "1")]).await;
    let mut mails = Service::start(&station, "mails").await;
    for id in ["m1", "m2"] {
        station.say(&confirmed(id)).await;
    }
    for _ in 0..4 {
        mails.refuse().await;
    }
    until_parked(&station, 2).await;
    let listed = well(&station.marquee(&["dead-letters", "list"]).await);
    assert!(listed.contains("0 of 0 dead letters\n"), "NATS's: {listed}");
    assert!(listed.contains("2 of 2 dead letters on RabbitMQ"), "{listed}");
    assert!(listed.contains("reservation.confirmed → mails, 1 retries, message m1"), "{listed}");
    assert!(listed.contains("mails refused it 2 times"), "{listed}");
    // Looking takes nothing away.
    until_parked(&station, 2).await;
    let names = names(&listed);
    let (first, second) = (&names[0], &names[1]);
    let shown: Value =
        serde_json::from_str(&well(&station.marquee(&["dead-letters", "show", first]).await)).unwrap();
    assert_eq!((&shown["messageId"], &shown["queue"]), (&json!("m1"), &json!("mails")), "{shown}");
    assert_eq!(shown["payload"]["data"]["reservationId"], "r1", "{shown}");

    let replayed = well(&station.marquee(&["dead-letters", "replay", first]).await);
    assert!(replayed.contains("reservation.confirmed to mails"), "{replayed}");
    let heard = mails.accept().await;
    assert_eq!(heard.properties.message_id().as_ref().unwrap().as_str(), "m1");
    assert_eq!(heard.routing_key.as_str(), KEY);
    assert_eq!(header(&heard, "bridge-attempt"), None, "with all its tries");
    until_parked(&station, 1).await;

    let dropped = well(&station.marquee(&["dead-letters", "drop", second]).await);
    assert!(dropped.contains("dropped"), "{dropped}");
    until_parked(&station, 0).await;
    let gone = refused(&station.marquee(&["dead-letters", "show", second]).await);
    assert!(gone.contains("not-found"), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_whose_queue_is_gone_is_kept_with_the_reason() {
    let station = Station::open_with(&[("AMQP_RETRY_DELAYS", "1")]).await;
    let mut mails = Service::start(&station, "mails").await;
    station.say(&confirmed("m1")).await;
    mails.refuse().await;
    // While it waits.
    station.until("it waits", async |station| station.queue("mails.retry.1").await.is_some()).await;
    mails.channel.queue_delete("mails".into(), QueueDeleteOptions::default()).await.unwrap();
    until_parked(&station, 1).await;
    let listed = well(&station.marquee(&["dead-letters", "list"]).await);
    assert!(listed.contains("the queue mails is gone"), "{listed}");
    let name = &names(&listed)[0];
    let stays = refused(&station.marquee(&["dead-letters", "replay", name]).await);
    assert!(stays.contains("no-way-back") && stays.contains("mails"), "{stays}");
    until_parked(&station, 1).await;
    // The service is back.
    let mut mails = Service::start(&station, "mails").await;
    well(&station.marquee(&["dead-letters", "replay", "all"]).await);
    assert_eq!(mails.accept().await.properties.message_id().as_ref().unwrap().as_str(), "m1");
    until_parked(&station, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_without_a_queue_is_kept_and_can_only_be_dropped() {
    let station = Station::open().await;
    station.say(&Said::new("marquee.events.dlx", "whatever", "not even JSON").id("m1")).await;
    until_parked(&station, 1).await;
    let listed = well(&station.marquee(&["dead-letters", "list"]).await);
    assert!(listed.contains("from no queue"), "{listed}");
    let name = &names(&listed)[0];
    let shown = well(&station.marquee(&["dead-letters", "show", name]).await);
    assert!(shown.contains("not even JSON"), "{shown}");
    let stays = refused(&station.marquee(&["dead-letters", "replay", name]).await);
    assert!(stays.contains("can only be dropped"), "{stays}");
    well(&station.marquee(&["dead-letters", "drop", name]).await);
    until_parked(&station, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_refused_by_the_bridge_becomes_an_event_when_it_is_allowed_and_replayed() {
    let mut station = Station::closed(&[("AMQP_INBOUND", "")]).await;
    station.start_bridge().await;
    let dune = enveloped("movie.created", &movie("Dune"));
    station.say(&Said::new("", "marquee.bridge.inbox", dune).id("dune")).await;
    until_parked(&station, 1).await;
    assert_eq!(station.stored_count().await, 0);
    station.stop_bridge().await;
    station.set("AMQP_INBOUND", "movie.created");
    station.start_bridge().await;
    let listed = well(&station.marquee(&["dead-letters", "list"]).await);
    assert!(listed.contains("not-allowed: AMQP_INBOUND does not name movie.created"), "{listed}");
    well(&station.marquee(&["dead-letters", "replay", &names(&listed)[0]]).await);
    station.until_stored("dune").await;
    until_parked(&station, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rabbitmq_the_command_line_lists_the_dead_letters_of_nats_and_names_the_error() {
    let mut station = Station::closed(&[]).await;
    let listed = well(&station.marquee(&["dead-letters", "list"]).await);
    assert!(listed.contains("0 of 0 dead letters on RabbitMQ"), "no bridge was ever here: {listed}");
    station.amqp_url = "amqp://guest:guest@127.0.0.1:1/%2f".into();
    let listed = refused(&station.marquee(&["dead-letters", "list"]).await);
    assert!(listed.contains("0 of 0 dead letters\n") && listed.contains("RabbitMQ is away"), "{listed}");
    assert!(!listed.contains("guest"), "{listed}");
}
