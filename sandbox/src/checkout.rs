//! The rules of checkout sessions: creating, paying, declining and expiring one.
//! Invariant: a session is paid at most once, and an expired one never captures; its payment intent is canceled with it. A
//! decline leaves it open, so the customer may use another card.

use std::sync::Arc;

use crate::cards::Card;
use crate::fault::Fault;
use crate::form::Form;
use crate::model::{IntentStatus, Object, PaymentIntent, Session, SessionStatus};
use crate::outcome::{Decision, Moment, Outcome, event, new_id};
use crate::rules;
use crate::store::{Record, Store};

/// Stripe's limits for `expires_at`: 30 minutes to 24 hours, 24 hours when absent.
const OPEN_SECONDS_MIN: i64 = 30 * 60;
const OPEN_SECONDS_MAX: i64 = 24 * 60 * 60;

pub fn create(_: &Store, form: &Form, moment: Moment) -> Decision {
    form.only(&[
        "mode",
        "line_items",
        "success_url",
        "cancel_url",
        "expires_at",
        "metadata",
        "payment_intent_data",
        "client_reference_id",
        "customer_email",
        "payment_method_types",
        "locale",
        "submit_type",
        "expand",
    ])?;
    if form.need("mode")? != "payment" {
        return Err(Fault::invalid("This sandbox supports only mode=payment.").param("mode"));
    }
    if form.get("line_items[1][quantity]").is_some() {
        return Err(Fault::invalid("This sandbox supports only a single line item.").param("line_items"));
    }
    let (unit_amount, currency) =
        rules::price(form, "line_items[0][price_data][unit_amount]", "line_items[0][price_data][currency]")?;
    let quantity = form.integer("line_items[0][quantity]")?.unwrap_or(1);
    let amount_total = unit_amount.checked_mul(quantity).filter(|total| *total > 0);
    let amount_total =
        amount_total.ok_or_else(|| Fault::invalid("Invalid quantity").param("line_items[0][quantity]"))?;
    let expires_at = form.integer("expires_at")?.unwrap_or(moment.now + OPEN_SECONDS_MAX);
    let open_seconds = expires_at - moment.now;
    if !(OPEN_SECONDS_MIN..=OPEN_SECONDS_MAX).contains(&open_seconds) {
        let bound =
            if open_seconds < OPEN_SECONDS_MIN { "at least 30 minutes" } else { "less than 24 hours" };
        let message = format!("The `expires_at` timestamp must be {bound} from Checkout Session creation.");
        return Err(Fault::invalid(message).param("expires_at"));
    }
    let cancel_url = form.get("cancel_url").map(|url| web_url(url, "cancel_url")).transpose()?;
    let session = Arc::new(Session {
        id: new_id("cs_test_"),
        created: moment.now,
        expires_at,
        status: SessionStatus::Open,
        amount_total,
        currency,
        product_name: form.need("line_items[0][price_data][product_data][name]")?.to_owned(),
        product_description: form
            .get("line_items[0][price_data][product_data][description]")
            .map(str::to_owned),
        locale: form.get("locale").map(str::to_owned),
        success_url: web_url(form.need("success_url")?, "success_url")?,
        cancel_url,
        client_reference_id: form.get("client_reference_id").map(str::to_owned),
        metadata: form.metadata("metadata")?,
        intent_metadata: form.metadata("payment_intent_data[metadata]")?,
        payment_intent: None,
    });
    Ok(Outcome::accepted(vec![Record::Session(session.clone())], Object::Session(session)))
}

/// The customer submits the pay page; again after a success it changes nothing and returns the paid session.
pub fn pay(store: &Store, id: &str, card: &Card, moment: Moment) -> Decision {
    let session = find(store, id)?;
    match session.status {
        SessionStatus::Complete => {
            return Ok(Outcome::accepted(Vec::new(), Object::Session(session.clone())));
        }
        SessionStatus::Expired => return Ok(expired_already(session)),
        SessionStatus::Open => {}
    }
    if moment.now >= session.expires_at {
        let (records, session) = expired(store, session, moment.now);
        return Ok(Outcome { records, ..expired_already(&session) });
    }
    let existing = session.payment_intent.as_deref().and_then(|id| store.intents.get(id));
    let intent =
        existing.map_or_else(|| new_intent(session, moment.now), |intent| PaymentIntent::clone(intent));
    let collected = rules::collect(
        PaymentIntent { method: Some(rules::method(card)), ..intent.clone() },
        card,
        moment.now,
    );
    let paid = collected.answer.fault.is_none();
    let session = Arc::new(Session {
        payment_intent: Some(intent.id),
        status: if paid { SessionStatus::Complete } else { SessionStatus::Open },
        ..Session::clone(session)
    });
    let mut records = collected.records;
    records.push(Record::Session(session.clone()));
    Ok(match collected.answer.fault {
        Some(fault) => Outcome::rejected(records, fault, Object::Session(session)),
        None => {
            records.push(event("checkout.session.completed", &session.id, moment.now));
            Outcome {
                afterwards: collected.afterwards,
                ..Outcome::accepted(records, Object::Session(session))
            }
        }
    })
}

fn new_intent(session: &Session, now: i64) -> PaymentIntent {
    PaymentIntent {
        id: new_id("pi_"),
        created: now,
        amount: session.amount_total,
        currency: session.currency.clone(),
        status: IntentStatus::RequiresPaymentMethod,
        metadata: session.intent_metadata.clone(),
        session: Some(session.id.clone()),
        method: None,
        charge: None,
        last_error: None,
        canceled: None,
    }
}

pub fn expire(store: &Store, id: &str, form: &Form, moment: Moment) -> Decision {
    form.only(&["expand"])?;
    let session = find(store, id)?;
    if session.status != SessionStatus::Open {
        return Ok(expired_already(session));
    }
    let (records, session) = expired(store, session, moment.now);
    Ok(Outcome::accepted(records, Object::Session(session)))
}

/// The records that close an open session.
fn expired(store: &Store, session: &Session, now: i64) -> (Vec<Record>, Arc<Session>) {
    let session = Arc::new(Session { status: SessionStatus::Expired, ..session.clone() });
    let mut records =
        vec![Record::Session(session.clone()), event("checkout.session.expired", &session.id, now)];
    if let Some(intent) = session.payment_intent.as_deref().and_then(|id| store.intents.get(id)) {
        records.extend(rules::canceled(intent, "abandoned", now).0);
    }
    (records, session)
}

fn expired_already(session: &Arc<Session>) -> Outcome {
    let status = if session.status == SessionStatus::Complete { "complete" } else { "expired" };
    let message = format!(
        "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of \
         `{status}`."
    );
    Outcome::rejected(Vec::new(), Fault::invalid(message), Object::Session(session.clone()))
}

pub fn find<'a>(store: &'a Store, id: &str) -> Result<&'a Arc<Session>, Fault> {
    store.sessions.get(id).ok_or_else(|| Fault::missing(404, "checkout.session", id, "session"))
}

/// Only http and https: the page links and redirects to it.
fn web_url(text: &str, name: &str) -> Result<String, Fault> {
    // The braces of the template are not valid in a URL.
    let filled = text.replace("{CHECKOUT_SESSION_ID}", "id");
    let valid = reqwest::Url::parse(&filled).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if valid {
        Ok(text.to_owned())
    } else {
        Err(Fault::invalid("Not a valid URL").code("url_invalid").param(name))
    }
}
