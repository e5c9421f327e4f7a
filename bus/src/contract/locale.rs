//! The languages that people are written to: mails, tickets, the payment provider's page.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::Fields;

#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Locale {
    #[default]
    En,
    De,
}

impl Locale {
    pub const ALL: [Self; 2] = [Self::En, Self::De];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
        }
    }

    /// Of a language tag such as `de` or `de-AT` (RFC 5646).
    pub fn of_tag(tag: &str) -> Option<Self> {
        match tag.trim().split(['-', '_']).next()?.to_ascii_lowercase().as_str() {
            "en" => Some(Self::En),
            "de" => Some(Self::De),
            _ => None,
        }
    }

    /// The language that an `Accept-Language` header prefers among ours (RFC 9110, 12.5.4), if it names one of them.
    pub fn accepted(header: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for item in header.split(',') {
            let (tag, weight) = item.split_once(';').unwrap_or((item, "q=1"));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse().ok()).unwrap_or(0.0);
            let is_better = weight > best.map_or(0.0, |(most, _)| most);
            if let Some(locale) = Self::of_tag(tag).filter(|_| is_better) {
                best = Some((weight, locale));
            }
        }
        best.map(|(_, locale)| locale)
    }
}

/// A short text in some of the languages, such as the name of a ticket type. Reading leaves out a language that it does not know,
/// as it does with a field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Names(BTreeMap<Locale, String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text by language")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut texts: A) -> Result<Names, A::Error> {
        let mut names = BTreeMap::new();
        while let Some(tag) = texts.next_key::<Cow<'_, str>>()? {
            match Locale::ALL.into_iter().find(|locale| locale.as_str() == tag) {
                Some(locale) => {
                    names.insert(locale, texts.next_value()?);
                }
                None => {
                    texts.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Names(names))
    }
}

impl JsonSchema for Names {
    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = |locale: Locale| (locale.as_str().to_owned(), json!({"type": "string"}));
        json_schema!({
            "description": "A short text in some of the languages, such as the name of a ticket type.",
            "type": "object",
            "properties": Locale::ALL.into_iter().map(text).collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl Names {
    /// In this language, else in English, else in any; empty without a text.
    pub fn get(&self, locale: Locale) -> &str {
        let found =
            self.0.get(&locale).or_else(|| self.0.get(&Locale::En)).or_else(|| self.0.values().next());
        found.map_or("", String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks each text: one line of 1–60 characters.
    pub fn validate(&self, fields: &mut Fields, field: &str) {
        for (locale, text) in &self.0 {
            fields.line(text, 1..=60, &format!("{field}.{}", locale.as_str()));
        }
    }
}

impl<const N: usize> From<[(Locale, &str); N]> for Names {
    fn from(texts: [(Locale, &str); N]) -> Self {
        Self(texts.into_iter().map(|(locale, text)| (locale, text.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Locale;

    #[test]
    fn the_preferred_of_our_languages_is_found() {
        let cases = [
            ("de", Some(Locale::De)),
            ("de-DE,de;q=0.9,en;q=0.8", Some(Locale::De)),
            ("fr-CH, fr;q=0.9, en;q=0.7, de;q=0.8, *;q=0.5", Some(Locale::De)),
            ("EN-us", Some(Locale::En)),
            ("de;q=0, en;q=0.1", Some(Locale::En)),
            ("fr, *", None),
            ("", None),
            (";;q=,=", None),
        ];
        for (header, wanted) in cases {
            assert_eq!(Locale::accepted(header), wanted, "{header}");
        }
    }
}
