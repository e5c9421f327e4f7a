//! Declined cards: how many direct charges may be declined before only the hosted page is left, and what customers are
//! told of a decline. Both are against card testing: trying stolen numbers to learn which of them work.
//!
//! Invariant: a charge beyond the bounds is refused before the provider is asked. The bound by order follows from the
//! payment's own row; the bound by account is counted in the transaction that writes the attempt (`store/attempts.rs`).

use super::hear::NO_SUCH_METHOD;
use super::model::{Attempt, Kind, Payment, State};

/// Stripe's general decline, which gives no reason (docs.stripe.com/declines/codes).
pub const GENERAL: &str = "generic_decline";

/// Codes that help an honest customer and say nothing about a stolen card. Every other decline reads as the general one:
/// lost, stolen, fraudulent, pick up, restricted, and codes that Stripe adds later.
const TOLD: [&str; 20] = [
    GENERAL,
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
    // No decline: the provider does not know the token.
    NO_SUCH_METHOD,
];

/// The code of a decline as customers read it.
pub fn told(code: &str) -> &str {
    if TOLD.contains(&code) { code } else { GENERAL }
}

/// Whether an attempt is a direct charge that was declined. A token that the provider does not know is no card.
pub fn is_decline(attempt: &Attempt) -> bool {
    let charge = matches!(attempt.kind, Kind::Token { .. });
    charge && attempt.state == State::Declined && attempt.code.as_deref() != Some(NO_SUCH_METHOD)
}

/// How many direct charges of the order were declined.
pub fn of_order(payment: &Payment) -> usize {
    payment.attempts.iter().filter(|attempt| is_decline(attempt)).count()
}
