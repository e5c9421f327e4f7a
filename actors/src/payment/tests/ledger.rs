//! Every movement of money is booked, once, and adds up.

use super::*;
use crate::payment::ledger::Account;
use crate::payment::provider::RefundState;

fn rows(step: &Step) -> Vec<(&str, Account, i64, i64)> {
    let row = |p: &'_ Posting| (p.account, p.total.amount, p.tickets);
    step.postings.iter().map(|p| (p.entry, row(p).0, row(p).1, row(p).2)).collect()
}

fn refunded(payment: &Payment, id: u128, amount: i64) -> Step {
    let id = Uuid::from_u128(id);
    let wanted = RefundRequested {
        by: None,
        version: 4,
        refund_id: id,
        reservation_id: RESERVATION,
        payment_id: payment_id(RESERVATION),
        total: euros(amount),
        provider_ref: None,
        reason: "USER_REQUEST".into(),
    };
    let requested = request_refund(payment, &wanted, at(100));
    assert!(requested.postings.is_empty(), "a request moves no money");
    refund_replied(&requested.next, id, 1, &Answer::Done(back(amount, RefundState::Succeeded)), at(101))
}

fn back(amount: i64, state: RefundState) -> RefundView {
    RefundView { reference: "re_1".into(), total: Some(euros(amount)), state }
}

#[test]
fn a_capture_is_a_sale_and_is_booked_once() {
    let begun = begin(&opened(), token(), 10).next;
    let step = reply(&begun, Call::Begin(1), view("pi_1", ProviderState::Captured), 11);
    assert_eq!(rows(&step), [("capture", Account::Sales, -2400, 2), ("capture", Account::Provider, 2400, 0)]);
    let again = shown(&step.next, Some(1), &view("pi_1", ProviderState::Captured), at(12));
    assert!(again.postings.is_empty());
}

#[test]
fn late_money_is_booked_as_such() {
    let over = end(&page_open(), "hold-expired", at(HOLD)).next;
    let closed = reply(&over, Call::Close(1), page_view(ProviderState::Closed), HOLD + 1).next;
    let step = shown(&closed, Some(1), &page_view(ProviderState::Captured), at(HOLD + 9));
    assert_eq!(rows(&step)[0], ("late capture", Account::Sales, -2400, 2));
}

#[test]
fn a_second_capture_is_no_sale_and_its_return_is_no_refund() {
    let double = shown(&paid(), Some(1), &view("pi_other", ProviderState::Captured), at(60));
    assert_eq!(
        rows(&double),
        [("unwanted capture", Account::Unwanted, -2400, 0), ("unwanted capture", Account::Provider, 2400, 0)]
    );
    let own = double.next.refunds[0].id;
    let done = Answer::Done(back(2400, RefundState::Succeeded));
    let step = refund_replied(&double.next, own, 1, &done, at(61));
    assert_eq!(
        rows(&step),
        [("refund", Account::Provider, -2400, 0), ("refund", Account::Unwanted, 2400, 0)]
    );
}

#[test]
fn money_that_goes_back_takes_no_tickets_with_it() {
    let part = refunded(&paid(), 91, 1000);
    assert_eq!(rows(&part), [("refund", Account::Provider, -1000, 0), ("refund", Account::Refunds, 1000, 0)]);
    let rest = refunded(&part.next, 92, 1400);
    assert_eq!(rows(&rest)[1], ("refund", Account::Refunds, 1400, 0));
    let failed = RefundState::Failed { code: "lost_or_stolen_card".into() };
    let returned = refund_shown(&rest.next, Uuid::from_u128(92), 1, &back(1400, failed), at(900));
    assert_eq!(
        rows(&returned),
        [("refund returned", Account::Refunds, -1400, 0), ("refund returned", Account::Provider, 1400, 0)]
    );
}

#[test]
fn a_refund_of_another_amount_is_not_taken_for_ours() {
    let wanted = refunded(&paid(), 91, 1000).next;
    let id = Uuid::from_u128(93);
    let request = RefundRequested {
        by: None,
        version: 4,
        refund_id: id,
        reservation_id: RESERVATION,
        payment_id: payment_id(RESERVATION),
        total: euros(500),
        provider_ref: None,
        reason: "USER_REQUEST".into(),
    };
    let asked = request_refund(&wanted, &request, at(200)).next;
    let step = refund_replied(&asked, id, 1, &Answer::Done(back(501, RefundState::Succeeded)), at(201));
    assert_eq!((step.alarm, &step.postings[..], &step.events[..]), (true, &[][..], &[][..]));
}
