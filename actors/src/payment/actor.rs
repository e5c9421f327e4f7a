//! The payment actor: one for each reservation whose payment receives inputs, in the shell that all entities share.
//!
//! This file has the parts that the shell needs: how a step becomes a change of rows, which outcome a request waits for, and
//! how a call is made.

use std::collections::HashSet;
use std::time::Duration;

use bus::contract::Timestamp;
use bus::contract::payment::{
    PaymentDisputed, PaymentEnd, PaymentFailed, PaymentInitiated, RefundCompleted, RefundFailed, Rejection,
};
use bus::event::Outgoing;
use bus::service::{Answered, json};
use bus::trace::{self, Kind as SpanKind};
use bus::{Context, Failure, Problem};
use bytes::Bytes;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use super::Env;
use super::call::{self, ProviderCall};
use super::machine::{self, Input};
use super::model::{Facts, NO_SUCH_METHOD, Payment, Stage, State, shown_code};
use super::provider::objects::About;
use super::step::{KeyWrite, LogLine, PayRequest, PaymentEvent, Step};
use super::store::{Bound, PaymentRows, ProviderEvent, Rows};
use crate::delivery::{Change, IdempotencyWrite, Reads, StoredAnswer};
use crate::domain::Tools;
use crate::entity_shell::actor::{EntityActor, Hosted};
use crate::entity_shell::{self, Machine, Plan, Poll, Refusal, Reply, Requester, nothing};

pub const CONSUMER: &str = "payment";
/// For a call without a waiting caller; shorter than the pause before the next check.
const CALL_WITHIN: Duration = Duration::from_secs(8);
/// A `reservation.created` waits this long for the request to pay. At full speed that arrives within 60 ms (measured), and
/// then one change opens the payment and begins the attempt. The consumer's places let 6,000 a second wait.
const PAYER_WITHIN: Duration = Duration::from_millis(250);
/// How long a decline counts to its account.
const DECLINES_FOR: Duration = Duration::from_secs(24 * 60 * 60);

pub type PaymentActor = EntityActor<PaymentMachine>;
pub type Message = entity_shell::Message<PaymentMachine>;

pub struct PaymentMachine {
    /// The provider's name in `payment.success`.
    pub provider: &'static str,
}

/// The outcome that a request waits for after its step.
#[derive(Debug, Clone, PartialEq)]
pub enum Wait {
    /// The outcome of this attempt.
    Attempt(i32),
    /// The end of all open attempts at the provider.
    End,
    /// An older attempt to be closed; then the request is decided again.
    Closed(Box<PayRequest>),
}

impl Machine for PaymentMachine {
    type State = Payment;
    type Input = Input;
    type Call = ProviderCall;
    type Wait = Wait;
    type Log = Vec<LogLine>;
    type Rows = Rows;

    fn decide(
        &self,
        state: Option<&Payment>,
        input: &Input,
        requester: &Requester,
        now: Timestamp,
    ) -> Result<Plan<Self>, Refusal> {
        let Some(before) = state.cloned().or_else(|| opened_by(input, requester, now)) else {
            return without_payment(input);
        };
        if let Some(why) = misaddressed(&before, input) {
            return Err(Failure::poison(why).into());
        }
        let step = machine::step(&before, input, now).map_err(Refusal::rejected)?;
        self.plan(&before, input, step, requester)
    }

    /// The exceptions, each for a fact that no later row undoes and that occurs in nearly every sale: a payment is opened once,
    /// an event of the reservation names the version that it changes, the outcome of a call is final, and most webhooks repeat
    /// the call's reply.
    fn cached_is_enough(&self, state: Option<&Payment>, input: &Input, writes: bool) -> bool {
        if state.is_none() {
            return writes && !matches!(input, Input::Webhook(_));
        }
        match input {
            Input::Created(_) | Input::Cancelled(_) | Input::SeatsChanged(_) | Input::Replied(..) => true,
            Input::Webhook(event) => matches!(event.about, About::Attempt { .. } | About::Other),
            Input::Pay(_)
            | Input::End { .. }
            | Input::RefundRequested(_)
            | Input::Resume { .. }
            | Input::Due => writes,
        }
    }

    fn is_same(&self, first: &Input, second: &Input) -> bool {
        matches!((first, second), (Input::Due, Input::Due))
    }

    fn rejected(&self, _input: Input, rejection: Rejection) -> Result<Input, Refusal> {
        Err(Refusal::rejected(rejection))
    }

    fn repeated(&self, stored: &StoredAnswer, hash: &[u8; 32]) -> Answered {
        repeated(stored, hash)
    }

    /// There were earlier attempts, perhaps by this very request. Nearly all payments are a first attempt, for which no key is
    /// read.
    fn may_be_repeated(&self, state: Option<&Payment>, input: &Input) -> bool {
        let is_tried = |payment: &Payment| !payment.attempts.is_empty() || payment.stage != Stage::Payable;
        matches!(input, Input::Pay(_)) && state.is_some_and(is_tried)
    }

