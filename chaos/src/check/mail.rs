//! Mails: each tells something that is true, and nothing true is left untold.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::{Checked, Scene};
use crate::truth::Fact;

/// Kinds of mails by the event that they tell of, and what names it there.
const TOLD_BY: [(&str, &[&str], &[&str]); 7] = [
    ("reservation.created", &["RESERVATION_CREATED"], &["reservationId"]),
    ("reservation.confirmed", &["RESERVATION_CONFIRMED"], &["reservationId"]),
    // There may be several of one order.
    ("reservation.exchanged", &["RESERVATION_EXCHANGED"], &["reservationId", "version"]),
    (
        "reservation.cancelled",
        &["RESERVATION_CANCELLED", "HOLD_EXPIRED", "PAYMENT_FAILED", "SHOWTIME_CANCELLED"],
        &["reservationId"],
    ),
    ("refund.requested", &["REFUND_REQUESTED"], &["refundId"]),
    ("refund.completed", &["REFUND_COMPLETED"], &["refundId"]),
    ("user.verification_requested", &["EMAIL_VERIFICATION"], &["verificationId"]),
];

/// A mail's subject: the values of these fields of its event.
fn named(fact: &Fact, fields: &[&str]) -> String {
    let text = |field: &&str| match &fact.payload[*field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    fields.iter().map(text).collect::<Vec<_>>().join("/")
}

/// The mail that a Message-ID names: its id comes first.
fn mail_of(message_id: &str) -> Option<Uuid> {
    message_id.split(['.', '@']).next()?.parse().ok()
}

/// Every letter that came is of a mail whose fact was committed; copies of it have one Message-ID.
pub fn tells_facts(scene: &Scene<'_>) -> Checked {
    let truth = scene.truth;
    let mails: BTreeMap<Uuid, _> = truth.mails.iter().map(|mail| (mail.id, mail)).collect();
    let mut facts: BTreeSet<(&str, String)> = BTreeSet::new();
    for (subject, kinds, fields) in TOLD_BY {
        for fact in truth.told(subject) {
            facts.extend(kinds.iter().map(|kind| (*kind, named(fact, fields))));
        }
    }
    let mut findings = Vec::new();
    let mut names: BTreeMap<Uuid, BTreeSet<&str>> = BTreeMap::new();
    for letter in &truth.letters {
        let Some(mail) = mail_of(&letter.message_id).and_then(|id| mails.get(&id)) else {
            findings.push(format!("nobody knows the mail {} to {}", letter.message_id, letter.to));
            continue;
        };
        names.entry(mail.id).or_default().insert(&letter.message_id);
        if letter.at < mail.created_at {
            findings.push(format!("{} came at {} before {}", letter.message_id, letter.at, mail.created_at));
        }
        if !facts.contains(&(mail.kind.as_str(), mail.subject.clone())) {
            findings.push(format!("a mail {} about {}, which never was", mail.kind, mail.subject));
        }
    }
    let several = names.iter().filter(|(_, ids)| ids.len() > 1);
    findings.extend(several.map(|(mail, ids)| format!("the mail {mail} came under {ids:?}")));
    let copies = truth.letters.len().saturating_sub(names.len());
    Checked::new(
        "mails-tell-facts",
        format!("{} letters, {copies} of them copies", truth.letters.len()),
        findings,
    )
}

/// Every fact has its mail, and what counts as sent has come.
pub fn facts_are_told(scene: &Scene<'_>) -> Checked {
    let truth = scene.truth;
    let came: BTreeSet<Uuid> =
        truth.letters.iter().filter_map(|letter| mail_of(&letter.message_id)).collect();
    let mails: BTreeMap<(&str, &str), _> =
        truth.mails.iter().map(|mail| ((mail.kind.as_str(), mail.subject.as_str()), mail)).collect();
    let (mut findings, mut told, mut skipped) = (Vec::new(), 0, 0);
    for (subject, kinds, fields) in TOLD_BY {
        for fact in truth.told(subject) {
            let about = named(fact, fields);
            let mail = kinds.iter().find_map(|kind| mails.get(&(*kind, about.as_str())));
            match mail.map(|mail| (mail.status.as_str(), mail)) {
                None => findings.push(format!("no mail tells {subject} of {about}")),
                Some(("SENT", mail)) if !came.contains(&mail.id) => {
                    findings
                        .push(format!("the mail {} ({subject} of {about}) is sent and never came", mail.id));
                }
                Some(("SENT", _)) => told += 1,
                // It was no longer true when its turn came.
                Some(("SKIPPED", _)) => skipped += 1,
                Some((status, _)) => findings.push(format!("the mail of {subject} of {about} is {status}")),
            }
        }
    }
    Checked::new("facts-have-mails", format!("{told} told, {skipped} no longer true at their turn"), findings)
}
