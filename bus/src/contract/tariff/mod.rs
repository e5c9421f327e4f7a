//! A showtime's tariff: what a ticket of each type costs on each kind of seat, with its surcharges, fees and tax.
//!
//! Invariant: a tariff is frozen. It is a copy of a price card, made when the showtime was scheduled or its prices were changed;
//! a later change of the card changes no tariff. Amounts are in minor units of the tariff's one currency. [`quote`] is the only
//! function that makes prices of it.

mod code;
mod quote;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::movie::{Prices, SeatKind};
use super::{Currency, Money, Names};
pub use code::TariffCode;
pub use quote::{
    FeeLine, Line, Quote, Tax, TaxSum, Ticket, TicketRefusal, quote, rounded, taxes, unaccompanied,
};

/// Where a ticket is sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Channel {
    Web,
    BoxOffice,
    Api,
}

impl Channel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "WEB",
            Self::BoxOffice => "BOX_OFFICE",
            Self::Api => "API",
        }
    }
}

/// How a ticket is reported to distributors and to the tax office.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReportedAs {
    #[default]
    Full,
    Reduced,
    Free,
}

impl ReportedAs {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Reduced => "REDUCED",
            Self::Free => "FREE",
        }
    }
}

/// Prices of one ticket type by kind of seat, in minor units. A kind without a price is not sold to this type.
pub type KindPrices = BTreeMap<SeatKind, i64>;

/// A ticket type as a tariff froze it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TariffType {
    pub code: TariffCode,
    pub name: Names,
    /// What the visitor shows at the door, such as a student card.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub proof: Names,
    pub reported_as: ReportedAs,
    pub channels: Vec<Channel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_per_order: Option<u16>,
    /// An order may have at most as many of this type as it has of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accompanies: Option<TariffCode>,
    /// Without surcharges.
    pub prices: KindPrices,
}

/// An amount on top of each ticket, such as for 3D. It is part of the ticket's price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TariffSurcharge {
    pub code: TariffCode,
    pub name: Names,
    pub amount: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FeePer {
    Ticket,
    Order,
}

/// A fee beside the tickets' prices, such as for booking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fee {
    pub code: TariffCode,
    pub name: Names,
    pub amount: i64,
    pub per: FeePer,
    pub channels: Vec<Channel>,
    /// Whether a customer who cancels gets it back. Where the cinema cancels, every fee is given back.
    pub refundable: bool,
}

/// Rates in thousandths of a percent: 19 % is 19000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaxRules {
    pub tickets: u32,
    pub fees: u32,
    /// Whether the amounts contain the tax; else it is added to them.
    pub included: bool,
}

/// The card that a tariff was copied from, as it was called then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TariffCard {
    pub id: Uuid,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tariff {
    /// Absent where the showtime has plain prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<TariffCard>,
    pub currency: Currency,
    /// In the order in which they are offered. An order that names no types gets the first one, the default type, which has a
    /// price for each kind of seat that is sold.
    pub types: Vec<TariffType>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surcharges: Vec<TariffSurcharge>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fees: Vec<Fee>,
    #[serde(default)]
    pub tax: TaxRules,
}

impl Tariff {
    /// The tariff of plain prices: one type without a name, no fees, no tax. Also that of showtimes from before tariffs.
    pub fn of_prices(prices: &Prices) -> Self {
        let currency = prices.values().next().map_or(Currency::EUR, |price| price.currency);
        let plain = TariffType {
            code: TariffCode::default(),
            name: Names::default(),
            proof: Names::default(),
            reported_as: ReportedAs::Full,
            channels: vec![Channel::Web, Channel::BoxOffice, Channel::Api],
            most_per_order: None,
            accompanies: None,
            prices: prices.iter().map(|(kind, price)| (*kind, price.amount)).collect(),
        };
        Self {
            card: None,
            currency,
            types: vec![plain],
            surcharges: vec![],
            fees: vec![],
            tax: TaxRules::default(),
        }
    }

    pub fn find(&self, code: &TariffCode) -> Option<&TariffType> {
        self.types.iter().find(|of| of.code == *code)
    }

    /// The type of an order that names none.
    pub fn default_type(&self) -> TariffCode {
        self.types.first().map(|of| of.code.clone()).unwrap_or_default()
    }

    /// What one ticket of the type costs on each kind of seat, as it is first shown: with surcharges, the fees that each ticket
    /// has, and tax; a free one stays free. A fee of the order is not part of it.
    pub fn shown(&self, of: &TariffType, channel: Channel) -> Prices {
        let fees: i64 = self
            .fees_of(channel)
            .filter(|fee| fee.per == FeePer::Ticket)
            .map(|fee| self.taxed(fee.amount, self.tax.fees).0)
            .sum();
        let price = |price: &i64| match *price {
            0 => 0,
            price => self.taxed(price + self.surcharge_on(price), self.tax.tickets).0 + fees,
        };
        let each = of.prices.iter();
        each.map(|(kind, amount)| (*kind, Money { amount: price(amount), currency: self.currency })).collect()
    }

    /// The shown prices of the default type: what clients that know no types show.
    pub fn prices(&self) -> Prices {
        self.types.first().map(|of| self.shown(of, Channel::Web)).unwrap_or_default()
    }

    /// The fees of a whole order, with tax.
    pub fn order_fee(&self, channel: Channel) -> Money {
        let fees = self.fees_of(channel).filter(|fee| fee.per == FeePer::Order);
        let amount = fees.map(|fee| self.taxed(fee.amount, self.tax.fees).0).sum();
        Money { amount, currency: self.currency }
    }

    /// The surcharges on a ticket of this price: none on a free one.
    fn surcharge_on(&self, price: i64) -> i64 {
        if price == 0 { 0 } else { self.surcharges.iter().map(|surcharge| surcharge.amount).sum() }
    }

    fn fees_of(&self, channel: Channel) -> impl Iterator<Item = &Fee> {
        self.fees.iter().filter(move |fee| fee.channels.contains(&channel))
    }
}
