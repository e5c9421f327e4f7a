//! What a showtime shows and when it is sold: the version of the film, the format, the time before the film, the start of the
//! sale.
//!
//! Invariant: [`sale`] alone decides whether seats can be bought; hosts and gateway call it. The page has the same rule
//! in `gateway/web/parts/showing.js`.

use std::collections::HashSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::ShowtimeStatus;
use crate::contract::{Fields, Rule, Timestamp};

/// How the sound of a film relates to its original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum VersionKind {
    /// The original sound without subtitles.
    Ov,
    /// Speech in another language than the original's.
    Dubbed,
    /// The original sound with subtitles.
    Subtitled,
}

/// A version in which a film is shown. Languages are tags of BCP 47, such as `en` or `pt-BR`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct FilmVersion {
    pub kind: VersionKind,
    /// The language that is spoken.
    pub audio: String,
    /// The languages of the subtitles; at least one where the kind is SUBTITLED.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subtitles: Vec<String>,
}

/// The formats that a movie or a showtime may have. Rows and events have plain texts, so that one of a newer version is read as
/// well.
pub const FORMATS: &[&str] =
    &["2D", "3D", "4K", "HFR", "IMAX", "IMAX 3D", "DOLBY CINEMA", "4DX", "SCREENX", "D-BOX", "35MM", "70MM"];

/// The most that a movie may have of each: more than any film has.
const VERSIONS_MAX: usize = 20;
const SUBTITLES_MAX: usize = 4;
/// The longest time before a film that is accepted, in minutes: more than any cinema shows of advertising.
const BEFORE_FILM_MAX: i64 = 90;

/// What a showtime shows and when it is sold, beside movie, place, start and prices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Showing {
    /// Absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub film_version: Option<FilmVersion>,
    /// Such as `3D`; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Seats can be bought from then on; absent where they can from the publication on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_sale_at: Option<Timestamp>,
    /// Advertising and trailers before the film begins, in minutes. The end of the showtime counts it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub minutes_before_film: u16,
}

pub(super) fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// Whether seats of a showtime can be bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sale {
    /// Not published: to customers it does not exist.
    Draft,
    Cancelled,
    Begun,
    /// The sale ended some time before the start.
    Ended,
    /// From this time on.
    NotYet(Timestamp),
    Open,
}

/// Whether seats of a showtime can be bought at this time. The sale ends `ends_before` the start.
pub fn sale(
    status: ShowtimeStatus,
    on_sale_at: Option<Timestamp>,
    starts_at: Timestamp,
    ends_before: Duration,
    now: Timestamp,
) -> Sale {
    match status {
        ShowtimeStatus::Draft => Sale::Draft,
        ShowtimeStatus::Cancelled => Sale::Cancelled,
        ShowtimeStatus::OnSale if starts_at <= now => Sale::Begun,
        ShowtimeStatus::OnSale if starts_at <= now.plus(ends_before) => Sale::Ended,
        ShowtimeStatus::OnSale => match on_sale_at {
            Some(at) if at > now => Sale::NotYet(at),
            _ => Sale::Open,
        },
    }
}

impl FilmVersion {
    fn validate(&self, fields: &mut Fields, field: &str) {
        fields.check(is_language_tag(&self.audio), &format!("{field}.audio"), Rule::LanguageTag);
        fields.count(self.subtitles.len(), 0..=SUBTITLES_MAX, &format!("{field}.subtitles"), "languages");
        let mut seen = HashSet::new();
        for (index, tag) in self.subtitles.iter().enumerate() {
            let field = format!("{field}.subtitles[{index}]");
            fields.check(is_language_tag(tag), &field, Rule::LanguageTag);
            fields.check(seen.insert(tag), &field, Rule::Twice);
        }
        let is_complete = self.kind != VersionKind::Subtitled || !self.subtitles.is_empty();
        fields.check(is_complete, &format!("{field}.subtitles"), Rule::SubtitlesMissing);
        let is_plain = self.kind != VersionKind::Ov || self.subtitles.is_empty();
        fields.check(is_plain, &format!("{field}.subtitles"), Rule::SubtitlesOfOriginal);
    }
}

/// Checks the versions and formats of a movie.
pub(super) fn validate_versions(versions: &[FilmVersion], formats: &[String], fields: &mut Fields) {
    fields.count(versions.len(), 0..=VERSIONS_MAX, "versions", "versions");
    let mut seen = HashSet::new();
    for (index, version) in versions.iter().enumerate() {
        let field = format!("versions[{index}]");
        version.validate(fields, &field);
        fields.check(seen.insert(version), &field, Rule::Twice);
    }
    let mut seen = HashSet::new();
    for (index, format) in formats.iter().enumerate() {
        let field = format!("formats[{index}]");
        validate_format(format, fields, &field);
        fields.check(seen.insert(format), &field, Rule::Twice);
    }
}

