//! Auth's SQL. Changes are written one by one, since a login's argon2 costs more than its rows. The audit records of a whole
//! batch are one statement.
//!
//! Invariant: a refresh token is spent once (`spent_at is null` decides), and a second use ends the family in the same
//! transaction; only a browser may use it again for some seconds, while no token that it was exchanged for was used. The
//! tokens that one token was exchanged for count as one: of several answers, any may be the last to arrive.
//! Users are locked before families, families before their tokens.
//! Invariant: a login is written only while the password that was verified is the account's.

pub mod access;
pub mod audit;
pub mod erasure;
pub mod guest;
pub mod link;
mod read;
pub mod verification;

use std::time::Duration;

use bus::Problem;
use bus::contract::Timestamp;
use bus::contract::auth::{EndedSession, Rejection, Revocation, RevocationNotice, revoked_subject};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{Account, EndReason, RefreshToken, RoleChange, role_name};
use crate::delivery::{RowError, Rows, WriteError};
use access::{DisabledChange, NewPassword};
use erasure::Erasure;
use link::{LinkKind, NewLink};

pub use read::{account_by_id, account_of, presented, super_admin_exists, user_by_id};

/// Rows deleted at once: some 20 ms of the journal's time.
const DELETE_MAX: i64 = 5_000;

/// Auth's change, with its audit records.
#[derive(Debug)]
pub struct Write {
    pub act: Act,
    pub audit: Vec<audit::Entry>,
}

impl From<Act> for Write {
    fn from(act: Act) -> Self {
        Self { act, audit: Vec::new() }
    }
}

impl Act {
    pub fn audited(self, entry: audit::Entry) -> Write {
        Write { act: self, audit: vec![entry] }
    }
}

#[derive(Debug)]
pub enum Act {
    /// Only audit records.
    Note,
    /// A new account, with its first login where a person registered.
    Account {
        account: Account,
        login: Option<RefreshToken>,
        /// The link that proves its address.
        verification: Option<NewLink>,
    },
    /// A new guest, and when its orders are looked for.
    Guest {
        id: Uuid,
        at: Timestamp,
        check_at: Timestamp,
    },
    /// A guest becomes an account and keeps its id, with its first login.
    Promote {
        account: Account,
        login: RefreshToken,
        verification: NewLink,
    },
    /// Deletes the checked guests but those that have orders.
    DeleteGuests {
        checked: Vec<Uuid>,
        kept: Vec<Uuid>,
    },
    /// The orders of a guest belong to an account now.
    CheckGuest(Uuid),
    /// A new account, unless there is a SUPER_ADMIN.
    FirstSuperAdmin(Account),
    Login {
        user: Uuid,
        /// The hash that was verified, and the one that replaces it if it is outdated.
        proven: String,
        renewed: Option<String>,
        token: RefreshToken,
    },
    /// Exchanges `spent` for `next`; once more within `again`, unless a token that it was exchanged for was used.
    Refresh {
        spent: Uuid,
        again: Option<Duration>,
        next: RefreshToken,
    },
    End {
        family: Uuid,
        reason: EndReason,
    },
    Role(RoleChange),
    Disabled(DisabledChange),
    Name {
        user: Uuid,
        name: String,
    },
    Password(NewPassword),
    RequestLink(LinkKind, NewLink),
    /// Uses a reset's token for a new password.
    Reset {
        reset: Uuid,
        password_hash: String,
        /// The address was not proven: the account changes hands and gets this name.
        takes_over: Option<String>,
        /// A login that begins with it.
        login: Option<RefreshToken>,
    },
    /// Proves a user's address.
    Verify {
        user: Uuid,
    },
    /// Ends every login of a user.
    EndAll {
        user: Uuid,
    },
    /// A user becomes a tombstone.
    Erase(Erasure),
    /// Deletes rows that have expired.
    DeleteExpired,
}

/// The result of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Done,
    /// The refresh token was spent or its login, this one, ended meanwhile; the login is over.
    Over(Uuid),
    /// This login has ended.
    Ended(Uuid),
    /// Access tokens are void.
    Revoked(Revocation),
    /// How many rows were deleted.
    Deleted(u64),
}

/// Why the database refuses a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    EmailTaken,
    SuperAdminExists,
    LastSuperAdmin,
    /// The reset is used or expired.
    ResetToken,
    /// The account requested too many resets within an hour.
    ResetLimit,
    /// The account requested too many links within an hour.
    VerificationLimit,
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::EmailTaken => Rejection::EmailTaken.into(),
            Refused::LastSuperAdmin => Rejection::LastSuperAdmin.into(),
            Refused::ResetToken => Rejection::ResetToken.into(),
            Refused::VerificationLimit => Rejection::VerificationLimit.into(),
            // Their requests handle these themselves.
            Refused::SuperAdminExists | Refused::ResetLimit => Problem::internal(),
        }
    }
}

type Result<T> = std::result::Result<T, RowError<Refused>>;

