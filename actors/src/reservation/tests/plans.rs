//! Plans: a plan made on one version is applied to no other, and no sequence of a customer's exchanges, returns and cancellations
//! gives back more than the policy's share, nor a seat for less than its price.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use bus::contract::{FeeLine, TariffCode};

use super::*;

/// A customer who bought once, may move to other seats and give seats back as often as they like, and may cancel.
struct Customer {
    order: Reservation,
    /// The price of the first order, and of each dearer exchange the difference that was charged.
    captured: i64,
    /// What is left of each capture at the provider.
    captures: BTreeMap<String, i64>,
    returned: i64,
    /// Paid fees that are not given back, whatever the order is exchanged for.
    fees: i64,
    /// Each order may round its share up by less than one.
    orders: i64,
}

fn bought(prices: &[i64], percent: u8) -> Reservation {
    bought_with_fee(prices, 0, percent)
}

/// Each ticket has this fee, which is not given back.
fn bought_with_fee(prices: &[i64], fee: i64, percent: u8) -> Reservation {
    let lines: Vec<Line> = prices.iter().zip(1..).map(|(price, n)| line(&format!("A{n}"), *price)).collect();
    let fees: Vec<FeeLine> = lines.iter().filter(|_| fee > 0).map(|line| fee_of(line, fee)).collect();
    let fees_kept = fees.len() as i64 * fee;
    let total = euros(prices.iter().sum::<i64>() + fees_kept);
    let refund_policy = RefundPolicy { until_minutes: 120, percent };
    let terms = Terms { lines, fees, fees_kept, total, refund_policy, ..saga().terms };
    let saga = Saga { captured: Some(total), state: confirmed(), terms, ..saga() };
    Reservation { saga, ..reservation() }
}

fn fee_of(line: &Line, amount: i64) -> FeeLine {
    FeeLine {
        code: TariffCode::default(),
        name: String::new(),
        seat: Some(line.seat.clone()),
        price: euros(amount),
        tax: Default::default(),
        refundable: false,
    }
}

/// All seats but these are given back.
fn returned(order: &Reservation, kept: &[usize]) -> Input {
    let terms = &order.saga.terms;
    let keeps = |seat: &SeatId| kept.iter().any(|at| terms.lines[*at].seat == *seat);
    let (lines, gone): (Vec<Line>, Vec<Line>) =
        terms.lines.iter().cloned().partition(|line| keeps(&line.seat));
    let fees: Vec<FeeLine> =
        terms.fees.iter().filter(|fee| fee.seat.as_ref().is_none_or(keeps)).cloned().collect();
    let total =
        lines.iter().map(|line| line.price.amount).chain(fees.iter().map(|fee| fee.price.amount)).sum();
    let rest = Place { planned_on: order.version, lines, fees, ..place(total) };
    let seats = gone.into_iter().map(|line| line.seat).collect();
    Input::Return(Box::new(Return { seats, rest, cancel: Cancel::by(CancelledBy::User) }))
}

fn planned(order: &Reservation, total: i64) -> Input {
    Input::Exchange(Place { planned_on: order.version, ..place(total) })
}

fn refunded(step: &Step) -> i64 {
    let amount = |event: &SagaEvent| match event {
        SagaEvent::RefundRequested(refund) => refund.total.amount,
        _ => 0,
    };
    step.events.iter().map(amount).sum()
}

impl Customer {
    fn new(prices: &[i64], percent: u8) -> Self {
        Self::of(bought(prices, percent))
    }

    fn of(order: Reservation) -> Self {
        let captured = order.saga.terms.total.amount;
        let captures = BTreeMap::from([("pi_1".to_owned(), captured)]);
        let fees = order.saga.terms.fees_kept;
        Self { captured, captures, order, returned: 0, fees, orders: 1 }
    }

    /// Applies the input to the order, if it is allowed.
    fn take(&mut self, input: &Input, seconds: i64) -> Result<i64, Rejection> {
        let step = self.order.step(input, at(seconds))?;
        let back = refunded(&step);
        for event in &step.events {
            if let SagaEvent::RefundRequested(refund) = event {
                let own = format!("pi_{}", self.orders);
                let capture = refund.provider_ref.as_ref().unwrap_or(&own);
                let left = self.captures.get_mut(capture).expect("a capture of the customer");
                *left -= refund.total.amount;
                assert!(*left >= 0, "{capture} gives back {} more than it took", -*left);
            }
        }
        self.order = self.order.with(step.next, input, at(seconds));
        Ok(back)
    }

