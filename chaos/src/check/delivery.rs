//! Delivery: exactly the committed events were published, consumers have handled them, and poison is parked.

use std::collections::BTreeSet;

use super::{CheckResult, Observations};

/// The rows that domains write for an event: the kind of row, and the field of the event with its id (`None`: the event's id).
const WRITTEN: [(&str, &str, Option<&str>); 16] = [
    ("reservation.created", "attendee", Some("reservationId")),
    ("reservation.created", "payment", Some("reservationId")),
    ("reservation.confirmed", "attendee", Some("reservationId")),
    ("reservation.cancelled", "attendee", Some("reservationId")),
    ("reservation.exchanged", "attendee", Some("reservationId")),
    ("reservation.updated", "attendee", Some("reservationId")),
    ("reservation.readdressed", "attendee", Some("reservationId")),
    ("reservation.readdressed", "audit record", None),
    ("user.merged", "audit record", None),
    ("showtime.scheduled", "showtime of notification", Some("showtimeId")),
    ("showtime.scheduled", "showtime of reservation", Some("showtimeId")),
    ("showtime.updated", "showtime of notification", Some("showtimeId")),
    ("showtime.updated", "showtime of reservation", Some("showtimeId")),
    ("showtime.cancelled", "showtime of notification", Some("showtimeId")),
    ("showtime.cancelled", "showtime of reservation", Some("showtimeId")),
    ("refund.requested", "audit record", None),
];

/// Outboxes and stream have the same events, even when NATS has lost its data in between.
pub fn outbox_is_stream(seen: &Observations<'_>) -> CheckResult {
    let state = seen.state;
    let stream: BTreeSet<&str> = state.stream.iter().map(|message| message.id.as_str()).collect();
    let outbox: BTreeSet<String> = state.events.iter().map(|event| event.id.to_string()).collect();
    let mut findings = Vec::new();
    for event in &state.events {
        let id = event.id.to_string();
        if !stream.contains(id.as_str()) {
            findings.push(format!("{} {id} of {} is not in the stream", event.subject, event.domain));
        } else if !event.published {
            findings.push(format!("{} {id} of {} counts as unpublished", event.subject, event.domain));
        }
    }
    for message in &state.stream {
        // A reminder comes from no outbox.
        let foreign = message.subject == "movie.reminder" || seen.poison.contains(&message.id);
        if !foreign && !outbox.contains(&message.id) {
            findings.push(format!("{} {} was published and never committed", message.subject, message.id));
        }
    }
    let copies = state.stream.len() - stream.len();
    let evidence =
        format!("{} events in outboxes, {} in the stream and {copies} copies", outbox.len(), stream.len());
    CheckResult::new("outbox-is-stream", evidence, findings)
}

/// Each event has its projection, payment or audit record, at its version or a later one; mails have a check of their own.
pub fn events_are_handled(seen: &Observations<'_>) -> CheckResult {
    let state = seen.state;
    let (mut findings, mut handled) = (Vec::new(), 0);
    for event in &state.events {
        for (_, kind, field) in WRITTEN.iter().filter(|(subject, ..)| *subject == event.subject) {
            handled += 1;
            let id = match field {
                Some(field) => event.payload[*field].as_str().unwrap_or_default().to_owned(),
                None => event.id.to_string(),
            };
            let wanted = event.payload["version"].as_i64().unwrap_or_default();
            let has_version = !["payment", "audit record"].contains(kind);
            match state.handled.get(&((*kind).to_owned(), id)) {
                None => findings.push(format!("no {kind} of {} {}", event.subject, event.id)),
                Some(version) if has_version && *version < wanted => findings.push(format!(
                    "the {kind} of {} {} has version {version}, not {wanted}",
                    event.subject, event.id
                )),
                Some(_) => {}
            }
        }
    }
    CheckResult::new("events-are-handled", format!("{handled} rows for events of other domains"), findings)
}

/// Poison ends in the dead dead_letter stream, and nothing else does.
pub fn poison(seen: &Observations<'_>) -> CheckResult {
    let dead: BTreeSet<&str> =
        seen.state.dead_letters.iter().map(|dead_letter| dead_letter.id.as_str()).collect();
    let poison: BTreeSet<&str> = seen.poison.iter().map(String::as_str).collect();
    let mut findings: Vec<String> =
        poison.difference(&dead).map(|id| format!("the poison {id} was not parked")).collect();
    for dead_letter in
        seen.state.dead_letters.iter().filter(|dead_letter| !poison.contains(dead_letter.id.as_str()))
    {
        findings.push(format!("{} {} was parked and is not poison", dead_letter.subject, dead_letter.id));
    }
    CheckResult::new("poison-is-parked", format!("{} poisoned messages", poison.len()), findings)
}
