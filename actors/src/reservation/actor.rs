//! The saga actor: one for each reservation that something happens to. It takes inputs one at a time, asks the pure saga,
//! has the step written, and only then acknowledges, answers and asks further.
//!
//! Invariant: at most one change of a reservation is in the journal. When the version moved (another host was faster)
//! it loads again and decides the same input again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bus::consumer::Delivery;
use bus::contract::Event;
use bus::contract::auth::Role;
use bus::contract::payment::{
    EndPayment, PaymentEnd, PaymentFailed, PaymentInitiated, PaymentSuccess, RefundCompleted, RefundFailed,
};
use bus::contract::reservation::Rejection;
use bus::service::Ask;
use bus::token::Identity;
use bus::{Context, Failure, Problem};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Env;
use super::model::{Reservation, SeatWrite};
use super::saga::{Effect, Input, Saga, State};
use super::store::{Rows, Step};
use crate::delivery::{Change, InboxKey, Outcome};
use crate::supervision::entity::{Address, Entity};

pub const CONSUMER: &str = "reservation";
/// The payment host answers within its own provider time-outs.
const END_TIMEOUT: Duration = Duration::from_secs(20);
/// Tries to write one input when the version keeps moving.
const STALE_MAX: u32 = 10;

type Reply = oneshot::Sender<Result<Reservation, Problem>>;

/// Where an input came from, and whom to tell.
pub enum Origin {
    Event(Delivery),
    Call {
        identity: Arc<Identity>,
        context: Context,
        reply: Reply,
    },
    /// The house itself.
    Asked {
        context: Context,
        reply: Reply,
    },
    Clock,
}

pub enum Message {
    Input(Input, Origin),
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
    const IDLE: Duration = Duration::from_secs(20);

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
                        Origin::Call { reply, .. } | Origin::Asked { reply, .. } => {
                            answer(reply, Err(Rejection::NoSuchReservation.into()));
                        }
                        Origin::Clock => {}
                    }
                }
            }
            Err(failure) => {
                for (_, origin) in self.waiting.drain(..) {
                    fail(origin, failure.clone());
                }
            }
        }
    }

    /// One input: nothing to do, refused, or a step to write.
    fn take(&mut self, known: Reservation, input: Input, origin: Origin) {
        if let Origin::Call { identity, .. } = &origin
            && !may_act(&known, identity)
        {
            self.known = Some(known);
            return refuse(origin, Rejection::NoSuchReservation);
        }
        let now = self.env.clock.now();
        let fresh = std::mem::take(&mut self.fresh);
        let stepped = known.saga.step(&input, now);
        let unchanged = |(saga, effects): &(Saga, Vec<Effect>)| *saga == known.saga && effects.is_empty();
        if !fresh && stepped.as_ref().map_or(true, unchanged) {
            // Another host may have moved on, which a decision that writes nothing would not notice: read again.
            return self.waiting.push_front((input, origin));
        }
        let (saga, effects) = match stepped {
            Ok(next) if unchanged(&next) => {
                settle(origin, &known);
                self.known = Some(known);
                return;
            }
            Ok(next) => next,
            Err(rejection) => {
                self.known = Some(known);
                return refuse(origin, rejection);
            }
        };
        let seats = SeatWrite::between(known.saga.state.claim(), saga.state.claim());
        let after = known.with(saga, now);
        let context = match &origin {
            Origin::Event(delivery) => delivery.context.clone(),
            Origin::Call { context, .. } | Origin::Asked { context, .. } => context.clone(),
            Origin::Clock => Context::new(),
        };
        let event_id = if let Origin::Event(delivery) = &origin { Some(delivery.id.clone()) } else { None };
        let step = Step {
            reservation: after.clone(),
            input: input.name(),
            seats,
            open_holds_max: None,
            showtime_version: None,
        };
        let change = Change {
            inbox: event_id.map(|event_id| InboxKey { consumer: CONSUMER, event_id }),
            outbox: after.events(&effects, &context),
            ..Change::new(Rows::Step(Box::new(step)))
        };
        self.busy = true;
        let me = self.me.clone();
        self.env.journal.write(change, move |outcome| {
            me.send(Message::Written(Box::new(Written { input, origin, after, effects, context, outcome })));
        });
    }

    fn written(&mut self, written: Written) {
        self.busy = false;
        let Written { input, origin, after, effects, context, outcome } = written;
        match outcome {
            Outcome::Committed { .. } => {
                self.stale = 0;
                log_step(&after, &input, &context);
                settle(origin, &after);
                for effect in effects {
                    if let Effect::EndPayment { payment_id } = effect {
                        self.ask_end(payment_id, context.clone());
                    }
                }
                self.known = Some(after);
            }
            Outcome::Duplicate => settle(origin, &after),
            Outcome::Stale if self.stale < STALE_MAX => {
                self.stale += 1;
                self.waiting.push_front((input, origin));
            }
            Outcome::Stale => fail(origin, Failure::transient("the reservation keeps changing")),
            // The seats of an expired hold are gone, or the show has begun: the money goes back.
            Outcome::Rejected(_) if matches!(input, Input::PaymentSucceeded(_)) => {
                if let Input::PaymentSucceeded(success) = input {
                    self.waiting.push_front((Input::ReclaimLost(success), origin));
                }
            }
            Outcome::Rejected(rejection) => refuse(origin, rejection),
            Outcome::Failed(failure) => fail(origin, failure),
            Outcome::Repeated(_) => fail(origin, Failure::poison("a step has no idempotency key")),
        }
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
            (event.reservation_id, Input::RefundFailed { refund_id: event.refund_id })
        }
        other => return Err(Failure::poison(format!("no saga hears {other}"))),
    })
}

