//! The users of `nats.conf`: each host may do what it needs and nothing of what another does; whole journeys under these
//! users are what the other tests show.
//!
//! Asked of a real server in its own protocol, since it answers a refusal to a connection and not to a call.

use std::collections::BTreeMap;

use actors::DOMAINS;
use futures::StreamExt;
use marquee::hosts::BRIDGE;
use marquee::local::{Folder, Nats};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::cinema::TestCinema;

/// Every user of a process: the gateway and the hosts.
fn users() -> impl Iterator<Item = &'static str> {
    ["gateway"].into_iter().chain(marquee::hosts::all())
}

/// One connection as one user.
struct Line(BufReader<TcpStream>);

impl Line {
    async fn open(nats: &Nats, user: &str) -> Self {
        let mut line = Self(BufReader::new(TcpStream::connect(("127.0.0.1", nats.port())).await.unwrap()));
        let hello = format!(
            r#"CONNECT {{"user":"{user}","pass":"{}","verbose":false,"pedantic":false}}"#,
            nats.password()
        );
        assert_eq!(line.say(&hello).await, Vec::<String>::new(), "{user} may come in");
        line
    }

    /// Says it and returns what the server has against it.
    async fn say(&mut self, command: &str) -> Vec<String> {
        self.0.get_mut().write_all(format!("{command}\r\nPING\r\n").as_bytes()).await.unwrap();
        let mut refusals = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).await.unwrap(), 0, "cut off after {refusals:?}");
            match line.trim() {
                "PONG" => return refusals,
                line if line.starts_with("-ERR") => refusals.push(line.to_owned()),
                _ => {}
            }
        }
    }

    async fn may_publish(&mut self, subject: &str) -> bool {
        self.say(&format!("PUB {subject} 0\r\n")).await.is_empty()
    }

    async fn may_subscribe(&mut self, subject: &str) -> bool {
        self.say(&format!("SUB {subject} 1\r\nUNSUB 1")).await.is_empty()
    }
}

async fn empty_nats() -> Nats {
    Nats::start(&Folder::temporary().unwrap()).await.unwrap()
}

#[tokio::test]
async fn only_movie_and_the_bridge_may_publish_movie_created() {
    let nats = empty_nats().await;
    for host in users() {
        let mut line = Line::open(&nats, host).await;
        let may = line.may_publish("movie.created").await;
        assert_eq!(may, ["movie", "bridge"].contains(&host), "{host}");
        // Nor through the dead letters, from which an operator replays.
        let parks = line.may_publish("dlq.movie.created").await;
        assert_eq!(parks, ["auth", "bridge"].contains(&host), "{host} parks what it hears");
    }
}

#[tokio::test]
async fn a_host_publishes_only_its_own_events_and_reads_no_replies_to_others() {
    let nats = empty_nats().await;
    let notices = [("reservation", "seats.0199"), ("auth", "revoked.0199")];
    let events = DOMAINS.iter().flat_map(|domain| domain.publishes.iter().map(|event| (domain.name, *event)));
    let owned: Vec<(&str, &str)> = events.chain(notices).collect();
    for host in users() {
        let mut line = Line::open(&nats, host).await;
        for &(owner, subject) in &owned {
            // The bridge brings in events of services on RabbitMQ.
            let may = owner == host || (host == BRIDGE && subject == "movie.created");
            assert_eq!(line.may_publish(subject).await, may, "{host} publishes {subject}");
        }
        for other in users() {
            let inbox = format!("_INBOX.{other}.>");
            assert_eq!(line.may_subscribe(&inbox).await, other == host, "{host} listens at {inbox}");
            let requests = format!("rpc.{other}.login");
            let answers = other == host && !["gateway", "scheduler", "bridge"].contains(&host);
            assert_eq!(line.may_subscribe(&requests).await, answers, "{host} answers {requests}");
        }
        // The gateway shows events to staff; hosts hear theirs by their consumers.
        assert_eq!(line.may_subscribe("movie.>").await, host == "gateway", "{host} listens at events");
        for forbidden in [">", "$JS.API.>", "_INBOX.>", "dlq.>"] {
            assert!(!line.may_subscribe(forbidden).await, "{host} listens at {forbidden}");
        }
        for forbidden in [
            "$JS.API.STREAM.DELETE.EVENTS",
            "$JS.API.STREAM.UPDATE.EVENTS",
            "$JS.API.STREAM.PURGE.EVENTS",
            "$JS.API.CONSUMER.DELETE.EVENTS.payment",
            "$JS.API.CONSUMER.CREATE.EVENTS.somebody-else",
            "$JS.ACK.EVENTS.somebody-else.1.1.1.1.1",
        ] {
            assert!(!line.may_publish(forbidden).await, "{host} does {forbidden}");
        }
    }
    let mut operator = Line::open(&nats, "operator").await;
    assert!(operator.may_publish("movie.created").await && operator.may_subscribe(">").await);
}

