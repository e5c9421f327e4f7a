//! The fields of Stripe's objects that are read, and their meaning for payment: in answers, and in webhooks, whose signature is
//! checked first.
//!
//! Fields that are not read may change; a field that is read and missing makes the object unreadable, which counts as no
//! answer.
//! Invariant: nothing of a webhook is read before its signature is right, over the raw bytes and within five minutes both ways
//! (docs.stripe.com/webhooks/signature; the official libraries let a future time pass).

use std::collections::HashMap;

use bus::contract::payment::DisputeStatus;
use bus::contract::{Currency, Money};
use serde::Deserialize;

use bus::contract::payment::Rejection;
use ring::hmac;
use uuid::Uuid;

use super::{AttemptView, DisputeView, ProviderState, RefundState, RefundView};

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
    /// The most specific of its codes.
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
    pub fn view(&self) -> AttemptView {
        let state = match (self.status.as_str(), &self.last_payment_error) {
            ("succeeded", _) => ProviderState::Captured,
            ("canceled", _) => ProviderState::Closed,
            ("requires_payment_method", Some(error)) => ProviderState::Declined { code: error.reason() },
            // Not final: processing, requires_action, requires_confirmation and the like.
            _ => ProviderState::Open,
        };
        let amount = if state == ProviderState::Captured { self.amount_received } else { self.amount };
        AttemptView {
            intent: Some(self.id.clone()),
            session: None,
            url: None,
            total: money(amount, &self.currency),
            state,
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
    pub fn view(self) -> AttemptView {
        let state = match (self.status.as_str(), self.payment_status.as_str()) {
            ("complete", "paid") => ProviderState::Captured,
            ("expired", _) => ProviderState::Closed,
            _ => ProviderState::Open,
        };
        AttemptView {
            total: self.amount_total.zip(self.currency).and_then(|(amount, code)| money(amount, &code)),
            intent: self.payment_intent,
            session: Some(self.id),
            url: self.url,
            state,
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
    pub fn view(self) -> RefundView {
        let state = match (self.status.as_str(), self.failure_reason) {
            ("succeeded", _) => RefundState::Succeeded,
            ("failed" | "canceled", Some(code)) => RefundState::Failed { code },
            ("failed" | "canceled", None) => RefundState::Failed { code: self.status },
            _ => RefundState::Pending,
        };
        RefundView { reference: self.id, total: money(self.amount, &self.currency), state }
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
    pub fn view(self) -> DisputeView {
        let status = match self.status.as_str() {
            "warning_needs_response" | "warning_under_review" => DisputeStatus::Inquiry,
            "warning_closed" | "prevented" => DisputeStatus::Closed,
            "won" => DisputeStatus::Won,
            "lost" => DisputeStatus::Lost,
            // needs_response, under_review
            _ => DisputeStatus::Open,
        };
        DisputeView {
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

/// From Stripe's units, which are not ISO 4217's for some currencies; it writes the codes in lower case. None where we do not
/// have the currency or the minor unit: such an amount never matches one of ours.
fn money(units: i64, currency: &str) -> Option<Money> {
    let currency = Currency::parse(&currency.to_ascii_uppercase())?;
    Some(Money { amount: currency.from_provider(units)?, currency })
}

/// Recorded requests may be older.
const TOLERANCE_SECONDS: u64 = 300;

/// Stripe's ids are shorter by far.
const ID_MAX: usize = 200;
/// The `object` of events of event destinations (docs.stripe.com/event-destinations).
const THIN: &str = "v2.core.";

/// One event of the provider.
#[derive(Debug)]
pub struct Event {
    pub id: String,
    pub kind: String,
    pub about: About,
    /// From the metadata that we gave the object.
    pub reservation_id: Option<Uuid>,
    pub payment_id: Option<Uuid>,
}

#[derive(Debug, Clone)]
pub enum About {
    Attempt {
        number: Option<i32>,
        view: AttemptView,
    },
    Refund {
        id: Option<Uuid>,
        tries: i32,
        view: RefundView,
    },
    /// A dispute does not carry our metadata: its payment is found by the intent.
    Dispute(DisputeView),
    /// Stored without any effect.
    Other,
}

/// Checks `Stripe-Signature: t=…,v1=…[,v1=…]` against the raw body at `now` (Unix seconds).
pub fn verify(secret: &str, header: &str, body: &[u8], now: i64) -> Result<(), Rejection> {
    let (mut time, mut signatures) = (None, Vec::new());
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) if time.is_none() => time = Some(value),
            Some(("t", _)) | None => return Err(Rejection::BadSignature),
            Some(("v1", value)) => signatures.push(value),
            // Other schemes, such as v0 of test mode.
            Some(_) => {}
        }
    }
    let time = time.filter(|text| text.bytes().all(|b| b.is_ascii_digit())).ok_or(Rejection::BadSignature)?;
    let at: i64 = time.parse().map_err(|_| Rejection::BadSignature)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = [time.as_bytes(), b".", body].concat();
    // `hmac::verify` compares in constant time. While a secret is rolled there are several signatures.
    let ours = signatures
        .iter()
        .filter_map(|signature| hex::decode(signature).ok())
        .any(|signature| hmac::verify(&key, &signed, &signature).is_ok());
    if ours && now.abs_diff(at) <= TOLERANCE_SECONDS { Ok(()) } else { Err(Rejection::BadSignature) }
}

/// Reads a verified body. A body that is no event is refused; an event that payment does not use is accepted. Thin events,
/// which name an object without its fields, are stored: the object's own event is sent as well, and the reconciler reads all.
pub fn parse(body: &[u8]) -> Result<Event, Rejection> {
    #[derive(Deserialize)]
    struct Raw {
        id: String,
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        object: String,
        data: Option<Body>,
    }
    #[derive(Deserialize)]
    struct Body {
        object: serde_json::Value,
    }
    let mut event: serde_json::Value = serde_json::from_slice(body).map_err(|_| Rejection::BadWebhook)?;
    without_nul(&mut event);
    let event: Raw = serde_json::from_value(event).map_err(|_| Rejection::BadWebhook)?;
    if event.id.is_empty() || event.id.len() > ID_MAX {
        return Err(Rejection::BadWebhook);
    }
    let object = match event.data {
        Some(data) => data.object,
        None if event.object.starts_with(THIN) => serde_json::Value::Null,
        None => return Err(Rejection::BadWebhook),
    };
    let (about, metadata) = read(object);
    let id = |name: &str| metadata.get(name).and_then(|text| Uuid::parse_str(text).ok());
    Ok(Event {
        reservation_id: id("reservation_id"),
        payment_id: id("payment_id"),
        id: event.id,
        kind: event.kind,
        about,
    })
}

/// Postgres stores no U+0000, and texts that others write into the provider's objects must not be refused: it becomes U+FFFD.
fn without_nul(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_nul),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(without_nul),
        _ => {}
    }
}

fn read(object: serde_json::Value) -> (About, Metadata) {
    let noun = object["object"].as_str().unwrap_or_default().to_owned();
    let parsed = match noun.as_str() {
        "payment_intent" => serde_json::from_value::<Intent>(object)
            .map(|intent| (attempt(&intent.metadata, intent.view()), intent.metadata)),
        "checkout.session" => serde_json::from_value::<Session>(object).map(|session| {
            let metadata = session.metadata.clone();
            (attempt(&metadata, session.view()), metadata)
        }),
        "refund" => serde_json::from_value::<StripeRefund>(object).map(|refund| {
            let metadata = refund.metadata.clone();
            let id = metadata.get("refund_id").and_then(|text| Uuid::parse_str(text).ok());
            let tries = metadata.get("try").and_then(|text| text.parse().ok()).unwrap_or(1);
            (About::Refund { id, tries, view: refund.view() }, metadata)
        }),
        "dispute" => serde_json::from_value::<StripeDispute>(object)
            .map(|dispute| (About::Dispute(dispute.view()), Metadata::new())),
        // A charge has nothing that its payment intent or refund lacks.
        _ => return (About::Other, Metadata::new()),
    };
    parsed.unwrap_or_else(|error| {
        tracing::warn!(object = noun, %error, "an object of the payment provider that we cannot read");
        (About::Other, Metadata::new())
    })
}

fn attempt(metadata: &Metadata, view: AttemptView) -> About {
    About::Attempt { number: metadata.get("attempt").and_then(|text| text.parse().ok()), view }
}
