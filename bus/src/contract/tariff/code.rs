//! The code of a ticket type, a surcharge or a fee.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// 1–24 capital letters, digits and underscores that begin with a letter or a digit, such as `STUDENT` or `3D`. It is what
/// clients and reports name a type by, so it never changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TariffCode(String);

impl TariffCode {
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let is_code = (1..=24).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('_');
        is_code.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The type of tickets where no types were named: of plain prices, and of orders from before there were types.
impl Default for TariffCode {
    fn default() -> Self {
        Self("STANDARD".to_owned())
    }
}

impl fmt::Display for TariffCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TariffCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("must be a code such as STUDENT or 3D"))
    }
}

impl JsonSchema for TariffCode {
    fn schema_name() -> Cow<'static, str> {
        "TariffCode".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[A-Z0-9][A-Z0-9_]{0,23}$"})
    }
}
