//! Which show money and tickets are booked for after an exchange or a cancellation, and a payment of nothing.

use bus::contract::SeatId;
use bus::contract::payment::DisputeStatus;
use bus::contract::reservation::{
    CancelReason, RefundRequested, ReservationCancelled, ReservationCreated, ReservationExchanged,
};

use super::*;
use crate::payment::ledger::Account;
use crate::payment::provider::{DisputeSight, RefundSight, RefundStanding};
use crate::payment::{dispute, refund, show};

/// The reservation at a version: so many seats of a showtime, which is the only one of its movie.
pub fn told(version: i64, showtime: u128, seats: usize) -> ReservationCreated {
    ReservationCreated {
        reservation_id: RESERVATION,
        version,
        user_id: Uuid::from_u128(7),
        email: "ada@example.org".into(),
        showtime_id: Uuid::from_u128(showtime),
        movie_id: Uuid::from_u128(showtime + 1),
        movie_title: format!("Movie {showtime}"),
        starts_at: at(86_400),
        seats: (1..=seats).map(|n| SeatId::new("A", n as u16)).collect(),
        lines: Vec::new(),
        total: euros(2400),
        expires_at: at(HOLD),
    }
}

pub fn exchange(payment: &Payment, version: i64, showtime: u128, seats: usize) -> Step {
    let event = ReservationExchanged {
        payment_id: payment.id,
        previous_showtime_id: Uuid::from_u128(8),
        previous_seats: Vec::new(),
        reservation: told(version, showtime, seats),
    };
    show::exchanged(payment, &event, at(100))
}

fn cancel(payment: &Payment, version: i64, reason: CancelReason) -> Step {
    let event = ReservationCancelled { reason, reservation: told(version, 8, 2) };
    show::cancelled(payment, &event, at(100))
}

pub fn wanted(id: u128, amount: i64) -> RefundRequested {
    RefundRequested {
        by: None,
        refund_id: Uuid::from_u128(id),
        reservation_id: RESERVATION,
        payment_id: payment_id(RESERVATION),
        total: euros(amount),
        reason: "EXCHANGED".into(),
    }
}

/// Account, showtime, amount and tickets of each row.
fn rows(step: &Step) -> Vec<(Account, u128, i64, i64)> {
    let showtime =
        |p: &crate::payment::ledger::Posting| p.show.as_ref().map_or(0, |s| s.showtime_id.as_u128());
    step.postings.iter().map(|p| (p.account, showtime(p), p.total.amount, p.tickets)).collect()
}

pub fn dispute(status: DisputeStatus) -> DisputeSight {
    DisputeSight {
        reference: "du_1".into(),
        intent: "pi_1".into(),
        total: Some(euros(700)),
        reason: "fraudulent".into(),
        status,
    }
}

#[test]
fn an_exchange_takes_sales_refunds_and_disputes_to_the_other_show() {
    let asked = refund::requested(&paid(), &wanted(91, 500), at(50)).payment;
    let back = RefundSight {
        reference: "re_1".into(),
        total: Some(euros(500)),
        standing: RefundStanding::Succeeded,
    };
    let part = refund::answered(&asked, Uuid::from_u128(91), 1, &Answer::Done(back), at(51));
    assert_eq!(rows(&part), [(Account::Provider, 0, -500, 0), (Account::Refunds, 8, 500, 0)]);
    let lost = dispute::seen(&part.payment, &dispute(DisputeStatus::Lost), at(60)).payment;
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
    assert!(exchange(&step.payment, 5, 30, 3).postings.is_empty(), "twice is once");
    assert!(!exchange(&step.payment, 4, 40, 1).changed, "an older one is no news");
    let won = dispute::seen(&step.payment, &dispute(DisputeStatus::Won), at(200));
    assert_eq!(rows(&won), [(Account::Chargebacks, 30, -700, 0), (Account::Provider, 0, 700, 0)]);
}

#[test]
fn an_exchange_within_a_showtime_moves_tickets_alone_and_only_the_difference() {
    assert_eq!(rows(&exchange(&paid(), 5, 8, 1)), [(Account::Sales, 8, 0, -1)]);
    let same = exchange(&paid(), 5, 8, 2);
    assert_eq!((rows(&same), same.payment.seats_version), (vec![], 5));
}

#[test]
fn a_cancellation_takes_the_tickets_back_whatever_goes_back_of_the_money() {
    let step = cancel(&paid(), 5, CancelReason::UserRequest);
    assert_eq!(rows(&step), [(Account::Sales, 8, 0, -2)]);
    let asked = refund::requested(&step.payment, &wanted(91, 1200), at(101));
    assert!(asked.postings.is_empty());
    assert!(!cancel(&step.payment, 5, CancelReason::UserRequest).changed, "twice is once");
}

