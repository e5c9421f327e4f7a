//! The one statement of a batch: the domain's parts, idempotency records, the batch's row with its events. And the query
//! whether it was committed.
//!
//! Invariant: a batch is written whole or not at all. Where a part found other rows than expected, the statement ends in the
//! error [`INCOMPLETE`] with the found rows as its detail.

use std::collections::HashSet;

use bus::contract::Timestamp;
use bus::event::Outgoing;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::postgres::PgArguments;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::delivery::{IdempotencyKey, IdempotencyWrite, Statement};

/// SQLSTATE of `delivery.incomplete`.
const INCOMPLETE: &str = "MQ001";

/// The key of a batch. The day is part of it, since the table is split by day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchKey {
    pub day: Date,
    pub journal: Uuid,
    pub number: i64,
}

/// The report of the statement.
pub struct Reported {
    pub committed_at: Timestamp,
    pub written: Value,
}

/// The rows found by an incomplete batch.
#[derive(Debug, Deserialize)]
pub struct Found {
    #[serde(default)]
    pub rows: Value,
    /// The keys that were free, where there were any to claim.
    #[serde(default)]
    pub keys: Vec<(Uuid, String, String)>,
}

impl Found {
    /// Reads it from the error that the statement ended with; `None` for any other error.
    pub fn of(error: &sqlx::Error) -> Option<Self> {
        let sqlx::Error::Database(error) = error else { return None };
        let error = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
        let detail = (error.code() == INCOMPLETE).then(|| error.detail())??;
        serde_json::from_str(detail).ok()
    }

    pub fn has(&self, key: &IdempotencyKey) -> bool {
        let is = |(user, route, name): &(Uuid, String, String)| {
            *user == key.user_id && route == key.route && *name == key.key
        };
        self.keys.iter().any(is)
    }
}

/// An event as it is kept in the batch's row.
#[derive(Serialize)]
struct Kept<'a> {
    id: Uuid,
    subject: &'a str,
    source: &'a str,
    time: Timestamp,
    context: &'a bus::Context,
    /// The same bytes as they are sent.
    payload: &'a RawValue,
}

/// Writes a batch: `statement` has the domain's parts, none where it has sent statements of its own.
pub async fn write(
    db: &mut PgConnection,
    key: BatchKey,
    statement: Statement,
    keys: &[&IdempotencyWrite],
    events: &[&Outgoing],
) -> Result<Reported, sqlx::Error> {
    let (text, arguments) = with_batch(statement, key, keys, events)?;
    let row = sqlx::query_with(AssertSqlSafe(text), arguments).fetch_one(db).await?;
    let (committed_at, Json(written)): (OffsetDateTime, Json<Value>) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Reported { committed_at: committed_at.into(), written })
}

/// Adds the records and the batch's row to the domain's parts. The domain's conditions stand first: so all hosts wait for its
/// rows and for keys in one order.
fn with_batch(
    mut statement: Statement,
    key: BatchKey,
    keys: &[&IdempotencyWrite],
    events: &[&Outgoing],
) -> Result<(String, PgArguments), sqlx::Error> {
    let free_keys = claim_keys(&mut statement, keys);
    complete_keys(&mut statement, keys);
    free(&mut statement, keys);
    let [day, journal, number] =
        [statement.add(key.day), statement.add(key.journal), statement.add(key.number)];
    let ids = statement.add(events.iter().map(|event| event.id).collect::<Vec<_>>());
    let subjects = statement.add(events.iter().map(|event| event.subject.as_str()).collect::<Vec<_>>());
    let kept = statement.add(kept(events)?);
    let null = || "'null'::json".to_owned();
    let (written, found) =
        (statement.written.take().unwrap_or_else(null), statement.found.take().unwrap_or_else(null));
    statement.part(format!(
        "batch as (
           insert into outbox (day, journal, number, event_ids, subjects, events, written)
           values ({day}, {journal}, {number}, {ids}, {subjects}, {kept}::json, {written})
           returning committed_at, written)"
    ));
    let (parts, condition, arguments) = statement.finish();
    let text = format!(
        "with {parts}
         select committed_at, case when {condition} then written
           else delivery.incomplete(jsonb_build_object('rows', {found}, 'keys', {free_keys})) end
         from batch"
    );
    Ok((text, arguments))
}

