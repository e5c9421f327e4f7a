//! Reads: snapshots of a showtime, reservations by id and by user, due deadlines.

use std::collections::HashMap;

use bus::contract::movie::ShowtimeStatus;
use bus::contract::reservation::{ReservationStatus, SeatStatus, When};
use bus::contract::site::ShowtimeOverrides;
use bus::contract::{OrderCode, Paging, Tariff, Timestamp};
use serde::Deserialize;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgExecutor, PgPool, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::reservation::model::{Reservation, Showtime, Snapshot};
use crate::reservation::saga::{FORMAT, Saga};
use crate::seat_column::seat_ids;

/// The columns that [`from_row`] reads: without the history, which grows.
macro_rules! columns {
    () => {
        "id, code, user_id, email, showtime_id, movie_id, movie_title, starts_at, version, checkpoint, deadline, created_at, updated_at"
    };
}
pub(super) use columns;

/// Showtime, sequence and claims, read by one statement.
pub async fn snapshot(pool: &PgPool, showtime: Uuid) -> Result<Option<Snapshot>, sqlx::Error> {
    let row = sqlx::query(
        "select id, version, status, starts_at, on_sale_at, movie_id, movie_title, layout, prices, tariff, sequence,
           site_id, overrides,
           claimed.held, claimed.sold
         from reservation.showtimes cross join lateral (
           select coalesce(array_agg(seat) filter (where claimed.status = 'HELD'), '{}') as held,
             coalesce(array_agg(seat) filter (where claimed.status = 'SOLD'), '{}') as sold
           from reservation.claimed_seats as claimed where showtime_id = showtimes.id) as claimed
         where id = $1",
    )
    .bind(showtime)
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let starts_at: OffsetDateTime = row.try_get("starts_at")?;
    let overrides: Option<Json<ShowtimeOverrides>> = row.try_get("overrides")?;
    let status: String = row.try_get("status")?;
    let on_sale = status == "ON_SALE";
    let (held, sold) = (seat_ids(row.try_get("held")?)?, seat_ids(row.try_get("sold")?)?);
    let held = held.into_iter().map(|seat| (seat, SeatStatus::Held));
    Ok(Some(Snapshot {
        showtime: Showtime {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            status: if on_sale { ShowtimeStatus::OnSale } else { ShowtimeStatus::Cancelled },
            starts_at: starts_at.into(),
            on_sale_at: row.try_get::<Option<OffsetDateTime>, _>("on_sale_at")?.map(Timestamp::from),
            movie_id: row.try_get("movie_id")?,
            movie_title: row.try_get("movie_title")?,
            layout: row.try_get::<Json<_>, _>("layout")?.0,
            tariff: match row.try_get("tariff")? {
                Some(Json(tariff)) => tariff,
                None => Tariff::of_prices(&row.try_get::<Json<_>, _>("prices")?.0),
            },
            site_id: row.try_get("site_id")?,
            overrides: overrides.map(|Json(overrides)| overrides).unwrap_or_default(),
        },
        sequence: row.try_get("sequence")?,
        claims: held.chain(sold.into_iter().map(|seat| (seat, SeatStatus::Sold))).collect(),
    }))
}

pub async fn sequences(pool: &PgPool, showtimes: &[Uuid]) -> Result<HashMap<Uuid, i64>, sqlx::Error> {
    let rows = sqlx::query("select id, sequence from reservation.showtimes where id = any($1)")
        .bind(showtimes)
        .fetch_all(pool)
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

pub async fn reservations(pool: &PgPool, ids: &[Uuid]) -> Result<HashMap<Uuid, Reservation>, sqlx::Error> {
    let rows =
        sqlx::query(concat!("select ", columns!(), " from reservation.reservations where id = any($1)"))
            .bind(ids)
            .fetch_all(pool)
            .await?;
    rows.iter().map(|row| from_row(row).map(|reservation| (reservation.id, reservation))).collect()
}

/// Which reservations to list.
pub struct Filter {
    pub user: Option<Uuid>,
    pub status: Option<ReservationStatus>,
    pub showtime: Option<Uuid>,
    pub when: Option<When>,
    pub code: Option<OrderCode>,
}

/// Newest first, with the total.
pub async fn list(
    pool: &PgPool,
    filter: &Filter,
    paging: Paging,
) -> Result<(Vec<Reservation>, u64), sqlx::Error> {
    let status = filter.status.map(ReservationStatus::as_str);
    let code = filter.code.as_ref().map(OrderCode::as_str);
    let upcoming = filter.when.map(|when| when == When::Upcoming);
    let found = "from reservation.reservations
         where ($1::uuid is null or user_id = $1) and ($2::text is null or status = $2)
           and ($3::uuid is null or showtime_id = $3) and ($4::bool is null or (starts_at > now()) = $4)
           and ($5::text is null or code = $5)";
    let page = format!("select {} {found} order by id desc limit $6 offset $7", columns!());
    let rows = sqlx::query(sqlx::AssertSqlSafe(page))
        .bind(filter.user)
        .bind(status)
        .bind(filter.showtime)
        .bind(upcoming)
        .bind(code)
        .bind(paging.limit())
        .bind(paging.offset())
        .fetch_all(pool)
        .await?;
    let total: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) {found}")))
        .bind(filter.user)
        .bind(status)
        .bind(filter.showtime)
        .bind(upcoming)
        .bind(code)
        .fetch_one(pool)
        .await?;
    Ok((rows.iter().map(from_row).collect::<Result<_, _>>()?, total as u64))
}

