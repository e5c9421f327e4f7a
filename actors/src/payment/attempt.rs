//! One attempt to capture the money: a charge of a token, or a page of the provider. The provider's view of it is handled by
//! one `match` on its state and the provider's ([`take`]).
//!
//! Invariant: a capture is final and only accepted when amount and currency are ours and no other was accepted before; any
//! other capture is given back. A view that arrives late or twice changes nothing.
//! Invariant: a direct charge beyond the bounds on declined cards is refused before the provider is called. They are against
//! card testing: trying stolen numbers to learn which of them work. The bound by order follows from the payment's own row; the
//! bound by account is counted where the attempt is written (`store.rs`).

use std::time::Duration;

use bus::contract::Timestamp;

use super::call::ProviderCall as Call;
use super::ledger::{Account, Movement};
use super::model::{Attempt, KEY_LIVES, KeyClaim, NO_PROVIDER, NO_SUCH_METHOD, Payment, Stage, State};
use super::provider::{Answer, AttemptView, Kind, ProviderState};
use super::step::{KeyWrite, PayRequest, PaymentEvent, Step};
use super::{credit, refund};

/// After this long without a reply a person should look.
const REPLY_MAX: Duration = Duration::from_secs(45 * 60);

impl Attempt {
    /// Whether the provider has returned no id for it.
    fn is_nameless(&self) -> bool {
        self.intent.is_none() && self.session.is_none()
    }

    /// Whether it is in a final state: no further call is made for it.
    fn ended(self, state: State, now: Timestamp) -> Self {
        let kind = match self.kind {
            Kind::Token { .. } => Kind::Token { method: None },
            page @ Kind::Hosted { .. } => page,
        };
        Self { state, since: now, kind, claim: None, concern: None, ..self }
    }

    fn closing(self, now: Timestamp) -> Self {
        let since = if self.state == State::Closing { self.since } else { now };
        Self { state: State::Closing, since, ..self }
    }

    fn forgets_key(&self) -> Option<KeyWrite> {
        self.claim.clone().map(|claim| KeyWrite::Forget { key: claim.key() })
    }

    fn completes_key(&self) -> Option<KeyWrite> {
        self.claim.clone().map(|claim| KeyWrite::Complete { key: claim.key(), attempt: self.number })
    }
}

/// How many direct charges of the payment were declined.
pub fn declines(payment: &Payment) -> usize {
    payment.attempts.iter().filter(|attempt| attempt.is_decline()).count()
}

/// Puts the attempt into the payment, over its earlier state.
fn put(mut step: Step, attempt: Attempt) -> Step {
    match step.next.attempts.iter_mut().find(|other| other.number == attempt.number) {
        Some(before) => *before = attempt,
        None => step.next.attempts.push(attempt),
    }
    step
}

fn next_number(payment: &Payment) -> i32 {
    payment.attempts.iter().map(|attempt| attempt.number).max().unwrap_or(0) + 1
}

/// Stores payer and hold, as reservation has just returned them, and the request that caused the attempt.
fn begun_by(mut step: Step, request: &PayRequest) -> Step {
    step.next.expires_at = request.facts.expires_at;
    step.next.description.clone_from(&request.facts.description);
    step.next.email.clone_from(&request.facts.email);
    // A guest's order may have gone to an account since the payment was opened.
    step.next.user_id = request.facts.user_id;
    step.next.context = request.context.clone();
    step
}

/// Pays at once a payment of which nothing is due.
pub fn pay_nothing(step: Step, request: &PayRequest, now: Timestamp) -> Step {
    let step = begun_by(step, request).log("captured", "nothing is due");
    let reference = format!("{NO_PROVIDER}:{}", step.next.id);
    let answer = KeyWrite::Answer { key: request.key.clone(), hash: request.hash };
    accept(step, reference, "free", now).key(Some(answer))
}

