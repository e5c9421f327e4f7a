//! One attempt at a time, ends, late and doubled money.

use super::*;

fn close_first(payment: &Payment, now: i64) -> Step {
    match rules::pay(payment, &wish(token(), "next"), at(now)) {
        Ok(Paying::CloseFirst(step)) => *step,
        other => panic!("closes nothing: {other:?}"),
    }
}

#[test]
fn a_new_attempt_waits_until_the_old_one_is_closed() {
    let closing = close_first(&page_open(), 30);
    assert_eq!((&closing.calls[..], &closing.key), (&[Call::Close(1)][..], &None));
    let closed = hear(&closing.payment, Call::Close(1), page_sight(Standing::Closed), 31).payment;
    assert_eq!((closed.attempts[0].state, closed.status()), (State::Closed, PaymentStatus::Open));
    assert_eq!(begin(&closed, token(), 32).calls, [Call::Begin(2)]);
}

#[test]
fn an_old_page_that_turns_out_paid_is_the_success() {
    let closing = close_first(&page_open(), 30).payment;
    let step = hear(&closing, Call::Close(1), page_sight(Standing::Captured), 31);
    assert_eq!(step.said, [Said::Success]);
    assert_eq!(rules::pay(&step.payment, &wish(token(), "next"), at(32)).err(), Some(Rejection::AlreadyPaid));
}

#[test]
fn a_page_whose_closing_is_unknown_lets_nothing_begin() {
    let closing = close_first(&page_open(), 30).payment;
    let unknown = rules::answered(&closing, Call::Close(1), &Answer::Unknown("503".into()), at(31)).payment;
    assert_eq!(close_first(&unknown, 32).calls, [Call::Close(1)]);
    assert_eq!(unknown.next_check_at, Some(at(32)), "a closing is asked for soon");
    assert_eq!(rules::due(&unknown, at(32)).calls, [Call::Close(1)]);
}

#[test]
fn two_requests_at_once_do_not_close_each_other() {
    let begun = begin(&opened(), token(), 10).payment;
    assert_eq!(rules::pay(&begun, &wish(token(), "next"), at(12)).err(), Some(Rejection::AttemptRunning));
    assert_eq!(close_first(&begun, 20).calls, [Call::Close(1)], "nobody waits for it any more");
}

#[test]
fn an_end_without_an_attempt_is_over_at_once() {
    let step = rules::end(&opened(), "hold-expired", at(HOLD));
    assert_eq!(step.said, [Said::Failed { code: "hold-expired".into() }]);
    assert_eq!((&step.calls[..], step.payment.status()), (&[][..], PaymentStatus::Failed));
    let again = rules::end(&step.payment, "hold-expired", at(HOLD + 9));
    assert_eq!((&again.said[..], again.changed), (&[][..], false));
}

#[test]
fn an_end_closes_the_open_page_and_is_over_when_it_is_closed() {
    let ending = rules::end(&page_open(), "hold-expired", at(HOLD));
    assert_eq!((&ending.calls[..], &ending.said[..]), (&[Call::Close(1)][..], &[][..]));
    let again = rules::end(&ending.payment, "hold-expired", at(HOLD + 1));
    assert_eq!((&again.calls[..], &again.said[..]), (&[Call::Close(1)][..], &[][..]), "it may be repeated");
    assert_eq!(again.log.len(), 1, "and every call has its line");
    let over = hear(&ending.payment, Call::Close(1), page_sight(Standing::Closed), HOLD + 2);
    assert_eq!(over.said, [Said::Failed { code: "hold-expired".into() }]);
    assert_eq!(over.payment.next_check_at, None);
}

#[test]
fn an_end_that_finds_the_page_paid_is_the_success() {
    let ending = rules::end(&page_open(), "hold-expired", at(HOLD)).payment;
    let step = hear(&ending, Call::Close(1), page_sight(Standing::Captured), HOLD + 1);
    assert_eq!((&step.said[..], step.payment.status()), (&[Said::Success][..], PaymentStatus::Succeeded));
}

