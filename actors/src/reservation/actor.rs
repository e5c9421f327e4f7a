//! The saga actor: one for each reservation that receives inputs, in the shell that all entities share.
//!
//! This file has the parts that the shell needs: how an input becomes a change of rows, and how each call is made.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bus::contract::auth::Role;
use bus::contract::payment::{AreDisputed, EndPayment, GetRefund, Refund};
use bus::contract::reservation::{PaymentBegun, RefundStatus, Rejection, ReservationStatus, Sale};
use bus::contract::{Money, Timestamp, seat_list};
use bus::service::{Answered, Ask, json};
use bus::{Context, Failure, Problem};
use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::Env;
use super::access::check;
use super::holds::{Bounds, ends_unpaid};
use super::model::{Reservation, Seats};
use super::order::replay;
use super::saga::{
    Input, Replace, SagaCall, SagaEvent, Step as SagaStep, ended_input, refund_input, replacement_input,
};
use super::store::{Logged, Rows, Step};
use super::tickets::TicketChanges;
use crate::config::ReservationSettings;
use crate::delivery::{Change, IdempotencyWrite, Reads, StoredAnswer};
use crate::domain::Tools;
use crate::entity_shell::actor::{EntityActor, Hosted};
use crate::entity_shell::{self, Machine, Plan, Poll, Refusal, Reply, Requester};

pub const CONSUMER: &str = "reservation";
/// The payment host answers within its own provider time-outs.
const END_TIMEOUT: Duration = Duration::from_secs(20);

pub type SagaActor = EntityActor<SagaMachine>;
pub type Message = entity_shell::Message<SagaMachine>;

pub struct SagaMachine {
    pub settings: Arc<ReservationSettings>,
}

/// A step as its caller sees it.
struct Done<'a> {
    input: &'a Input,
    after: &'a Reservation,
    events: &'a [SagaEvent],
    now: Timestamp,
}

impl Machine for SagaMachine {
    type State = Reservation;
    type Input = Input;
    type Call = SagaCall;
    /// Every request is answered by its own step.
    type Wait = Infallible;
    type Log = ();
    type Rows = Rows;

    fn decide(
        &self,
        state: Option<&Reservation>,
        input: &Input,
        requester: &Requester,
        now: Timestamp,
    ) -> Result<Plan<Self>, Refusal> {
        let Some(before) = state else { return Err(no_such_reservation(requester)) };
        if let Some(identity) = requester.identity() {
            check(before, identity).map_err(Refusal::rejected)?;
        }
        let step = before.step(input, now).map_err(Refusal::rejected)?;
        if before.is_left_by(&step, input) {
            return self.repeat_calls(before, input, step, requester, now);
        }
        self.write(before, input, step, requester, now)
    }

    fn cached_is_enough(&self, state: Option<&Reservation>, input: &Input, writes: bool) -> bool {
        match state {
            // The event is later than this row: a write over the row would fail and delay its batch.
            Some(before) if before.saga.is_behind(input) => false,
            // The one exception from the rule: an event that every charge causes and that changes nothing.
            Some(before) => writes || before.saga.expects(input),
            None => false,
        }
    }

    fn is_same(&self, first: &Input, second: &Input) -> bool {
        matches!((first, second), (Input::Deadline, Input::Deadline))
    }

    /// The seats of an expired hold are taken, or the show has begun: the money is given back.
    fn rejected(&self, input: Input, rejection: Rejection) -> Result<Input, Refusal> {
        match input {
            Input::PaymentSucceeded(success) => Ok(Input::ReclaimLost(success)),
            _ => Err(Refusal::rejected(rejection)),
        }
    }

    fn repeated(&self, stored: &StoredAnswer, hash: &[u8; 32]) -> Answered {
        replay(hash, stored.clone())
    }

    fn poll(
        &self,
        wait: &Infallible,
        _state: Option<&Reservation>,
        _in_flight: &HashSet<SagaCall>,
    ) -> Poll<Input> {
        match *wait {}
    }

    fn committed(&self, input: &Input, _before: Option<&Reservation>, plan: &Plan<Self>) {
        let Some(after) = plan.next.as_ref().filter(|_| plan.is_new_version) else { return };
        let state = after.saga.state.name().as_str();
        metrics::counter!("saga_steps_total", "input" => input.name(), "state" => state).increment(1);
        tracing::info!(
            reservation = %after.id,
            version = after.version,
            input = input.name(),
            state,
            request_id = plan.context.correlation_id,
            "saga step"
        );
        if after.saga.needs_attention() {
            tracing::error!(reservation = %after.id, "a refund does not settle: a person must look");
        }
    }
}

