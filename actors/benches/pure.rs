//! The parts that decide without asking anybody: a saga's step, the best seats of a hall, a seat map's diff, the quote of an
//! order, the delay of a retry. `make bench-pure`; figures are in `docs/performance.md`.

use std::hint::black_box;

use actors::reservation::best_available::best_available;
use actors::reservation::saga::{Input, Saga, Terms};
use actors::reservation::seat_map::SeatMap;
use bus::contract::movie::{Prices, Row, Seat, SeatKind};
use bus::contract::payment::PaymentSuccess;
use bus::contract::reservation::{RefundPolicy, SeatChange, SeatStatus, SeatsChanged};
use bus::contract::tariff::{
    Channel, Fee, FeePer, ReportedAs, TariffSurcharge, TariffType, TaxRules, Ticket, quote,
};
use bus::contract::{Currency, Locale, Money, Names, SeatId, Tariff, TariffCode, Timestamp};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use uuid::Uuid;

const PRICE: Money = Money { amount: 1200, currency: Currency::EUR };
const ROWS: u8 = 20;
const COLUMNS: u16 = 25;

fn at(seconds: i64) -> Timestamp {
    (time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)).into()
}

/// A reservation that waits for its payment, which has begun.
fn paying() -> (Saga, Uuid) {
    let terms = Terms {
        lines: vec![],
        fees: vec![],
        fees_kept: 0,
        total: PRICE,
        starts_at: at(36_000),
        hold_seconds: 600,
        hold_until_max: at(1200),
        grace_seconds: 60,
        refund_until: at(28_800),
        refund_policy: RefundPolicy { until_minutes: 120, percent: 100 },
        sales_cutoffs: Default::default(),
        site_id: bus::contract::site::DEFAULT_SITE,
        locale: Locale::En,
    };
    let saga = Saga::start(terms, at(600), None).next;
    let payment_id = Uuid::from_u128(1);
    let saga = saga.step(&Input::BeginPayment { payment_id }, at(30)).expect("a hold may be paid").next;
    (saga, payment_id)
}

/// 500 seats, of which every third is sold.
fn hall() -> SeatMap {
    let label = |row: u8| char::from(b'A' + row).to_string();
    let seats = || (1..=COLUMNS).map(|number| Seat::new(number, SeatKind::Standard)).collect();
    let layout: Vec<Row> = (0..ROWS).map(|row| Row { label: label(row), seats: seats() }).collect();
    let mut map = SeatMap::new(&layout, &Prices::from([(SeatKind::Standard, PRICE)]), 1);
    let sold: Vec<SeatId> = map.seats().iter().step_by(3).map(|seat| seat.id.clone()).collect();
    map.load(1, sold.iter().map(|id| (id, SeatStatus::Sold)));
    map
}

fn saga_step(c: &mut Criterion) {
    let (saga, payment_id) = paying();
    let success = Input::PaymentSucceeded(PaymentSuccess {
        payment_id,
        reservation_id: Uuid::nil(),
        total: PRICE,
        provider: "stripe".into(),
        provider_ref: "pi_1".into(),
        paid_at: at(60),
        version: 3,
    });
    c.bench_function("saga step: paid to confirmed", |b| b.iter(|| saga.step(black_box(&success), at(60))));
    c.bench_function("saga step: nothing new", |b| {
        let confirmed = saga.step(&success, at(60)).expect("it is paid").next;
        b.iter(|| confirmed.step(black_box(&success), at(61)));
    });
}

fn seats(c: &mut Criterion) {
    let map = hall();
    c.bench_function("best available: 2 of 500 seats", |b| {
        b.iter(|| best_available(black_box(&map), 2, SeatKind::Standard, &[]).expect("there are two"));
    });
    c.bench_function("best available: 8 of 500 seats, none together", |b| {
        b.iter(|| best_available(black_box(&map), 8, SeatKind::Standard, &[]).expect("there are eight"));
    });
    let held = |(row, number)| SeatChange { id: SeatId::new(row, number), status: SeatStatus::Held };
    let diff = SeatsChanged {
        sequence: 2,
        changes: [("A", 2), ("A", 3), ("H", 5), ("T", 24)].map(held).to_vec(),
        reload: false,
    };
    c.bench_function("seat map: diff of 4 seats", |b| {
        b.iter_batched_ref(hall, |map| map.apply(black_box(&diff)), BatchSize::SmallInput);
    });
    c.bench_function("seat map: what 500 seats look like", |b| b.iter(|| black_box(&map).view()));
}

/// Two adults, a child and a student, with a surcharge, two fees and tax.
fn prices(c: &mut Criterion) {
    let code = |text: &str| TariffCode::parse(text).expect("a code");
    let names = |text: &str| Names::from([(Locale::En, text), (Locale::De, text)]);
    let ticket_type = |(name, price): (&str, i64)| TariffType {
        code: code(name),
        name: names(name),
        proof: names("Card"),
        reported_as: ReportedAs::Full,
        channels: vec![Channel::Web],
        most_per_order: Some(8),
        accompanies: None,
        prices: [(SeatKind::Standard, price), (SeatKind::Loveseat, price + 300)].into(),
    };
    let fee = |name: &str, per| Fee {
        code: code(name),
        name: names(name),
        amount: 50,
        per,
        channels: vec![Channel::Web],
        refundable: true,
    };
    let tariff = Tariff {
        card: None,
        currency: Currency::EUR,
        types: [("ADULT", 1200), ("CHILD", 800), ("STUDENT", 900), ("SENIOR", 1000)].map(ticket_type).into(),
        surcharges: vec![TariffSurcharge { code: code("3D"), name: names("3D"), amount: 200 }],
        fees: vec![fee("BOOKING", FeePer::Ticket), fee("ORDER", FeePer::Order)],
        tax: TaxRules { tickets: 7_000, fees: 19_000, included: true },
    };
    let types = ["ADULT", "ADULT", "CHILD", "STUDENT"].map(code);
    let seats: Vec<SeatId> = (1..=4).map(|number| SeatId::new("F", number)).collect();
    let each = seats.iter().zip(&types);
    let tickets: Vec<Ticket<'_>> =
        each.map(|(seat, ticket_type)| Ticket { seat, kind: SeatKind::Standard, ticket_type }).collect();
    c.bench_function("quote of 4 tickets", |b| {
        b.iter(|| quote(black_box(&tariff), &tickets, Channel::Web, Locale::De).expect("they are sold"));
    });
}

fn retry(c: &mut Criterion) {
    c.bench_function("retry delay", |b| b.iter(|| bus::retry::delay(black_box(5), black_box(17))));
}

criterion_group!(pure, saga_step, seats, prices, retry);
criterion_main!(pure);
