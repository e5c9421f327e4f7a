//! SQL of showtimes. Dates are those of the clock on the auditorium's wall (see `wall`).

use bus::contract::movie::{
    InTheWay, ListShowtimes, OverlappingShowtime, Prices, Rejection, Showtime, ShowtimeStatus,
};
use bus::contract::{Page, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, PgPool, Row};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

use super::page::{Listing, timestamp};
use super::wall::Wall;
use super::{Result, expect};
use crate::delivery::RowError;
use crate::movie::length::Neighbour;
use crate::movie::model::{self, Busy, Scheduled};

/// The showtimes of a movie or of an auditorium.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    Movie(Uuid),
    Auditorium(Uuid),
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
            "insert into showtimes (id, version, starts_at, ends_at, free_at, layout, prices, status, updated_at,
                                    movie_id, auditorium_id, created_at)
             select new.id, new.version, new.starts_at, new.ends_at, new.free_at, new.layout::jsonb, new.prices::jsonb,
               new.status, new.updated_at, new.movie_id, new.auditorium_id, new.created_at
             from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::text[],
               $7::text[], $8::text[], $9::timestamptz[], $10::uuid[], $11::uuid[], $12::timestamptz[], $13::bigint[])
               as new (id, version, starts_at, ends_at, free_at, layout, prices, status, updated_at,
                       movie_id, auditorium_id, created_at, auditorium_version)
             join movies m on m.id = new.movie_id and m.deleted_at is null
               and new.ends_at = new.starts_at + m.duration_minutes * interval '1 minute'
             join auditoriums a on a.id = new.auditorium_id and a.version = new.auditorium_version
               and a.deleted_at is null",
            &new,
        );
        expect(inserted.await?, new.len())?;
    }
    if !known.is_empty() {
        let changed = put(
            db,
            "update showtimes as known set version = new.version, starts_at = new.starts_at, ends_at = new.ends_at,
               free_at = new.free_at, layout = new.layout::jsonb, prices = new.prices::jsonb, status = new.status,
               updated_at = new.updated_at
             from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::text[],
               $7::text[], $8::text[], $9::timestamptz[], $10::uuid[], $11::uuid[], $12::timestamptz[], $13::bigint[])
               as new (id, version, starts_at, ends_at, free_at, layout, prices, status, updated_at,
                       movie_id, auditorium_id, created_at, auditorium_version)
             where known.id = new.id and known.version = new.version - 1",
            &known,
        );
        expect(changed.await?, known.len())?;
    }
    Ok(())
}

async fn put(db: &mut PgConnection, query: &'static str, showtimes: &[&Scheduled]) -> sqlx::Result<u64> {
    let text = |value: &dyn Fn(&Scheduled) -> serde_json::Result<String>| {
        let texts: serde_json::Result<Vec<String>> =
            showtimes.iter().map(|scheduled| value(scheduled)).collect();
        texts.expect("contract types are plain data and always serialize")
    };
    let each = || showtimes.iter().map(|scheduled| &scheduled.showtime);
    let done = sqlx::query(query)
        .bind(each().map(|s| s.id).collect::<Vec<_>>())
        .bind(each().map(|s| s.version).collect::<Vec<_>>())
        .bind(each().map(|s| s.starts_at.date_time()).collect::<Vec<_>>())
        .bind(each().map(|s| s.ends_at.date_time()).collect::<Vec<_>>())
        .bind(showtimes.iter().map(|s| s.free_at.map(Timestamp::date_time)).collect::<Vec<_>>())
        .bind(text(&|scheduled| serde_json::to_string(&scheduled.rows)))
        .bind(text(&|scheduled| serde_json::to_string(&scheduled.showtime.prices)))
        .bind(each().map(|s| model::status_name(s.status)).collect::<Vec<_>>())
        .bind(each().map(|s| s.updated_at.date_time()).collect::<Vec<_>>())
        .bind(each().map(|s| s.movie_id).collect::<Vec<_>>())
        .bind(each().map(|s| s.auditorium_id).collect::<Vec<_>>())
        .bind(each().map(|s| s.created_at.date_time()).collect::<Vec<_>>())
        .bind(showtimes.iter().map(|s| s.auditorium_version).collect::<Vec<_>>())
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}

