//! Disputes: where the money is booked, late views, and how long a person must look.

use bus::contract::payment::DisputeStatus;

use super::*;
use crate::payment::ledger::Account;
use crate::payment::model;

fn event(status: DisputeStatus) -> DisputeView {
    DisputeView {
        reference: "dp_1".into(),
        intent: "pi_1".into(),
        total: Some(euros(2400)),
        reason: "fraudulent".into(),
        status,
    }
}

fn seen(payment: &Payment, status: DisputeStatus, now: i64) -> Step {
    dispute_shown(payment, &event(status), at(now))
}

fn moved(step: &Step) -> Vec<(Account, i64)> {
    step.postings.iter().map(|posting| (posting.account, posting.total.amount)).collect()
}

fn disputed() -> Payment {
    seen(&paid(), DisputeStatus::Open, 100).next
}

#[test]
fn an_open_dispute_holds_the_money_and_wants_a_person() {
    let step = seen(&paid(), DisputeStatus::Open, 100);
    assert_eq!(moved(&step), [(Account::Provider, -2400), (Account::Disputed, 2400)]);
    assert_eq!((step.alarm, step.events.len()), (true, 1));
    assert_eq!(step.next.disputes[0].status, DisputeStatus::Open);
    assert!(step.next.next_check_at.is_some(), "lost webhooks are made up for by a check");
    let again = seen(&step.next, DisputeStatus::Open, 101);
    assert_eq!((again.changed, &again.events[..]), (false, &[][..]));
}

#[test]
fn a_won_dispute_brings_the_money_back_and_a_lost_one_does_not() {
    let won = seen(&disputed(), DisputeStatus::Won, 200);
    assert_eq!(moved(&won), [(Account::Disputed, -2400), (Account::Provider, 2400)]);
    assert_eq!((won.next.attention(), won.next.next_check_at), (None, None));
    let lost = seen(&disputed(), DisputeStatus::Lost, 200);
    assert_eq!(moved(&lost), [(Account::Disputed, -2400), (Account::Chargebacks, 2400)]);
    assert_eq!(lost.next.attention(), None, "a person cannot change it any more");
}

#[test]
fn an_inquiry_moves_no_money_until_it_becomes_a_dispute() {
    let inquiry = seen(&paid(), DisputeStatus::Inquiry, 100);
    assert_eq!((moved(&inquiry), inquiry.alarm), (Vec::new(), true));
    let closed = seen(&inquiry.next, DisputeStatus::Closed, 150);
    assert_eq!((moved(&closed), closed.next.attention()), (Vec::new(), None));
    let open = seen(&inquiry.next, DisputeStatus::Open, 150);
    assert_eq!(moved(&open), [(Account::Provider, -2400), (Account::Disputed, 2400)]);
}

#[test]
fn a_late_webhook_does_not_open_a_decided_dispute() {
    let lost = seen(&paid(), DisputeStatus::Lost, 100);
    assert_eq!(moved(&lost), [(Account::Provider, -2400), (Account::Chargebacks, 2400)]);
    for late in [DisputeStatus::Open, DisputeStatus::Inquiry, DisputeStatus::Lost] {
        assert!(!seen(&lost.next, late, 101).changed);
    }
    let turned = seen(&lost.next, DisputeStatus::Won, 102);
    assert_eq!(moved(&turned), [(Account::Chargebacks, -2400), (Account::Provider, 2400)]);
}

#[test]
fn an_amount_that_cannot_be_ours_is_for_a_person() {
    for total in
        [None, Some(euros(2401)), Some(Money { currency: Currency::parse("USD").unwrap(), ..euros(1) })]
    {
        let step = dispute_shown(&paid(), &DisputeView { total, ..event(DisputeStatus::Lost) }, at(100));
        assert!(step.alarm && step.next.attention().is_some());
    }
}

#[test]
fn money_that_a_dispute_holds_is_not_given_back_as_well() {
    let wanted = RefundRequested {
        by: None,
        version: 4,
        refund_id: Uuid::from_u128(91),
        reservation_id: RESERVATION,
        payment_id: payment_id(RESERVATION),
        total: euros(1),
        provider_ref: None,
        reason: "USER_REQUEST".into(),
    };
    let step = request_refund(&disputed(), &wanted, at(150));
    assert_eq!((&step.calls[..], step.next.refunds[0].code.as_deref()), (&[][..], Some("disputed")));
    let won = seen(&disputed(), DisputeStatus::Won, 200).next;
    let step = request_refund(&won, &wanted, at(250));
    assert_eq!(step.calls, [Call::Refund(Uuid::from_u128(91))]);
}

#[test]
fn a_person_who_looked_ends_the_attention_where_nothing_is_open() {
    let begun = begin(&opened(), token(), 10).next;
    let refused = Answer::Refused { code: "amount_too_small".into(), status: 400 };
    let waits = replied(&begun, Call::Begin(1), &refused, at(11)).next;
    assert!(waits.attention().is_some());
    let resumed = resume(&waits, Uuid::from_u128(1), at(20));
    assert_eq!((resumed.next.attention(), &resumed.calls[..]), (None, &[][..]));
    let open = resume(&disputed(), Uuid::from_u128(1), at(200));
    assert_eq!((open.next.attention().is_some(), open.calls.len()), (true, 1), "the dispute is still open");
}

#[test]
fn a_refund_without_a_reply_is_searched_and_created_where_it_is_missing() {
    let id = Uuid::from_u128(91);
    let wanted = RefundRequested {
        by: None,
        version: 4,
        refund_id: id,
        reservation_id: RESERVATION,
        payment_id: payment_id(RESERVATION),
        total: euros(2400),
        provider_ref: None,
        reason: "USER_REQUEST".into(),
    };
    let asked = request_refund(&paid(), &wanted, at(100)).next;
    let later = at(101).plus(model::KEY_LIVES);
    let checked = due(&asked, later).next;
    assert!(checked.attention().is_some(), "the provider no longer has the key");
    let resumed = resume(&checked, Uuid::from_u128(1), later);
    assert_eq!(resumed.calls, [Call::FindRefund(id)]);
    let missing = refund_found(&resumed.next, id, 1, &Answer::NoSuchObject, later);
    assert_eq!((missing.next.refunds[0].tries, &missing.calls[..]), (2, &[Call::Refund(id)][..]));
}
