//! The parts of a payment: its bill, attempts, refunds and disputes, when each is checked next, and how each is shown. What becomes of
//! them is decided in `attempt`, `refund` and `dispute`.

use std::time::Duration;

use bus::contract::payment::{self as contract, AttemptStatus, DisputeStatus, Pay};
use bus::contract::reservation::RefundStatus;
use bus::contract::site::default_site;
use bus::contract::{FeeLine, Line, Locale, Money, OrderCode, Request, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ANSWER_WITHIN, check_again_at};
use crate::delivery::IdempotencyKey;
use crate::payment::provider::Kind;

/// Delay of the check after a request to close, for which a caller waits.
const CLOSING_WITHIN: Duration = Duration::from_secs(2);
/// First check of a refund that is tried anew.
const ANEW_WITHIN: Duration = Duration::from_secs(2);
/// A dispute is decided in weeks; a check is only for webhooks that got lost.
const CHECK_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// The provider's code for a token that it does not know. No card was declined.
pub const NO_SUCH_METHOD: &str = "resource_missing";
/// Stripe's general decline, which gives no reason (docs.stripe.com/declines/codes).
const GENERAL_DECLINE: &str = "generic_decline";

/// Codes that help an honest customer and reveal nothing about a stolen card. Every other decline is shown as the general
/// one: lost, stolen, fraudulent, pick up, restricted, and codes that Stripe adds later.
const SHOWN_CODES: [&str; 20] = [
    GENERAL_DECLINE,
    "card_declined",
    "authentication_required",
    "card_not_supported",
    "card_velocity_exceeded",
    "currency_not_supported",
    "expired_card",
    "incorrect_address",
    "incorrect_cvc",
    "incorrect_number",
    "incorrect_zip",
    "insufficient_funds",
    "invalid_cvc",
    "invalid_expiry_month",
    "invalid_expiry_year",
    "invalid_number",
    "issuer_not_available",
    "processing_error",
    "withdrawal_count_limit_exceeded",
    NO_SUCH_METHOD,
];

/// What a receipt shows besides the total.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bill {
    /// The site that sold it.
    #[serde(default = "default_site")]
    pub site_id: Uuid,
    pub code: Option<OrderCode>,
    pub locale: Locale,
    pub lines: Vec<Line>,
    pub fees: Vec<FeeLine>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    pub number: i32,
    pub kind: Kind,
    pub state: State,
    /// When it reached this state.
    pub since: Timestamp,
    /// The provider's payment.
    pub intent: Option<String>,
    /// The provider's hosted page.
    pub session: Option<String>,
    pub checkout_url: Option<String>,
    /// Why it was declined.
    pub code: Option<String>,
    /// The idempotency key whose answer is not stored yet.
    pub claim: Option<KeyClaim>,
    /// Why a person must look.
    pub concern: Option<String>,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// The provider was called and has not replied yet.
    Opening,
    Open,
    /// To be closed; the provider has not yet confirmed it.
    Closing,
    Captured,
    Declined,
    Closed,
}

/// An idempotency key of `rpc.payment.pay`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyClaim {
    user_id: Uuid,
    key: String,
}

impl State {
    pub fn is_open(self) -> bool {
        matches!(self, Self::Opening | Self::Open | Self::Closing)
    }
}

impl KeyClaim {
    pub fn of(key: &IdempotencyKey) -> Self {
        Self { user_id: key.user_id, key: key.key.clone() }
    }

    pub fn key(self) -> IdempotencyKey {
        IdempotencyKey { user_id: self.user_id, route: Pay::SUBJECT, key: self.key }
    }
}

impl Attempt {
    pub fn is_charge(&self) -> bool {
        matches!(self.kind, Kind::Token { .. })
    }

    /// Its caller still waits for the provider's first reply.
    pub fn is_awaited(&self, now: Timestamp) -> bool {
        self.state == State::Opening && now < self.created_at.plus(ANSWER_WITHIN)
    }

    pub fn waiting_page(&self) -> Option<&String> {
        self.checkout_url.as_ref().filter(|_| self.state == State::Open)
    }

