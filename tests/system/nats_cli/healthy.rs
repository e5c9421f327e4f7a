//! A deployment in which nothing is wrong: what runs, what is connected, what happens, and the events of one reservation.

use std::time::Duration;

use super::{cases, open};
use crate::cinema::TestCinema;
use crate::harness::events_of;
use crate::operator::until_all_is_handled;

/// The domains that answer requests; the scheduler answers none.
const SERVICES: [&str; 5] = ["auth", "movie", "reservation", "payment", "notification"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_shown_and_no_consumer_is_behind() {
    let (cinema, cli) = open!("what_runs_is_shown_and_no_consumer_is_behind");
    let ada = cinema.register().await;
    cinema.buy(&ada, &["A1", "A2"]).await;
    cinema.until_published().await;
    until_all_is_handled(&cinema).await;

    let services = cli.run(cases::SERVICES).await;
    let pinged = cli.run(cases::PING).await;
    let consumers = cli.run(cases::CONSUMERS).await;
    for domain in SERVICES {
        services.shows(&format!("Marquee {domain}"));
        assert!(pinged.line(&[domain, "rtt="]).is_some(), "{domain}: {}", pinged.text);
        assert_eq!(consumers.cell(domain, "Unprocessed"), "0", "{domain}: {}", consumers.text);
        assert_eq!(consumers.cell(domain, "Ack Pending"), "0", "{domain}: {}", consumers.text);
    }
    let connections = cli.run(cases::CONNECTIONS).await;
    for part in SERVICES.into_iter().chain(["scheduler", "gateway"]) {
        connections.shows(&format!("marquee-{part}"));
    }
    let latencies = cli.run(cases::LATENCIES).await;
    assert_eq!(latencies.cell("create", "Requests"), "1", "{}", latencies.text);
    assert_ne!(latencies.cell("create", "Average Time"), "0s", "{}", latencies.text);
    assert_eq!(cli.run(cases::STREAMS).await.cell("DLQ", "Messages"), "0");
    cli.check(&cases::HEALTHY).await;
    cinema.close().await;
}

/// The event types that the document's command prints for an id, in order.
async fn story(cli: &mut super::Cli, id: &str) -> (Vec<String>, super::Printed) {
    cli.set("RESERVATION", id);
    let printed = cli.run(cases::STORY).await;
    assert!(printed.success, "{}", printed.text);
    let heads = printed.text.lines().filter(|line| line.starts_with(|letter: char| letter.is_ascii_digit()));
    let types = heads.map(|head| head.rsplit(' ').next().unwrap().to_owned()).collect();
    (types, printed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_prints_every_event_of_one_reservation() {
    let (cinema, mut cli) = open!("one_command_prints_every_event_of_one_reservation");
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    let bought = cinema.buy(&ada, &["A1", "A2"]).await;
    let other = cinema.buy(&bob, &["B1"]).await;
    let refunded = cinema.buy(&bob, &["C1"]).await;
    cinema.cancel(&bob, &refunded).await.expect(200);
    cinema.until_status(&bob, &refunded, "REFUNDED").await;
    cinema.until_published().await;

    let (types, printed) = story(&mut cli, &bought).await;
    printed.shows(&bought).hides(&other).hides(&refunded);
    // Reservation and payment publish at the same time, so the order of their events is not always the same.
    for event in ["reservation.created", "payment.initiated", "payment.success", "reservation.confirmed"] {
        assert_eq!(types.iter().filter(|shown| *shown == event).count(), 1, "{event}: {}", printed.text);
    }
    assert_eq!(types.len(), 4, "{}", printed.text);
    let at = |event: &str| types.iter().position(|shown| shown == event);
    assert!(at("payment.success") < at("reservation.confirmed"), "{types:?}");

    let (types, printed) = story(&mut cli, &refunded).await;
    printed.hides(&bought);
    for event in ["reservation.cancelled", "refund.requested", "refund.completed"] {
        assert!(types.iter().any(|shown| shown == event), "no {event}: {}", printed.text);
    }

    // The same by the id of a request, which is in the headers.
    let events = events_of(&cinema.cinema().bus, "payment.success").await;
    let paid = events.iter().find(|event| event.payload["reservationId"] == *bought).unwrap();
    let (types, printed) = story(&mut cli, paid.header("X-Correlation-Id")).await;
    assert!(types.iter().any(|shown| shown == "payment.success"), "{}", printed.text);
    printed.shows(&bought).hides(&other);
    cinema.close().await;
}

/// Reserves one seat after another until the command has printed this.
async fn reserve_until(cinema: &TestCinema, following: &mut super::Following, wanted: &str) -> String {
    let ada = cinema.register().await;
    // The CLI prints that it subscribes before the server knows it.
    for row in ["A", "B", "C", "D", "E"] {
        for number in 1..=10 {
            let seat = format!("{row}{number}");
            let reservation = cinema.reserve(&ada, &[&seat]).await;
            if following.has_printed(wanted, Duration::from_millis(500)).await {
                return reservation;
            }
        }
    }
    panic!("`{}` did not print {wanted:?}:\n{}", following.command, following.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_and_events_are_shown_as_they_change() {
    let (mut cinema, cli) = open!("seats_and_events_are_shown_as_they_change");
    let mut seats = cli.follow(cases::LIVE_SEATS).await;
    reserve_until(&cinema, &mut seats, "\"status\":\"HELD\"").await;
    assert!(seats.seen.contains(&format!("seats.{}", cinema.showtime)), "{}", seats.seen);
    drop(seats);

    cinema.showtime = cinema.schedule(&["SSSSSSSSSS"; 5], 24 * 3600).await;
    let mut events = cli.follow(cases::LIVE_EVENTS).await;
    let reservation = reserve_until(&cinema, &mut events, "ce-type: reservation.created").await;
    // Bodies have the data of customers.
    assert!(!events.seen.contains("@example.org") && !events.seen.contains(&reservation), "{}", events.seen);
    drop(events);
    cinema.close().await;
}
