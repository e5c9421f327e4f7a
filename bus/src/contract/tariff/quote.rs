//! The quote: the lines, fees, tax and total of an order of tickets. The public quote, the order and the exchange all have their
//! prices from here.
//!
//! A ticket whose price on the card is 0, such as a free companion's, stays free: surcharges and fees are for paid tickets, and an
//! order of free tickets has no fee either.
//!
//! Invariant: the prices of lines and fees add up to the total, and the tax of each rate is the sum of the lines' taxes of that
//! rate: each line is rounded once, half away from zero, and nothing is rounded afterwards.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Channel, Fee, FeePer, ReportedAs, Tariff, TariffCode, TariffType};
use crate::contract::movie::SeatKind;
use crate::contract::{Currency, Locale, Money, SeatId};

/// Rates are in thousandths of a percent.
const WHOLE: i128 = 100_000;

/// One ticket that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Ticket<'a> {
    pub seat: &'a SeatId,
    pub kind: SeatKind,
    pub ticket_type: &'a TariffCode,
}

/// The tax that an amount contains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Tax {
    /// In thousandths of a percent: 19 % is 19000.
    pub rate: u32,
    /// In minor units of the price's currency.
    pub amount: i64,
}

/// One ticket of an order at the price that it was ordered for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    pub seat: SeatId,
    /// The ticket type.
    #[serde(default, rename = "type")]
    pub ticket_type: TariffCode,
    /// The type's name in the order's language; empty where the showtime has plain prices.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub type_name: String,
    /// What the visitor shows at the door, in the order's language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    #[serde(default)]
    pub reported_as: ReportedAs,
    /// With surcharges and tax.
    pub price: Money,
    /// The part of the price that surcharges are, with their tax; in minor units.
    #[serde(default)]
    pub surcharge: i64,
    #[serde(default)]
    pub tax: Tax,
}

impl Line {
    /// A ticket for a plain price.
    pub fn plain(seat: SeatId, price: Money) -> Self {
        Self {
            seat,
            ticket_type: TariffCode::default(),
            type_name: String::new(),
            proof: None,
            reported_as: ReportedAs::Full,
            price,
            surcharge: 0,
            tax: Tax::default(),
        }
    }

    /// The type of a ticket that has a name, for its token.
    pub fn named_type(&self) -> Option<&TariffCode> {
        (!self.type_name.is_empty()).then_some(&self.ticket_type)
    }
}

/// A fee of an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeeLine {
    pub code: TariffCode,
    /// In the order's language.
    pub name: String,
    /// The ticket that it belongs to; absent for a fee of the whole order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat: Option<SeatId>,
    /// With tax.
    pub price: Money,
    pub tax: Tax,
    /// Whether a customer who cancels gets it back.
    pub refundable: bool,
}

/// The taxed amounts of one rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaxSum {
    /// In thousandths of a percent: 19 % is 19000.
    pub rate: u32,
    /// Without the tax, in minor units.
    pub net: i64,
    pub tax: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quote {
    /// One for each ticket, in the order in which the tickets were given.
    pub lines: Vec<Line>,
    pub fees: Vec<FeeLine>,
    /// By rate; a rate of 0 is left out.
    pub taxes: Vec<TaxSum>,
    /// The prices of lines and fees.
    pub total: Money,
}

/// Why tickets are not sold in this combination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TicketRefusal {
    /// The tariff does not have these types (any more).
    UnknownTypes(Vec<TariffCode>),
    /// The type is not sold through this channel.
    NotOnChannel(TariffCode),
    /// The type is not sold on seats of this kind.
    NotForSeats(TariffCode, Vec<SeatId>),
    /// More tickets of the type than an order may have.
    TooMany { of: TariffCode, most: u16 },
    /// More tickets of the type than of the one that they accompany.
    Unaccompanied { of: TariffCode, needs: TariffCode },
    /// More, or less, than the payment provider can charge.
    TotalOutOfBounds { total: Money, least: i64, most: i64 },
}

