//! One attempt at a time, ends, late and doubled money.

use super::*;

fn close_first(payment: &Payment, now: i64) -> Step {
    match pay(payment, &pay_request(token(), "next"), at(now)) {
        Ok(step) => step,
        other => panic!("closes nothing: {other:?}"),
    }
}

#[test]
fn a_new_attempt_waits_until_the_old_one_is_closed() {
    let closing = close_first(&page_open(), 30);
    assert_eq!((&closing.calls[..], &closing.key), (&[Call::Close(1)][..], &None));
    let closed = reply(&closing.next, Call::Close(1), page_view(ProviderState::Closed), 31).next;
    assert_eq!((closed.attempts[0].state, closed.status()), (State::Closed, PaymentStatus::Open));
    assert_eq!(begin(&closed, token(), 32).calls, [Call::Begin(2)]);
}

#[test]
fn an_old_page_that_turns_out_paid_is_the_success() {
    let closing = close_first(&page_open(), 30).next;
    let step = reply(&closing, Call::Close(1), page_view(ProviderState::Captured), 31);
    assert_eq!(step.events, [PaymentEvent::Success]);
    assert_eq!(pay(&step.next, &pay_request(token(), "next"), at(32)).err(), Some(Rejection::AlreadyPaid));
}

#[test]
fn a_page_whose_closing_is_unknown_lets_nothing_begin() {
    let closing = close_first(&page_open(), 30).next;
    let unknown = replied(&closing, Call::Close(1), &Answer::Unknown("503".into()), at(31)).next;
    assert_eq!(close_first(&unknown, 32).calls, [Call::Close(1)]);
    assert_eq!(unknown.next_check_at, Some(at(33)), "the closing is checked soon");
    assert_eq!(due(&unknown, at(33)).calls, [Call::Close(1)]);
}

#[test]
fn two_requests_at_once_do_not_close_each_other() {
    let begun = begin(&opened(), token(), 10).next;
    assert_eq!(pay(&begun, &pay_request(token(), "next"), at(12)).err(), Some(Rejection::AttemptRunning));
    assert_eq!(close_first(&begun, 20).calls, [Call::Close(1)], "its caller does not wait any more");
}

#[test]
fn an_end_without_an_attempt_is_over_at_once() {
    let step = end(&opened(), "hold-expired", at(HOLD));
    assert_eq!(step.events, [PaymentEvent::Failed { code: "hold-expired".into() }]);
    assert_eq!((&step.calls[..], step.next.status()), (&[][..], PaymentStatus::Failed));
    let again = end(&step.next, "hold-expired", at(HOLD + 9));
    assert_eq!((&again.events[..], again.changed), (&[][..], false));
}

#[test]
fn an_end_closes_the_open_page_and_is_over_when_it_is_closed() {
    let ending = end(&page_open(), "hold-expired", at(HOLD));
    assert_eq!((&ending.calls[..], &ending.events[..]), (&[Call::Close(1)][..], &[][..]));
    let again = end(&ending.next, "hold-expired", at(HOLD + 1));
    assert_eq!((&again.calls[..], &again.events[..]), (&[Call::Close(1)][..], &[][..]), "it may be repeated");
    assert!(!again.changed, "and writes nothing");
    let over = reply(&ending.next, Call::Close(1), page_view(ProviderState::Closed), HOLD + 2);
    assert_eq!(over.events, [PaymentEvent::Failed { code: "hold-expired".into() }]);
    assert_eq!(over.next.next_check_at, None);
}

#[test]
fn an_end_that_finds_the_page_paid_is_the_success() {
    let ending = end(&page_open(), "hold-expired", at(HOLD)).next;
    let step = reply(&ending, Call::Close(1), page_view(ProviderState::Captured), HOLD + 1);
    assert_eq!(
        (&step.events[..], step.next.status()),
        (&[PaymentEvent::Success][..], PaymentStatus::Succeeded)
    );
}

