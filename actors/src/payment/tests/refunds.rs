//! Money given back: in part, in full, too much, by a bank that fails.

use bus::contract::reservation::RefundStatus;

use super::*;
use crate::payment::provider::RefundState;

const FIRST: Uuid = Uuid::from_u128(91);

fn wanted(id: Uuid, amount: i64) -> RefundRequested {
    RefundRequested {
        refund_id: id,
        reservation_id: RESERVATION,
        payment_id: payment_id(RESERVATION),
        total: euros(amount),
        provider_ref: None,
        reason: "USER_REQUEST".into(),
        by: None,
        version: 4,
    }
}

fn back(amount: i64, state: RefundState) -> Answer<RefundView> {
    Answer::Done(RefundView { reference: "re_1".into(), total: Some(euros(amount)), state })
}

fn failed() -> RefundState {
    RefundState::Failed { code: "lost_or_stolen_card".into() }
}

#[test]
fn parts_add_up_to_the_whole_and_never_beyond() {
    let step = request_refund(&paid(), &wanted(FIRST, 1000), at(100));
    assert_eq!((&step.calls[..], &step.events[..]), (&[Call::Refund(FIRST)][..], &[][..]));
    let step = refund_replied(&step.next, FIRST, 1, &back(1000, RefundState::Succeeded), at(101));
    assert_eq!(step.events, [PaymentEvent::RefundCompleted(FIRST)]);
    assert_eq!(step.next.status(), PaymentStatus::PartiallyRefunded);
    let second = Uuid::from_u128(92);
    let much = request_refund(&step.next, &wanted(second, 1401), at(102));
    assert_eq!((&much.events[..], &much.calls[..]), (&[PaymentEvent::RefundFailed(second)][..], &[][..]));
    assert_eq!(much.next.refund(second).unwrap().code.as_deref(), Some("exceeds-captured"));
    let third = Uuid::from_u128(93);
    let rest = request_refund(&much.next, &wanted(third, 1400), at(103)).next;
    let rest = refund_replied(&rest, third, 1, &back(1400, RefundState::Succeeded), at(104));
    assert_eq!(rest.next.status(), PaymentStatus::Refunded);
}

#[test]
fn a_pending_refund_counts_as_given_back() {
    let step = request_refund(&paid(), &wanted(FIRST, 2400), at(100));
    let more = request_refund(&step.next, &wanted(Uuid::from_u128(92), 1), at(101));
    assert_eq!(more.events, [PaymentEvent::RefundFailed(Uuid::from_u128(92))]);
}

#[test]
fn another_currency_or_nothing_is_no_refund() {
    let mut other = wanted(FIRST, 100);
    other.total.currency = Currency::parse("USD").unwrap();
    for wanted in [other, wanted(FIRST, 0), wanted(FIRST, -5)] {
        let step = request_refund(&paid(), &wanted, at(100));
        assert_eq!((&step.events[..], &step.calls[..]), (&[PaymentEvent::RefundFailed(FIRST)][..], &[][..]));
    }
    let step = request_refund(&opened(), &wanted(FIRST, 100), at(100));
    assert_eq!(step.next.refunds[0].code.as_deref(), Some("nothing-captured"));
}

#[test]
fn the_same_request_again_changes_nothing() {
    let requested = request_refund(&paid(), &wanted(FIRST, 2400), at(100)).next;
    assert!(!request_refund(&requested, &wanted(FIRST, 2400), at(101)).changed);
    let done = refund_replied(&requested, FIRST, 1, &back(2400, RefundState::Succeeded), at(101)).next;
    assert!(!request_refund(&done, &wanted(FIRST, 2400), at(200)).changed);
}

#[test]
fn a_pending_refund_is_checked_until_the_bank_has_decided() {
    let asked = request_refund(&paid(), &wanted(FIRST, 2400), at(100)).next;
    let pending = refund_replied(&asked, FIRST, 1, &back(2400, RefundState::Pending), at(101)).next;
    assert_eq!(pending.status(), PaymentStatus::Succeeded);
    let checked = due(&pending, pending.next_check_at.unwrap());
    assert_eq!((&checked.calls[..], checked.changed), (&[Call::LookAtRefund(FIRST)][..], false));
    let done = refund_shown(
        &checked.next,
        FIRST,
        1,
        &RefundView { reference: "re_1".into(), total: Some(euros(2400)), state: RefundState::Succeeded },
        at(130),
    );
    assert_eq!(done.events, [PaymentEvent::RefundCompleted(FIRST)]);
}

