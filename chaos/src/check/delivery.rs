//! Delivery: what was committed was published, what was published was committed, who hears has heard, and poison is parked.

use std::collections::BTreeSet;

use super::{Checked, Scene};

/// What notification hears; it writes an inbox row for each, whatever it means.
const MAILED: [&str; 10] = [
    "reservation.created",
    "reservation.confirmed",
    "reservation.cancelled",
    "reservation.exchanged",
    "refund.requested",
    "refund.completed",
    "showtime.scheduled",
    "showtime.updated",
    "showtime.cancelled",
    "user.password_reset_requested",
];

/// Outbox and stream hold the same events, even when NATS lost everything in between.
pub fn outbox_is_stream(scene: &Scene<'_>) -> Checked {
    let truth = scene.truth;
    let stream: BTreeSet<&str> = truth.stream.iter().map(|heard| heard.id.as_str()).collect();
    let outbox: BTreeSet<String> = truth.facts.iter().map(|fact| fact.id.to_string()).collect();
    let mut findings = Vec::new();
    for fact in &truth.facts {
        let id = fact.id.to_string();
        if !stream.contains(id.as_str()) {
            findings.push(format!("{} {id} of {} is in no stream", fact.subject, fact.domain));
        } else if !fact.published {
            findings.push(format!("{} {id} of {} counts as unpublished", fact.subject, fact.domain));
        }
    }
    for heard in &truth.stream {
        // A reminder comes from no outbox.
        let foreign = heard.subject == "movie.reminder" || scene.poison.contains(&heard.id);
        if !foreign && !outbox.contains(&heard.id) {
            findings.push(format!("{} {} was published and never committed", heard.subject, heard.id));
        }
    }
    let copies = truth.stream.len() - stream.len();
    let evidence =
        format!("{} events in outboxes, {} in the stream and {copies} copies", outbox.len(), stream.len());
    Checked::new("outbox-is-stream", evidence, findings)
}

/// Who hears an event has it in its inbox, and nobody heard what never was.
pub fn inboxes(scene: &Scene<'_>) -> Checked {
    let truth = scene.truth;
    let outbox: BTreeSet<String> = truth.facts.iter().map(|fact| fact.id.to_string()).collect();
    let empty = BTreeSet::new();
    let mailed = truth.inbox.get("notification").unwrap_or(&empty);
    let mut findings = Vec::new();
    for fact in truth.facts.iter().filter(|fact| MAILED.contains(&fact.subject.as_str())) {
        if !mailed.contains(&("notification".to_owned(), fact.id.to_string())) {
            findings.push(format!("notification has not heard {} {}", fact.subject, fact.id));
        }
    }
    let all = truth.inbox.values().flatten();
    // The provider's webhooks, and reminders, are in no outbox.
    let house = |consumer: &str| ["reservation", "payment", "auth"].contains(&consumer);
    for (consumer, id) in all.clone().filter(|(consumer, _)| house(consumer)) {
        if !outbox.contains(id) && !scene.poison.contains(id) {
            findings.push(format!("{consumer} heard {id}, which never was"));
        }
    }
    Checked::new("inboxes-have-heard", format!("{} rows of inboxes", all.count()), findings)
}

/// Poison ends in the dead letter stream, and nothing else does.
pub fn poison(scene: &Scene<'_>) -> Checked {
    let dead: BTreeSet<&str> = scene.truth.dead.iter().map(|letter| letter.id.as_str()).collect();
    let poison: BTreeSet<&str> = scene.poison.iter().map(String::as_str).collect();
    let mut findings: Vec<String> =
        poison.difference(&dead).map(|id| format!("the poison {id} was not parked")).collect();
    for letter in scene.truth.dead.iter().filter(|letter| !poison.contains(letter.id.as_str())) {
        findings.push(format!("{} {} was parked and is no poison", letter.subject, letter.id));
    }
    Checked::new("poison-is-parked", format!("{} poisoned messages", poison.len()), findings)
}
