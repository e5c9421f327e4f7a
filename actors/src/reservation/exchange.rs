//! Exchanging: a confirmed reservation's seats for others, which is one step for the moviegoer.
//!
//! Invariant: new seats are claimed before, or in the same transaction in which, the old ones are freed.
//! For the same price or less the reservation itself moves; for more, a new one is made in the transaction in which the old
//! one's saga learns of it, and takes its place when it is paid. Which seats are free is read here and decided by Postgres.

use bus::Problem;
use bus::contract::Timestamp;
use bus::contract::reservation::{CreateReservation, ExchangeReservation, Rejection, SeatStatus};
use bus::service::{Answered, Call, json};
use uuid::Uuid;

use super::actor::{Caller, Done, as_view, call};
use super::endpoint::{find, key, once};
use super::model::{Reservation, Snapshot};
use super::order::{self, Owner, new_reservation};
use super::saga::{Input, Place};
use super::seat_map::SeatMap;
use super::{Env, showtime};
use crate::config::ReservationSettings;

/// Tries of one exchange that loses its seats to others; best-available then finds more.
const TRIES_MAX: u32 = 8;

pub async fn exchange(env: Env, asked: Call<ExchangeReservation>) -> Answered {
    let key = Some(key(&asked)?.ok_or(Rejection::IdempotencyKeyMissing)?);
    let tried = async {
        let mut tries = 0;
        loop {
            tries += 1;
            // A refusal here rests on what was read just now; only a race that is lost later is run again.
            let (id, input) = plan(&env, &asked).await?;
            let shape = if matches!(input, Input::BeginExchange { .. }) { as_new } else { as_view };
            let (identity, context, key) = (asked.caller()?.clone(), asked.context.clone(), key.clone());
            match call(&env, id, input, |reply| Caller { identity, context, key, shape, reply }).await {
                Err(problem) if problem.code == "seats-taken" && tries < TRIES_MAX => {}
                answered => return answered,
            }
        }
    };
    once(&env, &key, tried).await
}

async fn plan(env: &Env, asked: &Call<ExchangeReservation>) -> Result<(Uuid, Input), Problem> {
    let old = find(env, asked, asked.request.id).await?;
    old.saga.may_exchange(env.clock.now())?;
    let target = asked.request.showtime_id.unwrap_or(old.showtime_id);
    let hall = showtime::read(target, env).await?.ok_or(Rejection::NoSuchShowtime)?;
    Ok((old.id, choose(&asked.request, &old, &hall, &env.settings, env.clock.now())?))
}

/// The answer to the beginning of a dearer exchange is the reservation to pay.
fn as_new(done: &Done<'_>) -> Answered {
    match done.input {
        Input::BeginExchange { new, .. } => json(&new.view(done.now)),
        _ => as_view(done),
    }
}

/// Which seats it gets, and by which way.
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
    let here = old.showtime_id == hall.showtime.id;
    let decide = |map: &SeatMap| {
        // A map that was read has no marks to wait for.
        let seats = order::decide(&order, &hall.showtime, map, settings, now)?;
        Ok(seats.unwrap_or_default())
    };
    let map = map_of(hall, |seat| here && old.seats.iter().any(|own| own == seat));
    let seats = decide(&map)?;
    let (total, ids) = (map.total(&seats), map.ids(&seats));
    if here && ids.len() == old.seats.len() && ids.iter().all(|seat| old.seats.contains(seat)) {
        return Err(Rejection::SameSeats);
    }
    if total.currency != old.saga.terms.total.currency {
        return Err(Rejection::OtherCurrency);
    }
    if total.amount <= old.saga.terms.total.amount {
        return Ok(Input::Exchange(Place {
            showtime_id: hall.showtime.id,
            showtime_version: hall.showtime.version,
            movie_id: hall.showtime.movie_id,
            movie_title: hall.showtime.movie_title.clone(),
            starts_at: hall.showtime.starts_at,
            seats: ids,
            total,
        }));
    }
    // The old seats stay sold until the new ones are paid, so the new ones must be others.
    let kept: Vec<String> = ids.into_iter().filter(|seat| here && old.seats.contains(seat)).collect();
    let (map, seats) = match (kept.is_empty(), &request.best_available) {
        (true, _) => (map, seats),
        (false, None) => return Err(Rejection::ExchangeKeepsSeats(kept)),
        (false, Some(_)) => {
            let map = map_of(hall, |_| false);
            let seats = decide(&map)?;
            (map, seats)
        }
    };
    let owner = Owner { user_id: old.user_id, email: &old.email, exchange_of: Some(old.id) };
    let (new, _) = new_reservation(&owner, &hall.showtime, &map, &seats, settings, now);
    Ok(Input::BeginExchange { new: Box::new(new), showtime_version: hall.showtime.version })
}

/// The hall as it was read, in which `own` seats count as free.
fn map_of(hall: &Snapshot, own: impl Fn(&str) -> bool) -> SeatMap {
    let mut map = SeatMap::new(&hall.showtime.layout, &hall.showtime.prices, hall.sequence);
    let claims = hall.claims.iter().filter(|(seat, _): &&(String, SeatStatus)| !own(seat));
    map.load(hall.sequence, claims.map(|(seat, status)| (seat.as_str(), *status)));
    map
}
