//! What is done with messages from RabbitMQ.

use bus::config::Environment;
use lapin::BasicProperties;
use lapin::types::FieldTable;
use serde_json::json;

use super::*;
use crate::properties::long_string;

const BARE: &str = r#"{"movieId":"00000000-0000-0000-0000-000000000001","title":"Dune","genres":[],"createdBy":"00000000-0000-0000-0000-000000000002"}"#;

fn settings() -> Settings {
    let mut environment = Environment::default();
    environment.set("AMQP_URL", "amqp://127.0.0.1");
    let settings = Settings::read(&mut environment);
    environment.check().unwrap();
    settings
}

fn now() -> Timestamp {
    serde_json::from_value(json!("2026-05-01T12:00:00Z")).unwrap()
}

struct Message {
    exchange: &'static str,
    routing_key: &'static str,
    properties: BasicProperties,
    headers: FieldTable,
    body: Vec<u8>,
}

/// An event as golevelup publishes it.
fn message() -> Message {
    Message {
        exchange: "marquee.events.raw",
        routing_key: "movie.created",
        properties: BasicProperties::default().with_message_id("m1".into()),
        headers: FieldTable::default(),
        body: BARE.into(),
    }
}

impl Message {
    fn to(self, exchange: &'static str, routing_key: &'static str) -> Self {
        Self { exchange, routing_key, ..self }
    }

    fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.into(), long_string(value));
        self
    }

    fn properties(mut self, change: impl Fn(BasicProperties) -> BasicProperties) -> Self {
        self.properties = change(self.properties);
        self
    }

    fn with_reply_address(self) -> Self {
        self.properties(|p| {
            p.with_reply_to("amq.rabbitmq.reply-to.g1".into()).with_correlation_id("c1".into())
        })
    }

    fn action_with(self, settings: &Settings) -> Action {
        let mut message = Delivery::mock(1, self.exchange.into(), self.routing_key.into(), false, self.body);
        message.properties = self.properties.with_headers(self.headers);
        classify(&message, settings, &Names::new(settings), now())
    }

    fn action(self) -> Action {
        self.action_with(&settings())
    }

    fn event(self) -> InboundEvent {
        match self.action() {
            Action::Publish(event) => *event,
            other => panic!("{other:?}"),
        }
    }

    fn request(self) -> RpcRequest {
        match self.action() {
            Action::Answer(request) => *request,
            other => panic!("{other:?}"),
        }
    }

    fn rejected(self) -> (&'static str, String) {
        match self.action() {
            Action::Reject { code, why } => (code, why),
            other => panic!("{other:?}"),
        }
    }
}

