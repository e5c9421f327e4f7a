//! Notification's SQL: the changes and the reads of the mail log. `write` writes a batch of changes, `queue` claims and marks
//! mails.

mod queue;
mod write;

use std::time::Duration;

use bus::Context;
use bus::contract::notification::{ListNotifications, Notification};
use bus::contract::reminder::MovieReminder;
use bus::contract::{Page, Timestamp};
use sqlx::postgres::PgRow;
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

/// A mail of the log, with the version that a change must name.
pub async fn notification<'e>(
    db: impl PgExecutor<'e>,
    id: Uuid,
    domain: &str,
) -> Result<Option<(Notification, i64)>, sqlx::Error> {
    let row = sqlx::query("select * from mails where id = $1").bind(id).fetch_optional(db).await?;
    row.map(|row| Ok((shown(&row, domain)?, row.try_get("version")?))).transpose()
}

/// Newest first, with the total.
pub async fn list(
    pool: &PgPool,
    wanted: &ListNotifications,
    domain: &str,
) -> Result<Page<Notification>, sqlx::Error> {
    let status = wanted.status.map(name_of);
    let rows = sqlx::query(
        "select * from mails where ($1::uuid is null or reservation_id = $1) and ($2::text is null or status = $2)
         order by id desc limit $3 offset $4",
    )
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
