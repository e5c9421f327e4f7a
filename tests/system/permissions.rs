//! The users of `nats.conf`: each host may do what it needs and nothing that is another host's. That the permissions are
//! sufficient is shown by all other tests, which run under these users.
//!
//! The tests use the protocol of NATS directly, since the server reports a refusal to the connection and not to the call.

use std::collections::BTreeMap;

use actors::DOMAINS;
use futures::StreamExt;
use marquee::config::{MAINTENANCE, OPERATOR};
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

/// A connection as one user.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(nats: &Nats, user: &str) -> Self {
        let mut connection =
            Self(BufReader::new(TcpStream::connect(("127.0.0.1", nats.port())).await.unwrap()));
        let connect = format!(
            r#"CONNECT {{"user":"{user}","pass":"{}","verbose":false,"pedantic":false}}"#,
            nats.password()
        );
        assert_eq!(connection.send(&connect).await, Vec::<String>::new(), "{user} cannot log in");
        connection
    }

    /// Sends a command and returns the errors of the server.
    async fn send(&mut self, command: &str) -> Vec<String> {
        self.0.get_mut().write_all(format!("{command}\r\nPING\r\n").as_bytes()).await.unwrap();
        let mut errors = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.0.read_line(&mut line).await.unwrap(),
                0,
                "the connection was closed after {errors:?}"
            );
            match line.trim() {
                "PONG" => return errors,
                line if line.starts_with("-ERR") => errors.push(line.to_owned()),
                _ => {}
            }
        }
    }

    async fn may_publish(&mut self, subject: &str) -> bool {
        self.send(&format!("PUB {subject} 0\r\n")).await.is_empty()
    }

    async fn may_subscribe(&mut self, subject: &str) -> bool {
        self.send(&format!("SUB {subject} 1\r\nUNSUB 1")).await.is_empty()
    }
}

async fn empty_nats() -> Nats {
    Nats::start(&Folder::temporary().unwrap()).await.unwrap()
}

#[tokio::test]
async fn only_movie_and_the_bridge_may_publish_movie_created() {
    let nats = empty_nats().await;
    for host in users() {
        let mut connection = Connection::open(&nats, host).await;
        let may = connection.may_publish("movie.created").await;
        assert_eq!(may, ["movie", "bridge"].contains(&host), "{host}");
        // Nor indirectly as a dead letter, which an operator may replay.
        let parks = connection.may_publish("dlq.movie.created").await;
        assert_eq!(parks, ["auth", "bridge"].contains(&host), "{host} parks movie.created");
    }
}

#[tokio::test]
async fn a_host_publishes_only_its_own_events_and_reads_no_replies_to_others() {
    let nats = empty_nats().await;
    let notices = [("reservation", "seats.0199"), ("auth", "revoked.0199")];
    let events = DOMAINS.iter().flat_map(|domain| domain.publishes.iter().map(|event| (domain.name, *event)));
    let owned: Vec<(&str, &str)> = events.chain(notices).collect();
    for host in users() {
        let mut connection = Connection::open(&nats, host).await;
        for &(owner, subject) in &owned {
            // The bridge publishes the events of services on RabbitMQ.
            let may = owner == host || (host == BRIDGE && subject == "movie.created");
            assert_eq!(connection.may_publish(subject).await, may, "{host} publishes {subject}");
        }
        for other in users() {
            let inbox = format!("_INBOX.{other}.>");
            assert_eq!(connection.may_subscribe(&inbox).await, other == host, "{host} subscribes to {inbox}");
            let requests = format!("rpc.{other}.login");
            let answers = other == host && !["gateway", "scheduler", "bridge"].contains(&host);
            assert_eq!(connection.may_subscribe(&requests).await, answers, "{host} answers {requests}");
        }
        // The gateway shows events to staff; hosts receive theirs through their consumers.
        assert_eq!(
            connection.may_subscribe("movie.>").await,
            host == "gateway",
            "{host} subscribes to events"
        );
        for forbidden in [">", "$JS.API.>", "_INBOX.>", "dlq.>"] {
            assert!(!connection.may_subscribe(forbidden).await, "{host} subscribes to {forbidden}");
        }
        for forbidden in [
            "$JS.API.STREAM.DELETE.EVENTS",
            "$JS.API.STREAM.UPDATE.EVENTS",
            "$JS.API.STREAM.PURGE.EVENTS",
            "$JS.API.CONSUMER.DELETE.EVENTS.payment",
            "$JS.API.CONSUMER.CREATE.EVENTS.somebody-else",
            "$JS.ACK.EVENTS.somebody-else.1.1.1.1.1",
        ] {
            assert!(!connection.may_publish(forbidden).await, "{host} publishes {forbidden}");
        }
    }
    let mut maintenance = Connection::open(&nats, MAINTENANCE).await;
    assert!(maintenance.may_publish("movie.created").await && maintenance.may_subscribe(">").await);
}

