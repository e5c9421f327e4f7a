//! The parts that decide without asking anybody: a saga's step, the best seats of a hall, a seat map's diff, the delay of a
//! retry. `make bench-pure`; figures are in `docs/performance.md`.

use std::hint::black_box;

use actors::reservation::best_available::best_available;
use actors::reservation::saga::{Input, Saga, Terms};
use actors::reservation::seat_map::SeatMap;
use bus::contract::movie::{Prices, Row, Seat, SeatKind};
use bus::contract::payment::PaymentSuccess;
use bus::contract::reservation::{RefundPolicy, SeatChange, SeatStatus, SeatsChanged};
use bus::contract::{Currency, Money, SeatId, Timestamp};
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
        total: PRICE,
        starts_at: at(36_000),
        hold_seconds: 600,
        hold_until_max: at(1200),
        grace_seconds: 60,
        refund_until: at(28_800),
        refund_policy: RefundPolicy { until_minutes: 120, percent: 100 },
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

fn retry(c: &mut Criterion) {
    c.bench_function("retry delay", |b| b.iter(|| bus::retry::delay(black_box(5), black_box(17))));
}

criterion_group!(pure, saga_step, seats, retry);
criterion_main!(pure);
