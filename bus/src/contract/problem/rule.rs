//! The rules that a field of a request can break. A rule has a stable code, parameters, and an English message, all from here.
//!
//! Callers make a sentence in their reader's language from code and parameters. Messages are for developers and may change;
//! codes and parameters are only added.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

use crate::contract::Currency;
use crate::contract::movie::{FORMATS, SeatKind};

const EMAIL_ASCII: &str =
    "must have only ASCII letters, digits and signs before the @: mail servers take no others";

/// A rule that a field breaks. What is serialized are the code and the parameters of a [`super::FieldError`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Rule {
    /// The field is missing.
    Required,
    /// A value of another type, or of another form than the type has. The message is the parser's.
    Type {
        #[serde(skip)]
        message: String,
    },
    UnknownField {
        #[serde(skip)]
        message: String,
    },
    /// A change without any field.
    NoChange,
    /// Characters.
    Length {
        min: u64,
        max: u64,
    },
    /// Bytes in UTF-8.
    Bytes {
        min: u64,
        max: u64,
    },
    /// The items of a list; `of` is the English noun.
    Count {
        min: u64,
        max: u64,
        #[serde(skip)]
        of: &'static str,
    },
    Range {
        min: i64,
        max: i64,
    },
    /// More than nothing.
    Positive,
    /// The item is in the list before.
    Twice,
    ControlCharacters,
    /// Characters that change the reading direction.
    Direction,
    OneLine,
    Email {
        max: u64,
    },
    /// Letters beyond ASCII before the `@`.
    EmailAscii,
    PasswordCommon,
    PasswordIsEmail,
    /// Not the current password of the account.
    PasswordWrong,
    /// Another address than that of the order whose link is used.
    OrderEmail,
    /// Neither the token of a guest nor that of an order.
    GuestToken,
    Date,
    Time,
    TimeZone,
    /// Years.
    Years {
        min: i64,
        max: i64,
    },
    Future,
    /// Before the field `other`.
    NotBefore {
        other: &'static str,
    },
    /// Not later than the field `other`.
    After {
        other: &'static str,
    },
    /// Not earlier than the field `other`.
    Before {
        other: &'static str,
    },
    /// More than `max` days after the field `other`.
    Within {
        max: u64,
        other: &'static str,
    },
    Weekdays,
    /// No day between two dates is one of the weekdays.
    NoDays,
    TooManyShowtimes {
        max: u64,
    },
    /// A scheme of age ratings that is not in the table.
    RatingScheme,
    /// The scheme of the age rating has no such value.
    RatingValue,
    /// Not a language tag of BCP 47.
    LanguageTag,
    /// A format that is not known.
    Format,
    /// A version with subtitles does not name their languages.
    SubtitlesMissing,
    /// An original version without subtitles names languages of subtitles.
    SubtitlesOfOriginal,
    /// The movie is not shown in this version.
    VersionUnknown,
    /// The movie is not shown in this format.
    FormatUnknown,
    /// An id of nothing that exists; `of` is the English noun.
    Unknown {
        #[serde(skip)]
        of: &'static str,
    },
    /// A kind of seat has no price; without `kind` none has one.
    PriceMissing {
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<SeatKind>,
    },
    /// A gap is sold, or ordered.
    Gap,
    OneCurrency,
    /// Neither 0 nor within the bounds, in minor units.
    Price {
        min: i64,
        max: i64,
        currency: Currency,
    },
    /// Not a multiple of `step` minor units.
    Multiple {
        step: i64,
        currency: Currency,
    },
    /// Both plain prices and a price card, or surcharges without a card.
    PricesOrCard,
    /// A ticket type that accompanies itself.
    Accompanies,
    /// The prices of the card have no such surcharge.
    SurchargeUnknown,
    PaymentMethod,
    /// Neither an address of the web nor a path on this server.
    Link {
        max: u64,
    },
    /// Not of the form `#rrggbb`.
    Colour,
    /// Text that cannot be read on the colour `other`: less than 4.5:1.
    Contrast {
        other: &'static str,
    },
    /// No ISO 3166-1 code of two letters.
    Country,
    /// Other characters than small letters, digits and dashes.
    Slug,
    /// Other characters than those of tax ids.
    TaxId,
    Version,
    SeatIds,
    /// Not exactly one of `seats`, `tickets` and `bestAvailable`.
    SeatsChoice,
    /// Not exactly one of `count` and `types`, or two different numbers.
    CountOrTypes,
    /// More tickets of a type than an order may have.
    TicketTypeMost {
        max: u64,
    },
    SeatUnknown,
    SeatsPerOrder {
        max: u64,
    },
    CompanionAlone,
    UnitSplit,
    /// Seats of another order, or of none.
    NotYourSeats,
    /// Without these seats the order could not be bought.
    OrderIncomplete,
    /// No whole units make this number of seats.
    UnitCount,
    /// The seats of an auditorium.
    SeatCount {
        min: u64,
        max: u64,
    },
    RowLabel {
        min: u64,
        max: u64,
    },
    /// Another row's label.
    RowTwice,
    /// The column of the seat before it.
    ColumnTwice,
    /// Left of the seat before it.
    ColumnOrder,
    UnitSize {
        min: u64,
        max: u64,
    },
    UnitApart,
    UnitKind,
    UnitMixed,
    FileBroken,
    /// Millions.
    FilePixels {
        max: u64,
    },
    FileParts,
    /// A page of a list that is read only from its beginning.
    PageFar {
        max: u64,
    },
}