/// What the CLI does with these permissions is in `nats_cli/permissions.rs`.
#[tokio::test]
async fn the_operator_reads_everything_and_changes_only_dead_letters() {
    let nats = empty_nats().await;
    let mut operator = Connection::open(&nats, OPERATOR).await;
    for allowed in [
        "$SRV.PING",
        "$SRV.INFO.reservation",
        "$SRV.STATS.reservation.0199",
        "$JS.API.STREAM.INFO.EVENTS",
        "$JS.API.CONSUMER.INFO.EVENTS.payment",
        "$JS.API.DIRECT.GET.EVENTS",
        "$JS.API.DIRECT.GET.EVENTS.payment.success",
        "$JS.API.STREAM.MSG.DELETE.DLQ",
        "replay.payment",
    ] {
        assert!(operator.may_publish(allowed).await, "the operator may not publish {allowed}");
    }
    let events = DOMAINS.iter().flat_map(|domain| domain.publishes.iter().copied());
    let requests = ["rpc.auth.login", "rpc.payment.end", "archive.auth.movie", "_INBOX.payment.0199"];
    let notices = ["seats.0199", "changed.reservation.0199", "revoked.0199", "dlq.payment.success"];
    let streams =
        ["CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN"]
            .map(|verb| format!("$JS.API.STREAM.{verb}.EVENTS"));
    let consumers = DOMAINS.iter().filter_map(|domain| domain.consumer).map(|consumer| consumer.name);
    let consumers = consumers.chain(["bridge-nest", "of-its-own"]).flat_map(|name| {
        ["CREATE", "DURABLE.CREATE", "MSG.NEXT", "DELETE", "PAUSE", "RESET", "UNPIN", "LEADER.STEPDOWN"]
            .map(|verb| format!("$JS.API.CONSUMER.{verb}.EVENTS.{name}"))
            .into_iter()
            .chain([
                format!("$JS.ACK.EVENTS.{name}.1.1.1.1.1"),
                format!("$JS.API.CONSUMER.CREATE.EVENTS.{name}.>"),
            ])
    });
    let more = ["$JS.API.CONSUMER.CREATE.EVENTS", "$JS.API.CONSUMER.CREATE.DLQ", "$JS.API.STREAM.PURGE.DLQ"];
    let forbidden = events.chain(requests).chain(notices).chain(more).map(str::to_owned);
    for forbidden in forbidden.chain(streams).chain(consumers) {
        assert!(!operator.may_publish(&forbidden).await, "the operator publishes {forbidden}");
    }
    for allowed in ["_INBOX.operator.>", "seats.*", "reservation.*", "dlq.>", "$JS.EVENT.ADVISORY.>"] {
        assert!(operator.may_subscribe(allowed).await, "the operator may not subscribe to {allowed}");
    }
    // Requests have tokens, and replies the data of customers.
    for forbidden in [
        ">",
        "_INBOX.>",
        "_INBOX.gateway.>",
        "rpc.>",
        "rpc.auth.login",
        "replay.payment",
        "revoked.*",
        "$JS.API.>",
    ] {
        assert!(!operator.may_subscribe(forbidden).await, "the operator subscribes to {forbidden}");
    }
}

#[tokio::test]
async fn a_host_requests_only_archived_events_that_its_consumer_handles() {
    let nats = empty_nats().await;
    for host in users() {
        let mut connection = Connection::open(&nats, host).await;
        for owner in DOMAINS.iter().filter(|domain| domain.migrations.is_some()) {
            for consumer in DOMAINS.iter().filter_map(|domain| domain.consumer) {
                let handles = owner.publishes.iter().any(|event| consumer.subjects.contains(event));
                let subject = format!("archive.{}.{}", owner.name, consumer.name);
                let may = connection.may_publish(&subject).await;
                assert_eq!(may, host == consumer.name && handles, "{host} requests {subject}");
            }
            let requests = format!("archive.{}.*", owner.name);
            let serves = host == owner.name && !owner.publishes.is_empty();
            assert_eq!(connection.may_subscribe(&requests).await, serves, "{host} serves {requests}");
        }
    }
}

/// The endpoints of each service by its name, as `nats micro info` shows them.
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

/// Internal requests that the gateway sends by itself: it deletes the media files that the movie host names.
const MEDIA_SWEEP: [&str; 2] = ["rpc.movie.condemn_media", "rpc.movie.forget_media"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_publishes_its_schemas_and_internal_ones_are_closed_to_the_gateway() {
    let cinema = TestCinema::open().await;
    let services = services(&cinema).await;
    for domain in actors::migrations::schemas().map(|domain| domain.name) {
        assert!(services.contains_key(domain), "{:?}", services.keys());
    }
    // A NATS without hosts, where a request has no effect.
    let nats = empty_nats().await;
    let mut gateway = Connection::open(&nats, "gateway").await;
    for (service, endpoints) in &services {
        let mut host = Connection::open(&nats, service).await;
        for endpoint in endpoints {
            let subject = endpoint["subject"].as_str().unwrap();
            for schema in ["request", "response"] {
                let text = endpoint["metadata"][schema].as_str().unwrap_or_default();
                let schema: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{subject}: {e}"));
                assert!(schema.get("title").is_some(), "{subject} has no schema: {text}");
            }
            let internal = endpoint["metadata"]["access"] == "internal" && !MEDIA_SWEEP.contains(&subject);
            let may = gateway.may_publish(subject).await;
            assert_eq!(
                may, !internal,
                "whether the gateway may request {subject}: see its deny list in nats.conf"
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
    let mut checked = 0;
    while let Some(consumer) = consumers.next().await {
        let consumer = consumer.unwrap();
        // The bridge has one consumer for each exchange.
        let user = consumer.name.split('-').next().unwrap();
        let mut host = Connection::open(&nats, user).await;
        let mut filters = consumer.config.filter_subjects.clone();
        filters.extend(Some(consumer.config.filter_subject.clone()).filter(|subject| !subject.is_empty()));
        for subject in filters {
            assert!(host.may_publish(&format!("dlq.{subject}")).await, "{}: {subject}", consumer.name);
            checked += 1;
        }
        assert!(host.may_subscribe(&format!("replay.{}", consumer.name)).await, "{}", consumer.name);
    }
    assert!(checked > 5, "only {checked} subjects");
    cinema.close().await;
}
