//! An order: a request for seats that is not decided yet, and the rules that decide it.

use std::net::IpAddr;
use std::sync::Arc;

use bus::contract::auth::Role;
use bus::contract::movie::{Sale, SeatKind, sale};
use bus::contract::reservation::{
    BestAvailable, BestSeats, CreateReservation, FindBestSeats, RefundPolicy, Rejection,
};
use bus::contract::site::SalesCutoffs;
use bus::contract::tariff::Quote;
use bus::contract::{Locale, OrderCode, Timestamp};
use bus::token::Identity;
use bus::{Context, Problem};
use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::best_available::{best_available, left};
use super::holds::Customer;
use super::model::{Reservation, Showtime};
use super::pricing;
use super::saga::{Saga, SagaEvent, Step, Terms, fees_kept};
use super::sale_rules;
use super::seat_map::{Named, SeatMap};
use super::sold_together;
use crate::config::ReservationSettings;
use crate::delivery::{IdempotencyKey, StoredAnswer};

pub type Reply = oneshot::Sender<Result<Bytes, Problem>>;

/// A request for seats that is not decided yet.
pub struct Order {
    pub request: CreateReservation,
    pub identity: Arc<Identity>,
    /// The client's address, where the request came through a gateway.
    pub address: Option<IpAddr>,
    pub context: Context,
    pub key: IdempotencyKey,
    pub request_hash: [u8; 32],
    pub reply: Reply,
    /// The showtime's sequence in the database, read after the order arrived and when its key was found unused.
    pub checked: Option<i64>,
    pub tries: u32,
}

impl Order {
    /// The language of the order's mails and tickets.
    pub fn locale(&self) -> Locale {
        self.request.locale.or(self.context.locale).unwrap_or_default()
    }

    /// The customer, as the bounds of holds see it.
    pub fn customer(&self) -> Customer {
        Customer { role: self.identity.role, is_proven: self.identity.email_verified, address: self.address }
    }
}

/// The seats that an order gets, and what they cost.
pub struct Choice {
    pub seats: Vec<usize>,
    pub quote: Quote,
}

/// The seats that the order gets, or `None` when it is blocked only by marks.
///
/// The checks of a hold are made in this sequence, and the first that fails is the answer: the number of seats; whether the showtime
/// is sold to this customer now (`settings` are those of [`super::Env::settings_for`]); the seats; the price; then by the showtime
/// actor or the exchange, whether the customer may order for nothing ([`super::holds::may_order`]); last, in the transaction that claims the seats,
/// the showtime's version and how much the customer holds already ([`super::holds::Bounds`]).
pub fn decide(
    request: &CreateReservation,
    showtime: &Showtime,
    map: &SeatMap,
    settings: &ReservationSettings,
    locale: Locale,
    now: Timestamp,
) -> Result<Option<Choice>, Rejection> {
    may_sell(size(request), showtime, settings, now)?;
    let Some(seats) = choose(map, request)? else { return Ok(None) };
    let types = pricing::ordered_types(request, showtime, seats.len());
    let quote = pricing::quote_seats(showtime, map, &seats, &types, locale)?;
    if request.expected_total.is_some_and(|expected| expected != quote.total) {
        return Err(Rejection::PriceChanged { total: quote.total });
    }
    Ok(Some(Choice { seats, quote }))
}

/// Refuses too many seats, and a showtime that is not sold now: to customers a draft does not exist, and the sale ends
/// `settings.sales_end` before the start.
fn may_sell(
    count: usize,
    showtime: &Showtime,
    settings: &ReservationSettings,
    now: Timestamp,
) -> Result<(), Rejection> {
    if count > settings.seats_per_order_max {
        return Err(Rejection::SeatsPerOrder { most: settings.seats_per_order_max });
    }
    match sale(showtime.status, showtime.on_sale_at, showtime.starts_at, settings.sales_end, now) {
        Sale::Draft => Err(Rejection::NoSuchShowtime),
        Sale::Cancelled => Err(Rejection::ShowtimeNotOnSale),
        Sale::Begun => Err(Rejection::ShowtimeStarted),
        Sale::Ended => Err(Rejection::SalesEnded),
        Sale::NotYet(on_sale_at) => Err(Rejection::NotOnSaleYet { on_sale_at }),
        Sale::Open => Ok(()),
    }
}

