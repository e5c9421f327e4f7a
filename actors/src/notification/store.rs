//! Notification's SQL: the changes and the reads of the mail log. `write` writes a batch of changes, `queue` claims and marks
//! mails.

pub mod erasure;
mod queue;
mod write;

use std::time::Duration;

use bus::Context;
use bus::contract::notification::{ListNotifications, Notification};
use bus::contract::reminder::MovieReminder;
use bus::contract::{OrderCode, Page, Paging, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgExecutor, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::model::{Attendee, NewMail, Showtime, name_of, status_named};

pub use queue::{Claimed, Mark, claim, mark};

/// The rows of one event. Only what is given is written.
#[derive(Debug, Default)]
pub struct EventRows {
    /// With the context for its reminder, if that was published before the event was handled.
    pub attendee: Option<(Attendee, Context)>,
    pub showtime: Option<Showtime>,
    pub reminder: Option<(MovieReminder, Context)>,
    pub mails: Vec<NewMail>,
    /// How long a mail about a hold waits.
    pub hold_mail_after: Duration,
    /// The event is older than the last restore of the database: its mails may have been sent.
    pub is_before_restore: bool,
}

/// Notification's changes. Claims and marks are statements of their own (see `queue`).
#[derive(Debug)]
pub enum Write {
    Event(Box<EventRows>),
    /// Queues a mail again that still has this version.
    Resend {
        id: Uuid,
        version: i64,
    },
    /// Queues mails again that failed between two times, at most `most`.
    ResendFailed {
        from: Timestamp,
        to: Timestamp,
        most: i64,
    },
}

/// The result of a change.
#[derive(Debug)]
pub enum Written {
    Done,
    /// How many mails were queued again, and how many failed ones are left.
    Resent {
        queued: u64,
        left: u64,
    },
}

/// The columns that [`shown`] reads.
macro_rules! columns {
    () => {
        "select *, (select code from attendees where attendees.reservation_id = mails.reservation_id) as order_code from mails"
    };
}

/// A mail of the log, with the version that a change must name; its recipient may be erased.
pub async fn notification<'e>(
    db: impl PgExecutor<'e>,
    id: Uuid,
    domain: &str,
) -> Result<Option<Logged>, sqlx::Error> {
    let row = sqlx::query(concat!(columns!(), " where id = $1")).bind(id).fetch_optional(db).await?;
    let logged = |row: PgRow| {
        Ok(Logged {
            notification: shown(&row, domain)?,
            version: row.try_get("version")?,
            is_erased: optional_time(&row, "blanked_at")?.is_some(),
        })
    };
    row.map(logged).transpose()
}

/// A mail of the log as a change finds it.
pub struct Logged {
    pub notification: Notification,
    pub version: i64,
    /// It has no recipient any more.
    pub is_erased: bool,
}

/// Whose mails are listed.
#[derive(Debug, Clone, Copy)]
pub enum Reader {
    User(Uuid),
    /// The holder of an order's link, by the order's access number.
    Order(Uuid, u32),
}

/// The mails to one person or about one order, newest first, with the total.
pub async fn list_own(
    pool: &PgPool,
    reader: Reader,
    paging: Paging,
    domain: &str,
) -> Result<Page<Notification>, sqlx::Error> {
    let (user, order, access) = match reader {
        Reader::User(user) => (Some(user), None, None),
        Reader::Order(order, access) => (None, Some(order), Some(i64::from(access))),
    };
    let rows = sqlx::query(concat!(
        columns!(),
        " where user_id = $1 or reservation_id in (
               select reservation_id from attendees where user_id = $1 or (reservation_id = $2 and access = $3))
             order by id desc limit $4 offset $5"
    ))
    .bind(user)
    .bind(order)
    .bind(access)
    .bind(paging.limit())
    .bind(paging.offset())
    .fetch_all(pool)
    .await?;
    let total: i64 = sqlx::query_scalar(
        "select count(*) from mails where user_id = $1 or reservation_id in (
           select reservation_id from attendees where user_id = $1 or (reservation_id = $2 and access = $3))",
    )
    .bind(user)
    .bind(order)
    .bind(access)
    .fetch_one(pool)
    .await?;
    let items = rows.iter().map(|row| shown(row, domain)).collect::<Result<_, _>>()?;
    Ok(paging.of(items, total.unsigned_abs()))
}

/// Newest first, with the total.
pub async fn list(
    pool: &PgPool,
    wanted: &ListNotifications,
    domain: &str,
) -> Result<Page<Notification>, sqlx::Error> {
    let status = wanted.status.map(name_of);
    let rows = sqlx::query(concat!(
        columns!(),
        " where ($1::uuid is null or reservation_id = $1) and ($2::text is null or status = $2)
             order by id desc limit $3 offset $4"
    ))
    .bind(wanted.reservation_id)
    .bind(&status)
    .bind(wanted.paging.limit())
    .bind(wanted.paging.offset())
    .fetch_all(pool)
    .await?;
    let total: i64 = sqlx::query_scalar(
        "select count(*) from mails where ($1::uuid is null or reservation_id = $1) and ($2::text is null or status = $2)",
    )
    .bind(wanted.reservation_id)
    .bind(&status)
    .fetch_one(pool)
    .await?;
    let items = rows.iter().map(|row| shown(row, domain)).collect::<Result<_, _>>()?;
    Ok(wanted.paging.of(items, total.unsigned_abs()))
}

fn shown(row: &PgRow, domain: &str) -> Result<Notification, sqlx::Error> {
    let id: Uuid = row.try_get("id")?;
    let (kind, status): (String, String) = (row.try_get("kind")?, row.try_get("status")?);
    Ok(Notification {
        id,
        kind: serde_json::from_value(kind.into()).map_err(|error| sqlx::Error::Decode(error.into()))?,
        status: status_named(&status).ok_or_else(|| unreadable(format!("status {status}")))?,
        reservation_id: row.try_get("reservation_id")?,
        order_code: row.try_get::<Option<&str>, _>("order_code")?.and_then(OrderCode::parse),
        recipient: row.try_get("recipient")?,
        attempts: row.try_get("attempts")?,
        next_try: optional_time(row, "next_try_at")?,
        error: row.try_get("error")?,
        reason: row.try_get("reason")?,
        message_id: super::model::message_id(id, row.try_get("resends")?, domain),
        sent_at: optional_time(row, "sent_at")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// When the database was last restored from a backup.
pub async fn restored_at(pool: &PgPool) -> Result<Option<Timestamp>, sqlx::Error> {
    let at: Option<OffsetDateTime> =
        sqlx::query_scalar("select max(at) from restores").fetch_one(pool).await?;
    Ok(at.map(Timestamp::from))
}

/// A showtime as its newest event described it.
pub async fn showtime(pool: &PgPool, id: Uuid) -> Result<Option<Showtime>, sqlx::Error> {
    let row = sqlx::query_scalar("select to_json(s) from showtimes s where s.id = $1").bind(id);
    let row: Option<Json<Showtime>> = row.fetch_optional(pool).await?;
    Ok(row.map(|Json(showtime)| showtime))
}

fn time(row: &PgRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    Ok(row.try_get::<OffsetDateTime, _>(column)?.into())
}

fn optional_time(row: &PgRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    Ok(row.try_get::<Option<OffsetDateTime>, _>(column)?.map(Timestamp::from))
}

/// A newer host wrote what this one does not know.
fn unreadable(what: String) -> sqlx::Error {
    sqlx::Error::Decode(format!("a row has an unknown {what}").into())
}
