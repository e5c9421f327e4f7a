//! Money given back: in part, in full, too much, by a bank that fails.

use bus::contract::reservation::{RefundRequested, RefundStatus};

use super::*;
use crate::payment::provider::{RefundSight, RefundStanding};
use crate::payment::refund;

const FIRST: Uuid = Uuid::from_u128(91);

fn wanted(id: Uuid, amount: i64) -> RefundRequested {
    RefundRequested {
        refund_id: id,
        reservation_id: RESERVATION,
        payment_id: payment_id(RESERVATION),
        total: euros(amount),
        reason: "USER_REQUEST".into(),
        by: None,
    }
}

fn back(amount: i64, standing: RefundStanding) -> Answer<RefundSight> {
    Answer::Done(RefundSight { reference: "re_1".into(), total: Some(euros(amount)), standing })
}

fn failed() -> RefundStanding {
    RefundStanding::Failed { code: "lost_or_stolen_card".into() }
}

#[test]
fn parts_add_up_to_the_whole_and_never_beyond() {
    let step = refund::requested(&paid(), &wanted(FIRST, 1000), at(100));
    assert_eq!((&step.calls[..], &step.said[..]), (&[Call::Refund(FIRST)][..], &[][..]));
    let step = refund::answered(&step.payment, FIRST, 1, &back(1000, RefundStanding::Succeeded), at(101));
    assert_eq!(step.said, [Said::RefundCompleted(FIRST)]);
    assert_eq!(step.payment.status(), PaymentStatus::PartiallyRefunded);
    let second = Uuid::from_u128(92);
    let much = refund::requested(&step.payment, &wanted(second, 1401), at(102));
    assert_eq!((&much.said[..], &much.calls[..]), (&[Said::RefundFailed(second)][..], &[][..]));
    assert_eq!(much.payment.refund(second).unwrap().code.as_deref(), Some("exceeds-captured"));
    let third = Uuid::from_u128(93);
    let rest = refund::requested(&much.payment, &wanted(third, 1400), at(103)).payment;
    let rest = refund::answered(&rest, third, 1, &back(1400, RefundStanding::Succeeded), at(104));
    assert_eq!(rest.payment.status(), PaymentStatus::Refunded);
}

#[test]
fn what_is_on_its_way_counts_as_given_back() {
    let step = refund::requested(&paid(), &wanted(FIRST, 2400), at(100));
    let more = refund::requested(&step.payment, &wanted(Uuid::from_u128(92), 1), at(101));
    assert_eq!(more.said, [Said::RefundFailed(Uuid::from_u128(92))]);
}

#[test]
fn another_currency_or_nothing_is_no_refund() {
    let mut other = wanted(FIRST, 100);
    other.total.currency = Currency::parse("USD").unwrap();
    for wanted in [other, wanted(FIRST, 0), wanted(FIRST, -5)] {
        let step = refund::requested(&paid(), &wanted, at(100));
        assert_eq!((&step.said[..], &step.calls[..]), (&[Said::RefundFailed(FIRST)][..], &[][..]));
    }
    let step = refund::requested(&opened(), &wanted(FIRST, 100), at(100));
    assert_eq!(step.payment.refunds[0].code.as_deref(), Some("nothing-captured"));
}

#[test]
fn the_same_refund_again_tells_again_how_it_went() {
    let asked = refund::requested(&paid(), &wanted(FIRST, 2400), at(100)).payment;
    let again = refund::requested(&asked, &wanted(FIRST, 2400), at(101));
    assert_eq!((&again.calls[..], again.payment.refunds.len()), (&[Call::Refund(FIRST)][..], 1));
    let done = refund::answered(&asked, FIRST, 1, &back(2400, RefundStanding::Succeeded), at(101)).payment;
    let again = refund::requested(&done, &wanted(FIRST, 2400), at(200));
    assert_eq!((&again.said[..], &again.calls[..]), (&[Said::RefundCompleted(FIRST)][..], &[][..]));
}

