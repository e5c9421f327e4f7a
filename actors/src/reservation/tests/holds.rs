//! How much may be held unpaid, and when an ended hold counts.

use std::time::Duration;

use bus::contract::auth::Role;
use bus::contract::reservation::HoldLimitOf;

use super::*;
use crate::config::{HoldLimits, ReservationSettings};
use crate::reservation::holds::{Bounds, Customer, Held, ends_unpaid, may_order};

pub(super) fn settings() -> ReservationSettings {
    ReservationSettings {
        hold: Duration::from_secs(600),
        hold_max: Duration::from_secs(1200),
        grace: Duration::from_secs(60),
        seats_per_order_max: 10,
        open_holds_max: 4,
        refund_until: Duration::from_secs(7200),
        refund_percent: 100,
        sales_end: Duration::ZERO,
        limits: Some(HoldLimits {
            seats_per_showtime_max: 10,
            cooldown: Duration::from_secs(120),
            holds_per_network_max: 100,
            network_percent: 50,
            free_needs_proof: true,
        }),
        retention: None,
    }
}

pub(super) fn customer(role: Role, address: &str) -> Customer {
    Customer { role, is_proven: false, address: Some(address.parse().unwrap()) }
}

fn bounds(seats: usize) -> Bounds {
    Bounds::of_order(&settings(), &customer(Role::User, "203.0.113.7"), seats, 40)
}

/// Only this order is held, besides what the test adds.
fn held(seats: usize) -> Held {
    Held { open_holds: 1, showtime_seats: seats, network_holds: 1, network_seats: seats, ..Held::default() }
}

fn limit(of: HoldLimitOf, most: usize) -> Option<Rejection> {
    Some(Rejection::HoldLimit { of, most })
}

#[test]
fn an_account_is_bound_by_orders_and_by_seats_of_the_showtime() {
    let now = at(10_000);
    assert_eq!(bounds(10).refusal(&held(10), now), None);
    assert_eq!(bounds(1).refusal(&held(11), now), limit(HoldLimitOf::Seats, 10));
    assert_eq!(bounds(1).refusal(&Held { open_holds: 5, ..held(1) }, now), limit(HoldLimitOf::Orders, 4));
}

#[test]
fn a_network_is_bound_by_holds_and_several_accounts_by_their_share_of_the_hall() {
    let now = at(10_000);
    let crowd = |holds, seats, of_others| Held {
        network_holds: holds,
        network_seats: seats,
        network_seats_of_others: of_others,
        ..held(1)
    };
    assert_eq!(bounds(1).refusal(&crowd(100, 0, 0), now), None);
    assert_eq!(bounds(1).refusal(&crowd(101, 0, 0), now), limit(HoldLimitOf::Network, 100));
    // Twenty of forty seats are the share.
    assert_eq!(bounds(10).refusal(&crowd(2, 20, 10), now), None);
    assert_eq!(bounds(10).refusal(&crowd(3, 30, 20), now), limit(HoldLimitOf::Network, 20));
    assert_eq!(bounds(2).refusal(&crowd(20, 40, 38), now), None, "a crowd of people with a seat or two each");
    let alone = Held { network_seats: 30, ..held(10) };
    assert_eq!(bounds(10).refusal(&alone, now), None, "one account is bound by its own seats");
}

#[test]
fn with_many_guests_nobody_holds_more_than_the_networks_share_of_a_hall() {
    let now = at(10_000);
    let of = |role, seats| Bounds::of_order(&settings(), &customer(role, "203.0.113.7"), seats, 300);
    let crowd = |seats| Held {
        network_holds: 80,
        network_seats: seats,
        network_seats_of_others: seats - 2,
        ..held(2)
    };
    assert_eq!(of(Role::Guest, 2).refusal(&crowd(150), now), None);
    assert_eq!(of(Role::Guest, 2).refusal(&crowd(152), now), limit(HoldLimitOf::Network, 150));
    assert_eq!(of(Role::User, 2).refusal(&crowd(152), now), None, "accounts are bound as before");
    // Fifty people in a small hall have a seat each.
    let small = Bounds::of_order(&settings(), &customer(Role::Guest, "203.0.113.7"), 1, 50);
    let fifty = Held { network_holds: 50, network_seats: 50, network_seats_of_others: 49, ..held(1) };
    assert_eq!(small.refusal(&fifty, now), None);
}