    /// Dearer seats, of a showtime with this share and without fees: the old order's money pays for the new one, and only the
    /// difference is captured.
    fn move_up(&mut self, total: i64, percent: u8) {
        let Ok(_) = self.take(&begin_exchange(self.order.version), 100) else { return };
        let credit = self.order.saga.credit_for(Uuid::from_u128(self.orders as u128), euros(total));
        let ended = self.order.saga.replaced(&credit).next;
        assert_eq!(ended.left().amount, self.order.saga.left().amount - credit.total.amount);
        let due = total - credit.total.amount - credit.waived.amount;
        assert!(due == 0 || due >= Currency::EUR.least(), "{due} cannot be charged");
        assert_eq!(
            credit.captures.iter().map(|capture| capture.total.amount).sum::<i64>(),
            credit.total.amount
        );
        self.captured += due;
        self.orders += 1;
        let provider_ref = format!("pi_{}", self.orders);
        self.captures.insert(provider_ref.clone(), due);
        let order = bought(&[total], percent);
        let state = State::Confirmed { payment_id: PAYMENT, provider_ref, exchanging: None };
        let captured = Some(euros(due + credit.total.amount));
        let saga = Saga { captured, state, ..order.saga.in_place_of(&self.order.saga, credit) };
        self.order = Reservation { saga, ..order };
    }

    fn check(&self, percent: u8, history: &[String]) {
        let share = ((self.captured - self.fees) * i64::from(percent) + 99) / 100 + self.orders - 1;
        assert!(
            self.returned <= share,
            "{} of {} at {percent} % after {history:?}",
            self.returned,
            self.captured
        );
        if self.order.saga.status() == bus::contract::reservation::ReservationStatus::Confirmed {
            let waived = self.order.saga.credit.as_ref().map_or(0, |credit| credit.waived.amount);
            let (paid, price) = (self.captured - self.returned, self.order.saga.terms.total.amount);
            assert!(paid >= price - waived, "seats worth {price} for {paid} after {history:?}");
            // What was waived was never paid, so that it is not given back.
            let gives_back = self.order.saga.promised() > 0;
            assert!(!gives_back || paid >= price, "{waived} were given back unpaid after {history:?}");
            let terms = &self.order.saga.terms;
            let lines: i64 = terms.lines.iter().map(|line| line.price.amount).sum();
            let fees: i64 = terms.fees.iter().map(|fee| fee.price.amount).sum();
            assert_eq!(lines + fees, price, "lines that do not add up after {history:?}");
        }
    }
}

#[test]
fn no_sequence_of_exchanges_returns_and_cancellations_gives_back_more_than_the_share_or_a_seat_for_less() {
    let mut random = StdRng::seed_from_u64(14);
    for round in 0..20_000 {
        let percent = [0, 50, 100, 33][round % 4];
        let prices: Vec<i64> =
            (0..random.random_range(1..=10)).map(|_| random.random_range(0..=2_000)).collect();
        let fee = if random.random_bool(0.5) { random.random_range(1..=150) } else { 0 };
        let mut customer = Customer::of(bought_with_fee(&prices, fee, percent));
        let mut history = Vec::new();
        for _ in 0..random.random_range(1..=8) {
            let total = customer.order.saga.terms.total.amount;
            match random.random_range(0..14) {
                10..14 => {
                    let seats = customer.order.saga.terms.lines.len();
                    let mut kept: Vec<usize> = (0..seats).filter(|_| random.random_bool(0.6)).collect();
                    if kept.is_empty() {
                        kept.push(random.random_range(0..seats));
                    }
                    if kept.len() < seats {
                        let seconds = if random.random_bool(0.1) { 30_000 } else { 100 };
                        history.push(format!("keep {kept:?} at {seconds}"));
                        let input = returned(&customer.order, &kept);
                        customer.returned += customer.take(&input, seconds).unwrap_or(0);
                    }
                }
                0..6 => {
                    let less = random.random_range(0..=total);
                    history.push(format!("to {less}"));
                    customer.returned += customer.take(&planned(&customer.order, less), 100).unwrap_or(0);
                }
                6..8 => {
                    let more = total + random.random_range(1..=5_000);
                    let theirs = [0, 50, 100, 33][random.random_range(0..4)];
                    history.push(format!("up to {more} at {theirs} %"));
                    customer.move_up(more, theirs);
                }
                8 => {
                    history.push("cancel".to_owned());
                    customer.returned += customer.take(&cancel(CancelledBy::User), 100).unwrap_or(0);
                }
                _ => {
                    history.push("cancel late".to_owned());
                    customer.returned += customer.take(&cancel(CancelledBy::User), 30_000).unwrap_or(0);
                }
            }
            customer.check(percent, &history);
        }
    }
}

/// A former way around the policy: ten seats, one cheap seat, then a cancellation.
#[test]
fn a_cancellation_in_two_steps_gives_back_as_much_as_in_one() {
    for percent in [0, 50, 100] {
        let prices = [1_650; 10];
        let mut direct = Customer::new(&prices, percent);
        let at_once = direct.take(&cancel(CancelledBy::User), 100).unwrap();
        let mut around = Customer::new(&prices, percent);
        let first = around.take(&planned(&around.order, 500), 100).unwrap();
        let then = around.take(&cancel(CancelledBy::User), 100).unwrap();
        assert_eq!(first + then, at_once, "at {percent} %");
        assert_eq!(at_once, 16_500 * i64::from(percent) / 100);
    }
}

