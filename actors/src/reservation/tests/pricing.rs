//! What an order costs: ticket types by request, by count and by exchange; the total that the customer expects.

use bus::contract::auth::Role;
use bus::contract::movie::{Row, Seat, SeatKind, ShowtimeStatus};
use bus::contract::reservation::{BestAvailable, CreateReservation, ExchangeReservation, TicketChoice};
use bus::contract::tariff::{Channel, Fee, FeePer, ReportedAs, TariffType, TaxRules, TicketRefusal};
use bus::contract::{Names, Tariff, TariffCode};

use super::holds::{customer, settings};
use super::*;
use crate::config::ReservationSettings;
use crate::reservation::exchange;
use crate::reservation::holds::Customer;
use crate::reservation::model::{Showtime, Snapshot};
use crate::reservation::order::{Choice, begin, decide};
use crate::reservation::seat_map::SeatMap;

fn code(text: &str) -> TariffCode {
    TariffCode::parse(text).unwrap()
}

fn ticket_type(name: &str, price: i64) -> TariffType {
    TariffType {
        code: code(name),
        name: [(Locale::En, name)].into(),
        proof: Names::default(),
        reported_as: ReportedAs::Full,
        channels: vec![Channel::Web],
        most_per_order: None,
        accompanies: None,
        prices: [(SeatKind::Standard, price)].into(),
    }
}

/// Six seats; adults 12.00, children 8.00, and 1.00 a ticket for booking, which is not given back.
pub(super) fn showtime() -> Showtime {
    let seat = |number| Seat::new(number, SeatKind::Standard);
    let booking = Fee {
        code: code("BOOKING"),
        name: [(Locale::En, "Booking fee")].into(),
        amount: 100,
        per: FeePer::Ticket,
        channels: vec![Channel::Web],
        refundable: false,
    };
    Showtime {
        id: Uuid::nil(),
        version: 1,
        status: ShowtimeStatus::OnSale,
        on_sale_at: None,
        starts_at: at(36_000),
        movie_id: Uuid::nil(),
        movie_title: String::new(),
        layout: vec![Row { label: "A".into(), seats: (1..=6).map(seat).collect() }],
        tariff: Tariff {
            card: None,
            currency: Currency::EUR,
            types: vec![ticket_type("ADULT", 1200), ticket_type("CHILD", 800)],
            surcharges: vec![],
            fees: vec![booking],
            tax: TaxRules::default(),
        },
        site_id: bus::contract::site::DEFAULT_SITE,
        overrides: Default::default(),
    }
}

pub(super) fn by_seats(seats: &[&str]) -> CreateReservation {
    CreateReservation {
        showtime_id: Uuid::nil(),
        seats: Some(ids(seats)),
        tickets: None,
        best_available: None,
        expected_total: None,
        locale: None,
    }
}

fn by_types(tickets: &[(&str, &str)]) -> CreateReservation {
    let tickets = tickets
        .iter()
        .map(|(seat, of)| TicketChoice { seat: SeatId::parse(seat).unwrap(), ticket_type: code(of) });
    CreateReservation { seats: None, tickets: Some(tickets.collect()), ..by_seats(&[]) }
}

fn best_of(types: &[(&str, u16)]) -> BestAvailable {
    let types = types.iter().map(|(of, count)| (code(of), *count)).collect();
    BestAvailable { count: None, types: Some(types), kind: None }
}

fn decided(request: &CreateReservation, showtime: &Showtime) -> Result<Choice, Rejection> {
    let map = SeatMap::new(&showtime.layout, &showtime.tariff.prices(), 0);
    let settings = settings();
    Ok(decide(request, showtime, &map, &settings, Locale::En, at(0))?.expect("nothing is marked"))
}

fn types(choice: &Choice) -> Vec<(&str, &str)> {
    choice.quote.lines.iter().map(|line| (line.seat.as_str(), line.ticket_type.as_str())).collect()
}

#[test]
fn an_order_that_names_no_types_gets_the_default_type() {
    let choice = decided(&by_seats(&["A1", "A2"]), &showtime()).unwrap();
    assert_eq!(types(&choice), [("A1", "ADULT"), ("A2", "ADULT")]);
    assert_eq!(choice.quote.total, euros(2600));
}

#[test]
fn each_seat_has_the_price_of_its_type() {
    let choice = decided(&by_types(&[("A2", "CHILD"), ("A1", "ADULT")]), &showtime()).unwrap();
    assert_eq!(types(&choice), [("A2", "CHILD"), ("A1", "ADULT")]);
    assert_eq!(choice.quote.total, euros(800 + 1200 + 200));
}

