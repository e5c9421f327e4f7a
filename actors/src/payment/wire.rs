//! Stripe's objects, as far as they are read, and what they mean to us. Used for answers and for webhooks alike.
//!
//! A field that we do not read may come and go; one that we do read and that is missing makes the object
//! unreadable, which counts as no answer.

use std::collections::HashMap;

use bus::contract::payment::DisputeStatus;
use bus::contract::{Currency, Money};
use serde::Deserialize;

use super::provider::{DisputeSight, RefundSight, RefundStanding, Sight, Standing};

pub type Metadata = HashMap<String, String>;

/// Stripe's error object.
#[derive(Debug, Deserialize)]
pub struct Failure {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    decline_code: Option<String>,
    #[serde(default)]
    pub payment_intent: Option<Named>,
}

impl Failure {
    /// The most telling of its codes.
    pub fn reason(&self) -> String {
        self.decline_code.as_ref().or(self.code.as_ref()).unwrap_or(&self.kind).clone()
    }
}

#[derive(Debug, Deserialize)]
pub struct Named {
    pub id: String,
}

#[derive(Debug, Deserialize)]
pub struct Intent {
    id: String,
    amount: i64,
    amount_received: i64,
    currency: String,
    status: String,
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default)]
    last_payment_error: Option<Failure>,
}

impl Intent {
    pub fn sight(&self) -> Sight {
        let standing = match (self.status.as_str(), &self.last_payment_error) {
            ("succeeded", _) => Standing::Captured,
            ("canceled", _) => Standing::Closed,
            ("requires_payment_method", Some(error)) => Standing::Declined { code: error.reason() },
            // Waits for somebody: processing, requires_action, requires_confirmation and the like.
            _ => Standing::Open,
        };
        let amount = if standing == Standing::Captured { self.amount_received } else { self.amount };
        Sight {
            intent: Some(self.id.clone()),
            session: None,
            url: None,
            total: money(amount, &self.currency),
            standing,
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct Session {
    id: String,
    amount_total: Option<i64>,
    currency: Option<String>,
    status: String,
    payment_status: String,
    url: Option<String>,
    payment_intent: Option<String>,
    #[serde(default)]
    pub metadata: Metadata,
}

impl Session {
    pub fn sight(self) -> Sight {
        let standing = match (self.status.as_str(), self.payment_status.as_str()) {
            ("complete", "paid") => Standing::Captured,
            ("expired", _) => Standing::Closed,
            _ => Standing::Open,
        };
        Sight {
            total: self.amount_total.zip(self.currency).and_then(|(amount, code)| money(amount, &code)),
            intent: self.payment_intent,
            session: Some(self.id),
            url: self.url,
            standing,
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct StripeRefund {
    id: String,
    amount: i64,
    currency: String,
    status: String,
    #[serde(default)]
    failure_reason: Option<String>,
    #[serde(default)]
    pub metadata: Metadata,
}

impl StripeRefund {
    pub fn sight(self) -> RefundSight {
        let standing = match (self.status.as_str(), self.failure_reason) {
            ("succeeded", _) => RefundStanding::Succeeded,
            ("failed" | "canceled", Some(code)) => RefundStanding::Failed { code },
            ("failed" | "canceled", None) => RefundStanding::Failed { code: self.status },
            _ => RefundStanding::Pending,
        };
        RefundSight { reference: self.id, total: money(self.amount, &self.currency), standing }
    }
}

#[derive(Debug, Deserialize)]
pub struct StripeDispute {
    id: String,
    amount: i64,
    currency: String,
    status: String,
    reason: String,
    /// Null for charges of the old API, which we do not make.
    #[serde(default)]
    payment_intent: Option<String>,
}

impl StripeDispute {
    /// docs.stripe.com/api/disputes/object: `warning_*` is an inquiry, which moves no money.
    pub fn sight(self) -> DisputeSight {
        let status = match self.status.as_str() {
            "warning_needs_response" | "warning_under_review" => DisputeStatus::Inquiry,
            "warning_closed" | "prevented" => DisputeStatus::Closed,
            "won" => DisputeStatus::Won,
            "lost" => DisputeStatus::Lost,
            // needs_response, under_review
            _ => DisputeStatus::Open,
        };
        DisputeSight {
            reference: self.id,
            intent: self.payment_intent.unwrap_or_default(),
            total: money(self.amount, &self.currency),
            reason: self.reason,
            status,
        }
    }
}

/// One page of a list, newest first.
#[derive(Debug, Deserialize)]
pub struct Listed<T> {
    pub data: Vec<T>,
    pub has_more: bool,
}

/// From Stripe's units, which are not ISO 4217's for some currencies; it writes the codes in lower case. None for what we have
/// no currency or no minor unit for: such an amount is never taken for one of ours.
fn money(units: i64, currency: &str) -> Option<Money> {
    let currency = Currency::parse(&currency.to_ascii_uppercase())?;
    Some(Money { amount: currency.from_provider(units)?, currency })
}