    pub fn next_check(&self, hold_ends: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match (self.state, &self.kind) {
            (State::Open, Kind::Hosted { .. }) if now < hold_ends => Some(hold_ends),
            (State::Open, Kind::Hosted { .. }) => Some(check_again_at(hold_ends, ANSWER_WITHIN, now)),
            (State::Closing, _) => Some(check_again_at(self.since, CLOSING_WITHIN, now)),
            (State::Opening | State::Open, _) => Some(check_again_at(self.since, ANSWER_WITHIN, now)),
            (State::Captured | State::Declined | State::Closed, _) => None,
        }
    }

    /// A direct charge that was declined. A token that the provider does not know is no card.
    pub fn is_decline(&self) -> bool {
        let is_card = self.code.as_deref() != Some(NO_SUCH_METHOD);
        self.is_charge() && self.state == State::Declined && is_card
    }

    /// The customer's view: some reasons for a decline are hidden.
    pub fn shown(&self) -> contract::Attempt {
        let code = self.code.as_deref().map(|code| shown_code(code).to_owned());
        contract::Attempt { code, ..self.shown_to_staff() }
    }

    pub fn shown_to_staff(&self) -> contract::Attempt {
        contract::Attempt {
            number: self.number,
            status: match self.state {
                State::Opening => AttemptStatus::Opening,
                State::Open | State::Closing => AttemptStatus::Open,
                State::Captured => AttemptStatus::Captured,
                State::Declined => AttemptStatus::Declined,
                State::Closed => AttemptStatus::Closed,
            },
            provider_ref: self.intent.clone().or_else(|| self.session.clone()),
            code: self.code.clone(),
            created_at: self.created_at,
        }
    }
}

/// The code of a decline as customers read it.
pub fn shown_code(code: &str) -> &str {
    if SHOWN_CODES.contains(&code) { code } else { GENERAL_DECLINE }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refund {
    pub id: Uuid,
    pub origin: Origin,
    /// The provider's payment that it gives back from.
    pub intent: String,
    pub total: Money,
    pub status: RefundStatus,
    /// The provider's refund, of the current try.
    pub provider_ref: Option<String>,
    /// Counts from 1; each has a provider key of its own.
    pub tries: i32,
    pub code: Option<String>,
    pub reason: String,
    /// Why a person must look.
    pub concern: Option<String>,
    pub created_at: Timestamp,
    /// When the current try began.
    pub tried_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Origin {
    /// By `refund.requested`: its result is published as an event.
    #[serde(rename = "ASKED")]
    Saga,
    /// Of a capture that is not the accepted one; its result is only logged.
    Own,
}

impl Refund {
    /// Nothing of it is in flight, and none of its money is ours to give back.
    pub fn is_settled(&self) -> bool {
        match self.status {
            RefundStatus::Requested => false,
            RefundStatus::Completed => true,
            RefundStatus::Failed => self.origin == Origin::Saga,
        }
    }

    pub fn next_check(&self, now: Timestamp) -> Option<Timestamp> {
        let is_anew = self.tries > 1 && self.provider_ref.is_none();
        let first = if is_anew { ANEW_WITHIN } else { ANSWER_WITHIN };
        let is_open = self.status == RefundStatus::Requested;
        is_open.then(|| check_again_at(self.tried_at, first, now))
    }

    pub fn shown(&self) -> contract::Refund {
        contract::Refund { id: self.id, total: self.total, status: self.status, created_at: self.created_at }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dispute {
    /// Derived from the provider's id of it.
    pub id: Uuid,
    pub provider_ref: String,
    /// The provider's payment that is disputed.
    pub intent: String,
    pub total: Option<Money>,
    pub reason: String,
    pub status: DisputeStatus,
    /// Why a person must look.
    pub concern: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Dispute {
    pub fn next_check(&self, now: Timestamp) -> Option<Timestamp> {
        self.status.is_open().then(|| now.plus(CHECK_EVERY))
    }

    pub fn shown(&self) -> contract::Dispute {
        contract::Dispute {
            id: self.id,
            provider_ref: self.provider_ref.clone(),
            status: self.status,
            total: self.total,
            reason: self.reason.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}
