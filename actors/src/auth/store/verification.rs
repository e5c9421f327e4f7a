//! SQL of proven addresses.

use bus::contract::auth::User;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::Result;
use super::read::user;
use crate::delivery::RowError;

/// Stale where the address is proven already.
pub async fn prove(db: &mut PgConnection, user: Uuid) -> Result<()> {
    let proven = sqlx::query(
        "update users set verified_at = now(), updated_at = now() where id = $1 and verified_at is null",
    )
    .bind(user)
    .execute(db)
    .await?
    .rows_affected();
    if proven == 0 { Err(RowError::Stale) } else { Ok(()) }
}

/// The user whose address a token proves.
pub async fn owner_of(db: &PgPool, token_hash: &[u8; 32]) -> sqlx::Result<Option<User>> {
    let row = sqlx::query(
        "select u.id, u.email, u.name, u.role, u.verified_at, u.disabled_at, u.created_at
         from verifications v join users u on u.id = v.user_id
         where v.token_hash = $1 and v.expires_at > now()",
    )
    .bind(token_hash.as_slice())
    .fetch_optional(db)
    .await?;
    row.as_ref().map(user).transpose()
}

/// Whether this link has this token, is valid, and its address is not proven yet.
pub async fn is_open(db: &PgPool, id: Uuid, token_hash: &[u8; 32]) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from verifications v join users u on u.id = v.user_id
                        where v.id = $1 and v.token_hash = $2 and v.expires_at > now() and u.verified_at is null)",
    )
    .bind(id)
    .bind(token_hash.as_slice())
    .fetch_one(db)
    .await
}
