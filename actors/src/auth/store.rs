//! Auth's SQL. A change is written row by row, since nobody logs in a thousand times a second: one argon2 costs more
//! than its rows.
//!
//! Invariant: a refresh token is spent once (`spent_at is null` decides), and whoever comes second ends the family in the
//! same transaction. Families are locked before their tokens.

use bus::contract::Timestamp;
use bus::contract::auth::User;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::model::{Account, EndReason, Presented, RefreshToken, role_name, role_named};
use crate::delivery::{Rows, WriteError};

/// Rows forgotten at once: some 20 ms of the journal's time.
const FORGET_MAX: i64 = 5_000;

/// Auth's changes.
#[derive(Debug)]
pub enum Write {
    /// A new account, with its first login where a person made it.
    Account {
        account: Account,
        login: Option<RefreshToken>,
    },
    /// A new account, unless there is a SUPER_ADMIN.
    FirstSuperAdmin(Account),
    Login {
        user: Uuid,
        token: RefreshToken,
    },
    /// `spent` buys `next`.
    Refresh {
        spent: Uuid,
        next: RefreshToken,
    },
    End {
        family: Uuid,
        reason: EndReason,
    },
    /// Forgets what has expired.
    Forget,
}

/// What the commit tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Done,
    /// The refresh token was spent or its family ended meanwhile; the family is over.
    Over,
    /// How many rows were forgotten.
    Forgotten(u64),
}

/// Why the database says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    EmailTaken,
    SuperAdminExists,
}

type Result<T> = std::result::Result<T, WriteError<Refused>>;

impl Rows for Write {
    type Rejection = Refused;
    type Written = Written;

    fn write<'a>(
        connection: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<Vec<Written>>> {
        async move {
            let mut written = Vec::with_capacity(rows.len());
            for row in rows {
                match row.write_alone(connection).await {
                    Ok(one) => written.push(one),
                    // A violated constraint has aborted the transaction; alone it shows whose fault it was.
                    Err(WriteError::Rejected(_)) if rows.len() > 1 => return Err(WriteError::Short),
                    Err(error) => return Err(error),
                }
            }
            Ok(written)
        }
        .boxed()
    }
}

impl Write {
    async fn write_alone(&self, db: &mut PgConnection) -> Result<Written> {
        match self {
            Self::Account { account, login } => {
                insert_account(db, account).await?;
                if let Some(token) = login {
                    insert_login(db, account.user.id, token).await?;
                }
            }
            Self::FirstSuperAdmin(account) => {
                // Hosts that start together look one after another.
                sqlx::query("select pg_advisory_xact_lock(hashtext('auth.first_super_admin'))")
                    .execute(&mut *db)
                    .await?;
                if super_admin_exists(&mut *db).await? {
                    return Err(WriteError::Rejected(Refused::SuperAdminExists));
                }
                insert_account(db, account).await?;
            }
            Self::Login { user, token } => insert_login(db, *user, token).await?,
            Self::Refresh { spent, next } => return refresh(db, *spent, next).await,
            Self::End { family, reason } => end(db, *family, *reason).await?,
            Self::Forget => return Ok(Written::Forgotten(forget(db).await?)),
        }
        Ok(Written::Done)
    }
}

async fn insert_account(db: &mut PgConnection, account: &Account) -> Result<()> {
    let user = &account.user;
    sqlx::query(
        "insert into users (id, email, email_key, name, role, password_hash, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)",
    )
    .bind(user.id)
    .bind(&user.email)
    .bind(super::model::email_key(&user.email))
    .bind(&user.name)
    .bind(role_name(user.role))
    .bind(&account.password_hash)
    .bind(user.created_at.date_time())
    .execute(db)
    .await
    .map_err(|error| match error.as_database_error().and_then(|e| e.constraint()) {
        Some("one_email") => WriteError::Rejected(Refused::EmailTaken),
        _ => WriteError::Sql(error),
    })?;
    Ok(())
}

async fn insert_login(db: &mut PgConnection, user: Uuid, token: &RefreshToken) -> Result<()> {
    sqlx::query("insert into families (id, user_id, started_at, expires_at) values ($1, $2, $3, $4)")
        .bind(token.family)
        .bind(user)
        .bind(token.issued_at.date_time())
        .bind(token.expires_at.date_time())
        .execute(&mut *db)
        .await?;
    insert_token(db, token).await
}

