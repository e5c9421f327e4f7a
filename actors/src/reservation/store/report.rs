//! Reads of staff: sagas and their logs, the progress of a cancelled showtime, occupancy; and the seats left, for lists.
//!
//! Nothing here decides anything; it may be a moment old.

use std::collections::BTreeMap;

use bus::contract::movie::ShowtimeStatus;
use bus::contract::reservation::{
    ListSagas, Occupancy, ReportOccupancy, SagaStep, SagaSummary, SeatCount, ShowtimeCancellation,
};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

use super::read::{columns, from_row};
use super::showtime::status_named;

/// Sagas that need a person first, then the newest. Two queries in this order: one with `order by attention` would have to sort
/// every reservation ever made.
pub async fn sagas(pool: &PgPool, wanted: &ListSagas) -> Result<(Vec<SagaSummary>, u64), sqlx::Error> {
    let (mut items, mut total) = (Vec::new(), 0);
    for attention in [true, false] {
        if wanted.attention.is_some_and(|only| only != attention) {
            continue;
        }
        let count = count_sagas(pool, wanted, attention).await?;
        let offset = (wanted.paging.offset() - total).max(0);
        let limit = wanted.paging.limit() - items.len() as i64;
        if offset < count && limit > 0 {
            items.extend(sagas_where(pool, wanted, attention, limit, offset).await?);
        }
        total += count;
    }
    Ok((items, total as u64))
}