/// Claims keys; a record older than 24 hours counts as free. Returns the expression of those that were free.
fn claim_keys(statement: &mut Statement, keys: &[&IdempotencyWrite]) -> &'static str {
    let mut claims: Vec<(&IdempotencyKey, &[u8; 32], Option<&[u8]>)> = Vec::new();
    for write in keys {
        if let IdempotencyWrite::Claim { key, request_hash, response } = write {
            claims.push((key, request_hash, response.as_deref()));
        }
    }
    #[cfg(feature = "planted")]
    claims.retain(|_| !bus::config::planted("forget-keys"));
    if claims.is_empty() {
        return "'[]'::json";
    }
    // Sorted, so that hosts wait for each other in one order.
    claims.sort_by(|(a, ..), (b, ..)| (a.user_id, a.route, &a.key).cmp(&(b.user_id, b.route, &b.key)));
    let wanted = add_keys(statement, claims.iter().map(|(key, ..)| *key));
    let hashes = statement.add(claims.iter().map(|(_, hash, _)| hash.to_vec()).collect::<Vec<_>>());
    let responses = claims.iter().map(|(.., response)| response.map(<[u8]>::to_vec));
    let responses = statement.add(responses.collect::<Vec<Option<Vec<u8>>>>());
    statement.part(format!(
        "claimed_keys as (
           insert into idempotency as kept (user_id, route, key, request_hash, response)
           select * from unnest({wanted}, {hashes}::bytea[], {responses}::bytea[])
           on conflict (user_id, route, key) do update
             set request_hash = excluded.request_hash, response = excluded.response, created_at = now()
             where kept.created_at < now() - interval '24 hours'
           returning user_id, route, key)"
    ));
    let count = statement.add(claims.len() as i64);
    statement.condition(format!("(select count(*) from claimed_keys) = {count}"));
    "(select coalesce(json_agg(json_build_array(user_id, route, key)), '[]'::json) from claimed_keys)"
}

/// Stores the answers of claimed keys. One that is not there (it expired) stays so.
fn complete_keys(statement: &mut Statement, keys: &[&IdempotencyWrite]) {
    let mut completed: Vec<(&IdempotencyKey, Vec<u8>)> = Vec::new();
    for write in keys {
        if let IdempotencyWrite::Complete { key, response } = write {
            completed.push((key, response.to_vec()));
        }
    }
    if completed.is_empty() {
        return;
    }
    let wanted = add_keys(statement, completed.iter().map(|(key, _)| *key));
    let responses = statement.add(completed.into_iter().map(|(_, response)| response).collect::<Vec<_>>());
    statement.part(format!(
        "completed_keys as (
           update idempotency as kept set response = done.response
           from unnest({wanted}, {responses}::bytea[]) as done (user_id, route, key, response)
           where (kept.user_id, kept.route, kept.key) = (done.user_id, done.route, done.key))"
    ));
}

fn free(statement: &mut Statement, keys: &[&IdempotencyWrite]) {
    let mut freed: Vec<&IdempotencyKey> = Vec::new();
    for write in keys {
        if let IdempotencyWrite::Forget { key } = write {
            freed.push(key);
        }
    }
    if freed.is_empty() {
        return;
    }
    let wanted = add_keys(statement, freed.into_iter());
    statement.part(format!(
        "freed_keys as (
           delete from idempotency where (user_id, route, key) in (select * from unnest({wanted})))"
    ));
}

/// The arguments of an `unnest` of keys.
fn add_keys<'k>(statement: &mut Statement, keys: impl Iterator<Item = &'k IdempotencyKey> + Clone) -> String {
    let users = statement.add(keys.clone().map(|key| key.user_id).collect::<Vec<_>>());
    let routes = statement.add(keys.clone().map(|key| key.route).collect::<Vec<_>>());
    let names = statement.add(keys.map(|key| key.key.as_str()).collect::<Vec<_>>());
    format!("{users}::uuid[], {routes}::text[], {names}::text[]")
}

