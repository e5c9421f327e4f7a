//! The saga as a pure function: `step` takes the state of a reservation, an input and the database's time, and returns the
//! next state with the events and calls that follow from it. The whole transition table is one `match`.
//!
//! Invariant: late and repeated inputs change nothing, except that money which arrives after a cancellation is given back (or,
//! where only the hold had expired, buys the same seats if they are still free).
//! Invariant: every state that waits has a deadline, and at a deadline the saga requests the outcome instead of assuming one.
//! Which seats are held or sold follows from the state alone ([`State::claim`]).

mod credit;
mod input;
mod money;
mod steps;

use std::time::Duration;

use bus::contract::reservation::{
    CancelReason, Credit, CreditedCapture, Rejection, ReservationStatus, SagaState,
};
use bus::contract::{Money, SeatId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use credit::{OldOrder, Replace};
pub use input::{
    Cancel, CancelledBy, GiveBack, Input, MERGE, Place, READDRESS, Replacement, Return, SET_CUSTOMER,
};
pub use input::{ended_input, refund_input, replacement_input};
pub use money::{Apart, Part, PartState, Refund, Terms, ask_again_at, fees_kept, times_asked};

/// Format of the checkpoint. A row of another format is refused: this host cannot know its meaning.
pub const FORMAT: u32 = 1;

/// Between two requests to end the payment while a hold is ending.
const END_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The checkpoint: everything that the next step needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saga {
    pub format: u32,
    pub terms: Terms,
    /// Until when the seats are kept while it is pending.
    pub expires_at: Timestamp,
    pub payment: Option<KnownPayment>,
    pub state: State,
    /// The captured money, once the reservation is confirmed; its credit is part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured: Option<Money>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    #[serde(default, skip_serializing_if = "Apart::is_nothing")]
    pub apart: Apart,
    /// The reservation that it replaces once it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_of: Option<Uuid>,
    /// What pays for it besides its own payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<Credit>,
    /// The captures whose money pays for the reservation in its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credited: Vec<CreditedCapture>,
    /// Made by a guest, and not given to an account.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guest: bool,
    /// Who the order is for, where the customer has said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_name: Option<String>,
    /// Raised when links in earlier mails must open the order no more: they went to another address, or to a guest whose orders
    /// belong to an account now.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub access: u32,
}

fn is_zero(access: &u32) -> bool {
    *access == 0
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownPayment {
    pub id: Uuid,
    pub checkout_url: Option<String>,
    /// The payment's version that `checkout_url` is of; 0 before any.
    pub version: i64,
}

/// A dearer reservation that replaces this one once it is paid.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchanging {
    pub to: Uuid,
    pub since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum State {
    /// Seats held. `begun`: an attempt to pay may be at the provider.
    AwaitingPayment {
        begun: bool,
    },
    /// The hold is over, but a begun payment may still succeed: payment is requested to close it, again and again.
    Ending {
        until: Timestamp,
    },
    /// The difference to the reservation that it replaces was paid: whether that one's money is still there is requested.
    Replacing {
        payment_id: Uuid,
        provider_ref: String,
        paid: Money,
    },
    Confirmed {
        payment_id: Uuid,
        provider_ref: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exchanging: Option<Exchanging>,
    },
    Cancelled {
        reason: CancelReason,
    },
    Refunding {
        reason: CancelReason,
        refund: Refund,
        requested_at: Timestamp,
    },
    Refunded {
        reason: CancelReason,
        refund: Refund,
    },
    /// A refund that does not settle; a person must look. `refused`: for good, so that only a new one can settle.
    NeedsAttention {
        reason: CancelReason,
        refund: Refund,
        refused: bool,
    },
}

/// How the seats are owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    None,
    Held,
    Sold,
}

/// The result of one input.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub next: Saga,
    /// Published, in the transaction that writes `next`.
    pub events: Vec<SagaEvent>,
    /// Performed after that transaction.
    pub calls: Vec<SagaCall>,
}

