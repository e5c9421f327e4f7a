//! Exchanging: a confirmed reservation's seats for others, which is one step for the moviegoer.
//!
//! Invariant: new seats are claimed before, or in the same transaction in which, the old ones are freed.
//! For the same price or less the reservation itself moves; for more, a new one is made in the transaction in which the old
//! one's saga stores it. The old one's money is its credit: only the difference is paid, and one commit then replaces the old one. Which seats are free is read here and decided by Postgres.

use std::collections::BTreeMap;

use bus::Problem;
use bus::contract::reservation::{
    BestAvailable, CREDITED_CAPTURES_MAX, CreateReservation, ExchangeReservation, PlanExchange, Rejection,
    ReservationPlan, SeatStatus, TicketChoice,
};
use bus::contract::tariff::Quote;
use bus::contract::{Line, Money, OrderCode, SeatId, Timestamp};
use bus::service::{Answered, Call, json};
use uuid::Uuid;

use super::holds::{Customer, may_order};
use super::model::{Reservation, Showtime, Snapshot};
use super::order;
use super::pricing;
use super::requests::{find, key, once, send};
use super::saga::{Input, Place, Replacement};
use super::seat_map::SeatMap;
use super::{Env, showtime};
use crate::config::ReservationSettings;

/// Tries of one exchange that loses its seats to others; best-available then finds more.
const TRIES_MAX: u32 = 8;

pub async fn exchange(env: Env, call: Call<ExchangeReservation>) -> Answered {
    let key = Some(key(&call)?.ok_or(Rejection::IdempotencyKeyMissing)?);
    let tried = async {
        let mut tries = 0;
        loop {
            tries += 1;
            // A refusal before the write is final, since the row was just read; only a race lost at the write is tried again.
            let (old, input) = plan(&env, &call, &call.request).await?;
            match send(&env, &call, old.id, input, key.clone()).await {
                // Other seats, another price or another difference: planned again on the new rows.
                Err(problem) if lost_a_race(&problem) && tries < TRIES_MAX => {}
                answered => return answered,
            }
        }
    };
    once(&env, &key, tried).await
}

/// Whether seats or reservation changed between reading and writing.
fn lost_a_race(problem: &Problem) -> bool {
    matches!(problem.code.as_str(), "seats-taken" | "plan-changed")
}

/// The reservation as it is now, if the caller may exchange it, and the input that exchanges it.
async fn plan<R>(
    env: &Env,
    call: &Call<R>,
    request: &ExchangeReservation,
) -> Result<(Reservation, Input), Problem> {
    let old = find(env, call, request.id).await?;
    let now = env.clock.now();
    old.saga.may_exchange(now)?;
    let target = request.showtime_id.unwrap_or(old.showtime_id);
    let hall = showtime::read(target, env).await?.ok_or(Rejection::NoSuchShowtime)?;
    // The token of an order proves no address. An exchange counts to no network (`holds::Bounds::of_exchange`).
    let caller = call.caller()?;
    let customer = Customer { role: caller.role, is_proven: caller.email_verified, address: None };
    let settings = env.settings_for(&hall.showtime, customer.role);
    let input = choose(request, &old, &hall, &settings, &customer, now)?;
    if request.version.is_some_and(|seen| seen != old.version) {
        return Err(Rejection::PlanChanged(Some(as_plan(&old, &input, now))).into());
    }
    Ok((old, input))
}

/// The plan of the exchange for the reservation as it is now.
fn as_plan(old: &Reservation, input: &Input, now: Timestamp) -> ReservationPlan {
    let nothing = Money { amount: 0, ..old.saga.terms.total };
    let (total, refund, payable) = match input {
        Input::BeginExchange(new) => (new.to.total, nothing, new.saga.due()),
        Input::Exchange(place) => {
            let refund = old.saga.due_back(old.saga.remaining(place), old.saga.terms.percent(now));
            (place.total, refund, nothing)
        }
        _ => (old.saga.terms.total, nothing, nothing),
    };
    ReservationPlan { version: old.version, total, refund, payable }
}

/// Answers the plan of an exchange.
pub async fn preview(env: Env, call: Call<PlanExchange>) -> Answered {
    let PlanExchange { id, showtime_id, seats } = call.request.clone();
    let request = ExchangeReservation {
        id,
        showtime_id,
        seats: Some(seats),
        tickets: None,
        best_available: None,
        version: None,
    };
    let (old, input) = plan(&env, &call, &request).await?;
    json(&as_plan(&old, &input, env.clock.now()))
}

