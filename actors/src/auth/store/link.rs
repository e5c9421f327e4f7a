//! SQL of mailed links, which set a new password or prove an address: the same kind of row in two tables.

use bus::contract::Timestamp;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{Refused, Result};
use crate::delivery::RowError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    PasswordReset,
    Verification,
}

/// A link that is to be mailed.
#[derive(Debug)]
pub struct NewLink {
    pub id: Uuid,
    pub user: Uuid,
    pub token_hash: [u8; 32],
    pub requested_at: Timestamp,
    pub expires_at: Timestamp,
    /// Links of this kind that the account may request within an hour.
    pub per_hour_max: i64,
}

pub async fn request(db: &mut PgConnection, kind: LinkKind, new: &NewLink) -> Result<()> {
    let (table, limit) = match kind {
        LinkKind::PasswordReset => ("password_resets", Refused::ResetLimit),
        LinkKind::Verification => ("verifications", Refused::VerificationLimit),
    };
    // Requests of one account are written one after another, so that the count holds.
    sqlx::query("select from users where id = $1 for no key update").bind(new.user).execute(&mut *db).await?;
    let insert = format!(
        "insert into {table} (id, user_id, token_hash, requested_at, expires_at)
         select $1, $2, $3, $4, $5
         where (select count(*) from {table}
                where user_id = $2 and requested_at > $4 - interval '1 hour') < $6"
    );
    let inserted = sqlx::query(AssertSqlSafe(insert))
        .bind(new.id)
        .bind(new.user)
        .bind(new.token_hash.as_slice())
        .bind(new.requested_at.date_time())
        .bind(new.expires_at.date_time())
        .bind(new.per_hour_max)
        .execute(db)
        .await?
        .rows_affected();
    if inserted == 0 { Err(RowError::Rejected(limit)) } else { Ok(()) }
}
