//! The saga as a pure function: `step` takes where a reservation stands, what happened and the database's time, and
//! says where it stands then and which messages leave. The whole transition table is one `match`.
//!
//! Invariant: late and repeated inputs change nothing, except that money which arrives after a cancellation is given
//! back (or, where only the hold had expired, buys the same seats if they are still free).
//! Invariant: every state that waits has a deadline, and a deadline asks instead of guessing.
//! Rows are not effects: which seats are held or sold follows from the state alone ([`State::claim`]).

mod input;
mod money;
mod steps;

use std::time::Duration;

use bus::contract::reservation::{CancelReason, Rejection, ReservationStatus, SagaState};
use bus::contract::{Money, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use input::{Cancel, CancelledBy, GiveBack, Input, Place, READDRESS};
pub use money::{Part, Refund, Standing, Terms};

/// Format of the checkpoint; a host that meets a newer one leaves it to a newer host. 2 added the refund policy, what
/// was captured, parts given back, and exchanges; what it lacks in a row of format 1 keeps its old meaning. 3 added the lines.
pub const FORMAT: u32 = 3;

/// The checkpoint: all that the next step needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saga {
    pub format: u32,
    pub terms: Terms,
    /// Until when the seats are kept while it is pending.
    pub expires_at: Timestamp,
    pub payment: Option<KnownPayment>,
    pub state: State,
    /// What was captured, once it was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured: Option<Money>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// The reservation whose place it takes once it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_of: Option<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownPayment {
    pub id: Uuid,
    pub checkout_url: Option<String>,
}