async fn insert_token(db: &mut PgConnection, token: &RefreshToken) -> Result<()> {
    sqlx::query(
        "insert into refresh_tokens (id, family, token_hash, issued_at, expires_at) values ($1, $2, $3, $4, $5)",
    )
    .bind(token.id)
    .bind(token.family)
    .bind(token.hash.as_slice())
    .bind(token.issued_at.date_time())
    .bind(token.expires_at.date_time())
    .execute(db)
    .await?;
    Ok(())
}

async fn refresh(db: &mut PgConnection, spent: Uuid, next: &RefreshToken) -> Result<Written> {
    let alive = sqlx::query("update families set expires_at = $2 where id = $1 and ended_at is null")
        .bind(next.family)
        .bind(next.expires_at.date_time())
        .execute(&mut *db)
        .await?
        .rows_affected();
    if alive == 0 {
        return Ok(Written::Over);
    }
    let won = sqlx::query("update refresh_tokens set spent_at = now() where id = $1 and spent_at is null")
        .bind(spent)
        .execute(&mut *db)
        .await?
        .rows_affected();
    if won == 0 {
        end(db, next.family, EndReason::Reuse).await?;
        return Ok(Written::Over);
    }
    insert_token(db, next).await?;
    Ok(Written::Done)
}

async fn end(db: &mut PgConnection, family: Uuid, reason: EndReason) -> Result<()> {
    sqlx::query("update families set ended_at = now(), end_reason = $2 where id = $1 and ended_at is null")
        .bind(family)
        .bind(reason.as_str())
        .execute(db)
        .await?;
    Ok(())
}

async fn forget(db: &mut PgConnection) -> Result<u64> {
    let mut forgotten = 0;
    for statement in [
        "delete from refresh_tokens where id in (select id from refresh_tokens where expires_at < now() limit $1)",
        "delete from families where id in (select id from families where expires_at < now() limit $1)",
    ] {
        forgotten += sqlx::query(statement).bind(FORGET_MAX).execute(&mut *db).await?.rows_affected();
    }
    Ok(forgotten)
}

pub async fn super_admin_exists<'e>(db: impl PgExecutor<'e>) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from users where role = 'SUPER_ADMIN')").fetch_one(db).await
}

pub async fn account_of<'e>(db: impl PgExecutor<'e>, email_key: &str) -> sqlx::Result<Option<Account>> {
    let row = sqlx::query(
        "select id, email, name, role, created_at, password_hash from users where email_key = $1",
    )
    .bind(email_key)
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok(Account { user: user(&row)?, password_hash: row.try_get("password_hash")? })).transpose()
}

pub async fn user_by_id<'e>(db: impl PgExecutor<'e>, id: Uuid) -> sqlx::Result<Option<User>> {
    let row = sqlx::query("select id, email, name, role, created_at from users where id = $1")
        .bind(id)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(user).transpose()
}

/// What is known of the token with this hash.
pub async fn presented<'e>(db: impl PgExecutor<'e>, hash: &[u8; 32]) -> sqlx::Result<Option<Presented>> {
    let row = sqlx::query(
        "select u.id, u.email, u.name, u.role, u.created_at, t.id as token_id, t.family, t.issued_at, t.expires_at,
                t.spent_at is not null as spent, f.ended_at is not null as family_ended
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
        user: user(&row)?,
    }))
}

fn user(row: &PgRow) -> sqlx::Result<User> {
    let role: &str = row.try_get("role")?;
    let role = role_named(role).ok_or_else(|| sqlx::Error::Decode(format!("unknown role {role}").into()))?;
    Ok(User {
        id: row.try_get("id")?,
        email: row.try_get("email")?,
        name: row.try_get("name")?,
        role,
        created_at: timestamp(row, "created_at")?,
    })
}

fn timestamp(row: &PgRow, column: &str) -> sqlx::Result<Timestamp> {
    Ok(row.try_get::<OffsetDateTime, _>(column)?.into())
}