pub fn begin(step: Step, request: &PayRequest, now: Timestamp) -> Step {
    let step = begun_by(step, request);
    let attempt = Attempt {
        number: next_number(&step.next),
        kind: request.kind.clone(),
        state: State::Opening,
        since: now,
        intent: None,
        session: None,
        checkout_url: None,
        code: None,
        claim: Some(KeyClaim::of(&request.key)),
        concern: None,
        created_at: now,
    };
    let (number, is_charge) = (attempt.number, attempt.is_charge());
    let claim = KeyWrite::Claim { key: request.key.clone(), hash: request.hash };
    let kind = if is_charge { "a token" } else { "a hosted page" };
    let step = put(step, attempt).key(Some(claim)).call(Call::Begin(number));
    let step = step.log("attempt", format!("{number}, {kind}"));
    // A page has an address only once the provider has replied.
    if is_charge { step.event(PaymentEvent::Initiated(number)) } else { step }
}

/// An older attempt has to be closed before a new one begins.
pub fn close_for_new(mut step: Step, open: &Attempt, request: &PayRequest, now: Timestamp) -> Step {
    step.next.expires_at = request.facts.expires_at;
    if open.state != State::Closing {
        step = step.log("closing", format!("attempt {}, for a new one", open.number));
    }
    close(step, open.clone(), now)
}

/// Closes an attempt at the provider; a repeat calls it again.
fn close(step: Step, attempt: Attempt, now: Timestamp) -> Step {
    let number = attempt.number;
    put(step, attempt.closing(now)).call(Call::Close(number))
}

pub fn close_all(step: Step, now: Timestamp) -> Step {
    let open: Vec<Attempt> = step.next.attempts.iter().filter(|a| a.state.is_open()).cloned().collect();
    step.for_each(open, |step, attempt| close(step, attempt, now))
}

/// Reads every open attempt from the provider. When a person resumes, also the attempts that were given up.
pub fn check(step: Step, is_resumed: bool, now: Timestamp) -> Step {
    let open: Vec<Attempt> = step.next.attempts.iter().filter(|a| a.state.is_open()).cloned().collect();
    step.for_each(open, |step, attempt| check_one(step, attempt, is_resumed, now))
}

fn check_one(step: Step, attempt: Attempt, is_resumed: bool, now: Timestamp) -> Step {
    let number = attempt.number;
    let may_begin = step.next.stage == Stage::Payable && now < step.next.expires_at;
    // The provider no longer has the key: repeating the call could charge again.
    let is_forgotten = attempt.is_nameless() && now > attempt.created_at.plus(KEY_LIVES) && !is_resumed;
    match (attempt.state, &attempt.kind) {
        // No caller received the page's address, and the page has ended by itself.
        (_, Kind::Hosted { .. }) if is_forgotten => {
            let key = attempt.forgets_key();
            let step = put(step, attempt.ended(State::Closed, now)).key(key);
            step.log("closed", format!("attempt {number}: the page has ended"))
        }
        (_, Kind::Token { .. }) if is_forgotten => {
            require_attention(step, attempt, format!("the outcome of attempt {number} was never found out"))
        }
        (State::Open, _) => step.call(Call::Look(number)),
        (State::Opening, _) if may_begin => unanswered(step, attempt, now).call(Call::Begin(number)),
        // An attempt without a reply must not charge for seats that are no longer held. After a day the provider's list of
        // events has shown whether it did, and money that arrives later is still accepted.
        (_, _) => {
            let attempt = attempt.closing(now);
            unanswered(step, attempt, now).call(Call::Close(number))
        }
    }
}

/// Keeps the attempt, which a person must look at after a while without a reply.
fn unanswered(step: Step, attempt: Attempt, now: Timestamp) -> Step {
    let number = attempt.number;
    if attempt.is_nameless() && now > attempt.created_at.plus(REPLY_MAX) {
        require_attention(
            step,
            attempt,
            format!("the provider does not reply what became of attempt {number}"),
        )
    } else {
        put(step, attempt)
    }
}

/// A person must look at the attempt; the first reason stays.
fn require_attention(step: Step, attempt: Attempt, why: String) -> Step {
    let concern = attempt.concern.clone().or(Some(why));
    put(step, Attempt { concern, ..attempt })
}

