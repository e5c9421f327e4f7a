//! SQL of changes that revoke access (roles, passwords, resets, logouts everywhere), and of the list of users.
//!
//! Invariant: each of them raises the user's epoch in the same transaction, so that no token signed from an older row is
//! valid after it. Invariant: a SUPER_ADMIN is demoted only while there is another one.

use bus::contract::auth::{Revocation, Role, User};
use bus::contract::{Paging, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::read::user;
use super::{Refused, Result, Written};
use crate::auth::model::{EndReason, RoleChange, Standing, role_name};
use crate::delivery::RowError;

/// Revocations in one answer: some 150 bytes each, in a message of at most 1 MiB.
pub const REVOCATIONS_MAX: i64 = 2_000;

/// A password that replaces `proven`; of the logins only `keeps` stays.
#[derive(Debug)]
pub struct NewPassword {
    pub user: Uuid,
    pub proven: String,
    pub password_hash: String,
    pub keeps: Uuid,
}

/// Disables or enables an account that is still as it was read.
#[derive(Debug)]
pub struct DisabledChange {
    pub user: Uuid,
    pub role: Role,
    pub epoch: i64,
    pub disabled: bool,
}

/// Decisions that count SUPER_ADMINs are made one after another, on all hosts.
pub async fn lock_super_admins(db: &mut PgConnection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('auth.first_super_admin'))").execute(db).await?;
    Ok(())
}

pub async fn change_role(db: &mut PgConnection, change: &RoleChange) -> Result<Written> {
    if change.from == Role::SuperAdmin {
        lock_super_admins(db).await?;
        check_other_super_admin(db, change.user).await?;
    }
    let changed = sqlx::query(
        "update users set role = $4, role_changed_at = now(), epoch = epoch + 1, kept_session = null, kept_from = 0,
                revoked_at = now(), updated_at = now()
         where id = $1 and role = $2 and epoch = $3
         returning id, epoch, kept_session, kept_from",
    )
    .bind(change.user)
    .bind(role_name(change.from))
    .bind(change.epoch)
    .bind(role_name(change.to))
    .fetch_optional(db)
    .await?;
    revoked(changed)
}

/// Refuses where this is the last SUPER_ADMIN that can log in; the lock is held.
pub async fn check_other_super_admin(db: &mut PgConnection, but: Uuid) -> Result<()> {
    let others: bool = sqlx::query_scalar(
        "select exists (select from users where role = 'SUPER_ADMIN' and id <> $1 and disabled_at is null)",
    )
    .bind(but)
    .fetch_one(db)
    .await?;
    if others { Ok(()) } else { Err(RowError::Rejected(Refused::LastSuperAdmin)) }
}

/// Disables an account, with its logins and reset links, or enables it. Stale unless it is as it was read.
pub async fn set_disabled(db: &mut PgConnection, change: &DisabledChange) -> Result<Written> {
    // The lock first, as everywhere: two SUPER_ADMINs who disable each other are handled one after another.
    if change.disabled && change.role == Role::SuperAdmin {
        lock_super_admins(db).await?;
        check_other_super_admin(db, change.user).await?;
    }
    let changed = sqlx::query(
        "update users set disabled_at = case when $2 then now() end, updated_at = now()
         where id = $1 and role = $3 and epoch = $4",
    )
    .bind(change.user)
    .bind(change.disabled)
    .bind(role_name(change.role))
    .bind(change.epoch)
    .execute(&mut *db)
    .await?
    .rows_affected();
    if changed == 0 {
        return Err(RowError::Stale);
    }
    if !change.disabled {
        return Ok(Written::Done);
    }
    void_resets(db, change.user).await?;
    end_everything(db, change.user, EndReason::Disabled).await
}

