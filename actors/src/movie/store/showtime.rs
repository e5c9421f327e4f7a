//! SQL that writes showtimes, with the checks that need their auditorium's and movie's locks.

use bus::contract::Timestamp;
use bus::contract::movie::{InTheWay, Rejection, ShowtimeStatus};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::page::timestamp;
use super::{Result, expect};
use crate::delivery::RowError;
use crate::movie::model;
use crate::movie::showtime::Scheduled;

/// The showtimes of a movie or of an auditorium.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    Movie(Uuid),
    Auditorium(Uuid),
}

/// The rows that [`put`] binds, as `new`.
macro_rules! given {
    () => {
        "from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::text[],
           $7::text[], $8::text[], $9::timestamptz[], $10::uuid[], $11::uuid[], $12::timestamptz[], $13::bigint[],
           $14::text[], $15::boolean[], $16::text[], $17::text[], $18::timestamptz[], $19::int[],
           $20::text[])
           as new (id, version, starts_at, ends_at, free_at, layout, prices, status, updated_at,
                   movie_id, auditorium_id, created_at, auditorium_version, tariff, draft, film_version, format,
                   on_sale_at, minutes_before_film, overrides)"
    };
}

/// Inserts showtimes of version 1 and changes the others. Movie and auditorium are locked.
pub async fn put_showtimes(db: &mut PgConnection, showtimes: &[Scheduled]) -> Result<()> {
    let (new, known): (Vec<_>, Vec<_>) =
        showtimes.iter().partition(|scheduled| scheduled.showtime.version == 1);
    if let Some(in_the_way) = in_the_way(db, showtimes).await? {
        return Err(RowError::Rejected(Rejection::AuditoriumTaken(Some(in_the_way))));
    }
    if !new.is_empty() {
        // Only of a movie that exists with the same length, and of an auditorium that still has the frozen seats.
        let inserted = put(
            db,
            concat!(
                "insert into showtimes (id, version, starts_at, ends_at, free_at, layout, prices, tariff, status, draft,
                   film_version, format, on_sale_at, minutes_before_film, updated_at, movie_id, auditorium_id, created_at,
                   site_id, overrides)
                 select new.id, new.version, new.starts_at, new.ends_at, new.free_at, new.layout::jsonb, new.prices::jsonb,
                   new.tariff::jsonb, new.status, new.draft, new.film_version::jsonb, new.format, new.on_sale_at,
                   new.minutes_before_film, new.updated_at, new.movie_id, new.auditorium_id, new.created_at,
                   a.site_id, new.overrides::jsonb ",
                given!(),
                " join movies m on m.id = new.movie_id and m.deleted_at is null
               and new.ends_at = new.starts_at + (new.minutes_before_film + m.duration_minutes) * interval '1 minute'
             join auditoriums a on a.id = new.auditorium_id and a.version = new.auditorium_version
               and a.deleted_at is null"
            ),
            &new,
        );
        expect(inserted.await?, new.len())?;
    }
    if !known.is_empty() {
        let changed = put(
            db,
            concat!(
                "update showtimes as known set version = new.version, starts_at = new.starts_at, ends_at = new.ends_at,
                   free_at = new.free_at, layout = new.layout::jsonb, prices = new.prices::jsonb,
                   tariff = new.tariff::jsonb, overrides = new.overrides::jsonb, status = new.status, draft = new.draft,
                   film_version = new.film_version::jsonb, format = new.format, on_sale_at = new.on_sale_at,
                   minutes_before_film = new.minutes_before_film, updated_at = new.updated_at ",
                given!(),
                " where known.id = new.id and known.version = new.version - 1"
            ),
            &known,
        );
        expect(changed.await?, known.len())?;
    }
    Ok(())
}

async fn put(db: &mut PgConnection, query: &'static str, showtimes: &[&Scheduled]) -> sqlx::Result<u64> {
    fn text(value: &impl Serialize) -> String {
        serde_json::to_string(value).expect("contract types are plain data and always serialize")
    }
    let each = || showtimes.iter().map(|scheduled| &scheduled.showtime);
    let done = sqlx::query(query)
        .bind(each().map(|s| s.id).collect::<Vec<_>>())
        .bind(each().map(|s| s.version).collect::<Vec<_>>())
        .bind(each().map(|s| s.starts_at.date_time()).collect::<Vec<_>>())
        .bind(each().map(|s| s.ends_at.date_time()).collect::<Vec<_>>())
        .bind(showtimes.iter().map(|s| s.free_at.map(Timestamp::date_time)).collect::<Vec<_>>())
        .bind(showtimes.iter().map(|s| text(&s.rows)).collect::<Vec<_>>())
        .bind(each().map(|s| text(&s.prices)).collect::<Vec<_>>())
        .bind(each().map(|s| model::status_columns(s.status).0).collect::<Vec<_>>())
        .bind(each().map(|s| s.updated_at.date_time()).collect::<Vec<_>>())
        .bind(each().map(|s| s.movie_id).collect::<Vec<_>>())
        .bind(each().map(|s| s.auditorium_id).collect::<Vec<_>>())
        .bind(each().map(|s| s.created_at.date_time()).collect::<Vec<_>>())
        .bind(showtimes.iter().map(|s| s.auditorium_version).collect::<Vec<_>>())
        .bind(showtimes.iter().map(|s| s.tariff.as_ref().map(text)).collect::<Vec<_>>())
        .bind(each().map(|s| model::status_columns(s.status).1).collect::<Vec<_>>())
        .bind(each().map(|s| s.showing.film_version.as_ref().map(text)).collect::<Vec<_>>())
        .bind(each().map(|s| s.showing.format.clone()).collect::<Vec<_>>())
        .bind(each().map(|s| s.showing.on_sale_at.map(Timestamp::date_time)).collect::<Vec<_>>())
        .bind(each().map(|s| i32::from(s.showing.minutes_before_film)).collect::<Vec<_>>())
        .bind(each().map(|s| (!s.overrides.is_empty()).then(|| text(&s.overrides))).collect::<Vec<_>>())
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}

