//! Showtimes from movie's events: the first version, changes, the end of the sale.
//!
//! Invariant: a change never takes a seat from a claim, nor its time: under the showtime's lock, which every claim takes too, it
//! is compared with the claims and refused. Invariant: an older version changes nothing, and a cancelled showtime stays so.

use std::collections::{BTreeMap, HashMap};

use bus::contract::movie::{Row, SeatKind, ShowtimeStatus};
use bus::contract::reservation::Rejection;
use bus::contract::{SeatId, Timestamp};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::delivery::RowError;
use crate::reservation::model::Showtime;
use crate::seat_column::seat_ids;

/// The first version of a showtime that is stored stays.
pub async fn put_showtime(db: &mut PgConnection, showtime: &Showtime) -> Result<(), sqlx::Error> {
    let put = "insert into reservation.showtimes
           (id, status, starts_at, movie_id, movie_title, layout, prices, version, tariff, site_id, overrides, on_sale_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict (id) do nothing";
    write(db, put, showtime).await?;
    Ok(())
}

/// Ends the sale, also where the showtime was not stored before.
pub async fn cancel_showtime(db: &mut PgConnection, showtime: &Showtime) -> Result<(), sqlx::Error> {
    let put = "insert into reservation.showtimes as kept
           (id, status, starts_at, movie_id, movie_title, layout, prices, version, tariff, site_id, overrides, on_sale_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict (id) do update
           set status = excluded.status, version = greatest(kept.version, excluded.version)";
    write(db, put, showtime).await?;
    Ok(())
}

/// Stores a newer version under the showtime's next sequence; `None` where it is stored already or older.
pub async fn change_showtime(
    db: &mut PgConnection,
    showtime: &Showtime,
) -> Result<Option<i64>, RowError<Rejection>> {
    let stored = sqlx::query(
        "select version, starts_at, layout from reservation.showtimes where id = $1 for no key update",
    );
    let Some(stored) = stored.bind(showtime.id).fetch_optional(&mut *db).await? else {
        put_showtime(db, showtime).await?;
        return Ok(None);
    };
    if stored.try_get::<i64, _>("version")? >= showtime.version {
        return Ok(None);
    }
    let (starts_at, Json(layout)): (OffsetDateTime, Json<Vec<Row>>) =
        (stored.try_get("starts_at")?, stored.try_get("layout")?);
    // After the lock: it sees every claim that was made under it.
    let claimed =
        sqlx::query_scalar("select seat from reservation.claims where showtime_id = $1 order by seat");
    let claimed = seat_ids(claimed.bind(showtime.id).fetch_all(&mut *db).await?)?;
    let lost = match Timestamp::from(starts_at) == showtime.starts_at {
        true => lost_seats(&layout, &showtime.layout, claimed),
        false => claimed,
    };
    if !lost.is_empty() {
        return Err(RowError::Rejected(Rejection::SeatsTaken(lost)));
    }
    let change =
        "update reservation.showtimes set starts_at = $3, movie_id = $4, movie_title = $5, layout = $6,
                    prices = $7, version = $8, tariff = $9, site_id = $10, overrides = $11, on_sale_at = $12,
                    sequence = sequence + 1,
                    status = case when status = 'CANCELLED' then status else $2 end
                  where id = $1 returning sequence";
    let changed = write(db, change, showtime).await?;
    Ok(changed.first().map(|row| row.try_get(0)).transpose()?)
}

async fn write(
    db: &mut PgConnection,
    query: &'static str,
    showtime: &Showtime,
) -> Result<Vec<sqlx::postgres::PgRow>, sqlx::Error> {
    sqlx::query(query)
        .bind(showtime.id)
        .bind(status_text(showtime.status))
        .bind(showtime.starts_at.date_time())
        .bind(showtime.movie_id)
        .bind(&showtime.movie_title)
        .bind(Json(&showtime.layout))
        .bind(Json(showtime.tariff.prices()))
        .bind(showtime.version)
        .bind(Json(&showtime.tariff))
        .bind(showtime.site_id)
        .bind((!showtime.overrides.is_empty()).then_some(Json(&showtime.overrides)))
        .bind(showtime.on_sale_at.map(Timestamp::date_time))
        .fetch_all(db)
        .await
}

/// Which claimed seats another layout lacks or has as another kind.
fn lost_seats(before: &[Row], after: &[Row], claimed: Vec<SeatId>) -> Vec<SeatId> {
    let (before, after) = (kinds(before), kinds(after));
    claimed.into_iter().filter(|seat| before.get(seat) != after.get(seat)).collect()
}

pub fn kinds(layout: &[Row]) -> HashMap<SeatId, SeatKind> {
    let seats = layout
        .iter()
        .flat_map(|row| row.seats.iter().map(|seat| (SeatId::new(&row.label, seat.number), seat.kind)));
    seats.filter(|(_, kind)| *kind != SeatKind::Gap).collect()
}

/// Which seats of these showtimes are held or sold.
pub async fn claimed(pool: &PgPool, showtimes: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<SeatId>>, sqlx::Error> {
    let rows: Vec<(Uuid, Vec<String>)> = sqlx::query_as(
        "select showtime_id, array_agg(seat order by seat) from reservation.claims
         where showtime_id = any($1) group by showtime_id",
    )
    .bind(showtimes)
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|(showtime, seats)| Ok((showtime, seat_ids(seats)?))).collect()
}

pub fn status_named(name: &str) -> ShowtimeStatus {
    if name == "ON_SALE" { ShowtimeStatus::OnSale } else { ShowtimeStatus::Cancelled }
}

fn status_text(status: ShowtimeStatus) -> &'static str {
    match status {
        ShowtimeStatus::OnSale => "ON_SALE",
        // No event has a draft; a stored one would not be sold.
        ShowtimeStatus::Draft | ShowtimeStatus::Cancelled => "CANCELLED",
    }
}
