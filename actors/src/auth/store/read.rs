//! Reads of accounts and logins, one row at a time, outside of any transaction. Guests are no accounts: they are not found.

use bus::contract::Timestamp;
use bus::contract::auth::User;
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::auth::model::{Account, Presented, RefreshToken, role_named};

pub async fn super_admin_exists<'e>(db: impl PgExecutor<'e>) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from users where role = 'SUPER_ADMIN')").fetch_one(db).await
}

pub async fn account_of<'e>(db: impl PgExecutor<'e>, email_key: &str) -> sqlx::Result<Option<Account>> {
    let row = sqlx::query(
        "select id, email, name, role, verified_at, disabled_at, created_at, password_hash, epoch from users
         where email_key = $1 and kind = 'ACCOUNT'",
    )
    .bind(email_key)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(account).transpose()
}

pub async fn account_by_id<'e>(db: impl PgExecutor<'e>, id: Uuid) -> sqlx::Result<Option<Account>> {
    let row = sqlx::query(
        "select id, email, name, role, verified_at, disabled_at, created_at, password_hash, epoch from users
         where id = $1 and kind = 'ACCOUNT'",
    )
    .bind(id)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(account).transpose()
}

pub async fn user_by_id<'e>(db: impl PgExecutor<'e>, id: Uuid) -> sqlx::Result<Option<User>> {
    let row = sqlx::query(
        "select id, email, name, role, verified_at, disabled_at, created_at from users
         where id = $1 and kind = 'ACCOUNT'",
    )
    .bind(id)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(user).transpose()
}

/// The facts about the token with this hash.
pub async fn presented<'e>(db: impl PgExecutor<'e>, hash: &[u8; 32]) -> sqlx::Result<Option<Presented>> {
    let row = sqlx::query(
        "select u.id, u.email, u.name, u.role, u.verified_at, u.disabled_at, u.created_at, u.epoch, t.id as token_id, t.family, t.issued_at, t.expires_at,
                t.spent_at is not null as spent, f.ended_at is not null as family_ended, f.started_at
         from refresh_tokens t join families f on f.id = t.family join users u on u.id = f.user_id
         where t.token_hash = $1",
    )
    .bind(hash.as_slice())
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Presented {
        token: RefreshToken {
            id: row.try_get("token_id")?,
            family: row.try_get("family")?,
            hash: *hash,
            issued_at: timestamp(&row, "issued_at")?,
            expires_at: timestamp(&row, "expires_at")?,
        },
        spent: row.try_get("spent")?,
        family_ended: row.try_get("family_ended")?,
        started_at: timestamp(&row, "started_at")?,
        user: user(&row)?,
        epoch: row.try_get("epoch")?,
    }))
}

fn account(row: &PgRow) -> sqlx::Result<Account> {
    Ok(Account {
        user: user(row)?,
        password_hash: row.try_get("password_hash")?,
        epoch: row.try_get("epoch")?,
    })
}

pub fn user(row: &PgRow) -> sqlx::Result<User> {
    let role: &str = row.try_get("role")?;
    let role = role_named(role).ok_or_else(|| sqlx::Error::Decode(format!("unknown role {role}").into()))?;
    Ok(User {
        id: row.try_get("id")?,
        email: row.try_get("email")?,
        name: row.try_get("name")?,
        role,
        email_verified: row.try_get::<Option<OffsetDateTime>, _>("verified_at")?.is_some(),
        disabled: row.try_get::<Option<OffsetDateTime>, _>("disabled_at")?.is_some(),
        created_at: timestamp(row, "created_at")?,
    })
}

pub fn timestamp(row: &PgRow, column: &str) -> sqlx::Result<Timestamp> {
    Ok(row.try_get::<OffsetDateTime, _>(column)?.into())
}
