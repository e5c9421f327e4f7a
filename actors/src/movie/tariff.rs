//! Tariffs from price cards: which card applies to a showtime, and the copy of it that the showtime freezes.
//!
//! Invariant: a tariff is made of one version of the card and of the ticket types: [`Pricing`] is read by one statement. What
//! changes after that changes no tariff, also where the showtime is committed only then.
//! Invariant: an order that names no types can be sold on every seat: the default type has a price for each kind.

use std::collections::BTreeSet;

use bus::contract::movie::{
    PriceCard, PriceCardFields, Prices, Rejection, Row, SeatKind, TicketType, Weekday,
};
use bus::contract::tariff::{Channel, KindPrices, TariffCard, TariffSurcharge, TariffType};
use bus::contract::{Tariff, TariffCode, Timestamp};
use jiff::tz::TimeZone;
use time::Date;
use uuid::Uuid;

use super::layout::kinds_sold;
use crate::zone;

/// All ticket types and price cards, each in the order of their lists.
#[derive(Debug, Clone, Default)]
pub struct Pricing {
    pub types: Vec<TicketType>,
    pub cards: Vec<PriceCard>,
}

/// What a request says of the prices of a showtime.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Plain prices instead of a card.
    pub prices: Option<&'a Prices>,
    /// The card that applies at the start, without it.
    pub card: Option<Uuid>,
    pub surcharges: &'a [TariffCode],
}

/// The part of a showtime that its prices depend on.
#[derive(Debug, Clone, Copy)]
pub struct Show<'a> {
    pub starts_at: Timestamp,
    /// The movie's length.
    pub minutes: u16,
    pub time_zone: &'a str,
    pub rows: &'a [Row],
}

/// The tariff of a showtime; `None` where the request has plain prices, which name every kind of seat.
pub fn tariff(wanted: Wanted<'_>, show: Show<'_>, pricing: &Pricing) -> Result<Option<Tariff>, Rejection> {
    let kinds = kinds_sold(show.rows);
    if let Some(prices) = wanted.prices {
        return has_all(&kinds, |kind| prices.contains_key(kind)).map(|()| None);
    }
    let card = match wanted.card {
        Some(id) => pricing.cards.iter().find(|card| card.id == id).ok_or(Rejection::UnknownPriceCard)?,
        None => {
            let zone = zone::named(show.time_zone).ok_or(Rejection::UnknownTimeZone)?;
            let (day, time) = clock(show.starts_at, &zone).ok_or(Rejection::PriceCardMissing)?;
            pricing.applying(day, &time).ok_or(Rejection::PriceCardMissing)?
        }
    };
    freeze(card, &pricing.types, wanted.surcharges, show.minutes, &kinds).map(Some)
}

impl Pricing {
    /// The card that a show on this day at this time (`HH:MM`) gets: the first that applies.
    pub fn applying(&self, day: Weekday, time: &str) -> Option<&PriceCard> {
        self.cards.iter().find(|card| card.of.applies(day, time))
    }
}

/// The local weekday and time of day (`HH:MM`) of an instant.
fn clock(at: Timestamp, zone: &TimeZone) -> Option<(Weekday, String)> {
    let (date, time) = zone::local(at, zone)?;
    Some((weekday(date), format!("{:02}:{:02}", time.hour(), time.minute())))
}

pub fn weekday(date: Date) -> Weekday {
    match date.weekday() {
        time::Weekday::Monday => Weekday::Monday,
        time::Weekday::Tuesday => Weekday::Tuesday,
        time::Weekday::Wednesday => Weekday::Wednesday,
        time::Weekday::Thursday => Weekday::Thursday,
        time::Weekday::Friday => Weekday::Friday,
        time::Weekday::Saturday => Weekday::Saturday,
        time::Weekday::Sunday => Weekday::Sunday,
    }
}

