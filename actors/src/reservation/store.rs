//! Reservation's SQL. Everything a batch writes is set-based; tables in the order users, showtimes, reservations, claims,
//! steps; rows sorted. Counts tell whether every row found the owner and version that it expects.

mod read;
mod showtime;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bus::contract::Timestamp;
use bus::contract::movie::ShowtimeStatus;
use bus::contract::reservation::{
    Rejection, ReservationChanged, SeatChange, SeatStatus, SeatsChanged, changed_subject, seats_subject,
};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::model::{Reservation, SeatWrite, Showtime};
use super::saga::Saga;
use crate::delivery::{self, WriteError};

pub use read::{due, list, open_of_showtime, reservations, sequences, snapshot};
pub use showtime::claimed;
use showtime::{cancel_showtime, change_showtime, check_still_there, is_at, put_showtime, status_named};

type Written<T> = Result<T, WriteError<Rejection>>;

/// What one change writes.
#[derive(Debug)]
pub enum Rows {
    /// A showtime as movie told it.
    Showtime(Showtime),
    /// Later words of movie; a version that is not newer changes nothing.
    ShowtimeChanged(Box<Showtime>),
    /// Nothing is sold any more.
    ShowtimeCancelled(Box<Showtime>),
    Step(Box<Step>),
}

/// One step of a saga: the reservation as it is afterwards.
#[derive(Debug)]
pub struct Step {
    pub reservation: Reservation,
    /// Name of the input, for the log.
    pub input: &'static str,
    pub seats: SeatWrite,
    /// For a new reservation: how many open holds its user may have, itself included.
    pub open_holds_max: Option<usize>,
    /// The showtime's version that a new reservation was decided by: seats and prices are those.
    pub showtime_version: Option<i64>,
}

impl Step {
    fn is_new(&self) -> bool {
        self.reservation.version == 1
    }
}

/// Per change: the showtime's sequence, where the change touched its seats.
impl delivery::Rows for Rows {
    type Rejection = Rejection;
    type Written = Option<i64>;