impl SagaMachine {
    /// A step that writes no new version. A deadline that only repeats a request moves in the row.
    fn repeat_calls(
        &self,
        before: &Reservation,
        input: &Input,
        step: SagaStep,
        requester: &Requester,
        now: Timestamp,
    ) -> Result<Plan<Self>, Refusal> {
        let is_due = matches!(input, Input::Deadline) && before.deadline.is_some_and(|due| due <= now);
        let next = is_due.then(|| Reservation { deadline: before.saga.deadline(now), ..before.clone() });
        let moved = next.as_ref().map(|next| Rows::Deadline {
            id: next.id,
            version: next.version,
            deadline: next.deadline,
        });
        let done = Done { input, after: before, events: &[], now };
        Ok(Plan {
            next,
            is_new_version: false,
            change: moved.map(Change::new),
            calls: step.calls,
            reply: Reply::Now(answer_to(requester, &done)?),
            completes: None,
            context: context(requester),
            log: (),
        })
    }

    /// A new version; with the beginning of an exchange also the new reservation's first, and with its end the old one's last.
    fn write(
        &self,
        before: &Reservation,
        input: &Input,
        step: SagaStep,
        requester: &Requester,
        now: Timestamp,
    ) -> Result<Plan<Self>, Refusal> {
        let after = before.with(step.next, input, now);
        let context = context(requester);
        let mut outbox = after.events(before, &step.events, input.by(), &context);
        let row = row(before, &after, input, &step.events);
        let rows = match input {
            Input::BeginExchange(replacement) => {
                let new = before.replaced_by(replacement);
                outbox.extend(new.events(&new, &[SagaEvent::Created], None, &context));
                let role = requester.identity().map_or(Role::User, |identity| identity.role);
                let bounds = Bounds::of_exchange(&self.settings, role);
                Rows::Pair(Box::new([row, Step::of_new(new, bounds, replacement.to.showtime_version)]))
            }
            Input::Replace(replace) => match ended_by(&after, replace, now) {
                Some((old, ended, events)) => {
                    outbox.extend(ended.events(&old, &events, None, &context));
                    let end = self::row(&old, &ended, input, &events);
                    Rows::Pair(Box::new([row, end]))
                }
                None => Rows::Step(Box::new(row)),
            },
            _ => Rows::Step(Box::new(row)),
        };
        let response = answer_to(requester, &Done { input, after: &after, events: &step.events, now })?;
        let idempotency = requester.key().cloned().map(|(key, request_hash)| {
            let response = Some(response.clone());
            IdempotencyWrite::Claim { key, request_hash, response }
        });
        Ok(Plan {
            next: Some(after),
            is_new_version: true,
            change: Some(Change { idempotency, outbox, ..Change::new(rows) }),
            calls: step.calls,
            reply: Reply::Now(response),
            completes: None,
            context,
            log: (),
        })
    }
}

impl Hosted for SagaMachine {
    type Env = Env;
    const KIND: &'static str = "sagas";

    fn new(env: &Env) -> Self {
        Self { settings: env.settings.clone() }
    }
    fn reads(env: &Env) -> &Reads<Uuid, Reservation> {
        &env.reservations
    }
    fn tools(env: &Env) -> &Tools<Rows> {
        &env.tools
    }

    async fn perform(
        env: Env,
        id: Uuid,
        call: SagaCall,
        state: Option<Reservation>,
        context: Context,
        _until: Option<Instant>,
    ) -> Option<Input> {
        match call {
            SagaCall::EndPayment { payment_id } => {
                let ask = Ask { timeout: END_TIMEOUT, ..Ask::new(context) };
                match env.bus.ask(&EndPayment { reservation_id: id, payment_id }, &ask).await {
                    Ok(ended) => ended_input(payment_id, ended),
                    Err(problem) => not_answered(id, &problem.code),
                }
            }
            SagaCall::GetRefund { refund_id } => {
                let request = GetRefund { refund_id, reservation_id: id };
                match env.bus.ask(&request, &Ask::new(context)).await {
                    Ok(answer) => refund_input(refund_id, answer),
                    Err(problem) => not_answered(id, &problem.code),
                }
            }
            SagaCall::NotifyReplaced { old } => {
                let input = Input::ExchangeOver { to: id };
                env.sagas().send(old, Message::Input(input, Requester::Nobody));
                None
            }
            SagaCall::ReadReplaced { old } => read_replaced(&env, &state?, old, context).await,
            SagaCall::ReadReplacement { to } => match env.reservations.get(to).await {
                Ok(new) => replacement_input(to, new.as_ref().map(|new| &new.saga)),
                Err(failure) => not_answered(id, &failure.to_string()),
            },
        }
    }
}

