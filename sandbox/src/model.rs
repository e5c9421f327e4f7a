//! The objects that the sandbox stores, and their JSON in Stripe's API (docs.stripe.com/api).
//! Invariant: a stored object is never changed, only replaced; so an event or a stored answer that holds one keeps the
//! snapshot of its time without a copy. A charge is a view of its payment intent.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cards;
use crate::fault::{Fault, Kind};
use crate::form::Metadata;

/// The version that events carry; the fields below are that version's.
pub const API_VERSION: &str = "2025-09-30.clover";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentStatus {
    RequiresPaymentMethod,
    RequiresConfirmation,
    Canceled,
    Succeeded,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PaymentIntent {
    pub id: String,
    pub created: i64,
    pub amount: i64,
    pub currency: String,
    pub status: IntentStatus,
    pub metadata: Metadata,
    /// The checkout session that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// The latest attempt to collect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Charge>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Fault>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canceled: Option<(i64, String)>,
}

/// Stripe creates a new payment method for each use of a test token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Method {
    pub id: String,
    pub token: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Charge {
    pub id: String,
    pub created: i64,
    pub paid: bool,
    /// Minor units, without failed refunds.
    pub refunded: i64,
    #[serde(default)]
    pub disputed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    Open,
    Complete,
    Expired,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    pub id: String,
    pub created: i64,
    pub expires_at: i64,
    pub status: SessionStatus,
    pub amount_total: i64,
    pub currency: String,
    pub product_name: String,
    #[serde(default)]
    pub product_description: Option<String>,
    /// The language of the pay page, as the shop wants it.
    #[serde(default)]
    pub locale: Option<String>,
    pub success_url: String,
    pub cancel_url: Option<String>,
    pub client_reference_id: Option<String>,
    pub metadata: Metadata,
    pub intent_metadata: Metadata,
    /// `None` until the first attempt to pay, as at Stripe since 2022-08-01.
    pub payment_intent: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundStatus {
    Pending,
    Succeeded,
    Failed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refund {
    pub id: String,
    pub created: i64,
    pub amount: i64,
    pub currency: String,
    pub status: RefundStatus,
    pub charge: String,
    pub payment_intent: String,
    pub reason: Option<String>,
    pub metadata: Metadata,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStatus {
    NeedsResponse,
    Won,
    Lost,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dispute {
    pub id: String,
    pub created: i64,
    pub amount: i64,
    pub currency: String,
    pub status: DisputeStatus,
    pub charge: String,
    pub payment_intent: String,
}

/// An event with its object as it was at that time.
#[derive(Debug)]
pub struct Event {
    pub id: String,
    pub created: i64,
    pub kind: Cow<'static, str>,
    pub object: Object,
    /// The key of the call that caused it.
    pub idempotency_key: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Object {
    Intent(Arc<PaymentIntent>),
    Charge(Arc<PaymentIntent>),
    Session(Arc<Session>),
    Refund(Arc<Refund>),
    Dispute(Arc<Dispute>),
}

impl Object {
    /// JSON as in the API; `public_url` is the current address of the pay page.
    pub fn show(&self, public_url: &str) -> Value {
        match self {
            Self::Intent(intent) => intent.show(),
            Self::Charge(intent) => intent.show_charge(),
            Self::Session(session) => session.show(public_url),
            Self::Refund(refund) => refund.show(),
            Self::Dispute(dispute) => dispute.show(),
        }
    }
}

impl PaymentIntent {
    pub fn received(&self) -> i64 {
        if self.status == IntentStatus::Succeeded { self.amount } else { 0 }
    }

    fn show(&self) -> Value {
        let method = self.method.as_ref().map(|method| &method.id);
        json!({
            "id": self.id,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_capturable": 0,
            "amount_received": self.received(),
            "automatic_payment_methods": {"allow_redirects": "never", "enabled": true},
            "canceled_at": self.canceled.as_ref().map(|(at, _)| at),
            "cancellation_reason": self.canceled.as_ref().map(|(_, reason)| reason),
            "capture_method": "automatic",
            "client_secret": format!("{}_secret_sandbox", self.id),
            "confirmation_method": "automatic",
            "created": self.created,
            "currency": self.currency,
            "customer": null,
            "description": null,
            "last_payment_error": self.last_error.as_ref().map(|fault| show_fault(fault, None)),
            "latest_charge": self.charge.as_ref().map(|charge| &charge.id),
            "livemode": false,
            "metadata": self.metadata,
            "next_action": null,
            "payment_method": method,
            "payment_method_types": ["card"],
            "processing": null,
            "receipt_email": null,
            "status": self.status,
        })
    }

    fn show_charge(&self) -> Value {
        let Some(charge) = &self.charge else { return Value::Null };
        let error = self.last_error.as_ref();
        let card = self.method.as_ref().and_then(|method| cards::by_token(&method.token));
        json!({
            "id": charge.id,
            "object": "charge",
            "amount": self.amount,
            "amount_captured": if charge.paid { self.amount } else { 0 },
            "amount_refunded": charge.refunded,
            "captured": charge.paid,
            "created": charge.created,
            "currency": self.currency,
            "disputed": charge.disputed,
            "failure_code": error.and_then(|error| error.code.as_deref()),
            "failure_message": error.map(|error| &error.message),
            "livemode": false,
            "metadata": self.metadata,
            "paid": charge.paid,
            "payment_intent": self.id,
            "payment_method": self.method.as_ref().map(|method| &method.id),
            "payment_method_details": {
                "card": {"brand": card.map(|card| card.brand), "last4": card.map(|card| card.last4())},
                "type": "card",
            },
            "refunded": charge.paid && charge.refunded == self.amount,
            "status": if charge.paid { "succeeded" } else { "failed" },
        })
    }
}

impl Session {
    /// Where the customer pays.
    pub fn pay_url(&self, public_url: &str) -> String {
        format!("{public_url}/pay/{}", self.id)
    }

    /// Where the customer goes after paying.
    pub fn return_url(&self) -> String {
        self.success_url.replace("{CHECKOUT_SESSION_ID}", &self.id)
    }

    fn show(&self, public_url: &str) -> Value {
        let open = self.status == SessionStatus::Open;
        json!({
            "id": self.id,
            "object": "checkout.session",
            "amount_subtotal": self.amount_total,
            "amount_total": self.amount_total,
            "cancel_url": self.cancel_url,
            "client_reference_id": self.client_reference_id,
            "created": self.created,
            "currency": self.currency,
            "customer": null,
            "customer_details": null,
            "expires_at": self.expires_at,
            "livemode": false,
            "metadata": self.metadata,
            "mode": "payment",
            "payment_intent": self.payment_intent,
            "payment_method_types": ["card"],
            "payment_status": if self.status == SessionStatus::Complete { "paid" } else { "unpaid" },
            "status": self.status,
            "success_url": self.success_url,
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            "ui_mode": "hosted",
            "url": open.then(|| self.pay_url(public_url)),
        })
    }
}

impl Refund {
    fn show(&self) -> Value {
        let mut shown = json!({
            "id": self.id,
            "object": "refund",
            "amount": self.amount,
            "charge": self.charge,
            "created": self.created,
            "currency": self.currency,
            "metadata": self.metadata,
            "payment_intent": self.payment_intent,
            "reason": self.reason,
            "receipt_number": null,
            "status": self.status,
        });
        if self.status == RefundStatus::Failed {
            shown["failure_reason"] = json!("expired_or_canceled_card");
        }
        shown
    }
}

impl Dispute {
    /// Without the payment's metadata: a dispute has metadata of its own.
    fn show(&self) -> Value {
        json!({
            "id": self.id,
            "object": "dispute",
            "amount": self.amount,
            "balance_transactions": [],
            "charge": self.charge,
            "created": self.created,
            "currency": self.currency,
            "is_charge_refundable": false,
            "livemode": false,
            "metadata": {},
            "payment_intent": self.payment_intent,
            "reason": "fraudulent",
            "status": self.status,
        })
    }
}

impl Event {
    pub fn show(&self, public_url: &str, pending_webhooks: u8) -> Value {
        json!({
            "id": self.id,
            "object": "event",
            "api_version": API_VERSION,
            "created": self.created,
            "data": {"object": self.object.show(public_url)},
            "livemode": false,
            "pending_webhooks": pending_webhooks,
            "request": {"id": null, "idempotency_key": self.idempotency_key},
            "type": self.kind,
        })
    }
}

/// The error object, with the payment that it is about, if any.
pub fn show_fault(fault: &Fault, about: Option<&Object>) -> Value {
    let mut error = json!({"type": fault.kind, "message": fault.message});
    let texts = [("code", &fault.code), ("decline_code", &fault.decline_code), ("param", &fault.param)];
    for (name, text) in texts {
        if let Some(text) = text {
            error[name] = json!(text);
        }
    }
    if let Some(Object::Intent(intent)) = about {
        if let (Kind::Card, Some(charge)) = (fault.kind, &intent.charge) {
            error["charge"] = json!(charge.id);
        }
        error["payment_intent"] = intent.show();
    }
    error
}
