//! The provider's webhooks: whether they are the provider's, and what they tell.
//!
//! Invariant: nothing is read before the signature is right, over the raw bytes and within five minutes both ways
//! (docs.stripe.com/webhooks/signature; the official libraries let a future time pass).

use bus::contract::payment::Rejection;
use ring::hmac;
use serde::Deserialize;
use uuid::Uuid;

use super::provider::{DisputeSight, RefundSight, Sight};
use super::wire::{Intent, Metadata, Session, StripeDispute, StripeRefund};

/// Older ones may be somebody's recording.
const TOLERANCE_SECONDS: u64 = 300;

/// Stripe's ids are shorter by far.
const ID_MAX: usize = 200;
/// What the objects of event destinations are called (docs.stripe.com/event-destinations).
const THIN: &str = "v2.core.";

/// One event of the provider.
#[derive(Debug)]
pub struct Notice {
    pub id: String,
    pub kind: String,
    pub about: About,
    /// From the metadata that we gave the object.
    pub reservation_id: Option<Uuid>,
    pub payment_id: Option<Uuid>,
}

#[derive(Debug)]
pub enum About {
    Attempt {
        number: Option<i32>,
        sight: Sight,
    },
    Refund {
        id: Option<Uuid>,
        tries: i32,
        sight: RefundSight,
    },
    /// A dispute does not carry our metadata: its payment is found by the intent.
    Dispute(DisputeSight),
    /// Kept, but nothing follows from it.
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

/// Reads a verified body. What is not an event at all is refused; an event that means nothing to us is not. Thin events,
/// which name an object and do not hold it, are kept: the object's own event is sent as well, and the reconciler reads all.
pub fn parse(body: &[u8]) -> Result<Notice, Rejection> {
    #[derive(Deserialize)]
    struct Event {
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
    let event: Event = serde_json::from_value(event).map_err(|_| Rejection::BadWebhook)?;
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
    Ok(Notice {
        reservation_id: id("reservation_id"),
        payment_id: id("payment_id"),
        id: event.id,
        kind: event.kind,
        about,
    })
}

/// Postgres keeps no U+0000, and what others write into the provider's objects is not ours to refuse: it becomes U+FFFD.
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
    let known = match noun.as_str() {
        "payment_intent" => serde_json::from_value::<Intent>(object)
            .map(|intent| (attempt(&intent.metadata, intent.sight()), intent.metadata)),
        "checkout.session" => serde_json::from_value::<Session>(object).map(|session| {
            let metadata = session.metadata.clone();
            (attempt(&metadata, session.sight()), metadata)
        }),
        "refund" => serde_json::from_value::<StripeRefund>(object).map(|refund| {
            let metadata = refund.metadata.clone();
            let id = metadata.get("refund_id").and_then(|text| Uuid::parse_str(text).ok());
            let tries = metadata.get("try").and_then(|text| text.parse().ok()).unwrap_or(1);
            (About::Refund { id, tries, sight: refund.sight() }, metadata)
        }),
        "dispute" => serde_json::from_value::<StripeDispute>(object)
            .map(|dispute| (About::Dispute(dispute.sight()), Metadata::new())),
        // A charge tells nothing that its payment intent or refund does not.
        _ => return (About::Other, Metadata::new()),
    };
    known.unwrap_or_else(|error| {
        tracing::warn!(object = noun, %error, "an object of the payment provider that we cannot read");
        (About::Other, Metadata::new())
    })
}

fn attempt(metadata: &Metadata, sight: Sight) -> About {
    About::Attempt { number: metadata.get("attempt").and_then(|text| text.parse().ok()), sight }
}
