//! The live seat map and waiting for a reservation: order, gaps, slow clients, many clients, stopping.

use std::time::Duration;

use bus::contract::Problem;
use bus::contract::reservation::{GetReservation, GetSeatMap, changed_subject, seats_subject};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use uuid::Uuid;

use super::{Gateway, problem};

fn showtime() -> Uuid {
    "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
}

async fn watch(gateway: &Gateway) -> BoxStream<'static, String> {
    let mut response = gateway.get(&format!("/v1/showtimes/{}/seats/events", showtime())).response().await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.content_type(), Some("text/event-stream"));
    let chunks = response.take_body().into_bytes_stream();
    chunks.map(|chunk: Result<Bytes, _>| String::from_utf8(chunk.unwrap().to_vec()).unwrap()).boxed()
}

fn change(gateway: &Gateway, sequence: i64) {
    let payload = format!(r#"{{"sequence":{sequence},"changes":[{{"id":"A{sequence}","status":"HELD"}}]}}"#);
    gateway.notify(seats_subject(showtime()), payload);
}

fn map(gateway: &Gateway, sequence: i64) {
    gateway.set_answer::<GetSeatMap>(format!(r#"{{"sequence":{sequence},"seats":[]}}"#));
}

/// Name and id of the next event.
async fn event(events: &mut BoxStream<'static, String>) -> String {
    let event = tokio::time::timeout(Duration::from_secs(5), events.next()).await.expect("an event arrives");
    let event = event.expect("the stream goes on");
    let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    assert!(event.ends_with("\n\n"));
    format!("{} {}", line("event: "), line("id: "))
}

/// Lets every task run as far as it can.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_comes_first_and_then_what_is_newer() {
    let gateway = Gateway::new();
    map(&gateway, 7);
    let mut events = watch(&gateway).await;
    for sequence in [6, 7, 8, 9] {
        change(&gateway, sequence);
    }
    for expected in ["snapshot 7", "seats 8", "seats 9"] {
        assert_eq!(event(&mut events).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn changes_that_overtake_each_other_are_put_in_order() {
    let gateway = Gateway::new();
    map(&gateway, 0);
    let mut events = watch(&gateway).await;
    for sequence in [2, 3, 1] {
        change(&gateway, sequence);
    }
    for expected in ["snapshot 0", "seats 1", "seats 2", "seats 3"] {
        assert_eq!(event(&mut events).await, expected);
    }
    assert_eq!(gateway.received().len(), 1, "no further snapshot was needed");
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_lasts_brings_a_new_snapshot() {
    let gateway = Gateway::new();
    map(&gateway, 0);
    let mut events = watch(&gateway).await;
    assert_eq!(event(&mut events).await, "snapshot 0");
    change(&gateway, 2);
    map(&gateway, 2);
    let begun = tokio::time::Instant::now();
    assert_eq!(event(&mut events).await, "snapshot 2");
    assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    change(&gateway, 3);
    assert_eq!(event(&mut events).await, "seats 3");
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_closed_even_when_no_host_answers_at_first() {
    let gateway = Gateway::new();
    map(&gateway, 0);
    let mut events = watch(&gateway).await;
    assert_eq!(event(&mut events).await, "snapshot 0");
    gateway.set_rejection::<GetSeatMap>(Problem::unavailable("away"));
    change(&gateway, 2);
    tokio::time::sleep(Duration::from_millis(500)).await;
    map(&gateway, 2);
    assert_eq!(event(&mut events).await, "snapshot 2");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_brings_a_new_snapshot_where_something_changed() {
    let gateway = Gateway::new();
    map(&gateway, 0);
    let mut events = watch(&gateway).await;
    assert_eq!(event(&mut events).await, "snapshot 0");
    map(&gateway, 5);
    gateway.reconnect();
    assert_eq!(event(&mut events).await, "snapshot 5");
    gateway.reconnect();
    settle().await;
    change(&gateway, 6);
    assert_eq!(event(&mut events).await, "seats 6");
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_gets_a_new_snapshot_and_delays_nobody() {
    let gateway = Gateway::new();
    map(&gateway, 0);
    let (mut slow, mut fast) = (watch(&gateway).await, watch(&gateway).await);
    assert_eq!(event(&mut slow).await, "snapshot 0");
    assert_eq!(event(&mut fast).await, "snapshot 0");
    for sequence in 1..=600 {
        change(&gateway, sequence);
        assert_eq!(event(&mut fast).await, format!("seats {sequence}"));
    }
    map(&gateway, 600);
    assert_eq!(event(&mut slow).await, "snapshot 600");
    change(&gateway, 601);
    assert_eq!(event(&mut slow).await, "seats 601");
    assert_eq!(event(&mut fast).await, "seats 601");
}

#[tokio::test(start_paused = true)]
async fn clients_that_join_together_share_snapshot_requests() {
    let gateway = Gateway::new();
    map(&gateway, 0);
    let mut all = futures::future::join_all((0..200).map(|_| watch(&gateway))).await;
    assert!(gateway.received().len() <= 3, "{} requests", gateway.received().len());
    assert_eq!(gateway.shared.seat_maps.watched(), 1);
    change(&gateway, 1);
    for events in &mut all {
        assert_eq!(event(events).await, "snapshot 0");
        assert_eq!(event(events).await, "seats 1");
    }
    drop(all);
    settle().await;
    assert_eq!(gateway.shared.seat_maps.watched(), 0, "the task ends with its last client");
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_has_a_heartbeat_and_stopping_ends_it() {
    let gateway = Gateway::new();
    map(&gateway, 0);
    let mut events = watch(&gateway).await;
    assert_eq!(event(&mut events).await, "snapshot 0");
    let begun = tokio::time::Instant::now();
    assert_eq!(events.next().await.as_deref(), Some(":\n\n"));
    assert_eq!(begun.elapsed().as_secs(), 15);
    gateway.shared.stop.cancel();
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_showtime_is_404_before_any_event() {
    let gateway = Gateway::new();
    gateway.set_rejection::<GetSeatMap>(Problem::not_found("showtime"));
    let path = format!("/v1/showtimes/{}/seats/events", showtime());
    assert_eq!(gateway.get(&path).problem().await, problem(404, "not-found"));
    settle().await;
    assert_eq!(gateway.shared.seat_maps.watched(), 0);
}

fn set_reservation(gateway: &Gateway, version: i64, status: &str) {
    gateway.set_answer::<GetReservation>(format!(r#"{{"version":{version},"status":"{status}"}}"#));
}

fn notice(gateway: &Gateway, version: i64, status: &str) {
    let payload = format!(r#"{{"version":{version},"status":"{status}"}}"#);
    gateway.notify(changed_subject(showtime()), payload);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_change() {
    let gateway = Gateway::new();
    set_reservation(&gateway, 1, "PENDING");
    let path = format!("/v1/reservations/{}?wait=30", showtime());
    let mut waiting = Box::pin(gateway.get(&path).token("user").answer());
    assert!((&mut waiting).now_or_never().is_none());
    tokio::select! {
        _ = &mut waiting => panic!("nothing has changed yet"),
        _ = tokio::time::sleep(Duration::from_secs(5)) => {}
    }
    notice(&gateway, 2, "PENDING");
    tokio::select! {
        _ = &mut waiting => panic!("still pending"),
        _ = tokio::time::sleep(Duration::from_secs(5)) => {}
    }
    assert_eq!(gateway.received().len(), 1, "a notice that does not end the wait causes no read");
    set_reservation(&gateway, 3, "CONFIRMED");
    notice(&gateway, 3, "CONFIRMED");
    let begun = tokio::time::Instant::now();
    assert_eq!(waiting.await.json()["status"], "CONFIRMED");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_wait_reads_once_more_at_its_end() {
    let gateway = Gateway::new();
    set_reservation(&gateway, 4, "PENDING");
    let path = format!("/v1/reservations/{}?wait=2&since=4", showtime());
    let waiting = gateway.get(&path).token("user").answer();
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        set_reservation(&gateway, 5, "PENDING");
    };
    let (answer, ()) = tokio::join!(waiting, later);
    assert_eq!(answer.json()["version"], 5, "though there was no notice");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_once_after_a_change_or_without_permission() {
    let gateway = Gateway::new();
    set_reservation(&gateway, 4, "PENDING");
    let path = format!("/v1/reservations/{}?wait=30&since=3", showtime());
    let begun = tokio::time::Instant::now();
    assert_eq!(gateway.get(&path).token("user").answer().await.json()["version"], 4);
    gateway.set_rejection::<GetReservation>(Problem::not_found("reservation"));
    assert_eq!(gateway.get(&path).token("user").problem().await, problem(404, "not-found"));
    set_reservation(&gateway, 3, "PENDING");
    gateway.shared.stop.cancel();
    assert_eq!(gateway.get(&path).token("user").answer().await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn new_seats_or_prices_bring_all_clients_a_new_snapshot() {
    let gateway = Gateway::new();
    map(&gateway, 1);
    let mut events = watch(&gateway).await;
    assert_eq!(event(&mut events).await, "snapshot 1");
    change(&gateway, 2);
    map(&gateway, 3);
    gateway.notify(seats_subject(showtime()), r#"{"sequence":3,"changes":[],"reload":true}"#);
    change(&gateway, 4);
    for expected in ["seats 2", "snapshot 3", "seats 4"] {
        assert_eq!(event(&mut events).await, expected);
    }
}
