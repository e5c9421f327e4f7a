//! How far the domain's consumer has come, and what the stream discarded before it.

use bus::contract::Timestamp;
use sqlx::{PgConnection, PgExecutor, Row};
use time::OffsetDateTime;

/// How far a consumer has come; the columns are described in the migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub stream_created_at: String,
    pub handled_to: i64,
    pub handled_until: Timestamp,
    pub seen_to: i64,
    pub seen_at: Timestamp,
    pub stream_percent: i32,
}

impl Position {
    /// Whether there is more to store than the time at which nothing was new.
    pub fn is_moved(&self, next: &Self) -> bool {
        let key = |of: &Self| (of.handled_to, of.seen_to, of.stream_percent);
        key(self) != key(next)
    }
}

/// Events that were discarded unhandled, and the time that they are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub found_at: Timestamp,
    pub first_sequence: i64,
    pub last_sequence: i64,
    pub since: Timestamp,
    pub until: Timestamp,
}

/// The time, and how far the consumer had come by then.
pub async fn position(
    db: impl PgExecutor<'_>,
    consumer: &str,
) -> Result<(Timestamp, Option<Position>), sqlx::Error> {
    let row = sqlx::query(
        "select clock_timestamp(), stream_created_at, handled_to, handled_until, seen_to, seen_at, stream_percent
         from (select) as one left join consumers on name = $1",
    )
    .bind(consumer)
    .fetch_one(db)
    .await?;
    let now: OffsetDateTime = row.try_get(0)?;
    let Some(stream_created_at) = row.try_get::<Option<String>, _>(1)? else { return Ok((now.into(), None)) };
    let [handled_until, seen_at]: [OffsetDateTime; 2] = [row.try_get(3)?, row.try_get(5)?];
    let position = Position {
        stream_created_at,
        handled_to: row.try_get(2)?,
        handled_until: handled_until.into(),
        seen_to: row.try_get(4)?,
        seen_at: seen_at.into(),
        stream_percent: row.try_get(6)?,
    };
    Ok((now.into(), Some(position)))
}

/// Stores a position, unless another host has stored a later one of the same stream.
pub async fn store_position(
    db: impl PgExecutor<'_>,
    consumer: &str,
    position: &Position,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into consumers as known
           (name, stream_created_at, handled_to, handled_until, seen_to, seen_at, stream_percent)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (name) do update set stream_created_at = excluded.stream_created_at,
           handled_to = excluded.handled_to, handled_until = excluded.handled_until, seen_to = excluded.seen_to,
           seen_at = excluded.seen_at, stream_percent = excluded.stream_percent, checked_at = clock_timestamp()
         where known.stream_created_at <> excluded.stream_created_at or known.handled_to <= excluded.handled_to",
    )
    .bind(consumer)
    .bind(&position.stream_created_at)
    .bind(position.handled_to)
    .bind(position.handled_until.date_time())
    .bind(position.seen_to)
    .bind(position.seen_at.date_time())
    .bind(position.stream_percent)
    .execute(db)
    .await?;
    Ok(())
}

/// Takes the turn to fill the consumer's gap, until the connection ends; false while another host has it.
pub async fn try_lock(db: &mut PgConnection, consumer: &str) -> Result<bool, sqlx::Error> {
    let lock = "select pg_try_advisory_lock(hashtext('delivery.gaps'), hashtext($1))";
    sqlx::query_scalar(lock).bind(consumer).fetch_one(db).await
}

/// Records a gap that is about to be filled. One of a host that has ended meanwhile is replaced.
pub async fn begin(db: &mut PgConnection, consumer: &str, gap: &Gap) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with unfinished as (delete from consumer_gaps where consumer = $1 and finished_at is null and found_at <> $2)
         insert into consumer_gaps (consumer, found_at, first_sequence, last_sequence, since, until)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(consumer)
    .bind(gap.found_at.date_time())
    .bind(gap.first_sequence)
    .bind(gap.last_sequence)
    .bind(gap.since.date_time())
    .bind(gap.until.date_time())
    .execute(db)
    .await?;
    Ok(())
}

/// Records that the gap's events were delivered again, and that the consumer has come past it.
pub async fn finish(
    db: &mut PgConnection,
    consumer: &str,
    gap: &Gap,
    delivered: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with finished as (
           update consumer_gaps set delivered_again = $3, finished_at = clock_timestamp()
           where consumer = $1 and found_at = $2
           returning last_sequence, until)
         update consumers set handled_to = greatest(handled_to, last_sequence),
           handled_until = greatest(handled_until, until)
         from finished where name = $1",
    )
    .bind(consumer)
    .bind(gap.found_at.date_time())
    .bind(delivered.cast_signed())
    .execute(db)
    .await?;
    Ok(())
}