/// The events as one JSON array.
fn kept(events: &[&Outgoing]) -> Result<String, sqlx::Error> {
    let unreadable = |error: serde_json::Error| sqlx::Error::Encode(error.into());
    let kept = |event: &&Outgoing| {
        let payload: &RawValue = serde_json::from_slice(&event.payload).map_err(unreadable)?;
        let Outgoing { id, subject, source, time, context, .. } = *event;
        let kept = Kept { id: *id, subject, source, time: *time, context, payload };
        serde_json::to_string(&kept).map_err(unreadable)
    };
    let kept: Vec<String> = events.iter().map(kept).collect::<Result<_, _>>()?;
    Ok(format!("[{}]", kept.join(",")))
}

/// Keys that are in two of the changes: their statement could not touch a row twice.
pub fn repeats_a_key<'k>(
    seen: &mut HashSet<&'k IdempotencyKey>,
    write: Option<&'k IdempotencyWrite>,
) -> bool {
    write.is_some_and(|write| !seen.insert(write.key()))
}

/// Begins the life of a journal: its first row also shows that the database takes writes.
pub async fn open_journal(db: &mut PgConnection, id: Uuid) -> Result<Timestamp, sqlx::Error> {
    let now: OffsetDateTime = sqlx::query_scalar("insert into journals (id) values ($1) returning opened_at")
        .bind(id)
        .fetch_one(db)
        .await?;
    Ok(now.into())
}

/// The report of a batch whose answer was lost; `None` where it was not committed, and now never will be. Inserting under the
/// same key waits for a commit that is still running, and since this query always writes, its own commit waits for a
/// synchronous standby as the batch's had to.
pub async fn was_committed(db: &mut PgConnection, key: BatchKey) -> Result<Option<Reported>, sqlx::Error> {
    let row = sqlx::query(
        "insert into outbox as batch (day, journal, number, is_question, questions) values ($1, $2, $3, true, 1)
         on conflict (journal, number, day) do update set questions = batch.questions + 1
         returning is_question, committed_at, coalesce(written, 'null'::json)",
    )
    .bind(key.day)
    .bind(key.journal)
    .bind(key.number)
    .fetch_one(db)
    .await?;
    let (is_question, committed_at, Json(written)): (bool, OffsetDateTime, Json<Value>) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok((!is_question).then(|| Reported { committed_at: committed_at.into(), written }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sqlx::Arguments as _;

    use super::*;

    #[test]
    fn the_places_of_the_arguments_follow_those_of_the_domain() {
        let mut statement = Statement::default();
        let n = statement.add(1_i64);
        statement.part(format!("updated as (update t set n = {n} returning id)"));
        statement.condition("(select count(*) from updated) = 1");
        let key = |name: &str| IdempotencyKey { user_id: Uuid::nil(), route: "r", key: name.to_owned() };
        let claim = IdempotencyWrite::Claim { key: key("a"), request_hash: [0; 32], response: None };
        let complete = IdempotencyWrite::Complete { key: key("b"), response: Bytes::from_static(b"x") };
        let batch = BatchKey { day: Date::MIN, journal: Uuid::nil(), number: 1 };
        let (text, arguments) = with_batch(statement, batch, &[&claim, &complete], &[]).unwrap();
        assert_eq!(arguments.len(), 17, "1 of the domain, 6 of claims, 4 of answers, 6 of the batch");
        let claims = "unnest($2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::bytea[])";
        assert!(text.contains(claims), "{text}");
        let complete = "(select count(*) from updated) = 1 and (select count(*) from claimed_keys) = $7";
        assert!(text.contains(complete), "{text}");
        assert!(text.contains("values ($12, $13, $14, $15, $16, $17::json, 'null'::json)"), "{text}");
    }

    #[test]
    fn an_event_is_kept_with_the_bytes_of_its_payload() {
        let event = Outgoing {
            id: Uuid::nil(),
            subject: "movie.created".into(),
            source: "/marquee/movie".into(),
            time: OffsetDateTime::UNIX_EPOCH.into(),
            payload: Bytes::from_static(b"{\"b\": 1.0,\"a\":2}"),
            context: bus::Context::new(),
        };
        let kept = kept(&[&event, &event]).unwrap();
        assert_eq!(kept.matches("\"payload\":{\"b\": 1.0,\"a\":2}").count(), 2, "{kept}");
    }
}