/// The tariff of a card for a hall that sells these kinds of seat.
fn freeze(
    card: &PriceCard,
    types: &[TicketType],
    chosen: &[TariffCode],
    minutes: u16,
    kinds: &BTreeSet<SeatKind>,
) -> Result<Tariff, Rejection> {
    let PriceCardFields { name, currency, fees, tax, .. } = card.of.clone();
    let mut frozen: Vec<TariffType> = types.iter().filter_map(|of| frozen_type(of, &card.of)).collect();
    leave_out_unaccompanied(&mut frozen);
    put_default_first(&mut frozen, default_type(types), kinds)?;
    Ok(Tariff {
        card: Some(TariffCard { id: card.id, name }),
        currency,
        types: frozen,
        surcharges: surcharges(&card.of, chosen, minutes)?,
        fees,
        tax,
    })
}

/// The type with its prices on the card; `None` where it is not sold by this card. Prices of kinds that the hall lacks stay:
/// it may get such seats later.
fn frozen_type(of: &TicketType, card: &PriceCardFields) -> Option<TariffType> {
    let of = of.of.clone();
    let sits_on = |kind: &SeatKind| of.seat_kinds.is_empty() || of.seat_kinds.contains(kind);
    let prices: KindPrices = card
        .prices
        .get(&of.code)?
        .iter()
        .filter(|(kind, _)| sits_on(kind))
        .map(|(kind, price)| (*kind, *price))
        .collect();
    (of.active && !prices.is_empty()).then_some(TariffType {
        code: of.code,
        name: of.name,
        proof: of.proof,
        reported_as: of.reported_as,
        channels: of.channels,
        most_per_order: of.most_per_order,
        accompanies: of.accompanies,
        prices,
    })
}

/// Nobody can buy a type without the one that it accompanies. Leaving one out may leave another one alone.
fn leave_out_unaccompanied(types: &mut Vec<TariffType>) {
    loop {
        let codes: BTreeSet<TariffCode> = types.iter().map(|of| of.code.clone()).collect();
        types.retain(|of| of.accompanies.as_ref().is_none_or(|needs| codes.contains(needs)));
        if types.len() == codes.len() {
            return;
        }
    }
}

/// The type of orders that name none: the first active one that is sold on the web and accompanies no other.
fn default_type(types: &[TicketType]) -> Option<&TariffCode> {
    let fits = |of: &&TicketType| {
        of.of.active && of.of.channels.contains(&Channel::Web) && of.of.accompanies.is_none()
    };
    types.iter().find(fits).map(|of| &of.of.code)
}

/// A card without prices of the default type is refused. The next type in its place would sell a child's ticket to everybody
/// who orders seats alone.
fn put_default_first(
    types: &mut [TariffType],
    default: Option<&TariffCode>,
    kinds: &BTreeSet<SeatKind>,
) -> Result<(), Rejection> {
    let at = types.iter().position(|of| Some(&of.code) == default);
    let prices = at.map(|at| &types[at].prices);
    has_all(kinds, |kind| prices.is_some_and(|prices| prices.contains_key(kind)))?;
    if let Some(at) = at {
        types[..=at].rotate_right(1);
    }
    Ok(())
}

fn has_all(kinds: &BTreeSet<SeatKind>, has: impl Fn(&SeatKind) -> bool) -> Result<(), Rejection> {
    match kinds.iter().find(|kind| !has(kind)) {
        Some(kind) => Err(Rejection::PriceMissing(*kind)),
        None => Ok(()),
    }
}

/// The surcharges that staff chose, and those of long movies.
fn surcharges(
    card: &PriceCardFields,
    chosen: &[TariffCode],
    minutes: u16,
) -> Result<Vec<TariffSurcharge>, Rejection> {
    let is_known = |code: &TariffCode| card.surcharges.iter().any(|surcharge| surcharge.code == *code);
    if let Some(index) = chosen.iter().position(|code| !is_known(code)) {
        return Err(Rejection::SurchargeUnknown { index });
    }
    let applying = card.surcharges.iter().filter(|surcharge| {
        chosen.contains(&surcharge.code) || surcharge.minutes_over.is_some_and(|over| minutes > over)
    });
    let frozen = applying.cloned().map(|surcharge| TariffSurcharge {
        code: surcharge.code,
        name: surcharge.name,
        amount: surcharge.amount,
    });
    Ok(frozen.collect())
}
