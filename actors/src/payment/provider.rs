//! The payment provider behind one small trait, and its answers as types: what was said for certain is told apart
//! from what is not known.
//!
//! Invariant: an order that is sent again is the same to the letter and goes under the same key, so the provider replays
//! its first answer; only a definite answer is followed by a new key.

use bus::contract::Money;
use bus::contract::payment::DisputeStatus;
use ractor::async_trait;
use uuid::Uuid;

use super::model::Kind;

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<T> {
    Done(T),
    /// A definite no, for good: `code` is the provider's.
    Refused {
        code: String,
        status: u16,
    },
    /// The provider has no such object: somebody must look.
    NoSuchObject,
    /// No answer, or one that tells nothing: it may or may not have happened.
    Unknown(String),
}

impl<T> Answer<T> {
    /// What was said, read further.
    pub fn then<S>(self, read: impl FnOnce(T) -> Answer<S>) -> Answer<S> {
        match self {
            Self::Done(said) => read(said),
            Self::Refused { code, status } => Answer::Refused { code, status },
            Self::NoSuchObject => Answer::NoSuchObject,
            Self::Unknown(why) => Answer::Unknown(why),
        }
    }
}

/// What the provider shows of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Sight {
    pub intent: Option<String>,
    pub session: Option<String>,
    pub url: Option<String>,
    /// What it is about to take or has taken; `None` where it cannot be read.
    pub total: Option<Money>,
    pub standing: Standing,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It may still capture: a page that waits, a bank that thinks.
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
pub struct RefundSight {
    pub reference: String,
    pub total: Option<Money>,
    pub standing: RefundStanding,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DisputeSight {
    pub reference: String,
    /// The provider's payment that is disputed.
    pub intent: String,
    pub total: Option<Money>,
    pub reason: String,
    pub status: DisputeStatus,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RefundStanding {
    Pending,
    Succeeded,
    Failed { code: String },
}

/// One event of a list, as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldEvent {
    pub id: String,
    pub body: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// Newest first.
    pub events: Vec<ToldEvent>,
    pub has_more: bool,
}

/// Every call has a time-out of its own and is made once: retries are the caller's.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// As `payment.success` names it.
    fn name(&self) -> &'static str;
    /// Charges the token or opens the page.
    async fn begin(&self, order: &Order) -> Answer<Sight>;
    /// How an attempt stands.
    async fn look(&self, place: &Place) -> Answer<Sight>;
    /// Sees to it that an attempt can never capture, and tells how it stands then. Without a place its beginning was
    /// never answered; then the order's key is spent, so that the lost call cannot take effect later.
    async fn close(&self, order: &Order, place: Option<&Place>) -> Answer<Sight>;
    async fn refund(&self, order: &RefundOrder) -> Answer<RefundSight>;
    async fn look_at_refund(&self, reference: &str) -> Answer<RefundSight>;
    /// Looks an order's refund up by what we wrote on it; `NoSuchObject` where it was never made.
    async fn find_refund(&self, order: &RefundOrder) -> Answer<RefundSight>;
    async fn look_at_dispute(&self, reference: &str) -> Answer<DisputeSight>;
    /// A page of the events that matter here, newest first: those since `since` (Unix seconds), older than `after`.
    async fn events(&self, since: i64, after: Option<&str>) -> Answer<EventPage>;
    /// The reservation that a payment of the provider's is for, by what we wrote on it.
    async fn owner_of(&self, intent: &str) -> Answer<Option<Uuid>>;
}
