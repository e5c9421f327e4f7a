//! Every movement of money is booked, once, and adds up.

use bus::contract::reservation::RefundRequested;

use super::*;
use crate::payment::ledger::{Account, Posting};
use crate::payment::provider::{RefundSight, RefundStanding};
use crate::payment::refund;

fn rows(step: &Step) -> Vec<(&str, Account, i64, i64)> {
    let row = |p: &'_ Posting| (p.account, p.total.amount, p.tickets);
    step.postings.iter().map(|p| (p.entry, row(p).0, row(p).1, row(p).2)).collect()
}

fn refunded(payment: &Payment, id: u128, amount: i64) -> Step {
    let id = Uuid::from_u128(id);
    let wanted = RefundRequested {
        by: None,
        refund_id: id,
        reservation_id: RESERVATION,
        payment_id: payment_id(RESERVATION),
        total: euros(amount),
        reason: "USER_REQUEST".into(),
    };
    let asked = refund::requested(payment, &wanted, at(100));
    assert!(asked.postings.is_empty(), "a wish moves no money");
    refund::answered(&asked.payment, id, 1, &Answer::Done(back(amount, RefundStanding::Succeeded)), at(101))
}

fn back(amount: i64, standing: RefundStanding) -> RefundSight {
    RefundSight { reference: "re_1".into(), total: Some(euros(amount)), standing }
}

#[test]
fn a_capture_is_a_sale_and_is_booked_once() {
    let begun = begin(&opened(), token(), 10).payment;
    let step = hear(&begun, Call::Begin(1), sight("pi_1", Standing::Captured), 11);
    assert_eq!(rows(&step), [("capture", Account::Sales, -2400, 2), ("capture", Account::Provider, 2400, 0)]);
    let again = rules::seen(&step.payment, Some(1), &sight("pi_1", Standing::Captured), at(12));
    assert!(again.postings.is_empty());
}

#[test]
fn late_money_is_booked_as_such() {
    let over = rules::end(&page_open(), "hold-expired", at(HOLD)).payment;
    let closed = hear(&over, Call::Close(1), page_sight(Standing::Closed), HOLD + 1).payment;
    let step = rules::seen(&closed, Some(1), &page_sight(Standing::Captured), at(HOLD + 9));
    assert_eq!(rows(&step)[0], ("late capture", Account::Sales, -2400, 2));
}

#[test]
fn a_second_capture_is_no_sale_and_its_return_is_no_refund() {
    let double = rules::seen(&paid(), Some(1), &sight("pi_other", Standing::Captured), at(60));
    assert_eq!(
        rows(&double),
        [("unwanted capture", Account::Unwanted, -2400, 0), ("unwanted capture", Account::Provider, 2400, 0)]
    );
    let own = double.payment.refunds[0].id;
    let done = Answer::Done(back(2400, RefundStanding::Succeeded));
    let step = refund::answered(&double.payment, own, 1, &done, at(61));
    assert_eq!(
        rows(&step),
        [("refund", Account::Provider, -2400, 0), ("refund", Account::Unwanted, 2400, 0)]
    );
}

#[test]
fn money_that_goes_back_takes_no_tickets_with_it() {
    let part = refunded(&paid(), 91, 1000);
    assert_eq!(rows(&part), [("refund", Account::Provider, -1000, 0), ("refund", Account::Refunds, 1000, 0)]);
    let rest = refunded(&part.payment, 92, 1400);
    assert_eq!(rows(&rest)[1], ("refund", Account::Refunds, 1400, 0));
    let failed = RefundStanding::Failed { code: "lost_or_stolen_card".into() };
    let returned = refund::seen(&rest.payment, Uuid::from_u128(92), 1, &back(1400, failed), at(900));
    assert_eq!(
        rows(&returned),
        [("refund returned", Account::Refunds, -1400, 0), ("refund returned", Account::Provider, 1400, 0)]
    );
}

#[test]
fn a_refund_of_another_amount_is_not_taken_for_ours() {
    let wanted = refunded(&paid(), 91, 1000).payment;
    let id = Uuid::from_u128(93);
    let request = RefundRequested {
        by: None,
        refund_id: id,
        reservation_id: RESERVATION,
        payment_id: payment_id(RESERVATION),
        total: euros(500),
        reason: "USER_REQUEST".into(),
    };
    let asked = refund::requested(&wanted, &request, at(200)).payment;
    let step = refund::answered(&asked, id, 1, &Answer::Done(back(501, RefundStanding::Succeeded)), at(201));
    assert_eq!((step.alarm, &step.postings[..], &step.said[..]), (true, &[][..], &[][..]));
}
