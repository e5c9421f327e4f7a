//! Writes a batch: projections first, then the mails that follow from them, then what became of mails, then claims.
//!
//! Invariant: rows of one table are written sorted, so that hosts wait for each other in one order; a claim skips what
//! another host is just writing.
//! Invariant: a mail is settled only by the version under which it was claimed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bus::Context;
use bus::contract::Timestamp;
use bus::contract::reminder::MovieReminder;
use bus::contract::reservation::ReservationStatus;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Heard, Write, Written, mail};
use crate::database::seat_column;
use crate::delivery::{Rows, WriteError};
use crate::notification::model::{Attendee, End, Mail, NewMail, Showtime, Topic, name_of};
use crate::notification::order;

/// Nothing here is refused: a version that moved is [`WriteError::Stale`].
#[derive(Debug)]
pub enum Never {}

type Result<T> = std::result::Result<T, WriteError<Never>>;

impl Rows for Write {
    type Rejection = Never;
    type Written = Written;

    fn write<'a>(
        connection: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<Vec<Written>>> {
        async move {
            let heard: Vec<&Heard> = rows
                .iter()
                .filter_map(|row| if let Self::Heard(heard) = row { Some(&**heard) } else { None })
                .collect();
            hear(connection, &heard).await?;
            let mut settled = settle(connection, rows).await?;
            let mut written = Vec::with_capacity(rows.len());
            for (index, row) in rows.iter().enumerate() {
                written.push(match row {
                    Self::Heard(_) => Written::Done,
                    Self::Settle { id, .. } => {
                        if settled.remove(id) {
                            Written::Done
                        } else {
                            Written::Lost
                        }
                    }
                    Self::Claim { most, lease } => {
                        Written::Claimed(claim(connection, *most, lease.as_millis() as i64).await?)
                    }
                    Self::ResendFailed { from, to, most } => {
                        resend_failed(connection, *from, *to, *most).await?
                    }
                    Self::Resend { id, version } => match resend(connection, *id, *version).await? {
                        true => Written::Done,
                        false if rows.len() > 1 => return Err(WriteError::Short(vec![index])),
                        false => return Err(WriteError::Stale),
                    },
                });
            }
            Ok(written)
        }
        .boxed()
    }
}

async fn hear(db: &mut PgConnection, heard: &[&Heard]) -> Result<()> {
    let mut mails: Vec<NewMail> = heard.iter().flat_map(|heard| heard.mails.clone()).collect();
    let attendees: Vec<&(Attendee, Context)> = heard.iter().filter_map(|h| h.attendee.as_ref()).collect();
    upsert_attendees(db, attendees.iter().map(|(attendee, _)| attendee)).await?;
    let showtimes: Vec<&Showtime> = heard.iter().filter_map(|heard| heard.showtime.as_ref()).collect();
    upsert_showtimes(db, &showtimes).await?;
    let reminders: Vec<&(MovieReminder, Context)> =
        heard.iter().filter_map(|h| h.reminder.as_ref()).collect();
    mails.extend(remind(db, &reminders).await?);
    let confirmed: Vec<&(Attendee, Context)> = attendees
        .into_iter()
        .filter(|(attendee, _)| attendee.status == ReservationStatus::Confirmed)
        .collect();
    mails.extend(remind_late(db, &confirmed).await?);
    let hold_mail_after = heard.iter().map(|heard| heard.hold_mail_after).max().unwrap_or_default();
    insert_mails(db, mails, hold_mail_after).await
}

