//! Stripe's test cards (docs.stripe.com/testing): which tokens and numbers pay, and how the others are declined.
//! As at Stripe, the API takes tokens and only the pay page takes numbers.

use crate::fault::Fault;

/// A test card.
#[derive(Debug)]
pub struct Card {
    pub brand: &'static str,
    pub number: &'static str,
    token: &'static str,
    decline: Option<(&'static str, &'static str, &'static str)>,
    /// The payment succeeds and is disputed at once.
    pub disputes: bool,
}

const fn card(
    brand: &'static str,
    number: &'static str,
    token: &'static str,
    decline: Option<(&'static str, &'static str, &'static str)>,
) -> Card {
    Card { brand, number, token, decline, disputes: false }
}

/// `decline` is code, decline code and the message for the customer.
static CARDS: [Card; 12] = [
    Card { disputes: true, ..card("visa", "4000000000000259", "createDispute", None) },
    card("visa", "4242424242424242", "visa", None),
    card("visa", "4000056655665556", "visa_debit", None),
    card("mastercard", "5555555555554444", "mastercard", None),
    card("amex", "378282246310005", "amex", None),
    card(
        "visa",
        "4000000000000002",
        "chargeDeclined",
        Some(("card_declined", "generic_decline", "Your card was declined.")),
    ),
    card(
        "visa",
        "4000000000009995",
        "chargeDeclinedInsufficientFunds",
        Some(("card_declined", "insufficient_funds", "Your card has insufficient funds.")),
    ),
    card(
        "visa",
        "4000000000009987",
        "chargeDeclinedLostCard",
        Some(("card_declined", "lost_card", "Your card was declined.")),
    ),
    card(
        "visa",
        "4000000000000069",
        "chargeDeclinedExpiredCard",
        Some(("expired_card", "expired_card", "Your card has expired.")),
    ),
    card(
        "visa",
        "4000000000000127",
        "chargeDeclinedIncorrectCvc",
        Some(("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.")),
    ),
    card(
        "visa",
        "4000000000000119",
        "chargeDeclinedProcessingError",
        Some((
            "processing_error",
            "processing_error",
            "An error occurred while processing your card. Try again in a little bit.",
        )),
    ),
    // There is no customer who could authenticate: declined at once, as by Stripe with `error_on_requires_action=true`.
    card(
        "visa",
        "4000002760003184",
        "authenticationRequired",
        Some((
            "authentication_required",
            "authentication_required",
            "Your card was declined. This transaction requires authentication.",
        )),
    ),
];

/// The card of the token `pm_card_…`; Stripe accepts both `chargeDeclined…` and `visa_chargeDeclined…`.
pub fn by_token(token: &str) -> Option<&'static Card> {
    let name = token.strip_prefix("pm_card_")?;
    let short = name.strip_prefix("visa_").unwrap_or(name);
    CARDS.iter().find(|card| card.token == name).or_else(|| CARDS.iter().find(|card| card.token == short))
}

/// The card with this number; blanks and dashes are ignored.
pub fn by_number(typed: &str) -> Option<&'static Card> {
    let digits: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    CARDS.iter().find(|card| card.number == digits)
}

impl Card {
    pub fn last4(&self) -> &'static str {
        &self.number[self.number.len() - 4..]
    }

    pub fn token(&self) -> String {
        format!("pm_card_{}", self.token)
    }

    /// Why the card is declined, if it is.
    pub fn refusal(&self) -> Option<Fault> {
        let (code, decline_code, message) = self.decline?;
        let fault = Fault::declined(code, decline_code, message);
        Some(match code {
            "expired_card" => fault.param("exp_month"),
            "incorrect_cvc" => fault.param("cvc"),
            _ => fault,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_is_found_by_token_and_by_number() {
        for card in &CARDS {
            assert_eq!(by_token(&card.token()).unwrap().number, card.number);
            assert_eq!(by_number(card.number).unwrap().number, card.number);
        }
        let spelled = by_token("pm_card_visa_chargeDeclinedInsufficientFunds").unwrap();
        assert_eq!(spelled.refusal().unwrap().decline_code.unwrap(), "insufficient_funds");
        assert_eq!(by_number("4242 4242 4242 4242").unwrap().last4(), "4242");
        assert!(by_token("pm_card_unheardOf").is_none() && by_token("4242424242424242").is_none());
    }
}
