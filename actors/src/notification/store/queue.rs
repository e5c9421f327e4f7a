//! The queue of mails: a host claims due mails with all facts that they need, and marks how they ended. Both are one
//! statement for many mails, outside of the journal, and so one exchange with the database each.
//!
//! Invariant: a claim raises a mail's version, and a mark names it: a host whose claim has run out marks nothing.
//! A claim whose answer is lost runs out; a mark that is written twice changes nothing.

use std::collections::HashSet;
use std::time::Duration;

use bus::contract::reservation::{Credit, ReservationCreated, ReservationStatus};
use bus::contract::site::DEFAULT_SITE;
use bus::contract::{Currency, FeeLine, Line, Locale, Money, OrderCode, SeatId, Timestamp};
use serde::Deserialize;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::{time, unreadable};
use crate::notification::model::{Attendee, End, Facts, Mail, Showtime, Sibling, Topic, status_named};

/// A mail that this host has claimed, with the facts that it needs.
#[derive(Debug)]
pub struct Claimed {
    pub mail: Mail,
    pub facts: Facts,
    /// The address that it goes to, where it is known.
    pub recipient: Option<String>,
    /// Mails that strangers can cause, sent to this address within the last hour.
    pub sent_lately: u32,
}

/// Claims up to `most` due mails for `lease`; also returns in what time the next one is due. Nothing is written where no mail
/// is due.
pub async fn claim(
    pool: &PgPool,
    most: usize,
    lease: Duration,
) -> sqlx::Result<(Vec<Claimed>, Option<Duration>)> {
    let rows = sqlx::query(
        "with claimed as (
           update mails set version = version + 1, attempts = attempts + 1, updated_at = now(),
                            next_try_at = now() + $2 * interval '1 millisecond'
           where id in (select id from mails where status = 'QUEUED' and next_try_at <= now()
                        order by next_try_at limit $1 for update skip locked)
           returning *
         ), due as (
           select (extract(epoch from min(next_try_at) - now()) * 1000)::bigint as next_due_ms
           from mails where status = 'QUEUED' and next_try_at > now()
         )
         select due.next_due_ms, claimed.*, to_json(a) as attendee, to_json(s) as showtime, siblings.list as siblings,
                coalesce(a.email, claimed.recipient) as send_to, coalesce(lately.count, 0) as sent_lately
         from due left join claimed on true
         left join attendees a on a.reservation_id = claimed.reservation_id
         left join showtimes s on s.id = a.showtime_id
         left join lateral (
           select json_agg(json_build_object('subject', m.subject, 'status', m.status, 'topic', m.topic,
                                             'created_at', m.created_at, 'sent_at', m.sent_at)) as list
           from mails m where m.reservation_id = claimed.reservation_id
         ) siblings on claimed.reservation_id is not null
         left join lateral (
           select count(*) as count from mails m
           where m.status = 'SENT' and lower(m.recipient) = lower(coalesce(a.email, claimed.recipient))
             and m.sent_at > now() - interval '1 hour'
             and (m.kind in ('EMAIL_VERIFICATION', 'PASSWORD_RESET', 'PASSWORD_CHANGED', 'RESERVATION_CREATED',
                             'HOLD_EXPIRED', 'PAYMENT_FAILED', 'RESERVATION_CANCELLED', 'SHOWTIME_CANCELLED')
               or m.kind in ('RESERVATION_CONFIRMED', 'RESERVATION_EXCHANGED', 'RESERVATION_UPDATED')
                 and (strpos(m.subject, '/') > 0 or exists (
                   select from attendees free where free.reservation_id = m.reservation_id and free.total = 0)))
         ) lately on claimed.id is not null
         order by claimed.queued_at",
    )
    .bind(most as i64)
    .bind(lease.as_millis() as i64)
    .fetch_all(pool)
    .await?;
    let next_due: Option<i64> = rows.first().map_or(Ok(None), |row| row.try_get("next_due_ms"))?;
    let next_due = next_due.map(|ms| Duration::from_millis(ms.max(0).unsigned_abs()));
    let mut mails = Vec::with_capacity(rows.len());
    for row in &rows {
        if row.try_get::<Option<Uuid>, _>("id")?.is_some() {
            mails.push(claimed(row)?);
        }
    }
    Ok((mails, next_due))
}

fn claimed(row: &PgRow) -> sqlx::Result<Claimed> {
    let attendee: Option<Json<AttendeeRow>> = row.try_get("attendee")?;
    let showtime: Option<Json<Showtime>> = row.try_get("showtime")?;
    let siblings: Option<Json<Vec<SiblingRow>>> = row.try_get("siblings")?;
    let siblings = siblings.map(|Json(rows)| rows).unwrap_or_default();
    let sent_lately: i64 = row.try_get("sent_lately")?;
    Ok(Claimed {
        mail: Mail {
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
        },
        facts: Facts {
            attendee: attendee.map(|Json(row)| row.into()),
            showtime: showtime.map(|Json(showtime)| showtime),
            siblings: siblings.into_iter().map(SiblingRow::read).collect::<sqlx::Result<_>>()?,
        },
        recipient: row.try_get("send_to")?,
        sent_lately: sent_lately.try_into().unwrap_or(u32::MAX),
    })
}

