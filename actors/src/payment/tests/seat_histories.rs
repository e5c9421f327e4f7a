//! Thousands of random histories of exchanges, returns, cancellations, refunds and disputes, whose events arrive late, twice and out of
//! order: money and tickets end at the last show.

use std::collections::{BTreeMap, HashSet};

use bus::contract::payment::DisputeStatus;
use bus::contract::reservation::{CancelReason, RefundStatus};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::seats::{self, exchange, give_back, wanted};
use super::*;
use crate::payment::ledger::Account;
use crate::payment::provider::RefundState;

/// A reservation that is exchanged and partly given back repeatedly, perhaps cancelled, and a payment that receives its events in any order.
struct World {
    random: StdRng,
    payment: Payment,
    /// Every event that was published; each is delivered at least once.
    events: Vec<(Event, bool)>,
    version: i64,
    showtime: u128,
    seats: usize,
    refunds: u128,
    /// Sums of the ledger: account and showtime to amount and tickets.
    ledger: BTreeMap<(Account, u128), (i64, i64)>,
    booked: HashSet<(String, Account, i16)>,
    history: Vec<String>,
}

#[derive(Debug, Clone)]
enum Event {
    Exchanged(i64, u128, usize),
    Returned(i64, u128, usize),
    Cancelled(i64, u128, usize),
    Refund(u128, i64),
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: StdRng::seed_from_u64(seed),
            payment: opened(),
            events: Vec::new(),
            version: 3,
            showtime: 8,
            seats: 2,
            refunds: 100,
            ledger: BTreeMap::new(),
            booked: HashSet::new(),
            history: Vec::new(),
        };
        let begun = begin(&world.payment, token(), 10);
        world.take(begun);
        let paid = reply(&world.payment, Call::Begin(1), view("pi_1", ProviderState::Captured), 11);
        world.take(paid);
        world
    }

    fn take(&mut self, step: Step) {
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for posting in &step.postings {
            let name = (posting.transaction.clone(), posting.account, posting.leg);
            assert!(self.booked.insert(name), "{} is booked twice", posting.transaction);
            *sums.entry(&posting.transaction).or_default() += posting.total.amount;
            let showtime = posting.show.as_ref().map_or(0, |show| show.showtime_id.as_u128());
            let sum = self.ledger.entry((posting.account, showtime)).or_default();
            *sum = (sum.0 + posting.total.amount, sum.1 + posting.tickets);
        }
        assert!(sums.values().all(|sum| *sum == 0), "a transaction does not sum to zero: {sums:?}");
        self.payment = step.next;
    }

    fn act(&mut self) {
        let is_over = self.seats == 0;
        match self.random.random_range(0..10) {
            0 | 1 if !is_over => {
                self.version += self.random.random_range(1..3);
                self.showtime = [8, 30, 40][self.random.random_range(0..3)];
                self.seats = self.random.random_range(1..4);
                self.events.push((Event::Exchanged(self.version, self.showtime, self.seats), false));
            }
            8 if self.seats > 1 => {
                self.version += 1;
                self.seats -= 1;
                self.events.push((Event::Returned(self.version, self.showtime, self.seats), false));
            }
            2 if !is_over && self.random.random_bool(0.3) => {
                self.version += 1;
                self.events.push((Event::Cancelled(self.version, self.showtime, self.seats), false));
                self.seats = 0;
            }
            3 => {
                self.refunds += 1;
                let amount = self.random.random_range(1..900);
                self.events.push((Event::Refund(self.refunds, amount), false));
            }
            4 | 5 if !self.events.is_empty() => {
                let index = self.random.random_range(0..self.events.len());
                self.deliver(index);
            }
            6 => self.settle_refunds(),
            7 => {
                let status = [DisputeStatus::Open, DisputeStatus::Won, DisputeStatus::Lost];
                let view = seats::dispute(status[self.random.random_range(0..3)]);
                self.take(dispute_shown(&self.payment, &view, at(100)));
            }
            _ => {}
        }
    }

    fn deliver(&mut self, index: usize) {
        self.events[index].1 = true;
        let event = self.events[index].0.clone();
        self.history.push(format!("{event:?}"));
        let step = match event {
            Event::Exchanged(version, showtime, seats) => exchange(&self.payment, version, showtime, seats),
            Event::Returned(version, showtime, seats) => give_back(&self.payment, version, showtime, seats),
            Event::Cancelled(version, showtime, seats) => {
                let event = ReservationCancelled {
                    credited: vec![],
                    reason: CancelReason::UserRequest,
                    reservation: seats::event(version, showtime, seats),
                };
                cancelled(&self.payment, &event, at(100))
            }
            Event::Refund(id, amount) => request_refund(&self.payment, &wanted(id, amount), at(100)),
        };
        self.take(step);
    }

    /// The provider gives back the requested amount, or a bank sends it back later.
    fn settle_refunds(&mut self) {
        for refund in self.payment.refunds.clone() {
            let returns = refund.status == RefundStatus::Completed && self.random.random_bool(0.2);
            let state = match returns {
                true => RefundState::Failed { code: "lost_or_stolen_card".into() },
                false => RefundState::Succeeded,
            };
            let view = RefundView { reference: "re_1".into(), total: Some(refund.total), state };
            self.take(refund_shown(&self.payment, refund.id, refund.tries, &view, at(100)));
        }
    }

    fn rest(&mut self) {
        while let Some(index) = self.events.iter().position(|(_, came)| !came) {
            self.deliver(index);
        }
        self.settle_refunds();
    }

    fn check(&self) {
        let sum = |account, showtime| self.ledger.get(&(account, showtime)).copied().unwrap_or_default();
        for other in [8, 30, 40].into_iter().filter(|showtime| *showtime != self.showtime) {
            for account in [Account::Sales, Account::Refunds, Account::Disputed, Account::Chargebacks] {
                assert_eq!(sum(account, other), (0, 0), "{account:?} of the former showtime {other}");
            }
        }
        assert_eq!(sum(Account::Sales, self.showtime), (-2400, self.seats as i64));
        let back = self.payment.refunds.iter().filter(|r| r.status == RefundStatus::Completed);
        let back: i64 = back.map(|refund| refund.total.amount).sum();
        assert_eq!(sum(Account::Refunds, self.showtime), (back, 0));
        let is = |status| self.payment.disputes.iter().any(|dispute| dispute.status == status);
        let disputed = if is(DisputeStatus::Open) { 700 } else { 0 };
        assert_eq!(sum(Account::Disputed, self.showtime).0, disputed);
        let lost = if is(DisputeStatus::Lost) { 700 } else { 0 };
        assert_eq!(sum(Account::Chargebacks, self.showtime).0, lost);
        assert_eq!(sum(Account::Provider, 0).0, 2400 - back - disputed - lost);
    }
}

#[test]
fn in_every_history_of_exchanges_money_and_tickets_end_at_the_last_show() {
    let (mut moved, mut ended) = (0, 0);
    for seed in 0..3_000 {
        let mut world = World::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..40 {
                world.act();
            }
            world.rest();
            world.check();
        }));
        assert!(outcome.is_ok(), "seed {seed}:\n{}\n{:#?}", world.history.join("\n"), world.payment);
        moved += usize::from(world.showtime != 8);
        ended += usize::from(world.seats == 0);
    }
    assert!(moved > 300 && ended > 300, "the histories cover too little: {moved} moved, {ended} cancelled");
}
