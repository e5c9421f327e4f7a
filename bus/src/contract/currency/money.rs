//! An amount of money, and how English texts show it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Currency;

/// An amount in minor units (cents) of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Money {
    pub amount: i64,
    pub currency: Currency,
}

impl Money {
    /// `€1,234.50`, `¥1,200`, `CHF 24.00`: with the currency, and thousands apart, as English writes it.
    pub fn shown(self) -> String {
        let plain = self.currency.plain(self.amount.saturating_abs());
        let (major, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
        let sign = if self.amount < 0 { "-" } else { "" };
        let amount = format!("{}{fraction}", thousands(major));
        match self.currency.as_str() {
            "EUR" => format!("{sign}€{amount}"),
            "USD" => format!("{sign}${amount}"),
            "GBP" => format!("{sign}£{amount}"),
            "JPY" => format!("{sign}¥{amount}"),
            code => format!("{sign}{code} {amount}"),
        }
    }
}

fn thousands(major: &str) -> String {
    let mut text = String::with_capacity(major.len() + major.len() / 3);
    for (at, digit) in major.chars().enumerate() {
        if at > 0 && (major.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
