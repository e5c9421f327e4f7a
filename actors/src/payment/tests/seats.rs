//! Which show money and tickets are booked for after an exchange or a cancellation, and a payment of nothing.

use bus::contract::SeatId;
use bus::contract::payment::DisputeStatus;
use bus::contract::reservation::{CancelReason, ReservationCreated};

use super::*;
use crate::payment::ledger::Account;
use crate::payment::provider::RefundState;

/// The reservation at a version: so many seats of a showtime, which is the only one of its movie.
pub fn event(version: i64, showtime: u128, seats: usize) -> ReservationCreated {
    ReservationCreated {
        reservation_id: RESERVATION,
        code: None,
        version,
        user_id: Uuid::from_u128(7),
        email: "ada@example.org".into(),
        showtime_id: Uuid::from_u128(showtime),
        movie_id: Uuid::from_u128(showtime + 1),
        movie_title: format!("Movie {showtime}"),
        starts_at: at(86_400),
        seats: (1..=seats).map(|n| SeatId::new("A", n as u16)).collect(),
        lines: Vec::new(),
        fees: vec![],
        total: euros(2400),
        expires_at: at(HOLD),
        locale: bus::contract::Locale::En,
        site_id: bus::contract::site::DEFAULT_SITE,
        access: 0,
        exchange_of: None,
        credit: None,
        due: None,
    }
}

pub fn exchange(payment: &Payment, version: i64, showtime: u128, seats: usize) -> Step {
    let reservation = event(version, showtime, seats);
    seats_changed(payment, SeatsChanged { payment_id: payment.id, entry: "exchange", reservation }, at(100))
}

/// So many seats of the same showtime are left.
pub fn give_back(payment: &Payment, version: i64, showtime: u128, seats: usize) -> Step {
    let reservation = event(version, showtime, seats);
    seats_changed(payment, SeatsChanged { payment_id: payment.id, entry: "return", reservation }, at(100))
}

fn cancel(payment: &Payment, version: i64, reason: CancelReason) -> Step {
    let event = ReservationCancelled { reason, credited: vec![], reservation: event(version, 8, 2) };
    cancelled(payment, &event, at(100))
}

pub fn wanted(id: u128, amount: i64) -> RefundRequested {
    RefundRequested {
        by: None,
        version: 4,
        refund_id: Uuid::from_u128(id),
        reservation_id: RESERVATION,
        payment_id: payment_id(RESERVATION),
        total: euros(amount),
        provider_ref: None,
        reason: "EXCHANGED".into(),
    }
}

/// Account, showtime, amount and tickets of each row.
fn rows(step: &Step) -> Vec<(Account, u128, i64, i64)> {
    let showtime =
        |p: &crate::payment::ledger::Posting| p.show.as_ref().map_or(0, |s| s.showtime_id.as_u128());
    step.postings.iter().map(|p| (p.account, showtime(p), p.total.amount, p.tickets)).collect()
}

pub fn dispute(status: DisputeStatus) -> DisputeView {
    DisputeView {
        reference: "du_1".into(),
        intent: "pi_1".into(),
        total: Some(euros(700)),
        reason: "fraudulent".into(),
        status,
    }
}

#[test]
fn an_exchange_takes_sales_refunds_and_disputes_to_the_other_show() {
    let asked = request_refund(&paid(), &wanted(91, 500), at(50)).next;
    let back =
        RefundView { reference: "re_1".into(), total: Some(euros(500)), state: RefundState::Succeeded };
    let part = refund_replied(&asked, Uuid::from_u128(91), 1, &Answer::Done(back), at(51));
    assert_eq!(rows(&part), [(Account::Provider, 0, -500, 0), (Account::Refunds, 8, 500, 0)]);
    let lost = dispute_shown(&part.next, &dispute(DisputeStatus::Lost), at(60)).next;
    let step = exchange(&lost, 5, 30, 3);
    assert_eq!(
        rows(&step),
        [
            (Account::Sales, 8, 2400, -2),
            (Account::Sales, 30, -2400, 3),
            (Account::Refunds, 8, -500, 0),
            (Account::Refunds, 30, 500, 0),
            (Account::Chargebacks, 8, -700, 0),
            (Account::Chargebacks, 30, 700, 0),
        ]
    );
    assert!(exchange(&step.next, 5, 30, 3).postings.is_empty(), "a repeat changes nothing");
    assert!(!exchange(&step.next, 4, 40, 1).changed, "an older version changes nothing");
    let won = dispute_shown(&step.next, &dispute(DisputeStatus::Won), at(200));
    assert_eq!(rows(&won), [(Account::Chargebacks, 30, -700, 0), (Account::Provider, 0, 700, 0)]);
}

#[test]
fn an_exchange_within_a_showtime_moves_tickets_alone_and_only_the_difference() {
    assert_eq!(rows(&exchange(&paid(), 5, 8, 1)), [(Account::Sales, 8, 0, -1)]);
    let same = exchange(&paid(), 5, 8, 2);
    assert_eq!((rows(&same), same.next.seats_version), (vec![], 5));
}