fn settle(origin: Origin, reservation: &Reservation) {
    match origin {
        Origin::Event(delivery) => delivery.ack(),
        Origin::Call { reply, .. } | Origin::Asked { reply, .. } => answer(reply, Ok(reservation.clone())),
        Origin::Clock => {}
    }
}

/// A no is an answer; an event that meets a no has nothing left to do.
fn refuse(origin: Origin, rejection: Rejection) {
    match origin {
        Origin::Event(delivery) => delivery.ack(),
        Origin::Call { reply, .. } | Origin::Asked { reply, .. } => answer(reply, Err(rejection.into())),
        Origin::Clock => {}
    }
}

fn fail(origin: Origin, failure: Failure) {
    match origin {
        Origin::Event(delivery) => delivery.fail(failure),
        Origin::Call { reply, .. } | Origin::Asked { reply, .. } => answer(reply, Err(failure.into())),
        // The sweep finds it again.
        Origin::Clock => tracing::warn!(%failure, "deadline not handled; again with the next sweep"),
    }
}

fn answer(reply: Reply, answer: Result<Reservation, Problem>) {
    // The asker may have given up waiting.
    let _ = reply.send(answer);
}

fn log_step(after: &Reservation, input: &Input, context: &Context) {
    let state = after.saga.state.name();
    metrics::counter!("saga_steps_total", "input" => input.name(), "state" => state).increment(1);
    tracing::info!(
        reservation = %after.id,
        version = after.version,
        input = input.name(),
        state,
        request_id = context.correlation_id,
        "saga step"
    );
    if let State::NeedsAttention { .. } = after.saga.state {
        tracing::error!(reservation = %after.id, "a refund does not settle: a person must look");
    }
}

/// Sends an input in a caller's name and waits for what became of it.
pub async fn call(
    env: &Env,
    id: Uuid,
    input: Input,
    identity: Arc<Identity>,
    context: Context,
) -> Result<Reservation, Problem> {
    let (reply, answer) = oneshot::channel();
    env.sagas().send(id, Message::Input(input, Origin::Call { identity, context, reply }));
    answer
        .await
        .unwrap_or_else(|_| Err(Problem::unavailable("The reservation's keeper was restarted. Try again.")))
}
