//! Which receipts and credit notes a step of a payment causes, and how money that goes back is split by tax rates. Pure: the rows
//! follow from the payment before and after the step, and are written with it; they get their numbers later (`numbering`).
//!
//! Invariant: the receipts of a payment less its credit notes are what was captured less what was given back, by tax rate too.
//! Invariant: a document is made once for each kind and cause: the payment, or the refund.
//! A payment of nothing, and a capture that is not the accepted one, are no sale and cause none. What goes back of a credit (of the
//! captures of an order that this one replaced) is a credit note of this payment, which corrects the receipt of that capture.

use std::collections::BTreeMap;

use bus::contract::payment::ReceiptKind;
use bus::contract::reservation::RefundStatus;
use bus::contract::tariff::{TaxSum, rounded};
use bus::contract::{FeeLine, Line, Locale, Money, OrderCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::model::{Bill, Origin, Payment, Refund, payment_id};
use crate::shares::spread;

/// A receipt or credit note without a number.
#[derive(Debug, Clone, PartialEq)]
pub struct DueReceipt {
    pub kind: ReceiptKind,
    /// The payment, or the refund.
    pub cause: Uuid,
    pub total: Money,
    pub content: Content,
}

/// What it shows, as its row stores it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    pub order_code: Option<OrderCode>,
    pub locale: Locale,
    pub description: String,
    pub lines: Vec<Line>,
    pub fees: Vec<FeeLine>,
    pub taxes: Vec<TaxSum>,
    /// The payment whose capture a credit note gives back, where it is that of an order before an exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured_by: Option<Uuid>,
}

/// Whether the payment has caused a document. The payment of an exchange whose difference was waived has one once it gives back
/// some of its credit.
pub fn is_due(payment: &Payment) -> bool {
    let is_note = |refund: &Refund| is_given_back(refund) && refund.total.amount > 0;
    !payment.is_free() || payment.refunds.iter().any(is_note)
}

/// What the step from one payment to the next causes. Payments from before receipts were made have no bill and cause none.
pub fn due(before: &Payment, next: &Payment) -> Vec<DueReceipt> {
    let Some(bill) = next.bill.as_ref().filter(|_| next.is_captured() && next.price() > 0) else {
        return Vec::new();
    };
    let paid = Paid::of(bill, next.total);
    let document = |kind, cause, total: Money, taxes| DueReceipt {
        kind,
        cause,
        total,
        content: Content {
            order_code: bill.code,
            locale: bill.locale,
            description: next.description.clone(),
            lines: Vec::new(),
            fees: Vec::new(),
            taxes,
            captured_by: None,
        },
    };
    let mut due = Vec::new();
    if !before.is_captured() && next.total.amount > 0 {
        let mut receipt = document(ReceiptKind::Receipt, next.id, next.total, paid.taxes(next.total.amount));
        (receipt.content.lines, receipt.content.fees) = (paid.lines.to_vec(), paid.fees.to_vec());
        due.push(receipt);
    }
    let mut returned: i64 = before.refunds.iter().filter(|r| is_given_back(r)).map(|r| r.total.amount).sum();
    for refund in &next.refunds {
        let was = before.refund(refund.id).is_some_and(is_given_back);
        let (kind, after) = match (was, is_given_back(refund)) {
            (false, true) => (ReceiptKind::CreditNote, returned + refund.total.amount),
            // The bank sent the money back.
            (true, false) => (ReceiptKind::Receipt, returned - refund.total.amount),
            (true, true) | (false, false) => continue,
        };
        if refund.total.amount > 0 {
            let taxes = paid.between(returned.min(after), returned.max(after));
            let mut note = document(kind, refund.id, refund.total, taxes);
            note.content.captured_by = captured_by(next, refund);
            due.push(note);
        }
        returned = after;
    }
    due
}

/// A refund of the sale, as the ledger books it.
fn is_given_back(refund: &Refund) -> bool {
    refund.origin == Origin::Saga && refund.status == RefundStatus::Completed
}

/// The payment of the credited capture that the refund is of.
fn captured_by(payment: &Payment, refund: &Refund) -> Option<Uuid> {
    let mut captures = payment.credit.iter().flat_map(|credit| &credit.captures);
    let capture = captures.find(|capture| capture.provider_ref == refund.intent)?;
    Some(payment_id(capture.reservation_id))
}

/// What was paid for, by tax rate.
struct Paid<'a> {
    lines: &'a [Line],
    fees: &'a [FeeLine],
    /// By rate: the amount with tax, and the tax.
    rates: BTreeMap<u32, (i64, i64)>,
}

impl<'a> Paid<'a> {
    /// Lines that do not add up to the total are left out. Where they are more, a credit of an exchange paid for the rest, and the
    /// total is a share of each rate; else it is one amount without tax.
    fn of(bill: &'a Bill, total: Money) -> Self {
        let lines = bill.lines.iter().map(|line| (line.tax, line.price));
        let fees = bill.fees.iter().map(|fee| (fee.tax, fee.price));
        let mut rates: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
        for (tax, price) in lines.chain(fees) {
            let (gross, taxes) = rates.entry(tax.rate).or_default();
            *gross += price.amount;
            *taxes += tax.amount;
        }
        let gross: i64 = rates.values().map(|(gross, _)| gross).sum();
        if gross == total.amount {
            return Self { lines: &bill.lines, fees: &bill.fees, rates };
        }
        if gross > total.amount {
            return Self { lines: &[], fees: &[], rates };
        }
        let rates = BTreeMap::from([(0, (total.amount, 0))]);
        Self { lines: &[], fees: &[], rates }
    }

    /// The part of each rate in this amount of the total: by largest remainder, so that the parts add up to the amount.
    fn taxes(&self, amount: i64) -> Vec<TaxSum> {
        let gross: Vec<i64> = self.rates.values().map(|(gross, _)| *gross).collect();
        let parts = spread(amount, &gross);
        let taxed = self.rates.iter().zip(parts);
        taxed
            .map(|((rate, (gross, taxes)), part)| {
                let tax = if *gross == 0 {
                    0
                } else {
                    rounded(i128::from(part) * i128::from(*taxes), i128::from(*gross))
                };
                TaxSum { rate: *rate, net: part - tax, tax }
            })
            .collect()
    }

    /// What is between two amounts of the total. So all credit notes of a payment together are its receipt, however the money
    /// went back.
    fn between(&self, from: i64, to: i64) -> Vec<TaxSum> {
        let both = self.taxes(to).into_iter().zip(self.taxes(from));
        both.map(|(to, from)| TaxSum { rate: to.rate, net: to.net - from.net, tax: to.tax - from.tax })
            .filter(|sum| (sum.net, sum.tax) != (0, 0))
            .collect()
    }
}
