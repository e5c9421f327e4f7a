//! The rules of paying: begin, close, end, ask. Pure: facts and `now` come in, a [`Step`] goes out. What the provider's
//! news mean is in [`super::hear`].
//!
//! Invariant: at most one attempt is open; a new one waits until the old one is closed at the provider.
//! Invariant: nothing begins once a payment is ending, and nothing is charged once the hold is over.

use bus::Context;
use bus::contract::Timestamp;
use bus::contract::payment::Rejection;
use uuid::Uuid;

use super::declines;
use super::model::{Attempt, Kind, NO_PROVIDER, Payment, Stage, State};
use super::provider::{Answer, Sight};
use super::step::{ANSWER_WITHIN, Call, Draft, KEY_LIVES, KeyWrite, Said, Step};
use crate::config::DeclineLimits;
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
    pub declines: Option<DeclineLimits>,
}

impl Wish {
    /// A direct charge, whose declines are bounded.
    pub fn bounded_charge(&self) -> Option<DeclineLimits> {
        self.declines.filter(|_| matches!(self.kind, Kind::Token { .. }))
    }
}

#[derive(Debug)]
pub enum Paying {
    Begin(Box<Step>),
    /// An older one has to be closed first; then ask again.
    CloseFirst(Box<Step>),
    /// Nothing is due: it is paid by this step.
    Done(Box<Step>),
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
    if payment.is_free() {
        draft.begun_by(wish);
        draft.log("captured", "nothing is due");
        draft.accept(format!("{NO_PROVIDER}:{}", payment.id), "free");
        draft.key = Some(KeyWrite::Answer { key: wish.key.clone(), hash: wish.hash });
        return Ok(Paying::Done(Box::new(draft.finish())));
    }
    if wish.bounded_charge().is_some_and(|limits| declines::of_order(payment) >= limits.per_order_max) {
        return Err(Rejection::DeclinesLimit);
    }
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
    draft.begun_by(wish);
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
        Answer::Done(sight) => {
            draft.hear(Some(number), sight);
            // Most charges are told by a webhook first: their answer is worth no write of its own.
            if !matches!(call, Call::Begin(_)) {
                draft.log_answer(call, &sight.standing);
            }
        }
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
    draft.end(code);
    draft.finish()
}

/// A deadline passed: ask the provider about everything that is open.
pub fn due(payment: &Payment, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    if payment.next_check_at.is_none_or(|at| at > now) {
        return draft.finish();
    }
    draft.check();
    draft.ask_about_attempts();
    draft.check_refunds();
    draft.ask_about_disputes();
    draft.finish()
}

/// A person wants the provider asked again about everything that is not settled.
pub fn resume(payment: &Payment, by: Uuid, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    draft.log("resumed", format!("by {by}"));
    draft.check();
    draft.payment.checks = 0;
    draft.resumed = true;
    draft.ask_about_attempts();
    draft.resume_refunds();
    draft.ask_about_disputes();
    draft.finish()
}

impl Draft<'_> {
    /// Who pays, as reservation knows them, and the request that everything goes back to.
    fn begun_by(&mut self, wish: &Wish) {
        self.payment.description.clone_from(&wish.description);
        self.payment.email.clone_from(&wish.email);
        self.payment.context = wish.context.clone();
    }

    pub fn end(&mut self, code: &str) {
        if self.payment.stage == Stage::Payable {
            self.payment.stage = Stage::Ending { code: code.to_owned() };
            self.log("ending", code);
        }
        if matches!(self.payment.stage, Stage::Ending { .. }) {
            for index in 0..self.payment.attempts.len() {
                if self.payment.attempts[index].state.is_open() {
                    self.close(index);
                }
            }
        }
    }

    fn ask_about_attempts(&mut self) {
        let now = self.now;
        let open: Vec<(usize, Attempt)> =
            self.payment.attempts.iter().cloned().enumerate().filter(|(_, a)| a.state.is_open()).collect();
        for (index, attempt) in open {
            let number = attempt.number;
            let unanswered = attempt.intent.is_none() && attempt.session.is_none();
            if unanswered && self.payment.checks > CHECKS_ENOUGH {
                self.alarm(format!("the provider does not say what became of attempt {number}"));
            }
            if unanswered && now > attempt.created_at.plus(KEY_LIVES) && !self.resumed {
                self.give_up(index);
            } else if attempt.state == State::Open {
                self.calls.push(Call::Look(number));
            } else if attempt.state == State::Opening
                && self.payment.stage == Stage::Payable
                && now < self.payment.expires_at
            {
                self.calls.push(Call::Begin(number));
            } else {
                // An attempt that was never answered must not charge for seats that are no longer kept. After a day the
                // provider's list of events has told if it did, and money that comes all the same is taken in.
                self.close(index);
            }
        }
    }

    fn ask_about_disputes(&mut self) {
        let open = self.payment.disputes.iter().filter(|dispute| dispute.status.is_open());
        let calls: Vec<Call> = open.map(|dispute| Call::LookAtDispute(dispute.id)).collect();
        self.calls.extend(calls);
    }
}
