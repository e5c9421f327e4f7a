//! The SQL of erasures: payments without their person, and invoices whose legal term is over.
//!
//! Invariant: a payment that loses its address gets a new version in the same statement (`blank_payments`), so that no host
//! writes its copy with the address back. Postings and numbered receipts have no personal field and never change.

use bus::contract::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

/// Payments that one statement blanks.
const BLANKED_MAX: i64 = 500;

/// The addresses that the payments of these orders have.
pub async fn addresses(pool: &PgPool, orders: &[Uuid]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select distinct checkpoint ->> 'email' from payments
         where reservation_id = any($1) and checkpoint ->> 'email' <> ''",
    )
    .bind(orders)
    .fetch_all(pool)
    .await
}

/// Removes the person from the payments of these orders and makes the erased user their owner: a guest may have made them.
pub async fn blank(pool: &PgPool, orders: &[Uuid], owner: Uuid) -> sqlx::Result<()> {
    for some in orders.chunks(BLANKED_MAX as usize) {
        sqlx::query("select blank_payments($1, $2)").bind(some).bind(owner).execute(pool).await?;
    }
    Ok(())
}

/// Removes the addresses of settled payments whose show began before this time; returns from how many.
pub async fn blank_past(pool: &PgPool, before: Timestamp) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select blank_payments(array(
           select reservation_id from payments
           where checkpoint ->> 'email' is not null and checkpoint #>> '{sale,startsAt}' < $1
             and next_check_at is null and attention is null
           order by checkpoint #>> '{sale,startsAt}' limit $2), null)",
    )
    .bind(before.to_string())
    .bind(BLANKED_MAX)
    .fetch_one(pool)
    .await
}

/// Deletes the buyers of orders whose last receipt is of a year before this one.
pub async fn forget_buyers(pool: &PgPool, before_year: i16) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        "delete from buyers where $1 > greatest(
           extract(year from set_at)::int,
           (select max(year) from receipts where receipts.reservation_id = buyers.reservation_id))",
    )
    .bind(i32::from(before_year))
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}