/// An event of the reservation, as the step decides it; its payload comes from the reservation after the step.
#[derive(Debug, Clone, PartialEq)]
pub enum SagaEvent {
    Created,
    Confirmed {
        payment_id: Uuid,
    },
    Cancelled {
        reason: CancelReason,
    },
    Exchanged {
        payment_id: Uuid,
    },
    /// Single tickets were given back.
    Updated {
        payment_id: Uuid,
        returned: Vec<SeatId>,
        refund: Money,
    },
    /// The reservation's mails go to another address.
    Readdressed,
    /// Published once for each refund; the refund's state is requested by [`SagaCall::GetRefund`].
    RefundRequested(Refund),
}

/// A request or message to another entity. Not stored: if it gets lost, the next deadline repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SagaCall {
    /// Has payment close everything open at the provider.
    EndPayment { payment_id: Uuid },
    /// Requests the state of a refund from payment.
    GetRefund { refund_id: Uuid },
    /// Notifies the reservation that this one was to replace: it stays.
    NotifyReplaced { old: Uuid },
    /// Reads the reservation that this one replaces, and whether its money is disputed.
    ReadReplaced { old: Uuid },
    /// Reads the reservation that replaces this one.
    ReadReplacement { to: Uuid },
}

impl Step {
    pub fn to(next: Saga) -> Self {
        Self { next, events: Vec::new(), calls: Vec::new() }
    }

    /// This step, followed by another one from its next state.
    pub fn and(mut self, more: impl FnOnce(&Saga) -> Step) -> Self {
        let Step { next, events, calls } = more(&self.next);
        self.events.extend(events);
        self.calls.extend(calls);
        Self { next, ..self }
    }

    pub fn event(mut self, event: SagaEvent) -> Self {
        self.events.push(event);
        self
    }

    pub fn calls(mut self, calls: impl IntoIterator<Item = SagaCall>) -> Self {
        self.calls.extend(calls);
        self
    }

    /// Nothing to write: at most calls, which a deadline repeats.
    pub fn writes_nothing(&self, before: &Saga) -> bool {
        self.next == *before && self.events.is_empty()
    }
}

impl Saga {
    pub fn start(terms: Terms, expires_at: Timestamp, exchange_of: Option<Uuid>) -> Step {
        let saga = Self {
            format: FORMAT,
            terms,
            expires_at,
            payment: None,
            state: State::AwaitingPayment { begun: false },
            captured: None,
            parts: Vec::new(),
            apart: Apart::default(),
            exchange_of,
            credit: None,
            credited: Vec::new(),
            guest: false,
            customer_name: None,
            access: 0,
        };
        Step::to(saga).event(SagaEvent::Created)
    }

