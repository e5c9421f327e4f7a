//! SQL of auditoriums. A deleted one keeps its row, for past showtimes, and gives its name back.

use bus::contract::movie::{Auditorium, Row as SeatRow};
use bus::contract::{Page, Paging};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::page::{Listing, timestamp};
use super::{Result, expect};

pub async fn lock_auditoriums(db: &mut PgConnection, ids: Vec<Uuid>) -> sqlx::Result<()> {
    let query = "select from auditoriums where id = any($1) order by id for no key update";
    sqlx::query(query).bind(ids).execute(db).await?;
    Ok(())
}

pub async fn put_auditorium(db: &mut PgConnection, auditorium: &Auditorium) -> Result<()> {
    let query = if auditorium.version == 1 {
        "insert into auditoriums (id, name, time_zone, layout, created_at, updated_at, version)
         values ($1, $2, $3, $4, $5, $6, $7)"
    } else {
        "update auditoriums set name = $2, time_zone = $3, layout = $4, created_at = $5, updated_at = $6, version = $7
         where id = $1 and version = $7 - 1 and deleted_at is null"
    };
    let put = sqlx::query(query)
        .bind(auditorium.id)
        .bind(&auditorium.name)
        .bind(&auditorium.time_zone)
        .bind(Json(&auditorium.rows))
        .bind(auditorium.created_at.date_time())
        .bind(auditorium.updated_at.date_time())
        .bind(auditorium.version);
    expect(put.execute(db).await?.rows_affected(), 1)
}

pub async fn delete_auditorium(db: &mut PgConnection, auditorium: &Auditorium) -> Result<()> {
    let gone = sqlx::query(
        "update auditoriums set deleted_at = $3, updated_at = $3, version = $2
         where id = $1 and version = $2 - 1 and deleted_at is null",
    )
    .bind(auditorium.id)
    .bind(auditorium.version)
    .bind(auditorium.updated_at.date_time());
    expect(gone.execute(db).await?.rows_affected(), 1)
}

pub async fn list_auditoriums<'e>(
    db: impl PgExecutor<'e>,
    paging: &Paging,
) -> sqlx::Result<Page<Auditorium>> {
    let found = Listing::new("select * from auditoriums where deleted_at is null");
    found.page(db, paging, "lower(name)", "", auditorium).await
}

/// The auditoriums with these ids that are not deleted.
pub async fn auditoriums<'e>(db: impl PgExecutor<'e>, ids: &[Uuid]) -> sqlx::Result<Vec<Auditorium>> {
    let query = sqlx::query("select * from auditoriums where id = any($1) and deleted_at is null");
    query.bind(ids).fetch_all(db).await?.iter().map(auditorium).collect()
}

/// The time zones of all auditoriums, deleted ones too, and the start of the last showtime.
pub async fn time_zones<'e>(
    db: impl PgExecutor<'e>,
) -> sqlx::Result<(Vec<String>, Option<time::OffsetDateTime>)> {
    let query =
        "select array(select distinct time_zone from auditoriums), (select max(starts_at) from showtimes)";
    sqlx::query_as(query).fetch_one(db).await
}

fn auditorium(row: &PgRow) -> sqlx::Result<Auditorium> {
    let Json(rows): Json<Vec<SeatRow>> = row.try_get("layout")?;
    Ok(Auditorium {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        time_zone: row.try_get("time_zone")?,
        rows,
        site_id: row.try_get("site_id")?,
        version: row.try_get("version")?,
        created_at: timestamp(row, "created_at")?,
        updated_at: timestamp(row, "updated_at")?,
    })
}
