//! Deployments in which something is wrong: a host is away and its consumer falls behind; messages were parked; the stream
//! is full; NATS lost its data; a client does not read.

use std::time::Duration;

use actors::DOMAINS;
use bus::topology;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{cases, open};
use crate::cinema::TestCinema;
use crate::operator::until_all_is_handled;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_away_is_missing_and_its_consumer_is_behind() {
    let (mut cinema, cli) = open!("a_host_that_is_away_is_missing_and_its_consumer_is_behind");
    cli.run(cases::SERVICES).await.shows("Marquee notification");
    let hosts = &mut cinema.cinema_mut().hosts;
    let at = hosts.iter().position(|host| host.domain() == "notification").unwrap();
    hosts.remove(at).stop().await;
    // It sells without this host.
    let ada = cinema.register().await;
    cinema.buy(&ada, &["A1", "A2"]).await;
    cinema.until_published().await;

    let consumers = cli.run(cases::CONSUMERS).await;
    assert_ne!(consumers.cell("notification", "Unprocessed"), "0", "{}", consumers.text);
    let consumer = cli.run(cases::CONSUMER).await;
    consumer
        .shows("Unprocessed Messages: ")
        .hides("Unprocessed Messages: 0")
        .shows("Last Delivered Message:");
    let services = cli.run(cases::SERVICES).await;
    services.hides("Marquee notification").shows("Marquee reservation");
    let pinged = cli.run(cases::PING).await;
    pinged.hides("notification").shows("reservation");
    let info = cli.run_any("nats micro info notification").await;
    assert!(!info.success, "{}", info.text);
    info.shows("no service instances found");

    cinema.start_another("notification").await;
    until_all_is_handled(&cinema).await;
    let consumers = cli.run(cases::CONSUMERS).await;
    assert_eq!(consumers.cell("notification", "Unprocessed"), "0", "{}", consumers.text);
    cli.run(cases::CONSUMER).await.shows("Unprocessed Messages: 0");
    cli.run(cases::PING).await.shows("notification");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_shown_with_their_reason_and_dropped() {
    let (cinema, cli) = open!("dead_letters_are_shown_with_their_reason_and_dropped");
    cli.run(cases::DEAD_LETTERS).await.shows("0 of 0 dead letters");
    let mut live = cli.follow(cases::LIVE_DEAD_LETTERS).await;
    let consumers = DOMAINS.iter().filter_map(|domain| domain.consumer);
    let readers = consumers.filter(|consumer| consumer.subjects.contains(&"payment.success")).count();
    let mut parked = 0;
    // The CLI prints that it subscribes before the server knows it.
    loop {
        cinema.publish_unreadable_event().await;
        parked += readers;
        if live.has_printed("Marquee-Reason: not a payment.success", Duration::from_secs(2)).await {
            break;
        }
        assert!(parked < 20 * readers, "{}", live.seen);
    }
    drop(live);
    // All of them are parked, so that none is left when they are dropped.
    let all = format!("{parked} of {parked} dead letters");
    cinema.until(&all, async || cli.run(cases::DEAD_LETTERS).await.text.contains(&all)).await;
    cli.check(&cases::PARKED).await;

    let listed = cli.run(cases::DEAD_LETTERS).await;
    let sequences =
        listed.text.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    // The last line begins with the number of dead letters.
    let sequences: Vec<u64> = sequences.take(parked).collect();
    let shown = cli.run_any(&format!("marquee dead-letters show {}", sequences[0])).await;
    shown.shows("payment.success");
    for sequence in sequences {
        let dropped = cli.run_any(&format!("marquee dead-letters drop {sequence}")).await;
        assert!(dropped.success, "{}", dropped.text);
    }
    cli.run(cases::DEAD_LETTERS).await.shows("0 of 0 dead letters");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_shows_that_it_discards_its_oldest_events() {
    let (cinema, cli) = open!("a_full_stream_shows_that_it_discards_its_oldest_events");
    let ada = cinema.register().await;
    cinema.buy(&ada, &["A1", "A2"]).await;
    cinema.until_published().await;
    until_all_is_handled(&cinema).await;
    let bus = &cinema.cinema().bus;
    let stream = topology::events(bus).await.unwrap();
    let config = stream.cached_info().config.clone();
    // What is stored exceeds it, so the stream discards its oldest events at once, as one of 8 GiB would later.
    let small = async_nats::jetstream::stream::Config { max_bytes: 4 * 1024, ..config.clone() };
    bus.jetstream.update_stream(&small).await.unwrap();

    let printed = cli.run(cases::STREAM).await;
    printed.shows("Maximum Bytes: 4.0 KiB").shows("Discard Policy: Old");
    let first = printed.line(&["First Sequence:"]).unwrap();
    assert!(!first.contains("First Sequence: 1 "), "{}", printed.text);

    bus.jetstream.update_stream(&config).await.unwrap();
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wiped_data_shows_as_a_younger_stream_that_begins_again_at_1() {
    let (mut cinema, cli) = open!("wiped_data_shows_as_a_younger_stream_that_begins_again_at_1");
    let ada = cinema.register().await;
    cinema.buy(&ada, &["A1", "A2"]).await;
    cinema.until_published().await;
    until_all_is_handled(&cinema).await;
    let created = |printed: &super::Printed| {
        printed.line(&["Information for Stream EVENTS created "]).map(str::to_owned)
    };
    let before = created(&cli.run(cases::STREAM).await).unwrap();
    // The time is shown in whole seconds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    cinema.nats.wipe().await.unwrap();

    let archive = "select (select count(*) from reservation.events) + (select count(*) from payment.events)";
    let archived = usize::try_from(cinema.count(archive).await).unwrap();
    assert!(archived >= 4, "{archived}");
    cinema
        .until("the archive is in the stream again", async || {
            let printed = cli.run(cases::STREAM).await;
            let mut lines = printed.text.lines().filter_map(|line| line.trim().strip_prefix("Messages: "));
            lines.find_map(|count| count.parse::<usize>().ok()).is_some_and(|count| count >= archived)
        })
        .await;
    let printed = cli.run(cases::STREAM).await;
    printed.shows("First Sequence: 1 ");
    assert!(created(&printed).is_some_and(|after| after > before), "{before}: {}", printed.text);
    cinema.close().await;
}

/// Asks for the whole stream again and again as the operator, and reads nothing of what NATS sends.
async fn ask_without_reading(cinema: &TestCinema) -> TcpStream {
    let url = cinema.nats.url();
    let mut connection = TcpStream::connect(url.strip_prefix("nats://").unwrap()).await.unwrap();
    let login = serde_json::json!({"verbose": false, "headers": true, "no_responders": true, "name": "slow-page",
                                   "user": "operator", "pass": cinema.nats.password()});
    let inbox = "_INBOX.operator.slow";
    connection.write_all(format!("CONNECT {login}\r\nSUB {inbox} 1\r\n").as_bytes()).await.unwrap();
    let whole = r#"{"seq":1,"batch":30000,"next_by_subj":">"}"#;
    let ask = format!("PUB $JS.API.DIRECT.GET.EVENTS {inbox} {}\r\n{whole}\r\n", whole.len());
    // NATS closes the connection in between, which then cannot be written to.
    for _ in 0..2_000 {
        if connection.write_all(ask.as_bytes()).await.is_err() {
            break;
        }
    }
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_counted_and_disturbs_nobody() {
    let (cinema, cli) = open!("a_client_that_does_not_read_is_counted_and_disturbs_nobody");
    let ada = cinema.register().await;
    cinema.buy(&ada, &["A1", "A2"]).await;
    cinema.until_published().await;
    let count = async || {
        let printed = cli.run(cases::STATISTICS).await;
        printed.cell("127.0.0.1", "Slow Consumers").parse::<u64>().unwrap()
    };
    assert_eq!(count().await, 0);
    let connection = ask_without_reading(&cinema).await;
    cinema.until("NATS ended the slow connection", async || count().await == 1).await;
    drop(connection);
    cinema.buy(&ada, &["B1"]).await;
    cinema.close().await;
}
