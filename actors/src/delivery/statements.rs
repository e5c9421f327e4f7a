//! The SQL of delivery's own tables: inbox, idempotency, outbox, journal batches. The connection's `search_path`
//! says whose.

use std::collections::HashSet;

use bus::Context;
use bus::contract::Timestamp;
use bus::event::Outgoing;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{IdempotencyKey, IdempotencyWrite, InboxKey, StoredAnswer};

/// Inserts keys and returns those that were not there. Sorted, so that hosts wait for each other in one order.
pub async fn insert_inbox(
    db: &mut PgConnection,
    keys: &[&InboxKey],
) -> Result<HashSet<InboxKey>, sqlx::Error> {
    let mut sorted: Vec<&InboxKey> = keys.to_vec();
    sorted.sort_by(|a, b| (a.consumer, &a.event_id).cmp(&(b.consumer, &b.event_id)));
    let consumers: Vec<&str> = sorted.iter().map(|key| key.consumer).collect();
    let ids: Vec<&str> = sorted.iter().map(|key| key.event_id.as_str()).collect();
    let rows = sqlx::query(
        "insert into inbox (consumer, event_id) select * from unnest($1::text[], $2::text[])
         on conflict do nothing returning consumer, event_id",
    )
    .bind(consumers)
    .bind(ids)
    .fetch_all(db)
    .await?;
    let new: HashSet<(String, String)> =
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?;
    Ok(sorted
        .into_iter()
        .filter(|key| new.contains(&(key.consumer.to_owned(), key.event_id.clone())))
        .cloned()
        .collect())
}

/// Claims keys and returns those that were free. A record older than 24 hours counts as free.
pub async fn claim_idempotency(
    db: &mut PgConnection,
    claims: &[(&IdempotencyKey, &[u8; 32], Option<&[u8]>)],
) -> Result<HashSet<IdempotencyKey>, sqlx::Error> {
    let mut sorted = claims.to_vec();
    sorted.sort_by(|(a, ..), (b, ..)| (a.user_id, a.route, &a.key).cmp(&(b.user_id, b.route, &b.key)));
    let rows = sqlx::query(
        "insert into idempotency as kept (user_id, route, key, request_hash, response)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bytea[])
         on conflict (user_id, route, key) do update
           set request_hash = excluded.request_hash, response = excluded.response, created_at = now()
           where kept.created_at < now() - interval '24 hours'
         returning user_id, route, key",
    )
    .bind(sorted.iter().map(|(key, ..)| key.user_id).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(key, ..)| key.route).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(key, ..)| key.key.as_str()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, hash, _)| hash.to_vec()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(.., response)| response.map(<[u8]>::to_vec)).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    let new: HashSet<(Uuid, String, String)> = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .collect::<Result<_, sqlx::Error>>()?;
    let is_new = |key: &IdempotencyKey| new.contains(&(key.user_id, key.route.to_owned(), key.key.clone()));
    Ok(sorted.into_iter().map(|(key, ..)| key).filter(|key| is_new(key)).cloned().collect())
}

/// Completes or frees claimed keys. One that is not there (it expired) stays so.
pub async fn settle_idempotency(
    db: &mut PgConnection,
    writes: &[&IdempotencyWrite],
) -> Result<(), sqlx::Error> {
    let (mut completed, mut forgotten) = (Vec::new(), Vec::new());
    for write in writes {
        match write {
            IdempotencyWrite::Claim { .. } => {}
            IdempotencyWrite::Complete { key, response } => completed.push((key, response.as_ref())),
            IdempotencyWrite::Forget { key } => forgotten.push(key),
        }
    }
    if !completed.is_empty() {
        sqlx::query(
            "update idempotency as kept set response = done.response
             from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) as done (user_id, route, key, response)
             where (kept.user_id, kept.route, kept.key) = (done.user_id, done.route, done.key)",
        )
        .bind(completed.iter().map(|(key, _)| key.user_id).collect::<Vec<_>>())
        .bind(completed.iter().map(|(key, _)| key.route).collect::<Vec<_>>())
        .bind(completed.iter().map(|(key, _)| key.key.as_str()).collect::<Vec<_>>())
        .bind(completed.iter().map(|(_, response)| *response).collect::<Vec<_>>())
        .execute(&mut *db)
        .await?;
    }
    if !forgotten.is_empty() {
        sqlx::query(
            "delete from idempotency where (user_id, route, key) in
             (select * from unnest($1::uuid[], $2::text[], $3::text[]))",
        )
        .bind(forgotten.iter().map(|key| key.user_id).collect::<Vec<_>>())
        .bind(forgotten.iter().map(|key| key.route).collect::<Vec<_>>())
        .bind(forgotten.iter().map(|key| key.key.as_str()).collect::<Vec<_>>())
        .execute(db)
        .await?;
    }
    Ok(())
}

