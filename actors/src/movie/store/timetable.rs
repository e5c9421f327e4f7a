//! SQL that reads showtimes: lists, one, those to come, neighbours. Dates are those of the clock on the auditorium's wall (see
//! `wall`).
//!
//! Invariant: what the public reads has the condition `not s.draft`.

use std::time::Duration;

use bus::contract::movie::{
    FilmVersion, ListShowtimes, OverlappingShowtime, Prices, Showing, Showtime, ShowtimeStatus,
};
use bus::contract::site::{SalesCutoffs, ShowtimeOverrides};
use bus::contract::{Page, Tariff, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgExecutor, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::page::{Listing, timestamp};
use super::showtime::Of;
use super::wall::{Day, Wall};
use crate::movie::length::Neighbour;
use crate::movie::model::{self, Busy};
use crate::movie::showtime::{Scheduled, show_terms};

/// A showtime with the names of its movie and auditorium, and with what it froze: its seats and its tariff.
macro_rules! showtimes {
    ($($frozen:literal)?) => {
        concat!(
            "select s.id, s.movie_id, m.title as movie_title, s.auditorium_id, a.name as auditorium_name, a.time_zone,
                s.starts_at, s.ends_at, s.prices, s.terms, s.draft, s.film_version, s.format, s.on_sale_at,
                s.minutes_before_film, s.site_id, s.overrides, si.fields -> 'salesCutoffs' as site_cutoffs, s.status, s.version, s.created_at, s.updated_at, s.free_at, a.version as auditorium_version", $($frozen,)?
            " from showtimes s join movies m on m.id = s.movie_id join auditoriums a on a.id = s.auditorium_id
              left join sites si on si.id = s.site_id"
        )
    };
    (whole) => {
        showtimes!(", s.layout, s.tariff")
    };
}

/// The published ones by start. Without a date, `from` and `to`: those that have not begun.
pub async fn list_showtimes(
    pool: &PgPool,
    wanted: &ListShowtimes,
    now: Timestamp,
) -> sqlx::Result<Page<Showtime>> {
    let found = Listing::new(concat!(showtimes!(), " where m.deleted_at is null and not s.draft"));
    list(found, pool, wanted, now).await
}

/// The same with drafts.
pub async fn list_planned_showtimes(
    pool: &PgPool,
    wanted: &ListShowtimes,
    status: Option<ShowtimeStatus>,
    now: Timestamp,
) -> sqlx::Result<Page<Showtime>> {
    let mut found = Listing::new(concat!(showtimes!(), " where m.deleted_at is null"));
    if let Some((name, is_draft)) = status.map(model::status_columns) {
        found.and().push("s.status = ").push_bind(name);
        found.and().push("s.draft = ").push_bind(is_draft);
    }
    list(found, pool, wanted, now).await
}

async fn list(
    mut found: Listing,
    pool: &PgPool,
    wanted: &ListShowtimes,
    now: Timestamp,
) -> sqlx::Result<Page<Showtime>> {
    if let Some(movie) = wanted.movie_id {
        found.and().push("s.movie_id = ").push_bind(movie);
    }
    if let Some(auditorium) = wanted.auditorium_id {
        found.and().push("s.auditorium_id = ").push_bind(auditorium);
    }
    if let Some(day) = wanted.date.as_deref().and_then(Day::read) {
        Wall::on(pool, day, now).await?.push(found.and());
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

/// A published showtime.
pub async fn find_showtime<'e>(db: impl PgExecutor<'e>, id: Uuid) -> sqlx::Result<Option<Showtime>> {
    let query = sqlx::query(concat!(showtimes!(), " where s.id = $1 and not s.draft"));
    query.bind(id).fetch_optional(db).await?.as_ref().map(showtime).transpose()
}

/// The showtime with what it froze, also a draft.
pub async fn scheduled<'e>(db: impl PgExecutor<'e>, id: Uuid) -> sqlx::Result<Option<Scheduled>> {
    Ok(scheduled_all(db, &[id]).await?.pop())
}

/// Those of these showtimes that exist, with what they froze.
pub async fn scheduled_all<'e>(db: impl PgExecutor<'e>, ids: &[Uuid]) -> sqlx::Result<Vec<Scheduled>> {
    let query = sqlx::query(concat!(showtimes!(whole), " where s.id = any($1)"));
    query.bind(ids).fetch_all(db).await?.iter().map(whole).collect()
}

