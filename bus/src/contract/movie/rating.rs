//! Age ratings: the known schemes with their values, and the rating of a movie.
//!
//! Invariant: this table is the only list of schemes. Requests are checked against it, and the page reads it by
//! `GET /v1/rating-schemes`. Rows and events have plain texts, so that a value of a newer version is read as well.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{Fields, Rule};

/// A movie's rating by one scheme, such as FSK 12.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgeRating {
    /// A code of `GET /v1/rating-schemes`.
    pub scheme: String,
    /// One of the scheme's values.
    pub value: String,
}

/// A scheme of age ratings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RatingScheme {
    pub code: &'static str,
    /// ISO 3166-1 alpha-2 of the country whose scheme it is.
    pub country: &'static str,
    /// From the youngest audience to the oldest.
    pub values: &'static [RatingValue],
}

/// A value of a scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RatingValue {
    pub value: &'static str,
    /// The age in years from which a person may see the movie alone; 0 for all ages.
    pub age: u8,
}

/// The answer of `GET /v1/rating-schemes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RatingSchemes {
    pub items: &'static [RatingScheme],
}

const fn of(value: &'static str, age: u8) -> RatingValue {
    RatingValue { value, age }
}

const fn scheme(code: &'static str, country: &'static str, values: &'static [RatingValue]) -> RatingScheme {
    RatingScheme { code, country, values }
}

/// Every scheme, by code.
pub const RATING_SCHEMES: &[RatingScheme] = &[
    scheme("ACB", "AU", &[of("G", 0), of("PG", 0), of("M", 0), of("MA15+", 15), of("R18+", 18)]),
    scheme(
        "BBFC",
        "GB",
        &[of("U", 0), of("PG", 0), of("12A", 12), of("12", 12), of("15", 15), of("18", 18), of("R18", 18)],
    ),
    scheme("CNC", "FR", &[of("TP", 0), of("12", 12), of("16", 16), of("18", 18)]),
    scheme("EIRIN", "JP", &[of("G", 0), of("PG12", 0), of("R15+", 15), of("R18+", 18)]),
    scheme("FSK", "DE", &[of("0", 0), of("6", 6), of("12", 12), of("16", 16), of("18", 18)]),
    scheme("ICAA", "ES", &[of("A", 0), of("7", 7), of("12", 12), of("16", 16), of("18", 18)]),
    scheme(
        "IFCO",
        "IE",
        &[of("G", 0), of("PG", 0), of("12A", 12), of("15A", 15), of("16", 16), of("18", 18)],
    ),
    scheme(
        "JIF",
        "CH",
        &[
            of("0", 0),
            of("6", 6),
            of("8", 8),
            of("10", 10),
            of("12", 12),
            of("14", 14),
            of("16", 16),
            of("18", 18),
        ],
    ),
    scheme(
        "JMK",
        "AT",
        &[of("0", 0), of("6", 6), of("8", 8), of("10", 10), of("12", 12), of("14", 14), of("16", 16)],
    ),
    scheme(
        "KIJKWIJZER",
        "NL",
        &[of("AL", 0), of("6", 6), of("9", 9), of("12", 12), of("14", 14), of("16", 16), of("18", 18)],
    ),
    scheme("MPA", "US", &[of("G", 0), of("PG", 0), of("PG-13", 13), of("R", 17), of("NC-17", 18)]),
];

impl AgeRating {
    /// Checks scheme and value against the table.
    pub fn validate(&self, fields: &mut Fields, field: &str) {
        match find(&self.scheme) {
            None => fields.check(false, &format!("{field}.scheme"), Rule::RatingScheme),
            Some(scheme) => {
                let is_known = scheme.values.iter().any(|known| known.value == self.value);
                fields.check(is_known, &format!("{field}.value"), Rule::RatingValue);
            }
        }
    }

    /// The age from which the movie is for everybody; `None` for a value that is not in the table.
    pub fn age(&self) -> Option<u8> {
        find(&self.scheme)?.values.iter().find(|known| known.value == self.value).map(|known| known.age)
    }

    /// As people write it: `FSK 12`, `BBFC 15`; the American values alone are known as they are: `PG-13`.
    pub fn text(&self) -> String {
        if self.scheme == "MPA" { self.value.clone() } else { format!("{} {}", self.scheme, self.value) }
    }
}

fn find(code: &str) -> Option<&'static RatingScheme> {
    RATING_SCHEMES.iter().find(|scheme| scheme.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rating(scheme: &str, value: &str) -> AgeRating {
        AgeRating { scheme: scheme.into(), value: value.into() }
    }

    fn refused(rating: &AgeRating) -> Vec<(String, String)> {
        let mut fields = Fields::default();
        rating.validate(&mut fields, "ageRating");
        let errors = fields.into_result().err().map(|problem| problem.errors).unwrap_or_default();
        errors.into_iter().map(|error| (error.field, error.code)).collect()
    }

    #[test]
    fn a_rating_has_a_known_scheme_and_one_of_its_values() {
        let error = |field: &str, code: &str| vec![(field.to_owned(), code.to_owned())];
        assert_eq!(refused(&rating("FSK", "12")), []);
        assert_eq!(refused(&rating("XYZ", "12")), error("ageRating.scheme", "rating-scheme"));
        assert_eq!(refused(&rating("fsk", "12")), error("ageRating.scheme", "rating-scheme"));
        assert_eq!(refused(&rating("FSK", "PG-13")), error("ageRating.value", "rating-value"));
    }

    #[test]
    fn every_scheme_is_there_once_and_its_text_fits_the_field_of_old_clients() {
        assert!(RATING_SCHEMES.is_sorted_by(|a, b| a.code < b.code));
        for scheme in RATING_SCHEMES {
            assert!(scheme.values.is_sorted_by_key(|value| value.age), "{}", scheme.code);
            for value in scheme.values {
                assert!(rating(scheme.code, value.value).text().len() <= 20);
                assert_eq!(rating(scheme.code, value.value).age(), Some(value.age));
            }
        }
        assert_eq!([rating("FSK", "12").text(), rating("MPA", "R").text()], ["FSK 12", "R"]);
        assert_eq!(rating("NEW", "3").age(), None);
    }
}