/// Chooses the seats, and whether the exchange needs a new reservation. `customer`: the caller.
pub fn choose(
    request: &ExchangeReservation,
    old: &Reservation,
    hall: &Snapshot,
    settings: &ReservationSettings,
    customer: &Customer,
    now: Timestamp,
) -> Result<Input, Rejection> {
    let order = order_of(request, old, &hall.showtime);
    let locale = old.saga.terms.locale;
    let same_showtime = old.showtime_id == hall.showtime.id;
    let decide = |map: &SeatMap| -> Result<Quote, Rejection> {
        let choice = order::decide(&order, &hall.showtime, map, settings, locale, now)?;
        // A map made from a snapshot has no marks to wait for.
        Ok(choice.ok_or(Rejection::NotEnoughSeats { left: 0 })?.quote)
    };
    let map = map_of(hall, |seat| same_showtime && old.has_seat(seat));
    let quote = decide(&map)?;
    if same_showtime && is_same(&quote.lines, old) {
        return Err(Rejection::SameSeats);
    }
    if quote.total.currency != old.saga.terms.total.currency {
        return Err(Rejection::OtherCurrency);
    }
    let place = |quote: Quote| Place {
        planned_on: old.version,
        showtime_id: hall.showtime.id,
        showtime_version: hall.showtime.version,
        movie_id: hall.showtime.movie_id,
        movie_title: hall.showtime.movie_title.clone(),
        starts_at: hall.showtime.starts_at,
        lines: quote.lines,
        fees: quote.fees,
        total: quote.total,
    };
    if quote.total.amount <= old.saga.terms.total.amount {
        // Else a paid order would be a way to seats for nothing. An order that is free already was allowed.
        if old.saga.terms.total.amount > 0 {
            may_order(settings, customer, quote.total)?;
        }
        return Ok(Input::Exchange(place(quote)));
    }
    // The old seats stay sold until the new ones are paid, so the new ones must be others.
    let kept = quote.lines.iter().map(|line| &line.seat).filter(|seat| same_showtime && old.has_seat(seat));
    let kept: Vec<SeatId> = kept.cloned().collect();
    let quote = match (kept.is_empty(), &request.best_available) {
        (true, _) => quote,
        (false, None) => return Err(Rejection::ExchangeKeepsSeats(kept)),
        (false, Some(_)) => decide(&map_of(hall, |_| false))?,
    };
    let credit = old.saga.credit_for(old.id, quote.total);
    if credit.captures.len() > CREDITED_CAPTURES_MAX {
        return Err(Rejection::ExchangeLimit);
    }
    let saga = order::begin(quote.clone(), &hall.showtime, Some(old.id), locale, settings, now).next;
    let new = Replacement {
        id: Uuid::now_v7(),
        code: OrderCode::random(),
        to: place(quote),
        saga: saga.in_place_of(&old.saga, credit),
        created_at: now,
    };
    Ok(Input::BeginExchange(Box::new(new)))
}

/// The order that the exchange is: with the ticket types that it names, or those that the old lines have.
fn order_of(request: &ExchangeReservation, old: &Reservation, showtime: &Showtime) -> CreateReservation {
    let lines = &old.saga.terms.lines;
    let kept = |seats: &Vec<SeatId>| {
        let types = pricing::kept_types(lines, showtime, seats.len());
        let each = seats.iter().cloned().zip(types);
        each.map(|(seat, ticket_type)| TicketChoice { seat, ticket_type }).collect()
    };
    let best = request.best_available.clone().map(|best| {
        let mut types = BTreeMap::new();
        for code in pricing::kept_types(lines, showtime, best.size()) {
            *types.entry(code).or_default() += 1;
        }
        BestAvailable { types: best.types.or(Some(types)), count: None, ..best }
    });
    CreateReservation {
        showtime_id: showtime.id,
        seats: None,
        tickets: request.tickets.clone().or_else(|| request.seats.as_ref().map(kept)),
        best_available: best,
        expected_total: None,
        locale: None,
    }
}

/// Whether these are the old seats with the same ticket types.
fn is_same(lines: &[Line], old: &Reservation) -> bool {
    let before = &old.saga.terms.lines;
    let is_old = |line: &Line| {
        before.iter().any(|other| other.seat == line.seat && other.ticket_type == line.ticket_type)
    };
    lines.len() == before.len() && lines.iter().all(is_old)
}

/// The hall as it was read, in which `own` seats count as free.
fn map_of(hall: &Snapshot, own: impl Fn(&SeatId) -> bool) -> SeatMap {
    let mut map = SeatMap::new(&hall.showtime.layout, &hall.showtime.tariff.prices(), hall.sequence);
    let claims = hall.claims.iter().filter(|(seat, _): &&(SeatId, SeatStatus)| !own(seat));
    map.load(hall.sequence, claims.map(|(seat, status)| (seat, *status)));
    map
}
