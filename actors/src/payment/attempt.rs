//! One attempt to capture the money: a charge of a token, or a page of the provider. What the provider shows of it is decided
//! by one `match` on its state and the provider's ([`take`]).
//!
//! Invariant: a capture is final and only accepted when amount and currency are ours and no other was accepted before;
//! any other capture is given back. What is shown late or twice changes nothing.
//! Invariant: a direct charge beyond the bounds on declined cards is refused before the provider is called. They are against
//! card testing: trying stolen numbers to learn which of them work. The bound by order follows from the payment's own row;
//! the bound by account is counted where the attempt is written (`store.rs`).

use std::time::Duration;

use bus::contract::payment::{self as contract, AttemptStatus, Pay};
use bus::contract::{Request, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ledger::{Account, Movement};
use super::machine::{KeyWrite, PayRequest, PaymentEvent, ProviderCall as Call, Step};
use super::model::{ANSWER_WITHIN, KEY_LIVES, NO_PROVIDER, Payment, Stage, check_again_at};
use super::provider::{Answer, AttemptView, ProviderState};
use super::refund;
use crate::delivery::IdempotencyKey;

/// Somebody waits for a closing.
const CLOSING_WITHIN: Duration = Duration::from_secs(2);
/// Without a reply for so long a person should look.
const REPLY_MAX: Duration = Duration::from_secs(45 * 60);

/// The provider's code for a token that it does not know. No card was declined.
pub const NO_SUCH_METHOD: &str = "resource_missing";
/// Stripe's general decline, which gives no reason (docs.stripe.com/declines/codes).
pub const GENERAL_DECLINE: &str = "generic_decline";

/// Codes that help an honest customer and reveal nothing about a stolen card. Every other decline is shown as the general
/// one: lost, stolen, fraudulent, pick up, restricted, and codes that Stripe adds later.
const SHOWN_CODES: [&str; 20] = [
    GENERAL_DECLINE,
    "card_declined",
    "authentication_required",
    "card_not_supported",
    "card_velocity_exceeded",
    "currency_not_supported",
    "expired_card",
    "incorrect_address",
    "incorrect_cvc",
    "incorrect_number",
    "incorrect_zip",
    "insufficient_funds",
    "invalid_cvc",
    "invalid_expiry_month",
    "invalid_expiry_year",
    "invalid_number",
    "issuer_not_available",
    "processing_error",
    "withdrawal_count_limit_exceeded",
    NO_SUCH_METHOD,
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    pub number: i32,
    pub kind: Kind,
    pub state: State,
    /// When it came into this state.
    pub since: Timestamp,
    /// The provider's payment.
    pub intent: Option<String>,
    /// The provider's hosted page.
    pub session: Option<String>,
    pub checkout_url: Option<String>,
    /// Why it was declined.
    pub code: Option<String>,
    /// The idempotency key whose answer is not stored yet.
    pub claim: Option<KeyClaim>,
    /// Why a person must look.
    pub concern: Option<String>,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum Kind {
    /// `method` is deleted once the outcome is known.
    Token { method: Option<String> },
    /// When the page ends by itself, in Unix seconds: stored, since a repeated call must be the same to the letter.
    Hosted { ends_at: i64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// The provider was called and has not replied yet.
    Opening,
    Open,
    /// To be closed; the provider has not yet confirmed it.
    Closing,
    Captured,
    Declined,
    Closed,
}

/// An idempotency key of `rpc.payment.pay`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyClaim {
    user_id: Uuid,
    key: String,
}

impl State {
    pub fn is_open(self) -> bool {
        matches!(self, Self::Opening | Self::Open | Self::Closing)
    }
}

impl KeyClaim {
    fn of(key: &IdempotencyKey) -> Self {
        Self { user_id: key.user_id, key: key.key.clone() }
    }

    fn key(self) -> IdempotencyKey {
        IdempotencyKey { user_id: self.user_id, route: Pay::SUBJECT, key: self.key }
    }
}

impl Attempt {
    pub fn is_charge(&self) -> bool {
        matches!(self.kind, Kind::Token { .. })
    }

    /// Its caller still waits for the provider's first reply.
    pub fn is_awaited(&self, now: Timestamp) -> bool {
        self.state == State::Opening && now < self.created_at.plus(ANSWER_WITHIN)
    }

    /// Whether the provider has never given it a name.
    fn is_nameless(&self) -> bool {
        self.intent.is_none() && self.session.is_none()
    }

    pub fn waiting_page(&self) -> Option<&String> {
        self.checkout_url.as_ref().filter(|_| self.state == State::Open)
    }

    pub fn next_check(&self, hold_ends: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match (self.state, &self.kind) {
            (State::Open, Kind::Hosted { .. }) if now < hold_ends => Some(hold_ends),
            (State::Open, Kind::Hosted { .. }) => Some(check_again_at(hold_ends, ANSWER_WITHIN, now)),
            (State::Closing, _) => Some(check_again_at(self.since, CLOSING_WITHIN, now)),
            (State::Opening | State::Open, _) => Some(check_again_at(self.since, ANSWER_WITHIN, now)),
            (State::Captured | State::Declined | State::Closed, _) => None,
        }
    }

    /// A direct charge that was declined. A token that the provider does not know is no card.
    pub fn is_decline(&self) -> bool {
        let is_card = self.code.as_deref() != Some(NO_SUCH_METHOD);
        self.is_charge() && self.state == State::Declined && is_card
    }

    /// As its customer sees it: not every reason for a decline is theirs to know.
    pub fn shown(&self) -> contract::Attempt {
        let code = self.code.as_deref().map(|code| shown_code(code).to_owned());
        contract::Attempt { code, ..self.shown_to_staff() }
    }

    pub fn shown_to_staff(&self) -> contract::Attempt {
        contract::Attempt {
            number: self.number,
            status: match self.state {
                State::Opening => AttemptStatus::Opening,
                State::Open | State::Closing => AttemptStatus::Open,
                State::Captured => AttemptStatus::Captured,
                State::Declined => AttemptStatus::Declined,
                State::Closed => AttemptStatus::Closed,
            },
            provider_ref: self.intent.clone().or_else(|| self.session.clone()),
            code: self.code.clone(),
            created_at: self.created_at,
        }
    }

    /// In its last state: nothing more is sent for it.
    fn ended(self, state: State, now: Timestamp) -> Self {
        let kind = match self.kind {
            Kind::Token { .. } => Kind::Token { method: None },
            Kind::Hosted { ends_at } => Kind::Hosted { ends_at },
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

/// The code of a decline as customers read it.
pub fn shown_code(code: &str) -> &str {
    if SHOWN_CODES.contains(&code) { code } else { GENERAL_DECLINE }
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

/// Payer and hold, as reservation has just returned them, and the request that everything follows from.
fn begun_by(mut step: Step, request: &PayRequest) -> Step {
    step.next.expires_at = request.facts.expires_at;
    step.next.description.clone_from(&request.facts.description);
    step.next.email.clone_from(&request.facts.email);
    step.next.context = request.context.clone();
    step
}

/// Nothing is due: it is paid at once.
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

/// Closes an attempt at the provider; a repeat asks again.
fn close(step: Step, attempt: Attempt, now: Timestamp) -> Step {
    let number = attempt.number;
    put(step, attempt.closing(now)).call(Call::Close(number))
}

pub fn close_all(step: Step, now: Timestamp) -> Step {
    let open: Vec<Attempt> = step.next.attempts.iter().filter(|a| a.state.is_open()).cloned().collect();
    step.for_each(open, |step, attempt| close(step, attempt, now))
}

/// Asks the provider about every open attempt. A person who resumes has also those asked that were given up.
pub fn check(step: Step, is_resumed: bool, now: Timestamp) -> Step {
    let open: Vec<Attempt> = step.next.attempts.iter().filter(|a| a.state.is_open()).cloned().collect();
    step.for_each(open, |step, attempt| check_one(step, attempt, is_resumed, now))
}

fn check_one(step: Step, attempt: Attempt, is_resumed: bool, now: Timestamp) -> Step {
    let number = attempt.number;
    let may_begin = step.next.stage == Stage::Payable && now < step.next.expires_at;
    // The provider no longer has the key: asking again could charge again.
    let is_forgotten = attempt.is_nameless() && now > attempt.created_at.plus(KEY_LIVES) && !is_resumed;
    match (attempt.state, &attempt.kind) {
        // Nobody ever saw the page, and it has ended by itself.
        (_, Kind::Hosted { .. }) if is_forgotten => {
            let key = attempt.forgets_key();
            let step = put(step, attempt.ended(State::Closed, now)).key(key);
            step.log("closed", format!("attempt {number}: the page has ended"))
        }
        (_, Kind::Token { .. }) if is_forgotten => {
            worry(step, attempt, format!("the outcome of attempt {number} was never found out"))
        }
        (State::Open, _) => step.call(Call::Look(number)),
        (State::Opening, _) if may_begin => unanswered(step, attempt, now).call(Call::Begin(number)),
        // An attempt without a reply must not charge for seats that are no longer held. After a day the provider's list of
        // events has shown whether it did, and money that comes all the same is taken in.
        (_, _) => {
            let attempt = attempt.closing(now);
            unanswered(step, attempt, now).call(Call::Close(number))
        }
    }
}

/// Keeps the attempt, which concerns a person after a while without a reply.
fn unanswered(step: Step, attempt: Attempt, now: Timestamp) -> Step {
    let number = attempt.number;
    if attempt.is_nameless() && now > attempt.created_at.plus(REPLY_MAX) {
        worry(step, attempt, format!("the provider does not reply what became of attempt {number}"))
    } else {
        put(step, attempt)
    }
}

/// A person must look at the attempt; the first reason stays.
fn worry(step: Step, attempt: Attempt, why: String) -> Step {
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
        Answer::NoSuchObject => worry(step, attempt, format!("the provider does not know attempt {number}")),
        Answer::Refused { code, status } => match call {
            Call::Begin(_) if attempt.state.is_open() => refused(step, attempt, code, *status, now),
            _ => {
                let why = format!("attempt {number}: the provider refuses with {status} {code}");
                worry(step, attempt, why)
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
        worry(step, attempt, format!("the provider refuses attempt {number} with {status} {code}"))
    }
}

/// What the provider shows of an attempt, in a reply or of its own accord: a webhook, whose metadata may name the attempt.
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
        // Money under a name that we do not have: of a row that was lost, or captured twice for one attempt.
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
        // A page stays open after a declined card: the moviegoer may try another, and sees why when coming back.
        (ProviderState::Declined { code }, State::Open, Kind::Hosted { .. }) => {
            put(step, Attempt { code: Some(code.clone()), ..attempt })
                .log("card declined on the page", format!("attempt {number}: {code}"))
        }
        (ProviderState::Open, State::Opening, _) if view.total != Some(step.next.total) => {
            let closing = attempt.closing(now);
            worry(step, closing, format!("attempt {number} is about to take another amount"))
                .call(Call::Close(number))
        }
        (ProviderState::Open, State::Opening, _) => opened(step, attempt, view, now),
        // Its beginning is answered only now, so only now there is something to close.
        (ProviderState::Open, State::Closing, _) if was_nameless => {
            put(step, attempt).call(Call::Close(number))
        }
        (ProviderState::Open | ProviderState::Closed | ProviderState::Declined { .. }, _, _) => {
            put(step, attempt)
        }
    }
}

/// The page waits, or a bank decides: the caller has an answer.
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
    step
}

/// A capture that is not the accepted one: booked as what it is, and given back.
fn unwanted(step: Step, intent: String, view: &AttemptView, concern: Option<String>, now: Timestamp) -> Step {
    let Some(total) = view.total else {
        let why = format!("{intent} captured an amount that cannot be read");
        let attempt = step.next.attempts.iter().find(|a| a.intent.as_ref() == Some(&intent)).cloned();
        return match attempt {
            Some(attempt) => worry(step, attempt, why),
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
