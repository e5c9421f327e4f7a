//! Currencies and their rules: the digits of the minor unit, how the payment provider counts, which amounts can be charged.
//!
//! Invariant: a [`Currency`] exists only for a row of the table, so every method has a result. Code that shows, reads, sends or
//! bounds money takes the rules from here and contains none of its own; the page loads them by `GET /v1/currencies`.

mod money;
mod table;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

use super::Rule;
pub use money::Money;
use table::{Row, TABLE};

/// A currency that Marquee can sell in, by its ISO 4217 code.
// Its place in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(u8);

impl Currency {
    pub const EUR: Self = Self::known("EUR");

    /// For currencies written in the source: a code that is not in the table does not compile.
    const fn known(code: &str) -> Self {
        let mut at = 0;
        while at < TABLE.len() {
            let (row, code) = (TABLE[at].code.as_bytes(), code.as_bytes());
            if row[0] == code[0] && row[1] == code[1] && row[2] == code[2] {
                return Self(at as u8);
            }
            at += 1;
        }
        panic!("no such currency in the table");
    }

    /// None for a code that is not in the table.
    pub fn parse(code: &str) -> Option<Self> {
        TABLE.binary_search_by(|row| row.code.cmp(code)).ok().map(|at| Self(at as u8))
    }

    /// Every currency of the table, by code.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLE.len()).map(|at| Self(at as u8))
    }

    fn row(self) -> &'static Row {
        &TABLE[usize::from(self.0)]
    }

    pub fn as_str(self) -> &'static str {
        self.row().code
    }

    /// Digits of the minor unit by ISO 4217.
    pub fn digits(self) -> u32 {
        self.row().digits
    }

    /// The least amount above 0 that can be charged.
    pub fn least(self) -> i64 {
        self.row().least
    }

    /// The greatest price of a seat.
    pub fn greatest(self) -> i64 {
        self.row().greatest
    }

    /// The greatest amount that the provider charges at once.
    pub fn most_due(self) -> i64 {
        let greatest = self.row().provider_greatest;
        self.from_provider(greatest - greatest % self.at_provider().step).unwrap_or(self.greatest())
    }

    /// The least coin in ordinary use.
    pub fn cash_step(self) -> i64 {
        self.row().cash_step
    }

    /// Every charge and refund is a multiple of this, in minor units: 10 where there are three decimals, since the provider
    /// requires the last of them to be 0; 100 for MGA, which the provider counts in whole ariary.
    pub fn step(self) -> i64 {
        match (self.digits(), self.row().provider_digits) {
            (3, _) => 10,
            (ours, theirs) => power(ours.saturating_sub(theirs)),
        }
    }

    /// Whether the provider can move this amount. Prices keep to it, so that every total does.
    pub fn is_whole(self, amount: i64) -> bool {
        amount % self.step() == 0
    }

    /// The next amount that the provider can move: a share of a price is rounded up to it.
    pub fn round_up(self, amount: i64) -> i64 {
        let step = self.step();
        let beyond = amount.rem_euclid(step);
        if beyond == 0 { amount } else { amount.saturating_add(step - beyond) }
    }

    /// Checks a price; the error names the fault. A price is 0, or can be charged and is not a typing mistake.
    pub fn check_price(self, amount: i64) -> Result<(), Rule> {
        let (least, greatest) = (self.least(), self.greatest());
        if amount != 0 && !(least..=greatest).contains(&amount) {
            return Err(Rule::Price { min: least, max: greatest, currency: self });
        }
        if !self.is_whole(amount) {
            return Err(Rule::Multiple { step: self.step(), currency: self });
        }
        Ok(())
    }

    /// `13.50`, without the currency and without a sign between thousands.
    pub fn plain(self, amount: i64) -> String {
        decimal(amount, self.digits())
    }

    /// The same amount in the provider's units. None for an amount that the provider cannot move.
    pub fn to_provider(self, amount: i64) -> Option<i64> {
        let (ours, theirs) = (self.digits(), self.row().provider_digits);
        self.is_whole(amount).then_some(())?;
        amount
            .checked_mul(power(theirs.saturating_sub(ours)))
            .map(|more| more / power(ours.saturating_sub(theirs)))
    }

    /// An amount in the provider's units as our minor units. None where it is no whole number of minor units, such as half a
    /// króna.
    pub fn from_provider(self, units: i64) -> Option<i64> {
        let (ours, theirs) = (self.digits(), self.row().provider_digits);
        let scale = power(theirs.saturating_sub(ours));
        (units % scale == 0).then_some(())?;
        (units / scale).checked_mul(power(ours.saturating_sub(theirs)))
    }

    /// The rules of a charge at the provider, which the sandbox keeps as Stripe does. In the provider's units.
    pub fn at_provider(self) -> AtProvider {
        let row = self.row();
        AtProvider {
            digits: row.provider_digits,
            // "The amount value must be evenly divisible by 100" (ISK, UGX); the last of three decimals is 0.
            step: match (row.digits, row.provider_digits) {
                (3, _) => 10,
                (ours, theirs) => power(theirs.saturating_sub(ours)),
            },
            least: self.to_provider(row.least).unwrap_or(row.least),
            greatest: row.provider_greatest,
        }
    }

    /// The rules as `GET /v1/currencies` answers them.
    pub fn rules(self) -> CurrencyRules {
        CurrencyRules {
            code: self,
            digits: self.digits(),
            least: self.least(),
            greatest: self.greatest(),
            step: self.step(),
            cash_step: self.cash_step(),
        }
    }
}

