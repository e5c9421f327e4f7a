//! Requests of services by `send()` and `request()`, answered by the hosts of a whole cinema.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};
use serde_json::{Value, json};

use super::system::{AmqpMessage, BridgeSystem, movie};
use crate::cinema::TestCinema;

/// A client with RabbitMQ's direct reply-to, which Nest and golevelup use.
struct Client {
    channel: Channel,
    replies: Consumer,
}

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

impl Client {
    async fn new(system: &BridgeSystem) -> Self {
        let channel = system.new_channel().await;
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consuming = channel.basic_consume(REPLY_TO.into(), "".into(), options, FieldTable::default());
        let replies = consuming.await.unwrap();
        Self { channel, replies }
    }

    /// Sends a request and returns the text of the reply, which must have the correlation id of the request.
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
    let mut system = BridgeSystem::at(&cinema.nats.url(), &[]).await;
    system.start_bridge().await;
    let mut client = Client::new(&system).await;

    let showtimes = json_of(&client.send("movie.showtimes", &[], json!({})).await);
    assert_eq!(showtimes["isDisposed"], true, "{showtimes}");
    assert_eq!(showtimes["response"]["items"][0]["id"], cinema.showtime.as_str(), "{showtimes}");
    let other_day = json_of(&client.send("movie.showtimes", &[], json!({"date": "2020-01-01"})).await);
    assert_eq!(other_day["response"]["total"], 0, "{other_day}");
    let misspelt = json_of(&client.send("movie.showtimes", &[], json!({"movieID": "m1"})).await);
    assert_eq!(
        (&misspelt["err"]["status"], &misspelt["isDisposed"]),
        (&json!(422), &json!(true)),
        "{misspelt}"
    );

    // The caller is the user of the token.
    let bearer = format!("Bearer {}", ada.token);
    let mine =
        client.send("reservation.get", &[("authorization", &bearer)], json!({"id": reservation})).await;
    assert_eq!(json_of(&mine)["response"]["id"], reservation.as_str(), "{mine}");
    let anonymous = json_of(&client.send("reservation.get", &[], json!({"id": reservation})).await);
    assert_eq!(
        (&anonymous["err"]["status"], &anonymous["err"]["code"]),
        (&json!(401), &json!("token-missing"))
    );
    assert!(anonymous["err"]["message"].is_string() && anonymous.get("response").is_none(), "{anonymous}");
    let claimed = json!({"id": reservation, "token": ada.token, "authorization": bearer});
    let claimed = json_of(&client.send("reservation.get", &[], claimed).await);
    assert_eq!(claimed["err"]["status"], 401, "a token in the body does not count: {claimed}");
    let bob = format!("Bearer {}", cinema.register().await.token);
    let other = client.send("reservation.get", &[("Authorization", &bob)], json!({"id": reservation})).await;
    assert_eq!(json_of(&other)["err"]["status"], 404, "{other}");

    assert_eq!(
        client.send("seats.get", &[], json!({})).await,
        concat!(
            r#"{"id":"f032fb358d156fdb8e4f6","err":"There is no matching message handler defined in the remote "#,
            r#"service.","status":"error"}"#
        )
    );
    // An internal request of the hosts is not in AMQP_RPC, so nobody answers it.
    let internal = json_of(&client.send("rpc.payment.end", &[], json!({})).await);
    assert_eq!(internal["status"], "error", "{internal}");

    // The topic transport of Nest, and the request of golevelup without an envelope.
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
    assert_eq!(
        system.queue(&system.names.dead_letter_queue).await.unwrap().0,
        0,
        "no request became a dead letter"
    );
    system.stop_bridge().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_an_unavailable_host_is_an_error_and_delays_no_event() {
    let system = BridgeSystem::open().await;
    let mut client = Client::new(&system).await;
    let unavailable = json_of(&client.send("movie.showtimes", &[], json!({})).await);
    assert_eq!(
        (&unavailable["err"]["status"], &unavailable["err"]["code"]),
        (&json!(503), &json!("unavailable")),
        "{unavailable}"
    );
    // A host that is subscribed and does not answer.
    let mut silent = system.bus.client.subscribe("rpc.movie.list_showtimes").await.unwrap();
    let body = json!({"pattern": "movie.showtimes", "data": {}, "id": "1"}).to_string();
    let request = |n: usize| {
        let mut message = AmqpMessage::new("", "marquee.bridge.inbox", body.clone());
        message.properties = message
            .properties
            .with_reply_to("nobody".into())
            .with_correlation_id(format!("c{n}").as_str().into());
        message
    };
    // More than are handled at once, and more than the prefetch count.
    system.publish_all((0..200).map(request)).await;
    let event = movie("Dune").to_string();
    system.publish(&AmqpMessage::new("marquee.events.raw", "movie.created", event).id("dune")).await;
    let began = std::time::Instant::now();
    system.until_stored("dune").await;
    assert!(began.elapsed() < Duration::from_secs(8), "events wait for requests: {:?}", began.elapsed());
    let mut requests = BTreeMap::<String, usize>::new();
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(300), silent.next()).await {
        let headers = message.headers.unwrap();
        *requests.entry(headers.get("X-Correlation-Id").unwrap().to_string()).or_default() += 1;
    }
    assert!((1..=64).contains(&requests.len()), "{} handled at once", requests.len());
    assert!(requests.values().all(|times| *times == 1), "{requests:?}");
}
