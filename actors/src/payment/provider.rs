//! The payment provider behind one small trait, its answers as types that distinguish a definite answer from an unknown
//! outcome, and the calls that are made of it.
//!
//! Invariant: a call that is made again is the same to the letter and goes under the same key, so the provider replays
//! its first answer; only a definite answer is followed by a new key.

pub mod objects;
pub mod stripe;

use std::time::Duration;

use bus::contract::Money;
use bus::contract::payment::DisputeStatus;
use ractor::async_trait;
use uuid::Uuid;

use tokio::time::Instant;

use super::attempt::{Attempt, Kind};
use super::machine::{ProviderCall, ProviderReply};
use super::model::Payment;
use super::refund::Refund;

/// Calls of one request: after that the next check goes on.
const TRIES_MAX: u64 = 3;

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<T> {
    Done(T),
    /// Refused for good: `code` is the provider's.
    Refused {
        code: String,
        status: u16,
    },
    /// The provider has no such object: a person must look.
    NoSuchObject,
    /// No answer, or one that leaves it open whether it happened.
    Unknown(String),
}

impl<T> Answer<T> {
    /// Reads a definite answer further.
    pub fn then<S>(self, read: impl FnOnce(T) -> Answer<S>) -> Answer<S> {
        match self {
            Self::Done(answer) => read(answer),
            Self::Refused { code, status } => Answer::Refused { code, status },
            Self::NoSuchObject => Answer::NoSuchObject,
            Self::Unknown(why) => Answer::Unknown(why),
        }
    }
}

/// What the provider shows of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptView {
    pub intent: Option<String>,
    pub session: Option<String>,
    pub url: Option<String>,
    /// What it is about to take or has taken; `None` where it cannot be read.
    pub total: Option<Money>,
    pub state: ProviderState,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ProviderState {
    /// It may still capture: a page that waits, a bank that decides.
    Open,
    Captured,
    /// This card did not pay.
    Declined {
        code: String,
    },
    /// It can never capture any more.
    Closed,
}

/// An attempt to be made. `Kind::Token` without a method is one whose outcome is known; it is never sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    pub payment_id: Uuid,
    pub reservation_id: Uuid,
    pub attempt: i32,
    pub kind: Kind,
    pub total: Money,
    pub description: String,
    pub email: Option<String>,
}