#[test]
fn best_available_gives_each_type_its_number_of_seats() {
    let best = CreateReservation {
        seats: None,
        best_available: Some(best_of(&[("CHILD", 1), ("ADULT", 2)])),
        ..by_seats(&[])
    };
    let choice = decided(&best, &showtime()).unwrap();
    let names: Vec<&str> = types(&choice).into_iter().map(|(_, of)| of).collect();
    assert_eq!(names, ["ADULT", "ADULT", "CHILD"]);
    let best = CreateReservation { best_available: Some(best_of(&[("ADULT", 1), ("DOG", 1)])), ..best };
    let unknown = Rejection::Tickets(TicketRefusal::UnknownTypes(vec![code("DOG")]));
    assert_eq!(decided(&best, &showtime()).err(), Some(unknown));
}

#[test]
fn seats_are_sold_from_the_start_of_the_sale_on() {
    let at_sale = |on_sale_at| {
        let showtime = Showtime { on_sale_at, ..showtime() };
        decided(&by_seats(&["A1"]), &showtime).err()
    };
    assert_eq!((at_sale(None), at_sale(Some(at(0)))), (None, None));
    assert_eq!(at_sale(Some(at(1))), Some(Rejection::NotOnSaleYet { on_sale_at: at(1) }));
    let draft = Showtime { status: ShowtimeStatus::Draft, ..showtime() };
    assert_eq!(decided(&by_seats(&["A1"]), &draft).err(), Some(Rejection::NoSuchShowtime));
}

#[test]
fn a_total_that_the_customer_did_not_expect_is_refused_with_the_new_one() {
    let seen = CreateReservation { expected_total: Some(euros(1300)), ..by_seats(&["A1"]) };
    assert!(decided(&seen, &showtime()).is_ok());
    let mut dearer = showtime();
    dearer.tariff.types[0].prices = [(SeatKind::Standard, 1500)].into();
    let changed = Rejection::PriceChanged { total: euros(1600) };
    assert_eq!(decided(&seen, &dearer).err(), Some(changed));
}

/// A paid order of an adult on A1 and a child on A2.
fn family() -> Reservation {
    let (showtime, settings) = (showtime(), ReservationSettings { refund_percent: 100, ..settings() });
    let quote = decided(&by_types(&[("A1", "ADULT"), ("A2", "CHILD")]), &showtime).unwrap().quote;
    let total = quote.total;
    let saga = begin(quote, &showtime, None, Locale::En, &settings, at(0)).next;
    Reservation { saga: Saga { captured: Some(total), state: confirmed(), ..saga }, ..reservation() }
}

fn exchanged(request: ExchangeReservation, showtime: Showtime) -> Result<Input, Rejection> {
    exchanged_by(&customer(Role::User, "::1"), request, &family(), showtime)
}

fn exchanged_by(
    customer: &Customer,
    request: ExchangeReservation,
    old: &Reservation,
    showtime: Showtime,
) -> Result<Input, Rejection> {
    let hall = Snapshot { showtime, sequence: 0, claims: vec![] };
    exchange::choose(&request, old, &hall, &settings(), customer, at(0))
}

fn to_seats(seats: &[&str]) -> ExchangeReservation {
    ExchangeReservation {
        id: Uuid::nil(),
        showtime_id: None,
        seats: Some(ids(seats)),
        tickets: None,
        best_available: None,
        version: None,
    }
}

