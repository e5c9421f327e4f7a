//! Guests: a merged order has exactly its account as owner, tokens of before open it no more, and corrected addresses count.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{CheckResult, Observations};
use crate::client::Outcome;
use crate::record::{By, Merge};

/// An order that an event gave from a guest to an account.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    pub guest: Uuid,
    pub account: Uuid,
}

/// The orders that the committed events gave to accounts, and those that were given twice.
pub fn moved(seen: &Observations<'_>) -> (BTreeMap<Uuid, Moved>, Vec<Uuid>) {
    let (mut moved, mut twice) = (BTreeMap::new(), Vec::new());
    for event in seen.state.events_of("user.merged") {
        let id = |value: &serde_json::Value| value.as_str().and_then(|id| id.parse::<Uuid>().ok());
        let (guest, account) = (id(&event.payload["guestId"]), id(&event.payload["userId"]));
        let (Some(guest), Some(account)) = (guest, account) else { continue };
        for order in event.payload["reservationIds"].as_array().into_iter().flatten().filter_map(id) {
            if moved.insert(order, Moved { guest, account }).is_some() {
                twice.push(order);
            }
        }
    }
    (moved, twice)
}

/// Each merged order belongs to exactly its account, and no other order has changed its owner.
pub fn merged_once(seen: &Observations<'_>) -> CheckResult {
    let (moved, twice) = moved(seen);
    let mut findings: Vec<String> =
        twice.into_iter().map(|order| format!("{order} was merged twice")).collect();
    for event in seen.state.events_of("reservation.created") {
        let id = |field: &str| event.payload[field].as_str().and_then(|id| id.parse::<Uuid>().ok());
        let (Some(order), Some(maker)) = (id("reservationId"), id("userId")) else { continue };
        let Some(found) = seen.state.reservations.get(&order) else { continue };
        let owner = match moved.get(&order) {
            Some(Moved { guest, .. }) if *guest != maker => {
                findings.push(format!("{order} of {maker} was merged as one of {guest}"));
                continue;
            }
            Some(Moved { account, .. }) => *account,
            None => maker,
        };
        if found.user != owner {
            findings.push(format!("{order} belongs to {} instead of {owner}", found.user));
        }
    }
    for merge in &seen.record.merges {
        findings.extend(wrong_owner(seen, merge));
    }
    let evidence = format!("{} orders merged by {} requests", moved.len(), seen.record.merges.len());
    CheckResult::new("merged-once", evidence, findings)
}

/// What is wrong with the owner of an order after a request to merge it.
fn wrong_owner(seen: &Observations<'_>, merge: &Merge) -> Option<String> {
    let Merge { order, guest, account, by, outcome } = merge;
    let found = seen.state.reservations.get(order)?;
    let is_right = match (by, outcome) {
        // The account has the id of the guest.
        (By::Registration, Outcome::Done(_)) => account.id == guest.id && found.user == guest.id,
        (By::Registration, _) | (_, Outcome::Refused(..)) => found.user == guest.id,
        (_, Outcome::Done(_)) => found.user == account.id,
        (_, Outcome::Unknown) => found.user == guest.id || found.user == account.id,
    };
    let wrong =
        || format!("{order} belongs to {} after {by:?} of {} to {}", found.user, guest.id, account.id);
    // A customer may be refused and succeed later.
    let others = seen.record.merges.iter().filter(|other| other.order == *order).count();
    (!is_right && others == 1).then(wrong)
}

/// The account's token opens a merged order, and the guest's opens it no more.
pub fn tokens_of_merged(seen: &Observations<'_>) -> CheckResult {
    let mut findings = Vec::new();
    for tried in seen.guests {
        let whose = if tried.by_account { "account" } else { "guest" };
        match (tried.by_account, tried.status) {
            (true, Some(200)) | (false, Some(401 | 404)) => {}
            (_, status) => {
                findings.push(format!("the token of the {whose} opened {}: {status:?}", tried.order))
            }
        }
    }
    CheckResult::new("merged-order-opens", format!("{} requests", seen.guests.len()), findings)
}

/// An address that was corrected is that of the order, unless the order was merged.
pub fn corrected(seen: &Observations<'_>) -> CheckResult {
    let (moved, _) = moved(seen);
    let (mut findings, mut done) = (Vec::new(), 0);
    for correction in &seen.record.corrections {
        let Some(found) = seen.state.reservations.get(&correction.order) else { continue };
        let is_so = found.email == correction.email;
        match &correction.outcome {
            Outcome::Done(_) => {
                done += 1;
                if !is_so && !moved.contains_key(&correction.order) {
                    findings.push(format!("{} has the address {}", correction.order, found.email));
                }
            }
            Outcome::Refused(status, _) if is_so => {
                findings.push(format!("{} was refused with {status} and corrected", correction.order));
            }
            Outcome::Refused(..) | Outcome::Unknown => {}
        }
    }
    CheckResult::new("address-is-corrected", format!("{done} addresses corrected"), findings)
}
