//! Decisions about dead letters with the headers that the broker writes.

use bus::config::Environment;
use lapin::types::{AMQPValue, FieldArray, FieldTable};

use super::*;
use crate::properties::long_string;

fn settings() -> Settings {
    let mut environment = Environment::default();
    environment.set("AMQP_URL", "amqp://127.0.0.1");
    environment.set("AMQP_RETRY_DELAYS", "5,30");
    environment.set("AMQP_RETRIES_MAX", "3");
    let settings = Settings::read(&mut environment);
    environment.check().unwrap();
    settings
}

/// The properties of a message that this queue dead-lettered for this reason, after so many retries.
fn dead_letter(queue: &str, reason: &str, attempts: u32) -> BasicProperties {
    let mut keys = FieldArray::default();
    keys.push(long_string("movie.created"));
    let mut newest = FieldTable::default();
    newest.insert("queue".into(), long_string(queue));
    newest.insert("reason".into(), long_string(reason));
    newest.insert("routing-keys".into(), AMQPValue::FieldArray(keys));
    let mut deaths = FieldArray::default();
    deaths.push(AMQPValue::FieldTable(newest));
    let mut headers = FieldTable::default();
    headers.insert("x-death".into(), AMQPValue::FieldArray(deaths));
    if attempts > 0 {
        headers.insert(ATTEMPT.into(), long_string(attempts.to_string()));
    }
    BasicProperties::default().with_headers(headers)
}

fn decision(properties: &BasicProperties, routing_key: &str) -> Decision {
    let settings = settings();
    decide(properties, routing_key, &settings, &Names::new(&settings))
}

fn parked(properties: &BasicProperties, routing_key: &str) -> (Option<String>, String) {
    match decision(properties, routing_key) {
        Decision::Park { queue, reason, .. } => (queue, reason),
        retry => panic!("{retry:?}"),
    }
}

#[test]
fn a_rejected_message_is_retried_in_its_own_queue_with_growing_delays_and_parked_after_the_last() {
    let decisions: Vec<_> =
        (0..3).map(|n| decision(&dead_letter("mails", "rejected", n), "whatever")).collect();
    for (at, seconds) in [(0, 5), (1, 30), (2, 30)] {
        let (queue, routing_key) = ("mails".to_owned(), "movie.created".to_owned());
        let delay = Duration::from_secs(seconds);
        assert_eq!(decisions[at], Decision::Retry { queue, routing_key, attempt: at as u32 + 1, delay });
    }
    let (queue, reason) = parked(&dead_letter("mails", "rejected", 3), "whatever");
    assert_eq!((queue.as_deref(), reason.as_str()), (Some("mails"), "mails refused it 4 times"));
}

#[test]
fn an_expired_message_and_one_beyond_the_queues_length_are_parked() {
    for reason in ["expired", "maxlen"] {
        assert_eq!(
            parked(&dead_letter("mails", reason, 0), "k"),
            (Some("mails".into()), format!("{reason} in mails"))
        );
    }
    assert!(matches!(decision(&dead_letter("mails", "delivery_limit", 0), "k"), Decision::Retry { .. }));
}

#[test]
fn a_message_of_an_unknown_queue_and_one_of_the_bridges_own_queues_are_parked() {
    assert_eq!(parked(&BasicProperties::default(), "movie.created").0, None);
    assert_eq!(parked(&dead_letter("marquee.events.dlq", "rejected", 0), "k").0, None);
    assert_eq!(parked(&dead_letter(&"q".repeat(240), "rejected", 0), "k").0, None);
}

#[test]
fn a_message_that_the_bridge_rejected_can_be_replayed_through_the_bridge() {
    let mut headers = FieldTable::default();
    headers.insert(properties::REASON.into(), long_string("schema: movieId"));
    let rejected = BasicProperties::default().with_headers(headers);
    let expected = (Some("marquee.events.bridge".to_owned()), "schema: movieId".to_owned());
    assert_eq!(parked(&rejected, REJECTED), expected);
}

#[test]
fn a_message_whose_queue_was_deleted_during_the_delay_is_parked_with_the_queues_name() {
    let (queue, reason) = parked(&dead_letter("mails.retry.30", "expired", 1), "k");
    assert_eq!((queue.as_deref(), reason.as_str()), (Some("mails"), "the queue mails is gone"));
    assert_eq!(retried_queue("mails.retry"), None);
    assert_eq!(retried_queue(".retry.5"), None);
}