/// The provider replied to a call about an attempt.
pub fn replied(step: Step, call: Call, answer: &Answer<AttemptView>, now: Timestamp) -> Step {
    let (Call::Begin(number) | Call::Look(number) | Call::Close(number)) = call else { return step };
    let Some(attempt) = step.next.attempt(number).cloned() else { return step };
    match answer {
        Answer::Done(view) => shown(step, Some(number), view, now),
        Answer::Unknown(why) => step.log("no answer", format!("attempt {number}: {why}")),
        Answer::NoSuchObject => {
            require_attention(step, attempt, format!("the provider does not know attempt {number}"))
        }
        Answer::Refused { code, status } => match call {
            Call::Begin(_) if attempt.state.is_open() => refused(step, attempt, code, *status, now),
            _ => {
                let why = format!("attempt {number}: the provider refuses with {status} {code}");
                require_attention(step, attempt, why)
            }
        },
    }
}

/// A definite refusal to begin an attempt: nothing was charged.
fn refused(step: Step, attempt: Attempt, code: &str, status: u16, now: Timestamp) -> Step {
    let number = attempt.number;
    let state = if attempt.is_charge() { State::Declined } else { State::Closed };
    let key = attempt.forgets_key();
    let attempt = Attempt { code: Some(code.to_owned()), ..attempt.ended(state, now) };
    let step = step.key(key);
    if code == NO_SUCH_METHOD {
        put(step, attempt).log("declined", format!("attempt {number}: the provider does not know the token"))
    } else {
        require_attention(
            step,
            attempt,
            format!("the provider refuses attempt {number} with {status} {code}"),
        )
    }
}

/// Handles the provider's view of an attempt, from a reply or from a webhook, whose metadata may name the attempt.
pub fn shown(step: Step, number: Option<i32>, view: &AttemptView, now: Timestamp) -> Step {
    let is_same = |ours: &Option<String>, theirs: &Option<String>| ours.is_some() && ours == theirs;
    let attempts = &step.next.attempts;
    let named = attempts.iter().find(|a| {
        let is_another = a.intent.is_some() && view.intent.is_some() && a.intent != view.intent;
        Some(a.number) == number && !is_another
    });
    let by_intent = attempts.iter().find(|a| is_same(&a.intent, &view.intent));
    let by_session = || attempts.iter().find(|a| is_same(&a.session, &view.session));
    match by_intent.or_else(by_session).or(named).cloned() {
        Some(attempt) => take(step, attempt, view, now),
        // Money under an id that no attempt has: of a row that was lost, or captured twice for one attempt.
        None if view.state == ProviderState::Captured => {
            let unknown = Attempt {
                number: next_number(&step.next),
                kind: Kind::Token { method: None },
                state: State::Open,
                since: now,
                intent: None,
                session: None,
                checkout_url: None,
                code: None,
                claim: None,
                concern: None,
                created_at: now,
            };
            take(step, unknown, view, now)
        }
        None => step.log("unknown attempt", view.intent.clone().unwrap_or_default()),
    }
}

/// The transition table of an attempt.
fn take(step: Step, before: Attempt, view: &AttemptView, now: Timestamp) -> Step {
    let was_nameless = before.is_nameless();
    let number = before.number;
    let intent = before.intent.clone().or_else(|| view.intent.clone());
    let session = before.session.clone().or_else(|| view.session.clone());
    let attempt = Attempt { intent, session, ..before };
    match (&view.state, attempt.state, &attempt.kind) {
        (ProviderState::Captured, State::Captured, _) => put(step, attempt),
        (ProviderState::Captured, _, _) => captured(step, attempt, view, now),
        (_, State::Captured, _) => put(step, attempt),
        (ProviderState::Closed, State::Opening | State::Open | State::Closing, _) => {
            let key = attempt.forgets_key();
            let step = put(step, attempt.ended(State::Closed, now)).key(key);
            step.log("closed", format!("attempt {number}"))
        }
        (
            ProviderState::Declined { code },
            State::Opening | State::Open | State::Closing,
            Kind::Token { .. },
        ) => {
            let key = attempt.forgets_key();
            let declined = Attempt { code: Some(code.clone()), ..attempt.ended(State::Declined, now) };
            put(step, declined).key(key).log("declined", format!("attempt {number}: {code}"))
        }
        // A page stays open after a declined card: the moviegoer may try another, and sees the reason after returning.
        (ProviderState::Declined { code }, State::Open, Kind::Hosted { .. }) => {
            put(step, Attempt { code: Some(code.clone()), ..attempt })
                .log("card declined on the page", format!("attempt {number}: {code}"))
        }
        (ProviderState::Open, State::Opening, _) if view.total != Some(step.next.total) => {
            let closing = attempt.closing(now);
            require_attention(step, closing, format!("attempt {number} is about to take another amount"))
                .call(Call::Close(number))
        }
        (ProviderState::Open, State::Opening, _) => opened(step, attempt, view, now),
        // The first call is answered only now, so only now there is an object to close.
        (ProviderState::Open, State::Closing, _) if was_nameless => {
            put(step, attempt).call(Call::Close(number))
        }
        (ProviderState::Open | ProviderState::Closed | ProviderState::Declined { .. }, _, _) => {
            put(step, attempt)
        }
    }
}

