//! The stream of events for staff: authorization, repeated events, slow clients.

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

fn publish(gateway: &Gateway, id: &str) {
    gateway.notify("events".to_owned(), event(id).to_string());
}

async fn watch(gateway: &Gateway) -> BoxStream<'static, String> {
    let mut response = gateway.get(PATH).token("admin").response().await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.content_type(), Some("text/event-stream"));
    let chunks = response.take_body().into_bytes_stream();
    chunks.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap()).boxed()
}

/// Name and id of the next event, or the number of missed events.
async fn next(events: &mut BoxStream<'static, String>) -> String {
    let event = tokio::time::timeout(Duration::from_secs(5), events.next()).await.expect("an event arrives");
    let event = event.expect("the stream goes on");
    let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    assert!(event.ends_with("\n\n"));
    let shown = if line("id: ").is_empty() { line("data: ") } else { line("id: ") };
    format!("{} {shown}", line("event: "))
}

#[tokio::test(start_paused = true)]
async fn the_last_events_are_sent_first_and_each_event_once() {
    let gateway = Gateway::new();
    gateway.set_answer::<WatchEvents>(json!([event("1"), event("2")]).to_string());
    let mut events = watch(&gateway).await;
    for id in ["2", "3", "3", "1", "4"] {
        publish(&gateway, id);
    }
    for expected in ["event 1", "event 2", "event 3", "event 4"] {
        assert_eq!(next(&mut events).await, expected);
    }
    let mut later = watch(&gateway).await;
    for expected in ["event 1", "event 2", "event 3", "event 4"] {
        assert_eq!(next(&mut later).await, expected);
    }
    assert_eq!(gateway.received().len(), 1, "two clients share a subscription");
}

#[tokio::test(start_paused = true)]
async fn only_staff_may_watch_and_only_while_their_token_holds() {
    let gateway = Gateway::new();
    gateway.set_answer::<WatchEvents>("[]");
    assert_eq!(gateway.get(PATH).problem().await, problem(401, "token-missing"));
    assert_eq!(gateway.get(PATH).token("user").problem().await.0, 403);
    let mut events = watch(&gateway).await;
    publish(&gateway, "1");
    assert_eq!(next(&mut events).await, "event 1");
    gateway.end_logins();
    publish(&gateway, "2");
    assert_eq!(events.next().await, None, "the token is not valid any more");
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_gets_the_number_of_missed_events() {
    let gateway = Gateway::new();
    gateway.set_answer::<WatchEvents>("[]");
    let mut slow = watch(&gateway).await;
    for id in 0..1_030 {
        publish(&gateway, &id.to_string());
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(next(&mut slow).await, "missed {\"events\":6}");
    assert_eq!(next(&mut slow).await, "event 6");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_the_stream_and_a_new_one_reads_the_last_events() {
    let gateway = Gateway::new();
    gateway.set_answer::<WatchEvents>("[]");
    let mut events = watch(&gateway).await;
    gateway.reconnect();
    assert_eq!(events.next().await, None);
    gateway.set_answer::<WatchEvents>(json!([event("7")]).to_string());
    let mut events = watch(&gateway).await;
    assert_eq!(next(&mut events).await, "event 7");
    drop(events);
    gateway.set_rejection::<WatchEvents>(Problem::unavailable("away"));
    gateway.reconnect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(gateway.get(PATH).token("admin").problem().await, problem(503, "unavailable"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_has_a_heartbeat_and_stopping_ends_it() {
    let gateway = Gateway::new();
    gateway.set_answer::<WatchEvents>("[]");
    let mut events = watch(&gateway).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(events.next().await.as_deref(), Some(":\n\n"));
    assert_eq!(begun.elapsed().as_secs(), 15);
    gateway.shared.stop.cancel();
    assert_eq!(events.next().await, None);
}