    fn defers(&self, input: &Input) -> Option<Duration> {
        matches!(input, Input::Created(_)).then_some(PAYER_WITHIN)
    }

    /// The reply to the first call, which is in flight, names the object to close.
    fn is_needless(&self, call: &ProviderCall, in_flight: &HashSet<ProviderCall>) -> bool {
        matches!(call, ProviderCall::Close(number) if in_flight.contains(&ProviderCall::Begin(*number)))
    }

    fn poll(&self, wait: &Wait, state: Option<&Payment>, in_flight: &HashSet<ProviderCall>) -> Poll<Input> {
        let ends = |call: &ProviderCall| matches!(call, ProviderCall::Close(_) | ProviderCall::Begin(_));
        let is_ending = in_flight.iter().any(ends);
        match wait {
            Wait::Attempt(number) => {
                let calls = [ProviderCall::Begin(*number), ProviderCall::Close(*number)];
                let is_called = calls.iter().any(|call| in_flight.contains(call));
                let attempt = state.and_then(|payment| payment.attempt(*number));
                let is_unknown =
                    attempt.is_none_or(|attempt| matches!(attempt.state, State::Opening | State::Closing));
                if is_called && is_unknown { Poll::Wait } else { Poll::Answer(Err(outcome(state, *number))) }
            }
            Wait::End => match state.map(|payment| (&payment.stage, payment.success(self.provider))) {
                Some((Stage::Over { .. }, _)) => Poll::Answer(json(&PaymentEnd::Over)),
                Some((_, Some(success))) => Poll::Answer(json(&PaymentEnd::Captured { success })),
                _ if is_ending => Poll::Wait,
                _ => Poll::Answer(json(&PaymentEnd::Unknown)),
            },
            Wait::Closed(_) if is_ending => Poll::Wait,
            Wait::Closed(request) => {
                Poll::Again(Input::Pay(Box::new(PayRequest { has_waited: true, ..*request.clone() })))
            }
        }
    }

    fn committed(&self, _input: &Input, state: Option<&Payment>, plan: &Plan<Self>) {
        if let Some(next) = plan.next.as_ref().filter(|_| plan.is_new_version) {
            note(state, next, &plan.log);
        }
    }
}

impl PaymentMachine {
    fn plan(
        &self,
        before: &Payment,
        input: &Input,
        step: Step,
        requester: &Requester,
    ) -> Result<Plan<Self>, Refusal> {
        let context = context(input, requester, &step.next);
        let is_new_version = step.is_new_version(before);
        let reply = reply(input, &step)?;
        let (idempotency, completes) = key_write(&step)?;
        let event = provider_event(input, Some(before.id));
        let (next, rows) = if is_new_version {
            let rows = PaymentRows::of(before, &step, event, bound(input, &step));
            (Some(step.next.clone()), Some(Rows::Step(Box::new(rows))))
        } else if let Some(event) = event {
            (None, Some(Rows::Event(event)))
        } else if step.next.next_check_at != before.next_check_at {
            let next = step.next.clone();
            let check = Rows::Check { id: next.id, version: next.version, at: next.next_check_at };
            (Some(next), Some(check))
        } else {
            (None, None)
        };
        let outbox =
            step.events.iter().filter_map(|event| self.outgoing(&step.next, event, &context)).collect();
        Ok(Plan {
            next,
            is_new_version,
            change: rows.map(|rows| Change { idempotency, outbox, ..Change::new(rows) }),
            calls: step.calls,
            reply,
            completes,
            context,
            log: step.log,
        })
    }

    /// The published event.
    fn outgoing(&self, payment: &Payment, event: &PaymentEvent, context: &Context) -> Option<Outgoing> {
        let (payment_id, reservation_id, at) = (payment.id, payment.reservation_id, payment.updated_at);
        let version = payment.version;
        Some(match event {
            PaymentEvent::Initiated(number) => {
                let checkout_url = payment.attempt(*number)?.checkout_url.clone();
                let expires_at = payment.expires_at;
                let event =
                    PaymentInitiated { payment_id, reservation_id, checkout_url, expires_at, version };
                Outgoing::new(CONSUMER, &event, at, context)
            }
            PaymentEvent::Success => Outgoing::new(CONSUMER, &payment.success(self.provider)?, at, context),
            PaymentEvent::Failed { code } => {
                let reason = "The payment is over; nothing was captured.".to_owned();
                let event = PaymentFailed { payment_id, reservation_id, code: code.clone(), reason, version };
                Outgoing::new(CONSUMER, &event, at, context)
            }
            PaymentEvent::RefundCompleted(id) => {
                let total = payment.refund(*id)?.total;
                let event = RefundCompleted { refund_id: *id, reservation_id, payment_id, total, version };
                Outgoing::new(CONSUMER, &event, at, context)
            }
            PaymentEvent::RefundFailed(id) => {
                let refund = payment.refund(*id)?;
                let (total, code) = (refund.total, refund.code.clone());
                let event = RefundFailed { refund_id: *id, reservation_id, payment_id, total, code, version };
                Outgoing::new(CONSUMER, &event, at, context)
            }
            PaymentEvent::Disputed(id) => {
                let dispute = payment.dispute(*id)?.shown();
                let event = PaymentDisputed { payment_id, reservation_id, dispute, version };
                Outgoing::new(CONSUMER, &event, at, context)
            }
        })
    }
}

