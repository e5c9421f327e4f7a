//! Every history of up to eight inputs, repeats and late messages included, against a small model of the other services, which
//! lists the possible next inputs: no seat leaks, no money is kept for nothing, and never more is given back than was captured.

use std::collections::{BTreeMap, HashSet};

use super::super::saga::replacement_input;
use super::*;

/// The state of everything outside the saga.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    payment: Provider,
    /// By id: the amount and its results, in the order of the payment's versions.
    refunds: BTreeMap<Uuid, (i64, Vec<RefundAt>)>,
    /// Someone else has claimed the seats.
    other_has_seats: bool,
    now: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Provider {
    Nothing,
    Open,
    Captured,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum RefundAt {
    Completed,
    Failed,
}

impl RefundAt {
    fn input(self, refund_id: Uuid, version: i64) -> Input {
        match self {
            Self::Completed => Input::RefundCompleted { refund_id, version },
            Self::Failed => Input::RefundFailed { refund_id, code: None, version },
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Scene {
    saga: Saga,
    world: World,
}

impl Scene {
    /// Everything that can happen next, repeats and late messages included, as (name, scene).
    fn next(&self) -> Vec<(String, Scene)> {
        let mut scenes: Vec<(String, Scene)> =
            self.messages().into_iter().map(|input| (input.name().to_owned(), self.handle(&input))).collect();
        let mut happen = |name: &str, change: &dyn Fn(&mut World)| {
            let mut scene = self.clone();
            change(&mut scene.world);
            scenes.push((name.to_owned(), scene));
        };
        if self.world.payment == Provider::Open {
            happen("provider captures", &|world| world.payment = Provider::Captured);
            happen("provider closes", &|world| world.payment = Provider::Closed);
        }
        for (id, (_, outcomes)) in &self.world.refunds {
            let mut becomes = |name: &str, outcome: RefundAt| {
                happen(name, &|world| world.refunds.get_mut(id).unwrap().1.push(outcome));
            };
            match outcomes.last() {
                None => {
                    becomes("provider refunds", RefundAt::Completed);
                    becomes("provider refuses the refund", RefundAt::Failed);
                }
                Some(RefundAt::Completed) => becomes("the bank sends a refund back", RefundAt::Failed),
                Some(RefundAt::Failed) => {}
            }
        }
        if self.saga.state.claim() == Claim::None {
            happen("someone else takes the seats", &|world| world.other_has_seats = true);
        }
        if let Some(deadline) = self.saga.deadline(self.world.now) {
            happen("time passes", &|world| world.now = world.now.max(deadline));
        }
        scenes
    }

    /// Inputs that may arrive now, any number of times: everything that is true in this state.
    fn messages(&self) -> Vec<Input> {
        let mut messages = vec![
            Input::BeginPayment { payment_id: PAYMENT },
            Input::Deadline,
            cancel(CancelledBy::User),
            cancel(CancelledBy::Admin),
            cancel(CancelledBy::Showtime),
            give_back(None),
            give_back(Some(3000)),
            begin_exchange(1),
            Input::ExchangeOver { to: DEARER },
            resume(),
        ];
        // Once each: repeats add nothing new.
        if self.saga.parts.is_empty() {
            messages.push(give_back(Some(500)));
        }
        if self.saga.terms.total == euros(2400) {
            messages.push(Input::Exchange(place(2000)));
            messages.push(give_seat_back(Cancel::by(CancelledBy::User)));
            messages.push(give_seat_back(Cancel { percent: Some(50), ..Cancel::by(CancelledBy::Admin) }));
        }
        if self.saga.terms.total == euros(900) {
            messages.push(Input::Exchange(place(700)));
        }
        match self.world.payment {
            Provider::Nothing => {}
            Provider::Open => {
                messages.push(Input::PaymentInitiated { payment_id: PAYMENT, checkout_url: None, version: 1 })
            }
            Provider::Captured => messages.push(Input::PaymentSucceeded(success())),
            Provider::Closed => {
                messages.push(Input::PaymentFailed { payment_id: PAYMENT });
                messages.push(Input::PaymentOver { payment_id: PAYMENT });
            }
        }
        for (refund_id, (_, outcomes)) in &self.world.refunds {
            messages.extend(
                outcomes.iter().zip(1..).map(|(outcome, version)| outcome.input(*refund_id, version)),
            );
        }
        messages
    }

    /// The saga takes an input as its shell does: a claim that the database refuses comes back as an input.
    fn handle(&self, input: &Input) -> Scene {
        let Ok(Step { next: saga, events, .. }) = self.saga.step(input, self.world.now) else {
            return self.clone();
        };
        let reclaims = self.saga.state.claim() == Claim::None && saga.state.claim() != Claim::None;
        let lost = self.world.other_has_seats || saga.terms.starts_at <= self.world.now;
        if let (true, true, Input::PaymentSucceeded(success)) = (reclaims, lost, input) {
            return self.handle(&Input::ReclaimLost(success.clone()));
        }
        let mut world = self.world.clone();
        for event in &events {
            if let SagaEvent::RefundRequested(refund) = event {
                assert_eq!(world.payment, Provider::Captured, "only captured money is refunded");
                let before = world.refunds.insert(refund.id, (refund.total.amount, Vec::new()));
                assert!(before.is_none(), "a refund is requested once");
            }
            assert_ne!(*event, SagaEvent::Created, "a reservation is created once");
        }
        if matches!(input, Input::BeginPayment { .. })
            && saga.state.claim() == Claim::Held
            && world.payment == Provider::Nothing
        {
            world.payment = Provider::Open;
        }
        Scene { saga, world }
    }

    /// Money that was given back or may still be.
    fn promised(&self) -> i64 {
        let open =
            self.world.refunds.values().filter(|(_, outcomes)| outcomes.last() != Some(&RefundAt::Failed));
        open.map(|(amount, _)| amount).sum()
    }

    fn check(&self, history: &[String]) {
        let owns = self.saga.state.claim() != Claim::None;
        assert!(!(owns && self.world.other_has_seats), "a seat has two owners after {history:?}");
        let sold = self.saga.state.claim() == Claim::Sold;
        assert!(!sold || self.world.payment == Provider::Captured, "sold for nothing after {history:?}");
        assert!(!sold || self.promised() < 2400, "sold and refunded after {history:?}");
        assert!(self.promised() <= 2400, "more back than was paid after {history:?}");
    }

    /// Delivers every remaining input: then money and seats must agree.
    fn settle(mut self, history: &[String]) {
        for _ in 0..80 {
            let before = self.clone();
            match self.world.payment {
                // A cancelled or ended reservation has its payment closed; an unpaid one is closed by its deadline.
                Provider::Open => self.world.payment = Provider::Closed,
                Provider::Captured => self = self.handle(&Input::PaymentSucceeded(success())),
                Provider::Closed => self = self.handle(&Input::PaymentOver { payment_id: PAYMENT }),
                Provider::Nothing => {}
            }
            for (refund_id, (_, outcomes)) in self.world.refunds.clone() {
                let version = outcomes.len() as i64;
                match outcomes.last() {
                    None => self.world.refunds.get_mut(&refund_id).unwrap().1.push(RefundAt::Completed),
                    Some(outcome) => self = self.handle(&outcome.input(refund_id, version)),
                }
                if outcomes.last() == Some(&RefundAt::Failed) {
                    self = self.handle(&resume());
                }
            }
            self = self.handle(&Input::ExchangeOver { to: DEARER });
            if let Some(deadline) = self.saga.deadline(self.world.now) {
                self.world.now = self.world.now.max(deadline);
                self = self.handle(&Input::Deadline);
            }
            self.check(history);
            if self == before {
                break;
            }
        }
        let paid = self.world.payment == Provider::Captured;
        let done = self
            .world
            .refunds
            .values()
            .filter(|(_, outcomes)| outcomes.last() == Some(&RefundAt::Completed))
            .map(|(amount, _)| amount);
        let given: i64 = done.sum();
        let kept = self.saga.apart.price - self.saga.apart.back;
        let fine = match &self.saga.state {
            State::Confirmed { .. } => paid && given == 2400 - self.saga.left().amount,
            State::Cancelled { .. } => !paid,
            // Staff chose to keep a part of the ticket's price, and may give it back later.
            State::Refunded { .. } => paid && [2400, 2400 - kept].contains(&given),
            _ => false,
        };
        assert!(fine, "after {history:?} it rests at {:?} with {:?}", self.saga, self.world);
        assert!(!self.saga.needs_attention(), "stuck after {history:?}: {:?}", self.saga);
    }
}

#[test]
fn every_history_of_eight_inputs_leaks_no_seat_and_keeps_no_money() {
    let world =
        World { payment: Provider::Nothing, refunds: BTreeMap::new(), other_has_seats: false, now: at(10) };
    let mut frontier = vec![(Scene { saga: saga(), world }, Vec::new())];
    let mut seen = HashSet::new();
    for _ in 0..8 {
        let mut next_frontier = Vec::new();
        for (scene, history) in frontier {
            for (name, next) in scene.next() {
                let scene = format!("{:?}", (&next.saga, &next.world));
                if !seen.insert(scene) {
                    continue;
                }
                let mut history: Vec<String> = history.clone();
                history.push(name);
                next.check(&history);
                next.clone().settle(&history);
                next_frontier.push((next, history));
            }
        }
        frontier = next_frontier;
    }
    assert!(seen.len() > 1_000, "only {} scenes: the world has become too small", seen.len());
}

/// A reservation and the dearer one that is to replace it; messages between them may get lost.
#[derive(Debug, Clone, PartialEq)]
struct Pair {
    old: Saga,
    new: Saga,
    payment: Provider,
    /// A dispute holds the old one's money.
    is_disputed: bool,
    now: Timestamp,
}

impl Pair {
    fn new_takes(&self, input: &Input, calls_arrive: bool) -> Pair {
        let Ok(Step { next: new, calls, .. }) = self.new.step(input, self.now) else { return self.clone() };
        let mut pair = Pair { new, ..self.clone() };
        if matches!(input, Input::BeginPayment { .. }) && pair.payment == Provider::Nothing {
            pair.payment = Provider::Open;
        }
        for call in calls.iter().filter(|_| calls_arrive) {
            pair = match call {
                SagaCall::NotifyReplaced { .. } => pair.old_takes(&Input::ExchangeOver { to: DEARER }),
                SagaCall::ReadReplaced { .. } => pair.replaces(),
                _ => pair,
            };
        }
        pair
    }

    /// The commit over both rows.
    fn replaces(&self) -> Pair {
        let old = Reservation { id: OLD, saga: self.old.clone(), ..reservation() }.as_old_order();
        let replace = Replace { to: DEARER, old: Some(old), is_disputed: self.is_disputed };
        let pair = self.new_takes(&Input::Replace(Box::new(replace)), true);
        let is_confirmed = pair.new.state.claim() == Claim::Sold && self.new.state.claim() == Claim::Held;
        match (&pair.new.credit, is_confirmed) {
            (Some(credit), true) => Pair { old: self.old.replaced(credit).next, ..pair.clone() },
            _ => pair,
        }
    }

    fn old_takes(&self, input: &Input) -> Pair {
        let Ok(Step { next: old, calls, .. }) = self.old.step(input, self.now) else { return self.clone() };
        let pair = Pair { old, ..self.clone() };
        let reads = calls.iter().any(|call| matches!(call, SagaCall::ReadReplacement { .. }));
        match replacement_input(DEARER, Some(&self.new)).filter(|_| reads) {
            Some(input) => pair.old_takes(&input),
            None => pair,
        }
    }

    fn next(&self) -> Vec<Pair> {
        let mut next = vec![Pair { is_disputed: true, ..self.clone() }];
        let mut news = vec![
            Input::BeginPayment { payment_id: NEW_PAYMENT },
            Input::Deadline,
            cancel(CancelledBy::User),
            cancel(CancelledBy::Showtime),
            give_back(Some(700)),
        ];
        match self.payment {
            Provider::Captured => news.push(Input::PaymentSucceeded(paid_new())),
            Provider::Closed => news.push(Input::PaymentOver { payment_id: NEW_PAYMENT }),
            Provider::Open => {
                next.push(Pair { payment: Provider::Captured, ..self.clone() });
                next.push(Pair { payment: Provider::Closed, ..self.clone() });
            }
            Provider::Nothing => {}
        }
        for input in news.iter().filter(|input| self.new.parts.is_empty() || input.name() != "give-back") {
            next.extend([self.new_takes(input, true), self.new_takes(input, false)]);
        }
        let returned = give_seat_back(Cancel::by(CancelledBy::User));
        let olds = [
            Input::Deadline,
            cancel(CancelledBy::User),
            cancel(CancelledBy::Showtime),
            Input::Exchange(place(2000)),
            give_back(None),
            returned,
        ];
        next.extend(olds.iter().map(|input| self.old_takes(input)));
        for deadline in self.old.deadline(self.now).into_iter().chain(self.new.deadline(self.now)) {
            next.push(Pair { now: self.now.max(deadline), ..self.clone() });
        }
        next
    }

    /// While the exchange runs, only the showtime's cancellation changes the old one.
    fn check(&self) {
        for input in [cancel(CancelledBy::User), cancel(CancelledBy::Admin), give_back(None)] {
            if matches!(&self.old.state, State::Confirmed { exchanging: Some(_), .. }) {
                assert_eq!(self.old.step(&input, at(10)).unwrap_err(), Rejection::ExchangeRunning);
            }
        }
        let both = [self.old.state.claim(), self.new.state.claim()] == [Claim::Sold; 2];
        assert!(!both, "both are sold: {self:?}");
    }

    fn settle(mut self, history: usize) {
        for _ in 0..80 {
            match self.payment {
                Provider::Open => self.payment = Provider::Closed,
                Provider::Captured => self = self.new_takes(&Input::PaymentSucceeded(paid_new()), false),
                Provider::Closed => {
                    self = self.new_takes(&Input::PaymentOver { payment_id: NEW_PAYMENT }, false)
                }
                Provider::Nothing => {}
            }
            let done = |refund: &Refund| Input::RefundCompleted { refund_id: refund.id, version: 4 };
            if let State::Refunding { refund, .. } = &self.old.state {
                self = self.old_takes(&done(refund));
            }
            if let State::Refunding { refund, .. } = &self.new.state {
                self = self.new_takes(&done(refund), false);
            }
            for part in self.old.parts.clone() {
                self = self.old_takes(&done(&part.refund));
            }
            for part in self.new.parts.clone() {
                self = self.new_takes(&done(&part.refund), false);
            }
            let deadlines = self.old.deadline(self.now).into_iter().chain(self.new.deadline(self.now));
            if let Some(deadline) = deadlines.min() {
                self.now = self.now.max(deadline);
                self = self.old_takes(&Input::Deadline).new_takes(&Input::Deadline, true);
            }
        }
        let (old, new) = (self.old.state.claim() == Claim::Sold, self.new.state.claim() == Claim::Sold);
        let kept = |saga: &Saga| if saga.captured.is_some() { saga.left().amount } else { 0 };
        let price = |sold: bool, saga: &Saga| {
            let staff: i64 =
                saga.parts.iter().filter(|p| p.refund.by.is_some()).map(|p| p.refund.total.amount).sum();
            if sold { saga.terms.total.amount - staff } else { 0 }
        };
        assert_eq!(kept(&self.old), price(old, &self.old), "after {history}: {self:?}");
        assert_eq!(kept(&self.new), price(new, &self.new), "after {history}: {self:?}");
        // What the provider has, of both captures.
        let captured = 2400 + if self.payment == Provider::Captured { 600 } else { 0 };
        let held = captured - self.old.promised() - self.new.promised();
        assert_eq!(held, price(old, &self.old) + price(new, &self.new), "after {history}: {self:?}");
        assert!(self.old.deadline(self.now).is_none() && self.new.deadline(self.now).is_none(), "{self:?}");
        self.check_captures();
    }

    /// Of no capture more goes back than it took.
    fn check_captures(&self) {
        let back = |saga: &Saga, of: Option<&str>| -> i64 {
            let whole = match &saga.state {
                State::Refunding { refund, .. } | State::Refunded { refund, .. } => Some(refund),
                _ => None,
            };
            let refunds = whole.into_iter().chain(saga.parts.iter().map(|part| &part.refund));
            refunds.filter(|r| r.provider_ref.as_deref() == of).map(|r| r.total.amount).sum()
        };
        assert!(back(&self.old, None) + back(&self.new, Some("pi_1")) <= 2400, "{self:?}");
        assert!(back(&self.new, None) <= 600, "{self:?}");
    }
}

const NEW_PAYMENT: Uuid = Uuid::from_u128(3);

fn paid_new() -> PaymentSuccess {
    let provider_ref = "pi_2".to_owned();
    PaymentSuccess { payment_id: NEW_PAYMENT, total: euros(600), provider_ref, ..success() }
}

#[test]
fn every_history_of_a_dearer_exchange_ends_with_one_of_both_and_its_price() {
    let old = Saga { captured: Some(euros(2400)), state: confirmed(), ..saga() };
    let credit = Some(old.credit_for(OLD, euros(3000)));
    let old = old.step(&begin_exchange(1), at(10)).unwrap().next;
    let new = Saga { exchange_of: Some(OLD), credit, ..saga() };
    let new = Saga { terms: Terms { total: euros(3000), ..new.terms.clone() }, ..new };
    assert_eq!(new.due(), euros(600));
    let pair = Pair { old, new, payment: Provider::Nothing, is_disputed: false, now: at(10) };
    let mut frontier = vec![pair];
    let mut seen = HashSet::new();
    let mut replaced = 0;
    for step in 0..7 {
        let mut next_frontier = Vec::new();
        for pair in frontier.iter().flat_map(Pair::next) {
            if seen.insert(format!("{pair:?}")) {
                replaced += usize::from(!pair.old.credited.is_empty());
                pair.check();
                pair.clone().settle(step);
                next_frontier.push(pair);
            }
        }
        frontier = next_frontier;
    }
    assert!(seen.len() > 100 && replaced > 10, "{} scenes, {replaced} replaced", seen.len());
}

#[test]
fn a_refund_after_two_dearer_exchanges_is_split_over_three_captures_the_newest_first() {
    let first = Saga { captured: Some(euros(2400)), state: confirmed(), ..saga() };
    let up = |old: &Saga, total: i64, provider_ref: &str, id: u128| {
        let credit = old.credit_for(Uuid::from_u128(id), euros(total));
        let terms = Terms { lines: vec![line("B1", total)], total: euros(total), ..saga().terms };
        let state =
            State::Confirmed { payment_id: PAYMENT, provider_ref: provider_ref.into(), exchanging: None };
        let captured = Some(euros(total - credit.waived.amount));
        Saga { terms, captured, credit: Some(credit), state, ..saga() }
    };
    let second = up(&first, 3000, "pi_2", 1);
    let third = up(&second, 3030, "pi_3", 2);
    // 30 cents cannot be charged.
    assert_eq!((third.due(), third.left()), (euros(0), euros(3000)));
    let fourth = up(&third, 4000, "pi_4", 3);
    let refunds = |step: &Step| -> Vec<(Option<String>, i64)> {
        let of = step.events.iter().filter_map(|event| match event {
            SagaEvent::RefundRequested(refund) => Some((refund.provider_ref.clone(), refund.total.amount)),
            _ => None,
        });
        of.collect()
    };
    let capture = |name: &str| Some(name.to_owned());
    let cheaper = fourth.step(&Input::Exchange(place(2700)), at(100)).unwrap();
    assert_eq!(refunds(&cheaper), [(None, 1000), (capture("pi_2"), 300)]);
    let cancelled = cheaper.next.step(&cancel(CancelledBy::User), at(100)).unwrap();
    assert_eq!(refunds(&cancelled), [(capture("pi_2"), 300), (capture("pi_1"), 2400)]);
    let whole = Reservation { saga: cancelled.next, ..reservation() }.view(at(100));
    assert_eq!(whole.refund.unwrap().total, euros(2700));
    assert_eq!(whole.partial_refunds.len(), 2);
}
