//! The pay page's texts, in the languages that Marquee has. Stripe's page has many more; `locale` chooses there, too.

use std::borrow::Cow;

use crate::fault::Fault;
use crate::rules::counted;

pub struct Words {
    pub language: &'static str,
    pub title: &'static str,
    pub number: &'static str,
    pay: &'static str,
    pub back: &'static str,
    pub go_on: &'static str,
    pub paid_already: &'static str,
    pub has_expired: &'static str,
    pub not_a_card: &'static str,
    pub cards: &'static str,
}

const ENGLISH: Words = Words {
    language: "en",
    title: "Pay (sandbox)",
    number: "Card number",
    pay: "Pay",
    back: "Cancel and go back",
    go_on: "Continue",
    paid_already: "This has been paid already.",
    has_expired: "This payment page has expired. Nothing was charged.",
    not_a_card: "This is not one of the test cards below.",
    cards: "Test payments only, no money moves. 4242 4242 4242 4242 pays, 4000 0000 0000 0002 is declined, \
            4000 0000 0000 9995 lacks the funds, 4000 0000 0000 0069 has expired, 4000 0000 0000 0259 pays and disputes it.",
};

const GERMAN: Words = Words {
    language: "de",
    title: "Bezahlen (Sandbox)",
    number: "Kartennummer",
    pay: "Bezahlen:",
    back: "Abbrechen und zurück",
    go_on: "Weiter",
    paid_already: "Das ist schon bezahlt.",
    has_expired: "Diese Bezahlseite ist abgelaufen. Es wurde nichts abgebucht.",
    not_a_card: "Das ist keine der Testkarten unten.",
    cards: "Nur Testzahlungen, es fließt kein Geld. 4242 4242 4242 4242 bezahlt, 4000 0000 0000 0002 wird abgelehnt, \
            4000 0000 0000 9995 ist nicht gedeckt, 4000 0000 0000 0069 ist abgelaufen, \
            4000 0000 0000 0259 bezahlt und widerspricht dann.",
};

impl Words {
    /// By the session's `locale`; English where it is another or none.
    pub fn of(locale: Option<&str>) -> &'static Self {
        if locale.is_some_and(|locale| locale == "de") { &GERMAN } else { &ENGLISH }
    }

    fn is_german(&self) -> bool {
        self.language == GERMAN.language
    }

    /// `EUR 24.00` or `24,00 EUR`, with Stripe's number of decimals.
    pub fn sum(&self, units: i64, currency: &str) -> String {
        let code = currency.to_ascii_uppercase();
        let plain = counted(currency).map_or_else(|| units.to_string(), |currency| currency.plain(units));
        if self.is_german() {
            format!("{} {code}", plain.replace('.', ","))
        } else {
            format!("{code} {plain}")
        }
    }

    /// The button's text.
    pub fn pay(&self, sum: &str) -> String {
        format!("{} {sum}", self.pay)
    }

    /// Why the card did not pay.
    pub fn declined(&self, fault: &Fault) -> Cow<'static, str> {
        if !self.is_german() {
            return fault.message.clone();
        }
        Cow::Borrowed(match fault.decline_code.as_deref().or(fault.code.as_deref()) {
            Some("insufficient_funds") => "Auf der Karte ist nicht genug Geld.",
            Some("expired_card") => "Die Karte ist abgelaufen.",
            Some("incorrect_cvc") => "Die Prüfziffer ist falsch.",
            _ => "Die Karte wurde abgelehnt.",
        })
    }
}