/// The page is open, or a bank decides: the caller gets an answer.
fn opened(step: Step, attempt: Attempt, view: &AttemptView, now: Timestamp) -> Step {
    let (number, is_page, key) = (attempt.number, !attempt.is_charge(), attempt.completes_key());
    let open =
        Attempt { state: State::Open, since: now, checkout_url: view.url.clone(), claim: None, ..attempt };
    let step = put(step, Attempt { concern: None, ..open }).key(key).log("open", format!("attempt {number}"));
    if is_page { step.event(PaymentEvent::Initiated(number)) } else { step }
}

fn captured(step: Step, attempt: Attempt, view: &AttemptView, now: Timestamp) -> Step {
    let number = attempt.number;
    let intent = attempt.intent.clone().or_else(|| attempt.session.clone()).unwrap_or_default();
    let (forgets, completes) = (attempt.forgets_key(), attempt.completes_key());
    let step = put(step, attempt.ended(State::Captured, now));
    let step = step.log("captured", format!("attempt {number}: {intent}"));
    let is_ours = view.total == Some(step.next.total);
    match step.next.stage.clone() {
        Stage::Captured { provider_ref, .. } if provider_ref == intent => step.key(forgets),
        Stage::Captured { .. } if is_ours => {
            let step = step.key(forgets).log("captured twice", format!("{intent} is given back"));
            unwanted(step, intent, view, None, now)
        }
        Stage::Payable | Stage::Ending { .. } if is_ours => {
            close_all(accept(step, intent, "capture", now).key(completes), now)
        }
        Stage::Over { .. } if is_ours => {
            close_all(accept(step, intent, "late capture", now).key(completes), now)
        }
        Stage::Payable | Stage::Ending { .. } | Stage::Over { .. } | Stage::Captured { .. } => {
            let why = format!("attempt {number} captured another amount than asked for");
            unwanted(step.key(forgets), intent, view, Some(why), now)
        }
    }
}

/// The one capture that is accepted, known by `reference`.
fn accept(mut step: Step, reference: String, entry: &'static str, now: Timestamp) -> Step {
    let movement = Movement {
        transaction: format!("capture:{reference}"),
        entry,
        from: Account::Sales,
        to: Account::Provider,
        total: step.next.total,
        tickets: step.next.tickets(),
    };
    step = step.post(movement).event(PaymentEvent::Success);
    step.next.stage = Stage::Captured { provider_ref: reference, paid_at: now };
    credit::take(step)
}

/// A capture that is not the accepted one: booked as such, and given back.
fn unwanted(step: Step, intent: String, view: &AttemptView, concern: Option<String>, now: Timestamp) -> Step {
    let Some(total) = view.total else {
        let why = format!("{intent} captured an amount that cannot be read");
        let attempt = step.next.attempts.iter().find(|a| a.intent.as_ref() == Some(&intent)).cloned();
        return match attempt {
            Some(attempt) => require_attention(step, attempt, why),
            None => step.log("needs attention", why),
        };
    };
    let movement = Movement {
        transaction: format!("capture:{intent}"),
        entry: "unwanted capture",
        from: Account::Unwanted,
        to: Account::Provider,
        total,
        tickets: 0,
    };
    refund::give_back(step.post(movement), intent, total, concern, now)
}