    fn write<'a>(db: &'a mut PgConnection, rows: &'a [&'a Self]) -> BoxFuture<'a, Written<Vec<Option<i64>>>> {
        write(db, rows).boxed()
    }

    fn lock_keys(&self) -> Vec<String> {
        match self {
            Self::Step(step) if matches!(step.seats, SeatWrite::Claim(_)) => {
                let reservation = &step.reservation;
                reservation.seats.iter().map(|seat| format!("{}/{seat}", reservation.showtime_id)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// One notice a showtime with all its changes, and one a reservation.
    fn notices(committed: &[(&Self, &Option<i64>)]) -> Vec<(String, Bytes)> {
        let mut halls: BTreeMap<(Uuid, i64), Vec<SeatChange>> = BTreeMap::new();
        let mut notices = Vec::new();
        for (rows, sequence) in committed {
            if let (Self::ShowtimeChanged(showtime), Some(sequence)) = (rows, sequence) {
                let reload = SeatsChanged { sequence: *sequence, changes: vec![], reload: true };
                notices.push((seats_subject(showtime.id), json(&reload)));
            }
            let Self::Step(step) = rows else { continue };
            let reservation = &step.reservation;
            if let (Some(sequence), Some(status)) = (sequence, step.seats.status()) {
                let changes = reservation.seats.iter().map(|id| SeatChange { id: id.clone(), status });
                halls.entry((reservation.showtime_id, *sequence)).or_default().extend(changes);
            }
            let changed =
                ReservationChanged { version: reservation.version, status: reservation.saga.status() };
            notices.push((changed_subject(reservation.id), json(&changed)));
        }
        for ((showtime, sequence), changes) in halls {
            notices.push((seats_subject(showtime), json(&SeatsChanged { sequence, changes, reload: false })));
        }
        notices
    }
}

fn json<T: serde::Serialize>(notice: &T) -> Bytes {
    serde_json::to_vec(notice).expect("contract types are plain data and always serialize").into()
}

async fn write(db: &mut PgConnection, rows: &[&Rows]) -> Written<Vec<Option<i64>>> {
    let alone = rows.len() == 1;
    let mut changed = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        match row {
            Rows::Showtime(showtime) => put_showtime(db, showtime).await?,
            Rows::ShowtimeChanged(showtime) => {
                changed.insert(index, change_showtime(db, showtime, alone).await?);
            }
            Rows::ShowtimeCancelled(showtime) => cancel_showtime(db, showtime).await?,
            Rows::Step(_) => {}
        }
    }
    let mut steps: Vec<&Step> = rows
        .iter()
        .filter_map(|rows| if let Rows::Step(step) = rows { Some(step.as_ref()) } else { None })
        .collect();
    steps.sort_by_key(|step| step.reservation.id);
    if steps.is_empty() {
        return Ok((0..rows.len()).map(|index| changed.remove(&index).flatten()).collect());
    }
    check_open_holds(db, &steps, alone).await?;
    let sequences = raise_sequences(db, &steps, alone).await?;
    check_still_there(db, &steps, alone).await?;
    insert_reservations(db, &steps).await?;
    update_reservations(db, &steps).await?;
    write_claims(db, &steps, alone).await?;
    insert_steps(db, &steps).await?;
    let sequence = |(index, rows): (usize, &&Rows)| match rows {
        Rows::ShowtimeChanged(_) => changed.get(&index).copied().flatten(),
        Rows::Step(step) if step.seats != SeatWrite::Keep => {
            sequences.get(&step.reservation.showtime_id).copied()
        }
        _ => None,
    };
    Ok(rows.iter().enumerate().map(sequence).collect())
}

/// A user's holds are counted under a lock of that user, so that two hosts cannot both give the last one.
async fn check_open_holds(db: &mut PgConnection, steps: &[&Step], alone: bool) -> Written<()> {
    let mut wanted: BTreeMap<Uuid, (i64, usize)> = BTreeMap::new();
    for step in steps.iter().filter(|step| step.is_new()) {
        let most = step.open_holds_max.unwrap_or(usize::MAX);
        wanted.entry(step.reservation.user_id).or_insert((0, most)).0 += 1;
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let users: Vec<Uuid> = wanted.keys().copied().collect();
    // In its own statement: the count must begin after the lock is held, to see what others committed under it.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended(id::text, 0)) from unnest($1::uuid[]) as id")
        .bind(&users)
        .execute(&mut *db)
        .await?;
    let open = sqlx::query(
        "select user_id, count(*) from reservation.reservations
         where status = 'PENDING' and user_id = any($1) group by user_id",
    )
    .bind(&users)
    .fetch_all(db)
    .await?;
    for row in open {
        let (user, open): (Uuid, i64) = (row.try_get(0)?, row.try_get(1)?);
        let (new, most) = wanted[&user];
        if open + new > most as i64 {
            return Err(if alone {
                WriteError::Rejected(Rejection::HoldLimit { most })
            } else {
                WriteError::Short
            });
        }
    }
    match wanted.values().find(|(new, most)| *new > *most as i64) {
        Some(_) if !alone => Err(WriteError::Short),
        Some((_, most)) => Err(WriteError::Rejected(Rejection::HoldLimit { most: *most })),
        None => Ok(()),
    }
}

/// Locks the showtimes whose seats change, in id order, and raises each one's sequence once.
async fn raise_sequences(db: &mut PgConnection, steps: &[&Step], alone: bool) -> Written<HashMap<Uuid, i64>> {
    let touching = steps.iter().filter(|step| step.seats != SeatWrite::Keep);
    let ids: BTreeSet<Uuid> = touching.clone().map(|step| step.reservation.showtime_id).collect();
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
        sequences.insert(id, row.try_get(1)?);
        let (status, upcoming): (String, bool) = (row.try_get(2)?, row.try_get(3)?);
        versions.insert(id, row.try_get(4)?);
        if status_named(&status) != ShowtimeStatus::OnSale {
            closed.insert(id, Rejection::ShowtimeNotOnSale);
        } else if !upcoming {
            closed.insert(id, Rejection::ShowtimeStarted);
        }
    }
    for step in touching.filter(|step| matches!(step.seats, SeatWrite::Claim(_))) {
        if let Some(rejection) = closed.get(&step.reservation.showtime_id) {
            return Err(if alone { WriteError::Rejected(rejection.clone()) } else { WriteError::Short });
        }
        // Decided by other seats or prices.
        if versions.get(&step.reservation.showtime_id).is_some_and(|known| !is_at(*known, step)) {
            return Err(WriteError::Stale);
        }
    }
    Ok(sequences)
}

async fn insert_reservations(db: &mut PgConnection, steps: &[&Step]) -> Written<()> {
    let new: Vec<&Reservation> = steps.iter().filter(|s| s.is_new()).map(|step| &step.reservation).collect();
    if new.is_empty() {
        return Ok(());
    }
    let each = |get: fn(&Reservation) -> String| new.iter().map(|r| get(r)).collect::<Vec<String>>();
    sqlx::query(
        "insert into reservation.reservations (id, user_id, email, showtime_id, movie_id, movie_title, starts_at,
           seats, total, currency, version, status, checkpoint, deadline, created_at, updated_at)
         select id, user_id, email, showtime_id, movie_id, movie_title, starts_at,
           string_to_array(seats, ','), total, currency, 1, status, checkpoint::jsonb, deadline, created_at, created_at
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::timestamptz[],
           $8::text[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[])
           as new (id, user_id, email, showtime_id, movie_id, movie_title, starts_at,
             seats, total, currency, status, checkpoint, deadline, created_at)",
    )
    .bind(new.iter().map(|r| r.id).collect::<Vec<_>>())
    .bind(new.iter().map(|r| r.user_id).collect::<Vec<_>>())
    .bind(each(|r| r.email.clone()))
    .bind(new.iter().map(|r| r.showtime_id).collect::<Vec<_>>())
    .bind(new.iter().map(|r| r.movie_id).collect::<Vec<_>>())
    .bind(each(|r| r.movie_title.clone()))
    .bind(new.iter().map(|r| r.starts_at.date_time()).collect::<Vec<_>>())
    // Seat ids are letters and digits, so a comma never stands in one.
    .bind(each(|r| r.seats.join(",")))
    .bind(new.iter().map(|r| r.saga.terms.total.amount).collect::<Vec<_>>())
    .bind(each(|r| r.saga.terms.total.currency.as_str().to_owned()))
    .bind(each(|r| r.saga.status().as_str().to_owned()))
    .bind(each(|r| checkpoint(&r.saga)))
    .bind(new.iter().map(|r| r.saga.deadline().map(Timestamp::date_time)).collect::<Vec<_>>())
    .bind(new.iter().map(|r| r.created_at.date_time()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

async fn update_reservations(db: &mut PgConnection, steps: &[&Step]) -> Written<()> {
    let old: Vec<&Reservation> = steps.iter().filter(|s| !s.is_new()).map(|step| &step.reservation).collect();
    if old.is_empty() {
        return Ok(());
    }
    let updated = sqlx::query(
        "update reservation.reservations as known set version = new.version, status = new.status,
           checkpoint = new.checkpoint::jsonb, deadline = new.deadline, attention = new.attention,
           updated_at = new.updated_at
         from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::bool[], $7::timestamptz[])
           as new (id, version, status, checkpoint, deadline, attention, updated_at)
         where known.id = new.id and known.version = new.version - 1",
    )
    .bind(old.iter().map(|r| r.id).collect::<Vec<_>>())
    .bind(old.iter().map(|r| r.version).collect::<Vec<_>>())
    .bind(old.iter().map(|r| r.saga.status().as_str()).collect::<Vec<_>>())
    .bind(old.iter().map(|r| checkpoint(&r.saga)).collect::<Vec<_>>())
    .bind(old.iter().map(|r| r.saga.deadline().map(Timestamp::date_time)).collect::<Vec<_>>())
    .bind(old.iter().map(|r| r.needs_attention()).collect::<Vec<_>>())
    .bind(old.iter().map(|r| r.updated_at.date_time()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    if updated.rows_affected() == old.len() as u64 { Ok(()) } else { Err(WriteError::Stale) }
}

/// Freed seats first, so that they may be claimed again in the same batch.
async fn write_claims(db: &mut PgConnection, steps: &[&Step], alone: bool) -> Written<()> {
    let seats = |wanted: fn(SeatWrite) -> bool| {
        let mut seats: Vec<(Uuid, &str, Uuid, &str)> = Vec::new();
        for step in steps.iter().filter(|step| wanted(step.seats)) {
            let (r, status) = (&step.reservation, step.seats.status().map_or("", seat_status_text));
            seats.extend(r.seats.iter().map(|seat| (r.showtime_id, seat.as_str(), r.id, status)));
        }
        seats.sort_unstable();
        seats
    };
    let free = seats(|write| write == SeatWrite::Free);
    let freed = bind_claims(
        "delete from reservation.claims as claim
         using unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[]) as mine (showtime_id, seat, reservation_id, status)
         where claim.showtime_id = mine.showtime_id and claim.seat = mine.seat
           and claim.reservation_id = mine.reservation_id",
        &free,
        db,
    );
    // A seat that should be mine and is not is a bug: poison, loudly, rather than a quiet hole.
    expect_all(freed.await?, free.len(), "freed")?;
    let sell = seats(|write| write == SeatWrite::Sell);
    let sold = bind_claims(
        "update reservation.claims as claim set status = mine.status
         from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[]) as mine (showtime_id, seat, reservation_id, status)
         where claim.showtime_id = mine.showtime_id and claim.seat = mine.seat
           and claim.reservation_id = mine.reservation_id",
        &sell,
        db,
    );
    expect_all(sold.await?, sell.len(), "sold")?;
    let claim = seats(|write| matches!(write, SeatWrite::Claim(_)));
    let claimed = bind_claims(
        "insert into reservation.claims (showtime_id, seat, reservation_id, status)
         select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[])
         on conflict on constraint one_owner do nothing",
        &claim,
        db,
    );
    if claimed.await? == claim.len() as u64 {
        return Ok(());
    }
    if !alone {
        return Err(WriteError::Short);
    }
    let r = &steps[0].reservation;
    let taken = sqlx::query_scalar(
        "select seat from reservation.claims
         where showtime_id = $1 and seat = any($2) and reservation_id <> $3 order by seat",
    );
    let taken = taken.bind(r.showtime_id).bind(&r.seats).bind(r.id).fetch_all(db).await?;
    Err(WriteError::Rejected(Rejection::SeatsTaken(taken)))
}

async fn bind_claims(
    sql: &'static str,
    claims: &[(Uuid, &str, Uuid, &str)],
    db: &mut PgConnection,
) -> Result<u64, sqlx::Error> {
    if claims.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query(sql)
        .bind(claims.iter().map(|claim| claim.0).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| claim.1).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| claim.2).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| claim.3).collect::<Vec<_>>())
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}

fn expect_all(done: u64, wanted: usize, what: &str) -> Result<(), sqlx::Error> {
    if done == wanted as u64 {
        return Ok(());
    }
    Err(sqlx::Error::Configuration(
        format!("{what} {done} of {wanted} claims: some are not their owner's").into(),
    ))
}

async fn insert_steps(db: &mut PgConnection, steps: &[&Step]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into reservation.saga_steps (reservation_id, version, input, state, at)
         select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[])",
    )
    .bind(steps.iter().map(|step| step.reservation.id).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.reservation.version).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.input).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.reservation.saga.state.name()).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.reservation.updated_at.date_time()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

fn checkpoint(saga: &Saga) -> String {
    serde_json::to_string(saga).expect("a checkpoint is plain data and always serializes")
}

fn status_text(status: ShowtimeStatus) -> &'static str {
    match status {
        ShowtimeStatus::OnSale => "ON_SALE",
        ShowtimeStatus::Cancelled => "CANCELLED",
    }
}

fn seat_status_text(status: SeatStatus) -> &'static str {
    match status {
        SeatStatus::Held => "HELD",
        SeatStatus::Sold => "SOLD",
        SeatStatus::Free => "FREE",
        SeatStatus::Blocked => "BLOCKED",
    }
}
