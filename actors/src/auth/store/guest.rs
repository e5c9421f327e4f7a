//! SQL of guests: users without an account. What makes a row one is its `kind`; its e-mail, name and password are empty.
//!
//! Invariant: only the row of a guest becomes an account by a link, and it keeps its id.

use bus::contract::Timestamp;
use bus::contract::auth::Revocation;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Refused, Result, Written};
use crate::auth::model::{Account, email_key};
use crate::delivery::RowError;

/// Guests that one request to reservation names.
const CHECKED_MAX: i64 = 500;

pub async fn insert(db: &mut PgConnection, guest: Uuid, now: Timestamp, check_at: Timestamp) -> Result<()> {
    sqlx::query(
        "insert into users (id, email, email_key, name, role, password_hash, created_at, updated_at, kind, guest_check_at)
         values ($1, '', '', '', 'USER', '', $2, $2, 'GUEST', $3)",
    )
    .bind(guest)
    .bind(now.date_time())
    .bind(check_at.date_time())
    .execute(db)
    .await?;
    Ok(())
}

pub async fn is_guest(db: &PgPool, id: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from users where id = $1 and kind = 'GUEST')")
        .bind(id)
        .fetch_one(db)
        .await
}

/// Makes a guest's row an account. Its guest's access tokens are void. Stale where it is no guest any more.
pub async fn promote(db: &mut PgConnection, account: &Account) -> Result<Written> {
    let user = &account.user;
    let epoch: Option<i64> = sqlx::query_scalar(
        "update users set kind = 'ACCOUNT', guest_check_at = null, email = $2, email_key = $3, name = $4,
           password_hash = $5, updated_at = $6, epoch = epoch + 1, revoked_at = now()
         where id = $1 and kind = 'GUEST' returning epoch",
    )
    .bind(user.id)
    .bind(&user.email)
    .bind(email_key(&user.email))
    .bind(&user.name)
    .bind(&account.password_hash)
    .bind(user.created_at.date_time())
    .fetch_optional(db)
    .await
    .map_err(|error| match error.as_database_error().and_then(|e| e.constraint()) {
        Some("one_email") => RowError::Rejected(Refused::EmailTaken),
        _ => RowError::Sql(error),
    })?;
    let epoch = epoch.ok_or(RowError::Stale)?;
    Ok(Written::Revoked(Revocation { user_id: user.id, epoch, kept_session: None, kept_from: 0 }))
}

/// Guests whose orders are to be looked for.
pub async fn to_check(db: &PgPool) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("select id from users where guest_check_at < now() order by guest_check_at limit $1")
        .bind(CHECKED_MAX)
        .fetch_all(db)
        .await
}

/// Deletes the checked guests but those that have orders; these are not checked again. Returns how many were deleted.
pub async fn delete_but(db: &mut PgConnection, checked: &[Uuid], kept: &[Uuid]) -> Result<u64> {
    sqlx::query("update users set guest_check_at = null where id = any($1)")
        .bind(kept)
        .execute(&mut *db)
        .await?;
    let deleted = sqlx::query(
        "delete from users where id = any($1) and not (id = any($2)) and kind = 'GUEST' and guest_check_at < now()",
    )
    .bind(checked)
    .bind(kept)
    .execute(db)
    .await?;
    Ok(deleted.rows_affected())
}

/// Has a guest checked again, whose orders went to an account, when its token has long expired.
pub async fn check_again(db: &mut PgConnection, guest: Uuid) -> Result<()> {
    sqlx::query(
        "update users set guest_check_at = now() + interval '1 day' where id = $1 and kind = 'GUEST'",
    )
    .bind(guest)
    .execute(db)
    .await?;
    Ok(())
}
