//! What services ask by `send()` and `request()`, of a whole cinema.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};
use serde_json::{Value, json};

use super::station::Station;
use crate::cinema::TestCinema;

/// A client with RabbitMQ's direct reply-to, as Nest's and golevelup's are.
struct Client {
    channel: Channel,
    replies: Consumer,
}

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

impl Client {
    async fn new(station: &Station) -> Self {
        let channel = station.new_channel().await;
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consuming = channel.basic_consume(REPLY_TO.into(), "".into(), options, FieldTable::default());
        let replies = consuming.await.unwrap();
        Self { channel, replies }
    }

    /// Asks and returns the reply's text, which has to have the request's correlation id.
    async fn ask(&mut self, exchange: &str, key: &str, headers: &[(&str, &str)], body: &Value) -> String {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        let correlation_id = uuid::Uuid::new_v4().to_string();
        let properties = BasicProperties::default()
            .with_headers(table)
            .with_correlation_id(correlation_id.as_str().into())
            .with_reply_to(REPLY_TO.into());
        let (options, body) = (BasicPublishOptions::default(), body.to_string());
        self.channel
            .basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties)
            .await
            .unwrap();
        let reply = tokio::time::timeout(Duration::from_secs(120), self.replies.next()).await;
        let reply = reply.unwrap_or_else(|_| panic!("no reply to {body}")).unwrap().unwrap();
        let correlated = reply.properties.correlation_id().as_ref().map(|id| id.to_string());
        assert_eq!(correlated, Some(correlation_id));
        String::from_utf8(reply.data).unwrap()
    }

    /// As `ClientProxy.send()` of Nest's default transport.
    async fn send(&mut self, pattern: &str, headers: &[(&str, &str)], data: Value) -> String {
        let body = json!({"pattern": pattern, "data": data, "id": "f032fb358d156fdb8e4f6"});
        self.ask("", "marquee.bridge.inbox", headers, &body).await
    }
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_and_request_are_answered_in_the_format_of_the_client() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let mut station = Station::at(&cinema.nats.url(), &[]).await;
    station.start_bridge().await;
    let mut client = Client::new(&station).await;

    let all = json_of(&client.send("movie.showtimes", &[], json!({})).await);
    assert_eq!(all["isDisposed"], true, "{all}");
    assert_eq!(all["response"]["items"][0]["id"], cinema.showtime.as_str(), "{all}");
    let none = json_of(&client.send("movie.showtimes", &[], json!({"date": "2020-01-01"})).await);
    assert_eq!(none["response"]["total"], 0, "{none}");
    let typo = json_of(&client.send("movie.showtimes", &[], json!({"movieID": "m1"})).await);
    assert_eq!((&typo["err"]["status"], &typo["isDisposed"]), (&json!(422), &json!(true)), "{typo}");

    // Who asks is what the token says.
    let bearer = format!("Bearer {}", ada.token);
    let mine =
        client.send("reservation.get", &[("authorization", &bearer)], json!({"id": reservation})).await;
    assert_eq!(json_of(&mine)["response"]["id"], reservation.as_str(), "{mine}");
    let nobody = json_of(&client.send("reservation.get", &[], json!({"id": reservation})).await);
    assert_eq!((&nobody["err"]["status"], &nobody["err"]["code"]), (&json!(401), &json!("token-missing")));
    assert!(nobody["err"]["message"].is_string() && nobody.get("response").is_none(), "{nobody}");
    let claimed = json!({"id": reservation, "token": ada.token, "authorization": bearer});
    let claimed = json_of(&client.send("reservation.get", &[], claimed).await);
    assert_eq!(claimed["err"]["status"], 401, "a body proves nothing: {claimed}");
    let bob = format!("Bearer {}", cinema.register().await.token);
    let other = client.send("reservation.get", &[("authorization", &bob)], json!({"id": reservation})).await;
    assert_eq!(json_of(&other)["err"]["status"], 404, "{other}");

    assert_eq!(
        client.send("seats.get", &[], json!({})).await,
        concat!(
            r#"{"id":"f032fb358d156fdb8e4f6","err":"There is no matching message handler defined in the remote "#,
            r#"service.","status":"error"}"#
        )
    );
    // A request that hosts ask each other is none of AMQP_RPC, so nobody's.
    let internal = json_of(&client.send("rpc.payment.end", &[], json!({})).await);
    assert_eq!(internal["status"], "error", "{internal}");

    // Nest's topic transport, and golevelup's bare request.
    let body = json!({"pattern": "movie.showtimes", "data": {}, "id": "1"});
    let topic = json_of(&client.ask("marquee.events", "movie.showtimes", &[], &body).await);
    assert_eq!(topic["response"]["total"], 1, "{topic}");
    let bare = json_of(&client.ask("marquee.events.raw", "movie.showtimes", &[], &json!({})).await);
    assert_eq!((&bare["total"], bare.get("response")), (&json!(1), None), "{bare}");
    let refused = client.ask("marquee.events.raw", "reservation.get", &[], &json!({"id": reservation})).await;
    let refused = json_of(&refused);
    assert_eq!(
        (&refused["status"], &refused["problem"]["status"]),
        (&json!("error"), &json!(401)),
        "{refused}"
    );
    assert_eq!(station.queue(&station.names.dead_letter_queue).await.unwrap().0, 0, "none is a dead letter");
    station.stop_bridge().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_an_unavailable_host_is_an_error_and_delays_no_event() {
    let station = Station::open().await;
    let mut client = Client::new(&station).await;
    let away = json_of(&client.send("movie.showtimes", &[], json!({})).await);
    assert_eq!(
        (&away["err"]["status"], &away["err"]["code"]),
        (&json!(503), &json!("unavailable")),
        "{away}"
    );
    // A host that is there and silent.
    let mut silent = station.bus.client.subscribe("rpc.movie.list_showtimes").await.unwrap();
    let body = json!({"pattern": "movie.showtimes", "data": {}, "id": "1"}).to_string();
    let asked = |n: usize| {
        let mut said = super::station::Said::new("", "marquee.bridge.inbox", body.clone());
        said.properties = said
            .properties
            .with_reply_to("nobody".into())
            .with_correlation_id(format!("c{n}").as_str().into());
        said
    };
    // More than are worked on at once, and more than the prefetch count.
    station.say_all((0..200).map(asked)).await;
    let event = super::station::movie("Dune").to_string();
    station.say(&super::station::Said::new("marquee.events.raw", "movie.created", event).id("dune")).await;
    let began = std::time::Instant::now();
    station.until_stored("dune").await;
    assert!(began.elapsed() < Duration::from_secs(8), "events wait for requests: {:?}", began.elapsed());
    let mut asked = BTreeMap::<String, usize>::new();
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(300), silent.next()).await {
        let headers = message.headers.unwrap();
        *asked.entry(headers.get("X-Correlation-Id").unwrap().to_string()).or_default() += 1;
    }
    assert!((1..=64).contains(&asked.len()), "{} in work at once", asked.len());
    assert!(asked.values().all(|times| *times == 1), "{asked:?}");
}
