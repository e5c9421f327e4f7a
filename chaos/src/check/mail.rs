//! Mails: each received mail belongs to a committed event, and each event has its mail.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::{CheckResult, Observations};
use crate::end_state::OutboxEvent;

/// The kinds of mails for each event, and the fields of the event that are the subject of the mail record.
const KINDS: [(&str, &[&str], &[&str]); 9] = [
    ("reservation.created", &["RESERVATION_CREATED"], &["reservationId"]),
    ("reservation.confirmed", &["RESERVATION_CONFIRMED"], &["reservationId"]),
    // An order may change several times.
    ("reservation.exchanged", &["RESERVATION_EXCHANGED"], &["reservationId", "version"]),
    ("reservation.updated", &["RESERVATION_UPDATED"], &["reservationId", "version"]),
    // The tickets once more, to the other address.
    ("reservation.readdressed", &["RESERVATION_CONFIRMED"], &["reservationId", "version"]),
    (
        "reservation.cancelled",
        &["RESERVATION_CANCELLED", "HOLD_EXPIRED", "PAYMENT_FAILED", "SHOWTIME_CANCELLED"],
        &["reservationId"],
    ),
    ("refund.requested", &["REFUND_REQUESTED"], &["refundId"]),
    ("refund.completed", &["REFUND_COMPLETED"], &["refundId"]),
    ("user.verification_requested", &["EMAIL_VERIFICATION"], &["verificationId"]),
];

/// The subject of a mail record: the values of these fields of its event.
fn subject_of(event: &OutboxEvent, fields: &[&str]) -> String {
    let text = |field: &&str| match &event.payload[*field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    fields.iter().map(text).collect::<Vec<_>>().join("/")
}

/// The id of the mail record, with which its Message-ID begins.
fn mail_of(message_id: &str) -> Option<Uuid> {
    message_id.split(['.', '@']).next()?.parse().ok()
}

/// Every received mail belongs to a mail record whose event was committed; copies have the same Message-ID.
pub fn match_events(seen: &Observations<'_>) -> CheckResult {
    let state = seen.state;
    let mails: BTreeMap<Uuid, _> = state.mails.iter().map(|mail| (mail.id, mail)).collect();
    let mut events: BTreeSet<(&str, String)> = BTreeSet::new();
    for (subject, kinds, fields) in KINDS {
        for event in state.events_of(subject) {
            events.extend(kinds.iter().map(|kind| (*kind, subject_of(event, fields))));
        }
    }
    let mut findings = Vec::new();
    let mut names: BTreeMap<Uuid, BTreeSet<&str>> = BTreeMap::new();
    for received in &state.received_mails {
        let Some(mail) = mail_of(&received.message_id).and_then(|id| mails.get(&id)) else {
            findings.push(format!("there is no mail record for {} to {}", received.message_id, received.to));
            continue;
        };
        names.entry(mail.id).or_default().insert(&received.message_id);
        if received.at < mail.created_at {
            findings.push(format!(
                "{} was received at {} before its record of {}",
                received.message_id, received.at, mail.created_at
            ));
        }
        if !events.contains(&(mail.kind.as_str(), mail.subject.clone())) {
            findings.push(format!("a mail {} about {} without a committed event", mail.kind, mail.subject));
        }
    }
    let several = names.iter().filter(|(_, ids)| ids.len() > 1);
    findings.extend(several.map(|(mail, ids)| format!("the mail {mail} was received under {ids:?}")));
    let copies = state.received_mails.len().saturating_sub(names.len());
    CheckResult::new(
        "mails-match-events",
        format!("{} mails, {copies} of them copies", state.received_mails.len()),
        findings,
    )
}

/// Every event has its mail record, and every mail that counts as sent was received.
pub fn events_have_mails(seen: &Observations<'_>) -> CheckResult {
    let state = seen.state;
    let received: BTreeSet<Uuid> =
        state.received_mails.iter().filter_map(|received| mail_of(&received.message_id)).collect();
    let mails: BTreeMap<(&str, &str), _> =
        state.mails.iter().map(|mail| ((mail.kind.as_str(), mail.subject.as_str()), mail)).collect();
    let (mut findings, mut sent, mut skipped) = (Vec::new(), 0, 0);
    for (subject, kinds, fields) in KINDS {
        // A guest who holds seats has given no address yet; only sold seats have tickets to send again.
        let is_mailed = |event: &&OutboxEvent| {
            let payload = &event.payload;
            payload["email"] != ""
                && (subject != "reservation.readdressed" || payload["status"] == "CONFIRMED")
        };
        for event in state.events_of(subject).filter(is_mailed) {
            let about = subject_of(event, fields);
            let mail = kinds.iter().find_map(|kind| mails.get(&(*kind, about.as_str())));
            match mail.map(|mail| (mail.status.as_str(), mail)) {
                None => findings.push(format!("there is no mail for {subject} of {about}")),
                Some(("SENT", mail)) if !received.contains(&mail.id) => {
                    findings.push(format!(
                        "the mail {} ({subject} of {about}) counts as sent and was not received",
                        mail.id
                    ));
                }
                Some(("SENT", _)) => sent += 1,
                // It was outdated when it would have been sent.
                Some(("SKIPPED", _)) => skipped += 1,
                Some((status, _)) => findings.push(format!("the mail of {subject} of {about} is {status}")),
            }
        }
    }
    CheckResult::new("events-have-mails", format!("{sent} sent, {skipped} outdated"), findings)
}
