//! Single tickets that are given back: what is refunded for them and for the others later, and what has to be left.

use bus::contract::movie::{Row, SeatKind, ShowtimeStatus};
use bus::contract::tariff::TariffType;
use bus::contract::{FeeLine, Tariff, TariffCode};

use super::halls::layout_row;
use super::*;
use crate::reservation::model::Showtime;
use crate::reservation::returns::{as_plan, choose};

/// A1 for 15.00 and A2 for 9.00, paid.
fn paid(percent: u8) -> Saga {
    let saga = Saga { captured: Some(euros(2400)), state: confirmed(), ..saga() };
    let refund_policy = RefundPolicy { until_minutes: 120, percent };
    Saga { terms: Terms { refund_policy, ..saga.terms.clone() }, ..saga }
}

fn by_guest() -> Input {
    give_seat_back(Cancel::by(CancelledBy::User))
}

fn by_staff(percent: u8) -> Input {
    give_seat_back(Cancel { percent: Some(percent), ..Cancel::by(CancelledBy::Admin) })
}

/// The saga after the inputs, and the amount that each gives back.
fn after(mut saga: Saga, inputs: &[(&Input, i64)]) -> (Saga, Vec<i64>) {
    let mut back = Vec::new();
    for (input, seconds) in inputs {
        let step = saga.step(input, at(*seconds)).unwrap();
        let refunds = step.events.iter().map(|event| match event {
            SagaEvent::RefundRequested(refund) => refund.total.amount,
            _ => 0,
        });
        back.push(refunds.sum());
        saga = step.next;
    }
    (saga, back)
}

fn amounts(saga: Saga, inputs: &[(&Input, i64)]) -> Vec<i64> {
    after(saga, inputs).1
}

#[test]
fn a_ticket_gives_back_the_policys_share_of_its_price_and_the_rest_stays_confirmed() {
    let step = paid(50).step(&by_guest(), at(100)).unwrap();
    assert_eq!(names(&step), ["updated", "refund-requested"]);
    let SagaEvent::Updated { returned, refund, .. } = &step.events[0] else { panic!("{:?}", step.events) };
    assert_eq!((returned, *refund), (&ids(&["A1"]), euros(750)));
    assert_eq!((step.next.state.name(), step.next.terms.total), (SagaState::Confirmed, euros(900)));
    assert_eq!(step.next.terms.lines, [line("A2", 900)]);
    let user = cancel(CancelledBy::User);
    assert_eq!(amounts(paid(50), &[(&by_guest(), 100), (&user, 200)]), [750, 450]);
    assert_eq!(amounts(paid(100), &[(&by_guest(), 100), (&user, 200)]), [1500, 900]);
    assert_eq!(amounts(paid(0), &[(&by_guest(), 100)]), [0]);
    assert_eq!(names(&paid(0).step(&by_guest(), at(100)).unwrap()), ["updated"]);
}

#[test]
fn nothing_comes_back_for_a_ticket_that_is_given_back_too_late_whatever_happens_later() {
    let (user, off) = (cancel(CancelledBy::User), cancel(CancelledBy::Showtime));
    assert_eq!(amounts(paid(100), &[(&by_guest(), 30_000), (&user, 30_001)]), [0, 0]);
    assert_eq!(amounts(paid(100), &[(&by_guest(), 30_000), (&off, 30_001)]), [0, 900]);
}

#[test]
fn the_share_that_staff_choose_for_a_ticket_changes_nothing_for_the_others() {
    let (user, off) = (cancel(CancelledBy::User), cancel(CancelledBy::Showtime));
    for (percent, first) in [(100, 1500), (0, 0), (20, 300)] {
        let staff = by_staff(percent);
        assert_eq!(amounts(paid(50), &[(&staff, 100), (&user, 200)]), [first, 450]);
        assert_eq!(amounts(paid(50), &[(&staff, 100), (&off, 200)]), [first, 900]);
        assert_eq!(amounts(paid(50), &[(&staff, 30_000), (&user, 30_001)]), [first, 0]);
    }
    let (saga, _) = after(paid(50), &[(&by_staff(100), 100)]);
    assert_eq!(
        saga.step(&give_back(Some(901)), at(200)).unwrap_err(),
        Rejection::RefundTooLarge { left: euros(900) }
    );
}