#[test]
fn two_holds_that_ended_unpaid_make_the_next_one_wait() {
    let ended = |ends: &[i64]| Held { unpaid_ends: ends.iter().map(|end| at(*end)).collect(), ..held(1) };
    let refusal = |ends: &[i64], now: i64| bounds(1).refusal(&ended(ends), at(now));
    let until = |end: i64, now: i64| Some(Rejection::HoldCooldown { retry_at: at(end), now: at(now) });
    assert_eq!(refusal(&[5000], 5001), None);
    assert_eq!(refusal(&[5000, 4990], 5001), until(5120, 5001));
    assert_eq!(refusal(&[5000, 4990], 5119), until(5120, 5119));
    assert_eq!(refusal(&[5000, 4990], 5120), None);
    // A hold that is renewed whenever it expires, paying begun each time, waits each time.
    assert_eq!(refusal(&[5000, 5000 - 1380], 5001), until(5120, 5001));
    assert_eq!(refusal(&[5000, 5000 - 1381], 5001), None, "another evening's");
}

#[test]
fn staff_are_bound_by_their_open_orders_alone_and_nobody_by_a_bound_that_is_off() {
    let much = Held {
        open_holds: 4,
        showtime_seats: 40,
        network_holds: 400,
        network_seats: 40,
        network_seats_of_others: 30,
        unpaid_ends: vec![at(5000), at(4999)],
    };
    let of = |settings: &ReservationSettings, role| {
        Bounds::of_order(settings, &customer(role, "2001:db8:1:2:3::1"), 10, 40)
    };
    let staff = of(&settings(), Role::Admin);
    assert_eq!(staff.refusal(&much, at(5001)), None);
    assert_eq!(staff.refusal(&Held { open_holds: 5, ..much }, at(5001)), limit(HoldLimitOf::Orders, 4));
    let off = ReservationSettings { limits: None, ..settings() };
    assert_eq!(of(&off, Role::User), staff, "no network is kept either");
    assert_eq!(Bounds::of_exchange(&settings(), Role::User).cooldown, None);
}

#[test]
fn a_network_is_an_ipv4_24_or_an_ipv6_64() {
    let network = |address: &str| {
        Bounds::of_order(&settings(), &customer(Role::User, address), 1, 40).network.unwrap().name
    };
    assert_eq!(network("203.0.113.7"), "203.0.113.0/24");
    assert_eq!(network("::ffff:203.0.113.7"), "203.0.113.0/24");
    assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
}

#[test]
fn an_order_of_nothing_is_for_proven_addresses_and_staff() {
    let may = |settings: &ReservationSettings, customer: &Customer, amount| {
        may_order(settings, customer, euros(amount))
    };
    let unproven = customer(Role::User, "203.0.113.7");
    assert_eq!(may(&settings(), &unproven, 0), Err(Rejection::EmailUnproven));
    assert_eq!(may(&settings(), &unproven, 1200), Ok(()));
    assert_eq!(may(&settings(), &Customer { is_proven: true, ..customer(Role::User, "::1") }, 0), Ok(()));
    assert_eq!(may(&settings(), &customer(Role::Admin, "::1"), 0), Ok(()));
    assert_eq!(may(&ReservationSettings { limits: None, ..settings() }, &unproven, 0), Ok(()));
}

#[test]
fn only_a_hold_that_its_customer_gave_up_ends_unpaid() {
    let held = saga();
    let paying = held.at_state(State::AwaitingPayment { begun: true });
    let ending = held.at_state(State::Ending { until: at(660) });
    let counts = |before: &Saga, input: Input, now: i64| {
        let after = before.step(&input, at(now)).unwrap().next;
        ends_unpaid(before, &after, &input)
    };
    let over = || Input::PaymentOver { payment_id: PAYMENT };
    let failed = || Input::PaymentFailed { payment_id: PAYMENT };
    assert!(counts(&held, cancel(CancelledBy::User), 10), "given back");
    assert!(counts(&held, Input::Deadline, 600), "expired");
    assert!(counts(&ending, over(), 610), "the payment page was abandoned");
    assert!(!counts(&ending, Input::Deadline, 660), "payment did not answer");
    assert!(!counts(&paying, failed(), 10));
    assert!(!counts(&paying, Input::Deadline, 600), "not over yet");
    assert!(!counts(&held, cancel(CancelledBy::Admin), 10));
    assert!(!counts(&held, cancel(CancelledBy::Showtime), 10));
    assert!(!counts(&held.at_state(confirmed()), cancel(CancelledBy::User), 10), "paid and given back");
    let exchange = Saga { exchange_of: Some(DEARER), ..held };
    assert!(!counts(&exchange, cancel(CancelledBy::User), 10));
}

impl Saga {
    fn at_state(&self, state: State) -> Self {
        Self { state, ..self.clone() }
    }
}
