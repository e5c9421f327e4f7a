//! Checks what JSON allows and requests may not contain: duplicate keys, and control characters in texts.
//!
//! Of a duplicate key one parser uses the first value and another the last, so a proxy could check one and a host use the
//! other (RFC 8259, 4). Control characters are invisible, Postgres cannot store U+0000, and no text here needs any except
//! the tab and line breaks.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{FieldError, Problem};

/// A control character (C0, DEL, C1) other than tab, line feed and carriage return.
pub fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r')
}

/// 400 for a duplicate key at any depth, 422 for a control character in a text or a key. Invalid JSON passes: the parser that
/// follows reports it.
pub fn check(json: &[u8]) -> Result<(), Problem> {
    let fault = RefCell::new(None);
    let mut track = serde_path_to_error::Track::new();
    let mut reader = serde_json::Deserializer::from_slice(json);
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let _ = Walk(&fault).deserialize(tracked);
    let path = || Some(track.path().to_string()).filter(|path| path != ".").unwrap_or_default();
    match fault.into_inner() {
        None => Ok(()),
        Some(Fault::Control) => Err(Problem::invalid(vec![FieldError::control(&path())])),
        Some(Fault::Twice(key)) => {
            let detail = format!("The body is not clear: an object has the key {key:?} twice.");
            Err(Problem::new(400, "json", detail))
        }
    }
}

/// Whether any text or key in the value has a control character.
pub fn has_control(value: &Value) -> bool {
    let in_text = |text: &str| text.chars().any(is_control);
    match value {
        Value::String(text) => in_text(text),
        Value::Array(items) => items.iter().any(has_control),
        Value::Object(fields) => fields.iter().any(|(key, value)| in_text(key) || has_control(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

enum Fault {
    Twice(String),
    Control,
}

/// Visits every value and stops at the first fault, which it stores in the cell.
#[derive(Clone, Copy)]
struct Walk<'a>(&'a RefCell<Option<Fault>>);

impl Walk<'_> {
    fn stop<E: Error>(self, fault: Fault) -> E {
        *self.0.borrow_mut() = Some(fault);
        E::custom("refused")
    }

    fn text<E: Error>(self, text: &str) -> Result<(), E> {
        if text.chars().any(is_control) { Err(self.stop(Fault::Control)) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = fields.next_key_seed(Key)? {
            self.text(&key)?;
            if let Some(key) = seen.replace(key) {
                return Err(self.stop(Fault::Twice(key.into_owned())));
            }
            fields.next_value_seed(self)?;
        }
        Ok(())
    }
}

/// A key, borrowed if it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }
    fn visit_str<E>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and, where one is named, the field.
    fn refused(json: &str) -> Option<(u16, String)> {
        let problem = check(json.as_bytes()).err()?;
        let field = problem.errors.first().map(|error| error.field.clone()).unwrap_or_default();
        Some((problem.status, field))
    }

    #[test]
    fn control_characters_are_refused_however_they_are_written_and_the_field_is_named() {
        for text in [r"\u0000", r"\u0001", r"\b", r"\f", r"\u001B", r"\u007f", "\u{7f}", r"\u0085", "\u{9f}"]
        {
            let body = format!(r#"{{"email": "a{text}b"}}"#);
            assert_eq!(refused(&body), Some((422, "email".into())), "{body}");
        }
        assert_eq!(
            refused(r#"{"rows": [{"label": "A"}, {"label": "\u0000"}]}"#),
            Some((422, "rows[1].label".into()))
        );
        assert_eq!(refused(r#"{"a\u0000": 1}"#).map(|(status, _)| status), Some(422));
        // A backslash and five letters; a tab and line breaks; letters of any script.
        for fine in [r#"{"email": "a\\u0000b"}"#, r#"["\t\r\n", "Ä \u00a0 \u6620\u753b"]"#, r#""\\\\u0000""#]
        {
            assert_eq!(refused(fine), None, "{fine}");
        }
    }

    #[test]
    fn a_key_that_is_given_twice_is_refused_at_any_depth() {
        for twice in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"[{"b": {"c": [{"d": 1, "e": 2, "d": 3}]}}]"#,
        ] {
            assert_eq!(refused(twice), Some((400, String::new())), "{twice}");
        }
        assert_eq!(refused(r#"{"a": {"a": 1}, "b": {"a": 1}, "c": [{"a": 1}, {"a": 2}]}"#), None);
    }

    #[test]
    fn invalid_json_is_left_to_its_parser() {
        for body in ["", "{", r#"{"a": 1"#, "nul", &"[".repeat(10_000)] {
            assert_eq!(refused(body), None);
        }
    }
}