pub async fn rename(db: &mut PgConnection, id: Uuid, name: &str) -> Result<()> {
    sqlx::query("update users set name = $2, updated_at = now() where id = $1 and kind = 'ACCOUNT'")
        .bind(id)
        .bind(name)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn change_password(db: &mut PgConnection, new: &NewPassword) -> Result<Written> {
    // Tokens that the kept login has stay valid, but none from before an earlier change.
    let changed = sqlx::query(
        "update users set password_hash = $3, epoch = epoch + 1, kept_session = $4,
                kept_from = case when kept_session = $4 then kept_from else epoch end,
                revoked_at = now(), updated_at = now()
         where id = $1 and password_hash = $2
         returning id, epoch, kept_session, kept_from",
    )
    .bind(new.user)
    .bind(&new.proven)
    .bind(&new.password_hash)
    .bind(new.keeps)
    .fetch_optional(&mut *db)
    .await?;
    let written = revoked(changed)?;
    end_families(db, new.user, Some(new.keeps), EndReason::Password).await?;
    void_resets(db, new.user).await?;
    Ok(written)
}

/// A mailed link was used, which proves the address. `takes_over` is the account's new name where the address was not proven
/// when this was decided; stale where that has changed.
pub async fn reset(
    db: &mut PgConnection,
    id: Uuid,
    password_hash: &str,
    takes_over: Option<&str>,
) -> Result<(Uuid, Written)> {
    let owner: Option<Uuid> = sqlx::query_scalar(
        "select u.id from users u join password_resets r on r.user_id = u.id where r.id = $1
         for no key update of u",
    )
    .bind(id)
    .fetch_optional(&mut *db)
    .await?;
    let used = sqlx::query(
        "update password_resets set used_at = now() where id = $1 and used_at is null and expires_at > now()",
    )
    .bind(id)
    .execute(&mut *db)
    .await?
    .rows_affected();
    let Some(owner) = owner.filter(|_| used == 1) else {
        return Err(RowError::Rejected(Refused::ResetToken));
    };
    let changed = sqlx::query(
        "update users set password_hash = $2, verified_at = coalesce(verified_at, now()), name = coalesce($3, name)
         where id = $1 and (verified_at is null) = ($3::text is not null)",
    )
    .bind(owner)
    .bind(password_hash)
    .bind(takes_over)
    .execute(&mut *db)
    .await?
    .rows_affected();
    if changed == 0 {
        return Err(RowError::Stale);
    }
    void_resets(db, owner).await?;
    Ok((owner, end_everything(db, owner, EndReason::Password).await?))
}

pub async fn end_all(db: &mut PgConnection, id: Uuid) -> Result<Written> {
    end_everything(db, id, EndReason::Everywhere).await
}

async fn end_everything(db: &mut PgConnection, id: Uuid, reason: EndReason) -> Result<Written> {
    let changed = sqlx::query(
        "update users set epoch = epoch + 1, kept_session = null, kept_from = 0, revoked_at = now(),
                updated_at = now()
         where id = $1
         returning id, epoch, kept_session, kept_from",
    )
    .bind(id)
    .fetch_optional(&mut *db)
    .await?;
    end_families(db, id, None, reason).await?;
    revoked(changed)
}

async fn end_families(db: &mut PgConnection, user: Uuid, but: Option<Uuid>, reason: EndReason) -> Result<()> {
    sqlx::query(
        "update families set ended_at = now(), end_reason = $3
         where user_id = $1 and id is distinct from $2 and ended_at is null",
    )
    .bind(user)
    .bind(but)
    .bind(reason.as_str())
    .execute(db)
    .await?;
    Ok(())
}

/// Links in mails that are still on their way must not replace a password that was set since.
async fn void_resets(db: &mut PgConnection, user: Uuid) -> Result<()> {
    sqlx::query("update password_resets set used_at = now() where user_id = $1 and used_at is null")
        .bind(user)
        .execute(db)
        .await?;
    Ok(())
}

pub fn revoked(row: Option<PgRow>) -> Result<Written> {
    let row = row.ok_or(RowError::Stale)?;
    Ok(Written::Revoked(revocation(&row)?))
}

fn revocation(row: &PgRow) -> sqlx::Result<Revocation> {
    Ok(Revocation {
        user_id: row.try_get("id")?,
        epoch: row.try_get("epoch")?,
        kept_session: row.try_get("kept_session")?,
        kept_from: row.try_get("kept_from")?,
    })
}

/// Revocations so recent that an earlier token may not have expired yet, by user id, after this one.
pub async fn revocations(db: &PgPool, after: Option<Uuid>) -> sqlx::Result<Vec<Revocation>> {
    // A guest's access token is valid for an hour, every other for 15 minutes; two more for clocks that differ.
    let rows = sqlx::query(
        "select id, epoch, kept_session, kept_from from users
         where revoked_at > now() - interval '62 minutes' and ($1::uuid is null or id > $1)
         order by id limit $2",
    )
    .bind(after)
    .bind(REVOCATIONS_MAX)
    .fetch_all(db)
    .await?;
    rows.iter().map(revocation).collect()
}

/// Logins that ended so recently, by a logout or a reused token, that one of their tokens may not have expired yet.
pub async fn ended_sessions(db: &PgPool, after: Option<Uuid>) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from families
         where ended_at > now() - interval '17 minutes' and end_reason in ('LOGOUT', 'REUSE')
           and ($1::uuid is null or id > $1)
         order by id limit $2",
    )
    .bind(after)
    .bind(REVOCATIONS_MAX)
    .fetch_all(db)
    .await
}