#[test]
fn an_end_during_a_charge_waits_for_its_outcome() {
    let begun = begin(&opened(), token(), 10).next;
    let ending = end(&begun, "reservation-cancelled", at(11)).next;
    let paid = reply(&ending, Call::Begin(1), view("pi_1", ProviderState::Captured), 12);
    assert_eq!(paid.events, [PaymentEvent::Success]);
    let opened = reply(&ending, Call::Begin(1), view("pi_1", ProviderState::Open), 12);
    assert_eq!(opened.calls, [Call::Close(1)], "now there is something to close");
    let again = reply(&opened.next, Call::Close(1), view("pi_1", ProviderState::Open), 13);
    assert_eq!(again.calls, [], "the deadline repeats the call, not a loop");
}

#[test]
fn a_cancelled_reservation_without_an_attempt_publishes_no_event_of_its_payment() {
    let step = end(&opened(), "reservation-cancelled", at(5));
    assert_eq!((&step.events[..], step.next.status()), (&[][..], PaymentStatus::Failed));
    assert_eq!(end(&paid(), "reservation-cancelled", at(60)).events, []);
}

#[test]
fn money_after_the_end_is_published_as_a_success() {
    let over = end(&page_open(), "hold-expired", at(HOLD)).next;
    let over = reply(&over, Call::Close(1), page_view(ProviderState::Closed), HOLD + 1).next;
    let step = shown(&over, Some(1), &page_view(ProviderState::Captured), at(HOLD + 60));
    assert_eq!(
        (&step.events[..], step.next.status()),
        (&[PaymentEvent::Success][..], PaymentStatus::Succeeded)
    );
}

#[test]
fn a_second_capture_is_given_back_and_the_first_stays() {
    let first = paid();
    let step = shown(&first, Some(1), &view("pi_other", ProviderState::Captured), at(60));
    assert_eq!(step.events, [], "one success is published");
    let [Call::Refund(id)] = step.calls[..] else { panic!("{:?}", step.calls) };
    let refund = step.next.refund(id).unwrap();
    assert_eq!((refund.intent.as_str(), refund.total), ("pi_other", euros(2400)));
    assert_eq!((&step.next.stage, step.next.status()), (&first.stage, PaymentStatus::Succeeded));
    let again = shown(&step.next, Some(1), &view("pi_other", ProviderState::Captured), at(61));
    assert_eq!((again.changed, &again.calls[..]), (false, &[][..]), "once");
}

#[test]
fn the_same_view_twice_or_late_changes_nothing() {
    let paid = paid();
    for old in [
        ProviderState::Captured,
        ProviderState::Open,
        ProviderState::Closed,
        ProviderState::Declined { code: "x".into() },
    ] {
        let step = shown(&paid, Some(1), &view("pi_1", old), at(60));
        assert_eq!((step.changed, &step.events[..], &step.calls[..]), (false, &[][..], &[][..]));
    }
}

#[test]
fn a_webhook_may_be_faster_than_the_answer() {
    let begun = begin(&opened(), token(), 10).next;
    let seen = shown(&begun, Some(1), &view("pi_1", ProviderState::Captured), at(11));
    assert!(matches!(seen.key, Some(KeyWrite::Complete { .. })));
    let answered = reply(&seen.next, Call::Begin(1), view("pi_1", ProviderState::Captured), 12);
    assert!(!answered.changed);
}

#[test]
fn a_card_declined_on_the_page_leaves_the_page_open() {
    let declined = AttemptView {
        session: None,
        ..view("pi_page", ProviderState::Declined { code: "generic_decline".into() })
    };
    let step = shown(&page_open(), Some(1), &declined, at(60));
    assert_eq!((step.next.attempts[0].state, &step.events[..]), (State::Open, &[][..]));
    assert_eq!(step.log[0].entry, "card declined on the page");
}

#[test]
fn an_object_that_the_provider_does_not_know_is_for_a_person_and_not_failed() {
    let ending = end(&page_open(), "hold-expired", at(HOLD)).next;
    let step = replied(&ending, Call::Close(1), &Answer::NoSuchObject, at(HOLD + 1));
    assert!(step.alarm && step.next.attention().is_some());
    assert_eq!((&step.events[..], step.next.status()), (&[][..], PaymentStatus::Processing));
    let again = replied(&step.next, Call::Close(1), &Answer::NoSuchObject, at(HOLD + 9));
    assert!(!again.alarm, "one alarm is enough");
}