    /// When the next [`Input::Deadline`] is due for a saga that was written or checked at `now`. A deadline that only repeats a
    /// request has growing pauses, which are not part of the state: it moves in the row alone.
    pub fn deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let requested = |since: &Timestamp| ask_again_at(*since, now);
        let of_state = match &self.state {
            State::AwaitingPayment { .. } => Some(self.expires_at),
            State::Ending { until } => Some(now.plus(END_AGAIN_AFTER).min(*until)),
            State::Replacing { .. } => Some(now.plus(END_AGAIN_AFTER)),
            State::Refunding { requested_at, .. } => Some(requested(requested_at)),
            State::Confirmed { exchanging, .. } => exchanging.as_ref().map(|e| requested(&e.since)),
            State::Cancelled { .. } | State::Refunded { .. } | State::NeedsAttention { .. } => None,
        };
        let of_parts = self.parts.iter().filter_map(Part::requested_at).map(|since| ask_again_at(since, now));
        of_parts.chain(of_state).min()
    }

    /// The dearer order that is to take this one's place once it is paid.
    pub fn exchanging_to(&self) -> Option<Uuid> {
        match &self.state {
            State::Confirmed { exchanging: Some(exchanging), .. } => Some(exchanging.to),
            _ => None,
        }
    }

    /// Whether a dearer exchange is not decided yet, of which this is the old or the new order.
    pub fn is_in_exchange(&self) -> bool {
        let is_unpaid = self.status() == ReservationStatus::Pending;
        self.exchanging_to().is_some() || (self.exchange_of.is_some() && is_unpaid)
    }

    pub fn status(&self) -> ReservationStatus {
        self.state.name().status()
    }

    pub fn needs_attention(&self) -> bool {
        matches!(self.state, State::NeedsAttention { .. }) || self.parts.iter().any(Part::is_stuck)
    }

    /// Whether the input follows a begun payment that this checkpoint lacks, so that it cannot be the newest one.
    pub fn is_behind(&self, input: &Input) -> bool {
        let is_of_payment = matches!(
            input,
            Input::PaymentInitiated { .. } | Input::PaymentSucceeded(_) | Input::PaymentFailed { .. }
        );
        is_of_payment && self.state == State::AwaitingPayment { begun: false }
    }

    /// Whether the input is the `payment.initiated` of a charge, which follows each `begin-payment` and changes nothing. At worst
    /// another host knows the link of a page that this charge has closed, which is then shown until the charge has succeeded.
    pub fn expects(&self, input: &Input) -> bool {
        matches!(
            (&self.state, &self.payment, input),
            (
                State::AwaitingPayment { begun: true },
                Some(KnownPayment { id, checkout_url: None, .. }),
                Input::PaymentInitiated { payment_id, checkout_url: None, .. },
            ) if id == payment_id
        )
    }

    /// First the partial refunds, then the reservation itself.
    pub fn step(&self, input: &Input, now: Timestamp) -> Result<Step, Rejection> {
        let parts = self.step_parts(input, now);
        match parts.next.transition(input, now) {
            Ok(whole) => Ok(parts.and(|_| whole)),
            // A partial refund has advanced, and nothing else was due.
            Err(Rejection::NotPending) if matches!(input, Input::Resume { .. }) && parts.next != *self => {
                Ok(parts)
            }
            Err(rejection) => Err(rejection),
        }
    }

    /// The transition table.
    fn transition(&self, input: &Input, now: Timestamp) -> Result<Step, Rejection> {
        use {CancelReason as R, Input as I, State as S};
        #[cfg(feature = "planted")]
        if bus::config::planted("keep-late-money")
            && matches!((&self.state, input), (S::Cancelled { .. }, I::PaymentSucceeded(_)))
        {
            return Ok(self.same());
        }
        let hold_is_over = self.expires_at <= now;
        Ok(match (&self.state, input) {
            // paying begins: at most once it extends the hold
            (S::AwaitingPayment { .. }, I::BeginPayment { .. }) if hold_is_over => {
                return Err(Rejection::HoldExpired);
            }
            (S::AwaitingPayment { begun: false }, I::BeginPayment { payment_id }) => {
                self.begin(*payment_id, now)
            }
            (S::AwaitingPayment { begun: true }, I::BeginPayment { .. }) => self.same(),
            (S::Ending { .. }, I::BeginPayment { .. }) => return Err(Rejection::HoldExpired),
            (S::Replacing { .. } | S::Confirmed { .. }, I::BeginPayment { .. }) => {
                return Err(Rejection::AlreadyPaid);
            }
            (S::Cancelled { reason: R::HoldExpired }, I::BeginPayment { .. }) => {
                return Err(Rejection::HoldExpired);
            }
            (_, I::BeginPayment { .. }) => return Err(Rejection::NotPending),
            (S::AwaitingPayment { .. }, I::PaymentInitiated { payment_id, checkout_url, version })
                if self.payment.as_ref().is_none_or(|payment| payment.version < *version) =>
            {
                self.initiated(*payment_id, checkout_url, *version)
            }
            (_, I::PaymentInitiated { .. }) => self.same(),

            // money
            (S::AwaitingPayment { .. } | S::Ending { .. }, I::PaymentSucceeded(success))
                if self.exchange_of.is_some() =>
            {
                self.difference_paid(success)
            }
            (S::AwaitingPayment { .. } | S::Ending { .. }, I::PaymentSucceeded(success)) => {
                self.confirm(success)
            }
            // the money of a confirmed reservation is settled: its policy decides whether it is kept
            (S::Cancelled { .. }, I::PaymentSucceeded(_)) if self.captured.is_some() => self.same(),
            // the reservation that it was to replace stays confirmed
            (S::Cancelled { reason: R::HoldExpired }, I::PaymentSucceeded(success))
                if self.exchange_of.is_none() =>
            {
                self.confirm(success)
            }
            (S::Cancelled { reason }, I::PaymentSucceeded(success) | I::ReclaimLost(success)) => {
                self.give_all_back(*reason, success, now)
            }
            // one capture for each reservation: payment itself gives back a second one
            (_, I::PaymentSucceeded(_) | I::ReclaimLost(_)) => self.same(),

            // no money
            (S::AwaitingPayment { begun: true }, I::PaymentFailed { .. }) => self.cancel(R::PaymentFailed),
            (S::Ending { .. }, I::PaymentFailed { .. } | I::PaymentOver { .. }) => {
                self.cancel(R::HoldExpired)
            }
            (_, I::PaymentFailed { .. } | I::PaymentOver { .. }) => self.same(),

            // time
            (S::AwaitingPayment { .. }, I::Deadline) if !hold_is_over => self.same(),
            (S::AwaitingPayment { begun: false }, I::Deadline) => self.cancel(R::HoldExpired),
            (S::AwaitingPayment { begun: true }, I::Deadline) => {
                self.end(self.expires_at.plus(Duration::from_secs(self.terms.grace_seconds)))
            }
            (S::Ending { until }, I::Deadline) if *until <= now => self.cancel(R::HoldExpired),
            (S::Ending { until }, I::Deadline) => self.end(*until),
            (S::Replacing { .. }, I::Deadline) => self.same().calls(self.read_replaced()),
            (S::Confirmed { exchanging: Some(Exchanging { to, .. }), .. }, I::Deadline) => {
                self.same().calls([SagaCall::ReadReplacement { to: *to }])
            }
            (S::Refunding { reason, refund, requested_at }, I::Deadline) => {
                self.ask_about_refund(*reason, refund, *requested_at, now)
            }
            (_, I::Deadline) => self.same(),

            // requests of people
            (S::AwaitingPayment { .. } | S::Ending { .. }, I::Cancel(cancel)) => {
                self.cancel(cancel.by.reason())
            }
            (S::Replacing { .. }, I::Cancel(cancel)) => self.give_difference_back(cancel.by.reason(), now),
            (S::Confirmed { .. }, I::Cancel(cancel)) => self.cancel_paid(cancel, now)?,
            (_, I::Cancel(_)) => self.same(),
            (S::Confirmed { payment_id, .. }, I::Return(back)) => {
                self.may_return(now)?;
                self.give_tickets_back(*payment_id, back, now)
            }
            (_, I::Return(_)) => return Err(Rejection::NotConfirmed),
            (_, I::GiveBack(back)) => self.staff_give_back(back, now)?,
            (S::AwaitingPayment { .. }, I::SetCustomer { .. }) if hold_is_over => {
                return Err(Rejection::HoldExpired);
            }
            (S::AwaitingPayment { .. }, I::SetCustomer { name, .. }) => {
                Step::to(Self { customer_name: name.clone(), ..self.clone() })
            }
            (_, I::SetCustomer { .. }) => return Err(Rejection::NotPending),
            (_, I::Readdress { by_staff: false, .. }) if self.terms.starts_at <= now => {
                return Err(Rejection::ShowtimeStarted);
            }
            // the unpaid order in its place has the old address and its own links
            (S::Confirmed { exchanging: Some(_), .. }, I::Readdress { by_staff: false, .. }) => {
                return Err(Rejection::ExchangeRunning);
            }
            (_, I::Readdress { .. }) => self.readdressed(),
            (
                S::AwaitingPayment { begun: true } | S::Ending { .. } | S::Replacing { .. },
                I::Merge { .. },
            ) => return Err(Rejection::MergeWhilePaying),
            (_, I::Merge { .. }) => Self { guest: false, ..self.clone() }.readdressed(),

            // exchanges
            (S::Confirmed { payment_id, .. }, I::Exchange(place)) => {
                self.may_exchange(now)?;
                self.exchange(*payment_id, place, now)?
            }
            (S::Confirmed { .. }, I::BeginExchange(new)) => {
                self.may_exchange(now)?;
                self.exchanging(Some(new.id), now)
            }
            (_, I::Exchange(_) | I::BeginExchange(_)) => return Err(Rejection::NotConfirmed),
            (S::Replacing { .. }, I::Replace(replace)) => self.replace(replace, now),
            (_, I::Replace(_)) => self.same(),
            (S::Confirmed { exchanging: Some(exchange), .. }, I::ExchangeOver { to })
                if exchange.to == *to =>
            {
                self.exchanging(None, now)
            }
            (_, I::ExchangeOver { .. }) => self.same(),

            // refunds: only a later version of the payment changes anything
            (
                S::Refunding { reason, refund, .. } | S::NeedsAttention { reason, refund, .. },
                I::RefundCompleted { refund_id, version },
            ) if refund.is_news(*refund_id, *version) => {
                Step::to(self.at(S::Refunded { reason: *reason, refund: refund.at_version(*version) }))
            }
            // a bank may send money back days after it was refunded
            (
                S::Refunding { reason, refund, .. } | S::Refunded { reason, refund },
                I::RefundFailed { refund_id, version, .. },
            ) if refund.is_news(*refund_id, *version) => {
                let refund = refund.at_version(*version);
                Step::to(self.at(S::NeedsAttention { reason: *reason, refund, refused: true }))
            }
            (_, I::RefundCompleted { .. } | I::RefundFailed { .. }) => self.same(),
            (S::NeedsAttention { reason, refund, refused: true }, I::Resume { .. }) => {
                self.request_one_refund(*reason, refund.renewed(None), now)
            }
            (S::NeedsAttention { reason, refund, refused: false }, I::Resume { .. }) => {
                self.ask_about_refund(*reason, refund, now, now)
            }
            (_, I::Resume { .. }) => return Err(Rejection::NotPending),
        })
    }
}

