//! Given what the broker wrote on a letter, when it is decided about, then it goes back, or ends.

use lapin::types::FieldArray;

use super::*;
use crate::properties::long;
use bus::config::Environment;

fn settings() -> Settings {
    let mut environment = Environment::default();
    environment.set("AMQP_URL", "amqp://127.0.0.1");
    environment.set("AMQP_RETRY_DELAYS", "5,30");
    environment.set("AMQP_RETRIES_MAX", "3");
    let settings = Settings::read(&mut environment);
    environment.check().unwrap();
    settings
}

/// A letter that died in this queue for this reason, after so many tries.
fn letter(queue: &str, reason: &str, attempts: u32) -> BasicProperties {
    let mut keys = FieldArray::default();
    keys.push(long("movie.created"));
    let mut newest = FieldTable::default();
    newest.insert("queue".into(), long(queue));
    newest.insert("reason".into(), long(reason));
    newest.insert("routing-keys".into(), AMQPValue::FieldArray(keys));
    let mut deaths = FieldArray::default();
    deaths.push(AMQPValue::FieldTable(newest));
    let mut headers = FieldTable::default();
    headers.insert("x-death".into(), AMQPValue::FieldArray(deaths));
    if attempts > 0 {
        headers.insert(ATTEMPT.into(), long(attempts.to_string()));
    }
    BasicProperties::default().with_headers(headers)
}

fn decided(properties: &BasicProperties, routing_key: &str) -> Fate {
    let settings = settings();
    fate(properties, routing_key, &settings, &Names::new(&settings))
}

fn ends(properties: &BasicProperties, routing_key: &str) -> (Option<String>, String) {
    match decided(properties, routing_key) {
        Fate::Last { queue, reason, .. } => (queue, reason),
        again => panic!("{again:?}"),
    }
}

#[test]
fn a_refused_letter_goes_back_to_its_own_queue_with_growing_delay_and_ends_after_its_last_try() {
    let tries: Vec<_> = (0..3).map(|n| decided(&letter("mails", "rejected", n), "whatever")).collect();
    for (at, seconds) in [(0, 5), (1, 30), (2, 30)] {
        let (queue, routing_key) = ("mails".to_owned(), "movie.created".to_owned());
        let delay = Duration::from_secs(seconds);
        assert_eq!(tries[at], Fate::Again { queue, routing_key, attempt: at as u32 + 1, delay });
    }
    let (queue, reason) = ends(&letter("mails", "rejected", 3), "whatever");
    assert_eq!((queue.as_deref(), reason.as_str()), (Some("mails"), "mails refused it 4 times"));
}

#[test]
fn what_was_too_old_or_too_much_for_its_queue_is_not_forced_on_it() {
    for reason in ["expired", "maxlen"] {
        assert_eq!(
            ends(&letter("mails", reason, 0), "k"),
            (Some("mails".into()), format!("{reason} in mails"))
        );
    }
    assert!(matches!(decided(&letter("mails", "delivery_limit", 0), "k"), Fate::Again { .. }));
}

#[test]
fn a_letter_of_nobody_and_one_of_the_bridge_itself_are_kept() {
    assert_eq!(ends(&BasicProperties::default(), "movie.created").0, None);
    assert_eq!(ends(&letter("marquee.events.dlq", "rejected", 0), "k").0, None);
    assert_eq!(ends(&letter(&"q".repeat(240), "rejected", 0), "k").0, None);
}

#[test]
fn what_the_bridge_refused_can_go_through_the_bridge_again() {
    let mut headers = FieldTable::default();
    headers.insert(properties::REASON.into(), long("schema: movieId"));
    let refused = BasicProperties::default().with_headers(headers);
    let expected = (Some("marquee.events.bridge".to_owned()), "schema: movieId".to_owned());
    assert_eq!(ends(&refused, REJECTED), expected);
}

#[test]
fn a_letter_whose_queue_went_away_while_it_waited_is_kept_with_its_queues_name() {
    let (queue, reason) = ends(&letter("mails.retry.30", "expired", 1), "k");
    assert_eq!((queue.as_deref(), reason.as_str()), (Some("mails"), "the queue mails is gone"));
    assert_eq!(waited_for("mails.retry"), None);
    assert_eq!(waited_for(".retry.5"), None);
}
