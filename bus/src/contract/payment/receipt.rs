//! Receipts and credit notes: what was paid and what was given back, each under a number without gaps; and the buyer whom they
//! are made out to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::tariff::TaxSum;
use crate::contract::{Access, FeeLine, Fields, Line, Locale, Money, OrderCode, Request, Rule, Timestamp};

/// A name of a company with its department; a ticket has one line for it.
const NAME_MAX: usize = 200;
/// Postal addresses have at most seven lines (UPU S42), of which the name is one.
const ADDRESS_LINES_MAX: usize = 6;
const ADDRESS_LINE_MAX: usize = 100;
/// The longest tax ids have some twenty characters, written with spaces.
const TAX_ID_MAX: usize = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReceiptKind {
    /// Of a captured payment; or of a refund that the customer's bank has sent back, which takes its credit note back.
    Receipt,
    /// Of a completed refund.
    CreditNote,
}

impl ReceiptKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receipt => "RECEIPT",
            Self::CreditNote => "CREDIT_NOTE",
        }
    }

    /// How its numbers begin, in every language.
    pub fn prefix(self) -> char {
        match self {
            Self::Receipt => 'R',
            Self::CreditNote => 'C',
        }
    }
}

/// The cinema as it was configured when the receipt was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Seller {
    pub name: String,
    /// The company behind the cinema, where that has another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<String>,
    /// One line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_id: Option<String>,
    /// In which the year of a number begins.
    pub time_zone: String,
}

/// Whom the receipts of an order are made out to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Buyer {
    pub name: String,
    /// Its lines.
    pub address: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_id: Option<String>,
}

/// A receipt or a credit note. It never changes; only a buyer may be added, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    pub kind: ReceiptKind,
    /// Such as `R-2026-000017`. Within its kind and year every number from 1 exists.
    pub number: String,
    /// The number that it takes back: of a credit note, the receipt's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<String>,
    pub reservation_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_code: Option<OrderCode>,
    pub issued_at: Timestamp,
    /// The film and the seats, as they were when the money was captured.
    pub description: String,
    /// The tickets that were paid for. A credit note has none: it is about a part of the receipt's total.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fees: Vec<FeeLine>,
    /// By rate, the rate 0 included: `net` and `tax` of all add up to the total.
    pub taxes: Vec<TaxSum>,
    pub total: Money,
    pub seller: Seller,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<Buyer>,
    /// The language of the order.
    #[serde(default)]
    pub locale: Locale,
    /// By the fiscal service, where the country has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// The receipts and credit notes of a paid order, oldest first. They are made within seconds after the payment.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetReceipts {
    pub reservation_id: Uuid,
}

impl Request for GetReceipts {
    const SUBJECT: &'static str = "rpc.payment.receipts";
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
    type Answer = Receipts;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Receipts {
    /// At most the first 200.
    pub receipts: Vec<Receipt>,
}

/// Sets the buyer of an order's receipts, once; the same buyer again changes nothing. A receipt keeps its number, whether it was
/// issued before or is issued later.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetBuyer {
    /// The reservation's.
    pub id: Uuid,
    pub name: String,
    /// Its lines, at most 6.
    pub address: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_id: Option<String>,
}

impl SetBuyer {
    /// Without blanks around its texts.
    pub fn buyer(&self) -> Buyer {
        let trimmed = |text: &String| text.trim().to_owned();
        Buyer {
            name: trimmed(&self.name),
            address: self.address.iter().map(trimmed).collect(),
            tax_id: self.tax_id.as_ref().map(trimmed),
        }
    }
}

impl Request for SetBuyer {
    const SUBJECT: &'static str = "rpc.payment.set_buyer";
    const ACCESS: Access = Access::Guest;
    type Answer = Buyer;
    fn validate(&self, fields: &mut Fields) {
        fields.line(&self.name, 1..=NAME_MAX, "name");
        fields.count(self.address.len(), 1..=ADDRESS_LINES_MAX, "address", "lines");
        for (at, line) in self.address.iter().take(ADDRESS_LINES_MAX).enumerate() {
            fields.line(line, 1..=ADDRESS_LINE_MAX, &format!("address[{at}]"));
        }
        if let Some(tax_id) = &self.tax_id {
            fields.length(tax_id.trim().len(), 1..=TAX_ID_MAX, "taxId");
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b" -./".contains(&b);
            fields.check(tax_id.bytes().all(is_plain), "taxId", Rule::TaxId);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(name: &str, address: &[&str], tax_id: Option<&str>) -> Vec<String> {
        let address = address.iter().map(|line| (*line).to_owned()).collect();
        let request =
            SetBuyer { id: Uuid::nil(), name: name.into(), address, tax_id: tax_id.map(str::to_owned) };
        let mut fields = Fields::default();
        request.validate(&mut fields);
        let problem = fields.into_result().err();
        let errors = problem.into_iter().flat_map(|problem| problem.errors);
        errors.map(|error| format!("{} {}", error.field, error.code)).collect()
    }

    #[test]
    fn a_buyer_has_a_name_an_address_and_perhaps_a_tax_id() {
        let street = ["Lindenallee 5", "50667 Köln"];
        assert!(wrong("Käse & Brot GmbH", &street, Some("DE 123.456-789/0")).is_empty());
        assert!(wrong("王", &street, None).is_empty());
        assert_eq!(wrong(" ", &[], Some("")), ["name length", "address count", "taxId length"]);
        assert_eq!(
            wrong("A\nB", &["x\ty"], Some("DE<1>")),
            ["name one-line", "address[0] one-line", "taxId tax-id"]
        );
        assert_eq!(wrong("A", &["x"; 7], None), ["address count"]);
        assert_eq!(wrong(&"n".repeat(201), &[&"x".repeat(101)], None), ["name length", "address[0] length"]);
    }
}
