//! The rules of payment intents as pure functions: from the state, the parameters and the moment to records and an answer.
//! As at Stripe there are two kinds of rejection: `Err` if validation fails before the call runs (not stored under the
//! idempotency key), and a fault in the outcome if the call ran and was rejected (stored and replayed).
//! Invariant: a payment intent is captured at most once, and a capture is final; only a refund returns money.

use std::sync::Arc;

use bus::contract::Currency;
use bus::contract::currency::AtProvider;

use crate::cards::{self, Card};
use crate::disputes;
use crate::fault::Fault;
use crate::form::Form;
use crate::model::{Charge, IntentStatus, Method, Object, PaymentIntent};
use crate::outcome::{Decision, Moment, Outcome, event, new_id};
use crate::store::{Record, Store};

pub fn create_intent(_: &Store, form: &Form, moment: Moment) -> Decision {
    form.only(&[
        "amount",
        "currency",
        "payment_method",
        "payment_method_types",
        "confirm",
        "metadata",
        "automatic_payment_methods",
        "error_on_requires_action",
        "off_session",
        "description",
        "receipt_email",
        "statement_descriptor_suffix",
        "capture_method",
        "expand",
    ])?;
    let (amount, currency) = price(form, "amount", "currency")?;
    if form.get("capture_method") == Some("manual") {
        return Err(Fault::invalid("This sandbox supports only automatic capture.").param("capture_method"));
    }
    let card = form.get("payment_method").map(known_card).transpose()?;
    let intent = PaymentIntent {
        id: new_id("pi_"),
        created: moment.now,
        amount,
        currency,
        status: match card {
            Some(_) => IntentStatus::RequiresConfirmation,
            None => IntentStatus::RequiresPaymentMethod,
        },
        metadata: form.metadata("metadata")?,
        session: None,
        method: card.map(method),
        charge: None,
        last_error: None,
        canceled: None,
    };
    if !form.boolean("confirm")? {
        let intent = Arc::new(intent);
        return Ok(Outcome::accepted(vec![Record::Intent(intent.clone())], Object::Intent(intent)));
    }
    let card = card.ok_or_else(no_method)?;
    Ok(collect(intent, card, moment.now))
}

pub fn confirm_intent(store: &Store, id: &str, form: &Form, moment: Moment) -> Decision {
    form.only(&["payment_method", "error_on_requires_action", "off_session", "return_url", "expand"])?;
    let intent = find_intent(store, id)?;
    let new_card = form.get("payment_method").map(known_card).transpose()?;
    let stored_card = intent.method.as_ref().and_then(|method| cards::by_token(&method.token));
    match intent.status {
        IntentStatus::Succeeded | IntentStatus::Canceled => {
            let why = match intent.status {
                IntentStatus::Succeeded => "it has already succeeded after being previously confirmed",
                _ => "it has a status of canceled",
            };
            let message = format!("You cannot confirm this PaymentIntent because {why}.");
            let fault = Fault::invalid(message).code("payment_intent_unexpected_state");
            Ok(Outcome::rejected(Vec::new(), fault, Object::Intent(intent.clone())))
        }
        IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation => {
            // After a decline the stored method cannot be used, as at Stripe: the call has to name a new one.
            let usable = if intent.status == IntentStatus::RequiresConfirmation { stored_card } else { None };
            let card = new_card.or(usable).ok_or_else(no_method)?;
            let intent = PaymentIntent { method: Some(method(card)), ..PaymentIntent::clone(intent) };
            Ok(collect(intent, card, moment.now))
        }
    }
}

/// Charges the card: the only function that captures a payment.
pub fn collect(intent: PaymentIntent, card: &Card, now: i64) -> Outcome {
    let refusal = card.refusal();
    let paid = refusal.is_none();
    let charge = Charge { id: new_id("ch_"), created: now, paid, refunded: 0, disputed: false };
    let intent = Arc::new(PaymentIntent {
        status: if paid { IntentStatus::Succeeded } else { IntentStatus::RequiresPaymentMethod },
        charge: Some(charge),
        last_error: refusal.clone(),
        ..intent
    });
    let kind = if paid { "payment_intent.succeeded" } else { "payment_intent.payment_failed" };
    let records = vec![Record::Intent(intent.clone()), event(kind, &intent.id, now)];
    match refusal {
        None => Outcome {
            afterwards: if card.disputes { disputes::raise(&intent, now) } else { Vec::new() },
            ..Outcome::accepted(records, Object::Intent(intent))
        },
        Some(fault) => Outcome::rejected(records, fault, Object::Intent(intent)),
    }
}

