//! The SQL of erasures: the mail log without recipients, and the mails to one person.
//!
//! Invariant: a mail that loses its recipient gets a new version in the same statement (`blank_mails`), so that a host that has
//! claimed it marks nothing.

use std::collections::HashSet;

use bus::contract::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

/// Orders that one statement blanks.
const BLANKED_MAX: i64 = 500;

/// Removes the person from the orders and from all mails about them and the account; returns these mails.
pub async fn blank(pool: &PgPool, orders: &[Uuid], owner: Uuid) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("select blank_mails($1, $2)").bind(orders).bind(owner).fetch_all(pool).await
}

/// Every mail to the user that is blanked, for what is left of them outside of the database.
pub async fn blanked_of(pool: &PgPool, orders: &[Uuid], owner: Uuid) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from mails where blanked_at is not null and (reservation_id = any($1) or user_id = $2)",
    )
    .bind(orders)
    .bind(owner)
    .fetch_all(pool)
    .await
}

/// Removes the addresses of orders whose show began before this time. `None` where there is none left; else the mails.
pub async fn blank_past(pool: &PgPool, before: Timestamp) -> sqlx::Result<Option<Vec<Uuid>>> {
    let orders: Vec<Uuid> = sqlx::query_scalar(
        "select reservation_id from attendees where email <> '' and starts_at < $1 order by starts_at limit $2",
    )
    .bind(before.date_time())
    .bind(BLANKED_MAX)
    .fetch_all(pool)
    .await?;
    if orders.is_empty() {
        return Ok(None);
    }
    let mails = sqlx::query_scalar("select blank_mails($1, null)").bind(orders).fetch_all(pool).await?;
    Ok(Some(mails))
}

/// Those of these mails that have lost their recipients.
pub async fn blanked(pool: &PgPool, mails: &[Uuid]) -> sqlx::Result<HashSet<Uuid>> {
    let blanked = sqlx::query_scalar("select id from mails where id = any($1) and blanked_at is not null");
    Ok(blanked.bind(mails).fetch_all(pool).await?.into_iter().collect())
}