#[test]
fn a_refund_of_unknown_outcome_is_requested_again_under_its_old_key() {
    let asked = request_refund(&paid(), &wanted(FIRST, 2400), at(100)).next;
    let unknown = refund_replied(&asked, FIRST, 1, &Answer::Unknown("reset".into()), at(101)).next;
    let checked = due(&unknown, at(111));
    assert_eq!((&checked.calls[..], checked.next.refunds[0].tries), (&[Call::Refund(FIRST)][..], 1));
}

#[test]
fn a_refund_that_fails_is_tried_three_times_under_new_keys_and_then_reported_as_failed() {
    let mut payment = request_refund(&paid(), &wanted(FIRST, 2400), at(100)).next;
    for tries in 1..3 {
        let step = refund_replied(&payment, FIRST, tries, &back(2400, failed()), at(101));
        assert_eq!((&step.events[..], step.next.refunds[0].tries), (&[][..], tries + 1));
        let stale = refund_shown(
            &step.next,
            FIRST,
            tries,
            &RefundView { reference: "re_1".into(), total: Some(euros(2400)), state: failed() },
            at(101),
        );
        assert!(!stale.changed, "the webhook about an older try does not count again");
        let checked = due(&step.next, step.next.next_check_at.unwrap());
        assert_eq!(checked.calls, [Call::Refund(FIRST)]);
        payment = checked.next;
    }
    let step = refund_replied(&payment, FIRST, 3, &back(2400, failed()), at(120));
    assert_eq!(step.events, [PaymentEvent::RefundFailed(FIRST)]);
    assert_eq!(step.next.refunds[0].code.as_deref(), Some("lost_or_stolen_card"));
    assert_eq!((step.next.status(), step.next.next_check_at), (PaymentStatus::Succeeded, None));
}

#[test]
fn a_refund_that_the_provider_refuses_fails_at_once() {
    let asked = request_refund(&paid(), &wanted(FIRST, 2400), at(100)).next;
    let refused = Answer::Refused { code: "charge_already_refunded".into(), status: 400 };
    let step = refund_replied(&asked, FIRST, 1, &refused, at(101));
    assert_eq!(step.events, [PaymentEvent::RefundFailed(FIRST)]);
}

#[test]
fn a_refund_of_a_payment_that_the_provider_does_not_know_is_for_a_person() {
    let asked = request_refund(&paid(), &wanted(FIRST, 2400), at(100)).next;
    let step = refund_replied(&asked, FIRST, 1, &Answer::NoSuchObject, at(101));
    assert_eq!((&step.events[..], step.alarm), (&[][..], true));
    assert_eq!(step.next.refunds[0].status, RefundStatus::Requested);
    assert!(step.next.next_check_at.is_some());
}

#[test]
fn money_that_the_bank_sends_back_after_all_is_for_a_person() {
    let asked = request_refund(&paid(), &wanted(FIRST, 2400), at(100)).next;
    let done = refund_replied(&asked, FIRST, 1, &back(2400, RefundState::Succeeded), at(101)).next;
    let view = RefundView { reference: "re_1".into(), total: Some(euros(2400)), state: failed() };
    let step = refund_shown(&done, FIRST, 1, &view, at(900));
    assert_eq!((&step.events[..], step.alarm), (&[PaymentEvent::RefundFailed(FIRST)][..], true));
}

#[test]
fn a_refund_of_our_own_is_only_logged() {
    let double = shown(&paid(), Some(1), &view("pi_other", ProviderState::Captured), at(60)).next;
    let own = double.refunds[0].id;
    let step = refund_replied(&double, own, 1, &back(2400, RefundState::Succeeded), at(61));
    assert_eq!((&step.events[..], step.next.refunds[0].status), (&[][..], RefundStatus::Completed));
    assert_eq!(step.next.status(), PaymentStatus::Succeeded, "the accepted capture is kept");
}

#[test]
fn a_payment_is_open_while_a_refund_is_under_way() {
    use crate::payment::erasure::is_open;
    assert!(!is_open(&paid()));
    let requested = request_refund(&paid(), &wanted(FIRST, 1000), at(100)).next;
    assert!(is_open(&requested));
    let done = refund_replied(&requested, FIRST, 1, &back(1000, RefundState::Succeeded), at(101)).next;
    assert!(!is_open(&done));
}
