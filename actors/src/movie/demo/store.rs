//! What the demo cinema reads: what of it is already there, and the wall clock of its auditoriums.

use std::collections::HashMap;

use bus::contract::Timestamp;
use sqlx::{Connection, PgConnection, PgExecutor, Row};
use time::{Date, OffsetDateTime, Time};
use uuid::Uuid;

use crate::database::Database;

/// Waits until nobody else seeds. The turn ends with the connection.
pub async fn take_turn(database: &Database) -> sqlx::Result<PgConnection> {
    let mut turn = PgConnection::connect_with(&database.options).await?;
    sqlx::query("select pg_advisory_lock(hashtext('movie.demo'))").execute(&mut turn).await?;
    Ok(turn)
}

/// What is looked for by name.
#[derive(Debug, Clone, Copy)]
pub enum Named {
    Genre,
    Movie,
    Auditorium,
}

/// The ids of those that are there, or were: what staff deleted does not come back. Of two movies with one title the older.
pub async fn ids<'e>(
    db: impl PgExecutor<'e>,
    which: Named,
    names: &[&str],
) -> sqlx::Result<HashMap<String, Uuid>> {
    let query = sqlx::query_as(match which {
        Named::Genre => "select name, id from genres where lower(name) in (select lower(unnest($1::text[])))",
        Named::Movie => {
            "select distinct on (title) title, id from movies where title = any($1) order by title, id"
        }
        Named::Auditorium => {
            "select name, id from auditoriums where lower(name) in (select lower(unnest($1::text[])))"
        }
    });
    Ok(query.bind(names).fetch_all(db).await?.into_iter().collect())
}

/// One time of day on one day, by the clock on the wall.
#[derive(Debug, Clone, Copy)]
pub struct Instant {
    pub date: Date,
    /// Which of the times of day.
    pub slot: usize,
    pub at: Timestamp,
}

/// When it is each of `times` on each of the days from today to `days` later, in this time zone.
pub async fn instants<'e>(
    db: impl PgExecutor<'e>,
    time_zone: &str,
    days: i32,
    times: &[Time],
) -> sqlx::Result<Vec<Instant>> {
    let rows = sqlx::query(
        "select today + day as date, slot - 1 as slot, (today + day + t) at time zone $1 as at
         from (select (now() at time zone $1)::date as today) here, generate_series(0, $2) day,
              unnest($3::time[]) with ordinality as times (t, slot)
         order by at",
    )
    .bind(time_zone)
    .bind(days)
    .bind(times)
    .fetch_all(db)
    .await?;
    let instant = |row: &sqlx::postgres::PgRow| {
        Ok(Instant {
            date: row.try_get("date")?,
            slot: usize::try_from(row.try_get::<i64, _>("slot")?).unwrap_or_default(),
            at: row.try_get::<OffsetDateTime, _>("at")?.into(),
        })
    };
    rows.iter().map(instant).collect()
}

/// From when to when an auditorium has showtimes that are not over, cancelled ones too: what staff took off the
/// programme does not come back.
pub async fn busy<'e>(
    db: impl PgExecutor<'e>,
    auditorium: Uuid,
) -> sqlx::Result<Vec<(Timestamp, Timestamp)>> {
    let rows: Vec<(OffsetDateTime, OffsetDateTime)> = sqlx::query_as(
        "select starts_at, coalesce(free_at, ends_at) from showtimes where auditorium_id = $1 and ends_at > now()",
    )
    .bind(auditorium)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(from, to)| (from.into(), to.into())).collect())
}