async fn upsert_attendees<'a>(
    db: &mut PgConnection,
    attendees: impl Iterator<Item = &'a Attendee>,
) -> Result<()> {
    // One statement may touch a row once: of several events of a reservation the newest counts.
    let mut newest: HashMap<Uuid, &Attendee> = HashMap::new();
    for attendee in attendees {
        let kept = newest.entry(attendee.told.reservation_id).or_insert(attendee);
        if attendee.told.version > kept.told.version {
            *kept = attendee;
        }
    }
    if newest.is_empty() {
        return Ok(());
    }
    let mut sorted: Vec<&Attendee> = newest.into_values().collect();
    sorted.sort_by_key(|attendee| attendee.told.reservation_id);
    let told = || sorted.iter().map(|attendee| &attendee.told);
    sqlx::query(
        "insert into attendees as known (reservation_id, version, user_id, email, showtime_id, movie_title, starts_at,
                                         seats, total, currency, status, expires_at)
         select reservation_id, version, user_id, email, showtime_id, movie_title, starts_at,
                string_to_array(seats, ','), total, currency, status, expires_at
         from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::timestamptz[],
                     $8::text[], $9::bigint[], $10::text[], $11::text[], $12::timestamptz[])
           as told (reservation_id, version, user_id, email, showtime_id, movie_title, starts_at, seats, total, currency,
                    status, expires_at)
         on conflict (reservation_id) do update set version = excluded.version, email = excluded.email,
           showtime_id = excluded.showtime_id, movie_title = excluded.movie_title, starts_at = excluded.starts_at,
           seats = excluded.seats, total = excluded.total, currency = excluded.currency, status = excluded.status,
           expires_at = excluded.expires_at
         where known.version < excluded.version",
    )
    .bind(told().map(|t| t.reservation_id).collect::<Vec<_>>())
    .bind(told().map(|t| t.version).collect::<Vec<_>>())
    .bind(told().map(|t| t.user_id).collect::<Vec<_>>())
    .bind(told().map(|t| t.email.as_str()).collect::<Vec<_>>())
    .bind(told().map(|t| t.showtime_id).collect::<Vec<_>>())
    .bind(told().map(|t| t.movie_title.as_str()).collect::<Vec<_>>())
    .bind(told().map(|t| t.starts_at.date_time()).collect::<Vec<_>>())
    .bind(told().map(|t| seat_column(&t.seats)).collect::<Vec<_>>())
    .bind(told().map(|t| t.total.amount).collect::<Vec<_>>())
    .bind(told().map(|t| t.total.currency.as_str()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|a| a.status.as_str()).collect::<Vec<_>>())
    .bind(told().map(|t| t.expires_at.date_time()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// A few a day: one by one, by version.
async fn upsert_showtimes(db: &mut PgConnection, showtimes: &[&Showtime]) -> Result<()> {
    for showtime in showtimes {
        sqlx::query(
            "insert into showtimes as known (id, version, movie_title, auditorium_name, time_zone, starts_at, ends_at, cancelled)
             values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict (id) do update set version = excluded.version, movie_title = excluded.movie_title, time_zone = excluded.time_zone,
               auditorium_name = excluded.auditorium_name, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
               cancelled = excluded.cancelled
             where known.version < excluded.version",
        )
        .bind(showtime.id)
        .bind(showtime.version)
        .bind(&showtime.movie_title)
        .bind(&showtime.auditorium_name)
        .bind(&showtime.time_zone)
        .bind(showtime.starts_at.date_time())
        .bind(showtime.ends_at.date_time())
        .bind(showtime.cancelled)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// One mail for each confirmed reservation of the showtime.
async fn remind(db: &mut PgConnection, reminders: &[&(MovieReminder, Context)]) -> Result<Vec<NewMail>> {
    let mut mails = Vec::new();
    for (reminder, context) in reminders {
        sqlx::query("insert into reminders (showtime_id, starts_at) values ($1, $2) on conflict do nothing")
            .bind(reminder.showtime_id)
            .bind(reminder.starts_at.date_time())
            .execute(&mut *db)
            .await?;
        let reservations: Vec<Uuid> = sqlx::query_scalar(
            "select reservation_id from attendees where showtime_id = $1 and status = 'CONFIRMED'",
        )
        .bind(reminder.showtime_id)
        .fetch_all(&mut *db)
        .await?;
        mails.extend(reservations.into_iter().map(|id| reminder_mail(id, reminder.starts_at, context)));
    }
    Ok(mails)
}

/// Confirmed reservations whose event came after their showtime's reminder, though they were made before it: another
/// host had the event, or it was handled again.
async fn remind_late(db: &mut PgConnection, confirmed: &[&(Attendee, Context)]) -> Result<Vec<NewMail>> {
    if confirmed.is_empty() {
        return Ok(Vec::new());
    }
    let showtimes: Vec<Uuid> = confirmed.iter().map(|(attendee, _)| attendee.told.showtime_id).collect();
    let rows =
        sqlx::query("select showtime_id, starts_at, heard_at from reminders where showtime_id = any($1)")
            .bind(showtimes)
            .fetch_all(db)
            .await?;
    let mut mails = Vec::new();
    for row in rows {
        let (showtime, starts_at): (Uuid, OffsetDateTime) = (row.try_get(0)?, row.try_get(1)?);
        let heard_at: OffsetDateTime = row.try_get(2)?;
        for (attendee, context) in confirmed.iter().filter(|(a, _)| a.told.showtime_id == showtime) {
            let made_at = attendee.told.reservation_id.get_timestamp().map(|at| at.to_unix().0 as i64);
            if made_at.is_some_and(|made_at| made_at < heard_at.unix_timestamp()) {
                mails.push(reminder_mail(attendee.told.reservation_id, starts_at.into(), context));
            }
        }
    }
    Ok(mails)
}

fn reminder_mail(reservation: Uuid, starts_at: Timestamp, context: &Context) -> NewMail {
    NewMail {
        topic: Topic::Reminder { starts_at },
        subject: format!("{reservation}/{starts_at}"),
        reservation_id: Some(reservation),
        recipient: None,
        context: context.clone(),
    }
}

async fn insert_mails(db: &mut PgConnection, mails: Vec<NewMail>, hold_mail_after: Duration) -> Result<()> {
    if mails.is_empty() {
        return Ok(());
    }
    let mut sorted: Vec<(String, NewMail)> =
        mails.into_iter().map(|mail| (name_of(mail.topic.kind()), mail)).collect();
    sorted.sort_by(|(a, one), (b, other)| (a, &one.subject).cmp(&(b, &other.subject)));
    sqlx::query(
        "insert into mails (id, kind, subject, reservation_id, recipient, topic, status, next_try_at, context)
         select told.id, told.kind, told.subject, told.reservation_id, coalesce(told.recipient, a.email), told.topic,
                'QUEUED', now() + told.wait_ms * interval '1 millisecond', told.context::json
         from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::jsonb[], $7::text[], $8::bigint[])
           with ordinality as told (id, kind, subject, reservation_id, recipient, topic, context, wait_ms, position)
           left join attendees a on a.reservation_id = told.reservation_id
         order by told.position on conflict on constraint one_mail do nothing",
    )
    .bind(sorted.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| mail.subject.as_str()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| mail.reservation_id).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| mail.recipient.as_deref()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| Json(&mail.topic)).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| json(&mail.context)).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| wait_ms(mail, hold_mail_after)).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

fn wait_ms(mail: &NewMail, hold_mail_after: Duration) -> i64 {
    order::wait(&mail.topic, mail.reservation_id, hold_mail_after).as_millis() as i64
}

fn json(context: &Context) -> String {
    serde_json::to_string(context).expect("two texts always serialize")
}

async fn claim(db: &mut PgConnection, most: i64, lease_ms: i64) -> Result<Vec<Mail>> {
    let rows = sqlx::query(
        "update mails set version = version + 1, attempts = attempts + 1, updated_at = now(),
                          next_try_at = now() + $2 * interval '1 millisecond'
         where id in (select id from mails where status = 'QUEUED' and next_try_at <= now()
                      order by next_try_at limit $1 for update skip locked)
         returning *",
    )
    .bind(most)
    .bind(lease_ms)
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(mail).collect::<std::result::Result<_, _>>()?)
}