#[test]
fn an_end_during_a_charge_waits_for_what_comes_of_it() {
    let begun = begin(&opened(), token(), 10).payment;
    let ending = rules::end(&begun, "reservation-cancelled", at(11)).payment;
    let paid = hear(&ending, Call::Begin(1), sight("pi_1", Standing::Captured), 12);
    assert_eq!(paid.said, [Said::Success]);
    let opened = hear(&ending, Call::Begin(1), sight("pi_1", Standing::Open), 12);
    assert_eq!(opened.calls, [Call::Close(1)], "now there is something to close");
    let again = hear(&opened.payment, Call::Close(1), sight("pi_1", Standing::Open), 13);
    assert_eq!(again.calls, [], "the deadline asks again, not a loop");
}

#[test]
fn a_cancelled_reservation_that_nobody_tried_to_pay_says_nothing_more() {
    let step = rules::end(&opened(), "reservation-cancelled", at(5));
    assert_eq!((&step.said[..], step.payment.status()), (&[][..], PaymentStatus::Failed));
    assert_eq!(rules::end(&paid(), "reservation-cancelled", at(60)).said, []);
}

#[test]
fn money_after_the_end_is_told_as_ever() {
    let over = rules::end(&page_open(), "hold-expired", at(HOLD)).payment;
    let over = hear(&over, Call::Close(1), page_sight(Standing::Closed), HOLD + 1).payment;
    let step = rules::seen(&over, Some(1), &page_sight(Standing::Captured), at(HOLD + 60));
    assert_eq!((&step.said[..], step.payment.status()), (&[Said::Success][..], PaymentStatus::Succeeded));
}

#[test]
fn a_second_capture_is_given_back_and_the_first_stays() {
    let first = paid();
    let step = rules::seen(&first, Some(1), &sight("pi_other", Standing::Captured), at(60));
    assert_eq!(step.said, [], "the house hears of one success");
    let [Call::Refund(id)] = step.calls[..] else { panic!("{:?}", step.calls) };
    let refund = step.payment.refund(id).unwrap();
    assert_eq!((refund.intent.as_str(), refund.total), ("pi_other", euros(2400)));
    assert_eq!((&step.payment.stage, step.payment.status()), (&first.stage, PaymentStatus::Succeeded));
    let again = rules::seen(&step.payment, Some(1), &sight("pi_other", Standing::Captured), at(61));
    assert_eq!((again.changed, &again.calls[..]), (false, &[][..]), "once");
}

#[test]
fn the_same_news_twice_or_late_change_nothing() {
    let paid = paid();
    for old in [Standing::Captured, Standing::Open, Standing::Closed, Standing::Declined { code: "x".into() }]
    {
        let step = rules::seen(&paid, Some(1), &sight("pi_1", old), at(60));
        assert_eq!((step.changed, &step.said[..], &step.calls[..]), (false, &[][..], &[][..]));
    }
}

#[test]
fn a_webhook_may_be_faster_than_the_answer() {
    let begun = begin(&opened(), token(), 10).payment;
    let told = rules::seen(&begun, Some(1), &sight("pi_1", Standing::Captured), at(11));
    assert!(matches!(told.key, Some(KeyWrite::Complete { .. })));
    let answered = hear(&told.payment, Call::Begin(1), sight("pi_1", Standing::Captured), 12);
    assert!(!answered.changed);
}

#[test]
fn a_card_declined_on_the_page_leaves_the_page_open() {
    let declined =
        Sight { session: None, ..sight("pi_page", Standing::Declined { code: "generic_decline".into() }) };
    let step = rules::seen(&page_open(), Some(1), &declined, at(60));
    assert_eq!((step.payment.attempts[0].state, &step.said[..]), (State::Open, &[][..]));
    assert_eq!(step.log[0].entry, "card declined on the page");
}

#[test]
fn an_object_that_the_provider_does_not_know_is_for_a_person_and_not_failed() {
    let ending = rules::end(&page_open(), "hold-expired", at(HOLD)).payment;
    let step = rules::answered(&ending, Call::Close(1), &Answer::NoSuchObject, at(HOLD + 1));
    assert!(step.alarm && step.payment.attention.is_some());
    assert_eq!((&step.said[..], step.payment.status()), (&[][..], PaymentStatus::Processing));
    let again = rules::answered(&step.payment, Call::Close(1), &Answer::NoSuchObject, at(HOLD + 9));
    assert!(!again.alarm, "one alarm is enough");
}
