//! Unmodified NestJS services beside Marquee: they receive every event, each event that they emit is on JetStream once, their
//! requests are answered, and they lose nothing when RabbitMQ is killed during a sale.

use std::time::{Duration, Instant};

use marquee::local::{Folder, RabbitMq, shared_rabbitmq};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::nest::{Nest, Transport, service_queues};
use super::system::{BridgeSystem, MAX_WAIT};
use crate::cinema::{Person, Plan, TestCinema};
use crate::harness::events_of;

/// Every event of the contract, so that new events are tested by themselves.
fn every_event() -> Vec<&'static str> {
    bus::contract::event_schemas().into_iter().map(|(subject, _)| subject).collect()
}

/// A bridge that will bind the queues of the services to these events, not started yet.
async fn bridge_for(events: &[&str]) -> BridgeSystem {
    BridgeSystem::without_bridge(&[("AMQP_SERVICE_QUEUES", &service_queues(events))]).await
}

/// Waits until the queues of the bridge have consumers and these service queues are bound to so many events.
pub async fn until_bound(broker: &RabbitMq, url: &str, queues: &[String], events: usize) {
    let (_, host) = url.rsplit_once('/').unwrap();
    let host = host.replace("%2f", "/");
    let has_consumers = ["marquee.bridge.inbox", "marquee.events.bridge"].map(|queue| {
        format!(
            r#"(case rabbit_amqqueue:lookup(rabbit_misc:r(<<"{host}">>, queue, <<"{queue}">>)) of
                {{ok, Q}} -> [{{_, N}}] = rabbit_amqqueue:info(Q, [consumers]), N > 0; _ -> false end)"#
        )
    });
    // Each queue is also bound to the default exchange.
    let bound = queues.iter().map(|queue| {
        format!(
            r#"(length(rabbit_binding:list_for_destination(rabbit_misc:r(<<"{host}">>, queue, <<"{queue}">>))) > {events})"#
        )
    });
    // Variables are shared within an expression, so each part is a function of its own.
    let parts: Vec<String> =
        has_consumers.into_iter().chain(bound).map(|part| format!("(fun() -> {part} end)()")).collect();
    let expression = format!("[{}].", parts.join(", ")).replace('\n', " ");
    let end = Instant::now() + MAX_WAIT;
    loop {
        let facts = broker.evaluate(&expression).await.unwrap();
        if !facts.contains("false") {
            return;
        }
        assert!(Instant::now() < end, "not bound within {MAX_WAIT:?}: {facts}");
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
    let mut system = bridge_for(&events).await;
    // Without a bridge each service declares its own queues and exchanges; with a bridge the declarations must still succeed.
    finish(Nest::start_all(&system.amqp_url, &events).await).await;
    system.start_bridge().await;
    let mut services = Nest::start_all(&system.amqp_url, &events).await;
    until_bound(shared_rabbitmq().await.unwrap(), &system.amqp_url, &bound_by_the_bridge(), events.len())
        .await;

    let mut published = Vec::new();
    for subject in &events {
        // An `id` beside the pattern would make the message a request; the umlaut has two bytes.
        let data = json!({"id": "not a request", "title": "Die Brücke", "subject": subject});
        let id = system.publish_event(subject, &data).await;
        published.push((id, *subject, data));
    }
    let ids: Vec<String> = published.iter().map(|(id, ..)| id.clone()).collect();
    for service in &mut services {
        let times = service.until_received(&ids).await;
        let transport = service.transport;
        assert!(times.values().all(|times| *times == 1), "{transport:?} received {times:?}");
        for (id, subject, data) in &published {
            let received = service.received().into_iter().find(|event| event.message_id == *id).unwrap();
            assert_eq!((received.event.as_str(), &received.data), (*subject, data), "{transport:?}");
            assert_eq!(received.headers["bridge-event-id"], json!(id), "{transport:?}");
        }
    }
    finish(services).await;
    system.stop_bridge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_emitted_by_nest_is_on_jetstream_once_and_reaches_all_other_services() {
    let subject = "movie.created";
    let mut system = bridge_for(&[subject]).await;
    system.start_bridge().await;
    let mut services = Nest::start_all(&system.amqp_url, &[subject]).await;
    until_bound(shared_rabbitmq().await.unwrap(), &system.amqp_url, &bound_by_the_bridge(), 1).await;

    let mut emitted = Vec::new();
    for service in &mut services {
        let id = Uuid::now_v7().to_string();
        let title = format!("by {:?}", service.transport);
        let data = json!({"movieId": Uuid::now_v7(), "title": title, "genres": [], "createdBy": Uuid::nil()});
        // A service that is not sure emits it again under the same id.
        service.emit(subject, &data, Some(&id)).await;
        service.emit(subject, &data, Some(&id)).await;
        emitted.push((id, data));
    }
    let ids: Vec<String> = emitted.iter().map(|(id, _)| id.clone()).collect();
    for service in &mut services {
        service.until_received(&ids).await;
    }
    let stored = system.stored().await;
    for (id, data) in &emitted {
        let copies: Vec<_> = stored.iter().filter(|event| event.id == *id).collect();
        assert_eq!(copies.len(), 1, "{id} among {stored:?}");
        assert_eq!(&copies[0].payload, data);
    }
    assert_eq!(stored.len(), emitted.len(), "{stored:?}");

    // By default emit() sends no message id; then the bridge makes one.
    let data = json!({"movieId": Uuid::now_v7(), "title": "No id", "genres": [], "createdBy": Uuid::nil()});
    services[0].emit(subject, &data, None).await;
    system
        .until("the event without an id is stored", async |system| {
            system.stored().await.iter().any(|event| event.payload == data && !event.id.is_empty())
        })
        .await;
    assert_eq!(system.stored_count().await as usize, emitted.len() + 1);
    finish(services).await;
    system.stop_bridge().await;
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
        let showtimes = service.request("movie.showtimes", &json!({})).await;
        let listed = showtimes.unwrap().to_string();
        assert!(listed.contains(&cinema.showtime), "{transport:?}: {listed}");

        let own = json!({"id": reservation, "authorization": format!("Bearer {}", ada.token)});
        let found = service.request("reservation.get", &own).await.unwrap();
        assert_eq!(found["id"], json!(reservation), "{transport:?}: {found}");

        let nobody = json!({"id": reservation});
        if transport == Transport::Golevelup {
            // golevelup has no error replies: the problem is the answer.
            let refused = service.request("reservation.get", &nobody).await.unwrap().to_string();
            assert!(refused.contains("401") && !refused.contains("A1"), "{refused}");
        } else {
            let refused = service.request("reservation.get", &nobody).await.unwrap_err();
            assert_eq!(refused["status"], json!(401), "{transport:?}: {refused}");
        }
        if transport.needs_binding() {
            let refused = service.request("seats.sing", &json!({})).await.unwrap_err();
            assert!(refused.to_string().contains("no matching message handler"), "{transport:?}: {refused}");
        }
    }
    finish(services).await;
    cinema.close().await;
}

