//! How far the provider's list of events has been read, and which events are here already.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::{PgConnection, PgPool, Row};

/// Where reading stands. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor {
    /// What happened before has been read.
    pub since: i64,
    pub pass: Option<Pass>,
}

/// A list that is being read, newest first, back to `since`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    pub began: i64,
    /// The last event that was read.
    pub after: Option<String>,
}

/// Writes the cursor over the version that was read, and keeps the other hosts off for a while.
#[derive(Debug, Clone)]
pub struct Advance {
    pub expected: i64,
    pub cursor: Cursor,
    pub pause: Duration,
}

/// The cursor with its version; `None` while it is not yet time, or another host is reading.
pub async fn due(pool: &PgPool) -> Result<Option<(i64, Cursor)>, sqlx::Error> {
    let row = sqlx::query(
        "select version, since, pass_began, pass_after from reconciliation where next_run_at <= now()",
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let began: Option<i64> = row.try_get("pass_began")?;
    let after = row.try_get("pass_after")?;
    let cursor = Cursor { since: row.try_get("since")?, pass: began.map(|began| Pass { began, after }) };
    Ok(Some((row.try_get("version")?, cursor)))
}

/// Of these events, those that are here.
pub async fn known_events(pool: &PgPool, ids: &[&str]) -> Result<HashSet<String>, sqlx::Error> {
    let known = sqlx::query_scalar("select id from provider_events where id = any($1)").bind(ids);
    Ok(known.fetch_all(pool).await?.into_iter().collect())
}

/// Whether the cursor was where it was expected.
pub async fn advance(db: &mut PgConnection, advance: &Advance) -> Result<bool, sqlx::Error> {
    let Advance { expected, cursor, pause } = advance;
    let done = sqlx::query(
        "update reconciliation set version = version + 1, since = $2, pass_began = $3, pass_after = $4,
           next_run_at = now() + make_interval(secs => $5)
         where version = $1",
    )
    .bind(expected)
    .bind(cursor.since)
    .bind(cursor.pass.as_ref().map(|pass| pass.began))
    .bind(cursor.pass.as_ref().and_then(|pass| pass.after.as_deref()))
    .bind(pause.as_secs_f64())
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
