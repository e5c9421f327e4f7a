//! The SQL of erasures: a user's row becomes a tombstone, and the audit loses the person's addresses.
//!
//! Invariant: an erased user's logins and links are deleted and the epoch rises in the same transaction, so that no token of the
//! user is valid after it. Invariant: the last SUPER_ADMIN is not erased.

use bus::contract::Timestamp;
use bus::contract::auth::Role;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::access::{check_other_super_admin, lock_super_admins, revoked};
use super::{Result, Written};
use crate::auth::model::{Erasable, role_name, role_named};

/// Erases a user that is still as it was read.
#[derive(Debug)]
pub struct Erasure {
    pub user: Erasable,
    /// The password hash that was verified, where the account's owner asked for it.
    pub proven: Option<String>,
    pub at: Timestamp,
}

/// An account or a guest; `None` for an unknown or erased user.
pub async fn erasable(db: &PgPool, id: Uuid) -> sqlx::Result<Option<Erasable>> {
    let row =
        sqlx::query("select id, kind, role, epoch, email_key from users where id = $1 and kind <> 'ERASED'")
            .bind(id)
            .fetch_optional(db)
            .await?;
    let Some(row) = row else { return Ok(None) };
    let (role, kind): (&str, &str) = (row.try_get("role")?, row.try_get("kind")?);
    Ok(Some(Erasable {
        id: row.try_get("id")?,
        role: role_named(role).unwrap_or(Role::User),
        is_guest: kind == "GUEST",
        epoch: row.try_get("epoch")?,
        email_key: row.try_get("email_key")?,
    }))
}

pub async fn erase(db: &mut PgConnection, erasure: &Erasure) -> Result<Written> {
    let Erasure { user, proven, at } = erasure;
    if user.role == Role::SuperAdmin {
        lock_super_admins(db).await?;
        check_other_super_admin(db, user.id).await?;
    }
    let erased = sqlx::query(
        "update users set kind = 'ERASED', erased_at = $5, role = 'USER', email = '', email_key = '', name = '',
                password_hash = '', verified_at = null, disabled_at = null, guest_check_at = null, epoch = epoch + 1,
                kept_session = null, kept_from = 0, revoked_at = now(), updated_at = now()
         where id = $1 and kind <> 'ERASED' and role = $2 and epoch = $3
           and ($4::text is null or password_hash = $4)
         returning id, epoch, kept_session, kept_from",
    )
    .bind(user.id)
    .bind(role_name(user.role))
    .bind(user.epoch)
    .bind(proven)
    .bind(at.date_time())
    .fetch_optional(&mut *db)
    .await?;
    let written = revoked(erased)?;
    for statement in [
        "delete from families where user_id = $1",
        "delete from password_resets where user_id = $1",
        "delete from verifications where user_id = $1",
    ] {
        sqlx::query(statement).bind(user.id).execute(&mut *db).await?;
    }
    blank_audit(db, user).await?;
    Ok(written)
}

/// Removes the e-mail addresses of a person from the audit: those that records about the user name, also about orders of
/// guests that the user took over, and the account's own address wherever a record names it.
async fn blank_audit(db: &mut PgConnection, user: &Erasable) -> Result<()> {
    sqlx::query(
        "update audit set details = details - array['email', 'previousEmail']
         where details ?| array['email', 'previousEmail'] and (
           user_id = $1 or details ->> 'userId' = $1::text
           or details ->> 'userId' in (
             select details ->> 'guestId' from audit where kind = 'ORDERS_MERGED' and details ->> 'userId' = $1::text)
           or $2 <> '' and $2 in (lower(details ->> 'email'), lower(details ->> 'previousEmail')))",
    )
    .bind(user.id)
    .bind(&user.email_key)
    .execute(db)
    .await?;
    Ok(())
}

/// The guests whose orders a user took over.
pub async fn guests_of(db: &PgPool, user: Uuid) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select distinct (details ->> 'guestId')::uuid from audit
         where kind = 'ORDERS_MERGED' and details ->> 'userId' = $1::text and details ? 'guestId'",
    )
    .bind(user)
    .fetch_all(db)
    .await
}

/// Those of these users that are erased.
pub async fn erased(db: &PgPool, users: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("select id from users where id = any($1) and kind = 'ERASED'")
        .bind(users)
        .fetch_all(db)
        .await
}
