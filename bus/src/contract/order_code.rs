//! An order's code: the short name by which people find an order, at the box office, at the door and on the phone.
//!
//! Invariant: it has eight characters of `ALPHABET`, which leaves out those that are mistaken for each other. Reservation
//! keeps it unique. It gives no right to anything: a ticket's signature does.

use std::borrow::Cow;
use std::fmt;

use rand::Rng;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Without 0 and O, 1, I and L, and without U, so that few words appear by chance.
const ALPHABET: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 30⁸ codes: with a million orders one draw in 600,000 meets a code that exists.
const LENGTH: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OrderCode([u8; LENGTH]);

impl OrderCode {
    pub fn random() -> Self {
        let mut random = rand::rng();
        Self(std::array::from_fn(|_| ALPHABET[random.random_range(0..ALPHABET.len())]))
    }

    /// Reads a code as people type it: in any case, with spaces and dashes anywhere.
    pub fn parse(text: &str) -> Option<Self> {
        let typed = text.chars().filter(|letter| !letter.is_whitespace() && !is_dash(*letter));
        let letters: Option<Vec<u8>> = typed.map(|letter| u8::try_from(letter).ok()).collect();
        let letters: [u8; LENGTH] = letters?.try_into().ok()?;
        let letters = letters.map(|letter| letter.to_ascii_uppercase());
        letters.iter().all(|letter| ALPHABET.contains(letter)).then_some(Self(letters))
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("a code has only ASCII characters")
    }
}

/// The hyphens and dashes of keyboards and of text programs, and the underscore.
fn is_dash(letter: char) -> bool {
    matches!(letter, '-' | '_' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// As people read it, in two groups: `K7M2-QX4D`.
impl fmt::Display for OrderCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = self.as_str().split_at(LENGTH / 2);
        write!(f, "{first}-{second}")
    }
}

impl fmt::Debug for OrderCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Without the dash, which only displays add.
impl Serialize for OrderCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for OrderCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("must be an order code such as K7M2-QX4D"))
    }
}

impl JsonSchema for OrderCode {
    fn schema_name() -> Cow<'static, str> {
        "OrderCode".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_in_any_case_and_grouping() {
        let code = OrderCode::parse("K7M2QX4D").unwrap();
        assert_eq!((code.as_str(), code.to_string().as_str()), ("K7M2QX4D", "K7M2-QX4D"));
        for typed in ["k7m2qx4d", "K7M2-QX4D", " k7 m2 qx 4d ", "k7m2–qx4d", "K-7-M-2_QX4D", "k7m2\u{a0}qx4d"]
        {
            assert_eq!(OrderCode::parse(typed), Some(code), "{typed}");
        }
        for other in ["", "K7M2QX4", "K7M2QX4DD", "K7M2QX40", "K7M2QXOI", "K7M2QX4Ä", "ada@marquee.example"]
        {
            assert_eq!(OrderCode::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_random_code_can_be_read_and_has_no_letter_that_looks_like_another() {
        for _ in 0..10_000 {
            let code = OrderCode::random();
            assert_eq!(OrderCode::parse(&code.to_string()), Some(code));
            assert!(!code.as_str().contains(['0', 'O', '1', 'I', 'L', 'U']), "{code}");
        }
    }
}
