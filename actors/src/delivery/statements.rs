//! The SQL of delivery's own tables: idempotency records, the outbox with its batches, how far it is published. The
//! connection's `search_path` selects the domain.

pub mod archive;
pub mod batch;
pub mod consumers;

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{IdempotencyKey, StoredAnswer};

/// The stored records of `keys` that are not older than 24 hours.
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

/// Makes the outbox's partitions of the coming days where they are missing.
pub async fn make_partitions(db: &mut PgConnection, domain: &str) -> Result<(), sqlx::Error> {
    sqlx::query("select delivery.prepare($1)").bind(domain).execute(db).await?;
    Ok(())
}