/// Reservations of a showtime whose seats are held or sold.
pub async fn open_of_showtime(pool: &PgPool, showtime: Uuid) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar("select distinct reservation_id from reservation.claims where showtime_id = $1")
        .bind(showtime)
        .fetch_all(pool)
        .await
}

/// A user's unpaid reservations made until then, with their versions.
pub async fn pending_of_user(
    pool: &PgPool,
    user: Uuid,
    until: Timestamp,
) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select id, version from reservation.reservations
         where user_id = $1 and status = 'PENDING' and created_at <= $2",
    )
    .bind(user)
    .bind(until.date_time())
    .fetch_all(pool)
    .await
}

/// The newest reservations of a user, of any status.
pub async fn of_user(pool: &PgPool, user: Uuid, most: i64) -> Result<Vec<Reservation>, sqlx::Error> {
    let rows = sqlx::query(concat!(
        "select ",
        columns!(),
        " from reservation.reservations where user_id = $1 order by id desc limit $2"
    ))
    .bind(user)
    .bind(most)
    .fetch_all(pool)
    .await?;
    rows.iter().map(from_row).collect()
}

/// The different addresses of a user's reservations, in lower case.
pub async fn guest_addresses(pool: &PgPool, user: Uuid) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select distinct lower(email) from reservation.reservations where user_id = $1 and email <> ''",
    )
    .bind(user)
    .fetch_all(pool)
    .await
}

/// Which of these users have a reservation with an address.
pub async fn guests_with_orders(pool: &PgPool, users: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "select distinct user_id from reservation.reservations where user_id = any($1) and email <> ''",
    )
    .bind(users)
    .fetch_all(pool)
    .await
}

/// Reservations whose deadline has passed by the database's clock. Rows that another host is writing are skipped.
pub async fn due<'e>(db: impl PgExecutor<'e>, most: i64) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "select id from reservation.reservations where deadline <= now()
         order by deadline limit $1 for update skip locked",
    )
    .bind(most)
    .fetch_all(db)
    .await
}

/// The field that checkpoints of every format have.
#[derive(Deserialize)]
struct Format {
    #[serde(default)]
    format: u32,
}

pub fn from_row(row: &PgRow) -> Result<Reservation, sqlx::Error> {
    let time = |name: &str| row.try_get::<OffsetDateTime, _>(name).map(Timestamp::from);
    let Json(Format { format }) = row.try_get("checkpoint")?;
    if format != FORMAT {
        // Transient for this host: another version of it can read the row.
        let why =
            format!("the reservation's checkpoint has format {format}; this host reads and writes {FORMAT}");
        return Err(sqlx::Error::Decode(why.into()));
    }
    let Json(saga): Json<Saga> = row.try_get("checkpoint")?;
    let code: &str = row.try_get("code")?;
    let code = OrderCode::parse(code)
        .ok_or_else(|| sqlx::Error::Decode(format!("{code} is no order code").into()))?;
    Ok(Reservation {
        id: row.try_get("id")?,
        code,
        user_id: row.try_get("user_id")?,
        email: row.try_get("email")?,
        showtime_id: row.try_get("showtime_id")?,
        movie_id: row.try_get("movie_id")?,
        movie_title: row.try_get("movie_title")?,
        starts_at: time("starts_at")?,
        version: row.try_get("version")?,
        saga,
        deadline: row.try_get::<Option<OffsetDateTime>, _>("deadline")?.map(Timestamp::from),
        created_at: time("created_at")?,
        updated_at: time("updated_at")?,
    })
}