/// What these tickets cost.
pub fn quote(
    tariff: &Tariff,
    tickets: &[Ticket<'_>],
    channel: Channel,
    locale: Locale,
) -> Result<Quote, TicketRefusal> {
    let types = types(tariff, tickets)?;
    check_counts(&types, channel)?;
    let mut lines = Vec::with_capacity(tickets.len());
    for (ticket, of) in tickets.iter().zip(&types) {
        let Some(price) = of.prices.get(&ticket.kind) else {
            return Err(not_for_seats(&of.code, tickets, &types));
        };
        lines.push(line(tariff, ticket, of, *price, locale));
    }
    let paid: Vec<&Line> = lines.iter().filter(|line| line.price.amount > 0).collect();
    let mut fees = Vec::new();
    for fee in tariff.fees_of(channel) {
        match fee.per {
            FeePer::Ticket => {
                fees.extend(paid.iter().map(|line| fee_line(tariff, fee, Some(&line.seat), locale)));
            }
            FeePer::Order if paid.is_empty() => {}
            FeePer::Order => fees.push(fee_line(tariff, fee, None, locale)),
        }
    }
    let total = total_of(&lines, &fees, tariff.currency)?;
    Ok(Quote { taxes: taxes(&lines, &fees), lines, fees, total })
}

/// The type of each ticket.
fn types<'a>(tariff: &'a Tariff, tickets: &[Ticket<'_>]) -> Result<Vec<&'a TariffType>, TicketRefusal> {
    let found: Option<Vec<_>> = tickets.iter().map(|ticket| tariff.find(ticket.ticket_type)).collect();
    found.ok_or_else(|| {
        let unknown = tickets.iter().map(|ticket| ticket.ticket_type);
        let mut unknown: Vec<_> = unknown.filter(|code| tariff.find(code).is_none()).cloned().collect();
        unknown.sort_unstable();
        unknown.dedup();
        TicketRefusal::UnknownTypes(unknown)
    })
}

fn check_counts(types: &[&TariffType], channel: Channel) -> Result<(), TicketRefusal> {
    let count = |code: &TariffCode| types.iter().filter(|of| of.code == *code).count();
    for of in types {
        if !of.channels.contains(&channel) {
            return Err(TicketRefusal::NotOnChannel(of.code.clone()));
        }
        if let Some(most) = of.most_per_order.filter(|most| count(&of.code) > usize::from(*most)) {
            return Err(TicketRefusal::TooMany { of: of.code.clone(), most });
        }
    }
    match unaccompanied(types) {
        Some((of, needs)) => Err(TicketRefusal::Unaccompanied { of, needs }),
        None => Ok(()),
    }
}

/// A type of which there are more tickets than of the one that it accompanies, and that one.
pub fn unaccompanied(types: &[&TariffType]) -> Option<(TariffCode, TariffCode)> {
    let count = |code: &TariffCode| types.iter().filter(|of| of.code == *code).count();
    let alone = |of: &&TariffType| {
        let needs = of.accompanies.as_ref().filter(|needs| count(&of.code) > count(needs));
        needs.map(|needs| (of.code.clone(), needs.clone()))
    };
    types.iter().find_map(alone)
}

fn not_for_seats(code: &TariffCode, tickets: &[Ticket<'_>], types: &[&TariffType]) -> TicketRefusal {
    let wrong = tickets
        .iter()
        .zip(types)
        .filter(|(ticket, of)| of.code == *code && !of.prices.contains_key(&ticket.kind));
    TicketRefusal::NotForSeats(code.clone(), wrong.map(|(ticket, _)| ticket.seat.clone()).collect())
}

fn line(tariff: &Tariff, ticket: &Ticket<'_>, of: &TariffType, price: i64, locale: Locale) -> Line {
    let (amount, tax) = tariff.taxed(price + tariff.surcharge_on(price), tariff.tax.tickets);
    let without = tariff.taxed(price, tariff.tax.tickets).0;
    let proof = of.proof.get(locale);
    Line {
        seat: ticket.seat.clone(),
        ticket_type: of.code.clone(),
        type_name: of.name.get(locale).to_owned(),
        proof: (!proof.is_empty()).then(|| proof.to_owned()),
        reported_as: of.reported_as,
        price: Money { amount, currency: tariff.currency },
        surcharge: amount - without,
        tax: Tax { rate: tariff.tax.tickets, amount: tax },
    }
}

fn fee_line(tariff: &Tariff, fee: &Fee, seat: Option<&SeatId>, locale: Locale) -> FeeLine {
    let (amount, tax) = tariff.taxed(fee.amount, tariff.tax.fees);
    FeeLine {
        code: fee.code.clone(),
        name: fee.name.get(locale).to_owned(),
        seat: seat.cloned(),
        price: Money { amount, currency: tariff.currency },
        tax: Tax { rate: tariff.tax.fees, amount: tax },
        refundable: fee.refundable,
    }
}

/// The sum, if it can be charged.
fn total_of(lines: &[Line], fees: &[FeeLine], currency: Currency) -> Result<Money, TicketRefusal> {
    let prices = lines.iter().map(|line| line.price.amount).chain(fees.iter().map(|fee| fee.price.amount));
    let (least, most) = (currency.least(), currency.most_due());
    let amount = prices.fold(0, i64::saturating_add);
    let total = Money { amount, currency };
    let can_be_charged = amount == 0 || (least..=most).contains(&amount);
    if can_be_charged { Ok(total) } else { Err(TicketRefusal::TotalOutOfBounds { total, least, most }) }
}

/// The sums of each rate.
pub fn taxes(lines: &[Line], fees: &[FeeLine]) -> Vec<TaxSum> {
    let of_lines = lines.iter().map(|line| (line.tax, line.price.amount));
    let of_fees = fees.iter().map(|fee| (fee.tax, fee.price.amount));
    let mut sums: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
    for (tax, price) in of_lines.chain(of_fees).filter(|(tax, _)| tax.rate > 0) {
        let (net, taxes) = sums.entry(tax.rate).or_default();
        *net += price - tax.amount;
        *taxes += tax.amount;
    }
    sums.into_iter().map(|(rate, (net, tax))| TaxSum { rate, net, tax }).collect()
}

impl Tariff {
    /// The price of an amount of the tariff with tax, and the tax in it. A tax that is added is rounded to what the provider
    /// can move.
    pub(super) fn taxed(&self, amount: i64, rate: u32) -> (i64, i64) {
        let wide = i128::from(amount) * i128::from(rate);
        if self.tax.included {
            return (amount, rounded(wide, WHOLE + i128::from(rate)));
        }
        let step = self.currency.step();
        let tax = rounded(wide, WHOLE * i128::from(step)) * step;
        (amount + tax, tax)
    }
}

/// `numerator / denominator`, rounded half away from zero. A share of an amount in `i64` by a rate of at most 100 %, so that it
/// fits.
pub fn rounded(numerator: i128, denominator: i128) -> i64 {
    let half = denominator / 2 * numerator.signum();
    i64::try_from((numerator + half) / denominator).unwrap_or(i64::MAX)
}