/// A showtime that has an auditorium when one of these needs it. The constraint would refuse as well, but not name it.
async fn in_the_way(db: &mut PgConnection, showtimes: &[Scheduled]) -> sqlx::Result<Option<InTheWay>> {
    let wanted: Vec<&Scheduled> =
        showtimes.iter().filter(|scheduled| scheduled.showtime.status == ShowtimeStatus::OnSale).collect();
    let found = sqlx::query(
        "select s.id, m.title, s.starts_at, s.ends_at
         from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[])
           as wanted (id, auditorium_id, starts_at, free_at, ends_at)
         join showtimes s on s.auditorium_id = wanted.auditorium_id and s.status <> 'CANCELLED'
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
            "select exists (select from showtimes where movie_id = $1 and status = 'ON_SALE' and starts_at > now()
                            and id <> all($2))",
            id,
        ),
        Of::Auditorium(id) => (
            "select exists (select from showtimes where auditorium_id = $1 and status = 'ON_SALE' and starts_at > now()
                            and id <> all($2))",
            id,
        ),
    };
    Ok(sqlx::query_scalar(query).bind(id).bind(read).fetch_one(db).await?)
}

/// A showtime with the names of its movie and auditorium, and with its frozen seats.
macro_rules! showtimes {
    () => {
        "select s.id, s.movie_id, m.title as movie_title, s.auditorium_id, a.name as auditorium_name, a.time_zone,
                s.starts_at, s.ends_at, s.prices, s.status, s.version, s.created_at, s.updated_at, s.free_at,
                a.version as auditorium_version
         from showtimes s join movies m on m.id = s.movie_id join auditoriums a on a.id = s.auditorium_id"
    };
    (with layout) => {
        "select s.id, s.movie_id, m.title as movie_title, s.auditorium_id, a.name as auditorium_name, a.time_zone,
                s.starts_at, s.ends_at, s.prices, s.status, s.version, s.created_at, s.updated_at, s.free_at,
                a.version as auditorium_version, s.layout
         from showtimes s join movies m on m.id = s.movie_id join auditoriums a on a.id = s.auditorium_id"
    };
}

/// By start. Without a date, `from` and `to`: those that have not begun.
pub async fn list_showtimes(pool: &PgPool, wanted: &ListShowtimes) -> sqlx::Result<Page<Showtime>> {
    let mut found = Listing::new(concat!(showtimes!(), " where m.deleted_at is null"));
    if let Some(movie) = wanted.movie_id {
        found.and().push("s.movie_id = ").push_bind(movie);
    }
    if let Some(auditorium) = wanted.auditorium_id {
        found.and().push("s.auditorium_id = ").push_bind(auditorium);
    }
    if let Some(date) = wanted.date.as_deref().and_then(model::date) {
        Wall::on(pool, date).await?.push(found.and());
    }
    if let Some(from) = wanted.from {
        found.and().push("s.starts_at >= ").push_bind(from.date_time());
    }
    if let Some(to) = wanted.to {
        found.and().push("s.starts_at <= ").push_bind(to.date_time());
    }
    if wanted.date.is_none() && wanted.from.is_none() && wanted.to.is_none() {
        found.and().push("s.starts_at > now()");
    }
    found.page(pool, &wanted.paging, "starts_at, id", "", showtime).await
}

pub async fn find_showtime<'e>(db: impl PgExecutor<'e>, id: Uuid) -> sqlx::Result<Option<Showtime>> {
    let query = sqlx::query(concat!(showtimes!(), " where s.id = $1"));
    query.bind(id).fetch_optional(db).await?.as_ref().map(showtime).transpose()
}

/// The showtime with the seats that it froze.
pub async fn scheduled<'e>(db: impl PgExecutor<'e>, id: Uuid) -> sqlx::Result<Option<Scheduled>> {
    let query = sqlx::query(concat!(showtimes!(with layout), " where s.id = $1"));
    query.bind(id).fetch_optional(db).await?.as_ref().map(whole).transpose()
}