/// Writes how claimed mails ended, and tells which were still this host's.
async fn settle(db: &mut PgConnection, rows: &[&Write]) -> Result<HashSet<Uuid>> {
    let mut ends: Vec<(&Uuid, &i64, &End, Option<&str>)> = rows
        .iter()
        .filter_map(|row| match row {
            Write::Settle { id, version, end, recipient } => Some((id, version, end, recipient.as_deref())),
            _ => None,
        })
        .collect();
    if ends.is_empty() {
        return Ok(HashSet::new());
    }
    ends.sort_by_key(|(id, ..)| **id);
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
    let settled = sqlx::query_scalar(
        "update mails m set status = told.status, version = m.version + 1, attempts = m.attempts - told.uncounted,
           next_try_at = now() + told.delay_ms * interval '1 millisecond', error = told.error, reason = told.reason,
           recipient = coalesce(told.recipient, m.recipient), updated_at = now(),
           sent_at = case when told.status = 'SENT' then now() else m.sent_at end
         from unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::int[])
           as told (id, version, status, delay_ms, error, reason, recipient, uncounted)
         -- The version alone says that it is still this claim. A condition on the status would let the planner read the whole
         -- queue by its partial index, once for each mail (measured: 25 ms with 10,000 mails waiting, 0.1 ms without).
         where m.id = told.id and m.version = told.version
         returning m.id",
    )
    .bind(ends.iter().map(|(id, ..)| **id).collect::<Vec<_>>())
    .bind(ends.iter().map(|(_, version, ..)| **version).collect::<Vec<_>>())
    .bind(ends.iter().map(|(_, _, end, _)| status(end)).collect::<Vec<_>>())
    .bind(ends.iter().map(|(_, _, end, _)| delay(end)).collect::<Vec<_>>())
    .bind(ends.iter().map(|(_, _, end, _)| error(end)).collect::<Vec<_>>())
    .bind(ends.iter().map(|(_, _, end, _)| reason(end)).collect::<Vec<_>>())
    .bind(ends.iter().map(|(.., recipient)| *recipient).collect::<Vec<_>>())
    .bind(ends.iter().map(|(_, _, end, _)| uncounted(end)).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    Ok(settled.into_iter().collect())
}