impl Hosted for PaymentMachine {
    type Env = Env;
    const KIND: &'static str = "payments";

    fn new(env: &Env) -> Self {
        Self { provider: env.provider.name() }
    }
    fn reads(env: &Env) -> &Reads<Uuid, Payment> {
        &env.payments
    }
    fn tools(env: &Env) -> &Tools<Rows> {
        &env.tools
    }

    async fn perform(
        env: Env,
        _id: Uuid,
        call: ProviderCall,
        state: Option<Payment>,
        context: Context,
        until: Option<Instant>,
    ) -> Option<Input> {
        let request = call::request(&state?, call)?;
        let until = until.unwrap_or_else(|| Instant::now() + CALL_WITHIN);
        let (span, _) = trace::begin(SpanKind::Client, format_args!("provider {}", request.name()), &context);
        let reply = call::send(&*env.provider, &request, until).instrument(span).await;
        Some(Input::Replied(call, reply))
    }
}

/// A repeated request gets the first answer, byte for byte, or a problem if there is none yet or will be none.
pub fn repeated(stored: &StoredAnswer, hash: &[u8; 32]) -> Answered {
    match &stored.response {
        _ if stored.request_hash != *hash => Err(Rejection::IdempotencyMismatch.into()),
        Some(response) => Ok(response.clone()),
        None => Err(Rejection::IdempotencyRunning.into()),
    }
}

/// The payment as the input opens it, where it may.
fn opened_by(input: &Input, requester: &Requester, now: Timestamp) -> Option<Payment> {
    let opened = |facts| {
        let context = requester.context().cloned().unwrap_or_else(Context::new);
        Some(Payment::open(facts, &context, now))
    };
    match input {
        Input::Created(event) => opened(Facts::of(event)),
        Input::Cancelled(event) => opened(Facts::of(&event.reservation)),
        Input::Pay(request) => Some(Payment::open(request.facts.clone(), &request.context, now)),
        Input::SeatsChanged(_)
        | Input::RefundRequested(_)
        | Input::End { .. }
        | Input::Resume { .. }
        | Input::Webhook(_)
        | Input::Replied(..)
        | Input::Due => None,
    }
}

/// The result of an input for which there is no payment.
fn without_payment(input: &Input) -> Result<Plan<PaymentMachine>, Refusal> {
    let answer = match input {
        Input::Resume { .. } => return Err(Refusal::rejected(Rejection::NoSuchPayment)),
        Input::SeatsChanged(_) | Input::RefundRequested(_) => {
            return Err(Failure::poison("there is no such payment").into());
        }
        Input::End { .. } => json(&PaymentEnd::Unknown).map_err(Refusal::Rejected)?,
        Input::Created(_)
        | Input::Cancelled(_)
        | Input::Pay(_)
        | Input::Webhook(_)
        | Input::Replied(..)
        | Input::Due => nothing(),
    };
    Ok(Plan {
        next: None,
        is_new_version: false,
        change: provider_event(input, None).map(Rows::Event).map(Change::new),
        calls: Vec::new(),
        reply: Reply::Now(answer),
        completes: None,
        context: Context::new(),
        log: Vec::new(),
    })
}

/// Why an event is about another payment than the reservation's one.
fn misaddressed(payment: &Payment, input: &Input) -> Option<&'static str> {
    let named = match input {
        Input::SeatsChanged(change) => change.payment_id,
        Input::RefundRequested(event) => event.payment_id,
        _ => payment.id,
    };
    (named != payment.id).then_some("there is no such payment")
}

/// The request that caused the step. For webhooks, replies and deadlines it is the request that began the payment, whichever of
/// webhook and reply was faster.
fn context(input: &Input, requester: &Requester, payment: &Payment) -> Context {
    match input {
        Input::Webhook(_) | Input::Replied(..) | Input::Due => payment.context.clone(),
        Input::Created(_)
        | Input::Cancelled(_)
        | Input::SeatsChanged(_)
        | Input::RefundRequested(_)
        | Input::Pay(_)
        | Input::End { .. }
        | Input::Resume { .. } => requester.context().unwrap_or(&payment.context).clone(),
    }
}

