//! The credit of a dearer exchange in the books: out of the replaced order's payment, into that of the order in its place.
//!
//! Invariant: a captured payment has booked the credit that it has, and no other: an order that is cancelled before it is
//! confirmed loses its credit, and the booking is reversed. Each is booked once: by the payment's own fields.

use bus::contract::Money;
use bus::contract::reservation::{CreditedCapture, ReservationCancelled};

use super::ledger::{Account, Movement};
use super::model::Payment;
use super::step::Step;

/// With the accepted capture.
pub fn take(step: Step) -> Step {
    let Some(credit) = step.next.credit.clone() else { return step };
    let step = move_money(step, "credit", Account::Sales, Account::Credit, credit.total);
    move_money(step, "waiver", Account::Sales, Account::Waived, credit.waived)
}

/// The order was cancelled: its credit stays with the order that it was to replace, or has paid for the order in its place.
pub fn cancelled(step: Step, event: &ReservationCancelled) -> Step {
    let step = if event.reservation.credit.is_none() { lose(step) } else { step };
    if event.credited.is_empty() || !step.next.credited.is_empty() {
        return step;
    }
    let mut step = step;
    step.next.credited.clone_from(&event.credited);
    let total = Money { amount: step.next.credited_sum(), ..step.next.total };
    let step = step.log("credited", total.amount.to_string());
    move_money(step, "credited", Account::Credit, Account::Sales, total)
}

fn lose(mut step: Step) -> Step {
    let Some(credit) = step.next.credit.take() else { return step };
    if !step.next.is_captured() {
        return step;
    }
    let step = move_money(step, "credit returned", Account::Credit, Account::Sales, credit.total);
    move_money(step, "waiver returned", Account::Waived, Account::Sales, credit.waived)
}

fn move_money(step: Step, entry: &'static str, from: Account, to: Account, total: Money) -> Step {
    let transaction = format!("{entry}:{}", step.next.id);
    step.post(Movement { transaction, entry, from, to, total, tickets: 0 })
}

impl Payment {
    /// The price of its order: what it charges, the credit, and what was waived.
    pub fn price(&self) -> i64 {
        let credit = self.credit.as_ref().map_or(0, |credit| credit.total.amount + credit.waived.amount);
        self.total.amount + credit
    }

    pub fn credited_sum(&self) -> i64 {
        self.credited.iter().map(|capture| capture.total.amount).sum()
    }

    /// What a capture, its own or a credited one, still has for refunds.
    pub fn left_of(&self, intent: &str, own: &str) -> i64 {
        let of = |captures: &[CreditedCapture]| -> i64 {
            let of = captures.iter().filter(|capture| capture.provider_ref == intent);
            of.map(|capture| capture.total.amount).sum()
        };
        let credit = self.credit.as_ref().map_or(0, |credit| of(&credit.captures));
        let captured = if intent == own { self.total.amount } else { credit };
        captured - self.promised(intent) - of(&self.credited)
    }
}