impl Rows for Write {
    type Rejection = Refused;
    type Written = Written;

    fn write<'a>(
        connection: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, std::result::Result<Vec<Written>, WriteError<Refused>>> {
        async move {
            let mut written = Vec::with_capacity(rows.len());
            for (index, row) in rows.iter().enumerate() {
                written.push(row.act.write(connection).await.map_err(|error| error.at(index))?);
            }
            let entries: Vec<&audit::Entry> = rows.iter().flat_map(|row| &row.audit).collect();
            audit::insert(connection, &entries).await?;
            Ok(written)
        }
        .boxed()
    }

    fn notices(committed: &[(&Self, &Written)]) -> Vec<(String, Bytes)> {
        committed.iter().filter_map(|(_, written)| notice(written)).collect()
    }
}

/// The notice that every verifier needs at once.
fn notice(written: &Written) -> Option<(String, Bytes)> {
    let (id, notice) = match *written {
        Written::Revoked(revocation) => (revocation.user_id, RevocationNotice::Revoked(revocation)),
        Written::Over(session_id) | Written::Ended(session_id) => {
            (session_id, RevocationNotice::Ended(EndedSession { session_id }))
        }
        Written::Done | Written::Deleted(_) => return None,
    };
    let payload = serde_json::to_vec(&notice).expect("contract types are plain data and always serialize");
    Some((revoked_subject(id), payload.into()))
}

impl Act {
    async fn write(&self, db: &mut PgConnection) -> Result<Written> {
        match self {
            Self::Note => {}
            Self::Account { account, login, verification } => {
                insert_account(db, account).await?;
                if let Some(token) = login {
                    insert_login(db, account.user.id, &account.password_hash, token).await?;
                }
                if let Some(verification) = verification {
                    link::request(db, LinkKind::Verification, verification).await?;
                }
            }
            Self::Guest { id, at, check_at } => guest::insert(db, *id, *at, *check_at).await?,
            Self::Promote { account, login, verification } => {
                let written = guest::promote(db, account).await?;
                insert_login(db, account.user.id, &account.password_hash, login).await?;
                link::request(db, LinkKind::Verification, verification).await?;
                return Ok(written);
            }
            Self::DeleteGuests { checked, kept } => {
                return Ok(Written::Deleted(guest::delete_but(db, checked, kept).await?));
            }
            Self::CheckGuest(id) => guest::check_again(db, *id).await?,
            Self::FirstSuperAdmin(account) => {
                access::lock_super_admins(db).await?;
                if super_admin_exists(&mut *db).await? {
                    return Err(RowError::Rejected(Refused::SuperAdminExists));
                }
                insert_account(db, account).await?;
            }
            Self::Login { user, proven, renewed, token } => {
                if let Some(renewed) = renewed {
                    renew_hash(db, *user, proven, renewed).await?;
                }
                insert_login(db, *user, renewed.as_ref().unwrap_or(proven), token).await?;
            }
            Self::Refresh { spent, again, next } => return refresh(db, *spent, *again, next).await,
            Self::End { family, reason } => {
                end(db, *family, *reason).await?;
                return Ok(Written::Ended(*family));
            }
            Self::Role(change) => return access::change_role(db, change).await,
            Self::Disabled(change) => return access::set_disabled(db, change).await,
            Self::Name { user, name } => access::rename(db, *user, name).await?,
            Self::Password(new) => return access::change_password(db, new).await,
            Self::RequestLink(kind, new) => link::request(db, *kind, new).await?,
            Self::Reset { reset, password_hash, takes_over, login } => {
                let (owner, written) =
                    access::reset(db, *reset, password_hash, takes_over.as_deref()).await?;
                if let Some(login) = login {
                    insert_login(db, owner, password_hash, login).await?;
                }
                return Ok(written);
            }
            Self::Verify { user } => verification::prove(db, *user).await?,
            Self::Erase(erasure) => return erasure::erase(db, erasure).await,
            Self::EndAll { user } => return access::end_all(db, *user).await,
            Self::DeleteExpired => return Ok(Written::Deleted(delete_expired(db).await?)),
        }
        Ok(Written::Done)
    }
}

async fn insert_account(db: &mut PgConnection, account: &Account) -> Result<()> {
    let user = &account.user;
    sqlx::query(
        "insert into users (id, email, email_key, name, role, password_hash, created_at, updated_at, verified_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7, case when $8 then $7 end)",
    )
    .bind(user.id)
    .bind(&user.email)
    .bind(super::model::email_key(&user.email))
    .bind(&user.name)
    .bind(role_name(user.role))
    .bind(&account.password_hash)
    .bind(user.created_at.date_time())
    .bind(user.email_verified)
    .execute(db)
    .await
    .map_err(|error| match error.as_database_error().and_then(|e| e.constraint()) {
        Some("one_email") => RowError::Rejected(Refused::EmailTaken),
        _ => RowError::Sql(error),
    })?;
    Ok(())
}

