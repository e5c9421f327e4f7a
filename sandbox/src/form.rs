//! Parses the bodies of Stripe's API: `application/x-www-form-urlencoded` with brackets for nesting.
//! Names stay flat (`metadata[payment_id]`) because every lookup uses the full name.
//! A parameter that the real API does not have is rejected, so that a typo in the adapter fails in a test.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};

use crate::fault::Fault;

/// The caller's own data on an object.
pub type Metadata = BTreeMap<String, String>;

/// Distinguishes two requests with the same idempotency key.
pub type Fingerprint = String;

/// The decoded parameters of one request.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Never fails: an invalid escape is kept unchanged, as by browsers and Stripe.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The value; an empty value counts as absent. Of several the last one counts.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The values of `name[]` or `name[0]`, `name[1]`, … in the order of the body.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let is_item = |key: &str| {
            let inner = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('['));
            inner
                .and_then(|rest| rest.strip_suffix(']'))
                .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
        };
        self.0.iter().filter(|(key, _)| is_item(key)).map(|(_, value)| value.as_str()).collect()
    }

    pub fn need(&self, name: &str) -> Result<&str, Fault> {
        self.get(name).ok_or_else(|| {
            Fault::invalid(format!("Missing required param: {name}.")).code("parameter_missing").param(name)
        })
    }

    pub fn integer(&self, name: &str) -> Result<Option<i64>, Fault> {
        let parsed = self.get(name).map(|text| {
            text.parse().map_err(|_| {
                Fault::invalid(format!("Invalid integer: {text}"))
                    .code("parameter_invalid_integer")
                    .param(name)
            })
        });
        parsed.transpose()
    }

    pub fn boolean(&self, name: &str) -> Result<bool, Fault> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Fault::invalid(format!("Invalid boolean: {other}")).param(name)),
        }
    }

    /// The pairs under `prefix[…]`, within Stripe's limits (50 keys of 40 characters, values of 500).
    pub fn metadata(&self, prefix: &str) -> Result<Metadata, Fault> {
        let mut metadata = Metadata::new();
        for (name, value) in &self.0 {
            let inner = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('['));
            let Some(key) = inner.and_then(|rest| rest.strip_suffix(']')) else { continue };
            if key.chars().count() > 40 || value.chars().count() > 500 {
                let message = "Metadata keys can have up to 40 characters and values up to 500 characters.";
                return Err(Fault::invalid(message).param(name));
            }
            metadata.insert(key.to_owned(), value.clone());
        }
        if metadata.len() > 50 {
            return Err(Fault::invalid("Metadata can have up to 50 keys.").param(prefix));
        }
        Ok(metadata)
    }

    /// Rejects a parameter whose outermost name is not among `roots`.
    pub fn only(&self, roots: &[&str]) -> Result<(), Fault> {
        let root = |name: &str| name.split('[').next().unwrap_or_default().to_owned();
        match self.0.iter().find(|(name, _)| !roots.contains(&root(name).as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(Fault::invalid(format!("Received unknown parameter: {name}"))
                .code("parameter_unknown")
                .param(&root(name))),
        }
    }

    /// Equal for the same path and parameters in any order; lengths distinguish `a=bc` from `ab=c`.
    pub fn fingerprint(&self, path: &str) -> Fingerprint {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort();
        let mut hash = Context::new(&SHA256);
        let mut feed = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        feed(path);
        pairs.iter().for_each(|(name, value)| {
            feed(name);
            feed(value);
        });
        // 128 bits are enough against accidental collisions, and halve the memory of each key.
        hex::encode(&hash.finish().as_ref()[..16])
    }
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&first, rest)) = bytes.split_first() {
        bytes = rest;
        match first {
            b'+' => out.push(b' '),
            b'%' => match rest.get(..2).and_then(|pair| hex::decode(pair).ok()) {
                Some(byte) => {
                    out.extend(byte);
                    bytes = &rest[2..];
                }
                None => out.push(b'%'),
            },
            other => out.push(other),
        }
    }
    match String::from_utf8_lossy(&out) {
        Cow::Borrowed(valid) => valid.to_owned(),
        Cow::Owned(repaired) => repaired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_escapes_and_pluses_are_read() {
        let form = Form::parse("a=1&metadata%5Bpayment_id%5D=x+y%26z&metadata[b]=%C3%BC&broken=%zz&empty=");
        assert_eq!(form.get("metadata[payment_id]"), Some("x y&z"));
        assert_eq!(form.metadata("metadata").unwrap().get("b").map(String::as_str), Some("ü"));
        assert_eq!(form.get("broken"), Some("%zz"));
        assert_eq!(form.get("empty"), None);
        assert!(form.only(&["a", "metadata", "broken"]).unwrap_err().message.contains("empty"));
    }

    #[test]
    fn a_fingerprint_ignores_order_but_no_value() {
        let print = |text| Form::parse(text).fingerprint("/v1/refunds");
        assert_eq!(print("a=1&b=2"), print("b=2&a=1"));
        assert_ne!(print("a=1&b=2"), print("a=1&b=3"));
        assert_ne!(print("a=bc"), print("ab=c"));
        assert_ne!(print("a=1"), Form::parse("a=1").fingerprint("/v1/events"));
    }
}
