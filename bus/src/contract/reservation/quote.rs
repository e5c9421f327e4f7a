//! What tickets cost before they are ordered: a showtime's tariff, and the quote of chosen tickets. Nothing is held.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::TicketChoice;
use super::request::validate_seats;
use crate::contract::movie::Prices;
use crate::contract::tariff::{Quote, ReportedAs, TariffSurcharge, TaxRules};
use crate::contract::{Access, Currency, Fields, Locale, Money, Names, Request, TariffCode};

/// What a showtime's tickets cost now on the web.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetTariff {
    pub showtime_id: Uuid,
}

impl Request for GetTariff {
    const SUBJECT: &'static str = "rpc.reservation.tariff";
    const ACCESS: Access = Access::Public;
    type Answer = ShownTariff;
}

/// A tariff as visitors see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShownTariff {
    /// The showtime's version: another one may have another tariff.
    pub version: i64,
    pub currency: Currency,
    /// The types that are sold on the web; the first one is that of an order that names none.
    pub types: Vec<ShownType>,
    pub surcharges: Vec<TariffSurcharge>,
    /// The fees of a whole order, with tax. Fees of a ticket are in the types' prices.
    pub order_fee: Money,
    pub tax: TaxRules,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShownType {
    pub code: TariffCode,
    /// Empty where the showtime has plain prices.
    pub name: Names,
    /// What the visitor shows at the door.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub proof: Names,
    pub reported_as: ReportedAs,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_per_order: Option<u16>,
    /// An order may have at most as many of this type as it has of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accompanies: Option<TariffCode>,
    /// What a ticket costs on each kind of seat: with surcharges, the fees of a ticket, and tax.
    pub prices: Prices,
}

/// The lines, fees, taxes and total that an order of these tickets would have now, whether or not the seats are free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuoteTickets {
    pub showtime_id: Uuid,
    pub tickets: Vec<TicketChoice>,
    /// The language of names; English when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
}

impl Request for QuoteTickets {
    const SUBJECT: &'static str = "rpc.reservation.quote";
    const ACCESS: Access = Access::Public;
    type Answer = Quote;
    fn validate(&self, fields: &mut Fields) {
        validate_seats(self.tickets.iter().map(|ticket| &ticket.seat), "tickets", ".seat", fields);
    }
}