/// Showtimes on sale that have not begun, at most `most`.
pub async fn future_showtimes<'e>(
    db: impl PgExecutor<'e>,
    of: Of,
    most: usize,
) -> sqlx::Result<Vec<Scheduled>> {
    let (query, id) = match of {
        Of::Movie(id) => (
            concat!(
                showtimes!(with layout),
                " where s.movie_id = $1 and s.status = 'ON_SALE' and s.starts_at > now()
                     order by s.starts_at, s.id limit $2"
            ),
            id,
        ),
        Of::Auditorium(id) => (
            concat!(
                showtimes!(with layout),
                " where s.auditorium_id = $1 and s.status = 'ON_SALE'
                     and s.starts_at > now() order by s.starts_at, s.id limit $2"
            ),
            id,
        ),
    };
    sqlx::query(query).bind(id).bind(most as i64).fetch_all(db).await?.iter().map(whole).collect()
}

/// When an auditorium is taken between two times; `cleaning` counts where a longer movie left none.
pub async fn busy<'e>(
    db: impl PgExecutor<'e>,
    auditorium: Uuid,
    from: Timestamp,
    until: Timestamp,
    cleaning: Duration,
) -> sqlx::Result<Vec<Busy>> {
    let rows: Vec<(Uuid, OffsetDateTime, OffsetDateTime)> = sqlx::query_as(
        "select id, starts_at, taken_until from showtimes,
           lateral (select case when free_at < ends_at then ends_at + $4 * interval '1 second'
                           else coalesce(free_at, ends_at) end as taken_until) taken
         where auditorium_id = $1 and status <> 'CANCELLED'
           and tstzrange(starts_at, taken_until) && tstzrange($2, $3) order by starts_at",
    )
    .bind(auditorium)
    .bind(from.date_time())
    .bind(until.date_time())
    .bind(cleaning.as_secs_f64())
    .fetch_all(db)
    .await?;
    let read = |(id, from, until): (Uuid, OffsetDateTime, OffsetDateTime)| Busy {
        id,
        from: from.into(),
        until: until.into(),
    };
    Ok(rows.into_iter().map(read).collect())
}

/// The showtimes of some auditoriums that begin between two times and are not cancelled.
pub async fn neighbours<'e>(
    db: impl PgExecutor<'e>,
    auditoriums: &[Uuid],
    from: Timestamp,
    until: Timestamp,
) -> sqlx::Result<Vec<Neighbour>> {
    let rows = sqlx::query(
        "select s.id, s.auditorium_id, m.title, s.starts_at, s.ends_at from showtimes s join movies m on m.id = s.movie_id
         where s.auditorium_id = any($1) and s.status <> 'CANCELLED' and s.starts_at between $2 and $3",
    )
    .bind(auditoriums)
    .bind(from.date_time())
    .bind(until.date_time())
    .fetch_all(db)
    .await?;
    let read = |row: &PgRow| {
        let showtime = OverlappingShowtime {
            id: row.try_get("id")?,
            movie_title: row.try_get("title")?,
            starts_at: timestamp(row, "starts_at")?,
            ends_at: timestamp(row, "ends_at")?,
        };
        Ok(Neighbour { auditorium_id: row.try_get("auditorium_id")?, showtime })
    };
    rows.iter().map(read).collect()
}

fn whole(row: &PgRow) -> sqlx::Result<Scheduled> {
    let Json(rows) = row.try_get("layout")?;
    let free_at: Option<OffsetDateTime> = row.try_get("free_at")?;
    let auditorium_version = row.try_get("auditorium_version")?;
    Ok(Scheduled {
        showtime: showtime(row)?,
        rows,
        free_at: free_at.map(Timestamp::from),
        auditorium_version,
    })
}

fn showtime(row: &PgRow) -> sqlx::Result<Showtime> {
    let Json(prices): Json<Prices> = row.try_get("prices")?;
    let status: &str = row.try_get("status")?;
    Ok(Showtime {
        id: row.try_get("id")?,
        movie_id: row.try_get("movie_id")?,
        movie_title: row.try_get("movie_title")?,
        auditorium_id: row.try_get("auditorium_id")?,
        auditorium_name: row.try_get("auditorium_name")?,
        time_zone: row.try_get("time_zone")?,
        starts_at: timestamp(row, "starts_at")?,
        ends_at: timestamp(row, "ends_at")?,
        prices,
        status: model::status_named(status)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown status {status}").into()))?,
        version: row.try_get("version")?,
        created_at: timestamp(row, "created_at")?,
        updated_at: timestamp(row, "updated_at")?,
    })
}