fn reply(input: &Input, step: &Step) -> Result<Reply<Wait>, Refusal> {
    let begun = step.calls.iter().find_map(begun_attempt);
    Ok(match input {
        Input::Pay(_) if matches!(step.key, Some(KeyWrite::Answer { .. })) => Reply::Now(shown(step)?),
        Input::Pay(request) => Reply::Later(match begun {
            Some(number) => Wait::Attempt(number),
            None => Wait::Closed(request.clone()),
        }),
        Input::End { .. } => Reply::Later(Wait::End),
        Input::Resume { .. } => Reply::Now(json(&step.next.shown_to_staff()).map_err(Refusal::Rejected)?),
        Input::Created(_)
        | Input::Cancelled(_)
        | Input::SeatsChanged(_)
        | Input::RefundRequested(_)
        | Input::Webhook(_)
        | Input::Replied(..)
        | Input::Due => Reply::Now(nothing()),
    })
}

fn begun_attempt(call: &ProviderCall) -> Option<i32> {
    match call {
        ProviderCall::Begin(number) => Some(*number),
        _ => None,
    }
}

fn shown(step: &Step) -> Result<Bytes, Refusal> {
    json(&step.next.shown()).map_err(Refusal::Rejected)
}

type KeyChange = (Option<IdempotencyWrite>, Option<(Wait, Bytes)>);

/// The write of the idempotency key, and the answer that requests wait for.
fn key_write(step: &Step) -> Result<KeyChange, Refusal> {
    Ok(match step.key.clone() {
        None => (None, None),
        Some(KeyWrite::Answer { key, hash: request_hash }) => {
            (Some(IdempotencyWrite::Claim { key, request_hash, response: Some(shown(step)?) }), None)
        }
        Some(KeyWrite::Claim { key, hash: request_hash }) => {
            (Some(IdempotencyWrite::Claim { key, request_hash, response: None }), None)
        }
        Some(KeyWrite::Forget { key }) => (Some(IdempotencyWrite::Forget { key }), None),
        Some(KeyWrite::Complete { key, attempt }) => {
            let response = shown(step)?;
            let completes = Some((Wait::Attempt(attempt), response.clone()));
            (Some(IdempotencyWrite::Complete { key, response }), completes)
        }
    })
}

fn provider_event(input: &Input, payment_id: Option<Uuid>) -> Option<ProviderEvent> {
    let Input::Webhook(event) = input else { return None };
    let (id, kind, body) = (event.id.clone(), event.kind.clone(), event.body.clone());
    Some(ProviderEvent { id, kind, body, payment_id })
}

/// The bound of the direct charge that this step begins, if it begins one.
fn bound(input: &Input, step: &Step) -> Option<Bound> {
    let Input::Pay(request) = input else { return None };
    let limits = request.charge_limits()?;
    step.calls.iter().find_map(begun_attempt)?;
    let since = step.next.updated_at.minus(DECLINES_FOR);
    Some(Bound { payer: step.next.user_id, most: limits.per_account_day_max, since })
}

/// Why a request that waited for an attempt gets a problem: where the attempt succeeded, the answer is stored.
fn outcome(state: Option<&Payment>, number: i32) -> Problem {
    let Some((payment, attempt)) = state.and_then(|payment| Some((payment, payment.attempt(number)?))) else {
        return Rejection::ProviderAway.into();
    };
    let code = attempt.code.as_deref();
    let is_accepted = matches!(&payment.stage, Stage::Captured { provider_ref, .. } if attempt.intent.as_ref() == Some(provider_ref));
    match attempt.state {
        State::Captured if payment.is_captured() && !is_accepted => Rejection::AlreadyPaid,
        State::Declined if code == Some(NO_SUCH_METHOD) => Rejection::UnknownPaymentMethod,
        State::Declined => Rejection::CardDeclined { code: shown_code(code.unwrap_or_default()).to_owned() },
        State::Closed if code.is_none() => Rejection::PaymentOver,
        State::Opening | State::Open | State::Closing | State::Captured | State::Closed => {
            Rejection::ProviderAway
        }
    }
    .into()
}

/// The log of a committed step, and an alarm where a person must look since then.
fn note(before: Option<&Payment>, payment: &Payment, log: &[LogLine]) {
    for line in log {
        tracing::info!(
            payment = %payment.id,
            version = payment.version,
            detail = line.detail,
            request_id = payment.context.correlation_id,
            "payment: {}", line.entry
        );
    }
    if let (None, Some(why)) = (before.and_then(Payment::attention), payment.attention()) {
        metrics::counter!("payment_attention_total").increment(1);
        tracing::error!(payment = %payment.id, why, "a payment needs attention: a person must look");
    }
}