/// A row of `attendees` as JSON.
#[derive(Deserialize)]
struct AttendeeRow {
    reservation_id: Uuid,
    code: Option<OrderCode>,
    version: i64,
    user_id: Uuid,
    email: String,
    showtime_id: Uuid,
    movie_title: String,
    starts_at: Timestamp,
    seats: Vec<SeatId>,
    total: i64,
    currency: Currency,
    status: ReservationStatus,
    expires_at: Timestamp,
    locale: Locale,
    lines: Vec<Line>,
    fees: Vec<FeeLine>,
    credit: Option<Credit>,
    access: u32,
}

impl From<AttendeeRow> for Attendee {
    fn from(row: AttendeeRow) -> Self {
        Self {
            status: row.status,
            reservation: ReservationCreated {
                reservation_id: row.reservation_id,
                code: row.code,
                version: row.version,
                user_id: row.user_id,
                email: row.email,
                showtime_id: row.showtime_id,
                // No mail names the movie by its id.
                movie_id: Uuid::nil(),
                movie_title: row.movie_title,
                starts_at: row.starts_at,
                seats: row.seats,
                lines: row.lines,
                fees: row.fees,
                total: Money { amount: row.total, currency: row.currency },
                expires_at: row.expires_at,
                locale: row.locale,
                // Nor the site.
                site_id: DEFAULT_SITE,
                access: row.access,
                // No mail names the other order.
                exchange_of: None,
                due: row.credit.as_ref().map(|credit| {
                    let amount = row.total - credit.total.amount - credit.waived.amount;
                    Money { amount, currency: row.currency }
                }),
                credit: row.credit,
            },
        }
    }
}

/// Another mail of the same reservation as JSON.
#[derive(Deserialize)]
struct SiblingRow {
    subject: String,
    status: String,
    topic: Topic,
    created_at: Timestamp,
    sent_at: Option<Timestamp>,
}

impl SiblingRow {
    fn read(self) -> sqlx::Result<Sibling> {
        let Self { subject, status, topic, created_at, sent_at } = self;
        let status = status_named(&status).ok_or_else(|| unreadable(format!("status {status}")))?;
        Ok(Sibling { kind: topic.kind(), subject, status, topic, created_at, sent_at })
    }
}

/// How a claimed mail ended, with the address that it went to.
#[derive(Debug)]
pub struct Mark {
    pub id: Uuid,
    pub version: i64,
    pub end: End,
    pub recipient: Option<String>,
}

/// Writes how claimed mails ended, and returns those that were still this host's.
pub async fn mark(pool: &PgPool, marks: &[Mark]) -> sqlx::Result<HashSet<Uuid>> {
    let mut sorted: Vec<&Mark> = marks.iter().collect();
    sorted.sort_by_key(|mark| mark.id);
    let each = || sorted.iter().map(|mark| &mark.end);
    let status = |end: &End| match end {
        End::Sent => "SENT",
        End::Skipped(_) => "SKIPPED",
        End::Again { .. } => "QUEUED",
        End::Failed(_) => "FAILED",
    };
    let delay = |end: &End| match end {
        End::Again { after, .. } => Some(after.as_millis() as i64),
        _ => None,
    };
    let error = |end: &End| match end {
        End::Again { error, .. } | End::Failed(error) => Some(error.clone()),
        End::Sent | End::Skipped(_) => None,
    };
    let reason = |end: &End| if let End::Skipped(reason) = end { Some(reason.clone()) } else { None };
    let uncounted = |end: &End| i32::from(matches!(end, End::Again { counts: false, .. }));
    let marked = sqlx::query_scalar(
        "update mails m set status = ended.status, version = m.version + 1, attempts = m.attempts - ended.uncounted,
           next_try_at = now() + ended.delay_ms * interval '1 millisecond', error = ended.error, reason = ended.reason,
           recipient = coalesce(ended.recipient, m.recipient), updated_at = now(),
           sent_at = case when ended.status = 'SENT' then now() else m.sent_at end
         from unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::int[])
           as ended (id, version, status, delay_ms, error, reason, recipient, uncounted)
         -- The version alone says that it is still this claim. A condition on the status would let the planner read the whole
         -- queue by its partial index, once for each mail (measured: 25 ms with 10,000 mails waiting, 0.1 ms without).
         where m.id = ended.id and m.version = ended.version
         returning m.id",
    )
    .bind(sorted.iter().map(|mark| mark.id).collect::<Vec<_>>())
    .bind(sorted.iter().map(|mark| mark.version).collect::<Vec<_>>())
    .bind(each().map(status).collect::<Vec<_>>())
    .bind(each().map(delay).collect::<Vec<_>>())
    .bind(each().map(error).collect::<Vec<_>>())
    .bind(each().map(reason).collect::<Vec<_>>())
    .bind(sorted.iter().map(|mark| mark.recipient.as_deref()).collect::<Vec<_>>())
    .bind(each().map(uncounted).collect::<Vec<_>>())
    .fetch_all(pool)
    .await?;
    Ok(marked.into_iter().collect())
}
