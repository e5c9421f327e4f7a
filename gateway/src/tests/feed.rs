//! The stream of events for staff: who may watch and how long, what comes twice, who is too slow.

use std::time::Duration;

use bus::contract::Problem;
use bus::contract::event_feed::WatchEvents;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::json;

use super::{Gateway, problem};

const PATH: &str = "/v1/admin/events";

fn event(id: &str) -> serde_json::Value {
    json!({"id": id, "subject": "payment.success", "source": "/marquee/payment", "time": "2026-05-01T12:00:00Z", "data": {}})
}

fn happen(gateway: &Gateway, id: &str) {
    gateway.notify("events".to_owned(), event(id).to_string());
}

async fn watch(gateway: &Gateway) -> BoxStream<'static, String> {
    let mut response = gateway.get(PATH).token("admin").response().await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.content_type(), Some("text/event-stream"));
    let chunks = response.take_body().into_bytes_stream();
    chunks.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap()).boxed()
}

/// Name and id, or what was missed.
async fn next(events: &mut BoxStream<'static, String>) -> String {
    let event = tokio::time::timeout(Duration::from_secs(5), events.next()).await.expect("an event comes");
    let event = event.expect("the stream goes on");
    let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    assert!(event.ends_with("\n\n"));
    let shown = if line("id: ").is_empty() { line("data: ") } else { line("id: ") };
    format!("{} {shown}", line("event: "))
}

#[tokio::test(start_paused = true)]
async fn the_last_events_come_first_and_each_comes_once() {
    let gateway = Gateway::new();
    gateway.tell::<WatchEvents>(json!([event("1"), event("2")]).to_string());
    let mut events = watch(&gateway).await;
    for id in ["2", "3", "3", "1", "4"] {
        happen(&gateway, id);
    }
    for expected in ["event 1", "event 2", "event 3", "event 4"] {
        assert_eq!(next(&mut events).await, expected);
    }
    let mut later = watch(&gateway).await;
    for expected in ["event 1", "event 2", "event 3", "event 4"] {
        assert_eq!(next(&mut later).await, expected);
    }
    assert_eq!(gateway.asked().len(), 1, "two who watch are one who listens");
}

#[tokio::test(start_paused = true)]
async fn it_is_for_staff_and_as_long_as_they_are() {
    let gateway = Gateway::new();
    gateway.tell::<WatchEvents>("[]");
    assert_eq!(gateway.get(PATH).problem().await, problem(401, "token-missing"));
    assert_eq!(gateway.get(PATH).token("user").problem().await.0, 403);
    let mut events = watch(&gateway).await;
    happen(&gateway, "1");
    assert_eq!(next(&mut events).await, "event 1");
    gateway.end_logins();
    happen(&gateway, "2");
    assert_eq!(events.next().await, None, "the token holds no more");
}

#[tokio::test(start_paused = true)]
async fn who_is_too_slow_is_told_how_many_are_missing() {
    let gateway = Gateway::new();
    gateway.tell::<WatchEvents>("[]");
    let mut slow = watch(&gateway).await;
    for id in 0..1_030 {
        happen(&gateway, &id.to_string());
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(next(&mut slow).await, "missed {\"events\":6}");
    assert_eq!(next(&mut slow).await, "event 6");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_it_and_coming_back_reads_anew() {
    let gateway = Gateway::new();
    gateway.tell::<WatchEvents>("[]");
    let mut events = watch(&gateway).await;
    gateway.reconnect();
    assert_eq!(events.next().await, None);
    gateway.tell::<WatchEvents>(json!([event("7")]).to_string());
    let mut events = watch(&gateway).await;
    assert_eq!(next(&mut events).await, "event 7");
    drop(events);
    gateway.refuse::<WatchEvents>(Problem::unavailable("away"));
    gateway.reconnect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(gateway.get(PATH).token("admin").problem().await, problem(503, "unavailable"));
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_and_stopping_ends_it() {
    let gateway = Gateway::new();
    gateway.tell::<WatchEvents>("[]");
    let mut events = watch(&gateway).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(events.next().await.as_deref(), Some(":\n\n"));
    assert_eq!(begun.elapsed().as_secs(), 15);
    gateway.house.stop.cancel();
    assert_eq!(events.next().await, None);
}
