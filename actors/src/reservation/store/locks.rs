//! Conditions of new claims: open holds, counted under locks of their accounts and networks, and the showtimes, locked.
//!
//! Invariant: an account's and a network's open holds are counted under a lock of each, so that two hosts cannot both
//! give the last one. Locks are taken in one order on every host: accounts and networks, then showtimes by id.

use std::collections::{BTreeSet, HashMap};

use bus::contract::movie::Row;
use bus::contract::reservation::Rejection;
use bus::contract::{SeatId, Timestamp};
use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::holds::{self, Ended, Open};
use super::showtime::kinds;
use super::{Placed, Step, Written};
use crate::delivery::{Loss, WriteError};
use crate::reservation::model::Seats;

/// The rows read under the locks.
#[derive(Deserialize)]
struct Locked {
    open: Vec<Open>,
    ended: Vec<Ended>,
    showtimes: Vec<LockedShowtime>,
}

#[derive(Deserialize)]
struct LockedShowtime {
    id: Uuid,
    on_sale: bool,
    upcoming: bool,
    version: i64,
    starts_at: Timestamp,
    /// Where seats are taken back.
    layout: Option<Vec<Row>>,
}

/// Locks and counts, and refuses the steps that break a rule.
pub async fn lock(db: &mut PgConnection, steps: &[Placed<'_>]) -> Written<()> {
    let mut locked = read(db, steps).await?;
    let new = || steps.iter().filter(|step| step.is_new());
    // Counted with all new holds of the batch: steps that exceed a bound are written alone.
    locked.open.extend(new().map(|step| holds::made(step)));
    let showtimes: HashMap<Uuid, &LockedShowtime> =
        locked.showtimes.iter().map(|showtime| (showtime.id, showtime)).collect();
    let mut lost = Vec::new();
    for step in steps {
        let refusal = holds::refusal(step, &locked.open, &locked.ended).map(Loss::Rejected);
        let showtime = showtimes.get(&step.reservation.showtime_id).filter(|_| step.takes());
        if let Some(loss) = refusal.or_else(|| showtime.and_then(|showtime| closed(step, showtime))) {
            lost.push((step.row, loss));
        }
    }
    if lost.is_empty() { Ok(()) } else { Err(WriteError::Lost(lost)) }
}

/// A showtime that has begun or is cancelled is not sold, nor exchanged for; nor is an order that was decided by other seats or
/// prices.
fn closed(step: &Step, showtime: &LockedShowtime) -> Option<Loss<Rejection>> {
    if !showtime.on_sale {
        return Some(Loss::Rejected(Rejection::ShowtimeNotOnSale));
    }
    if !showtime.upcoming {
        return Some(Loss::Rejected(Rejection::ShowtimeStarted));
    }
    match step.seats {
        Seats::New { showtime_version, .. } | Seats::Move { showtime_version, .. } => {
            (showtime_version != showtime.version).then_some(Loss::Stale)
        }
        Seats::Reclaim => no_longer_there(step, showtime),
        Seats::Keep | Seats::Sell | Seats::Free => None,
    }
}

/// Money that arrived late claims the seats of an expired reservation again. The hall must still have them, and the showtime
/// its start.
fn no_longer_there(step: &Step, showtime: &LockedShowtime) -> Option<Loss<Rejection>> {
    let seats = kinds(showtime.layout.as_deref().unwrap_or_default());
    let is_moved = showtime.starts_at != step.reservation.starts_at;
    let gone: Vec<SeatId> =
        step.seats_now().filter(|seat| is_moved || !seats.contains_key(*seat)).cloned().collect();
    (!gone.is_empty()).then_some(Loss::Rejected(Rejection::SeatsTaken(gone)))
}

async fn read(db: &mut PgConnection, steps: &[Placed<'_>]) -> Result<Locked, sqlx::Error> {
    let new = || steps.iter().filter(|step| step.is_new());
    let users: BTreeSet<Uuid> = new().map(|step| step.reservation.user_id).collect();
    let networks: BTreeSet<&str> = new().filter_map(|step| step.step.network()).collect();
    let waits = |step: &&Placed| step.bounds().is_some_and(|bounds| bounds.cooldown.is_some());
    let cooling: BTreeSet<Uuid> = new().filter(waits).map(|step| step.reservation.user_id).collect();
    // All rows of the batch, since they are locked in one order.
    let showtimes: BTreeSet<Uuid> = steps.iter().flat_map(|step| step.showtimes()).collect();
    let late = steps.iter().filter(|step| step.seats == Seats::Reclaim);
    let layouts: BTreeSet<Uuid> = late.map(|step| step.reservation.showtime_id).collect();
    let names: Vec<String> =
        users.iter().map(Uuid::to_string).chain(networks.iter().map(|name| (*name).to_owned())).collect();
    let locked: Json<Locked> =
        sqlx::query_scalar("select reservation.lock_and_count_1($1, $2, $3, $4, $5, $6)")
            .bind(names)
            .bind(users.into_iter().collect::<Vec<_>>())
            .bind(networks.into_iter().collect::<Vec<_>>())
            .bind(cooling.into_iter().collect::<Vec<_>>())
            .bind(showtimes.into_iter().collect::<Vec<_>>())
            .bind(layouts.into_iter().collect::<Vec<_>>())
            .fetch_one(db)
            .await?;
    Ok(locked.0)
}
