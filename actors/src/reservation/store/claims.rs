//! Claims of seats, and the versions of the showtimes whose claims change.
//!
//! Invariant: every statement on a claim names the reservation that owns it, or inserts where nobody does.
//! Invariant: a claim changes only in a transaction that holds its showtime's lock and raises its sequence.

use std::collections::{BTreeSet, HashMap, HashSet};

use bus::contract::SeatId;
use bus::contract::movie::ShowtimeStatus;
use bus::contract::reservation::{Rejection, SeatStatus};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::showtime::{is_at, status_named};
use super::{Placed, Written, short};
use crate::database::seat_ids;
use crate::delivery::WriteError;
use crate::reservation::model::SeatWrite;

/// Locks the showtimes whose seats change, in id order, and raises each one's sequence once.
pub async fn raise_sequences(
    db: &mut PgConnection,
    steps: &[Placed<'_>],
    alone: bool,
) -> Written<HashMap<Uuid, i64>> {
    let ids: BTreeSet<Uuid> = steps.iter().flat_map(|step| step.showtimes()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "with locked as (
           select id from reservation.showtimes where id = any($1) order by id for no key update)
         update reservation.showtimes as showtime set sequence = sequence + 1
         from locked where showtime.id = locked.id
         returning showtime.id, showtime.sequence, showtime.status, showtime.starts_at > clock_timestamp(),
           showtime.version",
    )
    .bind(ids.into_iter().collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    let mut sequences = HashMap::with_capacity(rows.len());
    let mut closed: HashMap<Uuid, Rejection> = HashMap::new();
    let mut versions: HashMap<Uuid, i64> = HashMap::new();
    for row in rows {
        let id: Uuid = row.try_get(0)?;
        versions.insert(id, row.try_get(4)?);
        sequences.insert(id, row.try_get(1)?);
        let (status, upcoming): (String, bool) = (row.try_get(2)?, row.try_get(3)?);
        if status_named(&status) != ShowtimeStatus::OnSale {
            closed.insert(id, Rejection::ShowtimeNotOnSale);
        } else if !upcoming {
            closed.insert(id, Rejection::ShowtimeStarted);
        }
    }
    // Every exchange, also within one hall: what has begun or is cancelled is not sold.
    let takes = |step: &&Placed| matches!(step.seats, SeatWrite::Claim(_) | SeatWrite::Exchange);
    let no = |step: &Placed| -> Option<WriteError<Rejection>> {
        let showtime = &step.reservation.showtime_id;
        if let Some(rejection) = closed.get(showtime) {
            return Some(WriteError::Rejected(rejection.clone()));
        }
        // Decided by other seats or prices.
        let moved = versions.get(showtime).is_some_and(|known| !is_at(*known, step));
        moved.then_some(WriteError::Stale)
    };
    if let Some(why) = steps.iter().filter(takes).find_map(no) {
        return Err(short(steps.iter().filter(takes).filter(|step| no(step).is_some()), alone, || why));
    }
    Ok(sequences)
}

/// Freed seats first, so that they may be claimed again in the same batch.
pub async fn write_claims(db: &mut PgConnection, steps: &[Placed<'_>], alone: bool) -> Written<()> {
    type Seat<'a> = (Uuid, &'a str, Uuid, &'static str);
    let mut free: Vec<Seat> = Vec::new();
    let (mut sell, mut claim): (Vec<Seat>, Vec<Seat>) = (Vec::new(), Vec::new());
    for step in steps {
        let (r, status) = (&step.reservation, step.seats.status().map_or("", seat_status_text));
        free.extend(step.freed().map(|(showtime, seat)| (showtime, seat.as_str(), r.id, "")));
        claim.extend(step.claimed().map(|seat| (r.showtime_id, seat.as_str(), r.id, status)));
        if step.seats == SeatWrite::Sell {
            sell.extend(step.seats_now().map(|seat| (r.showtime_id, seat.as_str(), r.id, status)));
        }
    }
    for seats in [&mut free, &mut sell, &mut claim] {
        seats.sort_unstable();
    }
    let freed = bind_claims(
        "delete from reservation.claims as claim
         using unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[]) as mine (showtime_id, seat, reservation_id, status)
         where claim.showtime_id = mine.showtime_id and claim.seat = mine.seat
           and claim.reservation_id = mine.reservation_id
         returning claim.showtime_id, claim.seat",
        &free,
        db,
    );
    // A seat that should be mine and is not is a bug: poison, loudly, rather than a quiet hole.
    expect_all(freed.await?.len(), free.len(), "freed")?;
    let sold = bind_claims(
        "update reservation.claims as claim set status = mine.status
         from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[]) as mine (showtime_id, seat, reservation_id, status)
         where claim.showtime_id = mine.showtime_id and claim.seat = mine.seat
           and claim.reservation_id = mine.reservation_id
         returning claim.showtime_id, claim.seat",
        &sell,
        db,
    );
    expect_all(sold.await?.len(), sell.len(), "sold")?;
    let insert = "insert into reservation.claims (showtime_id, seat, reservation_id, status)
         select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[])
         on conflict on constraint one_owner do nothing returning showtime_id, seat";
    #[cfg(feature = "planted")]
    let insert = match bus::config::planted("claim-without-owner") {
        true => {
            "insert into reservation.claims (showtime_id, seat, reservation_id, status)
             select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[])
             on conflict on constraint one_owner do update set reservation_id = excluded.reservation_id
             returning showtime_id, seat"
        }
        false => insert,
    };
    let claimed = bind_claims(insert, &claim, db).await?;
    if claimed.len() == claim.len() {
        return Ok(());
    }
    if !alone {
        let lost = |step: &&Placed| {
            let showtime = step.reservation.showtime_id;
            step.claimed().any(|seat| !claimed.contains(&(showtime, seat.to_string())))
        };
        return Err(WriteError::Short(steps.iter().filter(lost).map(|step| step.row).collect()));
    }
    let Some(step) = steps.iter().find(|step| step.claimed().next().is_some()) else { return Ok(()) };
    let r = &step.reservation;
    let wanted: Vec<&str> = step.claimed().map(SeatId::as_str).collect();
    let taken = sqlx::query_scalar(
        "select seat from reservation.claims
         where showtime_id = $1 and seat = any($2) and reservation_id <> $3 order by seat",
    );
    let taken = taken.bind(r.showtime_id).bind(wanted).bind(r.id).fetch_all(db).await?;
    Err(WriteError::Rejected(Rejection::SeatsTaken(seat_ids(taken)?)))
}

/// Runs a statement on claims and returns those that it found.
async fn bind_claims(
    sql: &'static str,
    claims: &[(Uuid, &str, Uuid, &str)],
    db: &mut PgConnection,
) -> Result<HashSet<(Uuid, String)>, sqlx::Error> {
    if claims.is_empty() {
        return Ok(HashSet::new());
    }
    let found = sqlx::query(sql)
        .bind(claims.iter().map(|claim| claim.0).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| claim.1).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| claim.2).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| claim.3).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

fn expect_all(done: usize, wanted: usize, what: &str) -> Result<(), sqlx::Error> {
    if done == wanted {
        return Ok(());
    }
    Err(sqlx::Error::Configuration(
        format!("{what} {done} of {wanted} claims: some are not their owner's").into(),
    ))
}

fn seat_status_text(status: SeatStatus) -> &'static str {
    match status {
        SeatStatus::Held => "HELD",
        SeatStatus::Sold => "SOLD",
        SeatStatus::Free => "FREE",
        SeatStatus::Blocked => "BLOCKED",
    }
}