/// The seats that an order of the best available would get now. Marks nothing.
pub fn find_best(
    request: &FindBestSeats,
    showtime: &Showtime,
    map: &SeatMap,
    settings: &ReservationSettings,
    now: Timestamp,
) -> Result<BestSeats, Rejection> {
    let (count, kind) = (usize::from(request.count), request.kind.unwrap_or(SeatKind::Standard));
    may_sell(count, showtime, settings, now)?;
    let near = map.find(&request.near)?;
    let Some(seats) = best_available(map, count, kind, &near) else {
        let (left, marked) = left(map, kind);
        return Err(too_few(left - marked, count));
    };
    let types = vec![showtime.tariff.default_type(); seats.len()];
    let quote = pricing::quote_seats(showtime, map, &seats, &types, Locale::default())?;
    Ok(BestSeats {
        seats: map.ids(&seats),
        together: map.are_together(&seats),
        total: quote.total,
        sequence: map.sequence,
    })
}

/// Why no seats are found: too few are free, or only units that do not make up the count.
fn too_few(left: usize, count: usize) -> Rejection {
    if left < count { Rejection::NotEnoughSeats { left } } else { Rejection::UnitSplit(vec![]) }
}

fn choose(map: &SeatMap, request: &CreateReservation) -> Result<Option<Vec<usize>>, Rejection> {
    if let Some(best) = &request.best_available {
        let kind = best.kind.unwrap_or(SeatKind::Standard);
        let count = best.size();
        let (left, marked) = left(map, kind);
        return match best_available(map, count, kind, &[]) {
            Some(seats) => Ok(Some(seats)),
            None if left >= count && marked > 0 => Ok(None),
            None => Err(too_few(left, count)),
        };
    }
    let named = match &request.tickets {
        Some(tickets) => map.find(&tickets.iter().map(|ticket| ticket.seat.clone()).collect::<Vec<_>>())?,
        None => map.find(request.seats.as_deref().unwrap_or_default())?,
    };
    sold_together::check(map, &named)?;
    match map.named(named) {
        Named::Free(seats) => Ok(Some(seats)),
        Named::Wait => Ok(None),
        Named::Taken(taken) => Err(Rejection::SeatsTaken(taken)),
    }
}

fn size(request: &CreateReservation) -> usize {
    let best = || request.best_available.as_ref().map(BestAvailable::size);
    let named = request.seats.as_ref().map(Vec::len).or(request.tickets.as_ref().map(Vec::len));
    named.or_else(best).unwrap_or(0)
}

/// The saga of an order at this quote, with the events of its beginning. `exchange_of`: the reservation that it replaces
/// once it is paid.
pub fn begin(
    quote: Quote,
    showtime: &Showtime,
    exchange_of: Option<Uuid>,
    locale: Locale,
    settings: &ReservationSettings,
    now: Timestamp,
) -> Step {
    let terms = Terms {
        fees_kept: fees_kept(&quote.fees),
        lines: quote.lines,
        fees: quote.fees,
        total: quote.total,
        starts_at: showtime.starts_at,
        hold_seconds: settings.hold.as_secs(),
        hold_until_max: now.plus(settings.hold_max),
        grace_seconds: settings.grace.as_secs(),
        refund_until: showtime.starts_at.minus(settings.refund_until),
        refund_policy: RefundPolicy {
            until_minutes: settings.refund_until.as_secs() / 60,
            percent: settings.refund_percent,
        },
        sales_cutoffs: SalesCutoffs { web_minutes: sale_rules::whole_minutes(settings.sales_end) },
        site_id: showtime.site_id,
        locale,
    };
    Saga::start(terms, now.plus(settings.hold), exchange_of)
}

/// The reservation that holds the quoted seats, with the events of its beginning.
pub fn new_reservation(
    customer: &Identity,
    showtime: &Showtime,
    quote: Quote,
    locale: Locale,
    settings: &ReservationSettings,
    now: Timestamp,
) -> (Reservation, Vec<SagaEvent>) {
    let Step { next: saga, events, .. } = begin(quote, showtime, None, locale, settings, now);
    let saga = Saga { guest: customer.role == Role::Guest, ..saga };
    let reservation = Reservation {
        deadline: saga.deadline(now),
        id: Uuid::now_v7(),
        code: OrderCode::random(),
        user_id: customer.user_id,
        email: customer.email.clone(),
        showtime_id: showtime.id,
        movie_id: showtime.movie_id,
        movie_title: showtime.movie_title.clone(),
        starts_at: showtime.starts_at,
        version: 1,
        saga,
        created_at: now,
        updated_at: now,
    };
    (reservation, events)
}

/// The answer to a request whose key was used before.
pub fn replay(request_hash: &[u8; 32], stored: StoredAnswer) -> Result<Bytes, Problem> {
    if stored.request_hash != *request_hash {
        return Err(Rejection::IdempotencyMismatch.into());
    }
    stored.response.ok_or_else(|| Problem::unavailable("The first request with this key is still running."))
}

pub fn answer(reply: Reply, answer: Result<Bytes, Problem>) {
    // The caller may have given up waiting.
    let _ = reply.send(answer);
}