#[test]
fn a_pending_refund_is_asked_about_until_the_bank_has_decided() {
    let asked = refund::requested(&paid(), &wanted(FIRST, 2400), at(100)).payment;
    let pending = refund::answered(&asked, FIRST, 1, &back(2400, RefundStanding::Pending), at(101)).payment;
    assert_eq!(pending.status(), PaymentStatus::Succeeded);
    let due = rules::due(&pending, pending.next_check_at.unwrap());
    assert_eq!(due.calls, [Call::LookAtRefund(FIRST)]);
    let done = refund::seen(
        &due.payment,
        FIRST,
        1,
        &RefundSight {
            reference: "re_1".into(),
            total: Some(euros(2400)),
            standing: RefundStanding::Succeeded,
        },
        at(130),
    );
    assert_eq!(done.said, [Said::RefundCompleted(FIRST)]);
}

#[test]
fn an_unknown_refund_is_asked_for_under_its_old_key() {
    let asked = refund::requested(&paid(), &wanted(FIRST, 2400), at(100)).payment;
    let unknown = refund::answered(&asked, FIRST, 1, &Answer::Unknown("reset".into()), at(101)).payment;
    let due = rules::due(&unknown, at(110));
    assert_eq!((&due.calls[..], due.payment.refunds[0].tries), (&[Call::Refund(FIRST)][..], 1));
}

#[test]
fn a_refund_that_fails_is_tried_three_times_under_new_keys_and_then_told() {
    let mut payment = refund::requested(&paid(), &wanted(FIRST, 2400), at(100)).payment;
    for tries in 1..3 {
        let step = refund::answered(&payment, FIRST, tries, &back(2400, failed()), at(101));
        assert_eq!((&step.said[..], step.payment.refunds[0].tries), (&[][..], tries + 1));
        let stale = refund::seen(
            &step.payment,
            FIRST,
            tries,
            &RefundSight { reference: "re_1".into(), total: Some(euros(2400)), standing: failed() },
            at(101),
        );
        assert!(!stale.changed, "the webhook about an older try does not count again");
        let due = rules::due(&step.payment, step.payment.next_check_at.unwrap());
        assert_eq!(due.calls, [Call::Refund(FIRST)]);
        payment = due.payment;
    }
    let step = refund::answered(&payment, FIRST, 3, &back(2400, failed()), at(120));
    assert_eq!(step.said, [Said::RefundFailed(FIRST)]);
    assert_eq!(step.payment.refunds[0].code.as_deref(), Some("lost_or_stolen_card"));
    assert_eq!((step.payment.status(), step.payment.next_check_at), (PaymentStatus::Succeeded, None));
}

#[test]
fn a_refund_that_the_provider_refuses_fails_at_once() {
    let asked = refund::requested(&paid(), &wanted(FIRST, 2400), at(100)).payment;
    let refused = Answer::Refused { code: "charge_already_refunded".into(), status: 400 };
    let step = refund::answered(&asked, FIRST, 1, &refused, at(101));
    assert_eq!(step.said, [Said::RefundFailed(FIRST)]);
}

#[test]
fn a_refund_of_what_the_provider_does_not_know_is_for_a_person() {
    let asked = refund::requested(&paid(), &wanted(FIRST, 2400), at(100)).payment;
    let step = refund::answered(&asked, FIRST, 1, &Answer::NoSuchObject, at(101));
    assert_eq!((&step.said[..], step.alarm), (&[][..], true));
    assert_eq!(step.payment.refunds[0].status, RefundStatus::Requested);
    assert!(step.payment.next_check_at.is_some());
}

#[test]
fn money_that_the_bank_sends_back_after_all_is_for_a_person() {
    let asked = refund::requested(&paid(), &wanted(FIRST, 2400), at(100)).payment;
    let done = refund::answered(&asked, FIRST, 1, &back(2400, RefundStanding::Succeeded), at(101)).payment;
    let sight = RefundSight { reference: "re_1".into(), total: Some(euros(2400)), standing: failed() };
    let step = refund::seen(&done, FIRST, 1, &sight, at(900));
    assert_eq!((&step.said[..], step.alarm), (&[Said::RefundFailed(FIRST)][..], true));
}

#[test]
fn a_refund_of_our_own_tells_nobody_but_the_log() {
    let double = rules::seen(&paid(), Some(1), &sight("pi_other", Standing::Captured), at(60)).payment;
    let own = double.refunds[0].id;
    let step = refund::answered(&double, own, 1, &back(2400, RefundStanding::Succeeded), at(61));
    assert_eq!((&step.said[..], step.payment.refunds[0].status), (&[][..], RefundStatus::Completed));
    assert_eq!(step.payment.status(), PaymentStatus::Succeeded, "what was accepted is still ours");
}
