//! The payment provider behind one small trait, and its answers as types that distinguish a definite answer from an unknown
//! outcome. It knows nothing of payments.
//!
//! Invariant: a repeated call is identical and has the same key, so the provider replays its first answer; only after a
//! definite answer a new key is used.

pub mod objects;
pub mod stripe;

use bus::contract::payment::DisputeStatus;
use bus::contract::{Locale, Money};
use ractor::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
    /// No answer, or one that does not show whether the call took effect.
    Unknown(String),
}

impl<T> Answer<T> {
    /// Converts a definite answer.
    pub fn then<S>(self, read: impl FnOnce(T) -> Answer<S>) -> Answer<S> {
        match self {
            Self::Done(answer) => read(answer),
            Self::Refused { code, status } => Answer::Refused { code, status },
            Self::NoSuchObject => Answer::NoSuchObject,
            Self::Unknown(why) => Answer::Unknown(why),
        }
    }
}

/// The provider's view of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptView {
    pub intent: Option<String>,
    pub session: Option<String>,
    pub url: Option<String>,
    /// The amount that it will capture or has captured; `None` where it cannot be read.
    pub total: Option<Money>,
    pub state: ProviderState,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ProviderState {
    /// It may still capture: an open page, or a bank that decides.
    Open,
    Captured,
    /// This card did not pay.
    Declined {
        code: String,
    },
    /// It can never capture any more.
    Closed,
}

/// How an attempt takes the money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum Kind {
    /// `method` is deleted once the outcome is known.
    Token { method: Option<String> },
    /// When the page ends by itself, in Unix seconds, and what it says: stored, since a repeated call must be identical.
    Hosted {
        ends_at: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purchase: Option<Purchase>,
    },
}

/// What a page says of the purchase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Purchase {
    pub name: String,
    pub details: String,
    /// The language of the page.
    pub locale: Locale,
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

/// One event of a list, unparsed.
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
    /// Makes sure that an attempt can never capture, and returns its state after that. Without a place the first call was never
    /// answered; then the order's key is used up, so that the lost call cannot take effect later.
    async fn close(&self, order: &Order, place: Option<&Place>) -> Answer<AttemptView>;
    async fn refund(&self, order: &RefundOrder) -> Answer<RefundView>;
    async fn look_at_refund(&self, reference: &str) -> Answer<RefundView>;
    /// Looks an order's refund up by the metadata that we gave it; `NoSuchObject` where it was never made.
    async fn find_refund(&self, order: &RefundOrder) -> Answer<RefundView>;
    async fn look_at_dispute(&self, reference: &str) -> Answer<DisputeView>;
    /// A page of the events that payment handles, newest first: those since `since` (Unix seconds), older than `after`.
    async fn events(&self, since: i64, after: Option<&str>) -> Answer<EventPage>;
    /// The reservation that a payment of the provider's is for, by the metadata that we gave it.
    async fn owner_of(&self, intent: &str) -> Answer<Option<Uuid>>;
}