#[test]
fn tickets_given_back_one_by_one_give_back_as_much_as_a_cancellation() {
    for percent in [0, 33, 50, 100] {
        let prices = [1_651, 803, 999, 1, 1_249];
        let mut direct = Customer::of(bought_with_fee(&prices, 101, percent));
        let at_once = direct.take(&cancel(CancelledBy::User), 100).unwrap();
        let mut around = Customer::of(bought_with_fee(&prices, 101, percent));
        let mut back = 0;
        for left in (1..prices.len()).rev() {
            let kept: Vec<usize> = (0..left).collect();
            back += around.take(&returned(&around.order, &kept), 100).unwrap();
        }
        back += around.take(&cancel(CancelledBy::User), 100).unwrap();
        assert_eq!(back, at_once, "at {percent} %");
    }
}

#[test]
fn when_the_cinema_cancels_the_full_price_goes_back_and_money_kept_by_the_policy_stays_kept() {
    let mut customer = Customer::new(&[1_000; 10], 50);
    assert_eq!(customer.take(&planned(&customer.order, 1_000), 100), Ok(4_500));
    assert_eq!(customer.take(&cancel(CancelledBy::Showtime), 100), Ok(1_000));
    let mut apologized = Customer::new(&[1_000; 2], 50);
    assert_eq!(apologized.take(&give_back(Some(300)), 100), Ok(300));
    assert_eq!(apologized.take(&cancel(CancelledBy::Showtime), 100), Ok(1_700));
}

#[test]
fn a_plan_is_refused_by_every_version_but_its_own() {
    let order = bought(&[1_250; 10], 100);
    let dear = planned(&order, 12_500);
    let cheap = planned(&order, 500);
    let begin = begin_exchange(order.version);
    let shown = Input::Cancel(Cancel { planned_on: Some(order.version), ..Cancel::by(CancelledBy::User) });
    let saga = order.step(&cheap, at(100)).unwrap().next;
    let moved = order.with(saga, &cheap, at(100));
    let few = returned(&order, &[0, 3]);
    for late in [&dear, &cheap, &begin, &shown, &few] {
        assert!(order.step(late, at(100)).is_ok());
        let Err(Rejection::PlanChanged(Some(plan))) = moved.step(late, at(100)) else {
            panic!("{} was applied to another version", late.name());
        };
        assert_eq!((plan.version, plan.refund), (moved.version, euros(500)));
    }
    // Without the version, the price alone shows that the plan is of another version.
    let unversioned = Input::Exchange(Place { planned_on: moved.version, ..place(12_500) });
    assert!(matches!(moved.step(&unversioned, at(100)), Err(Rejection::PlanChanged(Some(_)))));
    // A cancellation without a version is decided on the current row.
    assert!(moved.step(&cancel(CancelledBy::User), at(100)).is_ok());
}

#[test]
fn a_plan_that_is_made_again_is_that_of_the_requested_cancellation() {
    let order = bought(&[1_250; 2], 50);
    let by = |by, percent| Cancel { percent, planned_on: Some(order.version), ..Cancel::by(by) };
    let saga = order.step(&planned(&order, 1_000), at(100)).unwrap().next;
    let moved = order.with(saga, &planned(&order, 1_000), at(100));
    let refund = |cancel| match moved.step(&Input::Cancel(cancel), at(100)) {
        Err(Rejection::PlanChanged(Some(plan))) => plan.refund,
        other => panic!("{other:?}"),
    };
    assert_eq!(refund(by(CancelledBy::User, None)), euros(500));
    assert_eq!(refund(by(CancelledBy::Admin, Some(0))), euros(0));
    // Of all 25.00, less the 7.50 that the exchange gave back.
    assert_eq!(refund(by(CancelledBy::Admin, Some(100))), euros(1_750));
}

#[test]
fn what_was_waived_is_not_given_back() {
    let mut customer = Customer::new(&[1_000], 100);
    customer.move_up(1_049, 100);
    assert_eq!(customer.take(&planned(&customer.order, 1_000), 100), Ok(0));
    assert_eq!(customer.take(&planned(&customer.order, 900), 100), Ok(100));
    assert_eq!(customer.take(&cancel(CancelledBy::User), 100), Ok(900));
    let mut cancelled = Customer::new(&[1_000], 50);
    cancelled.move_up(1_049, 50);
    assert_eq!(cancelled.order.saga.full_price(), euros(1_000));
    assert_eq!(cancelled.take(&cancel(CancelledBy::User), 100), Ok(500));
}