fn enveloped(pattern: &str, data: &str) -> String {
    format!(r#"{{"pattern":"{pattern}","data":{data}}}"#)
}

#[test]
fn an_event_is_the_same_bare_and_in_an_envelope_through_an_exchange_and_through_the_inbox() {
    let nest = enveloped("movie.created", BARE);
    let bare = message().event();
    let from_topic = message().to("marquee.events", "movie.created").body(nest.clone()).event();
    let from_inbox = message().to("", "marquee.bridge.inbox").body(nest).event();
    for (event, source) in
        [(&bare, "amqp:marquee.events.raw"), (&from_topic, "amqp:marquee.events"), (&from_inbox, "amqp:")]
    {
        assert_eq!((event.subject.as_str(), event.id.as_str()), ("movie.created", "m1"));
        assert_eq!(event.payload, bare.payload);
        assert_eq!(event.source, source);
    }
}

#[test]
fn an_event_has_the_bridge_as_source_and_keeps_its_trace() {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let event = message()
        .header("traceparent", traceparent)
        .header(HOPS, "2")
        .properties(|p| p.with_correlation_id("order-1".into()))
        .event();
    let context =
        Context::from_parts(event.trace.correlation_id.as_deref(), event.trace.traceparent.as_deref());
    let headers = event.headers(&context);
    let text = |name: &str| headers.get(name).unwrap().as_str().to_owned();
    assert_eq!(text("ce-source"), "/marquee/bridge");
    assert_eq!((text("ce-id"), text("Nats-Msg-Id")), ("m1".to_owned(), "m1".to_owned()));
    assert_eq!((text("Bridge-Hops"), text("X-Correlation-Id")), ("2".to_owned(), "order-1".to_owned()));
    assert!(text("traceparent").contains("4bf92f3577b34da6a3ce929d0e0e4736"));
}

#[test]
fn without_a_message_id_each_delivery_is_an_event_of_its_own() {
    let anonymous = || Message { properties: BasicProperties::default(), ..message() };
    let (first, second) = (anonymous().event(), anonymous().event());
    assert_ne!(first.id, second.id);
    assert_eq!(Uuid::parse_str(&first.id).unwrap().get_version_num(), 7);
}

#[test]
fn an_id_that_no_inbox_can_store_is_rejected() {
    for id in ["order 1", "a\nb", "ä", &"x".repeat(201)] {
        let (code, _) = message().properties(|p| p.with_message_id(id.into())).rejected();
        assert_eq!(code, "message-id", "{id}");
    }
    let longest = "x".repeat(200);
    assert_eq!(message().properties(|p| p.with_message_id(longest.as_str().into())).event().id, longest);
}

#[test]
fn the_time_is_the_senders_unless_it_lies_in_the_future() {
    assert_eq!(message().event().time, now());
    let earlier = message().header(OCCURRED_AT, "2026-05-01T11:59:00.000Z").event().time;
    assert_eq!(earlier.to_string(), "2026-05-01T11:59:00Z");
    assert_eq!(message().header(OCCURRED_AT, "2030-01-01T00:00:00Z").event().time, now());
    // 2026-05-01T11:59:00Z in seconds, then in milliseconds.
    assert_eq!(message().properties(|p| p.with_timestamp(1_777_636_740)).event().time, earlier);
    assert_eq!(message().properties(|p| p.with_timestamp(1_777_636_740_000)).event().time, now());
}

#[test]
fn a_message_that_cannot_be_an_event_is_rejected_with_the_reason() {
    assert_eq!(message().body("").rejected().0, "empty");
    assert_eq!(message().body("{").rejected().0, "not-json");
    assert_eq!(message().to("", "marquee.bridge.inbox").rejected().0, "no-pattern");
    assert_eq!(message().to("marquee.events", "movie.imagined").rejected().0, "unknown-event");
    assert_eq!(message().body(vec![b'x'; 512 * 1024 + 1]).rejected().0, "too-large");
    let (code, why) = message().body(BARE.replace("Dune\"", "Dune\",\"title\":7")).rejected();
    assert_eq!((code, why.starts_with("title: ")), ("schema", true), "{why}");
    let (code, why) = message().body(r#"{"title":"Dune"}"#).rejected();
    assert_eq!((code, why.contains("movieId")), ("schema", true), "{why}");
}

#[test]
fn events_that_move_money_or_seats_are_rejected_unless_configured() {
    for (subject, _) in contract::event_schemas() {
        if subject == "movie.created" {
            continue;
        }
        // The envelope names the event, not the routing key.
        let (code, why) = message().body(enveloped(subject, "{}")).rejected();
        assert_eq!(code, "not-allowed", "{subject}");
        assert!(why.contains("AMQP_INBOUND"), "{why}");
    }
}

#[test]
fn the_bridges_own_messages_are_dropped_and_others_with_its_headers_are_not() {
    let echo = message().header(ORIGIN, "marquee").header(EVENT_ID, "m1");
    assert!(matches!(echo.action(), Action::Drop("own")));
    // A service reacts to an event and copies its headers.
    assert_eq!(message().header(ORIGIN, "marquee").header(EVENT_ID, "m0").event().id, "m1");
    assert_eq!(message().header(ORIGIN, "other").header(EVENT_ID, "m1").event().id, "m1");
    let anonymous = Message { properties: BasicProperties::default(), ..message() };
    anonymous.header(ORIGIN, "marquee").header(EVENT_ID, "").event();
}

#[test]
fn a_message_that_passed_too_many_bridges_is_dropped() {
    assert_eq!(message().header(HOPS, "4").event().hops, 4);
    assert!(matches!(message().header(HOPS, "5").action(), Action::Drop("hops")));
}

#[test]
fn a_replayed_message_has_its_original_exchange_and_routing_key() {
    let replayed = message()
        .to("", "marquee.events.bridge")
        .header(properties::EXCHANGE, "marquee.events.raw")
        .header(properties::ROUTING_KEY, "movie.created")
        .event();
    assert_eq!(
        (replayed.subject.as_str(), replayed.source.as_str()),
        ("movie.created", "amqp:marquee.events.raw")
    );
    // Only from the default exchange: of any other the broker itself reports the exchange.
    let claimed =
        message().header(properties::EXCHANGE, "").header(properties::ROUTING_KEY, "movie.deleted").event();
    assert_eq!(claimed.subject, "movie.created");
}

#[test]
fn a_request_is_made_with_its_token_and_no_identity_from_its_body() {
    let body = r#"{"pattern":"reservation.get","data":{"id":"r1","userId":"u1"},"id":"f0"}"#;
    let request = message().to("", "marquee.bridge.inbox").body(body).with_reply_address();
    let request = request.header("authorization", "bearer abc.def").request();
    assert_eq!(request.subject.as_deref(), Some("rpc.reservation.get"));
    assert_eq!(request.token.as_deref(), Some("abc.def"));
    assert_eq!(
        (request.reply_to.as_str(), request.correlation_id.as_str()),
        ("amq.rabbitmq.reply-to.g1", "c1")
    );
    let without = message().to("", "marquee.bridge.inbox").body(body).with_reply_address().request();
    assert_eq!(without.token, None);
    let forged = message()
        .body(body)
        .with_reply_address()
        .header("authorization", "Bearer a\r\nX-Client-Ip: 1")
        .request();
    assert_eq!(forged.token.as_deref(), Some("-"), "it would write headers of its own");
}

#[test]
fn a_request_without_a_handler_is_answered_as_well() {
    let body = r#"{"pattern":"payment.refund_all","data":{},"id":"f0"}"#;
    let request = message().body(body).with_reply_address().request();
    assert_eq!((request.pattern.as_str(), request.subject), ("payment.refund_all", None));
}

#[test]
fn a_bare_request_is_named_by_its_routing_key_and_needs_a_correlation_id() {
    let with_key = |key| message().to("marquee.events.raw", key).body(r#"{"pageSize":5}"#);
    let request = with_key("movie.showtimes").with_reply_address().request();
    assert_eq!((request.style, request.subject.as_deref()), (Style::Bare, Some("rpc.movie.list_showtimes")));
    let without_id =
        with_key("movie.showtimes").properties(|p| p.with_reply_to("amq.rabbitmq.reply-to.g1".into()));
    assert_eq!(without_id.rejected().0, "unknown-event");
    // A message that names an accepted event is an event, also with a reply address.
    assert_eq!(message().with_reply_address().event().subject, "movie.created");
}