/// The records of `keys` that are there and not older than 24 hours.
pub async fn find_idempotency<'e>(
    db: impl sqlx::PgExecutor<'e>,
    keys: &[IdempotencyKey],
) -> Result<Vec<(IdempotencyKey, StoredAnswer)>, sqlx::Error> {
    let rows = sqlx::query(
        "select kept.user_id, kept.route, kept.key, kept.request_hash, kept.response
         from unnest($1::uuid[], $2::text[], $3::text[]) as wanted (user_id, route, key)
         cross join lateral (
           -- one look-up by key each, never a join over the whole table
           select * from idempotency
           where user_id = wanted.user_id and route = wanted.route and key = wanted.key
             and created_at >= now() - interval '24 hours' limit 1) as kept",
    )
    .bind(keys.iter().map(|key| key.user_id).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.route).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.key.as_str()).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let (user_id, route, name): (Uuid, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let wanted = keys.iter().find(|k| k.user_id == user_id && k.route == route && k.key == name);
        let hash: Vec<u8> = row.try_get(3)?;
        let response: Option<Vec<u8>> = row.try_get(4)?;
        if let (Some(key), Ok(request_hash)) = (wanted, hash.try_into()) {
            found.push((key.clone(), StoredAnswer { request_hash, response: response.map(Into::into) }));
        }
    }
    Ok(found)
}

/// Writes a batch's events, and the batch's own row with their ids as unsent, in one round trip; returns the database's time.
pub async fn insert_outbox(
    db: &mut PgConnection,
    batch: Uuid,
    events: &[&Outgoing],
) -> Result<Timestamp, sqlx::Error> {
    let at: OffsetDateTime = sqlx::query_scalar(
        "with told as (
           insert into outbox (id, subject, source, payload, context, created_at)
           select id, subject, source, payload::json, context::json, created_at from unnest(
             $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
             as event (id, subject, source, payload, context, created_at))
         insert into journal_batch (id, events, unsent) values ($1, $2, $2) returning committed_at",
    )
    .bind(batch)
    .bind(events.iter().map(|e| e.id).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.subject.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.source.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|e| String::from_utf8_lossy(&e.payload)).collect::<Vec<_>>())
    .bind(events.iter().map(|e| serde_json::to_string(&e.context).unwrap_or_default()).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.time.date_time()).collect::<Vec<_>>())
    .fetch_one(db)
    .await?;
    Ok(at.into())
}

/// Writes the row of a batch that says nothing and returns the database's time.
pub async fn insert_batch(db: &mut PgConnection, id: Uuid) -> Result<Timestamp, sqlx::Error> {
    let at: OffsetDateTime =
        sqlx::query_scalar("insert into journal_batch (id) values ($1) returning committed_at")
            .bind(id)
            .fetch_one(db)
            .await?;
    Ok(at.into())
}

/// Whether a batch whose commit was cut off went through. Inserting the same id waits for a commit that is still
/// under way. The row says that it was this question that made it, for the next question, when its answer is cut off too.
pub async fn was_committed(db: &mut PgConnection, id: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query("insert into journal_batch (id, is_question) values ($1, true) on conflict do nothing")
        .bind(id)
        .execute(&mut *db)
        .await?;
    sqlx::query_scalar("select not is_question from journal_batch where id = $1").bind(id).fetch_one(db).await
}

