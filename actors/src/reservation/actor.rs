//! The saga actor: one for each reservation that something happens to. It takes inputs one at a time, asks the pure saga,
//! has the step written, and only then acknowledges, answers and asks further.
//!
//! Invariant: at most one change of a reservation is in the journal. When the version moved (another host was faster)
//! it loads again and decides the same input again.

mod origin;

use std::collections::VecDeque;
use std::time::Duration;

use bus::consumer::Delivery;
use bus::contract::Event;
use bus::contract::Timestamp;
use bus::contract::auth::Role;
use bus::contract::payment::{
    EndPayment, PaymentEnd, PaymentFailed, PaymentInitiated, PaymentSuccess, RefundCompleted, RefundFailed,
};
use bus::contract::reservation::{Rejection, ReservationStatus};
use bus::service::Ask;
use bus::token::Identity;
use bus::{Context, Failure, Problem};
use bytes::Bytes;
use uuid::Uuid;

pub use origin::{Caller, Done, Origin, Shape, as_view, call};

use super::Env;
use super::holds::{Bounds, ends_unpaid};
use super::model::{Reservation, SeatWrite};
use super::order::replay;
use super::saga::{Effect, Input, Saga};
use super::store::{Logged, Rows, Step};
use crate::delivery::{Change, IdempotencyWrite, Outcome};
use crate::supervision::entity::{Address, Entity};

pub const CONSUMER: &str = "reservation";
/// The payment host answers within its own provider time-outs.
const END_TIMEOUT: Duration = Duration::from_secs(20);
/// Tries to write one input when the version keeps moving.
const STALE_MAX: u32 = 10;

pub enum Message {
    Input(Input, Origin),
    /// Just committed by this host: its next input, most often its payment's beginning, need not read it.
    Made(Box<Reservation>),
    Loaded(Result<Option<Reservation>, Failure>),
    Written(Box<Written>),
    EndAnswered(Result<PaymentEnd, Problem>, Uuid),
}

pub struct Written {
    input: Input,
    origin: Origin,
    after: Reservation,
    effects: Vec<Effect>,
    context: Context,
    /// What the caller is told if it is committed.
    response: Option<Bytes>,
    outcome: Outcome<Rows>,
}

pub struct SagaActor {
    id: Uuid,
    env: Env,
    me: Address<Self>,
    known: Option<Reservation>,
    waiting: VecDeque<(Input, Origin)>,
    /// A load or a change is under way.
    busy: bool,
    /// The row was read for the input that is next.
    fresh: bool,
    stale: u32,
    asking_end: bool,
}

impl Entity for SagaActor {
    type Env = Env;
    type Message = Message;
    const KIND: &'static str = "sagas";
    const IDLE: Duration = Duration::from_secs(1);

    fn new(id: Uuid, env: Env, me: Address<Self>) -> Self {
        let waiting = VecDeque::new();
        Self { id, env, me, known: None, waiting, busy: false, fresh: false, stale: 0, asking_end: false }
    }

    fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && !self.busy && !self.asking_end
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Input(Input::Deadline, _)
                if self.waiting.iter().any(|(input, _)| *input == Input::Deadline) => {}
            Message::Input(input, origin) => self.waiting.push_back((input, origin)),
            Message::Made(reservation) if self.known.is_none() && !self.busy => {
                self.known = Some(*reservation)
            }
            Message::Made(_) => {}
            Message::Loaded(loaded) => self.loaded(loaded),
            Message::Written(written) => self.written(*written),
            Message::EndAnswered(answer, payment_id) => self.end_answered(answer, payment_id),
        }
        self.go_on();
    }
}

impl SagaActor {
    /// Takes inputs until one has to wait for the database.
    fn go_on(&mut self) {
        while !self.busy && !self.waiting.is_empty() {
            match self.known.take() {
                None => self.load(),
                Some(known) => {
                    if let Some((input, origin)) = self.waiting.pop_front() {
                        self.take(known, input, origin);
                    }
                }
            }
        }
    }

    fn load(&mut self) {
        self.busy = true;
        let (id, reads, me) = (self.id, self.env.reservations.clone(), self.me.clone());
        tokio::spawn(async move { me.send(Message::Loaded(reads.get(id).await)) });
    }

    fn loaded(&mut self, loaded: Result<Option<Reservation>, Failure>) {
        self.busy = false;
        match loaded {
            Ok(Some(reservation)) => {
                self.known = Some(reservation);
                self.fresh = true;
            }
            // Nobody can reserve what is not there: everyone who waits is told, and the next message looks again.
            Ok(None) => {
                for (_, origin) in self.waiting.drain(..) {
                    match origin {
                        Origin::Event(delivery) => delivery.park("there is no such reservation"),
                        other => other.refuse(Rejection::NoSuchReservation),
                    }
                }
            }
            Err(failure) => {
                for (_, origin) in self.waiting.drain(..) {
                    origin.fail(failure.clone());
                }
            }
        }
    }

