//! The saga as a pure function: `step` takes where a reservation stands, what happened and the database's time, and
//! says where it stands then and which messages leave. The whole transition table is one `match`.
//!
//! Invariant: late and repeated inputs change nothing, except that money which arrives after a cancellation is given
//! back (or, where only the hold had expired, buys the same seats if they are still free).
//! Invariant: every state that waits has a deadline, and a deadline asks instead of guessing.
//! Rows are not effects: which seats are held or sold follows from the state alone ([`State::claim`]).

use std::time::Duration;

use bus::contract::payment::PaymentSuccess;
use bus::contract::reservation::{CancelReason, Rejection, ReservationStatus};
use bus::contract::{Money, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Format of the checkpoint; a host that meets a newer one leaves it to a newer host.
pub const FORMAT: u32 = 1;
/// Between two questions to the payment host while a hold is ending.
const END_ASKED_EVERY: Duration = Duration::from_secs(5);
/// First wait for a refund; each further is twice as long, up to an hour.
const REFUND_ASKED_AFTER: Duration = Duration::from_secs(30);
const REFUND_ASKED_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Questions about a refund before a person must look: more than a day in all.
const REFUND_ASKS_MAX: u32 = 32;

/// What was agreed when the reservation was made; it never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    pub total: Money,
    pub starts_at: Timestamp,
    /// How long the hold lasts from the moment that paying begins, and when it ends at the latest.
    pub hold_seconds: u64,
    pub hold_until_max: Timestamp,
    pub grace_seconds: u64,
    /// Until when a confirmed reservation may be cancelled for its money.
    pub refund_until: Timestamp,
}

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
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownPayment {
    pub id: Uuid,
    pub checkout_url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refund {
    pub id: Uuid,
    pub payment_id: Uuid,
    pub total: Money,
    /// Counts the refunds that were refused for good before this one.
    pub round: u32,
}

impl Refund {
    /// The id follows from payment and round, so that deciding twice (after a lost race) asks for one refund.
    pub fn new(payment_id: Uuid, total: Money, round: u32) -> Self {
        Self {
            id: Uuid::new_v5(&payment_id, format!("full-refund/{round}").as_bytes()),
            payment_id,
            total,
            round,
        }
    }
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelledBy {
    User,
    Admin,
    Showtime,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    BeginPayment {
        payment_id: Uuid,
    },
    PaymentInitiated {
        payment_id: Uuid,
        checkout_url: Option<String>,
    },
    PaymentSucceeded(PaymentSuccess),
    PaymentFailed {
        payment_id: Uuid,
    },
    /// Payment says: nothing was captured and nothing can be any more.
    PaymentOver {
        payment_id: Uuid,
    },
    /// The database refused to claim the seats again.
    ReclaimLost(PaymentSuccess),
    Cancel(CancelledBy),
    RefundCompleted {
        refund_id: Uuid,
    },
    RefundFailed {
        refund_id: Uuid,
    },
    Resume,
    /// The deadline has passed, as the database sees it.
    Deadline,
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
    RequestRefund(Refund),
    /// Asked of the payment host; not kept, since every deadline asks again.
    EndPayment {
        payment_id: Uuid,
    },
}

impl Saga {
    pub fn start(terms: Terms, expires_at: Timestamp) -> (Self, Vec<Effect>) {
        let state = State::AwaitingPayment { begun: false };
        (Self { format: FORMAT, terms, expires_at, payment: None, state }, vec![Effect::TellCreated])
    }

    /// When the saga must be looked at again, whatever else happens.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::AwaitingPayment { .. } => Some(self.expires_at),
            State::Ending { ask_at, .. } | State::Refunding { ask_at, .. } => Some(*ask_at),
            State::Confirmed { .. } | State::Cancelled { .. } | State::Refunded { .. } => None,
            State::NeedsAttention { .. } => None,
        }
    }

    pub fn status(&self) -> ReservationStatus {
        match &self.state {
            State::AwaitingPayment { .. } | State::Ending { .. } => ReservationStatus::Pending,
            State::Confirmed { .. } => ReservationStatus::Confirmed,
            State::Cancelled { .. } | State::Refunding { .. } | State::NeedsAttention { .. } => {
                ReservationStatus::Cancelled
            }
            State::Refunded { .. } => ReservationStatus::Refunded,
        }
    }

    /// The transition table. Unchanged and without effects means: nothing to do.
    pub fn step(&self, input: &Input, now: Timestamp) -> Result<(Self, Vec<Effect>), Rejection> {
        use {Input as I, State as S};
        let due = self.deadline().is_some_and(|deadline| deadline <= now);
        Ok(match (&self.state, input) {
            // paying begins: at most once it extends the hold
            (S::AwaitingPayment { .. }, I::BeginPayment { .. }) if due => return Err(Rejection::HoldExpired),
            (S::AwaitingPayment { begun: false }, I::BeginPayment { payment_id }) => {
                self.begin(*payment_id, now)
            }
            (S::AwaitingPayment { begun: true }, I::BeginPayment { .. }) => self.same(),
            (S::Ending { .. }, I::BeginPayment { .. }) => return Err(Rejection::HoldExpired),
            (S::Confirmed { .. }, I::BeginPayment { .. }) => return Err(Rejection::AlreadyPaid),
            (S::Cancelled { reason: CancelReason::HoldExpired }, I::BeginPayment { .. }) => {
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
            (S::Cancelled { reason: CancelReason::HoldExpired }, I::PaymentSucceeded(success)) => {
                self.confirm(success)
            }
            (S::Cancelled { reason }, I::PaymentSucceeded(success)) => self.give_back(*reason, success, now),
            (S::Cancelled { reason }, I::ReclaimLost(success)) => self.give_back(*reason, success, now),
            // one capture a reservation: payment itself gives back a second one
            (_, I::PaymentSucceeded(_) | I::ReclaimLost(_)) => self.same(),

            // no money
            (S::AwaitingPayment { begun: true }, I::PaymentFailed { .. }) => {
                self.cancel(CancelReason::PaymentFailed)
            }
            (S::Ending { .. }, I::PaymentFailed { .. } | I::PaymentOver { .. }) => {
                self.cancel(CancelReason::HoldExpired)
            }
            (_, I::PaymentFailed { .. } | I::PaymentOver { .. }) => self.same(),

            // time
            (_, I::Deadline) if !due => self.same(),
            (S::AwaitingPayment { begun: false }, I::Deadline) => self.cancel(CancelReason::HoldExpired),
            (S::AwaitingPayment { begun: true }, I::Deadline) => {
                self.end(now, self.expires_at.plus(Duration::from_secs(self.terms.grace_seconds)))
            }
            (S::Ending { until, .. }, I::Deadline) if *until <= now => self.cancel(CancelReason::HoldExpired),
            (S::Ending { until, .. }, I::Deadline) => self.end(now, *until),
            (S::Refunding { reason, refund, asked, .. }, I::Deadline) => {
                self.ask_refund(*reason, refund, *asked, now)
            }
            (_, I::Deadline) => self.same(),

            // people
            (S::AwaitingPayment { .. } | S::Ending { .. }, I::Cancel(by)) => self.cancel(by.reason()),
            (S::Confirmed { .. }, I::Cancel(CancelledBy::User | CancelledBy::Admin))
                if self.terms.starts_at <= now =>
            {
                return Err(Rejection::ShowtimeStarted);
            }
            (S::Confirmed { .. }, I::Cancel(CancelledBy::User)) if self.terms.refund_until < now => {
                return Err(Rejection::RefundWindowClosed);
            }
            (S::Confirmed { payment_id, .. }, I::Cancel(by)) => self.refund(*payment_id, by.reason(), now),
            (_, I::Cancel(_)) => self.same(),

            // refunds
            (
                S::Refunding { reason, refund, .. } | S::NeedsAttention { reason, refund, .. },
                I::RefundCompleted { refund_id },
            ) if refund.id == *refund_id => {
                (self.at(S::Refunded { reason: *reason, refund: refund.clone() }), Vec::new())
            }
            (S::Refunding { reason, refund, .. }, I::RefundFailed { refund_id })
                if refund.id == *refund_id =>
            {
                (
                    self.at(S::NeedsAttention { reason: *reason, refund: refund.clone(), refused: true }),
                    Vec::new(),
                )
            }
            (_, I::RefundCompleted { .. } | I::RefundFailed { .. }) => self.same(),
            (S::NeedsAttention { reason, refund, refused }, I::Resume) => {
                let refund = Refund::new(refund.payment_id, refund.total, refund.round + u32::from(*refused));
                self.ask_refund(*reason, &refund, 0, now)
            }
            (_, I::Resume) => return Err(Rejection::NotPending),
        })
    }

    fn at(&self, state: State) -> Self {
        Self { state, ..self.clone() }
    }

    fn same(&self) -> (Self, Vec<Effect>) {
        (self.clone(), Vec::new())
    }

    fn begin(&self, payment_id: Uuid, now: Timestamp) -> (Self, Vec<Effect>) {
        let extended = now.plus(Duration::from_secs(self.terms.hold_seconds)).min(self.terms.hold_until_max);
        let payment = Some(KnownPayment { id: payment_id, checkout_url: None });
        let saga = Self { expires_at: self.expires_at.max(extended), payment, ..self.clone() };
        (saga.at(State::AwaitingPayment { begun: true }), Vec::new())
    }

    fn initiated(&self, payment_id: Uuid, checkout_url: &Option<String>) -> (Self, Vec<Effect>) {
        let payment = Some(KnownPayment { id: payment_id, checkout_url: checkout_url.clone() });
        (Self { payment, ..self.clone() }, Vec::new())
    }

    fn confirm(&self, success: &PaymentSuccess) -> (Self, Vec<Effect>) {
        let payment_id = success.payment_id;
        let payment = Some(KnownPayment { id: payment_id, checkout_url: None });
        let state = State::Confirmed { payment_id, provider_ref: success.provider_ref.clone() };
        (Self { payment, ..self.at(state) }, vec![Effect::TellConfirmed { payment_id }])
    }

    fn cancel(&self, reason: CancelReason) -> (Self, Vec<Effect>) {
        (self.at(State::Cancelled { reason }), vec![Effect::TellCancelled { reason }])
    }

    /// Asks payment to close what is open, now and again until the grace is over.
    fn end(&self, now: Timestamp, until: Timestamp) -> (Self, Vec<Effect>) {
        let ask_at = now.plus(END_ASKED_EVERY).min(until);
        let ask = self.payment.iter().map(|payment| Effect::EndPayment { payment_id: payment.id }).collect();
        (self.at(State::Ending { ask_at, until }), ask)
    }

    /// Money for a reservation that is cancelled already.
    fn give_back(
        &self,
        reason: CancelReason,
        success: &PaymentSuccess,
        now: Timestamp,
    ) -> (Self, Vec<Effect>) {
        self.request_refund(success.payment_id, success.total, reason, now)
    }

    /// A confirmed reservation is cancelled: the seats go at once, the money follows.
    fn refund(&self, payment_id: Uuid, reason: CancelReason, now: Timestamp) -> (Self, Vec<Effect>) {
        let (saga, mut effects) = self.request_refund(payment_id, self.terms.total, reason, now);
        effects.insert(0, Effect::TellCancelled { reason });
        (saga, effects)
    }

    fn request_refund(
        &self,
        payment_id: Uuid,
        total: Money,
        reason: CancelReason,
        now: Timestamp,
    ) -> (Self, Vec<Effect>) {
        self.ask_refund(reason, &Refund::new(payment_id, total, 0), 0, now)
    }

    fn ask_refund(
        &self,
        reason: CancelReason,
        refund: &Refund,
        asked: u32,
        now: Timestamp,
    ) -> (Self, Vec<Effect>) {
        let refund = refund.clone();
        if asked >= REFUND_ASKS_MAX {
            return (self.at(State::NeedsAttention { reason, refund, refused: false }), Vec::new());
        }
        let wait = (REFUND_ASKED_AFTER * (1 << asked.min(10))).min(REFUND_ASKED_AFTER_MAX);
        let ask = Effect::RequestRefund(refund.clone());
        (self.at(State::Refunding { reason, refund, asked: asked + 1, ask_at: now.plus(wait) }), vec![ask])
    }
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

    pub fn name(&self) -> &'static str {
        match self {
            Self::AwaitingPayment { begun: false } => "awaiting-payment",
            Self::AwaitingPayment { begun: true } => "paying",
            Self::Ending { .. } => "ending",
            Self::Confirmed { .. } => "confirmed",
            Self::Cancelled { .. } => "cancelled",
            Self::Refunding { .. } => "refunding",
            Self::Refunded { .. } => "refunded",
            Self::NeedsAttention { .. } => "needs-attention",
        }
    }
}

impl CancelledBy {
    fn reason(self) -> CancelReason {
        match self {
            Self::User => CancelReason::UserRequest,
            Self::Admin => CancelReason::Admin,
            Self::Showtime => CancelReason::ShowtimeCancelled,
        }
    }
}

impl Input {
    /// As it stands in the saga's log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BeginPayment { .. } => "begin-payment",
            Self::PaymentInitiated { .. } => "payment-initiated",
            Self::PaymentSucceeded(_) => "payment-succeeded",
            Self::PaymentFailed { .. } => "payment-failed",
            Self::PaymentOver { .. } => "payment-over",
            Self::ReclaimLost(_) => "reclaim-lost",
            Self::Cancel(CancelledBy::User) => "cancel-by-user",
            Self::Cancel(CancelledBy::Admin) => "cancel-by-admin",
            Self::Cancel(CancelledBy::Showtime) => "showtime-cancelled",
            Self::RefundCompleted { .. } => "refund-completed",
            Self::RefundFailed { .. } => "refund-failed",
            Self::Resume => "resume",
            Self::Deadline => "deadline",
        }
    }
}
