//! The batches that were committed, as the relay reads them, and the marks how far they are published.

use std::collections::HashMap;

use bus::Context;
use bus::archive::Place;
use bus::contract::Timestamp;
use bus::event::Outgoing;
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use time::Date;
use uuid::Uuid;

use super::batch::BatchKey;

/// Batches of one page: some thousand events at most.
pub const PAGE: i64 = 32;

/// A batch with its events.
pub struct Batch {
    pub key: BatchKey,
    pub events: Vec<Outgoing>,
}

/// The last batch that was read, by journal.
pub type Places = HashMap<Uuid, i64>;

/// Batches above the marks that are older than any that a relay still has in memory: of every journal, also of hosts that are
/// gone. Those up to `after` are skipped.
pub async fn overdue(db: &mut PgConnection, after: &Places) -> Result<Vec<Batch>, sqlx::Error> {
    let unsent = "number > greatest(journal.published_to, skipped.number)
                  and day >= (journal.opened_at at time zone 'utc')::date
                  and committed_at < now() - interval '5 seconds'";
    of_journals(db, after, unsent, "true").await
}

/// Returns when everything that was read before is durable: on the standby, too, where commits wait for one. A primary that was cut
/// off shows commits that a fail-over may still lose, once it is stopped; there this fails, as it does on any read-only server.
pub async fn until_durable(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    // The relay's session does not wait for the disk otherwise.
    let written = "begin; set local synchronous_commit = on;
                   select pg_logical_emit_message(true, 'marquee', ''); commit";
    sqlx::raw_sql(written).execute(db).await?;
    Ok(())
}

/// Batches published in the last minutes before the last mark: JetStream may have acknowledged and then lost them.
pub async fn recent(db: &mut PgConnection, after: &Places) -> Result<Vec<Batch>, sqlx::Error> {
    let sent = "number > greatest(journal.safe_to, skipped.number) and number <= journal.published_to";
    let marked_lately = "journal.marked_at >= (select max(marked_at) from journals) - interval '60 seconds'";
    of_journals(db, after, sent, marked_lately).await
}

