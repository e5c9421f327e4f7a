//! NestJS services that nobody changed take part in the house: they hear every event, what they say is on JetStream once,
//! their questions are answered, and a broker that dies in the middle of a sale costs them nothing.

use std::time::{Duration, Instant};

use actors::host::{Host, HostBuilder};
use bridge::Settings;
use bus::Bus;
use bus::config::Environment;
use marquee::config::OPERATOR;
use marquee::local::{Folder, Nats, RabbitMq, shared_rabbitmq};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::nest::{Nest, Transport, service_queues};
use crate::cinema::{Person, Plan, TestCinema};

/// Longest wait for a fact; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Every event of the contract, so that a new one is tested without anybody thinking of it.
fn every_event() -> Vec<&'static str> {
    bus::contract::event_schemas().into_iter().map(|(subject, _)| subject).collect()
}

/// JetStream alone, with a virtual host of its own on RabbitMQ and a bridge to come.
struct Shores {
    nats: Nats,
    bus: Bus,
    url: String,
    bridge: Option<Host>,
}

impl Shores {
    async fn open() -> Self {
        let nats = Nats::start(&Folder::temporary().unwrap()).await.unwrap();
        let bus = connect(&nats, OPERATOR).await;
        bus::topology::ensure_streams(&bus).await.unwrap();
        let url = shared_rabbitmq().await.unwrap().create_virtual_host().await.unwrap();
        Self { nats, bus, url, bridge: None }
    }

    async fn start_bridge(&mut self, events: &[&str]) {
        let mut environment = Environment::default()
            .or("AMQP_URL", &self.url)
            .or("AMQP_SERVICE_QUEUES", service_queues(events));
        let settings = Settings::read(&mut environment);
        environment.check().unwrap();
        let builder = HostBuilder::new(connect(&self.nats, "bridge").await, "bridge");
        self.bridge = Some(marquee::bridge_host::spawn(builder, settings).await.unwrap());
    }

    /// Says an event as a domain does, and returns its id.
    async fn say(&self, subject: &str, data: &Value) -> String {
        let id = Uuid::now_v7().to_string();
        let mut headers = async_nats::HeaderMap::new();
        for (name, value) in [
            ("Nats-Msg-Id", id.as_str()),
            ("ce-id", &id),
            ("ce-type", subject),
            ("ce-source", "/marquee/test"),
            ("ce-time", "2026-11-22T22:31:00.5Z"),
        ] {
            headers.insert(name, value);
        }
        let published =
            self.bus.jetstream.publish_with_headers(subject.to_owned(), headers, data.to_string().into());
        published.await.unwrap().await.unwrap();
        id
    }

    /// (id, data) of all events in the stream with this subject.
    async fn stored(&self, subject: &str) -> Vec<(String, Value)> {
        let stream = bus::topology::events(&self.bus).await.unwrap();
        let (mut found, mut next) = (Vec::new(), 1);
        while let Ok(message) = stream.get_first_raw_message_by_subject(subject, next).await {
            next = message.sequence + 1;
            let id = message.headers.get("ce-id").map(ToString::to_string).unwrap_or_default();
            found.push((id, serde_json::from_slice(&message.payload).unwrap()));
        }
        found
    }

    async fn close(self) {
        if let Some(bridge) = self.bridge {
            bridge.stop().await;
        }
    }
}

async fn connect(nats: &Nats, user: &str) -> Bus {
    crate::harness::connect(&nats.url(), user).await
}