    /// One input: nothing to do, refused, or a step to write.
    fn take(&mut self, known: Reservation, input: Input, origin: Origin) {
        if let Origin::Call(caller) = &origin
            && !may_act(&known, &caller.identity)
        {
            self.known = Some(known);
            return origin.refuse(Rejection::NoSuchReservation);
        }
        let now = self.env.clock.now();
        let fresh = std::mem::take(&mut self.fresh);
        if !fresh && known.saga.is_behind(&input) {
            // Written over an old version it would hold up the batch that it is in.
            return self.waiting.push_front((input, origin));
        }
        let stepped = known.step(&input, now);
        let unchanged = |(saga, effects): &(Saga, Vec<Effect>)| *saga == known.saga && effects.is_empty();
        if !fresh && !known.saga.expects(&input) && stepped.as_ref().map_or(true, unchanged) {
            // Another host may have moved on, which a decision that writes nothing would not notice: read again.
            return self.waiting.push_front((input, origin));
        }
        match stepped {
            Ok(next) if unchanged(&next) => {
                origin.settle(&Done { input: &input, after: &known, effects: &[], now });
                self.known = Some(known);
            }
            Ok((saga, effects)) => self.write(known, saga, effects, input, origin, now),
            Err(rejection) => {
                self.known = Some(known);
                origin.refuse(rejection);
            }
        }
    }

    /// Hands a step to the journal; with the beginning of an exchange also the new reservation's first.
    fn write(
        &mut self,
        known: Reservation,
        saga: Saga,
        effects: Vec<Effect>,
        input: Input,
        origin: Origin,
        now: Timestamp,
    ) {
        let after = known.with(saga, &input, now);
        let context = origin.context();
        let mut outbox = after.events(&known, &effects, &context);
        let step = step(&known, &after, &input);
        let rows = match &input {
            Input::BeginExchange { new, showtime_version, .. } => {
                outbox.extend(new.events(new, &[Effect::TellCreated], &context));
                let role = match &origin {
                    Origin::Call(caller) => caller.identity.role,
                    Origin::Event(_) | Origin::Asked { .. } | Origin::Clock => Role::User,
                };
                let bounds = Bounds::of_exchange(&self.env.settings, role);
                Rows::Pair(Box::new([step, Step::of_new(Reservation::clone(new), bounds, *showtime_version)]))
            }
            _ => Rows::Step(Box::new(step)),
        };
        let (mut response, mut idempotency) = (None, None);
        if let Origin::Call(caller) = &origin {
            let told = (caller.shape)(&Done { input: &input, after: &after, effects: &effects, now });
            match told {
                Ok(told) => response = Some(told),
                Err(problem) => {
                    self.known = Some(known);
                    return origin.answer(Err(problem));
                }
            }
            idempotency = caller.key.clone().map(|(key, request_hash)| IdempotencyWrite::Claim {
                key,
                request_hash,
                response: response.clone(),
            });
        }
        self.busy = true;
        let me = self.me.clone();
        let change = Change { idempotency, outbox, ..Change::new(rows) };
        self.env.journal.write(change, move |outcome| {
            let written = Written { input, origin, after, effects, context, response, outcome };
            me.send(Message::Written(Box::new(written)));
        });
    }

    fn written(&mut self, written: Written) {
        self.busy = false;
        let Written { input, origin, after, effects, context, response, outcome } = written;
        match outcome {
            Outcome::Committed { .. } => {
                self.stale = 0;
                log_step(&after, &input, &context);
                match response {
                    Some(response) => origin.answer(Ok(response)),
                    None => origin.acknowledge(),
                }
                for effect in effects {
                    self.perform(&effect, &context);
                }
                self.known = Some(after);
            }
            Outcome::Stale if self.stale < STALE_MAX => {
                self.stale += 1;
                self.waiting.push_front((input, origin));
            }
            Outcome::Stale => origin.fail(Failure::transient("the reservation keeps changing")),
            // The seats of an expired hold are gone, or the show has begun: the money goes back.
            Outcome::Rejected(_) if matches!(input, Input::PaymentSucceeded(_)) => {
                if let Input::PaymentSucceeded(success) = input {
                    self.waiting.push_front((Input::ReclaimLost(success), origin));
                }
            }
            Outcome::Rejected(rejection) => origin.refuse(rejection),
            Outcome::Failed(failure) => origin.fail(failure),
            Outcome::Repeated(stored) => match &origin {
                Origin::Call(caller) if let Some((_, hash)) = &caller.key => {
                    let first = replay(hash, stored);
                    origin.answer(first);
                }
                _ => origin.fail(Failure::poison("this step has no idempotency key")),
            },
        }
    }

    /// What is asked or told besides the outbox. Lost with the process; a deadline does it again.
    fn perform(&mut self, effect: &Effect, context: &Context) {
        match effect {
            Effect::EndPayment { payment_id } => self.ask_end(*payment_id, context.clone()),
            Effect::TellOld { old, paid } => {
                let input = exchanged(self.id, *paid);
                self.env.sagas().send(*old, Message::Input(input, Origin::Clock));
            }
            Effect::LookAtNew { to } => self.look_at_new(*to),
            _ => {}
        }
    }

