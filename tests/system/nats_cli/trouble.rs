//! Deployments in which something is wrong: a host is away and its consumer falls behind; messages were parked.

use actors::DOMAINS;

use super::{cases, open};
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
        if live.has_printed("Marquee-Reason: not a payment.success", std::time::Duration::from_secs(2)).await
        {
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
