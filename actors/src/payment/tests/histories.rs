//! Thousands of random histories against a model of a provider that executes or not, answers or not, sends webhooks late, twice
//! and out of order, and of moviegoers who pay at any time. In each history: no money is kept for nothing, no two attempts can
//! capture, everything settles, and every key gets its answer or is free again.

use std::collections::{BTreeMap, HashMap, HashSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::payment::ledger::Account;
use crate::payment::provider::RefundState;

struct ProviderPayment {
    attempt: i32,
    page: bool,
    state: ProviderState,
}

struct World {
    random: StdRng,
    now: i64,
    payment: Payment,
    /// The provider's books, by intent.
    provider_payments: BTreeMap<String, ProviderPayment>,
    refunded: HashMap<String, i64>,
    refunds: HashMap<(Uuid, i32), RefundState>,
    calls: Vec<Call>,
    webhooks: Vec<(i32, AttemptView)>,
    successes: usize,
    keys: HashSet<String>,
    ledger: HashMap<Account, i64>,
    booked: HashSet<(String, Account)>,
    history: Vec<String>,
}

fn name(attempt: i32) -> String {
    format!("pi_{attempt}")
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            now: 1,
            payment: opened(),
            provider_payments: BTreeMap::new(),
            refunded: HashMap::new(),
            refunds: HashMap::new(),
            calls: Vec::new(),
            webhooks: Vec::new(),
            successes: 0,
            keys: HashSet::new(),
            ledger: HashMap::new(),
            booked: HashSet::new(),
            history: Vec::new(),
        }
    }

    fn view(&self, intent: &str) -> AttemptView {
        let provider_payment = &self.provider_payments[intent];
        AttemptView {
            session: provider_payment.page.then(|| format!("cs_{intent}")),
            ..view(intent, provider_payment.state.clone())
        }
    }

    fn set(&mut self, intent: &str, state: ProviderState) {
        if let Some(provider_payment) = self.provider_payments.get_mut(intent) {
            provider_payment.state = state;
        }
        let (attempt, view) = (self.provider_payments[intent].attempt, self.view(intent));
        self.webhooks.push((attempt, view));
    }

    fn take(&mut self, step: Step) {
        for event in &step.events {
            self.history.push(format!("publishes {event:?}"));
            self.successes += usize::from(*event == PaymentEvent::Success);
        }
        match &step.key {
            Some(KeyWrite::Claim { key, .. }) => assert!(self.keys.insert(key.key.clone())),
            Some(KeyWrite::Complete { key, .. } | KeyWrite::Forget { key }) => {
                assert!(self.keys.remove(&key.key), "a key is settled once");
            }
            Some(KeyWrite::Answer { .. }) => unreachable!("something is due"),
            None => {}
        }
        for posting in step.postings {
            assert!(self.booked.insert((posting.transaction, posting.account)), "booked twice");
            *self.ledger.entry(posting.account).or_default() += posting.total.amount;
        }
        self.calls.extend(&step.calls);
        self.payment = step.next;
        let open = self.payment.attempts.iter().filter(|attempt| attempt.state.is_open()).count();
        assert!(open <= 1, "two attempts are open");
        assert!(open == 0 || self.payment.next_check_at.is_some(), "an open attempt without a deadline");
    }

    fn execute(&mut self, call: Call) {
        match call {
            Call::Begin(number) if !self.provider_payments.contains_key(&name(number)) => {
                let attempt = self.payment.attempt(number).unwrap();
                let page = matches!(attempt.kind, Kind::Hosted { .. });
                let capturable = self
                    .provider_payments
                    .values()
                    .filter(|provider_payment| provider_payment.state == ProviderState::Open)
                    .count();
                assert_eq!(capturable, 0, "a new attempt while an old one can still capture");
                let state = match self.random.random_range(0..3) {
                    _ if page => ProviderState::Open,
                    0 => ProviderState::Captured,
                    1 => ProviderState::Declined { code: "no".into() },
                    _ => ProviderState::Open,
                };
                self.provider_payments.insert(
                    name(number),
                    ProviderPayment { attempt: number, page, state: ProviderState::Open },
                );
                self.set(&name(number), state);
            }
            Call::Close(number) => {
                let provider_payment =
                    ProviderPayment { attempt: number, page: false, state: ProviderState::Open };
                let provider_payment = self.provider_payments.entry(name(number)).or_insert(provider_payment);
                if provider_payment.state == ProviderState::Open {
                    self.set(&name(number), ProviderState::Closed);
                }
            }
            Call::Refund(id) => {
                let (intent, total, tries) = {
                    let refund = self.payment.refund(id).unwrap();
                    (refund.intent.clone(), refund.total.amount, refund.tries)
                };
                if !self.refunds.contains_key(&(id, tries)) {
                    let fails = self.random.random_bool(0.2) && tries < 3;
                    let state = if fails {
                        RefundState::Failed { code: "bank".into() }
                    } else {
                        *self.refunded.entry(intent.clone()).or_default() += total;
                        RefundState::Succeeded
                    };
                    assert!(self.refunded.get(&intent).is_none_or(|sum| *sum <= 2400), "gave back too much");
                    self.refunds.insert((id, tries), state);
                }
            }
            Call::Begin(_) | Call::Look(_) | Call::LookAtRefund(_) | Call::FindRefund(_) => {}
            Call::LookAtDispute(_) => unreachable!("this model has no disputes"),
        }
    }

    fn answer(&mut self, call: Call, replies: bool) {
        let now = at(self.now);
        let step = match call {
            Call::Begin(number) | Call::Look(number) | Call::Close(number) => {
                let answer = match replies {
                    true => Answer::Done(self.view(&name(number))),
                    false => Answer::Unknown("silence".into()),
                };
                replied(&self.payment, call, &answer, now)
            }
            Call::LookAtDispute(_) => unreachable!("this model has no disputes"),
            Call::Refund(id) | Call::LookAtRefund(id) | Call::FindRefund(id) => {
                let tries = self.payment.refund(id).unwrap().tries;
                let state = self.refunds.get(&(id, tries)).cloned().filter(|_| replies);
                let answer = match state {
                    Some(state) => {
                        let total = self.payment.refund(id).map(|refund| refund.total);
                        Answer::Done(RefundView { reference: format!("re_{tries}"), total, state })
                    }
                    None => Answer::Unknown("silence".into()),
                };
                refund_replied(&self.payment, id, tries, &answer, now)
            }
        };
        self.take(step);
    }

    fn go_on(&mut self) {
        self.now += self.random.random_range(0..40);
        match self.random.random_range(0..12) {
            0 | 1 => {
                let kind = if self.random.random_bool(0.5) { token() } else { page() };
                let request = pay_request(kind, &format!("key {}", self.history.len()));
                if let Ok(step) = pay(&self.payment, &request, at(self.now)) {
                    self.take(step);
                }
            }
            2..=5 if !self.calls.is_empty() => {
                let call = self.calls.remove(self.random.random_range(0..self.calls.len()));
                let (executed, replies) = (self.random.random_bool(0.7), self.random.random_bool(0.7));
                if executed {
                    self.execute(call);
                }
                self.answer(call, executed && replies);
            }
            6 => self.moviegoer_pays(),
            7 | 8 if !self.webhooks.is_empty() => {
                let (attempt, view) = self.webhooks[self.random.random_range(0..self.webhooks.len())].clone();
                self.take(shown(&self.payment, Some(attempt), &view, at(self.now)));
            }
            9 if self.random.random_bool(0.3) => self.take(end(&self.payment, "hold-expired", at(self.now))),
            10 if self.random.random_bool(0.1) && !self.payment.attempts.is_empty() => {
                let intent = format!("pi_extra{}", self.provider_payments.len());
                self.provider_payments.insert(
                    intent.clone(),
                    ProviderPayment { attempt: 1, page: false, state: ProviderState::Open },
                );
                self.set(&intent, ProviderState::Captured);
            }
            _ => self.take(due(&self.payment, at(self.now))),
        }
        self.history.push(format!("{}: {:?} {:?}", self.now, self.payment.stage, self.calls));
    }

    fn moviegoer_pays(&mut self) {
        let open = self
            .provider_payments
            .iter()
            .find(|(_, provider_payment)| provider_payment.state == ProviderState::Open);
        if let Some(intent) = open.map(|(intent, _)| intent.clone()) {
            self.set(&intent, ProviderState::Captured);
        }
    }

    /// From now on the provider answers, and every webhook arrives.
    fn settle(&mut self) {
        self.take(end(&self.payment, "hold-expired", at(self.now)));
        for _ in 0..60 {
            for (attempt, view) in std::mem::take(&mut self.webhooks) {
                self.take(shown(&self.payment, Some(attempt), &view, at(self.now)));
            }
            while let Some(call) = self.calls.pop() {
                self.execute(call);
                self.answer(call, true);
            }
            let Some(next) = self.payment.next_check_at else { return };
            self.now = self.now.max(next.unix_seconds());
            self.take(due(&self.payment, at(self.now)));
        }
        panic!("does not settle");
    }

    fn check(&self) {
        let captured = self
            .provider_payments
            .values()
            .filter(|provider_payment| provider_payment.state == ProviderState::Captured)
            .count() as i64;
        let kept = captured * 2400 - self.refunded.values().sum::<i64>();
        let accepted = matches!(self.payment.stage, Stage::Captured { .. });
        assert_eq!(accepted, captured > 0, "a payment is accepted exactly when money was captured");
        assert_eq!(kept, if accepted { 2400 } else { 0 }, "one capture is kept, and only one");
        assert_eq!(self.successes, usize::from(accepted), "one event");
        let booked = |account| self.ledger.get(&account).copied().unwrap_or(0);
        assert_eq!(booked(Account::Provider), kept, "the ledger has the money that the provider holds");
        assert_eq!(booked(Account::Sales), if accepted { -2400 } else { 0 });
        assert_eq!(booked(Account::Unwanted), 0, "every other capture is given back");
        assert!(self.keys.is_empty(), "keys without an answer: {:?}", self.keys);
    }
}

#[test]
fn in_every_history_one_capture_is_kept_and_everything_settles() {
    let (mut kept, mut double) = (0, 0);
    for seed in 0..1_500 {
        let mut world = World::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..40 {
                world.go_on();
            }
            world.settle();
            world.check();
        }));
        assert!(outcome.is_ok(), "seed {seed}:\n{}\n{:#?}", world.history.join("\n"), world.payment);
        kept += usize::from(world.successes > 0);
        double += usize::from(!world.refunded.is_empty());
    }
    assert!(kept > 400 && kept < 1_500 && double > 20, "the histories cover too little: {kept}, {double}");
}
