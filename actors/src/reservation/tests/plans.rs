//! Plans: a plan made on one version is applied to no other, and no sequence of a customer's exchanges and cancellations gives
//! back more than the policy's share, nor a seat for less than its price.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// A customer who bought once, may move to other seats as often as they like, and may cancel.
struct Customer {
    order: Reservation,
    /// The money captured, less the money that dearer exchanges gave back for the replaced seats.
    captured: i64,
    returned: i64,
    /// Each order may round its share up by less than one.
    orders: i64,
}

fn bought(prices: &[i64], percent: u8) -> Reservation {
    let lines: Vec<Line> = prices.iter().zip(1..).map(|(price, n)| line(&format!("A{n}"), *price)).collect();
    let total = euros(prices.iter().sum());
    let refund_policy = RefundPolicy { until_minutes: 120, percent };
    let terms = Terms { lines, total, refund_policy, ..saga().terms };
    let saga = Saga { captured: Some(total), state: confirmed(), terms, ..saga() };
    Reservation { saga, ..reservation() }
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
        let order = bought(prices, percent);
        Self { captured: order.saga.terms.total.amount, order, returned: 0, orders: 1 }
    }

    /// Applies the input to the order, if it is allowed.
    fn take(&mut self, input: &Input, seconds: i64) -> Result<i64, Rejection> {
        let step = self.order.step(input, at(seconds))?;
        let back = refunded(&step);
        self.order = self.order.with(step.next, input, at(seconds));
        Ok(back)
    }

    /// Dearer seats: a new order is paid in full, and the old one's price is given back.
    fn move_up(&mut self, total: i64, percent: u8) {
        let Ok(_) = self.take(&begin_exchange(self.order.version), 100) else { return };
        let back = self.take(&Input::ExchangePaid { to: DEARER }, 100).unwrap();
        self.captured += total - back;
        self.orders += 1;
        self.order = bought(&[total], percent);
    }

    fn check(&self, percent: u8, history: &[String]) {
        let share = (self.captured * i64::from(percent) + 99) / 100 + self.orders - 1;
        assert!(
            self.returned <= share,
            "{} of {} at {percent} % after {history:?}",
            self.returned,
            self.captured
        );
        if self.order.saga.status() == bus::contract::reservation::ReservationStatus::Confirmed {
            let (paid, price) = (self.captured - self.returned, self.order.saga.terms.total.amount);
            assert!(paid >= price, "seats worth {price} for {paid} after {history:?}");
            let lines: i64 = self.order.saga.terms.lines.iter().map(|line| line.price.amount).sum();
            assert_eq!(lines, price, "lines that do not add up after {history:?}");
        }
    }
}

#[test]
fn no_sequence_of_exchanges_and_cancellations_gives_back_more_than_the_share_or_a_seat_for_less() {
    let mut random = StdRng::seed_from_u64(14);
    for round in 0..20_000 {
        let percent = [0, 50, 100, 33][round % 4];
        let prices: Vec<i64> =
            (0..random.random_range(1..=10)).map(|_| random.random_range(0..=2_000)).collect();
        let mut customer = Customer::new(&prices, percent);
        let mut history = Vec::new();
        for _ in 0..random.random_range(1..=8) {
            let total = customer.order.saga.terms.total.amount;
            match random.random_range(0..10) {
                0..6 => {
                    let less = random.random_range(0..=total);
                    history.push(format!("to {less}"));
                    customer.returned += customer.take(&planned(&customer.order, less), 100).unwrap_or(0);
                }
                6..8 => {
                    let more = total + random.random_range(1..=5_000);
                    history.push(format!("up to {more}"));
                    customer.move_up(more, percent);
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
    for late in [&dear, &cheap, &begin, &shown] {
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
