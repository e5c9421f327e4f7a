//! Which receipts and credit notes the steps of a payment cause, and their taxes.

use bus::contract::payment::ReceiptKind::{self, CreditNote, Receipt};
use bus::contract::reservation::{Credit, CreditedCapture, RefundStatus};
use bus::contract::tariff::{Tax, TaxSum};
use bus::contract::{FeeLine, Line, SeatId};

use super::*;
use crate::payment::model::{Origin, Refund};
use crate::payment::receipt::{DueReceipt, due, is_due};

fn line(seat: &str, price: i64, rate: u32, tax: i64) -> Line {
    Line { tax: Tax { rate, amount: tax }, ..Line::plain(SeatId::parse(seat).unwrap(), euros(price)) }
}

/// Two tickets at 7 % and a fee at 19 %: 24.00 € and 0.50 €.
fn bill() -> Bill {
    let fee = FeeLine {
        code: Default::default(),
        name: "Booking fee".into(),
        seat: None,
        price: euros(50),
        tax: Tax { rate: 19_000, amount: 8 },
        refundable: false,
    };
    let lines = vec![line("A1", 1200, 7_000, 79), line("A2", 1200, 7_000, 79)];
    Bill { lines, fees: vec![fee], ..Bill::default() }
}

fn opened(bill: Bill, total: i64) -> Payment {
    opened_from(Facts { bill, total: euros(total), ..facts() })
}

fn captured(payment: &Payment) -> Payment {
    let stage = Stage::Captured { provider_ref: "pi_1".into(), paid_at: at(1) };
    Payment { stage, ..payment.clone() }
}

fn refund(number: u128, amount: i64, status: RefundStatus) -> Refund {
    Refund {
        id: Uuid::from_u128(number),
        origin: Origin::Saga,
        intent: "pi_1".into(),
        total: euros(amount),
        status,
        provider_ref: None,
        tries: 1,
        code: None,
        reason: String::new(),
        concern: None,
        created_at: at(2),
        tried_at: at(2),
    }
}

fn with(payment: &Payment, refunds: &[Refund]) -> Payment {
    Payment { refunds: refunds.to_vec(), ..payment.clone() }
}

fn shown(due: &[DueReceipt]) -> Vec<(ReceiptKind, i64, Vec<(u32, i64, i64)>)> {
    let taxes = |due: &DueReceipt| due.content.taxes.iter().map(|sum| (sum.rate, sum.net, sum.tax)).collect();
    due.iter().map(|due| (due.kind, due.total.amount, taxes(due))).collect()
}

#[test]
fn a_capture_has_a_receipt_with_its_lines_and_a_refund_a_credit_note_over_its_amount() {
    let before = opened(bill(), 2450);
    let paid = captured(&before);
    let receipt = due(&before, &paid);
    assert_eq!(shown(&receipt), [(Receipt, 2450, vec![(7_000, 2242, 158), (19_000, 42, 8)])]);
    assert_eq!(
        (receipt[0].cause, receipt[0].content.lines.len(), receipt[0].content.fees.len()),
        (paid.id, 2, 1)
    );
    assert!(due(&paid, &paid).is_empty(), "once");

    let asked = with(&paid, &[refund(1, 1000, RefundStatus::Requested)]);
    assert!(due(&paid, &asked).is_empty(), "money that has not moved has no credit note");
    let done = with(&paid, &[refund(1, 1000, RefundStatus::Completed)]);
    let note = due(&asked, &done);
    assert_eq!(shown(&note), [(CreditNote, 1000, vec![(7_000, 915, 65), (19_000, 17, 3)])]);
    assert_eq!((note[0].cause, note[0].content.lines.len()), (Uuid::from_u128(1), 0));
    // The customer's bank sends it back: the credit note is taken back.
    let back = with(&paid, &[refund(1, 1000, RefundStatus::Failed)]);
    assert_eq!(shown(&due(&done, &back)), [(Receipt, 1000, vec![(7_000, 915, 65), (19_000, 17, 3)])]);
    assert!(due(&asked, &back).is_empty(), "it never was given back");
}

