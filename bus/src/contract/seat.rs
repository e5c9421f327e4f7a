//! A seat's id.

use std::borrow::{Borrow, Cow};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use unicode_normalization::is_nfc;

/// The id of a seat within its hall: row label and number, such as `C7`. Where the label ends with a digit a dash stands
/// between them, so that row 1 seat 11 (`1-11`) and row 11 seat 1 (`11-1`) are two seats. Only [`SeatId::new`] makes ids.
///
/// Invariant: it has the form that [`SeatId::parse`] accepts; the showtime checks whether the hall has the seat.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SeatId(String);

impl SeatId {
    pub fn new(row: &str, number: u16) -> Self {
        let dash = if row.ends_with(char::is_numeric) { "-" } else { "" };
        Self(format!("{row}{dash}{number}"))
    }

    /// A row's label and 1–3 digits, with a dash between them where the label ends with a digit.
    pub fn parse(text: &str) -> Option<Self> {
        let row = text.trim_end_matches(|c: char| c.is_ascii_digit());
        let (label, has_dash) = row.strip_suffix('-').map_or((row, false), |label| (label, true));
        let is_id = (1..=3).contains(&(text.len() - row.len()))
            && is_row_label(label)
            && label.ends_with(char::is_numeric) == has_dash;
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

/// Whether a text may be a row's label. Seat ids are joined by commas and slashes elsewhere, so a label has neither; only NFC is
/// allowed, so that two labels that look the same are equal.
pub fn is_row_label(label: &str) -> bool {
    (1..=8).contains(&label.chars().count()) && label.chars().all(char::is_alphanumeric) && is_nfc(label)
}

#[cfg(test)]
mod tests {
    use super::SeatId;

    #[test]
    fn row_1_seat_11_and_row_11_seat_1_are_two_seats() {
        let id = |row, number| SeatId::new(row, number).as_str().to_owned();
        assert_eq!([id("1", 11), id("11", 1), id("A", 7), id("A1", 7)], ["1-11", "11-1", "A7", "A1-7"]);
    }

    #[test]
    fn a_seat_id_is_a_label_and_a_number_with_a_dash_after_a_digit() {
        for (row, number) in [("A", 7), ("11", 1), ("1", 11), ("Loge", 999), ("Ä", 1), ("B2", 3), ("Ряд", 12)]
        {
            let id = SeatId::new(row, number);
            assert_eq!(SeatId::parse(id.as_str()), Some(id.clone()), "{row} {number}");
        }
        for id in [
            "",
            "7",
            "A",
            "-7",
            "A-7",
            "11",
            "A1-",
            "A,7",
            "A/7",
            "A1234",
            "A1-1234",
            "A 7",
            "1--1",
            "123456789-1",
        ] {
            assert_eq!(SeatId::parse(id), None, "{id}");
        }
    }
}
