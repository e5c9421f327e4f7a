//! Notification's SQL. Here what is written together and the reads; writing is in `write`, set-based.

mod write;

use bus::Context;
use bus::contract::notification::{ListNotifications, Notification};
use bus::contract::reminder::MovieReminder;
use bus::contract::reservation::{ReservationCreated, ReservationStatus};
use bus::contract::{Currency, Money, Page, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgExecutor, PgPool, Row};
use std::collections::HashMap;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

use super::model::{Attendee, End, Facts, Mail, NewMail, Showtime, Topic, name_of, status_named};
use super::order::Sibling;
use crate::database::seat_ids;

/// What an event tells. Only what is given is written.
#[derive(Debug, Default)]
pub struct Heard {
    /// With the context that a reminder which it is late for gets.
    pub attendee: Option<(Attendee, Context)>,
    pub showtime: Option<Showtime>,
    pub reminder: Option<(MovieReminder, Context)>,
    pub mails: Vec<NewMail>,
    /// How long a mail about a hold waits.
    pub hold_mail_after: Duration,
}

/// Notification's changes.
#[derive(Debug)]
pub enum Write {
    Heard(Box<Heard>),
    /// Takes up to so many mails that are due, and keeps them for `lease`.
    Claim {
        most: i64,
        lease: Duration,
    },
    /// How a claimed mail ended, with the recipient that was found meanwhile.
    Settle {
        id: Uuid,
        version: i64,
        end: End,
        recipient: Option<String>,
    },
    /// Queues a mail again that stands at this version.
    Resend {
        id: Uuid,
        version: i64,
    },
    /// Queues mails again that failed between two times, at most so many.
    ResendFailed {
        from: Timestamp,
        to: Timestamp,
        most: i64,
    },
}

/// What the commit tells.
#[derive(Debug)]
pub enum Written {
    Done,
    Claimed(Vec<Mail>),
    /// How many were queued again, and how many such are left.
    Resent {
        queued: u64,
        left: u64,
    },
    /// Somebody else has the mail by now; what was to be written is not.
    Lost,
}

/// Whether a mail waits for its turn: a cheap look before a claim is written.
pub async fn is_any_due(pool: &PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from mails where status = 'QUEUED' and next_try_at <= now())")
        .fetch_one(pool)
        .await
}

/// What is known of each mail's reservation and showtime, by mail.
pub async fn facts(pool: &PgPool, mails: &[Mail]) -> Result<HashMap<Uuid, Facts>, sqlx::Error> {
    let reservations: Vec<Uuid> = mails.iter().filter_map(|mail| mail.reservation_id).collect();
    let rows = sqlx::query("select * from attendees where reservation_id = any($1)")
        .bind(&reservations)
        .fetch_all(pool)
        .await?;
    let attendees = rows.iter().map(|row| attendee(row).map(|found| (found.told.reservation_id, found)));
    let attendees: HashMap<Uuid, Attendee> = attendees.collect::<Result<_, sqlx::Error>>()?;
    let wanted: Vec<Uuid> = attendees.values().map(|attendee| attendee.told.showtime_id).collect();
    let rows = sqlx::query("select * from showtimes where id = any($1)").bind(wanted).fetch_all(pool).await?;
    let showtimes = rows.iter().map(|row| showtime(row).map(|found| (found.id, found)));
    let showtimes: HashMap<Uuid, Showtime> = showtimes.collect::<Result<_, sqlx::Error>>()?;
    let siblings = siblings(pool, &reservations).await?;
    let of_mail = |mail: &Mail| {
        let attendee = mail.reservation_id.and_then(|id| attendees.get(&id)).cloned();
        let showtime = attendee.as_ref().and_then(|a| showtimes.get(&a.told.showtime_id)).cloned();
        let siblings = mail.reservation_id.and_then(|id| siblings.get(&id)).cloned().unwrap_or_default();
        (mail.id, Facts { attendee, showtime, siblings })
    };
    Ok(mails.iter().map(of_mail).collect())
}