/// Waits until the bridge listens, and has bound these queues to so many events.
pub async fn until_bound(broker: &RabbitMq, url: &str, queues: &[String], events: usize) {
    let (_, host) = url.rsplit_once('/').unwrap();
    let host = host.replace("%2f", "/");
    let listens = ["marquee.bridge.inbox", "marquee.events.bridge"].map(|queue| {
        format!(
            r#"(case rabbit_amqqueue:lookup(rabbit_misc:r(<<"{host}">>, queue, <<"{queue}">>)) of
                {{ok, Q}} -> [{{_, N}}] = rabbit_amqqueue:info(Q, [consumers]), N > 0; _ -> false end)"#
        )
    });
    // Each queue is bound to the default exchange besides.
    let bound = queues.iter().map(|queue| {
        format!(
            r#"(length(rabbit_binding:list_for_destination(rabbit_misc:r(<<"{host}">>, queue, <<"{queue}">>))) > {events})"#
        )
    });
    // Names in one expression belong together, so each part is a function of its own.
    let parts: Vec<String> =
        listens.into_iter().chain(bound).map(|part| format!("(fun() -> {part} end)()")).collect();
    let expression = format!("[{}].", parts.join(", ")).replace('\n', " ");
    let end = Instant::now() + PATIENCE;
    loop {
        let facts = broker.evaluate(&expression).await.unwrap();
        if !facts.contains("false") {
            return;
        }
        assert!(Instant::now() < end, "not bound within {PATIENCE:?}: {facts}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn bound_by_the_bridge() -> Vec<String> {
    let bound = Transport::ALL.into_iter().filter(|transport| transport.needs_binding());
    bound.map(Transport::queue).collect()
}

async fn finish(services: Vec<Nest>) {
    futures::future::join_all(services.into_iter().map(Nest::finish)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_reaches_nest_services_on_each_transport() {
    let events = every_event();
    let mut shores = Shores::open().await;
    // Before there is a bridge each service makes what it needs; after it, each finds it made. None may notice.
    finish(Nest::start_all(&shores.url, &events).await).await;
    shores.start_bridge(&events).await;
    let mut services = Nest::start_all(&shores.url, &events).await;
    until_bound(shared_rabbitmq().await.unwrap(), &shores.url, &bound_by_the_bridge(), events.len()).await;

    let mut said = Vec::new();
    for subject in &events {
        // A field `id` beside the pattern would make a request of it; the umlaut is two bytes.
        let data = json!({"id": "not a request", "title": "Die Brücke", "subject": subject});
        let id = shores.say(subject, &data).await;
        said.push((id, *subject, data));
    }
    let ids: Vec<String> = said.iter().map(|(id, ..)| id.clone()).collect();
    for service in &mut services {
        let times = service.until_heard(&ids).await;
        let transport = service.transport;
        assert!(times.values().all(|times| *times == 1), "{transport:?} heard {times:?}");
        for (id, subject, data) in &said {
            let heard = service.heard().into_iter().find(|it| it.message_id == *id).unwrap();
            assert_eq!((heard.event.as_str(), &heard.data), (*subject, data), "{transport:?}");
            assert_eq!(heard.headers["bridge-event-id"], json!(id), "{transport:?}");
        }
    }
    finish(services).await;
    shores.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_emitted_by_nest_is_on_jetstream_once_and_reaches_all_other_services() {
    let subject = "movie.created";
    let mut shores = Shores::open().await;
    shores.start_bridge(&[subject]).await;
    let mut services = Nest::start_all(&shores.url, &[subject]).await;
    until_bound(shared_rabbitmq().await.unwrap(), &shores.url, &bound_by_the_bridge(), 1).await;

    let mut said = Vec::new();
    for service in &mut services {
        let id = Uuid::now_v7().to_string();
        let title = format!("by {:?}", service.transport);
        let data = json!({"movieId": Uuid::now_v7(), "title": title, "genres": [], "createdBy": Uuid::nil()});
        // A service that is not sure says it again under the same id.
        service.emit(subject, &data, Some(&id)).await;
        service.emit(subject, &data, Some(&id)).await;
        said.push((id, data));
    }
    let ids: Vec<String> = said.iter().map(|(id, _)| id.clone()).collect();
    for service in &mut services {
        service.until_heard(&ids).await;
    }
    let stored = shores.stored(subject).await;
    for (id, data) in &said {
        let kept: Vec<_> = stored.iter().filter(|(kept, _)| kept == id).collect();
        assert_eq!(kept.len(), 1, "{id} among {stored:?}");
        assert_eq!(&kept[0].1, data);
    }
    assert_eq!(stored.len(), said.len(), "{stored:?}");

    // Without an id of the service's own, as emit() is by default, it gets one.
    let data = json!({"movieId": Uuid::now_v7(), "title": "No id", "genres": [], "createdBy": Uuid::nil()});
    services[0].emit(subject, &data, None).await;
    let end = Instant::now() + PATIENCE;
    while !shores.stored(subject).await.iter().any(|(id, kept)| kept == &data && !id.is_empty()) {
        assert!(Instant::now() < end, "what has no id does not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(shores.stored(subject).await.len(), said.len() + 1);
    finish(services).await;
    shores.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_nest_services_are_answered_or_refused_in_the_format_of_nest() {
    let broker = shared_rabbitmq().await.unwrap();
    let url = broker.create_virtual_host().await.unwrap();
    let cinema = TestCinema::open_with(Plan::default().with("AMQP_URL", &url)).await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    until_bound(broker, &url, &[], 0).await;
    let mut services = Nest::start_all(&url, &[]).await;

    for service in &mut services {
        let transport = service.transport;
        let showtimes = service.ask("movie.showtimes", &json!({})).await;
        let listed = showtimes.unwrap().to_string();
        assert!(listed.contains(&cinema.showtime), "{transport:?}: {listed}");

        let own = json!({"id": reservation, "authorization": format!("Bearer {}", ada.token)});
        let found = service.ask("reservation.get", &own).await.unwrap();
        assert_eq!(found["id"], json!(reservation), "{transport:?}: {found}");

        let nobody = json!({"id": reservation});
        if transport == Transport::Golevelup {
            // It knows no refusals: what comes back is the answer.
            let refused = service.ask("reservation.get", &nobody).await.unwrap().to_string();
            assert!(refused.contains("401") && !refused.contains("A1"), "{refused}");
        } else {
            let refused = service.ask("reservation.get", &nobody).await.unwrap_err();
            assert_eq!(refused["status"], json!(401), "{transport:?}: {refused}");
        }
        if transport.needs_binding() {
            let refused = service.ask("seats.sing", &json!({})).await.unwrap_err();
            assert!(refused.to_string().contains("no matching message handler"), "{transport:?}: {refused}");
        }
    }
    finish(services).await;
    cinema.close().await;
}

/// Reserves and pays, and returns the reservation when it is confirmed.
async fn buy(cinema: &TestCinema, who: &Person, seats: &[&str]) -> String {
    let reservation = cinema.reserve(who, seats).await;
    cinema.pay(who, &reservation, "pm_card_visa").await.expect(201);
    let path = format!("/v1/reservations/{reservation}?wait=20");
    let answer = cinema.call(Method::GET, &path, Some(who), None).await.expect(200);
    assert_eq!(answer["status"], "CONFIRMED", "{answer}");
    reservation
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sales_continue_while_rabbitmq_is_down_and_every_service_receives_all_events() {
    let events = ["reservation.created", "payment.success", "reservation.confirmed"];
    let folder = Folder::temporary().unwrap();
    let mut broker = RabbitMq::start(&folder.join("rabbitmq").unwrap()).await.unwrap();
    let url = broker.url();
    let plan = Plan::default().with("AMQP_URL", &url).with("AMQP_SERVICE_QUEUES", service_queues(&events));
    let cinema = TestCinema::open_with(plan).await;
    let mut services = Nest::start_all(&url, &events).await;
    until_bound(&broker, &url, &bound_by_the_bridge(), events.len()).await;
    let ada = cinema.register().await;

    let mut sold = vec![buy(&cinema, &ada, &["A1"]).await];
    broker.kill().await;
    sold.push(buy(&cinema, &ada, &["A2"]).await);
    until_degraded(&cinema, json!(["bridge"])).await;
    broker.start_again().await.unwrap();
    sold.push(buy(&cinema, &ada, &["A3"]).await);
    until_degraded(&cinema, Value::Null).await;

    let ids = ids_of(&cinema, &events).await;
    assert_eq!(ids.len(), 3 * sold.len());
    for service in &mut services {
        service.until_heard(&ids).await;
        let confirmed: Vec<_> =
            service.heard().into_iter().filter(|it| it.event == "reservation.confirmed").collect();
        for reservation in &sold {
            assert!(
                confirmed.iter().any(|it| it.data["reservationId"] == json!(reservation)),
                "{:?} heard {confirmed:?}",
                service.transport
            );
        }
        // More than once perhaps, but never under another id.
        assert!(service.heard().iter().all(|it| ids.contains(&it.message_id)), "{:?}", service.heard());
    }
    finish(services).await;
    cinema.close().await;
}

/// Waits until the house, ready all the while, says that these parts are degraded.
async fn until_degraded(cinema: &TestCinema, parts: Value) {
    let end = Instant::now() + PATIENCE;
    loop {
        let ready = cinema.http.get(format!("{}/health/ready", cinema.url())).send().await.unwrap();
        assert_eq!(ready.status(), 200);
        let health: Value = ready.json().await.unwrap();
        if health["degraded"] == parts || (parts.is_null() && health["degraded"] == json!([])) {
            return;
        }
        assert!(Instant::now() < end, "not degraded by {parts} within {PATIENCE:?}: {health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Ids of all events of these subjects that JetStream has.
async fn ids_of(cinema: &TestCinema, subjects: &[&str]) -> Vec<String> {
    let bus = connect(&cinema.nats, OPERATOR).await;
    let stream = bus::topology::events(&bus).await.unwrap();
    let mut ids = Vec::new();
    for subject in subjects {
        let mut next = 1;
        while let Ok(message) = stream.get_first_raw_message_by_subject(subject, next).await {
            next = message.sequence + 1;
            ids.push(message.headers.get("ce-id").map(ToString::to_string).unwrap_or_default());
        }
    }
    ids
}