impl Rule {
    /// The parser's message about a value that it cannot read.
    pub fn unreadable(message: impl Into<String>) -> Self {
        let message = message.into();
        if message.starts_with("unknown field ") {
            return Self::UnknownField { message };
        }
        if message.starts_with("missing field ") { Self::Required } else { Self::Type { message } }
    }

    /// What the field must be, in English, without the field's name.
    pub fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Required => "is missing".into(),
            Self::Type { message } | Self::UnknownField { message } => message.into(),
            Self::NoChange => "at least one field must be given".into(),
            Self::Length { min, max } => format!("must have {} characters", span(*min, *max)).into(),
            Self::Bytes { min, max } => format!("must have {} bytes", span(*min, *max)).into(),
            Self::Count { min, max, of } => format!("must have {} {of}", span(*min, *max)).into(),
            Self::Range { min, max } => format!("must be {min}–{max}").into(),
            Self::Positive => "must be more than 0".into(),
            Self::Twice => "is there twice".into(),
            Self::ControlCharacters => "must not contain control characters".into(),
            Self::Direction => "must not contain characters that turn the reading direction".into(),
            Self::OneLine => "must be one line without tabs".into(),
            Self::Email { max } => format!("must be an e-mail address of at most {max} characters").into(),
            Self::EmailAscii => EMAIL_ASCII.into(),
            Self::PasswordCommon => "is one of the most common passwords".into(),
            Self::PasswordIsEmail => "must not be the e-mail address".into(),
            Self::PasswordWrong => "is not the account's password".into(),
            Self::GuestToken => "must be a valid token of a guest or of an order".into(),
            Self::OrderEmail => "is not the address of the order".into(),
            Self::Date => "must be a date such as 2026-05-01".into(),
            Self::Time => "must be a time such as 20:15".into(),
            Self::TimeZone => "must be an IANA time zone such as Europe/Berlin".into(),
            Self::Years { min, max } => format!("must lie in the years {min}–{max}").into(),
            Self::Future => "must lie in the future".into(),
            Self::NotBefore { other } => format!("must not be before {other}").into(),
            Self::After { other } => format!("must be later than {other}").into(),
            Self::Before { other } => format!("must be earlier than {other}").into(),
            Self::Within { max, other } => format!("must be within {max} days of {other}").into(),
            Self::Weekdays => "must name at least one day, and none twice".into(),
            Self::NoDays => "leaves no day between from and to".into(),
            Self::TooManyShowtimes { max } => {
                format!("makes more than {max} showtimes; ask for fewer days at once").into()
            }
            Self::RatingScheme => "must be a rating scheme such as FSK; see /v1/rating-schemes".into(),
            Self::RatingValue => "must be a value of the rating scheme; see /v1/rating-schemes".into(),
            Self::LanguageTag => "must be a language tag such as en or pt-BR (BCP 47)".into(),
            Self::Format => format!("must be one of {}", FORMATS.join(", ")).into(),
            Self::SubtitlesMissing => "must name the languages of the subtitles".into(),
            Self::SubtitlesOfOriginal => "must be empty: with subtitles the kind is SUBTITLED".into(),
            Self::VersionUnknown => "must be one of the versions of the movie".into(),
            Self::FormatUnknown => "must be one of the formats of the movie".into(),
            Self::Unknown { of } => format!("names {of} that does not exist").into(),
            Self::PriceMissing { kind: None } => "must price each kind of seat".into(),
            Self::PriceMissing { kind: Some(kind) } => format!("lacks a price for {}", kind.name()).into(),
            Self::Gap => "a gap is not sold".into(),
            Self::OneCurrency => "must be of one currency".into(),
            Self::Price { min, max, currency } => {
                let (from, to) = (currency.plain(*min), currency.plain(*max));
                format!("must be 0, or {min}–{max} minor units ({from}–{to} {})", currency.as_str()).into()
            }
            Self::Multiple { step, currency } => {
                format!("must be a multiple of {step} minor units of {}", currency.as_str()).into()
            }
            Self::PricesOrCard => "give either prices or a price card with its surcharges".into(),
            Self::Accompanies => "must be another ticket type".into(),
            Self::SurchargeUnknown => "the price card has no such surcharge".into(),
            Self::PaymentMethod => "must be a token of the payment provider, such as pm_card_visa".into(),
            Self::Link { max } => {
                format!("must be an https address, or a path on this server, of at most {max} characters")
                    .into()
            }
            Self::Colour => "must be a colour such as #1a1c20".into(),
            Self::Contrast { other } => format!("must have a contrast of at least 4.5:1 with {other}").into(),
            Self::Country => "must be an ISO 3166 code such as DE".into(),
            Self::Slug => "must have 1–40 small letters, digits and dashes".into(),
            Self::TaxId => "must have only ASCII letters, digits, blanks, dashes, dots and slashes".into(),
            Self::Version => "must be a version of the reservation".into(),
            Self::SeatIds => "must be seat ids such as C7,C8".into(),
            Self::SeatsChoice => "give one of seats, tickets and bestAvailable".into(),
            Self::CountOrTypes => "give either count or types, or the same number by both".into(),
            Self::TicketTypeMost { max } => format!("an order may have at most {max} of this type").into(),
            Self::SeatUnknown => "the hall has no such seat".into(),
            Self::SeatsPerOrder { max } => format!("an order may have at most {max} seats").into(),
            Self::CompanionAlone => "needs the wheelchair place beside it".into(),
            Self::UnitSplit => "must name all seats of a unit, or none".into(),
            Self::NotYourSeats => "must be seats of the reservation".into(),
            Self::OrderIncomplete => "must leave an order that can be bought".into(),
            Self::UnitCount => "must be a number that whole units make up".into(),
            Self::SeatCount { min, max } => format!("must have {min}–{max} seats beside gaps").into(),
            Self::RowLabel { min, max } => {
                format!("must be {min}–{max} letters or digits (Unicode NFC)").into()
            }
            Self::RowTwice => "is another row's label".into(),
            Self::ColumnTwice => "is the column of the seat before it".into(),
            Self::ColumnOrder => "must be right of the seat before it".into(),
            Self::UnitSize { min, max } => format!("must be of {min}–{max} seats").into(),
            Self::UnitApart => "must be of seats in adjacent columns".into(),
            Self::UnitKind => "must not be of gaps or companion places".into(),
            Self::UnitMixed => "must be of seats of one kind".into(),
            Self::FileBroken => "is damaged: it cannot be decoded".into(),
            Self::FilePixels { max } => format!("has too many pixels: at most {max} million").into(),
            Self::FileParts => "must be the one and only part of the form".into(),
            Self::PageFar { max } => format!("must be among the first {max} items of the list").into(),
        }
    }

    /// Every code.
    pub fn codes() -> Vec<String> {
        let schema = schemars::schema_for!(Rule).to_value();
        let variants = schema["oneOf"].as_array().expect("the schema of a tagged enum lists its variants");
        variants
            .iter()
            .map(|one| one["properties"]["code"]["const"].as_str().expect("a tag").to_owned())
            .collect()
    }
}

