//! What the provider's news about an attempt mean, whether it was asked or told of its own accord. Pure.
//!
//! Invariant: a capture is final and only accepted when amount and currency are ours and no other was accepted before;
//! whatever else was captured is given back. News that come late or twice change nothing.

use bus::contract::Money;

use super::ledger::{Account, Movement};
use super::model::{Attempt, Kind, Stage, State};
use super::provider::{Sight, Standing};
use super::step::{Call, Draft, KeyWrite, Said};

/// The provider's code for a token that it does not know.
pub const NO_SUCH_METHOD: &str = "resource_missing";

impl Draft<'_> {
    /// Takes in how the provider shows an attempt.
    pub fn hear(&mut self, number: Option<i32>, sight: &Sight) {
        let same = |ours: &Option<String>, theirs: &Option<String>| ours.is_some() && ours == theirs;
        let attempts = &self.payment.attempts;
        let named = attempts.iter().position(|a| {
            let another = a.intent.is_some() && sight.intent.is_some() && a.intent != sight.intent;
            Some(a.number) == number && !another
        });
        let index = attempts.iter().position(|a| same(&a.intent, &sight.intent));
        let index =
            index.or_else(|| attempts.iter().position(|a| same(&a.session, &sight.session))).or(named);
        match index {
            Some(index) => self.hear_of(index, sight),
            // Money under a name that we do not have: of a row that was lost, or captured twice for one attempt.
            None if sight.standing == Standing::Captured => {
                let number = attempts.iter().map(|a| a.number).max().unwrap_or(0) + 1;
                self.payment.attempts.push(Attempt {
                    number,
                    kind: Kind::Token { method: None },
                    state: State::Open,
                    intent: None,
                    session: None,
                    checkout_url: None,
                    code: None,
                    claim: None,
                    created_at: self.now,
                });
                self.hear_of(self.payment.attempts.len() - 1, sight);
            }
            None => self.log("unknown attempt", sight.intent.clone().unwrap_or_default()),
        }
    }

    fn hear_of(&mut self, index: usize, sight: &Sight) {
        let ours = self.payment.total;
        let attempt = self.attempt(index);
        let nameless = attempt.intent.is_none() && attempt.session.is_none();
        if attempt.intent.is_none() {
            attempt.intent = sight.intent.clone();
        }
        if attempt.session.is_none() {
            attempt.session = sight.session.clone();
        }
        let number = attempt.number;
        match (&sight.standing, attempt.state, &attempt.kind) {
            (Standing::Captured, State::Captured, _) => {}
            (Standing::Captured, ..) => self.capture(index, sight),
            (_, State::Captured, _) => {}
            (Standing::Closed, state, _) if state.is_open() => {
                attempt.state = State::Closed;
                self.forget_key(index);
                self.log("closed", format!("attempt {number}"));
            }
            (Standing::Declined { code }, state, Kind::Token { .. }) if state.is_open() => {
                attempt.state = State::Declined;
                attempt.code = Some(code.clone());
                attempt.kind = Kind::Token { method: None };
                self.forget_key(index);
                self.log("declined", format!("attempt {number}: {code}"));
            }
            // A page stays open after a declined card: the moviegoer may try another.
            (Standing::Declined { code }, State::Open, _) => {
                let code = code.clone();
                // The moviegoer who comes back is told why.
                attempt.code = Some(code.clone());
                self.log("card declined on the page", format!("attempt {number}: {code}"));
            }
            (Standing::Open, State::Opening, _) if sight.total != Some(ours) => {
                self.alarm(format!("attempt {number} is about to take another amount"));
                self.close(index);
            }
            (Standing::Open, State::Opening, _) => self.opened(index, sight),
            // Its beginning is answered only now, so only now there is something to close.
            (Standing::Open, State::Closing, _) if nameless => self.calls.push(Call::Close(number)),
            _ => {}
        }
    }

    /// The page waits, or a bank thinks: the asker has an answer.
    fn opened(&mut self, index: usize, sight: &Sight) {
        let attempt = self.attempt(index);
        attempt.state = State::Open;
        attempt.checkout_url = sight.url.clone();
        let number = attempt.number;
        let (key, page) = (attempt.claim.take(), matches!(attempt.kind, Kind::Hosted { .. }));
        self.key = key.map(|key| KeyWrite::Complete { key, attempt: number });
        self.log("open", format!("attempt {number}"));
        if page {
            self.said.push(Said::Initiated(number));
        }
    }

    fn capture(&mut self, index: usize, sight: &Sight) {
        let ours = self.payment.total;
        let attempt = self.attempt(index);
        attempt.state = State::Captured;
        if let Kind::Token { method } = &mut attempt.kind {
            *method = None;
        }
        let number = attempt.number;
        let intent = attempt.intent.clone().or_else(|| attempt.session.clone()).unwrap_or_default();
        self.log("captured", format!("attempt {number}: {intent}"));
        let accepted = match &self.payment.stage {
            Stage::Captured { provider_ref, .. } => *provider_ref == intent,
            _ => false,
        };
        if accepted {
            return self.forget_key(index);
        }
        if sight.total != Some(ours) {
            self.alarm(format!("attempt {number} captured another amount than asked for"));
            self.forget_key(index);
            return self.unwanted(intent, sight.total);
        }
        if matches!(self.payment.stage, Stage::Captured { .. }) {
            self.log("captured twice", format!("{intent} is given back"));
            self.forget_key(index);
            return self.unwanted(intent, sight.total);
        }
        let late = matches!(self.payment.stage, Stage::Over { .. });
        self.accept(intent, if late { "late capture" } else { "capture" });
        let key = self.attempt(index).claim.take();
        self.key = key.map(|key| KeyWrite::Complete { key, attempt: number });
        for other in 0..self.payment.attempts.len() {
            if self.payment.attempts[other].state.is_open() {
                self.close(other);
            }
        }
    }

    /// The one capture that is accepted, known by `reference`.
    pub fn accept(&mut self, reference: String, entry: &'static str) {
        self.book(Movement {
            transaction: format!("capture:{reference}"),
            entry,
            from: Account::Sales,
            to: Account::Provider,
            total: self.payment.total,
            tickets: self.payment.tickets(),
        });
        self.payment.stage = Stage::Captured { provider_ref: reference, paid_at: self.now };
        self.said.push(Said::Success);
    }

    /// A capture that is not the accepted one: booked as what it is, and given back.
    fn unwanted(&mut self, intent: String, total: Option<Money>) {
        if let Some(total) = total {
            self.book(Movement {
                transaction: format!("capture:{intent}"),
                entry: "unwanted capture",
                from: Account::Unwanted,
                to: Account::Provider,
                total,
                tickets: 0,
            });
        }
        self.give_back(intent, total);
    }

    /// A definite no to the beginning of an attempt: nothing was charged.
    pub fn refused(&mut self, index: usize, code: &str, status: u16) {
        let attempt = self.attempt(index);
        let number = attempt.number;
        let token = matches!(attempt.kind, Kind::Token { .. });
        attempt.state = if token { State::Declined } else { State::Closed };
        attempt.code = Some(code.to_owned());
        if token {
            attempt.kind = Kind::Token { method: None };
        }
        self.forget_key(index);
        if code == NO_SUCH_METHOD {
            self.log("declined", format!("attempt {number}: the provider does not know the token"));
        } else {
            self.alarm(format!("the provider refuses attempt {number} with {status} {code}"));
        }
    }

    /// The provider has forgotten the key, so asking again could charge again.
    pub fn give_up(&mut self, index: usize) {
        let attempt = self.attempt(index);
        let number = attempt.number;
        match attempt.kind {
            // Nobody ever saw the page, and it has ended by itself.
            Kind::Hosted { .. } => {
                attempt.state = State::Closed;
                self.forget_key(index);
                self.log("closed", format!("attempt {number}: the page has ended"));
            }
            Kind::Token { .. } => self.alarm(format!("the outcome of attempt {number} was never found out")),
        }
    }

    fn forget_key(&mut self, index: usize) {
        if let Some(key) = self.attempt(index).claim.take() {
            self.key = Some(KeyWrite::Forget { key });
        }
    }
}
