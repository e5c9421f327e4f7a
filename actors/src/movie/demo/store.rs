//! What the demo cinema reads: what of it is already there.

use std::collections::HashMap;

use bus::contract::Timestamp;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::delivery::Database;

/// Waits until nobody else seeds. The turn ends with the connection.
pub async fn take_turn(database: &Database) -> sqlx::Result<PgConnection> {
    let mut turn = database.open(&[]).await?;
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

/// Whether there is a draft.
pub async fn has_draft<'e>(db: impl PgExecutor<'e>) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from showtimes where draft)").fetch_one(db).await
}