pub fn cancel_intent(store: &Store, id: &str, form: &Form, moment: Moment) -> Decision {
    form.only(&["cancellation_reason", "expand"])?;
    let intent = find_intent(store, id)?;
    let reason = form.get("cancellation_reason").unwrap_or("requested_by_customer");
    if matches!(intent.status, IntentStatus::Succeeded | IntentStatus::Canceled) {
        let status = if intent.status == IntentStatus::Succeeded { "succeeded" } else { "canceled" };
        let message = format!(
            "You cannot cancel this PaymentIntent because it has a status of {status}. Only a PaymentIntent with one \
             of the following statuses may be canceled: requires_payment_method, requires_capture, \
             requires_confirmation, requires_action, processing."
        );
        let fault = Fault::invalid(message).code("payment_intent_unexpected_state");
        return Ok(Outcome::rejected(Vec::new(), fault, Object::Intent(intent.clone())));
    }
    if intent.session.is_some() {
        let message =
            "You cannot cancel a PaymentIntent that a Checkout Session created. Expire the session instead.";
        let fault = Fault::invalid(message).code("payment_intent_unexpected_state");
        return Ok(Outcome::rejected(Vec::new(), fault, Object::Intent(intent.clone())));
    }
    let (records, intent) = canceled(intent, reason, moment.now);
    Ok(Outcome::accepted(records, Object::Intent(intent)))
}

pub fn canceled(intent: &PaymentIntent, reason: &str, now: i64) -> (Vec<Record>, Arc<PaymentIntent>) {
    let intent = Arc::new(PaymentIntent {
        status: IntentStatus::Canceled,
        canceled: Some((now, reason.to_owned())),
        ..intent.clone()
    });
    let records = vec![Record::Intent(intent.clone()), event("payment_intent.canceled", &intent.id, now)];
    (records, intent)
}

pub fn find_intent<'a>(store: &'a Store, id: &str) -> Result<&'a Arc<PaymentIntent>, Fault> {
    store.intents.get(id).ok_or_else(|| Fault::missing(404, "payment_intent", id, "intent"))
}

pub fn method(card: &Card) -> Method {
    Method { id: new_id("pm_"), token: card.token() }
}

/// Reads an amount and its currency and checks them by Stripe's rules (docs.stripe.com/currencies).
pub fn price(form: &Form, amount: &str, currency: &str) -> Result<(i64, String), Fault> {
    form.need(amount)?;
    let units = form.integer(amount)?.unwrap_or(0);
    if units < 1 {
        return Err(not_positive(amount));
    }
    let code = form.need(currency)?;
    let rules =
        counted(code).ok_or_else(|| Fault::invalid(format!("Invalid currency: {code}")).param(currency))?;
    if units < rules.least {
        let message = format!("Amount must be at least {} {code}", rules.plain(rules.least));
        return Err(Fault::invalid(message).code("amount_too_small").param(amount));
    }
    if units > rules.greatest {
        let message = format!("Amount must be no more than {} {code}", rules.plain(rules.greatest));
        return Err(Fault::invalid(message).code("amount_too_large").param(amount));
    }
    divisible(units, rules, amount)?;
    Ok((units, code.to_ascii_lowercase()))
}

/// Stripe's rules for a currency: ISK and UGX have two decimals that are always 0; of three decimals the last is always 0.
pub fn counted(code: &str) -> Option<AtProvider> {
    Currency::parse(&code.to_ascii_uppercase()).map(Currency::at_provider)
}

/// Rejects an amount that the currency does not have.
pub fn divisible(units: i64, rules: AtProvider, name: &str) -> Result<(), Fault> {
    if units % rules.step == 0 {
        return Ok(());
    }
    let message = format!("Invalid amount: {units} is not evenly divisible by {}", rules.step);
    Err(Fault::invalid(message).code("invalid_charge_amount").param(name))
}

fn known_card(token: &str) -> Result<&'static Card, Fault> {
    cards::by_token(token).ok_or_else(|| Fault::missing(400, "PaymentMethod", token, "payment_method"))
}

fn no_method() -> Fault {
    let message = "You cannot confirm this PaymentIntent because it's missing a payment method.";
    Fault::invalid(message).code("payment_intent_unexpected_state")
}

pub fn not_positive(name: &str) -> Fault {
    Fault::invalid("This value must be greater than or equal to 1.")
        .code("parameter_invalid_integer")
        .param(name)
}