/// What `nats micro info` shows of each service, by name: the endpoints.
async fn services(cinema: &TestCinema) -> BTreeMap<String, Vec<Value>> {
    let client = &cinema.cinema().bus.client;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    client.publish_with_reply("$SRV.INFO", inbox, "".into()).await.unwrap();
    let mut services = BTreeMap::new();
    let second = std::time::Duration::from_secs(1);
    while let Ok(Some(answer)) = tokio::time::timeout(second, answers.next()).await {
        let service: Value = serde_json::from_slice(&answer.payload).unwrap();
        let endpoints = service["endpoints"].as_array().unwrap().clone();
        services.insert(service["name"].as_str().unwrap().to_owned(), endpoints);
    }
    services
}

/// What nobody asks from outside and the gateway asks by itself: it keeps the files that the movie host names.
const SWEEP: [&str; 2] = ["rpc.movie.condemn_media", "rpc.movie.forget_media"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_publishes_its_schemas_and_internal_ones_are_closed_to_the_gateway() {
    let cinema = TestCinema::open().await;
    let services = services(&cinema).await;
    for domain in actors::migrations::schemas().map(|domain| domain.name) {
        assert!(services.contains_key(domain), "{:?}", services.keys());
    }
    // Nobody answers there, so that asking does nothing.
    let nats = empty_nats().await;
    let mut gateway = Line::open(&nats, "gateway").await;
    for (service, endpoints) in &services {
        let mut host = Line::open(&nats, service).await;
        for endpoint in endpoints {
            let subject = endpoint["subject"].as_str().unwrap();
            for schema in ["request", "response"] {
                let text = endpoint["metadata"][schema].as_str().unwrap_or_default();
                let schema: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{subject}: {e}"));
                assert!(schema.get("title").is_some(), "{subject} has no schema: {text}");
            }
            let internal = endpoint["metadata"]["access"] == "internal" && !SWEEP.contains(&subject);
            let may = gateway.may_publish(subject).await;
            assert_eq!(
                may, !internal,
                "whether the gateway may ask {subject}: see its deny list in nats.conf"
            );
            assert!(host.may_subscribe(subject).await, "{service} may not answer {subject}");
        }
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_may_park_every_event_that_its_consumer_receives() {
    let cinema = TestCinema::open().await;
    let stream = bus::topology::events(&cinema.cinema().bus).await.unwrap();
    let nats = empty_nats().await;
    let mut consumers = stream.consumers();
    let mut seen = 0;
    while let Some(consumer) = consumers.next().await {
        let consumer = consumer.unwrap();
        // The bridge has one for each exchange.
        let user = consumer.name.split('-').next().unwrap();
        let mut host = Line::open(&nats, user).await;
        let mut filters = consumer.config.filter_subjects.clone();
        filters.extend(Some(consumer.config.filter_subject.clone()).filter(|one| !one.is_empty()));
        for subject in filters {
            assert!(host.may_publish(&format!("dlq.{subject}")).await, "{}: {subject}", consumer.name);
            seen += 1;
        }
        assert!(host.may_subscribe(&format!("replay.{}", consumer.name)).await, "{}", consumer.name);
    }
    assert!(seen > 5, "{seen} subjects");
    cinema.close().await;
}