/// The currency where no setting names another.
impl Default for Currency {
    fn default() -> Self {
        Self::EUR
    }
}

/// How a provider counts a currency, in its own units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtProvider {
    pub digits: u32,
    pub step: i64,
    pub least: i64,
    pub greatest: i64,
}

impl AtProvider {
    /// `3500.00`, as the provider's own pages show an amount.
    pub fn plain(self, units: i64) -> String {
        decimal(units, self.digits)
    }
}

const fn power(digits: u32) -> i64 {
    10i64.pow(digits)
}

fn decimal(amount: i64, digits: u32) -> String {
    let unit = power(digits).unsigned_abs();
    let (major, minor) = (amount.unsigned_abs() / unit, amount.unsigned_abs() % unit);
    let sign = if amount < 0 { "-" } else { "" };
    match digits as usize {
        0 => format!("{sign}{major}"),
        width => format!("{sign}{major}.{minor:0width$}"),
    }
}

/// The currencies that prices may have, and the one that a new price has by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Currencies {
    pub default: Currency,
    pub items: Vec<CurrencyRules>,
}

impl Currencies {
    pub fn with_default(default: Currency) -> Self {
        Self { default, items: Currency::all().map(Currency::rules).collect() }
    }
}

/// The rules that a client needs to show and read amounts of a currency. Amounts are in minor units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrencyRules {
    pub code: Currency,
    /// Digits of the minor unit by ISO 4217: an amount is divided by ten to this power.
    pub digits: u32,
    /// The least price above 0: the least amount that the payment provider charges.
    pub least: i64,
    /// The greatest price of a seat.
    pub greatest: i64,
    /// Every price and refund is a multiple of this.
    pub step: i64,
    /// The least coin in ordinary use, to which cash is rounded.
    pub cash_step: i64,
}

impl std::fmt::Debug for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(
                "must be a currency of GET /v1/currencies, by its ISO 4217 code such as EUR",
            )
        })
    }
}

impl JsonSchema for Currency {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }
    fn inline_schema() -> bool {
        true
    }
    // A schema that named the known codes would repeat the list wherever money occurs.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[A-Z]{3}$"})
    }
}

#[cfg(test)]
mod tests;