#[test]
fn what_is_no_sale_has_no_receipt() {
    let free = opened(Bill::default(), 0);
    assert!(due(&free, &captured(&free)).is_empty());
    let old = Payment { bill: None, ..opened(bill(), 2450) };
    assert!(due(&old, &captured(&old)).is_empty());
    let paid = captured(&opened(bill(), 2450));
    let own = Refund { origin: Origin::Own, ..refund(1, 2450, RefundStatus::Completed) };
    assert!(due(&paid, &with(&paid, &[own])).is_empty());
    // Lines that do not add up to the total are not shown, and no tax is made up.
    let odd = opened(bill(), 3000);
    let receipt = due(&odd, &captured(&odd));
    assert_eq!(shown(&receipt), [(Receipt, 3000, vec![(0, 3000, 0)])]);
    assert!(receipt[0].content.lines.is_empty());
}

/// Of an order for 15.00 €, of which 12.00 € are the capture of the order before.
#[test]
fn a_credit_note_of_a_credit_names_the_payment_that_captured_it() {
    let old = Uuid::from_u128(9);
    let capture = CreditedCapture { reservation_id: old, provider_ref: "pi_0".into(), total: euros(1200) };
    let credit = |waived| {
        let captures = vec![capture.clone()];
        Some(Credit { total: euros(1200), waived: euros(waived), captures })
    };
    let bill = Bill { lines: vec![line("A1", 1500, 7_000, 98)], ..Bill::default() };
    let paid = captured(&Payment { credit: credit(0), ..opened(bill, 300) });
    let earlier = |status| Refund { intent: "pi_0".into(), ..refund(2, 1200, status) };
    let both = [refund(1, 300, RefundStatus::Completed), earlier(RefundStatus::Completed)];
    let notes = due(&paid, &with(&paid, &both));
    let named: Vec<_> = notes.iter().map(|note| (note.total.amount, note.content.captured_by)).collect();
    assert_eq!(named, [(300, None), (1200, Some(payment_id(old)))]);

    // Where nothing was charged, what goes back of the credit is the first document.
    let waived = Payment { total: euros(0), credit: credit(30), ..paid };
    assert!(!is_due(&waived) && !is_due(&with(&waived, &[earlier(RefundStatus::Requested)])));
    let back = with(&waived, &[earlier(RefundStatus::Completed)]);
    assert!(is_due(&back));
    assert_eq!(due(&waived, &back)[0].content.captured_by, Some(payment_id(old)));
}

#[test]
fn all_credit_notes_together_are_the_receipt_however_the_money_goes_back() {
    let mut random = 7_u64;
    let mut next = move |below: i64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(random >> 33).unwrap() % below
    };
    for _ in 0..500 {
        let rates = [7_000, 19_000, 0];
        let lines: Vec<Line> = (0..=next(4))
            .map(|seat| {
                let (price, rate) = (1 + next(2000), rates[next(3) as usize]);
                let tax = price * i64::from(rate) / (100_000 + i64::from(rate));
                line(&format!("A{}", seat + 1), price, rate, tax)
            })
            .collect();
        let total = lines.iter().map(|line| line.price.amount).sum();
        let before = opened(Bill { lines, ..Bill::default() }, total);
        let mut payment = captured(&before);
        let receipt = due(&before, &payment).remove(0).content.taxes;
        let mut left: Vec<TaxSum> = receipt;
        let mut rest = total;
        for number in 1.. {
            let amount = if number == 6 { rest } else { 1 + next(rest) };
            let refunds = [&payment.refunds[..], &[refund(number, amount, RefundStatus::Completed)]].concat();
            let after = with(&payment, &refunds);
            let note = due(&payment, &after).remove(0);
            assert_eq!(
                note.total.amount,
                note.content.taxes.iter().map(|sum| sum.net + sum.tax).sum::<i64>()
            );
            for sum in &note.content.taxes {
                let of_rate = left.iter_mut().find(|left| left.rate == sum.rate).unwrap();
                (of_rate.net, of_rate.tax) = (of_rate.net - sum.net, of_rate.tax - sum.tax);
            }
            (payment, rest) = (after, rest - amount);
            if rest == 0 {
                break;
            }
        }
        assert!(left.iter().all(|sum| (sum.net, sum.tax) == (0, 0)), "{left:?}");
    }
}
