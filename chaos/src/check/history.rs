//! Sagas: every history is without gaps, has only allowed transitions, and was published as events.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::seat::owns;
use super::{CheckResult, Observations};

/// The allowed transitions between states.
const TRANSITIONS: [(&str, &[&str]); 10] = [
    ("", &["awaiting-payment"]),
    ("awaiting-payment", &["awaiting-payment", "paying", "replacing", "confirmed", "cancelled"]),
    ("paying", &["paying", "ending", "replacing", "confirmed", "cancelled"]),
    ("ending", &["ending", "replacing", "confirmed", "cancelled"]),
    ("replacing", &["confirmed", "refunding"]),
    ("confirmed", &["confirmed", "refunding", "cancelled"]),
    ("cancelled", &["confirmed", "refunding"]),
    ("refunding", &["refunding", "refunded", "needs-attention"]),
    // The refund of tickets that were given back before may settle after that of the rest.
    ("refunded", &["refunded", "needs-attention"]),
    ("needs-attention", &["refunding", "refunded"]),
];

pub fn legal(seen: &Observations<'_>) -> CheckResult {
    let (mut findings, mut steps) = (Vec::new(), 0);
    for reservation in seen.state.reservations.values() {
        let mut state = "";
        for (at, step) in reservation.steps.iter().enumerate() {
            steps += 1;
            if step.version != at as i64 + 1 {
                findings.push(format!(
                    "{} has step {} where {} should be",
                    reservation.id,
                    step.version,
                    at + 1
                ));
            }
            let allowed = TRANSITIONS.iter().find(|(from, _)| *from == state).map_or(&[][..], |(_, to)| to);
            // These change the owner or the address in any state.
            let stays = ["merge", "readdress"].contains(&step.input.as_str()) && step.state == state;
            if !stays && !allowed.contains(&step.state.as_str()) {
                findings.push(format!(
                    "{} went from {state:?} to {} by {}",
                    reservation.id, step.state, step.input
                ));
            }
            state = &step.state;
        }
        if reservation.steps.is_empty() {
            findings.push(format!("{} has no history", reservation.id));
        }
    }
    let evidence = format!("{steps} steps of {} sagas", seen.state.reservations.len());
    CheckResult::new("history-is-legal", evidence, findings)
}

/// Exactly one event was committed for each creation, confirmation and cancellation.
pub fn published(seen: &Observations<'_>) -> CheckResult {
    let mut balances: BTreeMap<(&str, Uuid), i64> = BTreeMap::new();
    let mut count = 0;
    for subject in ["reservation.created", "reservation.confirmed", "reservation.cancelled"] {
        for event in seen.state.events_of(subject) {
            count += 1;
            if let Some(id) = event.payload["reservationId"].as_str().and_then(|id| id.parse().ok()) {
                *balances.entry((subject, id)).or_default() += 1;
            }
        }
    }
    for reservation in seen.state.reservations.values() {
        let mut state = "";
        for step in &reservation.steps {
            let subject = match (state, step.state.as_str()) {
                ("", _) => Some("reservation.created"),
                (before, "confirmed") if before != "confirmed" => Some("reservation.confirmed"),
                (before, after) if owns(before) && !owns(after) => Some("reservation.cancelled"),
                _ => None,
            };
            if let Some(subject) = subject {
                *balances.entry((subject, reservation.id)).or_default() -= 1;
            }
            state = &step.state;
        }
    }
    let wrong = balances.into_iter().filter(|(_, balance)| *balance != 0);
    let findings = wrong
        .map(|((subject, id), balance)| format!("{subject} of {id}: {balance:+} compared with its history"));
    CheckResult::new("history-is-published", format!("{count} events"), findings.collect())
}
