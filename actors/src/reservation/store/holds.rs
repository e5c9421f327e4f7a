//! Unpaid holds: the rule for new ones, and the list for staff.

use std::time::Duration;

use bus::contract::reservation::{Holder, Rejection};
use bus::contract::{Paging, Timestamp};
use serde::Deserialize;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use super::Step;
use crate::reservation::holds::{Bounds, Held};

/// How far back staff see the holds of an account that ended unpaid.
pub const UNPAID_ENDS_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Open holds of one account, from one network, of one showtime.
#[derive(Deserialize)]
pub struct Open {
    user_id: Uuid,
    network: Option<String>,
    showtime_id: Uuid,
    holds: usize,
    seats: usize,
}

/// A hold of an account that ended unpaid.
#[derive(Deserialize)]
pub struct Ended {
    user_id: Uuid,
    at: Timestamp,
}

/// Why a new reservation is refused: it would hold more than its bounds allow. `open` has the open holds, `ended` the ended
/// ones, newest first.
pub fn refusal(step: &Step, open: &[Open], ended: &[Ended]) -> Option<Rejection> {
    step.bounds()?.refusal(&held(step, open, ended), step.reservation.created_at)
}

/// A new reservation as an open hold.
pub fn made(step: &Step) -> Open {
    let reservation = &step.reservation;
    Open {
        user_id: reservation.user_id,
        network: step.network().map(str::to_owned),
        showtime_id: reservation.showtime_id,
        holds: 1,
        seats: reservation.saga.terms.lines.len(),
    }
}

/// The holds that count for this reservation.
fn held(step: &Step, open: &[Open], ended: &[Ended]) -> Held {
    let (user, showtime) = (step.reservation.user_id, step.reservation.showtime_id);
    let mut held = Held::default();
    for open in open {
        let (is_own, is_same_showtime) = (open.user_id == user, open.showtime_id == showtime);
        let is_near = step.network().is_some_and(|network| open.network.as_deref() == Some(network));
        held.open_holds += if is_own { open.holds } else { 0 };
        held.showtime_seats += if is_own && is_same_showtime { open.seats } else { 0 };
        held.network_holds += if is_near { open.holds } else { 0 };
        held.network_seats += if is_near && is_same_showtime { open.seats } else { 0 };
        held.network_seats_of_others += if is_near && is_same_showtime && !is_own { open.seats } else { 0 };
    }
    let ends = ended.iter().filter(|ended| ended.user_id == user);
    held.unpaid_ends = ends.map(|ended| ended.at).take(Bounds::UNPAID_ENDS).collect();
    held
}

/// A page of the accounts that hold seats unpaid, those with most seats first, and how many accounts there are.
pub async fn holders(
    pool: &PgPool,
    since: Timestamp,
    paging: Paging,
) -> Result<(Vec<Holder>, u64), sqlx::Error> {
    let rows = sqlx::query(
        "with open as (
           select user_id, max(email) as email, count(*) as holds, sum(cardinality(seats))::bigint as seats,
             array_remove(array_agg(distinct network), null) as networks, count(*) over () as total
           from reservation.reservations where status = 'PENDING' group by user_id
           order by seats desc, holds desc, user_id limit $2 offset $3)
         select *, (select count(*) from reservation.reservations as past
           where past.user_id = open.user_id and past.unpaid_ended_at > $1) as unpaid_ended
         from open order by seats desc, holds desc, user_id",
    )
    .bind(since.date_time())
    .bind(paging.limit())
    .bind(paging.offset())
    .fetch_all(pool)
    .await?;
    let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get("total"))?;
    let holder = |row: &PgRow| {
        let count = |name: &str| row.try_get::<i64, _>(name).map(|count| count as u64);
        Ok::<_, sqlx::Error>(Holder {
            user_id: row.try_get("user_id")?,
            email: row.try_get("email")?,
            seats: count("seats")?,
            holds: count("holds")?,
            unpaid_ended: count("unpaid_ended")?,
            networks: row.try_get("networks")?,
        })
    };
    Ok((rows.iter().map(holder).collect::<Result<_, _>>()?, total as u64))
}