/// A page of batches with events that are `wanted`, of the journals that are `chosen`: conditions on `outbox`, `journal` and
/// `skipped`, where the walk has come to.
async fn of_journals(
    db: &mut PgConnection,
    after: &Places,
    wanted: &'static str,
    chosen: &'static str,
) -> Result<Vec<Batch>, sqlx::Error> {
    let statement = format!(
        "select batch.day, batch.journal, batch.number, batch.events
         from journals as journal
         left join unnest($2::uuid[], $3::bigint[]) as skipped (journal, number) on skipped.journal = journal.id
         cross join lateral (
           select day, journal, number, events from outbox
           where journal = journal.id and {wanted} and event_ids <> '{{}}'
           order by number limit $1) as batch
         where {chosen} limit $1"
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(PAGE)
        .bind(after.keys().copied().collect::<Vec<_>>())
        .bind(after.values().copied().collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    rows.iter().map(batch).collect()
}

/// The days of the archive, the newest first.
pub async fn days(db: &mut PgConnection) -> Result<Vec<Date>, sqlx::Error> {
    sqlx::query_scalar(
        "select day::date from generate_series((now() at time zone 'utc')::date + 1,
           (now() at time zone 'utc')::date - 30, interval '-1 day') as day
         where exists (select from outbox where outbox.day = day.day::date)",
    )
    .fetch_all(db)
    .await
}

/// A day's batches after this place, in the order of their keys.
pub async fn of_day(
    db: &mut PgConnection,
    day: Date,
    (journal, number): (Uuid, i64),
) -> Result<Vec<Batch>, sqlx::Error> {
    let rows = sqlx::query(
        "select day, journal, number, events from outbox
         where day = $2 and (journal, number) > ($3, $4) and event_ids <> '{}'
         order by journal, number limit $1",
    )
    .bind(PAGE)
    .bind(day)
    .bind(journal)
    .bind(number)
    .fetch_all(db)
    .await?;
    rows.iter().map(batch).collect()
}

/// A day's batches from this place on that were committed in a time and have an event of one of these subjects.
pub async fn of_day_with(
    db: &mut PgConnection,
    place: Place,
    (since, until): (Timestamp, Timestamp),
    subjects: &[&str],
) -> Result<Vec<Batch>, sqlx::Error> {
    let rows = sqlx::query(
        "select day, journal, number, events from outbox
         where day = $2 and (journal, number) >= ($3, $4) and committed_at between $5 and $6 and subjects && $7
         order by journal, number limit $1",
    )
    .bind(PAGE)
    .bind(place.day)
    .bind(place.journal)
    .bind(place.number)
    .bind(since.date_time())
    .bind(until.date_time())
    .bind(subjects)
    .fetch_all(db)
    .await?;
    rows.iter().map(batch).collect()
}

/// Events that NATS refused, as batches of their own.
pub async fn refused(db: &mut PgConnection) -> Result<Vec<Batch>, sqlx::Error> {
    let rows = sqlx::query(
        "select batch.day, batch.journal, batch.number, json_agg(event)
         from refused_events as refused
         join outbox as batch using (day, journal, number)
         cross join lateral json_array_elements(batch.events) as event
         where (event ->> 'id')::uuid = refused.id
         group by batch.day, batch.journal, batch.number limit $1",
    )
    .bind(PAGE)
    .fetch_all(db)
    .await?;
    rows.iter().map(batch).collect()
}

/// Marks a journal's batches up to `number` as published; batches marked a minute ago become safe.
pub async fn mark_published(db: &mut PgConnection, journal: Uuid, number: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update journals set published_to = $2, marked_at = clock_timestamp(),
           safe_to = case when is_old then next_safe_to else safe_to end,
           next_safe_to = case when is_old then published_to else next_safe_to end,
           next_safe_at = case when is_old then coalesce(marked_at, opened_at) else next_safe_at end
         from (select next_safe_at < clock_timestamp() - interval '1 minute' as is_old from journals where id = $1) as mark
         where id = $1 and published_to < $2",
    )
    .bind(journal)
    .bind(number)
    .execute(db)
    .await?;
    Ok(())
}

/// Lists an event as refused, for staff.
pub async fn list_refused(db: &mut PgConnection, key: BatchKey, event: &Outgoing) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into refused_events (id, day, journal, number, subject) values ($1, $2, $3, $4, $5)
         on conflict do nothing",
    )
    .bind(event.id)
    .bind(key.day)
    .bind(key.journal)
    .bind(key.number)
    .bind(&event.subject)
    .execute(db)
    .await?;
    Ok(())
}

/// Removes events from the list that NATS has accepted at last.
pub async fn delist_refused(db: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query("delete from refused_events where id = any($1)").bind(ids).execute(db).await?;
    Ok(())
}

/// The number up to which any journal is published, from which a planted bug continues.
#[cfg(feature = "planted")]
pub async fn pointer(db: &mut PgConnection) -> Result<Places, sqlx::Error> {
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(
        "select journal, max(number) from outbox
         where committed_at <= (select max(committed_at) from outbox join journals on journals.id = outbox.journal
                                where number <= published_to and event_ids <> '{}')
         group by journal",
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().collect())
}

/// An event as it is kept in the batch's row.
#[derive(Deserialize)]
struct Kept<'a> {
    id: Uuid,
    subject: String,
    source: String,
    time: Timestamp,
    context: Context,
    #[serde(borrow)]
    payload: &'a RawValue,
}

fn batch(row: &PgRow) -> Result<Batch, sqlx::Error> {
    let key = BatchKey { day: row.try_get(0)?, journal: row.try_get(1)?, number: row.try_get(2)? };
    let kept: sqlx::types::Json<Box<RawValue>> = row.try_get(3)?;
    let kept: Vec<Kept> =
        serde_json::from_str(kept.0.get()).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let outgoing = |kept: Kept| Outgoing {
        id: kept.id,
        subject: kept.subject,
        source: kept.source,
        time: kept.time,
        payload: kept.payload.get().to_owned().into(),
        context: kept.context,
    };
    Ok(Batch { key, events: kept.into_iter().map(outgoing).collect() })
}
