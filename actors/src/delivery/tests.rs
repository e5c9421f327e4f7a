//! Tests without a server: the clock, request hashes, which errors mean an outage.

use std::time::Duration;

use bus::contract::Timestamp;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn the_clock_counts_from_when_the_time_was_read_not_from_when_it_was_set() {
    let at = Timestamp::from(OffsetDateTime::UNIX_EPOCH);
    let clock = Clock::new(at);
    let read = Instant::now();
    let later = at.plus(Duration::from_secs(100));
    // The connection was lost during the commit whose time this is, and its outcome was read later.
    let read_long_ago = read.checked_sub(Duration::from_secs(7)).expect("this machine is up for longer");
    clock.set(later, read_long_ago);
    assert!(clock.now() >= later.plus(Duration::from_secs(7)));
    assert!(clock.now() < later.plus(Duration::from_secs(20)));
}

#[test]
fn a_request_hash_is_of_the_content_not_of_its_order() {
    let request = serde_json::json!({"seats": ["A1", "A2"], "showtimeId": "s"});
    let reordered: serde_json::Value =
        serde_json::from_str(r#"{"showtimeId":"s","seats":["A1","A2"]}"#).expect("JSON");
    let different = serde_json::json!({"seats": ["A2", "A1"], "showtimeId": "s"});
    assert_eq!(request_hash(&request).ok(), request_hash(&reordered).ok());
    assert_ne!(request_hash(&request).ok(), request_hash(&different).ok());
}

#[test]
fn a_lost_connection_is_an_outage_and_a_missing_row_is_not() {
    assert!(is_away(&timed_out()));
    assert!(is_away(&sqlx::Error::PoolTimedOut));
    assert!(!is_away(&sqlx::Error::RowNotFound));
}