/// The reservation that `new` replaces, and whether disputes hold the money that it credits.
async fn read_replaced(env: &Env, new: &Reservation, old: Uuid, context: Context) -> Option<Input> {
    let captures = new.saga.credit.as_ref().map(|credit| credit.captures.clone()).unwrap_or_default();
    let is_disputed = if captures.is_empty() {
        false
    } else {
        match env.bus.ask(&AreDisputed { captures }, &Ask::new(context)).await {
            Ok(answer) => answer.disputed,
            Err(problem) => return not_answered(new.id, &problem.code),
        }
    };
    match env.reservations.get(old).await {
        Ok(row) => {
            let old = row.map(|row| row.as_old_order());
            Some(Input::Replace(Box::new(Replace { to: new.id, old, is_disputed })))
        }
        Err(failure) => not_answered(new.id, &failure.to_string()),
    }
}

/// The reservation that ends in the commit that confirms `new`: before and after, with its events.
fn ended_by(
    new: &Reservation,
    replace: &Replace,
    now: Timestamp,
) -> Option<(Reservation, Reservation, Vec<SagaEvent>)> {
    let is_confirmed = new.saga.status() == ReservationStatus::Confirmed;
    let old = Reservation::from(replace.old.clone().filter(|_| is_confirmed)?);
    let SagaStep { next, events, .. } = old.saga.replaced(new.saga.credit.as_ref()?);
    let ended = old.with(next, &Input::Replace(Box::new(replace.clone())), now);
    Some((old, ended, events))
}

fn not_answered(reservation: Uuid, why: &str) -> Option<Input> {
    tracing::warn!(%reservation, why, "a saga's call failed; its deadline makes it again");
    None
}

fn context(requester: &Requester) -> Context {
    requester.context().cloned().unwrap_or_else(Context::new)
}

/// Only a person is answered with the reservation.
fn answer_to(requester: &Requester, done: &Done<'_>) -> Result<Bytes, Refusal> {
    match requester.identity() {
        Some(_) => answer(done).map_err(Refusal::Rejected),
        None => Ok(entity_shell::nothing()),
    }
}

/// The answer to the caller of an input: the reservation, except for three inputs.
fn answer(done: &Done<'_>) -> Answered {
    match done.input {
        Input::BeginPayment { .. } => payment_begun(done.after),
        Input::GiveBack(_) => refund_requested(done),
        // The reservation to pay.
        Input::BeginExchange(new) => json(&done.after.replaced_by(new).view(done.now)),
        _ => json(&done.after.view(done.now)),
    }
}

fn payment_begun(reservation: &Reservation) -> Answered {
    json(&PaymentBegun {
        reservation_id: reservation.id,
        user_id: reservation.user_id,
        email: reservation.email.clone(),
        description: format!("{} · {}", reservation.movie_title, seat_list(&reservation.seats())),
        total: reservation.saga.due(),
        credit: reservation.saga.credit.clone(),
        expires_at: reservation.saga.expires_at,
        sale: Some(Sale {
            showtime_id: reservation.showtime_id,
            movie_id: reservation.movie_id,
            movie_title: reservation.movie_title.clone(),
            starts_at: reservation.starts_at,
            tickets: reservation.saga.terms.lines.len() as u16,
        }),
        seats: reservation.seats(),
        lines: reservation.saga.terms.lines.clone(),
        fees: reservation.saga.terms.fees.clone(),
        code: Some(reservation.code),
        exchange_of: reservation.saga.exchange_of,
        locale: reservation.saga.terms.locale,
        site_id: reservation.saga.terms.site_id,
    })
}

fn refund_requested(done: &Done<'_>) -> Answered {
    let requested = done.events.iter().filter_map(|event| match event {
        SagaEvent::RefundRequested(refund) => Some(refund),
        _ => None,
    });
    let refund = requested.clone().next().ok_or_else(Problem::internal)?;
    // A refund that is split over captures is one to its customer.
    let amount = requested.map(|refund| refund.total.amount).sum();
    let (id, total, created_at) = (refund.id, Money { amount, ..refund.total }, done.now);
    json(&Refund { id, total, status: RefundStatus::Requested, created_at })
}

/// An event about a reservation that does not exist can never be handled.
fn no_such_reservation(requester: &Requester) -> Refusal {
    match requester {
        Requester::Delivery(_) => Failure::poison("there is no such reservation").into(),
        Requester::Call(_) | Requester::Nobody => Refusal::rejected(Rejection::NoSuchReservation),
    }
}

/// The step as it is written.
pub fn row(before: &Reservation, after: &Reservation, input: &Input, events: &[SagaEvent]) -> Step {
    Step {
        reservation: after.clone(),
        log: Logged { input: input.name(), by: input.by(), detail: input.detail() },
        seats: Seats::of_step(before, input, after.saga.state.claim()),
        tickets: TicketChanges::of_step(before, after, events),
        ends_unpaid: ends_unpaid(&before.saga, &after.saga, input),
    }
}
