//! The ticket log: what each step sells, ends and gives back, by the money of the order.

use bus::contract::tariff::Tax;
use bus::contract::{FeeLine, TariffCode};

use super::super::tickets::{TicketChanges, tickets};
use super::*;

fn fee(amount: i64, seat: Option<&str>) -> FeeLine {
    FeeLine {
        code: TariffCode::parse("BOOKING").unwrap(),
        name: "Booking".into(),
        seat: seat.map(|seat| SeatId::parse(seat).unwrap()),
        price: euros(amount),
        tax: Tax { rate: 19_000, amount: amount * 19 / 119 },
        refundable: true,
    }
}

/// Seats A1 to A3 with an order fee of €1.00; A3 has a fee of its own.
fn order() -> Reservation {
    let mut saga = saga();
    saga.terms.lines = vec![line("A1", 1500), line("A2", 900), line("A3", 0)];
    saga.terms.fees = vec![fee(100, None), fee(50, Some("A3"))];
    saga.terms.total = euros(2550);
    Reservation { saga, ..reservation() }
}

fn paid() -> Reservation {
    let mut order = order();
    order.saga.captured = Some(euros(2550));
    order.saga.state = confirmed();
    order
}

/// The order after an input, and the rows that the step adds.
fn after(before: &Reservation, input: &Input) -> (Reservation, TicketChanges) {
    let step = before.step(input, at(100)).unwrap();
    let after = before.with(step.next, input, at(100));
    let changes = TicketChanges::of_step(before, &after, &step.events);
    (after, changes)
}

fn returned(changes: &TicketChanges) -> Vec<i64> {
    changes.ended.iter().map(|end| end.returned).collect()
}

#[test]
fn an_order_fee_is_spread_over_the_tickets_to_the_cent() {
    let tickets = tickets(&order().saga.terms);
    let fees: Vec<i64> = tickets.iter().map(|ticket| ticket.fee).collect();
    assert_eq!(fees, [34, 33, 83]);
    assert_eq!(tickets.iter().map(|ticket| ticket.value()).sum::<i64>(), 2550);
    assert_eq!(tickets.iter().map(|ticket| ticket.fee_tax.amount).sum::<i64>(), 15 + 7);
}

#[test]
fn a_sale_sells_each_ticket_once_and_a_cancellation_ends_each_with_its_share() {
    let success = PaymentSuccess { total: euros(2550), ..success() };
    let mut begun = order();
    begun.saga.state = State::AwaitingPayment { begun: true };
    let (sold, changes) = after(&begun, &Input::PaymentSucceeded(success.clone()));
    assert_eq!((changes.sold.len(), changes.ended.len(), changes.refunded.len()), (3, 0, 0));
    let (_, again) =
        after(&sold, &Input::Readdress { email: "b@c.de".into(), by: Uuid::nil(), by_staff: true });
    assert_eq!((again.sold.len(), again.ended.len()), (0, 0));

    let mut half = sold.clone();
    half.saga.terms.refund_policy.percent = 50;
    let (gone, changes) = after(&half, &cancel(CancelledBy::User));
    assert_eq!((returned(&changes).iter().sum::<i64>(), changes.sold.len()), (1275, 0));
    assert_eq!(returned(&changes), [767, 467, 41]);
    assert!(changes.ended.iter().all(|end| end.reason == "USER_REQUEST" && end.carried == 0));
    // Staff give the rest back later: for tickets that have ended.
    let (_, later) = after(&gone, &give_back(Some(1275)));
    assert_eq!((later.ended.len(), later.sold.len()), (0, 0));
    assert_eq!(later.refunded.iter().map(|refunded| refunded.returned).sum::<i64>(), 1275);
}

#[test]
fn a_part_given_back_by_staff_is_of_valid_tickets_and_its_retry_is_no_second_one() {
    let (parted, changes) = after(&paid(), &give_back(Some(10)));
    assert_eq!((changes.sold.len(), changes.ended.len()), (0, 0));
    assert_eq!(changes.refunded.iter().map(|refunded| refunded.returned).sum::<i64>(), 10);
    let refund_id = parted.saga.parts[0].refund.id;
    let (stuck, changes) = after(&parted, &Input::RefundFailed { refund_id, code: None, version: 9 });
    assert!(changes.refunded.is_empty());
    let (_, changes) = after(&stuck, &resume());
    assert!(changes.refunded.is_empty());
}

#[test]
fn a_cheaper_exchange_carries_the_new_price_and_returns_the_difference() {
    let place = Place { lines: vec![line("A1", 1500), line("B1", 400)], total: euros(1900), ..place(1900) };
    let (moved, changes) = after(&paid(), &Input::Exchange(place));
    // A1 had a share of the fee: it is another ticket now.
    assert_eq!(changes.sold.iter().map(|ticket| ticket.value()).collect::<Vec<_>>(), [1500, 400]);
    let carried: Vec<i64> = changes.ended.iter().map(|end| end.carried).collect();
    assert!(carried[0] >= 1500, "{carried:?}");
    assert_eq!(carried.iter().sum::<i64>(), 1900);
    assert_eq!(returned(&changes).iter().sum::<i64>(), 650);
    assert!(changes.ended.iter().all(|end| end.reason == "EXCHANGED"));
    assert_eq!(moved.saga.terms.total, euros(1900));
}

#[test]
fn seats_that_fall_away_without_an_exchange_are_returned_and_what_stays_keeps_its_ticket() {
    let before = paid();
    let mut without_fee = before.clone();
    without_fee.saga.terms.fees = vec![fee(50, Some("A3"))];
    without_fee.saga.terms.total = euros(2450);
    let mut rest = without_fee.clone();
    rest.saga.terms.lines.remove(1);
    rest.saga.terms.total = euros(1550);
    let changes = TicketChanges::of_step(&without_fee, &rest, &[]);
    let ended: Vec<_> =
        changes.ended.iter().map(|end| (end.seat.as_str(), end.reason, end.carried)).collect();
    assert_eq!((ended, changes.sold.len()), (vec![("A2", "RETURNED", 0)], 0));

    // The fee of the order is paid by fewer tickets: those that stay are issued anew, for all but the cents they share.
    let mut rest = before.clone();
    rest.saga.terms.lines.remove(1);
    rest.saga.terms.total = euros(1650);
    let changes = TicketChanges::of_step(&before, &rest, &[]);
    let reasons: Vec<_> = changes.ended.iter().map(|end| (end.seat.as_str(), end.reason)).collect();
    assert_eq!(reasons, [("A1", "REPLACED"), ("A2", "RETURNED"), ("A3", "REPLACED")]);
    let carried: Vec<i64> = changes.ended.iter().map(|end| end.carried).collect();
    assert_eq!((carried[1], carried.iter().sum::<i64>()), (33, 1650));
    assert_eq!(changes.sold.iter().map(|ticket| ticket.value()).sum::<i64>(), 1650);
}

#[test]
fn late_money_buys_the_seats_again_or_goes_back_without_any_ticket() {
    let mut expired = order();
    expired.saga.state = State::Cancelled { reason: CancelReason::HoldExpired };
    let success = PaymentSuccess { total: euros(2550), ..success() };
    let (_, changes) = after(&expired, &Input::PaymentSucceeded(success.clone()));
    assert_eq!(changes.sold.len(), 3);
    let (_, changes) = after(&expired, &Input::ReclaimLost(success));
    assert_eq!((changes.sold.len(), changes.ended.len(), changes.refunded.len()), (0, 0, 0));
}