/// How a state is stored: `begun` distinguishes *awaiting payment* from *paying*.
const OF_STATE: &str = "attention = $1 and ($2::text is null or (status = $3
    and checkpoint #>> '{state,is}' = case $2 when 'paying' then 'awaiting-payment' else $2 end
    and ($2 not in ('paying', 'awaiting-payment')
         or (checkpoint #>> '{state,begun}')::bool = ($2 = 'paying'))))";

async fn count_sagas(pool: &PgPool, wanted: &ListSagas, attention: bool) -> Result<i64, sqlx::Error> {
    let sql = format!("select count(*) from reservation.reservations where {OF_STATE}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(attention)
        .bind(wanted.state.map(|state| state.as_str()))
        .bind(wanted.state.map(|state| state.status().as_str()))
        .fetch_one(pool)
        .await
}

async fn sagas_where(
    pool: &PgPool,
    wanted: &ListSagas,
    attention: bool,
    limit: i64,
    offset: i64,
) -> Result<Vec<SagaSummary>, sqlx::Error> {
    let sql = format!(
        "select {} from reservation.reservations where {OF_STATE} order by id desc limit $4 offset $5",
        columns!()
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(attention)
        .bind(wanted.state.map(|state| state.as_str()))
        .bind(wanted.state.map(|state| state.status().as_str()))
        .bind(limit)
        .bind(offset)
        .fetch_all(pool)
        .await?;
    rows.iter().map(|row| from_row(row).map(|reservation| reservation.summary())).collect()
}

/// A saga's log, oldest first.
pub async fn steps(pool: &PgPool, reservation: Uuid) -> Result<Vec<SagaStep>, sqlx::Error> {
    let rows = sqlx::query(
        "select version, input, state, at, by, detail from reservation.saga_steps
         where reservation_id = $1 order by version",
    )
    .bind(reservation)
    .fetch_all(pool)
    .await?;
    let step = |row: &PgRow| {
        let at: OffsetDateTime = row.try_get("at")?;
        Ok(SagaStep {
            version: row.try_get("version")?,
            input: row.try_get("input")?,
            state: row.try_get("state")?,
            at: at.into(),
            by: row.try_get("by")?,
            detail: row.try_get("detail")?,
        })
    };
    rows.iter().map(step).collect()
}

/// Counts the reservations that the showtime's cancellation has ended and those that it will still end.
pub async fn cancellation(
    pool: &PgPool,
    showtime: Uuid,
) -> Result<Option<ShowtimeCancellation>, sqlx::Error> {
    let row = sqlx::query(
        "select showtime.status,
           count(r.id) as reservations,
           count(r.id) filter (where r.status in ('CANCELLED', 'REFUNDED')) as cancelled,
           count(r.id) filter (where r.checkpoint #>> '{state,is}' = 'refunding') as refunding,
           count(r.id) filter (where r.status = 'REFUNDED') as refunded,
           count(r.id) filter (where r.attention) as attention
         from reservation.showtimes as showtime
         left join reservation.reservations as r on r.showtime_id = showtime.id
           and (r.status in ('PENDING', 'CONFIRMED')
                or r.checkpoint #>> '{state,reason}' = 'SHOWTIME_CANCELLED')
         where showtime.id = $1 group by showtime.id",
    )
    .bind(showtime)
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(ShowtimeCancellation {
        status: status(&row)?,
        reservations: count(&row, "reservations")?,
        cancelled: count(&row, "cancelled")?,
        refunding: count(&row, "refunding")?,
        refunded: count(&row, "refunded")?,
        attention: count(&row, "attention")?,
    }))
}

/// How many seats these showtimes have, and how many of them are free.
pub async fn free_seats(pool: &PgPool, showtimes: &[Uuid]) -> Result<BTreeMap<Uuid, SeatCount>, sqlx::Error> {
    let rows = sqlx::query(
        "select id, capacity::bigint, (select count(*) from reservation.claims where showtime_id = showtimes.id) as claimed
         from reservation.showtimes where id = any($1)",
    )
    .bind(showtimes)
    .fetch_all(pool)
    .await?;
    let line = |row: &PgRow| {
        let capacity = count(row, "capacity")?;
        let free = capacity.saturating_sub(count(row, "claimed")?);
        Ok((row.try_get("id")?, SeatCount { capacity, free }))
    };
    rows.iter().map(line).collect()
}

/// The earliest first, with the total.
pub async fn occupancy(
    pool: &PgPool,
    wanted: &ReportOccupancy,
) -> Result<(Vec<Occupancy>, u64), sqlx::Error> {
    let rows = sqlx::query(
        "select showtime.id, showtime.movie_id, showtime.movie_title, showtime.starts_at, showtime.status,
           showtime.capacity::bigint, claimed.sold, claimed.held
         from reservation.showtimes as showtime cross join lateral (
           select count(*) filter (where seat.status = 'SOLD') as sold,
             count(*) filter (where seat.status = 'HELD') as held
           from reservation.claimed_seats as seat where seat.showtime_id = showtime.id) as claimed
         where starts_at between $1 and $2 and ($3::uuid is null or movie_id = $3)
         order by starts_at, id limit $4 offset $5",
    )
    .bind(wanted.from.date_time())
    .bind(wanted.to.date_time())
    .bind(wanted.movie_id)
    .bind(wanted.paging.limit())
    .bind(wanted.paging.offset())
    .fetch_all(pool)
    .await?;
    let total: i64 = sqlx::query_scalar(
        "select count(*) from reservation.showtimes
         where starts_at between $1 and $2 and ($3::uuid is null or movie_id = $3)",
    )
    .bind(wanted.from.date_time())
    .bind(wanted.to.date_time())
    .bind(wanted.movie_id)
    .fetch_one(pool)
    .await?;
    let line = |row: &PgRow| {
        let starts_at: OffsetDateTime = row.try_get("starts_at")?;
        Ok(Occupancy {
            showtime_id: row.try_get("id")?,
            movie_id: row.try_get("movie_id")?,
            movie_title: row.try_get("movie_title")?,
            starts_at: starts_at.into(),
            status: status(row)?,
            capacity: count(row, "capacity")?,
            sold: count(row, "sold")?,
            held: count(row, "held")?,
        })
    };
    Ok((rows.iter().map(line).collect::<Result<_, sqlx::Error>>()?, total as u64))
}

fn count(row: &PgRow, name: &str) -> Result<u64, sqlx::Error> {
    row.try_get::<i64, _>(name).map(|count| count as u64)
}

fn status(row: &PgRow) -> Result<ShowtimeStatus, sqlx::Error> {
    Ok(status_named(row.try_get("status")?))
}
