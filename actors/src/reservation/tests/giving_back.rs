//! Refunds: the policy that was agreed, decisions of staff, parts, the difference of an exchange.

use super::*;

fn paid(percent: u8) -> Saga {
    let saga = Saga { captured: Some(euros(2400)), state: confirmed(), ..saga() };
    let refund_policy = RefundPolicy { until_minutes: 120, percent };
    Saga { terms: Terms { refund_policy, ..saga.terms.clone() }, ..saga }
}

/// The state after the input, and the amount given back.
fn after(saga: &Saga, input: &Input, seconds: i64) -> (SagaState, i64) {
    let step = saga.step(input, at(seconds)).unwrap();
    let back = step.events.iter().map(|event| match event {
        SagaEvent::RefundRequested(refund) => refund.total.amount,
        _ => 0,
    });
    (step.next.state.name(), back.sum())
}

#[test]
fn a_cancellation_gives_back_the_agreed_share_until_the_limit_and_nothing_later() {
    let user = cancel(CancelledBy::User);
    assert_eq!(after(&paid(100), &user, 28_800), (SagaState::Refunding, 2400));
    assert_eq!(after(&paid(50), &user, 28_800), (SagaState::Refunding, 1200));
    assert_eq!(after(&paid(33), &user, 100), (SagaState::Refunding, 792));
    assert_eq!(after(&paid(100), &user, 28_801), (SagaState::Cancelled, 0));
    assert_eq!(after(&paid(0), &user, 100), (SagaState::Cancelled, 0));
    assert_eq!(paid(100).step(&user, at(36_000)).unwrap_err(), Rejection::ShowtimeStarted);
    assert_eq!(after(&paid(50), &cancel(CancelledBy::Showtime), 40_000), (SagaState::Refunding, 2400));
}

#[test]
fn staff_may_give_back_more_or_less_than_was_agreed() {
    let staff = |percent| Input::Cancel(Cancel { percent, ..Cancel::by(CancelledBy::Admin) });
    assert_eq!(after(&paid(50), &staff(None), 100), (SagaState::Refunding, 1200));
    assert_eq!(after(&paid(50), &staff(None), 28_801), (SagaState::Cancelled, 0));
    assert_eq!(after(&paid(50), &staff(Some(100)), 28_801), (SagaState::Refunding, 2400));
    assert_eq!(after(&paid(100), &staff(Some(0)), 100), (SagaState::Cancelled, 0));
    assert_eq!(paid(50).step(&staff(Some(100)), at(36_000)).unwrap_err(), Rejection::ShowtimeStarted);
}

#[test]
fn money_kept_by_the_policy_is_not_given_back_by_a_late_event_of_its_capture() {
    let cancelled = paid(100).step(&cancel(CancelledBy::User), at(30_000)).unwrap().next;
    assert_eq!(after(&cancelled, &Input::PaymentSucceeded(success()), 30_001), (SagaState::Cancelled, 0));
    // but staff may decide otherwise later
    assert_eq!(after(&cancelled, &give_back(None), 30_002), (SagaState::Refunding, 2400));
}

#[test]
fn a_part_leaves_it_confirmed_and_all_that_is_left_ends_it() {
    let once = paid(100).step(&give_back(Some(500)), at(100)).unwrap().next;
    assert_eq!((once.state.name(), once.left()), (SagaState::Confirmed, euros(1900)));
    let too_much = once.step(&give_back(Some(1901)), at(100)).unwrap_err();
    assert_eq!(too_much, Rejection::RefundTooLarge { left: euros(1900) });
    assert_eq!(after(&once, &give_back(Some(1900)), 100), (SagaState::Refunding, 1900));
    assert_eq!(after(&once, &cancel(CancelledBy::User), 100), (SagaState::Refunding, 1900));
    // a show that broke down may be refunded after it began
    assert_eq!(after(&once, &give_back(None), 40_000), (SagaState::Refunding, 1900));
    let unpaid = saga().step(&give_back(None), at(100)).unwrap_err();
    assert_eq!(unpaid, Rejection::NotConfirmed);
}

#[test]
fn a_part_that_the_provider_refuses_waits_for_a_person_and_is_tried_anew() {
    let saga = paid(100).step(&give_back(Some(500)), at(100)).unwrap().next;
    let first = saga.parts[0].refund.id;
    let failed = Input::RefundFailed { refund_id: first, code: None, version: 4 };
    let stuck = saga.step(&failed, at(200)).unwrap().next;
    assert!(stuck.needs_attention() && stuck.deadline(at(200)).is_none());
    let step = stuck.step(&resume(), at(300)).unwrap();
    assert_eq!(names(&step), ["refund-requested"]);
    let resumed = step.next;
    assert!(!resumed.needs_attention() && resumed.parts[0].refund.id != first);
    let done = Input::RefundCompleted { refund_id: resumed.parts[0].refund.id, version: 6 };
    let done = resumed.step(&done, at(400)).unwrap().next;
    assert_eq!(
        (done.state.name(), done.left(), done.deadline(at(400))),
        (SagaState::Confirmed, euros(1900), None)
    );
    assert_eq!(done.step(&resume(), at(500)).unwrap_err(), Rejection::NotPending);
}

#[test]
fn an_exchange_gives_the_difference_back_and_keeps_the_agreement() {
    let later = Place { starts_at: at(72_000), ..place(2000) };
    let step = paid(100).step(&Input::Exchange(later), at(100)).unwrap();
    assert_eq!(names(&step), ["exchanged", "refund-requested"]);
    let moved = step.next;
    assert_eq!((moved.terms.total, moved.left()), (euros(2000), euros(2000)));
    assert_eq!(moved.terms.refund_until, at(72_000 - 7_200));
    assert_eq!(after(&moved, &cancel(CancelledBy::User), 100), (SagaState::Refunding, 2000));
    assert_eq!(after(&paid(100), &Input::Exchange(place(2400)), 100), (SagaState::Confirmed, 0));
    let refused = |saga: &Saga, seconds| saga.step(&Input::Exchange(place(2000)), at(seconds)).unwrap_err();
    assert_eq!(refused(&paid(100), 28_801), Rejection::RefundWindowClosed);
    assert_eq!(refused(&saga(), 100), Rejection::NotConfirmed);
    let begun = paid(100).step(&begin_exchange(1), at(100)).unwrap().next;
    assert_eq!(refused(&begun, 100), Rejection::ExchangeRunning);
}