/// A login by this password hash; stale when the account has another by now. The lock makes a password change wait, which
/// then ends this login too.
async fn insert_login(db: &mut PgConnection, user: Uuid, proven: &str, token: &RefreshToken) -> Result<()> {
    let inserted = sqlx::query(
        "insert into families (id, user_id, started_at, expires_at)
         select $1, id, $3, $4 from users where id = $2 and password_hash = $5 and disabled_at is null for share",
    )
    .bind(token.family)
    .bind(user)
    .bind(token.issued_at.date_time())
    .bind(token.expires_at.date_time())
    .bind(proven)
    .execute(&mut *db)
    .await?
    .rows_affected();
    if inserted == 0 {
        return Err(RowError::Stale);
    }
    insert_token(db, token, None).await
}

async fn renew_hash(db: &mut PgConnection, user: Uuid, proven: &str, renewed: &str) -> Result<()> {
    sqlx::query(
        "update users set password_hash = $3, updated_at = now() where id = $1 and password_hash = $2",
    )
    .bind(user)
    .bind(proven)
    .bind(renewed)
    .execute(db)
    .await?;
    Ok(())
}

async fn insert_token(db: &mut PgConnection, token: &RefreshToken, bought_with: Option<Uuid>) -> Result<()> {
    sqlx::query(
        "insert into refresh_tokens (id, family, token_hash, issued_at, expires_at, bought_with)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(token.id)
    .bind(token.family)
    .bind(token.hash.as_slice())
    .bind(token.issued_at.date_time())
    .bind(token.expires_at.date_time())
    .bind(bought_with)
    .execute(db)
    .await?;
    Ok(())
}

async fn refresh(
    db: &mut PgConnection,
    spent: Uuid,
    again: Option<Duration>,
    next: &RefreshToken,
) -> Result<Written> {
    let alive = sqlx::query("update families set expires_at = $2 where id = $1 and ended_at is null")
        .bind(next.family)
        .bind(next.expires_at.date_time())
        .execute(&mut *db)
        .await?
        .rows_affected();
    if alive == 0 {
        return Ok(Written::Over(next.family));
    }
    let won = sqlx::query("update refresh_tokens set spent_at = now() where id = $1 and spent_at is null")
        .bind(spent)
        .execute(&mut *db)
        .await?
        .rows_affected();
    let bought_with = match again {
        _ if won == 1 => Some(spent),
        Some(within) => exchanged_lately(db, spent, within).await?,
        None => None,
    };
    let Some(bought_with) = bought_with else {
        end(db, next.family, EndReason::Reuse).await?;
        return Ok(Written::Over(next.family));
    };
    // The tokens that one was exchanged for count as one.
    sqlx::query(
        "update refresh_tokens set spent_at = now()
         where spent_at is null and bought_with = (select bought_with from refresh_tokens where id = $1)",
    )
    .bind(spent)
    .execute(&mut *db)
    .await?;
    insert_token(db, next, Some(bought_with)).await?;
    Ok(Written::Done)
}

/// The token to exchange once more for a spent one: itself, or the one that was used of those it counts as one with. `None` if
/// that was not lately, or a token that it was exchanged for was used.
async fn exchanged_lately(db: &mut PgConnection, spent: Uuid, within: Duration) -> Result<Option<Uuid>> {
    let exchanged = sqlx::query_scalar(
        "select used.id from refresh_tokens presented
           join refresh_tokens used on used.id = presented.id or used.bought_with = presented.bought_with
         where presented.id = $1 and used.spent_at > now() - make_interval(secs => $2)
           and exists (select from refresh_tokens where bought_with = used.id)
           and not exists (select from refresh_tokens where bought_with = used.id and spent_at is not null)",
    )
    .bind(spent)
    .bind(within.as_secs_f64())
    .fetch_optional(db)
    .await?;
    Ok(exchanged)
}

async fn end(db: &mut PgConnection, family: Uuid, reason: EndReason) -> Result<()> {
    sqlx::query("update families set ended_at = now(), end_reason = $2 where id = $1 and ended_at is null")
        .bind(family)
        .bind(reason.as_str())
        .execute(db)
        .await?;
    Ok(())
}

async fn delete_expired(db: &mut PgConnection) -> Result<u64> {
    let mut deleted = 0;
    for statement in [
        "delete from refresh_tokens where id in (select id from refresh_tokens where expires_at < now() limit $1)",
        "delete from families where id in (select id from families where expires_at < now() limit $1)",
        // A day later: within the hour they count against the limit.
        "delete from password_resets
         where id in (select id from password_resets where expires_at < now() - interval '1 day' limit $1)",
        "delete from verifications where id in (select id from verifications where expires_at < now() limit $1)",
    ] {
        deleted += sqlx::query(statement).bind(DELETE_MAX).execute(&mut *db).await?.rows_affected();
    }
    Ok(deleted)
}