pub async fn standing_of(db: &PgPool, id: Uuid) -> sqlx::Result<Option<Standing>> {
    let row = sqlx::query(
        "select id, email, name, role, verified_at, disabled_at, created_at, epoch, role_changed_at from users
         where id = $1 and kind = 'ACCOUNT'",
    )
    .bind(id)
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let changed: Option<OffsetDateTime> = row.try_get("role_changed_at")?;
    Ok(Some(Standing {
        user: user(&row)?,
        epoch: row.try_get("epoch")?,
        role_changed_at: changed.map(Timestamp::from),
    }))
}

/// A page of users and how many there are; `part` is lower case.
pub async fn list_users(
    db: &PgPool,
    part: Option<&str>,
    ids: Option<&[Uuid]>,
    paging: Paging,
) -> sqlx::Result<(Vec<User>, u64)> {
    // Without ids it reads every row: staff search now and then, and a chain has thousands of accounts, not millions.
    const FOUND: &str =
        "where kind = 'ACCOUNT' and ($1::text is null or position($1 in email_key) > 0 or position($1 in lower(name)) > 0)
           and ($2::uuid[] is null or id = any($2))";
    let page = format!(
        "select id, email, name, role, verified_at, disabled_at, created_at from users {FOUND} order by created_at, id limit $3 offset $4"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(page))
        .bind(part)
        .bind(ids)
        .bind(paging.limit())
        .bind(paging.offset())
        .fetch_all(db)
        .await?;
    let total: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from users {FOUND}")))
        .bind(part)
        .bind(ids)
        .fetch_one(db)
        .await?;
    Ok((rows.iter().map(user).collect::<sqlx::Result<_>>()?, total as u64))
}

/// The id and the account of the open reset with this token.
pub async fn open_reset(db: &PgPool, token_hash: &[u8; 32]) -> sqlx::Result<Option<(Uuid, User)>> {
    let row = sqlx::query(
        "select u.id, u.email, u.name, u.role, u.verified_at, u.disabled_at, u.created_at, r.id as reset
         from password_resets r join users u on u.id = r.user_id
         where r.token_hash = $1 and r.used_at is null and r.expires_at > now()",
    )
    .bind(token_hash.as_slice())
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok((row.try_get("reset")?, user(&row)?))).transpose()
}

/// Whether this reset is open and has this token.
pub async fn is_open(db: &PgPool, reset: Uuid, token_hash: &[u8; 32]) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from password_resets
                        where id = $1 and token_hash = $2 and used_at is null and expires_at > now())",
    )
    .bind(reset)
    .bind(token_hash.as_slice())
    .fetch_one(db)
    .await
}