/// A showtime that has an auditorium when one of these needs it. The constraint would refuse as well, but not name it.
async fn in_the_way(db: &mut PgConnection, showtimes: &[Scheduled]) -> sqlx::Result<Option<InTheWay>> {
    let takes_place = |scheduled: &&Scheduled| scheduled.showtime.status != ShowtimeStatus::Cancelled;
    let wanted: Vec<&Scheduled> = showtimes.iter().filter(takes_place).collect();
    let found = sqlx::query(
        "select s.id, m.title, s.starts_at, s.ends_at
         from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[])
           as wanted (id, auditorium_id, starts_at, free_at, ends_at)
         join showtimes s on s.auditorium_id = wanted.auditorium_id and (s.status <> 'CANCELLED' or s.draft)
           and s.id <> all($1) and s.starts_at < wanted.free_at
           -- What a longer movie made overlap stays until one of the two moves; anything else keeps clear of both.
           and wanted.starts_at < case
             when exists (select from showtimes o where o.id = wanted.id and o.starts_at = wanted.starts_at)
             then coalesce(s.free_at, s.ends_at)
             when s.free_at < s.ends_at then s.ends_at + (wanted.free_at - wanted.ends_at)
             else coalesce(s.free_at, s.ends_at) end
         join movies m on m.id = s.movie_id order by s.starts_at limit 1",
    )
    .bind(wanted.iter().map(|s| s.showtime.id).collect::<Vec<_>>())
    .bind(wanted.iter().map(|s| s.showtime.auditorium_id).collect::<Vec<_>>())
    .bind(wanted.iter().map(|s| s.showtime.starts_at.date_time()).collect::<Vec<_>>())
    .bind(wanted.iter().map(|s| s.busy_until().date_time()).collect::<Vec<_>>())
    .bind(wanted.iter().map(|s| s.showtime.ends_at.date_time()).collect::<Vec<_>>())
    .fetch_optional(db)
    .await?;
    let read = |row: PgRow| {
        Ok(InTheWay {
            id: row.try_get("id")?,
            movie_title: row.try_get("title")?,
            starts_at: timestamp(&row, "starts_at")?,
            ends_at: timestamp(&row, "ends_at")?,
        })
    };
    found.map(read).transpose()
}

/// Whether there are future showtimes besides those that were read.
pub async fn has_other_future_showtimes(db: &mut PgConnection, of: Of, read: &[Uuid]) -> Result<bool> {
    let (query, id) = match of {
        Of::Movie(id) => (
            "select exists (select from showtimes where movie_id = $1 and (status = 'ON_SALE' or draft) and starts_at > now()
                            and id <> all($2))",
            id,
        ),
        Of::Auditorium(id) => (
            "select exists (select from showtimes where auditorium_id = $1 and (status = 'ON_SALE' or draft) and starts_at > now()
                            and id <> all($2))",
            id,
        ),
    };
    Ok(sqlx::query_scalar(query).bind(id).bind(read).fetch_one(db).await?)
}

/// Whether a movie has published future showtimes besides those that were read.
pub async fn has_other_published_showtimes(
    db: &mut PgConnection,
    movie: Uuid,
    read: &[Uuid],
) -> Result<bool> {
    let query = "select exists (select from showtimes where movie_id = $1 and status = 'ON_SALE' and starts_at > now()
                                and id <> all($2))";
    Ok(sqlx::query_scalar(query).bind(movie).bind(read).fetch_one(db).await?)
}

/// Deletes a draft of this version.
pub async fn delete_draft(db: &mut PgConnection, draft: &Scheduled) -> Result<()> {
    let query = sqlx::query("delete from showtimes where id = $1 and version = $2 and draft");
    let deleted = query.bind(draft.showtime.id).bind(draft.showtime.version).execute(db).await?;
    expect(deleted.rows_affected(), 1)
}

/// Deletes all drafts of a movie, which is locked.
pub async fn delete_drafts(db: &mut PgConnection, movie: Uuid) -> Result<()> {
    sqlx::query("delete from showtimes where movie_id = $1 and draft").bind(movie).execute(db).await?;
    Ok(())
}
