//! An order: a request for seats that is not decided yet, and the rules that decide it.

use std::net::IpAddr;
use std::sync::Arc;

use bus::contract::movie::{SeatKind, ShowtimeStatus};
use bus::contract::reservation::{BestSeats, CreateReservation, FindBestSeats, RefundPolicy, Rejection};
use bus::contract::{Currency, Line, Money, Timestamp};
use bus::token::Identity;
use bus::{Context, Problem};
use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::best_available::{best_available, left};
use super::model::{Reservation, Showtime};
use super::saga::{Saga, SagaEvent, Step, Terms};
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

/// The seats that the order gets, or `None` when it is blocked only by marks.
pub fn decide(
    request: &CreateReservation,
    showtime: &Showtime,
    map: &SeatMap,
    settings: &ReservationSettings,
    now: Timestamp,
) -> Result<Option<Vec<usize>>, Rejection> {
    may_sell(size(request), showtime, settings, now)?;
    choose(map, request)
}

fn may_sell(
    count: usize,
    showtime: &Showtime,
    settings: &ReservationSettings,
    now: Timestamp,
) -> Result<(), Rejection> {
    if count > settings.seats_per_order_max {
        return Err(Rejection::SeatsPerOrder { most: settings.seats_per_order_max });
    }
    if showtime.status == ShowtimeStatus::Cancelled {
        return Err(Rejection::ShowtimeNotOnSale);
    }
    if showtime.starts_at <= now {
        return Err(Rejection::ShowtimeStarted);
    }
    Ok(())
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
    Ok(BestSeats {
        seats: map.ids(&seats),
        together: map.are_together(&seats),
        total: total(&map.lines(&seats)),
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
        let count = usize::from(best.count);
        let (left, marked) = left(map, kind);
        return match best_available(map, count, kind, &[]) {
            Some(seats) => Ok(Some(seats)),
            None if left >= count && marked > 0 => Ok(None),
            None => Err(too_few(left, count)),
        };
    }
    let named = map.find(request.seats.as_deref().unwrap_or_default())?;
    sold_together::check(map, &named)?;
    match map.named(named) {
        Named::Free(seats) => Ok(Some(seats)),
        Named::Wait => Ok(None),
        Named::Taken(taken) => Err(Rejection::SeatsTaken(taken)),
    }
}

fn size(request: &CreateReservation) -> usize {
    let best = request.best_available.as_ref().map_or(0, |best| usize::from(best.count));
    request.seats.as_ref().map_or(best, Vec::len)
}

/// The saga of an order of these lines, with the events of its beginning. `exchange_of`: the reservation that it replaces
/// once it is paid.
pub fn begin(
    lines: Vec<Line>,
    showtime: &Showtime,
    exchange_of: Option<Uuid>,
    settings: &ReservationSettings,
    now: Timestamp,
) -> Step {
    let terms = Terms {
        total: total(&lines),
        lines,
        starts_at: showtime.starts_at,
        hold_seconds: settings.hold.as_secs(),
        hold_until_max: now.plus(settings.hold_max),
        grace_seconds: settings.grace.as_secs(),
        refund_until: showtime.starts_at.minus(settings.refund_until),
        refund_policy: RefundPolicy {
            until_minutes: settings.refund_until.as_secs() / 60,
            percent: settings.refund_percent,
        },
    };
    Saga::start(terms, now.plus(settings.hold), exchange_of)
}

/// The reservation that holds the lines' seats, with the events of its beginning.
pub fn new_reservation(
    customer: &Identity,
    showtime: &Showtime,
    lines: Vec<Line>,
    settings: &ReservationSettings,
    now: Timestamp,
) -> (Reservation, Vec<SagaEvent>) {
    let Step { next: saga, events, .. } = begin(lines, showtime, None, settings, now);
    let reservation = Reservation {
        deadline: saga.deadline(now),
        id: Uuid::now_v7(),
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

/// The price of an order; its lines are of one currency.
pub fn total(lines: &[Line]) -> Money {
    let currency = lines.first().map_or(Currency::EUR, |line| line.price.currency);
    Money { amount: lines.iter().map(|line| line.price.amount).sum(), currency }
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
