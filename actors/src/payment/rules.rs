//! The rules of paying: begin, hear, close, end. Pure: facts and `now` come in, a [`Step`] goes out.
//!
//! Invariant: at most one attempt is open; a new one waits until the old one is closed at the provider.
//! Invariant: a capture is final and only accepted when amount and currency are ours and no other was accepted
//! before; whatever else was captured is given back. News that come late or twice change nothing.

use bus::Context;
use bus::contract::Timestamp;
use bus::contract::payment::Rejection;

use super::model::{Attempt, Kind, Payment, Stage, State};
use super::provider::{Answer, Sight, Standing};
use super::step::{ANSWER_WITHIN, Call, Draft, KEY_LIVES, KeyWrite, Said, Step};
use crate::delivery::IdempotencyKey;

/// Checks without an answer after which a person should look: about three quarters of an hour.
const CHECKS_ENOUGH: i32 = 8;

/// What the moviegoer asks for, after reservation has agreed.
#[derive(Debug, Clone)]
pub struct Wish {
    pub kind: Kind,
    pub key: IdempotencyKey,
    pub hash: [u8; 32],
    /// The hold's end, extended by beginning.
    pub expires_at: Timestamp,
    pub description: String,
    pub email: Option<String>,
    pub context: Context,
}

#[derive(Debug)]
pub enum Paying {
    Begin(Box<Step>),
    /// An older one has to be closed first; then ask again.
    CloseFirst(Box<Step>),
}

/// The row as it comes from `reservation.created`.
pub fn opened(payment: &Payment, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    draft.log("opened", "by its reservation");
    draft.finish()
}

/// What changes nothing.
pub fn nothing(payment: &Payment, now: Timestamp) -> Step {
    Draft::new(payment, now).finish()
}

pub fn pay(payment: &Payment, wish: &Wish, now: Timestamp) -> Result<Paying, Rejection> {
    match payment.stage {
        Stage::Captured { .. } => return Err(Rejection::AlreadyPaid),
        Stage::Ending { .. } | Stage::Over { .. } => return Err(Rejection::PaymentOver),
        Stage::Payable if now >= wish.expires_at => return Err(Rejection::PaymentOver),
        Stage::Payable => {}
    }
    let mut draft = Draft::new(payment, now);
    draft.payment.expires_at = wish.expires_at;
    if let Some(open) = payment.attempts.iter().position(|attempt| attempt.state.is_open()) {
        let attempt = &payment.attempts[open];
        if attempt.state == State::Opening && now < attempt.created_at.plus(ANSWER_WITHIN) {
            return Err(Rejection::AttemptRunning);
        }
        if attempt.state != State::Closing {
            draft.log("closing", format!("attempt {}, for a new one", attempt.number));
        }
        draft.close(open);
        return Ok(Paying::CloseFirst(Box::new(draft.finish())));
    }
    let number = payment.attempts.iter().map(|attempt| attempt.number).max().unwrap_or(0) + 1;
    draft.payment.description = wish.description.clone();
    draft.payment.email = wish.email.clone();
    draft.payment.context = wish.context.clone();
    draft.payment.attempts.push(Attempt {
        number,
        kind: wish.kind.clone(),
        state: State::Opening,
        intent: None,
        session: None,
        checkout_url: None,
        code: None,
        claim: Some(wish.key.clone()),
        created_at: now,
    });
    draft.key = Some(KeyWrite::Claim { key: wish.key.clone(), hash: wish.hash });
    draft.calls.push(Call::Begin(number));
    let charge = matches!(wish.kind, Kind::Token { .. });
    draft.log("attempt", format!("{number}, {}", if charge { "a token" } else { "a hosted page" }));
    if charge {
        draft.said.push(Said::Initiated(number));
    }
    Ok(Paying::Begin(Box::new(draft.finish())))
}

/// The provider answered a call about an attempt.
pub fn answered(payment: &Payment, call: Call, answer: &Answer<Sight>, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    let (Call::Begin(number) | Call::Look(number) | Call::Close(number)) = call else {
        return draft.finish();
    };
    let Some(index) = payment.attempts.iter().position(|attempt| attempt.number == number) else {
        return draft.finish();
    };
    match answer {
        Answer::Done(sight) => draft.hear(Some(number), sight),
        Answer::Unknown(why) => draft.log("no answer", format!("attempt {number}: {why}")),
        Answer::NoSuchObject => draft.alarm(format!("the provider does not know attempt {number}")),
        Answer::Refused { code, status } => match call {
            Call::Begin(_) if payment.attempts[index].state.is_open() => draft.refused(index, code, *status),
            _ => draft.alarm(format!("attempt {number}: the provider refuses with {status} {code}")),
        },
    }
    draft.finish()
}

/// The provider told of its own: a webhook, whose metadata may name the attempt.
pub fn seen(payment: &Payment, number: Option<i32>, sight: &Sight, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    draft.hear(number, sight);
    draft.finish()
}

/// Nothing may begin any more; what is open is closed at the provider, again at each repeat.
pub fn end(payment: &Payment, code: &str, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    if payment.stage == Stage::Payable {
        draft.payment.stage = Stage::Ending { code: code.to_owned() };
        draft.log("ending", code);
    }
    if matches!(draft.payment.stage, Stage::Ending { .. }) {
        for index in 0..payment.attempts.len() {
            if payment.attempts[index].state.is_open() {
                draft.close(index);
            }
        }
    }
    draft.finish()
}

/// A deadline passed: ask the provider about everything that is open.
pub fn due(payment: &Payment, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    if payment.next_check_at.is_none_or(|at| at > now) {
        return draft.finish();
    }
    draft.check();
    for (index, attempt) in payment.attempts.iter().enumerate().filter(|(_, a)| a.state.is_open()) {
        let number = attempt.number;
        let unanswered = attempt.intent.is_none() && attempt.session.is_none();
        if unanswered && payment.checks >= CHECKS_ENOUGH {
            draft.alarm(format!("the provider does not say what became of attempt {number}"));
        }
        if unanswered && now > attempt.created_at.plus(KEY_LIVES) {
            draft.give_up(index);
        } else if attempt.state == State::Open {
            draft.calls.push(Call::Look(number));
        } else if attempt.state == State::Opening
            && payment.stage == Stage::Payable
            && now < payment.expires_at
        {
            draft.calls.push(Call::Begin(number));
        } else {
            // An attempt that was never answered must not charge for seats that are no longer kept.
            draft.close(index);
        }
    }
    draft.check_refunds();
    draft.finish()
}

impl Draft<'_> {
    /// Takes in how the provider shows an attempt.
    fn hear(&mut self, number: Option<i32>, sight: &Sight) {
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
            return self.give_back(intent, sight.total);
        }
        if matches!(self.payment.stage, Stage::Captured { .. }) {
            self.log("captured twice", format!("{intent} is given back"));
            self.forget_key(index);
            return self.give_back(intent, sight.total);
        }
        self.payment.stage = Stage::Captured { provider_ref: intent, paid_at: self.now };
        self.said.push(Said::Success);
        let key = self.attempt(index).claim.take();
        self.key = key.map(|key| KeyWrite::Complete { key, attempt: number });
        for other in 0..self.payment.attempts.len() {
            if self.payment.attempts[other].state.is_open() {
                self.close(other);
            }
        }
    }

    /// A definite no to the beginning of an attempt: nothing was charged.
    fn refused(&mut self, index: usize, code: &str, status: u16) {
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
    fn give_up(&mut self, index: usize) {
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

/// The provider's code for a token that it does not know.
pub const NO_SUCH_METHOD: &str = "resource_missing";
