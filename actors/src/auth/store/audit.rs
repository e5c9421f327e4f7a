//! The audit's SQL: records are inserted in the transaction of the change that they record, and read. Triggers refuse every
//! delete, and every update but the removal of addresses.

use std::net::IpAddr;

use bus::contract::Timestamp;
use bus::contract::auth::{AuditKind, AuditRecord, ListAudit};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::read::timestamp;

/// A record to be written.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Of an event that is recorded, its id: a copy of the event is not recorded again. UUIDv7, or nearly so, since it is also the order.
    pub id: Uuid,
    pub at: Timestamp,
    pub kind: AuditKind,
    pub actor: Option<Uuid>,
    pub user: Option<Uuid>,
    pub ip: Option<IpAddr>,
    pub details: Value,
}

pub async fn insert(db: &mut PgConnection, entries: &[&Entry]) -> sqlx::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = entries.iter().map(|entry| entry.id).collect();
    let times: Vec<OffsetDateTime> = entries.iter().map(|e| e.at.date_time()).collect();
    let kinds: Vec<String> = entries.iter().map(|e| kind_name(e.kind)).collect();
    let actors: Vec<Option<Uuid>> = entries.iter().map(|e| e.actor).collect();
    let users: Vec<Option<Uuid>> = entries.iter().map(|e| e.user).collect();
    let ips: Vec<Option<String>> = entries.iter().map(|e| e.ip.map(|ip| ip.to_string())).collect();
    let details: Vec<String> = entries.iter().map(|e| e.details.to_string()).collect();
    sqlx::query(
        "insert into audit (id, at, kind, actor_id, user_id, ip, details)
         select id, at, kind, actor_id, user_id, ip::inet, details::jsonb
         from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::text[])
              as entry (id, at, kind, actor_id, user_id, ip, details)
         on conflict (id) do nothing",
    )
    .bind(ids)
    .bind(times)
    .bind(kinds)
    .bind(actors)
    .bind(users)
    .bind(ips)
    .bind(details)
    .execute(db)
    .await?;
    Ok(())
}

/// Records whose addresses one statement removes.
const BLANKED_MAX: i64 = 5_000;

/// Removes network and e-mail addresses from records that are 90 days old; returns from how many.
pub async fn blank_addresses(db: &PgPool) -> sqlx::Result<u64> {
    let blanked = sqlx::query(
        "update audit set ip = null, details = details - array['email', 'previousEmail']
         where id in (
           select id from audit
           where at < now() - interval '90 days' and (ip is not null or details ?| array['email', 'previousEmail'])
           order by at limit $1)",
    )
    .bind(BLANKED_MAX)
    .execute(db)
    .await?;
    Ok(blanked.rows_affected())
}

/// A page of the audit, and the number of all matching records.
pub async fn list(db: &PgPool, wanted: &ListAudit) -> sqlx::Result<(Vec<AuditRecord>, u64)> {
    const FOUND: &str =
        "where ($1::text is null or kind = $1) and ($2::uuid is null or user_id = $2 or actor_id = $2)
           and ($3::timestamptz is null or at >= $3) and ($4::timestamptz is null or at < $4)";
    let kind = wanted.kind.map(kind_name);
    let (from, to) = (wanted.from.map(Timestamp::date_time), wanted.to.map(Timestamp::date_time));
    let page = format!(
        "select id, at, kind, actor_id, user_id, host(ip) as ip, details from audit {FOUND}
         order by at desc, id desc limit $5 offset $6"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(page))
        .bind(&kind)
        .bind(wanted.user_id)
        .bind(from)
        .bind(to)
        .bind(wanted.paging.limit())
        .bind(wanted.paging.offset())
        .fetch_all(db)
        .await?;
    let total: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from audit {FOUND}")))
        .bind(&kind)
        .bind(wanted.user_id)
        .bind(from)
        .bind(to)
        .fetch_one(db)
        .await?;
    Ok((rows.iter().map(record).collect::<sqlx::Result<_>>()?, total as u64))
}

fn record(row: &PgRow) -> sqlx::Result<AuditRecord> {
    let kind: String = row.try_get("kind")?;
    let ip: Option<String> = row.try_get("ip")?;
    Ok(AuditRecord {
        id: row.try_get("id")?,
        at: timestamp(row, "at")?,
        kind: serde_json::from_value(kind.into()).map_err(|error| sqlx::Error::Decode(error.into()))?,
        actor_id: row.try_get("actor_id")?,
        user_id: row.try_get("user_id")?,
        ip: ip.and_then(|ip| ip.parse().ok()),
        details: row.try_get("details")?,
    })
}

/// As the contract spells it.
fn kind_name(kind: AuditKind) -> String {
    match serde_json::to_value(kind) {
        Ok(Value::String(name)) => name,
        other => unreachable!("a kind is written as a string, not {other:?}"),
    }
}
