//! Exchanging: a confirmed reservation's seats for others, which is one step for the moviegoer.
//!
//! Invariant: new seats are claimed before, or in the same transaction in which, the old ones are freed.
//! For the same price or less the reservation itself moves; for more, a new one is made in the transaction in which the old
//! one's saga stores it, and replaces it when it is paid. Which seats are free is read here and decided by Postgres.

use bus::Problem;
use bus::contract::reservation::{
    CreateReservation, ExchangeReservation, PlanExchange, Rejection, ReservationPlan, SeatStatus,
};
use bus::contract::{Line, Money, SeatId, Timestamp};
use bus::service::{Answered, Call, json};
use uuid::Uuid;

use super::model::{Reservation, Snapshot};
use super::order;
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
    let input = choose(request, &old, &hall, &env.settings, now)?;
    if request.version.is_some_and(|seen| seen != old.version) {
        return Err(Rejection::PlanChanged(Some(as_plan(&old, &input, now))).into());
    }
    Ok((old, input))
}

/// The plan of the exchange for the reservation as it is now.
fn as_plan(old: &Reservation, input: &Input, now: Timestamp) -> ReservationPlan {
    let nothing = Money { amount: 0, ..old.saga.terms.total };
    let (total, refund, payable) = match input {
        Input::BeginExchange(new) => (new.to.total, old.saga.full_price(), new.to.total),
        Input::Exchange(place) => {
            let refund = old.saga.due_back(place.total.amount, old.saga.terms.percent(now));
            (place.total, refund, nothing)
        }
        _ => (old.saga.terms.total, nothing, nothing),
    };
    ReservationPlan { version: old.version, total, refund, payable }
}

/// Answers the plan of an exchange.
pub async fn preview(env: Env, call: Call<PlanExchange>) -> Answered {
    let PlanExchange { id, showtime_id, seats } = call.request.clone();
    let request =
        ExchangeReservation { id, showtime_id, seats: Some(seats), best_available: None, version: None };
    let (old, input) = plan(&env, &call, &request).await?;
    json(&as_plan(&old, &input, env.clock.now()))
}

/// Chooses the seats, and whether the exchange needs a new reservation.
pub fn choose(
    request: &ExchangeReservation,
    old: &Reservation,
    hall: &Snapshot,
    settings: &ReservationSettings,
    now: Timestamp,
) -> Result<Input, Rejection> {
    let order = CreateReservation {
        showtime_id: hall.showtime.id,
        seats: request.seats.clone(),
        best_available: request.best_available.clone(),
    };
    let same_showtime = old.showtime_id == hall.showtime.id;
    let decide = |map: &SeatMap| -> Result<Vec<usize>, Rejection> {
        // A map made from a snapshot has no marks to wait for.
        let seats = order::decide(&order, &hall.showtime, map, settings, now)?;
        Ok(seats.unwrap_or_default())
    };
    let map = map_of(hall, |seat| same_showtime && old.has_seat(seat));
    let lines = map.lines(&decide(&map)?);
    let total = order::total(&lines);
    if same_showtime
        && lines.len() == old.saga.terms.lines.len()
        && lines.iter().all(|line| old.has_seat(&line.seat))
    {
        return Err(Rejection::SameSeats);
    }
    if total.currency != old.saga.terms.total.currency {
        return Err(Rejection::OtherCurrency);
    }
    let place = |lines: Vec<Line>| Place {
        planned_on: old.version,
        showtime_id: hall.showtime.id,
        showtime_version: hall.showtime.version,
        movie_id: hall.showtime.movie_id,
        movie_title: hall.showtime.movie_title.clone(),
        starts_at: hall.showtime.starts_at,
        total: order::total(&lines),
        lines,
    };
    if total.amount <= old.saga.terms.total.amount {
        return Ok(Input::Exchange(place(lines)));
    }
    // The old seats stay sold until the new ones are paid, so the new ones must be others.
    let kept = lines.iter().map(|line| &line.seat).filter(|seat| same_showtime && old.has_seat(seat));
    let kept: Vec<SeatId> = kept.cloned().collect();
    let lines = match (kept.is_empty(), &request.best_available) {
        (true, _) => lines,
        (false, None) => return Err(Rejection::ExchangeKeepsSeats(kept)),
        (false, Some(_)) => {
            let map = map_of(hall, |_| false);
            map.lines(&decide(&map)?)
        }
    };
    let saga = order::begin(lines.clone(), &hall.showtime, Some(old.id), settings, now).next;
    let new = Replacement { id: Uuid::now_v7(), to: place(lines), saga, created_at: now };
    Ok(Input::BeginExchange(Box::new(new)))
}

/// The hall as it was read, in which `own` seats count as free.
fn map_of(hall: &Snapshot, own: impl Fn(&SeatId) -> bool) -> SeatMap {
    let mut map = SeatMap::new(&hall.showtime.layout, &hall.showtime.prices, hall.sequence);
    let claims = hall.claims.iter().filter(|(seat, _): &&(SeatId, SeatStatus)| !own(seat));
    map.load(hall.sequence, claims.map(|(seat, status)| (seat, *status)));
    map
}
