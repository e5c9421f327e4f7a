//! Sagas: every history is gapless, goes only ways that there are, and was told as it went.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::seat::owns;
use super::{Checked, Scene};

/// The ways from state to state, as `docs/architecture.md` tells them.
const WAYS: [(&str, &[&str]); 9] = [
    ("", &["awaiting-payment"]),
    ("awaiting-payment", &["awaiting-payment", "paying", "confirmed", "cancelled"]),
    ("paying", &["paying", "ending", "confirmed", "cancelled"]),
    ("ending", &["ending", "confirmed", "cancelled"]),
    ("confirmed", &["confirmed", "refunding", "cancelled"]),
    ("cancelled", &["confirmed", "refunding"]),
    ("refunding", &["refunding", "refunded", "needs-attention"]),
    ("refunded", &["needs-attention"]),
    ("needs-attention", &["refunding", "refunded"]),
];

pub fn legal(scene: &Scene<'_>) -> Checked {
    let (mut findings, mut steps) = (Vec::new(), 0);
    for reservation in scene.truth.reservations.values() {
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
            let ways = WAYS.iter().find(|(from, _)| *from == state).map_or(&[][..], |(_, to)| to);
            if !ways.contains(&step.state.as_str()) {
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
    let evidence = format!("{steps} steps of {} sagas", scene.truth.reservations.len());
    Checked::new("history-is-legal", evidence, findings)
}

/// One event for each creation, confirmation and cancellation, no more and no less.
pub fn told(scene: &Scene<'_>) -> Checked {
    let mut told: BTreeMap<(&str, Uuid), i64> = BTreeMap::new();
    let mut count = 0;
    for subject in ["reservation.created", "reservation.confirmed", "reservation.cancelled"] {
        for fact in scene.truth.told(subject) {
            count += 1;
            if let Some(id) = fact.payload["reservationId"].as_str().and_then(|id| id.parse().ok()) {
                *told.entry((subject, id)).or_default() += 1;
            }
        }
    }
    for reservation in scene.truth.reservations.values() {
        let mut state = "";
        for step in &reservation.steps {
            let subject = match (state, step.state.as_str()) {
                ("", _) => Some("reservation.created"),
                (before, "confirmed") if before != "confirmed" => Some("reservation.confirmed"),
                (before, after) if owns(before) && !owns(after) => Some("reservation.cancelled"),
                _ => None,
            };
            if let Some(subject) = subject {
                *told.entry((subject, reservation.id)).or_default() -= 1;
            }
            state = &step.state;
        }
    }
    let wrong = told.into_iter().filter(|(_, balance)| *balance != 0);
    let findings =
        wrong.map(|((subject, id), balance)| format!("{subject} of {id}: {balance:+} beside its history"));
    Checked::new("history-is-told", format!("{count} events"), findings.collect())
}
