//! The SQL of proven addresses and the links that prove them.

use bus::contract::Timestamp;
use bus::contract::auth::User;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::read::user;
use super::{Refused, Result};
use crate::delivery::WriteError;

/// A link that is to be mailed.
#[derive(Debug)]
pub struct NewVerification {
    pub id: Uuid,
    pub user: Uuid,
    pub token_hash: [u8; 32],
    pub requested_at: Timestamp,
    pub expires_at: Timestamp,
    /// Links that the account may ask for within an hour.
    pub an_hour_max: i64,
}

pub async fn request(db: &mut PgConnection, new: &NewVerification) -> Result<()> {
    // One after another, so that the count holds.
    sqlx::query("select from users where id = $1 for no key update").bind(new.user).execute(&mut *db).await?;
    let inserted = sqlx::query(
        "insert into verifications (id, user_id, token_hash, requested_at, expires_at)
         select $1, $2, $3, $4, $5
         where (select count(*) from verifications
                where user_id = $2 and requested_at > $4 - interval '1 hour') < $6",
    )
    .bind(new.id)
    .bind(new.user)
    .bind(new.token_hash.as_slice())
    .bind(new.requested_at.date_time())
    .bind(new.expires_at.date_time())
    .bind(new.an_hour_max)
    .execute(db)
    .await?
    .rows_affected();
    if inserted == 0 { Err(WriteError::Rejected(Refused::VerificationLimit)) } else { Ok(()) }
}

/// Stale where the address is proven already.
pub async fn prove(db: &mut PgConnection, user: Uuid) -> Result<()> {
    let proven = sqlx::query(
        "update users set verified_at = now(), updated_at = now() where id = $1 and verified_at is null",
    )
    .bind(user)
    .execute(db)
    .await?
    .rows_affected();
    if proven == 0 { Err(WriteError::Stale) } else { Ok(()) }
}

/// Whose address a token proves.
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

/// Whether this link has this token and still proves something.
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