/// The provider's name for an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    Intent(String),
    Page(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct RefundOrder {
    pub payment_id: Uuid,
    pub reservation_id: Uuid,
    pub refund_id: Uuid,
    pub tries: i32,
    pub intent: String,
    pub total: Money,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RefundView {
    pub reference: String,
    pub total: Option<Money>,
    pub state: RefundState,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DisputeView {
    pub reference: String,
    /// The provider's payment that is disputed.
    pub intent: String,
    pub total: Option<Money>,
    pub reason: String,
    pub status: DisputeStatus,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RefundState {
    Pending,
    Succeeded,
    Failed { code: String },
}

/// One event of a list, as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedEvent {
    pub id: String,
    pub body: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// Newest first.
    pub events: Vec<ListedEvent>,
    pub has_more: bool,
}

/// Every call has a time-out of its own and is made once: retries are the caller's.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Its name in `payment.success`.
    fn name(&self) -> &'static str;
    /// Charges the token or opens the page.
    async fn begin(&self, order: &Order) -> Answer<AttemptView>;
    /// The state of an attempt.
    async fn look(&self, place: &Place) -> Answer<AttemptView>;
    /// Makes sure that an attempt can never capture, and returns its state then. Without a place its beginning was
    /// never answered; then the order's key is spent, so that the lost call cannot take effect later.
    async fn close(&self, order: &Order, place: Option<&Place>) -> Answer<AttemptView>;
    async fn refund(&self, order: &RefundOrder) -> Answer<RefundView>;
    async fn look_at_refund(&self, reference: &str) -> Answer<RefundView>;
    /// Looks an order's refund up by the metadata that we gave it; `NoSuchObject` where it was never made.
    async fn find_refund(&self, order: &RefundOrder) -> Answer<RefundView>;
    async fn look_at_dispute(&self, reference: &str) -> Answer<DisputeView>;
    /// A page of the events that matter here, newest first: those since `since` (Unix seconds), older than `after`.
    async fn events(&self, since: i64, after: Option<&str>) -> Answer<EventPage>;
    /// The reservation that a payment of the provider's is for, by the metadata that we gave it.
    async fn owner_of(&self, intent: &str) -> Answer<Option<Uuid>>;
}

/// A call to the provider with all that it is made of.
pub enum Request {
    Begin(Order),
    Look(Place),
    Close(Order, Option<Place>),
    Refund(RefundOrder),
    LookAtRefund(String, i32),
    FindRefund(RefundOrder),
    LookAtDispute(String),
}

/// The request of a call, from the payment as it was committed; `None` where there is nothing to ask about.
pub fn request(payment: &Payment, call: ProviderCall) -> Option<Request> {
    Some(match call {
        ProviderCall::Begin(number) => Request::Begin(order(payment, payment.attempt(number)?)),
        ProviderCall::Look(number) => Request::Look(place(payment.attempt(number)?)?),
        ProviderCall::Close(number) => {
            let attempt = payment.attempt(number)?;
            Request::Close(order(payment, attempt), place(attempt))
        }
        ProviderCall::Refund(id) => Request::Refund(refund_order(payment, payment.refund(id)?)),
        ProviderCall::FindRefund(id) => Request::FindRefund(refund_order(payment, payment.refund(id)?)),
        ProviderCall::LookAtDispute(id) => {
            let dispute = payment.dispute(id)?;
            Request::LookAtDispute(dispute.provider_ref.clone())
        }
        ProviderCall::LookAtRefund(id) => {
            let refund = payment.refund(id)?;
            Request::LookAtRefund(refund.provider_ref.clone()?, refund.tries)
        }
    })
}

/// Sends the request until it is answered definitely, the tries are used up, or it is `until`.
pub async fn send(provider: &dyn Provider, request: &Request, until: Instant) -> ProviderReply {
    let mut reply = request.unknown("no time was left");
    // Not seeded by the payment alone: payments that failed together must not come back together.
    let seed = rand::random();
    for tries in 1..=TRIES_MAX {
        match tokio::time::timeout_at(until, request.send(provider)).await {
            Ok(answered) => reply = answered,
            Err(_) => return request.unknown("no answer in time"),
        }
        let pause = bus::retry::delay(tries, seed);
        if !reply.is_unknown() || Instant::now() + pause >= until {
            break;
        }
        metrics::counter!("payment_provider_retries_total").increment(1);
        tokio::time::sleep(if tries < TRIES_MAX { pause } else { Duration::ZERO }).await;
    }
    reply
}

impl Request {
    /// Its name in a trace.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begin(_) => "begin",
            Self::Look(_) => "look",
            Self::Close(..) => "close",
            Self::Refund(_) => "refund",
            Self::LookAtRefund(..) => "look at refund",
            Self::FindRefund(_) => "find refund",
            Self::LookAtDispute(_) => "look at dispute",
        }
    }

    async fn send(&self, provider: &dyn Provider) -> ProviderReply {
        match self {
            Self::Begin(order) => ProviderReply::Attempt(provider.begin(order).await),
            Self::Look(place) => ProviderReply::Attempt(provider.look(place).await),
            Self::Close(order, place) => ProviderReply::Attempt(provider.close(order, place.as_ref()).await),
            Self::Refund(order) => ProviderReply::Refund(order.tries, provider.refund(order).await),
            Self::LookAtRefund(reference, tries) => {
                ProviderReply::Refund(*tries, provider.look_at_refund(reference).await)
            }
            Self::FindRefund(order) => ProviderReply::Refund(order.tries, provider.find_refund(order).await),
            Self::LookAtDispute(reference) => {
                ProviderReply::Dispute(provider.look_at_dispute(reference).await)
            }
        }
    }

    fn unknown(&self, why: &str) -> ProviderReply {
        match self {
            Self::Refund(RefundOrder { tries, .. })
            | Self::FindRefund(RefundOrder { tries, .. })
            | Self::LookAtRefund(_, tries) => ProviderReply::Refund(*tries, Answer::Unknown(why.to_owned())),
            Self::LookAtDispute(_) => ProviderReply::Dispute(Answer::Unknown(why.to_owned())),
            Self::Begin(_) | Self::Look(_) | Self::Close(..) => {
                ProviderReply::Attempt(Answer::Unknown(why.to_owned()))
            }
        }
    }
}

impl ProviderReply {
    fn is_unknown(&self) -> bool {
        matches!(
            self,
            Self::Attempt(Answer::Unknown(_))
                | Self::Refund(_, Answer::Unknown(_))
                | Self::Dispute(Answer::Unknown(_))
        )
    }
}

fn order(payment: &Payment, attempt: &Attempt) -> Order {
    Order {
        payment_id: payment.id,
        reservation_id: payment.reservation_id,
        attempt: attempt.number,
        kind: attempt.kind.clone(),
        total: payment.total,
        description: payment.description.clone(),
        email: payment.email.clone(),
    }
}

fn refund_order(payment: &Payment, refund: &Refund) -> RefundOrder {
    RefundOrder {
        payment_id: payment.id,
        reservation_id: payment.reservation_id,
        refund_id: refund.id,
        tries: refund.tries,
        intent: refund.intent.clone(),
        total: refund.total,
    }
}

/// The page where there is one: its payment appears and ends with it.
fn place(attempt: &Attempt) -> Option<Place> {
    let page = attempt.session.clone().map(Place::Page);
    page.or_else(|| attempt.intent.clone().map(Place::Intent))
}