fn span(min: u64, max: u64) -> String {
    if min == 0 { format!("at most {max}") } else { format!("{min}–{max}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::FieldError;

    #[test]
    fn a_field_error_has_the_rules_code_and_parameters() {
        let error = FieldError::new("prices.STANDARD", Rule::Multiple { step: 10, currency: Currency::EUR });
        assert_eq!(
            serde_json::to_value(error).unwrap(),
            serde_json::json!({
                "field": "prices.STANDARD", "message": "must be a multiple of 10 minor units of EUR",
                "code": "multiple", "step": 10, "currency": "EUR",
            })
        );
        let error = FieldError::new("prices", Rule::PriceMissing { kind: Some(SeatKind::Loveseat) });
        assert_eq!((error.code.as_str(), error.kind), ("price-missing", Some(SeatKind::Loveseat)));
        let error = FieldError::new("to", Rule::NotBefore { other: "from" });
        assert_eq!((error.code.as_str(), error.other.as_deref()), ("not-before", Some("from")));
    }

    #[test]
    fn every_rule_has_its_own_code() {
        let codes = Rule::codes();
        assert!(codes.iter().any(|code| code == "password-common"), "{codes:?}");
        let distinct: std::collections::HashSet<_> = codes.iter().collect();
        assert_eq!(distinct.len(), codes.len(), "{codes:?}");
    }
}