/// How many mails that strangers can cause each of these addresses, in lower case, got within the last hour.
pub async fn sent_lately(pool: &PgPool, recipients: &[String]) -> Result<HashMap<String, u32>, sqlx::Error> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select lower(recipient), count(*) from mails
         where status = 'SENT' and lower(recipient) = any($1) and sent_at > now() - interval '1 hour'
           and kind in ('EMAIL_VERIFICATION', 'PASSWORD_RESET', 'PASSWORD_CHANGED', 'RESERVATION_CREATED', 'HOLD_EXPIRED',
                        'PAYMENT_FAILED', 'RESERVATION_CANCELLED', 'SHOWTIME_CANCELLED')
         group by lower(recipient)",
    )
    .bind(recipients)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|(recipient, sent)| (recipient, sent.try_into().unwrap_or(u32::MAX))).collect())
}

/// All mails of these reservations.
async fn siblings(pool: &PgPool, reservations: &[Uuid]) -> Result<HashMap<Uuid, Vec<Sibling>>, sqlx::Error> {
    let rows = sqlx::query(
        "select reservation_id, kind, subject, status, topic, created_at, sent_at from mails where reservation_id = any($1)",
    )
    .bind(reservations)
    .fetch_all(pool)
    .await?;
    let mut found: HashMap<Uuid, Vec<Sibling>> = HashMap::new();
    for row in &rows {
        let status: String = row.try_get("status")?;
        let topic: Topic = row.try_get::<Json<_>, _>("topic")?.0;
        found.entry(row.try_get("reservation_id")?).or_default().push(Sibling {
            kind: topic.kind(),
            subject: row.try_get("subject")?,
            status: status_named(&status).ok_or_else(|| unreadable(format!("status {status}")))?,
            topic,
            created_at: time(row, "created_at")?,
            sent_at: optional_time(row, "sent_at")?,
        });
    }
    Ok(found)
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

fn mail(row: &PgRow) -> Result<Mail, sqlx::Error> {
    Ok(Mail {
        id: row.try_get("id")?,
        version: row.try_get("version")?,
        attempts: row.try_get("attempts")?,
        resends: row.try_get("resends")?,
        topic: row.try_get::<Json<_>, _>("topic")?.0,
        subject: row.try_get("subject")?,
        reservation_id: row.try_get("reservation_id")?,
        recipient: row.try_get("recipient")?,
        context: row.try_get::<Json<_>, _>("context")?.0,
        queued_at: time(row, "queued_at")?,
    })
}

fn attendee(row: &PgRow) -> Result<Attendee, sqlx::Error> {
    let status: String = row.try_get("status")?;
    let currency: String = row.try_get("currency")?;
    let currency = Currency::parse(&currency).ok_or_else(|| unreadable(format!("currency {currency}")))?;
    Ok(Attendee {
        status: status_of(&status)?,
        told: ReservationCreated {
            reservation_id: row.try_get("reservation_id")?,
            version: row.try_get("version")?,
            user_id: row.try_get("user_id")?,
            email: row.try_get("email")?,
            showtime_id: row.try_get("showtime_id")?,
            // No mail names the movie by its id.
            movie_id: Uuid::nil(),
            movie_title: row.try_get("movie_title")?,
            starts_at: time(row, "starts_at")?,
            seats: seat_ids(row.try_get("seats")?)?,
            // No mail names the price of a single seat.
            lines: Vec::new(),
            total: Money { amount: row.try_get("total")?, currency },
            expires_at: time(row, "expires_at")?,
        },
    })
}

fn status_of(name: &str) -> Result<ReservationStatus, sqlx::Error> {
    serde_json::from_value(name.into()).map_err(|_| unreadable(format!("status {name}")))
}

fn showtime(row: &PgRow) -> Result<Showtime, sqlx::Error> {
    Ok(Showtime {
        id: row.try_get("id")?,
        version: row.try_get("version")?,
        movie_title: row.try_get("movie_title")?,
        auditorium_name: row.try_get("auditorium_name")?,
        time_zone: row.try_get("time_zone")?,
        starts_at: time(row, "starts_at")?,
        ends_at: time(row, "ends_at")?,
        cancelled: row.try_get("cancelled")?,
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
