//! A seat's id, and one seat of an order with its price.

use std::borrow::{Borrow, Cow};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Money;

/// The id of a seat within its hall: row label and number, such as `C7`. Only [`SeatId::new`] makes ids.
///
/// Invariant: it has the form that [`SeatId::parse`] accepts; whether the hall has the seat is the showtime's to say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SeatId(String);

impl SeatId {
    pub fn new(row: &str, number: u16) -> Self {
        Self(format!("{row}{number}"))
    }

    /// 1–3 letters A–Z and 1–3 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
        let digits = &text.as_bytes()[letters..];
        let is_id = (1..=3).contains(&letters)
            && (1..=3).contains(&digits.len())
            && digits.iter().all(u8::is_ascii_digit);
        is_id.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The ids as people read them: `C7, C8`.
pub fn seat_list<'a>(seats: impl IntoIterator<Item = &'a SeatId>) -> String {
    seats.into_iter().map(SeatId::as_str).collect::<Vec<_>>().join(", ")
}

impl std::fmt::Display for SeatId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for SeatId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SeatId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("must be a seat id such as C7"))
    }
}

impl JsonSchema for SeatId {
    fn schema_name() -> Cow<'static, str> {
        "SeatId".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

/// One seat of an order at the price that it was ordered for. The prices of an order's lines add up to its total.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    pub seat: SeatId,
    pub price: Money,
}
