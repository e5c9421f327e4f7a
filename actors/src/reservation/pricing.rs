//! What an order's tickets cost: which ticket type each seat gets, and the quote of them by the showtime's tariff.
//!
//! Invariant: every price comes from [`quote`], so that the public quote, the order and the exchange agree.

use bus::contract::reservation::{CreateReservation, Rejection, ShownTariff, ShownType, TicketChoice};
use bus::contract::tariff::{Channel, Quote, Ticket, quote};
use bus::contract::{Line, Locale, TariffCode};

use super::model::Showtime;
use super::seat_map::SeatMap;

/// Every request of a customer comes through the web's API.
pub const CHANNEL: Channel = Channel::Web;

/// The types of the tickets that a request orders, in the order of its seats.
pub fn ordered_types(request: &CreateReservation, showtime: &Showtime, seats: usize) -> Vec<TariffCode> {
    if let Some(tickets) = &request.tickets {
        return tickets.iter().map(|ticket| ticket.ticket_type.clone()).collect();
    }
    let by_count = request.best_available.as_ref().and_then(|best| best.types.as_ref());
    let Some(by_count) = by_count else { return vec![showtime.tariff.default_type(); seats] };
    // In the tariff's order, so that adults sit beside their children; then types that the tariff does not have.
    let offered = showtime.tariff.types.iter().map(|of| &of.code);
    let unknown = by_count.keys().filter(|code| showtime.tariff.find(code).is_none());
    let each = offered.chain(unknown).map(|code| (code, by_count.get(code).copied().unwrap_or(0)));
    each.flat_map(|(code, count)| std::iter::repeat_n(code.clone(), count.into())).collect()
}

/// The types of an exchange that names none: each seat gets the type of the line in whose place it stands, where the tariff has
/// that type; any other gets the default type.
pub fn kept_types(old: &[Line], showtime: &Showtime, seats: usize) -> Vec<TariffCode> {
    let kept = |at: usize| old.get(at).map(|line| &line.ticket_type);
    let is_sold = |code: &&TariffCode| showtime.tariff.find(code).is_some();
    (0..seats)
        .map(|at| kept(at).filter(is_sold).cloned().unwrap_or_else(|| showtime.tariff.default_type()))
        .collect()
}

/// The quote for seats of the map with a type each.
pub fn quote_seats(
    showtime: &Showtime,
    map: &SeatMap,
    seats: &[usize],
    types: &[TariffCode],
    locale: Locale,
) -> Result<Quote, Rejection> {
    let tickets = seats.iter().zip(types).map(|(index, ticket_type)| {
        let seat = &map.seats()[*index];
        Ticket { seat: &seat.id, kind: seat.kind, ticket_type }
    });
    quote(&showtime.tariff, &tickets.collect::<Vec<_>>(), CHANNEL, locale).map_err(Rejection::Tickets)
}

/// The quote of named tickets, whether or not their seats are free.
pub fn quote_tickets(
    showtime: &Showtime,
    map: &SeatMap,
    tickets: &[TicketChoice],
    locale: Locale,
) -> Result<Quote, Rejection> {
    let (seats, types): (Vec<_>, Vec<_>) =
        tickets.iter().map(|ticket| (ticket.seat.clone(), ticket.ticket_type.clone())).unzip();
    quote_seats(showtime, map, &map.find(&seats)?, &types, locale)
}

/// The tariff as visitors see it.
pub fn shown(showtime: &Showtime) -> ShownTariff {
    let tariff = &showtime.tariff;
    let on_sale = tariff.types.iter().filter(|of| of.channels.contains(&CHANNEL));
    let types = on_sale.map(|of| ShownType {
        code: of.code.clone(),
        name: of.name.clone(),
        proof: of.proof.clone(),
        reported_as: of.reported_as,
        most_per_order: of.most_per_order,
        accompanies: of.accompanies.clone(),
        prices: tariff.shown(of, CHANNEL),
    });
    ShownTariff {
        version: showtime.version,
        currency: tariff.currency,
        types: types.collect(),
        surcharges: tariff.surcharges.clone(),
        order_fee: tariff.order_fee(CHANNEL),
        tax: tariff.tax,
    }
}