/// The planted bug *an exchange applied to another version*: the version that its plan was made on is not compared.
#[cfg(feature = "planted")]
pub fn ignores_versions() -> bool {
    bus::config::planted("exchange-on-another-version")
}

impl State {
    /// The claim on the seats follows from the state alone.
    pub fn claim(&self) -> Claim {
        match self {
            Self::AwaitingPayment { .. } | Self::Ending { .. } | Self::Replacing { .. } => Claim::Held,
            Self::Confirmed { .. } => Claim::Sold,
            Self::Cancelled { .. }
            | Self::Refunding { .. }
            | Self::Refunded { .. }
            | Self::NeedsAttention { .. } => Claim::None,
        }
    }

    pub fn name(&self) -> SagaState {
        match self {
            Self::AwaitingPayment { begun: false } => SagaState::AwaitingPayment,
            Self::AwaitingPayment { begun: true } => SagaState::Paying,
            Self::Ending { .. } => SagaState::Ending,
            Self::Replacing { .. } => SagaState::Replacing,
            Self::Confirmed { .. } => SagaState::Confirmed,
            Self::Cancelled { .. } => SagaState::Cancelled,
            Self::Refunding { .. } => SagaState::Refunding,
            Self::Refunded { .. } => SagaState::Refunded,
            Self::NeedsAttention { .. } => SagaState::NeedsAttention,
        }
    }
}