/// Makes the outbox's partitions of the coming days where they are missing.
pub async fn make_partitions(db: &mut PgConnection, domain: &str) -> Result<(), sqlx::Error> {
    sqlx::query("select delivery.prepare($1)").bind(domain).execute(db).await?;
    Ok(())
}

/// Which outbox rows to read.
pub enum Page<'a> {
    /// All after this id: the stream was wiped.
    Archive(Uuid),
    These(&'a [Uuid]),
}

/// Rows of one page, oldest first.
pub const OUTBOX_PAGE: usize = 1_000;

/// Batches of one page of the sweep: some thousand events at most.
pub const BATCH_PAGE: usize = 32;

/// A batch some of whose events JetStream has not acknowledged, `events`.
pub struct Unsent {
    pub batch: Uuid,
    pub committed_at: Timestamp,
    pub events: Vec<Uuid>,
}

/// Batches with unsent events that are older than the relay needs for what it has in memory, after this place.
pub async fn overdue(
    db: &mut PgConnection,
    (after, id): (Timestamp, Uuid),
) -> Result<Vec<Unsent>, sqlx::Error> {
    let rows = sqlx::query(
        "select id, committed_at, unsent from journal_batch
         where unsent is not null and committed_at < now() - interval '5 seconds' and (committed_at, id) > ($2, $3)
         order by committed_at, id limit $1",
    )
    .bind(BATCH_PAGE as i64)
    .bind(after.date_time())
    .bind(id)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let committed_at: OffsetDateTime = row.try_get(1)?;
            Ok(Unsent { batch: row.try_get(0)?, committed_at: committed_at.into(), events: row.try_get(2)? })
        })
        .collect()
}

/// What was published within a minute before the last that was: JetStream may have acknowledged and then lost it.
pub async fn recently_published(db: &mut PgConnection) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "select event from journal_batch, unnest(events) as event
         where published_at >= (select max(published_at) from journal_batch) - interval '60 seconds' order by event",
    )
    .fetch_all(db)
    .await
}

pub async fn read_outbox(db: &mut PgConnection, page: &Page<'_>) -> Result<Vec<Outgoing>, sqlx::Error> {
    let query = match page {
        Page::Archive(after) => sqlx::query(
            "select id, subject, source, payload::text, context, created_at from outbox
             where id > $2 order by id limit $1",
        )
        .bind(OUTBOX_PAGE as i64)
        .bind(*after),
        Page::These(ids) => sqlx::query(
            "select id, subject, source, payload::text, context, created_at from outbox
             where id = any($1) order by id",
        )
        .bind(*ids),
    };
    let rows = query.fetch_all(db).await?;
    rows.iter()
        .map(|row| {
            let payload: String = row.try_get(3)?;
            let context: Json<Context> = row.try_get(4)?;
            let time: OffsetDateTime = row.try_get(5)?;
            Ok(Outgoing {
                id: row.try_get(0)?,
                subject: row.try_get(1)?,
                source: row.try_get(2)?,
                payload: payload.into(),
                context: context.0,
                time: time.into(),
            })
        })
        .collect()
}

/// The pointer of a relay that has one: what a planted bug goes on from.
#[cfg(feature = "planted")]
pub async fn last_published(db: &mut PgConnection) -> Result<Option<(Timestamp, Uuid)>, sqlx::Error> {
    let last: Option<(OffsetDateTime, Uuid)> = sqlx::query_as(
        "select committed_at, id from journal_batch where published_at is not null
         order by committed_at desc, id desc limit 1",
    )
    .fetch_optional(db)
    .await?;
    Ok(last.map(|(at, id)| (at.into(), id)))
}

/// Notes that JetStream has acknowledged every event of these batches.
pub async fn mark_published(db: &mut PgConnection, batches: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query("update journal_batch set unsent = null, published_at = now() where id = any($1)")
        .bind(batches)
        .execute(db)
        .await?;
    Ok(())
}

/// Notes which events of a batch are left to be sent after others were acknowledged.
pub async fn mark_partly(db: &mut PgConnection, batch: Uuid, unsent: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update journal_batch set unsent = $2, published_at = now() where id = $1 and unsent is not null",
    )
    .bind(batch)
    .bind(unsent)
    .execute(db)
    .await?;
    Ok(())
}