/// A dearer reservation that takes this one's place once it is paid.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchanging {
    pub to: Uuid,
    pub ask_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum State {
    /// Seats held. `begun`: an attempt to pay may be at the provider.
    AwaitingPayment {
        begun: bool,
    },
    /// The hold is over, but a begun payment may yet succeed: payment closes it and tells.
    Ending {
        ask_at: Timestamp,
        until: Timestamp,
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
        asked: u32,
        ask_at: Timestamp,
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

/// A message that leaves after the commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    TellCreated,
    TellConfirmed {
        payment_id: Uuid,
    },
    TellCancelled {
        reason: CancelReason,
    },
    TellExchanged {
        payment_id: Uuid,
    },
    /// Its mails go to another address.
    TellReaddressed,
    RequestRefund(Refund),
    /// Asked of the payment host; not kept, since every deadline asks again.
    EndPayment {
        payment_id: Uuid,
    },
    /// Tells the reservation whose place this one takes; not kept, since that one's deadline asks.
    TellOld {
        old: Uuid,
        paid: bool,
    },
    /// Looks at the reservation that takes this one's place; not kept either.
    LookAtNew {
        to: Uuid,
    },
}

impl Saga {
    pub fn start(terms: Terms, expires_at: Timestamp, exchange_of: Option<Uuid>) -> (Self, Vec<Effect>) {
        let saga = Self {
            format: FORMAT,
            terms,
            expires_at,
            payment: None,
            state: State::AwaitingPayment { begun: false },
            captured: None,
            parts: Vec::new(),
            exchange_of,
        };
        (saga, vec![Effect::TellCreated])
    }

    /// When the saga must be looked at again, whatever else happens.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.parts.iter().filter_map(Part::ask_at).chain(self.state_deadline()).min()
    }

    fn state_deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::AwaitingPayment { .. } => Some(self.expires_at),
            State::Ending { ask_at, .. } | State::Refunding { ask_at, .. } => Some(*ask_at),
            State::Confirmed { exchanging, .. } => exchanging.as_ref().map(|exchanging| exchanging.ask_at),
            State::Cancelled { .. } | State::Refunded { .. } | State::NeedsAttention { .. } => None,
        }
    }

    pub fn status(&self) -> ReservationStatus {
        self.state.name().status()
    }

    pub fn needs_attention(&self) -> bool {
        matches!(self.state, State::NeedsAttention { .. }) || self.parts.iter().any(Part::is_stuck)
    }

    /// Whether the input follows a beginning to pay that is not known here, so that this cannot be the newest checkpoint.
    pub fn is_behind(&self, input: &Input) -> bool {
        let told_by_payment = matches!(
            input,
            Input::PaymentInitiated { .. } | Input::PaymentSucceeded(_) | Input::PaymentFailed { .. }
        );
        told_by_payment && self.state == State::AwaitingPayment { begun: false }
    }

    /// Whether the input only repeats what every charge does after its beginning. At worst another host knows the link of
    /// a page that this charge has closed, which is then shown until the charge has succeeded.
    pub fn expects(&self, input: &Input) -> bool {
        matches!(
            (&self.state, &self.payment, input),
            (
                State::AwaitingPayment { begun: true },
                Some(KnownPayment { id, checkout_url: None }),
                Input::PaymentInitiated { payment_id, checkout_url: None },
            ) if id == payment_id
        )
    }

    /// What happens to the parts that go back, then to the whole. Unchanged and without effects means: nothing to do.
    pub fn step(&self, input: &Input, now: Timestamp) -> Result<(Self, Vec<Effect>), Rejection> {
        let (saga, mut effects) = self.hear_parts(input, now);
        match saga.transition(input, now) {
            Ok((saga, more)) => {
                effects.extend(more);
                Ok((saga, effects))
            }
            // A part goes on, and nothing else waited.
            Err(Rejection::NotPending) if matches!(input, Input::Resume { .. }) && saga != *self => {
                Ok((saga, effects))
            }
            Err(rejection) => Err(rejection),
        }
    }

    /// The transition table.
    fn transition(&self, input: &Input, now: Timestamp) -> Result<(Self, Vec<Effect>), Rejection> {
        use {CancelReason as R, Input as I, State as S};
        #[cfg(feature = "planted")]
        if bus::config::planted("keep-late-money")
            && matches!((&self.state, input), (S::Cancelled { .. }, I::PaymentSucceeded(_)))
        {
            return Ok(self.same());
        }
        let due = self.state_deadline().is_some_and(|deadline| deadline <= now);
        Ok(match (&self.state, input) {
            // paying begins: at most once it extends the hold
            (S::AwaitingPayment { .. }, I::BeginPayment { .. }) if due => return Err(Rejection::HoldExpired),
            (S::AwaitingPayment { begun: false }, I::BeginPayment { payment_id }) => {
                self.begin(*payment_id, now)
            }
            (S::AwaitingPayment { begun: true }, I::BeginPayment { .. }) => self.same(),
            (S::Ending { .. }, I::BeginPayment { .. }) => return Err(Rejection::HoldExpired),
            (S::Confirmed { .. }, I::BeginPayment { .. }) => return Err(Rejection::AlreadyPaid),
            (S::Cancelled { reason: R::HoldExpired }, I::BeginPayment { .. }) => {
                return Err(Rejection::HoldExpired);
            }
            (_, I::BeginPayment { .. }) => return Err(Rejection::NotPending),
            (S::AwaitingPayment { .. }, I::PaymentInitiated { payment_id, checkout_url }) => {
                self.initiated(*payment_id, checkout_url)
            }
            (_, I::PaymentInitiated { .. }) => self.same(),

            // money
            (S::AwaitingPayment { .. } | S::Ending { .. }, I::PaymentSucceeded(success)) => {
                self.confirm(success)
            }
            // the money of a confirmed one is settled: kept by its policy, or not
            (S::Cancelled { .. }, I::PaymentSucceeded(_)) if self.captured.is_some() => self.same(),
            // the reservation whose place it was to take lives on
            (S::Cancelled { reason: R::HoldExpired }, I::PaymentSucceeded(success))
                if self.exchange_of.is_none() =>
            {
                self.confirm(success)
            }
            (S::Cancelled { reason }, I::PaymentSucceeded(success) | I::ReclaimLost(success)) => {
                self.give_all_back(*reason, success, now)
            }
            // one capture a reservation: payment itself gives back a second one
            (_, I::PaymentSucceeded(_) | I::ReclaimLost(_)) => self.same(),

            // no money
            (S::AwaitingPayment { begun: true }, I::PaymentFailed { .. }) => self.cancel(R::PaymentFailed),
            (S::Ending { .. }, I::PaymentFailed { .. } | I::PaymentOver { .. }) => {
                self.cancel(R::HoldExpired)
            }
            (_, I::PaymentFailed { .. } | I::PaymentOver { .. }) => self.same(),

            // time
            (_, I::Deadline) if !due => self.same(),
            (S::AwaitingPayment { begun: false }, I::Deadline) => self.cancel(R::HoldExpired),
            (S::AwaitingPayment { begun: true }, I::Deadline) => {
                self.end(now, self.expires_at.plus(Duration::from_secs(self.terms.grace_seconds)))
            }
            (S::Ending { until, .. }, I::Deadline) if *until <= now => self.cancel(R::HoldExpired),
            (S::Ending { until, .. }, I::Deadline) => self.end(now, *until),
            (S::Confirmed { exchanging: Some(Exchanging { to, .. }), .. }, I::Deadline) => {
                let (saga, _) = self.exchanging(Some(*to), now);
                (saga, vec![Effect::LookAtNew { to: *to }])
            }
            (S::Refunding { reason, refund, asked, .. }, I::Deadline) => {
                self.ask_refund(*reason, refund, *asked, now)
            }
            (_, I::Deadline) => self.same(),

            // people
            (S::AwaitingPayment { .. } | S::Ending { .. }, I::Cancel(cancel)) => {
                self.cancel(cancel.by.reason())
            }
            (S::Confirmed { .. }, I::Cancel(cancel)) => self.cancel_paid(cancel, now)?,
            (_, I::Cancel(_)) => self.same(),
            (_, I::GiveBack(back)) => self.staff_give_back(back, now)?,
            (_, I::Readdress { .. }) => (self.clone(), vec![Effect::TellReaddressed]),

            // exchanges
            (S::Confirmed { payment_id, .. }, I::Exchange(place)) => {
                self.may_exchange(now)?;
                self.exchange(*payment_id, place, now)?
            }
            (S::Confirmed { .. }, I::BeginExchange { new, .. }) => {
                self.may_exchange(now)?;
                self.exchanging(Some(new.id), now)
            }
            (_, I::Exchange(_) | I::BeginExchange { .. }) => return Err(Rejection::NotConfirmed),
            (S::Confirmed { payment_id, exchanging: Some(known), .. }, I::ExchangePaid { to })
                if known.to == *to =>
            {
                self.refund(*payment_id, R::Exchanged, self.full_price(), None, now)
            }
            (S::Confirmed { exchanging: Some(known), .. }, I::ExchangeOver { to }) if known.to == *to => {
                self.exchanging(None, now)
            }
            (_, I::ExchangePaid { .. } | I::ExchangeOver { .. }) => self.same(),

            // refunds
            (
                S::Refunding { reason, refund, .. } | S::NeedsAttention { reason, refund, .. },
                I::RefundCompleted { refund_id },
            ) if refund.id == *refund_id => {
                (self.at(S::Refunded { reason: *reason, refund: refund.clone() }), Vec::new())
            }
            // a bank may send money back days after it was refunded
            (
                S::Refunding { reason, refund, .. } | S::Refunded { reason, refund },
                I::RefundFailed { refund_id, .. },
            ) if refund.id == *refund_id => {
                let state = S::NeedsAttention { reason: *reason, refund: refund.clone(), refused: true };
                (self.at(state), Vec::new())
            }
            (_, I::RefundCompleted { .. } | I::RefundFailed { .. }) => self.same(),
            (S::NeedsAttention { reason, refund, refused }, I::Resume { .. }) => {
                self.ask_refund(*reason, &refund.resumed(None, *refused), 0, now)
            }
            (_, I::Resume { .. }) => return Err(Rejection::NotPending),
        })
    }
}

/// The planted bug *an exchange applied to another version*: what its plan was made on is not compared.
#[cfg(feature = "planted")]
pub fn ignores_versions() -> bool {
    bus::config::planted("exchange-on-another-version")
}

impl State {
    /// Who owns the seats follows from the state alone.
    pub fn claim(&self) -> Claim {
        match self {
            Self::AwaitingPayment { .. } | Self::Ending { .. } => Claim::Held,
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
            Self::Confirmed { .. } => SagaState::Confirmed,
            Self::Cancelled { .. } => SagaState::Cancelled,
            Self::Refunding { .. } => SagaState::Refunding,
            Self::Refunded { .. } => SagaState::Refunded,
            Self::NeedsAttention { .. } => SagaState::NeedsAttention,
        }
    }
}
