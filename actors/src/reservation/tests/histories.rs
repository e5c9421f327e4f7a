//! Every history of up to eight inputs, repeats and late messages included, against a small world that says what may
//! happen next: no seat leaks, no money is kept for nothing, and never more is given back than was taken.

use std::collections::{BTreeMap, HashSet};

use super::*;

/// What is true outside the saga.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    payment: Provider,
    /// By id: how much, and how far it is.
    refunds: BTreeMap<Uuid, (i64, RefundAt)>,
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
    Requested,
    Completed,
    Failed,
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
            self.messages().into_iter().map(|input| (input.name().to_owned(), self.hear(&input))).collect();
        let mut happen = |name: &str, change: &dyn Fn(&mut World)| {
            let mut scene = self.clone();
            change(&mut scene.world);
            scenes.push((name.to_owned(), scene));
        };
        if self.world.payment == Provider::Open {
            happen("provider captures", &|world| world.payment = Provider::Captured);
            happen("provider closes", &|world| world.payment = Provider::Closed);
        }
        for (id, (amount, at)) in &self.world.refunds {
            if *at == RefundAt::Requested {
                happen("provider refunds", &|world| {
                    world.refunds.insert(*id, (*amount, RefundAt::Completed));
                });
                happen("provider refuses the refund", &|world| {
                    world.refunds.insert(*id, (*amount, RefundAt::Failed));
                });
            }
        }
        if self.saga.state.claim() == Claim::None {
            happen("someone else takes the seats", &|world| world.other_has_seats = true);
        }
        if let Some(deadline) = self.saga.deadline() {
            happen("time passes", &|world| world.now = world.now.max(deadline));
        }
        scenes
    }

    /// Inputs that may arrive now: what the world can truthfully say, as often as it likes.
    fn messages(&self) -> Vec<Input> {
        let mut messages = vec![
            Input::BeginPayment { payment_id: PAYMENT },
            Input::Deadline,
            cancel(CancelledBy::User),
            cancel(CancelledBy::Admin),
            cancel(CancelledBy::Showtime),
            give_back(None),
            give_back(Some(3000)),
            begin_exchange(),
            Input::ExchangePaid { to: DEARER },
            Input::ExchangeOver { to: DEARER },
            resume(),
        ];
        // Once each: more of the same tells nothing new.
        if self.saga.parts.is_empty() {
            messages.push(give_back(Some(500)));
        }
        if self.saga.terms.total == euros(2400) {
            messages.push(Input::Exchange(place(2000)));
        }
        match self.world.payment {
            Provider::Nothing => {}
            Provider::Open => {
                messages.push(Input::PaymentInitiated { payment_id: PAYMENT, checkout_url: None })
            }
            Provider::Captured => messages.push(Input::PaymentSucceeded(success())),
            Provider::Closed => {
                messages.push(Input::PaymentFailed { payment_id: PAYMENT });
                messages.push(Input::PaymentOver { payment_id: PAYMENT });
            }
        }
        for (refund_id, (_, at)) in &self.world.refunds {
            let refund_id = *refund_id;
            match at {
                RefundAt::Requested => {}
                RefundAt::Completed => messages.push(Input::RefundCompleted { refund_id }),
                RefundAt::Failed => messages.push(Input::RefundFailed { refund_id, code: None }),
            }
        }
        messages
    }

    /// The saga takes an input as its actor does: a claim that the database refuses comes back as an input.
    fn hear(&self, input: &Input) -> Scene {
        let Ok((saga, effects)) = self.saga.step(input, self.world.now) else { return self.clone() };
        let reclaims = self.saga.state.claim() == Claim::None && saga.state.claim() != Claim::None;
        let lost = self.world.other_has_seats || saga.terms.starts_at <= self.world.now;
        if let (true, true, Input::PaymentSucceeded(success)) = (reclaims, lost, input) {
            return self.hear(&Input::ReclaimLost(success.clone()));
        }
        let mut world = self.world.clone();
        for effect in &effects {
            match effect {
                Effect::RequestRefund(asked) => {
                    assert_eq!(world.payment, Provider::Captured, "only captured money is refunded");
                    let known =
                        world.refunds.entry(asked.id).or_insert((asked.total.amount, RefundAt::Requested));
                    assert_eq!(known.0, asked.total.amount, "a refund is of one amount, however often asked");
                }
                Effect::TellCreated => panic!("a reservation is created once"),
                _ => {}
            }
        }
        if matches!(input, Input::BeginPayment { .. })
            && saga.state.claim() == Claim::Held
            && world.payment == Provider::Nothing
        {
            world.payment = Provider::Open;
        }
        Scene { saga, world }
    }

    /// What was given back or may yet be.
    fn promised(&self) -> i64 {
        let open = self.world.refunds.values().filter(|(_, at)| *at != RefundAt::Failed);
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

    /// Lets the world come to rest and every truth arrive: then money and seats must agree.
    fn settle(mut self, history: &[String]) {
        for _ in 0..80 {
            let before = self.clone();
            match self.world.payment {
                // A cancelled or ended reservation has its payment closed; an unpaid one is closed by its deadline.
                Provider::Open => self.world.payment = Provider::Closed,
                Provider::Captured => self = self.hear(&Input::PaymentSucceeded(success())),
                Provider::Closed => self = self.hear(&Input::PaymentOver { payment_id: PAYMENT }),
                Provider::Nothing => {}
            }
            for (refund_id, (amount, at)) in self.world.refunds.clone() {
                match at {
                    RefundAt::Requested => {
                        self.world.refunds.insert(refund_id, (amount, RefundAt::Completed));
                    }
                    RefundAt::Completed => self = self.hear(&Input::RefundCompleted { refund_id }),
                    RefundAt::Failed => {
                        self = self.hear(&Input::RefundFailed { refund_id, code: None });
                        self = self.hear(&resume());
                    }
                }
            }
            self = self.hear(&Input::ExchangeOver { to: DEARER });
            if let Some(deadline) = self.saga.deadline() {
                self.world.now = self.world.now.max(deadline);
                self = self.hear(&Input::Deadline);
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
            .filter(|(_, at)| *at == RefundAt::Completed)
            .map(|(amount, _)| amount);
        let given: i64 = done.sum();
        let fine = match &self.saga.state {
            State::Confirmed { .. } => paid && given == 2400 - self.saga.left().amount,
            State::Cancelled { .. } => !paid,
            State::Refunded { .. } => paid && given == 2400,
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
    let mut front = vec![(Scene { saga: saga(), world }, Vec::new())];
    let mut seen = HashSet::new();
    for _ in 0..8 {
        let mut further = Vec::new();
        for (scene, history) in front {
            for (name, next) in scene.next() {
                let known = format!("{:?}", (&next.saga, &next.world));
                if !seen.insert(known) {
                    continue;
                }
                let mut history: Vec<String> = history.clone();
                history.push(name);
                next.check(&history);
                next.clone().settle(&history);
                further.push((next, history));
            }
        }
        front = further;
    }
    assert!(seen.len() > 1_000, "only {} scenes: the world has become too small", seen.len());
}

/// A reservation and the dearer one that shall take its place; word between them may get lost.
#[derive(Debug, Clone, PartialEq)]
struct Pair {
    old: Saga,
    new: Saga,
    payment: Provider,
    now: Timestamp,
}

impl Pair {
    fn new_takes(&self, input: &Input, word_arrives: bool) -> Pair {
        let Ok((new, effects)) = self.new.step(input, self.now) else { return self.clone() };
        let mut pair = Pair { new, ..self.clone() };
        if matches!(input, Input::BeginPayment { .. }) && pair.payment == Provider::Nothing {
            pair.payment = Provider::Open;
        }
        for effect in effects {
            if let (Effect::TellOld { paid, .. }, true) = (effect, word_arrives) {
                let to = DEARER;
                let word = if paid { Input::ExchangePaid { to } } else { Input::ExchangeOver { to } };
                pair = pair.old_takes(&word);
            }
        }
        pair
    }

    fn old_takes(&self, input: &Input) -> Pair {
        let Ok((old, effects)) = self.old.step(input, self.now) else { return self.clone() };
        let pair = Pair { old, ..self.clone() };
        let looks = effects.iter().any(|effect| matches!(effect, Effect::LookAtNew { .. }));
        match (looks, self.new.captured, self.new.state.claim()) {
            (true, Some(_), _) => pair.old_takes(&Input::ExchangePaid { to: DEARER }),
            (true, None, Claim::None) => pair.old_takes(&Input::ExchangeOver { to: DEARER }),
            _ => pair,
        }
    }

    fn next(&self) -> Vec<Pair> {
        let mut next = Vec::new();
        let mut news = vec![
            Input::BeginPayment { payment_id: NEW_PAYMENT },
            Input::Deadline,
            cancel(CancelledBy::User),
            cancel(CancelledBy::Showtime),
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
        for input in &news {
            next.extend([self.new_takes(input, true), self.new_takes(input, false)]);
        }
        for input in [Input::Deadline, cancel(CancelledBy::User), Input::Exchange(place(2000))] {
            next.push(self.old_takes(&input));
        }
        for deadline in self.old.deadline().into_iter().chain(self.new.deadline()) {
            next.push(Pair { now: self.now.max(deadline), ..self.clone() });
        }
        next
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
            for saga in [self.old.clone(), self.new.clone()] {
                if let State::Refunding { refund, .. } = &saga.state {
                    let done = Input::RefundCompleted { refund_id: refund.id };
                    self =
                        if saga == self.old { self.old_takes(&done) } else { self.new_takes(&done, false) };
                }
            }
            for part in self.old.parts.clone() {
                self = self.old_takes(&Input::RefundCompleted { refund_id: part.refund.id });
            }
            let deadlines = self.old.deadline().into_iter().chain(self.new.deadline());
            if let Some(deadline) = deadlines.min() {
                self.now = self.now.max(deadline);
                self = self.old_takes(&Input::Deadline).new_takes(&Input::Deadline, false);
            }
        }
        let (old, new) = (self.old.state.claim() == Claim::Sold, self.new.state.claim() == Claim::Sold);
        assert!(!(old && new), "both are sold after {history}: {self:?}");
        let kept = |saga: &Saga| if saga.captured.is_some() { saga.left().amount } else { 0 };
        let price = |sold: bool, saga: &Saga| if sold { saga.terms.total.amount } else { 0 };
        assert_eq!(kept(&self.old), price(old, &self.old), "{self:?}");
        assert_eq!(kept(&self.new), price(new, &self.new), "{self:?}");
        assert!(self.old.deadline().is_none() && self.new.deadline().is_none(), "{self:?}");
    }
}

const NEW_PAYMENT: Uuid = Uuid::from_u128(3);

fn paid_new() -> PaymentSuccess {
    PaymentSuccess { payment_id: NEW_PAYMENT, total: euros(3000), ..success() }
}

#[test]
fn every_history_of_a_dearer_exchange_ends_with_one_of_both_and_its_price() {
    let old = Saga { captured: Some(euros(2400)), state: confirmed(), ..saga() };
    let (old, _) = old.step(&begin_exchange(), at(10)).unwrap();
    let new = Saga { exchange_of: Some(Uuid::nil()), ..saga() };
    let new = Saga { terms: Terms { total: euros(3000), ..new.terms.clone() }, ..new };
    let mut front = vec![Pair { old, new, payment: Provider::Nothing, now: at(10) }];
    let mut seen = HashSet::new();
    for step in 0..8 {
        let mut further = Vec::new();
        for pair in front.iter().flat_map(Pair::next) {
            if seen.insert(format!("{pair:?}")) {
                pair.clone().settle(step);
                further.push(pair);
            }
        }
        front = further;
    }
    assert!(seen.len() > 100, "only {} scenes: the world has become too small", seen.len());
}