#[test]
fn a_cancellation_that_comes_first_leaves_late_money_without_tickets() {
    let cancelled = cancel(&opened(), 2, CancelReason::UserRequest).payment;
    let late = rules::seen(&cancelled, None, &sight("pi_1", Standing::Captured), at(60));
    assert_eq!(rows(&late), [(Account::Sales, 8, -2400, 0), (Account::Provider, 0, 2400, 0)]);
}

#[test]
fn after_a_holds_end_late_money_has_its_tickets_until_it_is_asked_back_whole() {
    let expired = cancel(&opened(), 2, CancelReason::HoldExpired).payment;
    let late = rules::seen(&expired, None, &sight("pi_1", Standing::Captured), at(700)).payment;
    assert_eq!(late.tickets(), 2, "it may buy the seats");
    let part = refund::requested(&late, &wanted(91, 500), at(701));
    assert!(part.postings.is_empty(), "it bought them, and a part goes back");
    let whole = refund::requested(&late, &wanted(92, 2400), at(701));
    assert_eq!(rows(&whole), [(Account::Sales, 8, 0, -2)]);
    // The other way round.
    let begun = begin(&opened(), token(), 10).payment;
    let paid = hear(&begun, Call::Begin(1), sight("pi_1", Standing::Captured), 700).payment;
    let asked = refund::requested(&paid, &wanted(92, 2400), at(701));
    assert!(asked.postings.is_empty());
    assert_eq!(rows(&cancel(&asked.payment, 2, CancelReason::HoldExpired)), [(Account::Sales, 8, 0, -2)]);
}

fn nothing_due() -> Payment {
    let facts = Facts {
        reservation_id: RESERVATION,
        user_id: Uuid::from_u128(7),
        email: None,
        description: String::new(),
        sale: Some(show::sale(&told(1, 8, 2))),
        seats_version: 1,
        total: euros(0),
        expires_at: at(HOLD),
    };
    rules::opened(&Payment::open(facts, &Context::new(), at(0)), at(0)).payment
}

#[test]
fn a_payment_of_nothing_succeeds_at_once_and_asks_no_provider() {
    let payment = nothing_due();
    let Ok(Paying::Done(step)) = rules::pay(&payment, &wish(page(), "k"), at(10)) else { panic!() };
    assert_eq!((&step.calls[..], &step.said[..]), (&[][..], &[Said::Success][..]));
    assert_eq!(step.key, Some(KeyWrite::Answer { key: key("k"), hash: [1; 32] }));
    assert_eq!(rows(&step), [(Account::Sales, 8, 0, 2)], "tickets, and no money");
    let paid = step.payment;
    assert_eq!((paid.status(), paid.next_check_at, paid.attempts.len()), (PaymentStatus::Succeeded, None, 0));
    let success = paid.success("stripe").unwrap();
    assert_eq!((success.provider.as_str(), success.provider_ref), ("none", format!("none:{}", paid.id)));
    assert_eq!(rules::pay(&paid, &wish(token(), "other"), at(11)).err(), Some(Rejection::AlreadyPaid));
    let over = rules::pay(&payment, &wish(page(), "k"), at(HOLD)).err();
    assert_eq!(over, Some(Rejection::PaymentOver), "the hold is over");
    assert_eq!(rows(&exchange(&paid, 5, 30, 3)), [(Account::Sales, 8, 0, -2), (Account::Sales, 30, 0, 3)]);
}

#[test]
fn a_payment_of_nothing_goes_back_without_a_provider_and_of_no_other_goes_nothing_back() {
    let Ok(Paying::Done(step)) = rules::pay(&nothing_due(), &wish(page(), "k"), at(10)) else { panic!() };
    let id = Uuid::from_u128(91);
    let back = refund::requested(&step.payment, &wanted(91, 0), at(11));
    assert_eq!((&back.calls[..], &back.said[..]), (&[][..], &[Said::RefundCompleted(id)][..]));
    assert_eq!((back.postings.len(), back.payment.next_check_at), (0, None));
    assert_eq!(refund::requested(&back.payment, &wanted(91, 0), at(12)).said, [Said::RefundCompleted(id)]);
    assert_eq!(refund::requested(&paid(), &wanted(91, 0), at(11)).said, [Said::RefundFailed(id)]);
}