async fn resend(db: &mut PgConnection, id: Uuid, version: i64) -> Result<bool> {
    let queued = sqlx::query(
        "update mails set status = 'QUEUED', version = version + 1, attempts = 0, resends = resends + 1,
           next_try_at = now(), queued_at = now(), updated_at = now(), error = null, reason = null
         where id = $1 and version = $2 and status <> 'QUEUED'",
    )
    .bind(id)
    .bind(version)
    .execute(db)
    .await?;
    Ok(queued.rows_affected() > 0)
}

/// The oldest first; what another host is just writing is left to the next call.
async fn resend_failed(db: &mut PgConnection, from: Timestamp, to: Timestamp, most: i64) -> Result<Written> {
    let queued = sqlx::query(
        "update mails set status = 'QUEUED', version = version + 1, attempts = 0, resends = resends + 1,
           next_try_at = now(), queued_at = now(), updated_at = now(), error = null, reason = null
         where id in (select id from mails where status = 'FAILED' and updated_at between $1 and $2
                      order by id limit $3 for update skip locked)",
    )
    .bind(from.date_time())
    .bind(to.date_time())
    .bind(most)
    .execute(&mut *db)
    .await?;
    let left: i64 = sqlx::query_scalar(
        "select count(*) from mails where status = 'FAILED' and updated_at between $1 and $2",
    )
    .bind(from.date_time())
    .bind(to.date_time())
    .fetch_one(db)
    .await?;
    Ok(Written::Resent { queued: queued.rows_affected(), left: left.unsigned_abs() })
}