fn place_of(input: Result<Input, Rejection>) -> Place {
    match input {
        Ok(Input::Exchange(place)) => place,
        Ok(Input::BeginExchange(new)) => new.to,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_exchange_keeps_the_types_where_the_other_showtime_sells_them() {
    let named = |place: &Place| -> Vec<String> {
        place.lines.iter().map(|line| format!("{} {}", line.seat, line.ticket_type)).collect()
    };
    let same = place_of(exchanged(to_seats(&["A4", "A5"]), showtime()));
    assert_eq!((named(&same), same.total), (vec!["A4 ADULT".into(), "A5 CHILD".into()], euros(2200)));
    let fewer = place_of(exchanged(to_seats(&["A4"]), showtime()));
    assert_eq!((named(&fewer), fewer.total), (vec!["A4 ADULT".into()], euros(1300)));
    let best = ExchangeReservation {
        seats: None,
        best_available: Some(BestAvailable { count: Some(2), types: None, kind: None }),
        ..to_seats(&[])
    };
    assert_eq!(place_of(exchanged(best, showtime())).total, euros(2200));
    let mut adults_only = showtime();
    adults_only.tariff.types.truncate(1);
    let dearer = place_of(exchanged(to_seats(&["A4", "A5"]), adults_only));
    assert_eq!((named(&dearer), dearer.total), (vec!["A4 ADULT".into(), "A5 ADULT".into()], euros(2600)));
    // Other types for the same seats are an exchange, too.
    let tickets = by_types(&[("A1", "CHILD"), ("A2", "CHILD")]).tickets;
    let children = ExchangeReservation { seats: None, tickets, ..to_seats(&[]) };
    assert_eq!(place_of(exchanged(children, showtime())).total, euros(1800));
    assert_eq!(exchanged(to_seats(&["A1", "A2"]), showtime()).err(), Some(Rejection::SameSeats));
}

fn refunded(step: &Step) -> i64 {
    let amount = |event: &SagaEvent| match event {
        SagaEvent::RefundRequested(refund) => refund.total.amount,
        _ => 0,
    };
    step.events.iter().map(amount).sum()
}

#[test]
fn a_fee_that_is_not_refundable_stays_only_when_the_customer_cancels() {
    let order = family();
    let back = |order: &Reservation, by| refunded(&order.step(&cancel(by), at(10)).unwrap());
    assert_eq!(back(&order, CancelledBy::User), 2_000);
    assert_eq!(back(&order, CancelledBy::Showtime), 2_200);
    // An exchange for one seat and a cancellation give back no more than the cancellation alone.
    let input = exchanged(to_seats(&["A4"]), showtime()).unwrap();
    let step = order.step(&input, at(10)).unwrap();
    let first = refunded(&step);
    let moved = order.with(step.next, &input, at(10));
    assert_eq!((first, first + back(&moved, CancelledBy::User)), (800, 2_000));
}

/// Neither the policy of the other showtime nor its prices without a fee make money refundable that was not.
#[test]
fn a_dearer_exchange_is_on_no_better_terms_than_the_order_in_whose_place_it_comes() {
    let mut dearer = showtime();
    dearer.tariff.fees.clear();
    dearer.tariff.types[0].prices = [(SeatKind::Standard, 1_500)].into();
    let until = |minutes: u64| at(36_000 - 60 * minutes as i64);
    let terms_of = |until_minutes: u64, percent: u8, theirs: ReservationSettings| {
        let mut old = family();
        old.saga.terms.refund_policy = RefundPolicy { until_minutes, percent };
        old.saga.terms.refund_until = until(until_minutes);
        let hall = Snapshot { showtime: dearer.clone(), sequence: 0, claims: vec![] };
        let customer = customer(Role::User, "::1");
        match exchange::choose(&to_seats(&["A4", "A5"]), &old, &hall, &theirs, &customer, at(0)) {
            Ok(Input::BeginExchange(new)) => new.saga.terms,
            other => panic!("{other:?}"),
        }
    };
    let two_hours = |refund_percent| ReservationSettings { refund_percent, ..settings() };
    for (until_minutes, percent, theirs) in [(180, 0, 100), (180, 100, 0), (60, 50, 50)] {
        let terms = terms_of(until_minutes, percent, two_hours(theirs));
        let until_minutes = until_minutes.max(120);
        let stricter = RefundPolicy { until_minutes, percent: percent.min(theirs) };
        assert_eq!((terms.refund_policy, terms.fees_kept), (stricter, 200));
        assert_eq!(terms.refund_until, until(until_minutes));
    }
}

#[test]
fn a_paid_order_is_exchanged_for_free_seats_by_proven_addresses_and_staff() {
    let mut free = showtime();
    free.tariff.fees.clear();
    for of in &mut free.tariff.types {
        of.prices = [(SeatKind::Standard, 0)].into();
    }
    let by = |customer: &Customer, old: &Reservation| {
        exchanged_by(customer, to_seats(&["A4", "A5"]), old, free.clone()).map(|input| input.name())
    };
    let unproven = customer(Role::User, "::1");
    assert_eq!(by(&unproven, &family()), Err(Rejection::EmailUnproven));
    assert_eq!(by(&customer(Role::Guest, "::1"), &family()), Err(Rejection::EmailUnproven));
    let proven = Customer { is_proven: true, ..customer(Role::User, "::1") };
    assert_eq!(by(&proven, &family()), Ok("exchange"));
    assert_eq!(by(&customer(Role::Admin, "::1"), &family()), Ok("exchange"));
    // Seats that were free before stay so.
    let mut before = family();
    before.saga.terms.total = euros(0);
    assert_eq!(by(&unproven, &before), Ok("exchange"));
}
