//! Dearer exchanges in the books: a credit comes with the capture and goes with the cancellation, and refunds name their capture.

use bus::contract::reservation::{CancelReason, Credit, CreditedCapture, ReservationCancelled};

use super::*;
use crate::payment::ledger::Account;

const OLD: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0009);

fn capture(name: &str, amount: i64) -> CreditedCapture {
    CreditedCapture { reservation_id: OLD, provider_ref: name.into(), total: euros(amount) }
}

/// Of an order for 36 €, of which 12 € are the money of another order.
fn with_credit(payment: Payment) -> Payment {
    let credit = Credit { total: euros(1200), waived: euros(0), captures: vec![capture("pi_old", 1200)] };
    Payment { exchange_of: Some(OLD), credit: Some(credit), ..payment }
}

fn sum(postings: &[Posting], account: Account) -> i64 {
    postings.iter().filter(|posting| posting.account == account).map(|posting| posting.total.amount).sum()
}

fn cancellation(payment: &Payment, credited: Vec<CreditedCapture>, keeps_credit: bool) -> Input {
    let mut reservation = seats::event(payment.seats_version + 1, 8, 2);
    reservation.credit = payment.credit.clone().filter(|_| keeps_credit);
    let reason = CancelReason::Exchanged;
    Input::Cancelled(Box::new(ReservationCancelled { reason, credited, reservation }))
}

#[test]
fn the_credit_is_booked_with_the_capture_and_reversed_when_the_order_ends_unconfirmed() {
    let begun = begin(&with_credit(opened()), token(), 10).next;
    let captured = reply(&begun, Call::Begin(1), view("pi_1", ProviderState::Captured), 11);
    assert_eq!(sum(&captured.postings, Account::Credit), 1200);
    assert_eq!(sum(&captured.postings, Account::Sales), -3600);
    assert_eq!(sum(&captured.postings, Account::Provider), 2400);
    let ended = step(&captured.next, cancellation(&captured.next, vec![], false), at(100));
    assert_eq!(sum(&ended.postings, Account::Credit), -1200);
    assert_eq!(ended.next.credit, None);
    let kept = step(&captured.next, cancellation(&captured.next, vec![], true), at(100));
    assert_eq!(sum(&kept.postings, Account::Credit), 0);
    // Money that arrives after the cancellation comes without a credit.
    let over = step(&begun, cancellation(&begun, vec![], false), at(100)).next;
    let late = reply(&over, Call::Begin(1), view("pi_1", ProviderState::Captured), 101);
    assert_eq!((sum(&late.postings, Account::Provider), sum(&late.postings, Account::Credit)), (2400, 0));
}

#[test]
fn the_replaced_order_hands_its_money_over_once() {
    let paid = paid();
    let own = paid.attempts[0].intent.clone().unwrap();
    let input = cancellation(&paid, vec![capture(&own, 2000)], false);
    let over = step(&paid, input.clone(), at(100));
    assert_eq!((sum(&over.postings, Account::Credit), sum(&over.postings, Account::Sales)), (-2000, 2000));
    assert!(step(&over.next, input, at(101)).postings.is_empty());
    assert_eq!((over.next.left_of(&own, &own), over.next.credited_sum()), (400, 2000));
}

#[test]
fn a_refund_of_a_credited_capture_is_made_at_the_provider_and_bounded_by_its_credit() {
    let begun = begin(&with_credit(opened()), token(), 10).next;
    let captured = reply(&begun, Call::Begin(1), view("pi_1", ProviderState::Captured), 11).next;
    let request = |id: u128, amount: i64| RefundRequested {
        refund_id: Uuid::from_u128(id),
        reservation_id: RESERVATION,
        payment_id: payment_id(RESERVATION),
        total: euros(amount),
        provider_ref: Some("pi_old".into()),
        reason: "USER_REQUEST".into(),
        by: None,
        version: 4,
    };
    let much = request_refund(&captured, &request(91, 1201), at(100));
    assert_eq!(much.events, [PaymentEvent::RefundFailed(Uuid::from_u128(91))]);
    let all = request_refund(&captured, &request(92, 1200), at(100));
    assert_eq!(all.calls, [Call::Refund(Uuid::from_u128(92))]);
    assert_eq!(all.next.refund(Uuid::from_u128(92)).unwrap().intent, "pi_old");
    let more = request_refund(&all.next, &request(93, 1), at(101));
    assert_eq!(more.events, [PaymentEvent::RefundFailed(Uuid::from_u128(93))]);
}