/// Showtimes on sale and drafts that have not begun, at most `most`.
pub async fn future_showtimes<'e>(
    db: impl PgExecutor<'e>,
    of: Of,
    most: usize,
) -> sqlx::Result<Vec<Scheduled>> {
    let (query, id) = match of {
        Of::Movie(id) => (
            concat!(
                showtimes!(whole),
                " where s.movie_id = $1 and (s.status = 'ON_SALE' or s.draft) and s.starts_at > now()
                     order by s.starts_at, s.id limit $2"
            ),
            id,
        ),
        Of::Auditorium(id) => (
            concat!(
                showtimes!(whole),
                " where s.auditorium_id = $1 and (s.status = 'ON_SALE' or s.draft)
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
         where auditorium_id = $1 and (status <> 'CANCELLED' or draft)
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
         where s.auditorium_id = any($1) and (s.status <> 'CANCELLED' or s.draft) and s.starts_at between $2 and $3",
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
    let tariff: Option<Json<Tariff>> = row.try_get("tariff")?;
    let free_at: Option<OffsetDateTime> = row.try_get("free_at")?;
    let auditorium_version = row.try_get("auditorium_version")?;
    Ok(Scheduled {
        showtime: showtime(row)?,
        rows,
        tariff: tariff.map(|Json(tariff)| tariff),
        free_at: free_at.map(Timestamp::from),
        auditorium_version,
    })
}

fn showtime(row: &PgRow) -> sqlx::Result<Showtime> {
    let Json(prices): Json<Prices> = row.try_get("prices")?;
    // The tariff without its types.
    let terms: Option<Json<Tariff>> = row.try_get("terms")?;
    let status: &str = row.try_get("status")?;
    let overrides: Option<Json<ShowtimeOverrides>> = row.try_get("overrides")?;
    let overrides = overrides.map(|Json(overrides)| overrides).unwrap_or_default();
    // A site that nobody has saved has none: there is no setting for them.
    let of_site: Option<Json<SalesCutoffs>> = row.try_get("site_cutoffs")?;
    let of_site = of_site.map(|Json(cutoffs)| cutoffs).unwrap_or_default();
    let starts_at = timestamp(row, "starts_at")?;
    let film_version: Option<Json<FilmVersion>> = row.try_get("film_version")?;
    let showing = Showing {
        film_version: film_version.map(|Json(version)| version),
        format: row.try_get("format")?,
        on_sale_at: row.try_get::<Option<OffsetDateTime>, _>("on_sale_at")?.map(Timestamp::from),
        minutes_before_film: u16::try_from(row.try_get::<i32, _>("minutes_before_film")?).unwrap_or(0),
    };
    let mut showtime = Showtime {
        id: row.try_get("id")?,
        movie_id: row.try_get("movie_id")?,
        movie_title: row.try_get("movie_title")?,
        auditorium_id: row.try_get("auditorium_id")?,
        auditorium_name: row.try_get("auditorium_name")?,
        time_zone: row.try_get("time_zone")?,
        starts_at,
        ends_at: timestamp(row, "ends_at")?,
        prices,
        price_card: None,
        surcharges: vec![],
        order_fee: None,
        site_id: row.try_get("site_id")?,
        overrides,
        sales_end_at: overrides.sales_end_at(of_site, starts_at),
        showing,
        status: model::status_of_columns(status, row.try_get("draft")?)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown status {status}").into()))?,
        availability: None,
        version: row.try_get("version")?,
        created_at: timestamp(row, "created_at")?,
        updated_at: timestamp(row, "updated_at")?,
    };
    show_terms(&mut showtime, terms.map(|Json(terms)| terms).as_ref());
    Ok(showtime)
}
