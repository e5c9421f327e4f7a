//! What is held unpaid: counted in the transaction that writes a new hold, and listed for staff.
//!
//! Invariant: an account's and a network's open holds are counted under a lock of each, so that two hosts cannot both
//! give the last one. The locks are taken in one order on every host, before those of the showtimes.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::contract::reservation::{Holder, Rejection};
use bus::contract::{Paging, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Placed, Step, Written, short};
use crate::delivery::WriteError;
use crate::reservation::holds::{Bounds, Held};

/// How far back staff see the holds of an account that ended unpaid.
pub const UNPAID_ENDS_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Open holds of one account, from one network, of one showtime.
struct Open {
    user: Uuid,
    network: Option<String>,
    showtime: Uuid,
    holds: usize,
    seats: usize,
}

/// What the database knows of the accounts and networks of a batch.
#[derive(Default)]
struct Known {
    open: Vec<Open>,
    unpaid_ends: Vec<(Uuid, Timestamp)>,
}

/// Refuses new reservations that would hold more than their bounds allow.
pub async fn check_holds(db: &mut PgConnection, steps: &[Placed<'_>], alone: bool) -> Written<()> {
    let new: Vec<&Step> = steps.iter().filter(|step| step.bounds.is_some()).map(|step| step.step).collect();
    if new.is_empty() {
        return Ok(());
    }
    // With all new ones of the batch: where that is too much, those that it is too much for are written alone.
    let mut known = read(db, &new).await?;
    known.open.extend(new.iter().map(|step| made(step)));
    let refusal = |step: &Step| -> Option<Rejection> {
        step.bounds.as_ref()?.refusal(&held(step, &known), step.reservation.created_at)
    };
    let Some(why) = new.iter().find_map(|step| refusal(step)) else { return Ok(()) };
    let refused = steps.iter().filter(|step| refusal(step.step).is_some());
    Err(short(refused, alone, || WriteError::Rejected(why)))
}

async fn read(db: &mut PgConnection, new: &[&Step]) -> Result<Known, sqlx::Error> {
    let users: BTreeSet<Uuid> = new.iter().map(|step| step.reservation.user_id).collect();
    let networks: BTreeSet<&str> = new.iter().filter_map(|step| step.network()).collect();
    let waits = |step: &&&Step| step.bounds.as_ref().is_some_and(|bounds| bounds.cooldown.is_some());
    let cooling: BTreeSet<Uuid> = new.iter().filter(waits).map(|step| step.reservation.user_id).collect();
    let locks: Vec<String> =
        users.iter().map(Uuid::to_string).chain(networks.iter().map(|name| (*name).to_owned())).collect();
    // In its own statement: the count must begin after the locks are held, to see what others committed under them.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended(name, 0)) from unnest($1::text[]) as name")
        .bind(locks)
        .execute(&mut *db)
        .await?;
    let rows = sqlx::query(
        "select user_id, network, showtime_id, count(*) as holds, sum(cardinality(seats))::bigint as seats,
           null::timestamptz as ended
         from reservation.reservations
         where status = 'PENDING' and (user_id = any($1) or network = any($2))
         group by user_id, network, showtime_id
         union all
         select account.id, null, null, 0, 0, last.unpaid_ended_at
         from unnest($3::uuid[]) as account (id) cross join lateral (
           select unpaid_ended_at from reservation.reservations
           where user_id = account.id and unpaid_ended_at is not null
           order by unpaid_ended_at desc limit 2) as last",
    )
    .bind(users.into_iter().collect::<Vec<_>>())
    .bind(networks.into_iter().collect::<Vec<_>>())
    .bind(cooling.into_iter().collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    let mut known = Known::default();
    for row in rows {
        let (user, ended): (Uuid, Option<OffsetDateTime>) = (row.try_get("user_id")?, row.try_get("ended")?);
        match ended {
            Some(ended) => known.unpaid_ends.push((user, ended.into())),
            None => known.open.push(open(user, &row)?),
        }
    }
    known.unpaid_ends.sort_unstable_by(|(_, one), (_, other)| other.cmp(one));
    Ok(known)
}

fn open(user: Uuid, row: &PgRow) -> Result<Open, sqlx::Error> {
    let (holds, seats): (i64, i64) = (row.try_get("holds")?, row.try_get("seats")?);
    let (network, showtime) = (row.try_get("network")?, row.try_get("showtime_id")?);
    Ok(Open { user, network, showtime, holds: holds as usize, seats: seats as usize })
}

/// A new reservation as an open hold.
fn made(step: &Step) -> Open {
    let reservation = &step.reservation;
    Open {
        user: reservation.user_id,
        network: step.network().map(str::to_owned),
        showtime: reservation.showtime_id,
        holds: 1,
        seats: reservation.saga.terms.lines.len(),
    }
}

/// What of all that is held concerns this reservation.
fn held(step: &Step, known: &Known) -> Held {
    let (user, showtime) = (step.reservation.user_id, step.reservation.showtime_id);
    let mut held = Held::default();
    for open in &known.open {
        let (mine, here) = (open.user == user, open.showtime == showtime);
        let near = step.network().is_some_and(|network| open.network.as_deref() == Some(network));
        held.open_holds += if mine { open.holds } else { 0 };
        held.showtime_seats += if mine && here { open.seats } else { 0 };
        held.network_holds += if near { open.holds } else { 0 };
        held.network_seats += if near && here { open.seats } else { 0 };
        held.network_seats_of_others += if near && here && !mine { open.seats } else { 0 };
    }
    let ends = known.unpaid_ends.iter().filter(|(of, _)| *of == user);
    held.unpaid_ends = ends.map(|(_, ended)| *ended).take(Bounds::UNPAID_ENDS).collect();
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