/// One euro of each ticket is a fee that is not given back.
fn with_fees() -> (Saga, Input) {
    let fee = |seat: &str| FeeLine {
        code: TariffCode::parse("BOOKING").unwrap(),
        name: String::new(),
        seat: SeatId::parse(seat),
        price: euros(100),
        tax: Default::default(),
        refundable: false,
    };
    let fees = vec![fee("A1"), fee("A2")];
    let old = paid(100);
    let terms = Terms { fees, fees_kept: 200, total: euros(2600), ..old.terms.clone() };
    let rest = Place { lines: vec![line("A2", 900)], fees: vec![fee("A2")], ..place(1000) };
    let returned = Return { seats: ids(&["A1"]), rest, cancel: Cancel::by(CancelledBy::User) };
    (Saga { captured: Some(euros(2600)), terms, ..old }, Input::Return(Box::new(returned)))
}

#[test]
fn a_fee_that_is_not_refundable_stays_with_the_ticket_that_a_guest_gives_back() {
    let (saga, back) = with_fees();
    assert_eq!(amounts(saga.clone(), &[(&back, 100), (&cancel(CancelledBy::User), 200)]), [1500, 900]);
    // Of what is left all comes back when the cinema is the cause, and when a dearer order takes its place.
    assert_eq!(amounts(saga.clone(), &[(&back, 100), (&cancel(CancelledBy::Showtime), 200)]), [1500, 1000]);
    let (left, _) = after(saga, &[(&back, 100)]);
    assert_eq!(left.credit_for(OLD, euros(2000)).total, euros(1000));
}

#[test]
fn a_ticket_is_given_back_of_a_confirmed_order_only_until_the_show_begins() {
    let refused = |saga: Saga, seconds| saga.step(&by_guest(), at(seconds)).unwrap_err();
    assert_eq!(refused(paid(100), 36_000), Rejection::ShowtimeStarted);
    assert_eq!(refused(saga(), 100), Rejection::NotConfirmed);
    let (running, _) = after(paid(100), &[(&begin_exchange(1), 100)]);
    assert_eq!(refused(running, 100), Rejection::ExchangeRunning);
    let (ended, _) = after(paid(100), &[(&cancel(CancelledBy::User), 100)]);
    assert_eq!(refused(ended, 100), Rejection::NotConfirmed);
}

/// An order for these seats of a hall, with the types of their tickets.
fn order(rows: &[&str], tickets: &[(&str, &str)]) -> (Reservation, Showtime) {
    let of =
        |seat: &str, name: &str| Line { ticket_type: TariffCode::parse(name).unwrap(), ..line(seat, 1200) };
    let lines: Vec<Line> = tickets.iter().map(|(seat, name)| of(seat, name)).collect();
    let total = euros(1200 * lines.len() as i64);
    let old = paid(100);
    let saga = Saga { captured: Some(total), terms: Terms { lines, total, ..old.terms.clone() }, ..old };
    let kinds = [SeatKind::Standard, SeatKind::Wheelchair, SeatKind::Companion, SeatKind::Loveseat];
    let mut tariff = Tariff::of_prices(&kinds.map(|kind| (kind, euros(1200))).into());
    let adult = TariffType { code: TariffCode::parse("ADULT").unwrap(), ..tariff.types[0].clone() };
    let free = TariffType {
        code: TariffCode::parse("COMPANION").unwrap(),
        accompanies: Some(adult.code.clone()),
        ..adult.clone()
    };
    tariff.types = vec![adult, free];
    let layout: Vec<Row> = ('A'..).zip(rows).map(|(label, row)| layout_row(label, row)).collect();
    let showtime = Showtime {
        id: Uuid::nil(),
        version: 7,
        status: ShowtimeStatus::OnSale,
        on_sale_at: None,
        starts_at: at(36_000),
        movie_id: Uuid::nil(),
        movie_title: String::new(),
        layout,
        tariff,
        site_id: bus::contract::site::DEFAULT_SITE,
        overrides: Default::default(),
    };
    (Reservation { saga, version: 4, ..reservation() }, showtime)
}

