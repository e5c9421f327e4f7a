//! Money, by the provider's books: kept only for a ticket, of its price, given back once, and booked as it moved.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Checked, Scene};

/// The price of a seat in every hall of a run.
const PRICE: i64 = crate::owner::PRICE;

/// What was promised back of a reservation that lives on: by staff, or as the difference of exchanges.
fn parts(scene: &Scene<'_>, reservation: Uuid, differences: bool) -> i64 {
    let parts = scene.truth.refunds.iter().filter(|refund| {
        refund.reservation == reservation
            && refund.status != "FAILED"
            && refund.is_difference() == differences
    });
    parts.map(|refund| refund.amount).sum()
}

/// Every captured payment ends in a confirmed reservation, or all of it is back.
pub fn settled(scene: &Scene<'_>) -> Checked {
    let paid: BTreeSet<Uuid> = scene.truth.captures.iter().map(|capture| capture.reservation).collect();
    let (mut findings, mut kept, mut returned) = (Vec::new(), 0, 0);
    for id in &paid {
        let held = scene.truth.held(*id);
        let Some(reservation) = scene.truth.reservations.get(id) else {
            findings.push(format!("{held} are held for {id}, which is not there"));
            continue;
        };
        let wanted = match reservation.status.as_str() {
            "CONFIRMED" => {
                kept += 1;
                reservation.total - parts(scene, *id, false)
            }
            _ => {
                returned += 1;
                0
            }
        };
        if held != wanted {
            findings.push(format!(
                "{held} of {} are held for {id}, which is {} with {:?}",
                reservation.total,
                reservation.status,
                reservation.steps.last().map(|step| &step.state)
            ));
        }
    }
    let evidence = format!(
        "{} captures: {kept} reservations confirmed, {returned} given back",
        scene.truth.captures.len()
    );
    Checked::new("captured-is-settled", evidence, findings)
}

/// No ticket without exactly one capture of the frozen price that is not given back whole.
pub fn tickets_are_paid(scene: &Scene<'_>) -> Checked {
    let (mut findings, mut tickets) = (Vec::new(), 0);
    for reservation in scene.truth.reservations.values() {
        if reservation.total != PRICE * reservation.seats.len() as i64 {
            findings.push(format!("{} costs {}", reservation.id, reservation.total));
        }
        if reservation.status != "CONFIRMED" {
            continue;
        }
        tickets += reservation.seats.len();
        let left: Vec<i64> = scene
            .truth
            .captures
            .iter()
            .filter(|capture| capture.reservation == reservation.id)
            .filter(|capture| {
                let back = scene.truth.given_back.iter().filter(|back| back.intent == capture.intent);
                back.map(|back| back.amount).sum::<i64>() < capture.amount
            })
            .map(|capture| capture.amount)
            .collect();
        // The difference of an exchange was captured and is part of the price no longer.
        if left != [reservation.total + parts(scene, reservation.id, true)] {
            findings.push(format!("{} of {} has captures {left:?}", reservation.id, reservation.total));
        }
    }
    Checked::new("ticket-is-paid-once", format!("{tickets} tickets"), findings)
}

/// Never more back than was taken, and each refund once.
pub fn refunds_once(scene: &Scene<'_>) -> Checked {
    let mut findings = Vec::new();
    let mut of_intent: BTreeMap<&str, i64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for back in &scene.truth.given_back {
        *of_intent.entry(&back.intent).or_default() += back.amount;
        if !seen.insert(&back.refund) {
            findings.push(format!("refund {} was made twice, of {}", back.refund, back.intent));
        }
    }
    for (intent, back) in of_intent {
        let taken: i64 =
            scene.truth.captures.iter().filter(|capture| capture.intent == intent).map(|c| c.amount).sum();
        if back > taken {
            findings.push(format!("{back} were given back of {intent}, which took {taken}"));
        }
    }
    Checked::new("refunds-once", format!("{} refunds", scene.truth.given_back.len()), findings)
}

/// The ledger sums to zero and says what the provider's books say.
pub fn ledger(scene: &Scene<'_>) -> Checked {
    let truth = scene.truth;
    let taken: i64 = truth.captures.iter().map(|capture| capture.amount).sum();
    let back: i64 = truth.given_back.iter().map(|back| back.amount).sum();
    let mut findings = Vec::new();
    if truth.unbalanced > 0 {
        findings.push(format!("{} movements do not sum to zero", truth.unbalanced));
    }
    if truth.ledger != taken - back {
        findings.push(format!(
            "the ledger says that the provider holds {}; it holds {}",
            truth.ledger,
            taken - back
        ));
    }
    let evidence = format!("{} postings; the provider holds {}", truth.postings, taken - back);
    Checked::new("ledger-is-the-books", evidence, findings)
}
