//! The SQL of erasures: a user's orders with their addresses, the tombstone, and orders without their person.
//!
//! Invariant: an order that loses its address gets a new version in the same statement (`blank_orders`), so that no host writes
//! its copy with the address back.

use bus::contract::Timestamp;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use crate::delivery::Person;

/// Orders that one statement blanks: it holds their rows for some ten milliseconds.
const BLANKED_MAX: i64 = 500;
/// Guests of one answer.
const GUESTS_MAX: i64 = 500;

/// Ids of a user's orders after this one, oldest first.
pub async fn orders_after(
    pool: &PgPool,
    user: Uuid,
    after: Option<Uuid>,
    most: usize,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from reservation.reservations where user_id = $1 and ($2::uuid is null or id > $2)
         order by id limit $3",
    )
    .bind(user)
    .bind(after)
    .bind(most as i64)
    .fetch_all(pool)
    .await
}

/// Guests after this one whose last show began before this time, and whose orders have addresses.
pub async fn past_guests(pool: &PgPool, before: Timestamp, after: Option<Uuid>) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select user_id from reservation.reservations as past
         where email <> '' and starts_at < $1 and (checkpoint ->> 'guest')::bool
           and ($2::uuid is null or user_id > $2) and not exists (
           select from reservation.reservations as later where later.user_id = past.user_id and later.starts_at >= $1)
         group by user_id order by user_id limit $3",
    )
    .bind(before.date_time())
    .bind(after)
    .bind(GUESTS_MAX)
    .fetch_all(pool)
    .await
}

/// From here on nothing personal of the user is stored.
pub async fn remember_erased(pool: &PgPool, user: Uuid, at: Timestamp) -> sqlx::Result<()> {
    sqlx::query("select reservation.remember_erased($1, $2)")
        .bind(user)
        .bind(at.date_time())
        .execute(pool)
        .await?;
    Ok(())
}

/// The user with all orders, their addresses and the names of their customers.
pub async fn person(pool: &PgPool, user: Uuid) -> sqlx::Result<Person> {
    let rows = sqlx::query(
        "select id, email, coalesce(checkpoint ->> 'customerName', '') as name from reservation.reservations where user_id = $1",
    )
    .bind(user)
    .fetch_all(pool)
    .await?;
    let mut person = Person { user_ids: vec![user], ..Person::default() };
    for row in rows {
        person.reservation_ids.push(row.try_get("id")?);
        let (address, name): (String, String) = (row.try_get("email")?, row.try_get("name")?);
        for (text, known) in [(address, &mut person.addresses), (name, &mut person.names)] {
            if !text.is_empty() && !known.contains(&text) {
                known.push(text);
            }
        }
    }
    Ok(person)
}

/// Removes the person from orders.
pub async fn blank(pool: &PgPool, orders: &[Uuid]) -> sqlx::Result<()> {
    for some in orders.chunks(BLANKED_MAX as usize) {
        sqlx::query("select reservation.blank_orders($1, 'erase')").bind(some).execute(pool).await?;
    }
    Ok(())
}

/// Removes the person from orders that a change in flight gave an address again, or gave to the user, after the user was erased.
pub async fn blank_erased(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select reservation.blank_orders(array(
           select orders.id from reservation.reservations as orders
           join reservation.erased_users as erased on erased.user_id = orders.user_id
           where orders.email <> '' order by orders.id limit $1), 'erase')",
    )
    .bind(BLANKED_MAX)
    .fetch_one(pool)
    .await
}

/// Removes addresses and names from the orders of accounts whose show began before this time; returns from how many. Guests are
/// erased as a whole. What a guest's order still has a week later belongs to somebody who has registered since, or has a later show.
pub async fn blank_past(pool: &PgPool, before: Timestamp) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select reservation.blank_orders(array(
           select id from reservation.reservations
           where email <> '' and starts_at < $1 and status <> 'PENDING' and not attention
             and (not coalesce((checkpoint ->> 'guest')::bool, false) or starts_at < $1 - interval '7 days')
           order by starts_at limit $2), 'retention')",
    )
    .bind(before.date_time())
    .bind(BLANKED_MAX)
    .fetch_one(pool)
    .await
}