fn give(of: &(Reservation, Showtime), seats: &[&str]) -> Result<Input, Rejection> {
    choose(&of.0, &ids(seats), Cancel::by(CancelledBy::User), &of.1, at(100))
}

fn incomplete(of: &(Reservation, Showtime), seats: &[&str]) -> (Vec<SeatId>, Vec<String>) {
    match give(of, seats) {
        Err(Rejection::OrderIncomplete { seats, ticket_types }) => {
            (seats, ticket_types.iter().map(|of| of.as_str().to_owned()).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_left_must_be_an_order_that_could_be_bought() {
    let adults = |seats: &[&'static str]| seats.iter().map(|seat| (*seat, "ADULT")).collect::<Vec<_>>();
    let love = order(&["SSLL"], &adults(&["A1", "A3", "A4"]));
    assert_eq!(incomplete(&love, &["A4"]), (ids(&["A3", "A4"]), vec![]));
    assert!(give(&love, &["A1"]).is_ok() && give(&love, &["A4", "A3"]).is_ok());
    let beside = order(&["SWCS"], &adults(&["A2", "A3"]));
    assert_eq!(incomplete(&beside, &["A2"]), (ids(&["A3"]), vec![]));
    assert!(give(&beside, &["A3"]).is_ok(), "the wheelchair place may stay alone");
    let companion = order(&["SSSS"], &[("A1", "ADULT"), ("A2", "COMPANION"), ("A3", "ADULT")]);
    assert!(give(&companion, &["A1"]).is_ok());
    let alone = (vec![], vec!["COMPANION".to_owned(), "ADULT".to_owned()]);
    assert_eq!(incomplete(&companion, &["A3", "A1"]), alone);
    // A type that the showtime does not sell any more has no rule.
    let old = order(&["SSSS"], &[("A1", "PENSIONER"), ("A2", "ADULT")]);
    assert!(give(&old, &["A2"]).is_ok());
}

#[test]
fn seats_of_another_order_are_refused_and_all_seats_are_a_cancellation() {
    let of = order(&["SSSS"], &[("A1", "ADULT"), ("A2", "ADULT")]);
    assert_eq!(give(&of, &["A1", "A3"]), Err(Rejection::NotYourSeats(ids(&["A3"]))));
    let whole = Cancel { planned_on: Some(4), ..Cancel::by(CancelledBy::User) };
    assert_eq!(give(&of, &["A2", "A1"]), Ok(Input::Cancel(whole)));
}

#[test]
fn the_plan_is_what_the_step_does_and_is_refused_by_every_other_version() {
    let of = order(&["SSSS"], &[("A1", "ADULT"), ("A2", "ADULT"), ("A3", "ADULT")]);
    let input = give(&of, &["A3", "A1"]).unwrap();
    let plan = as_plan(&of.0, &input, at(100)).unwrap();
    assert_eq!((plan.version, plan.seats, plan.refund), (4, ids(&["A1", "A3"]), euros(2400)));
    assert_eq!((plan.lines.len(), plan.total, plan.until), (1, euros(1200), at(28_800)));
    let step = of.0.step(&input, at(100)).unwrap();
    let after = of.0.with(step.next, &input, at(100));
    assert_eq!((after.saga.terms.lines.clone(), after.saga.terms.total), (plan.lines, plan.total));
    assert_eq!((after.version, after.starts_at), (5, of.0.starts_at));
    assert!(matches!(after.step(&input, at(100)), Err(Rejection::PlanChanged(Some(_)))));
    let late = as_plan(&of.0, &input, at(30_000)).unwrap();
    assert_eq!((late.refund, late.until), (euros(0), at(36_000)));
}

#[test]
fn a_checkpoint_keeps_what_was_decided_apart_from_the_policy() {
    let (saga, _) = after(paid(50), &[(&by_staff(100), 100)]);
    let written = serde_json::to_string(&saga).unwrap();
    assert_eq!(serde_json::from_str::<Saga>(&written).unwrap(), saga);
    assert!(!serde_json::to_string(&paid(50)).unwrap().contains("apart"));
}