/// Checks what a request says of a showing.
pub(super) fn validate_showing(
    version: Option<&FilmVersion>,
    format: Option<&String>,
    minutes_before_film: Option<u16>,
    fields: &mut Fields,
) {
    if let Some(version) = version {
        version.validate(fields, "filmVersion");
    }
    if let Some(format) = format {
        validate_format(format, fields, "format");
    }
    if let Some(minutes) = minutes_before_film {
        fields.range(minutes, 0..=BEFORE_FILM_MAX, "minutesBeforeFilm");
    }
}

fn validate_format(format: &str, fields: &mut Fields, field: &str) {
    fields.check(FORMATS.contains(&format), field, Rule::Format);
}

/// Reads a field of a change that may be `null`: absent leaves the value as it is, null removes it.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Whether a text is a well-formed language tag of at most 35 characters: language, script, region, variants (RFC 5646, 2.1).
/// Extended languages, extensions and private tags are refused: no film's language needs one.
pub fn is_language_tag(text: &str) -> bool {
    let alphabetic = |part: &str| part.bytes().all(|b| b.is_ascii_alphabetic());
    let mut parts = text.split('-').peekable();
    let is_language = parts.next().is_some_and(|part| (2..=3).contains(&part.len()) && alphabetic(part));
    parts.next_if(|part| part.len() == 4 && alphabetic(part));
    let is_region = |part: &&str| {
        (part.len() == 2 && alphabetic(part)) || (part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit()))
    };
    parts.next_if(is_region);
    let is_variant = |part: &str| {
        let digit_first = part.len() == 4 && part.as_bytes()[0].is_ascii_digit();
        ((5..=8).contains(&part.len()) || digit_first) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    text.len() <= 35 && is_language && parts.all(is_variant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_showtime_is_sold_once_it_is_published_and_its_sale_has_begun_until_it_starts() {
        let now = Timestamp::from(time::macros::datetime!(2026-05-01 12:00 UTC));
        let (soon, later) = (now.plus(Duration::from_secs(60)), now.plus(Duration::from_secs(3_600)));
        let (none, minute) = (Duration::ZERO, Duration::from_secs(60));
        use ShowtimeStatus::{Cancelled, Draft, OnSale};
        assert_eq!(sale(OnSale, None, later, none, now), Sale::Open);
        assert_eq!(sale(OnSale, Some(now), later, none, now), Sale::Open);
        assert_eq!(sale(OnSale, Some(soon), later, none, now), Sale::NotYet(soon));
        assert_eq!(sale(OnSale, Some(soon), now, none, now), Sale::Begun);
        assert_eq!(sale(OnSale, None, soon, minute, now), Sale::Ended);
        assert_eq!(sale(OnSale, Some(soon), soon, minute, now), Sale::Ended);
        assert_eq!(sale(OnSale, None, later, minute, now), Sale::Open);
        assert_eq!(sale(Draft, None, later, none, now), Sale::Draft);
        assert_eq!(sale(Draft, Some(soon), now, none, now), Sale::Draft);
        assert_eq!(sale(Cancelled, Some(soon), later, none, now), Sale::Cancelled);
    }

    #[test]
    fn language_tags_are_well_formed() {
        for tag in ["en", "de-CH", "zh-Hant-TW", "es-419", "ast", "sl-rozaj", "de-1996", "sr-Latn"] {
            assert!(is_language_tag(tag), "{tag}");
        }
        let long = "en".to_owned() + &"-variant1".repeat(4);
        for tag in
            ["", "e", "english", "en_US", "en-", "de-x-private", "en-u-ca-buddhist", "1a", long.as_str()]
        {
            assert!(!is_language_tag(tag), "{tag}");
        }
    }

    #[test]
    fn subtitles_belong_to_their_kind() {
        let refused = |kind, subtitles: &[&str]| {
            let subtitles = subtitles.iter().map(|tag| (*tag).to_owned()).collect();
            let version = FilmVersion { kind, audio: "en".into(), subtitles };
            let mut fields = Fields::default();
            validate_showing(Some(&version), Some(&"5D".to_owned()), Some(91), &mut fields);
            let errors = fields.into_result().err().map(|problem| problem.errors).unwrap_or_default();
            errors.into_iter().map(|error| error.code).collect::<Vec<_>>()
        };
        assert_eq!(refused(VersionKind::Ov, &[]), ["format", "range"]);
        assert_eq!(refused(VersionKind::Ov, &["de"])[0], "subtitles-of-original");
        assert_eq!(refused(VersionKind::Subtitled, &[])[0], "subtitles-missing");
        assert_eq!(refused(VersionKind::Subtitled, &["de", "de"])[0], "twice");
        assert_eq!(refused(VersionKind::Dubbed, &["de"]), ["format", "range"]);
        assert_eq!(refused(VersionKind::Dubbed, &["german"])[0], "language-tag");
    }
}