#[test]
fn tickets_that_are_given_back_count_no_more_whatever_goes_back_of_the_money() {
    let step = give_back(&paid(), 5, 8, 1);
    assert_eq!(rows(&step), [(Account::Sales, 8, 0, -1)]);
    assert!(!give_back(&step.next, 5, 8, 1).changed, "a repeat changes nothing");
    assert_eq!(rows(&cancel(&step.next, 6, CancelReason::UserRequest)), [(Account::Sales, 8, 0, -1)]);
}

#[test]
fn a_cancellation_takes_the_tickets_back_whatever_goes_back_of_the_money() {
    let step = cancel(&paid(), 5, CancelReason::UserRequest);
    assert_eq!(rows(&step), [(Account::Sales, 8, 0, -2)]);
    let asked = request_refund(&step.next, &wanted(91, 1200), at(101));
    assert!(asked.postings.is_empty());
    assert!(!cancel(&step.next, 5, CancelReason::UserRequest).changed, "a repeat changes nothing");
}

#[test]
fn a_cancellation_that_comes_first_leaves_late_money_without_tickets() {
    let cancelled = cancel(&opened(), 2, CancelReason::UserRequest).next;
    let late = shown(&cancelled, None, &view("pi_1", ProviderState::Captured), at(60));
    assert_eq!(rows(&late), [(Account::Sales, 8, -2400, 0), (Account::Provider, 0, 2400, 0)]);
}

#[test]
fn after_a_holds_end_late_money_has_its_tickets_until_it_is_requested_back_whole() {
    let expired = cancel(&opened(), 2, CancelReason::HoldExpired).next;
    let late = shown(&expired, None, &view("pi_1", ProviderState::Captured), at(700)).next;
    assert_eq!(late.tickets(), 2, "it may buy the seats");
    let part = request_refund(&late, &wanted(91, 500), at(701));
    assert!(part.postings.is_empty(), "it bought them, and a part goes back");
    let whole = request_refund(&late, &wanted(92, 2400), at(701));
    assert_eq!(rows(&whole), [(Account::Sales, 8, 0, -2)]);
    // The other way round.
    let begun = begin(&opened(), token(), 10).next;
    let paid = reply(&begun, Call::Begin(1), view("pi_1", ProviderState::Captured), 700).next;
    let asked = request_refund(&paid, &wanted(92, 2400), at(701));
    assert!(asked.postings.is_empty());
    assert_eq!(rows(&cancel(&asked.next, 2, CancelReason::HoldExpired)), [(Account::Sales, 8, 0, -2)]);
}

fn nothing_due_request(kind: Kind, name: &str) -> PayRequest {
    let request = pay_request(kind, name);
    PayRequest { facts: Facts { total: euros(0), ..facts() }, ..request }
}

fn nothing_due() -> Payment {
    let facts = Facts {
        reservation_id: RESERVATION,
        user_id: Uuid::from_u128(7),
        email: None,
        description: String::new(),
        sale: Some(sale(&event(1, 8, 2))),
        seats_version: 1,
        total: euros(0),
        bill: Bill::default(),
        exchange_of: None,
        credit: None,
        expires_at: at(HOLD),
    };
    opened_from(facts)
}

#[test]
fn a_payment_of_nothing_succeeds_at_once_without_a_provider() {
    let payment = nothing_due();
    let Ok(step) = pay(&payment, &nothing_due_request(page(), "k"), at(10)) else { panic!() };
    assert_eq!((&step.calls[..], &step.events[..]), (&[][..], &[PaymentEvent::Success][..]));
    assert_eq!(step.key, Some(KeyWrite::Answer { key: key("k"), hash: [1; 32] }));
    assert_eq!(rows(&step), [(Account::Sales, 8, 0, 2)], "tickets, and no money");
    let paid = step.next;
    assert_eq!((paid.status(), paid.next_check_at, paid.attempts.len()), (PaymentStatus::Succeeded, None, 0));
    let success = paid.success("stripe").unwrap();
    assert_eq!((success.provider.as_str(), success.provider_ref), ("none", format!("none:{}", paid.id)));
    assert_eq!(pay(&paid, &pay_request(token(), "other"), at(11)).err(), Some(Rejection::AlreadyPaid));
    let over = pay(&payment, &pay_request(page(), "k"), at(HOLD)).err();
    assert_eq!(over, Some(Rejection::PaymentOver), "the hold is over");
    assert_eq!(rows(&exchange(&paid, 5, 30, 3)), [(Account::Sales, 8, 0, -2), (Account::Sales, 30, 0, 3)]);
}

#[test]
fn a_payment_of_nothing_goes_back_without_a_provider_and_of_no_other_goes_nothing_back() {
    let Ok(step) = pay(&nothing_due(), &nothing_due_request(page(), "k"), at(10)) else { panic!() };
    let id = Uuid::from_u128(91);
    let back = request_refund(&step.next, &wanted(91, 0), at(11));
    assert_eq!((&back.calls[..], &back.events[..]), (&[][..], &[PaymentEvent::RefundCompleted(id)][..]));
    assert_eq!((back.postings.len(), back.next.next_check_at), (0, None));
    assert!(!request_refund(&back.next, &wanted(91, 0), at(12)).changed);
    assert_eq!(request_refund(&paid(), &wanted(91, 0), at(11)).events, [PaymentEvent::RefundFailed(id)]);
}