/// Buys seats with one single request to wait for the confirmation, which must come even while RabbitMQ is down.
async fn buy(cinema: &TestCinema, person: &Person, seats: &[&str]) -> String {
    let reservation = cinema.reserve(person, seats).await;
    cinema.pay(person, &reservation, "pm_card_visa").await.expect(201);
    let path = format!("/v1/reservations/{reservation}?wait=20");
    let answer = cinema.call(Method::GET, &path, Some(person), None).await.expect(200);
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
        service.until_received(&ids).await;
        let received = service.received();
        let confirmed: Vec<_> =
            received.iter().filter(|event| event.event == "reservation.confirmed").collect();
        for reservation in &sold {
            assert!(
                confirmed.iter().any(|event| event.data["reservationId"] == json!(reservation)),
                "{:?} received {confirmed:?}",
                service.transport
            );
        }
        // An event may arrive more than once, but not under another id.
        assert!(received.iter().all(|event| ids.contains(&event.message_id)), "{received:?}");
    }
    finish(services).await;
    cinema.close().await;
}

/// Waits until these parts are degraded; the deployment must be ready all the time.
async fn until_degraded(cinema: &TestCinema, parts: Value) {
    let end = Instant::now() + MAX_WAIT;
    loop {
        let ready = cinema.http.get(format!("{}/health/ready", cinema.url())).send().await.unwrap();
        assert_eq!(ready.status(), 200);
        let health: Value = ready.json().await.unwrap();
        if health["degraded"] == parts || (parts.is_null() && health["degraded"] == json!([])) {
            return;
        }
        assert!(Instant::now() < end, "not degraded by {parts} within {MAX_WAIT:?}: {health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The ids of all events of these subjects.
async fn ids_of(cinema: &TestCinema, subjects: &[&str]) -> Vec<String> {
    cinema.until_published().await;
    let mut ids = Vec::new();
    for subject in subjects {
        ids.extend(events_of(&cinema.cinema().bus, subject).await.into_iter().map(|event| event.id));
    }
    ids
}
