//! Delivery: what was committed was published, what was published was committed and handled, and poison is parked.

use std::collections::BTreeSet;

use super::{Checked, Scene};

/// What domains keep of an event: the kind of row, and the field of the event that names it (`None`: the event's id).
const KEPT: [(&str, &str, Option<&str>); 12] = [
    ("reservation.created", "attendee", Some("reservationId")),
    ("reservation.created", "payment", Some("reservationId")),
    ("reservation.confirmed", "attendee", Some("reservationId")),
    ("reservation.cancelled", "attendee", Some("reservationId")),
    ("reservation.exchanged", "attendee", Some("reservationId")),
    ("showtime.scheduled", "showtime of notification", Some("showtimeId")),
    ("showtime.scheduled", "showtime of reservation", Some("showtimeId")),
    ("showtime.updated", "showtime of notification", Some("showtimeId")),
    ("showtime.updated", "showtime of reservation", Some("showtimeId")),
    ("showtime.cancelled", "showtime of notification", Some("showtimeId")),
    ("showtime.cancelled", "showtime of reservation", Some("showtimeId")),
    ("refund.requested", "audit record", None),
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

/// Each event has its projection, payment or audit record, at its version or a later one; mails have a check of their own.
pub fn events_are_handled(scene: &Scene<'_>) -> Checked {
    let truth = scene.truth;
    let (mut findings, mut handled) = (Vec::new(), 0);
    for fact in &truth.facts {
        for (_, kind, field) in KEPT.iter().filter(|(subject, ..)| *subject == fact.subject) {
            handled += 1;
            let id = match field {
                Some(field) => fact.payload[*field].as_str().unwrap_or_default().to_owned(),
                None => fact.id.to_string(),
            };
            let wanted = fact.payload["version"].as_i64().unwrap_or_default();
            let has_version = !["payment", "audit record"].contains(kind);
            match truth.kept.get(&((*kind).to_owned(), id)) {
                None => findings.push(format!("no {kind} of {} {}", fact.subject, fact.id)),
                Some(version) if has_version && *version < wanted => findings.push(format!(
                    "the {kind} of {} {} has version {version}, not {wanted}",
                    fact.subject, fact.id
                )),
                Some(_) => {}
            }
        }
    }
    Checked::new("events-are-handled", format!("{handled} rows of others' events"), findings)
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