    fn look_at_new(&self, to: Uuid) {
        let (id, env) = (self.id, self.env.clone());
        tokio::spawn(async move {
            let paid = match env.reservations.get(to).await {
                Ok(Some(new)) if new.saga.captured.is_some() => true,
                Ok(Some(new)) if new.saga.status() == ReservationStatus::Pending => return,
                Ok(_) => false,
                Err(failure) => return tracing::warn!(reservation = %to, %failure, "not read; looking again"),
            };
            env.sagas().send(id, Message::Input(exchanged(to, paid), Origin::Clock));
        });
    }

    /// Not kept anywhere: the saga's deadline asks again.
    fn ask_end(&mut self, payment_id: Uuid, context: Context) {
        self.asking_end = true;
        let (bus, me, reservation_id) = (self.env.bus.clone(), self.me.clone(), self.id);
        tokio::spawn(async move {
            let ask = Ask { timeout: END_TIMEOUT, ..Ask::new(context) };
            let answer = bus.ask(&EndPayment { reservation_id, payment_id }, &ask).await;
            me.send(Message::EndAnswered(answer, payment_id));
        });
    }

    fn end_answered(&mut self, answer: Result<PaymentEnd, Problem>, payment_id: Uuid) {
        self.asking_end = false;
        let input = match answer {
            Ok(PaymentEnd::Over) => Input::PaymentOver { payment_id },
            Ok(PaymentEnd::Captured { success }) => Input::PaymentSucceeded(success),
            Ok(PaymentEnd::Unknown) => return,
            Err(problem) => {
                return tracing::warn!(reservation = %self.id, code = problem.code, "payment not ended; asking again");
            }
        };
        self.waiting.push_back((input, Origin::Clock));
    }
}

/// One's own, or any for an ADMIN.
pub fn may_act(reservation: &Reservation, identity: &Identity) -> bool {
    reservation.user_id == identity.user_id || identity.role >= Role::Admin
}

/// Reads the input that an event is to the saga of its reservation.
pub fn read_event(delivery: &Delivery) -> Result<(Uuid, Input), Failure> {
    Ok(match delivery.subject.as_str() {
        PaymentInitiated::SUBJECT => {
            let event: PaymentInitiated = delivery.event()?;
            let PaymentInitiated { payment_id, checkout_url, .. } = event;
            (event.reservation_id, Input::PaymentInitiated { payment_id, checkout_url })
        }
        PaymentSuccess::SUBJECT => {
            let event: PaymentSuccess = delivery.event()?;
            (event.reservation_id, Input::PaymentSucceeded(event))
        }
        PaymentFailed::SUBJECT => {
            let event: PaymentFailed = delivery.event()?;
            (event.reservation_id, Input::PaymentFailed { payment_id: event.payment_id })
        }
        RefundCompleted::SUBJECT => {
            let event: RefundCompleted = delivery.event()?;
            (event.reservation_id, Input::RefundCompleted { refund_id: event.refund_id })
        }
        RefundFailed::SUBJECT => {
            let event: RefundFailed = delivery.event()?;
            (event.reservation_id, Input::RefundFailed { refund_id: event.refund_id, code: event.code })
        }
        other => return Err(Failure::poison(format!("no saga hears {other}"))),
    })
}

/// What became of the reservation that shall take another's place.
fn exchanged(to: Uuid, paid: bool) -> Input {
    if paid { Input::ExchangePaid { to } } else { Input::ExchangeOver { to } }
}

/// The step as it is written.
fn step(before: &Reservation, after: &Reservation, input: &Input) -> Step {
    let showtime_version = match input {
        Input::Exchange(to) => Some(to.showtime_version),
        _ => None,
    };
    let moved = showtime_version.is_some();
    Step {
        reservation: after.clone(),
        log: Logged { input: input.name(), by: input.by(), detail: input.detail() },
        seats: if moved {
            SeatWrite::Exchange
        } else {
            SeatWrite::between(before.saga.state.claim(), after.saga.state.claim())
        },
        previous: moved.then(|| (before.showtime_id, before.seats())),
        bounds: None,
        ends_unpaid: ends_unpaid(&before.saga, &after.saga, input),
        showtime_version,
    }
}

fn log_step(after: &Reservation, input: &Input, context: &Context) {
    let state = after.saga.state.name().as_str();
    metrics::counter!("saga_steps_total", "input" => input.name(), "state" => state).increment(1);
    tracing::info!(
        reservation = %after.id,
        version = after.version,
        input = input.name(),
        state,
        request_id = context.correlation_id,
        "saga step"
    );
    if after.saga.needs_attention() {
        tracing::error!(reservation = %after.id, "a refund does not settle: a person must look");
    }
}
