//! Writes a batch of changes. The rows of a sale's events are one statement: projections and mails together.
//!
//! Invariant: rows of one table are written sorted, so that hosts lock them in one order.
//! Invariant: an event with an older version changes no projection; a mail that is queued or was sent is not queued again.

use std::collections::HashMap;
use std::time::Duration;

use bus::Context;
use bus::contract::notification::Rejection;
use bus::contract::reminder::MovieReminder;
use bus::contract::reservation::ReservationStatus;
use bus::contract::{OrderCode, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{EventRows, Write, Written};
use crate::delivery::{Gauge, Loss, Rows, WriteError};
use crate::notification::model::{Attendee, NewMail, Showtime, Topic, name_of};
use crate::notification::order;
use crate::seat_column::seat_column;

impl Rows for Write {
    type Rejection = Rejection;
    type Written = Written;

    const GAUGES: &'static [Gauge] = &[
        ("mails_queued", "select count(*) from mails where status = 'QUEUED'"),
        (
            "mails_oldest_seconds",
            "select extract(epoch from now() - min(queued_at)) from mails where status = 'QUEUED' and attempts > 0",
        ),
    ];

    fn write<'a>(
        connection: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<Vec<Written>, WriteError<Rejection>>> {
        async move {
            let events: Vec<&EventRows> = rows
                .iter()
                .filter_map(|row| if let Self::Event(event) = row { Some(&**event) } else { None })
                .collect();
            if !events.is_empty() {
                write_events(connection, &events).await?;
            }
            let mut written = Vec::with_capacity(rows.len());
            for (index, row) in rows.iter().enumerate() {
                written.push(match row {
                    Self::Event(_) => Written::Done,
                    Self::ResendFailed { from, to, most } => {
                        resend_failed(connection, *from, *to, *most).await?
                    }
                    Self::Resend { id, version } => match resend(connection, *id, *version).await? {
                        true => Written::Done,
                        false => return Err(WriteError::Lost(vec![(index, Loss::Stale)])),
                    },
                });
            }
            Ok(written)
        }
        .boxed()
    }
}

async fn write_events(db: &mut PgConnection, events: &[&EventRows]) -> sqlx::Result<()> {
    let hold_mail_after = events.iter().map(|event| event.hold_mail_after).max().unwrap_or_default();
    let attendees: Vec<&(Attendee, Context)> = events.iter().filter_map(|e| e.attendee.as_ref()).collect();
    let newest = newest(&attendees);
    let mails: Vec<NewMail> = events.iter().flat_map(|event| event.mails.clone()).collect();
    let old = events.iter().filter(|event| event.is_before_restore);
    let mut old: Vec<NewMail> = old.flat_map(|event| event.mails.clone()).collect();
    // A few of either a day.
    let showtimes: Vec<&Showtime> = events.iter().filter_map(|event| event.showtime.as_ref()).collect();
    upsert_showtimes(db, &showtimes).await?;
    let late = upsert_attendees_and_mails(db, &newest, mails, hold_mail_after, &attendees).await?;
    let reminders: Vec<&(MovieReminder, Context)> =
        events.iter().filter_map(|e| e.reminder.as_ref()).collect();
    let mut reminder_mails = remind(db, &reminders).await?;
    if !old.is_empty() {
        old.extend(late.clone());
    }
    reminder_mails.extend(late);
    if !reminder_mails.is_empty() {
        upsert_attendees_and_mails(db, &[], reminder_mails, hold_mail_after, &[]).await?;
    }
    skip_old(db, &old).await
}

/// Marks mails that were just queued and may have been sent before the database was restored.
async fn skip_old(db: &mut PgConnection, old: &[NewMail]) -> sqlx::Result<()> {
    if old.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update mails set status = 'SKIPPED', version = version + 1, next_try_at = null, updated_at = now(),
           reason = 'it may have been sent after the backup from which the database was restored'
         where (kind, subject) in (select * from unnest($1::text[], $2::text[]))
           and status = 'QUEUED' and attempts = 0 and resends = 0",
    )
    .bind(old.iter().map(|mail| name_of(mail.topic.kind())).collect::<Vec<_>>())
    .bind(old.iter().map(|mail| mail.subject.as_str()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// One statement may write a row once: of several events of a reservation the newest counts.
fn newest<'a>(attendees: &[&'a (Attendee, Context)]) -> Vec<&'a Attendee> {
    let mut newest: HashMap<Uuid, &Attendee> = HashMap::new();
    for (attendee, _) in attendees {
        let kept = newest.entry(attendee.reservation.reservation_id).or_insert(attendee);
        if attendee.reservation.version > kept.reservation.version {
            *kept = attendee;
        }
    }
    let mut sorted: Vec<&Attendee> = newest.into_values().collect();
    sorted.sort_by_key(|attendee| attendee.reservation.reservation_id);
    sorted
}

/// Writes projections of reservations and queues mails. Returns the reminders of confirmed reservations whose event was
/// handled after their showtime's reminder, though they were made before it: the event was late, or is handled again.
async fn upsert_attendees_and_mails(
    db: &mut PgConnection,
    attendees: &[&Attendee],
    mails: Vec<NewMail>,
    hold_mail_after: Duration,
    with_contexts: &[&(Attendee, Context)],
) -> sqlx::Result<Vec<NewMail>> {
    let mut sorted: Vec<(String, NewMail)> =
        mails.into_iter().map(|mail| (name_of(mail.topic.kind()), mail)).collect();
    sorted.sort_by(|(a, one), (b, other)| (a, &one.subject).cmp(&(b, &other.subject)));
    let confirmed: Vec<&(Attendee, Context)> = with_contexts
        .iter()
        .copied()
        .filter(|(attendee, _)| attendee.status == ReservationStatus::Confirmed)
        .collect();
    let reservations = || attendees.iter().map(|attendee| &attendee.reservation);
    let reminders = sqlx::query(
        "with reservation as (
           select * from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::timestamptz[],
                                $8::text[], $9::bigint[], $10::text[], $11::text[], $12::timestamptz[], $22::text[], $23::text[],
                                $24::jsonb[], $25::bigint[], $26::jsonb[], $27::jsonb[])
             as r (reservation_id, version, user_id, email, showtime_id, movie_title, starts_at, seats, total, currency,
                   status, expires_at, code, locale, lines, access, fees, credit)
         ), projected as (
           insert into attendees as stored (reservation_id, version, user_id, email, showtime_id, movie_title, starts_at,
                                            seats, total, currency, status, expires_at, code, locale, lines, access, fees, credit)
           select reservation_id, version, user_id,
                  case when exists (select from erased_users as erased where erased.user_id = reservation.user_id)
                    then '' else email end, showtime_id, movie_title, starts_at,
                  string_to_array(seats, ','), total, currency, status, expires_at, code, locale, lines, access, fees,
                  credit
           from reservation
           on conflict (reservation_id) do update set version = excluded.version, user_id = excluded.user_id,
             email = excluded.email,
             showtime_id = excluded.showtime_id, movie_title = excluded.movie_title, starts_at = excluded.starts_at,
             seats = excluded.seats, total = excluded.total, currency = excluded.currency, status = excluded.status,
             expires_at = excluded.expires_at, code = coalesce(excluded.code, stored.code),
             locale = excluded.locale, lines = excluded.lines, access = excluded.access, fees = excluded.fees,
             credit = excluded.credit
           where stored.version < excluded.version
         ), queued as (
           insert into mails (id, kind, subject, reservation_id, user_id, recipient, topic, status, next_try_at, context)
           select new.id, new.kind, new.subject, new.reservation_id, new.user_id,
                  coalesce(new.recipient, nullif(r.email, ''), nullif(stored.email, '')),
                  new.topic, 'QUEUED', now() + new.wait_ms * interval '1 millisecond', new.context::json
           from unnest($13::uuid[], $14::text[], $15::text[], $16::uuid[], $17::text[], $18::jsonb[], $19::text[],
                       $20::bigint[], $28::uuid[])
             with ordinality as new (id, kind, subject, reservation_id, recipient, topic, context, wait_ms, user_id, position)
           left join reservation r on r.reservation_id = new.reservation_id
           left join attendees stored on stored.reservation_id = new.reservation_id
           where not exists (
             select from erased_users as erased where erased.user_id in (new.user_id, r.user_id, stored.user_id))
           order by new.position on conflict on constraint one_mail do nothing
         )
         select showtime_id, starts_at, heard_at from reminders where showtime_id = any($21::uuid[])",
    )
    .bind(reservations().map(|r| r.reservation_id).collect::<Vec<_>>())
    .bind(reservations().map(|r| r.version).collect::<Vec<_>>())
    .bind(reservations().map(|r| r.user_id).collect::<Vec<_>>())
    .bind(reservations().map(|r| r.email.as_str()).collect::<Vec<_>>())
    .bind(reservations().map(|r| r.showtime_id).collect::<Vec<_>>())
    .bind(reservations().map(|r| r.movie_title.as_str()).collect::<Vec<_>>())
    .bind(reservations().map(|r| r.starts_at.date_time()).collect::<Vec<_>>())
    .bind(reservations().map(|r| seat_column(&r.seats)).collect::<Vec<_>>())
    .bind(reservations().map(|r| r.total.amount).collect::<Vec<_>>())
    .bind(reservations().map(|r| r.total.currency.as_str()).collect::<Vec<_>>())
    .bind(attendees.iter().map(|a| a.status.as_str()).collect::<Vec<_>>())
    .bind(reservations().map(|r| r.expires_at.date_time()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| mail.subject.as_str()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| mail.reservation_id).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| mail.recipient.as_deref()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| Json(&mail.topic)).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| json(&mail.context)).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| wait_ms(mail, hold_mail_after)).collect::<Vec<_>>())
    .bind(confirmed.iter().map(|(attendee, _)| attendee.reservation.showtime_id).collect::<Vec<_>>())
    .bind(reservations().map(|r| r.code.as_ref().map(OrderCode::as_str)).collect::<Vec<_>>())
    .bind(reservations().map(|r| r.locale.as_str()).collect::<Vec<_>>())
    .bind(reservations().map(|r| Json(&r.lines)).collect::<Vec<_>>())
    .bind(reservations().map(|r| i64::from(r.access)).collect::<Vec<_>>())
    .bind(reservations().map(|r| Json(&r.fees)).collect::<Vec<_>>())
    .bind(reservations().map(|r| r.credit.as_ref().map(Json)).collect::<Vec<_>>())
    .bind(sorted.iter().map(|(_, mail)| mail.user_id).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    let mut late = Vec::new();
    for row in reminders {
        let (showtime, starts_at): (Uuid, OffsetDateTime) = (row.try_get(0)?, row.try_get(1)?);
        let reminded_at: OffsetDateTime = row.try_get(2)?;
        for (attendee, context) in confirmed.iter().filter(|(a, _)| a.reservation.showtime_id == showtime) {
            let id = attendee.reservation.reservation_id;
            let made_at = id.get_timestamp().map(|at| at.to_unix().0 as i64);
            if made_at.is_some_and(|made_at| made_at < reminded_at.unix_timestamp()) {
                late.push(reminder_mail(id, starts_at.into(), context));
            }
        }
    }
    Ok(late)
}

fn wait_ms(mail: &NewMail, hold_mail_after: Duration) -> i64 {
    order::wait(&mail.topic, mail.reservation_id, hold_mail_after).as_millis() as i64
}

fn json(context: &Context) -> String {
    serde_json::to_string(context).expect("two texts always serialize")
}

fn json_of(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("contract types are plain data and always serialize")
}

/// Of several versions of a showtime the newest counts.
async fn upsert_showtimes(db: &mut PgConnection, showtimes: &[&Showtime]) -> sqlx::Result<()> {
    if showtimes.is_empty() {
        return Ok(());
    }
    let mut sorted = showtimes.to_vec();
    sorted.sort_by_key(|showtime| (showtime.id, std::cmp::Reverse(showtime.version)));
    sorted.dedup_by_key(|showtime| showtime.id);
    sqlx::query(
        "insert into showtimes as stored (id, version, movie_title, auditorium_name, time_zone, starts_at, ends_at, cancelled,
           film_version, format, minutes_before_film)
         select id, version, movie_title, auditorium_name, time_zone, starts_at, ends_at, cancelled, film_version::jsonb,
           format, minutes_before_film
         from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                     $7::timestamptz[], $8::boolean[], $9::text[], $10::text[], $11::int[])
           as new (id, version, movie_title, auditorium_name, time_zone, starts_at, ends_at, cancelled, film_version,
                   format, minutes_before_film)
         on conflict (id) do update set version = excluded.version, movie_title = excluded.movie_title,
           time_zone = excluded.time_zone, auditorium_name = excluded.auditorium_name, starts_at = excluded.starts_at,
           ends_at = excluded.ends_at, cancelled = excluded.cancelled, film_version = excluded.film_version,
           format = excluded.format, minutes_before_film = excluded.minutes_before_film
         where stored.version < excluded.version",
    )
    .bind(sorted.iter().map(|s| s.id).collect::<Vec<_>>())
    .bind(sorted.iter().map(|s| s.version).collect::<Vec<_>>())
    .bind(sorted.iter().map(|s| s.movie_title.as_str()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|s| s.auditorium_name.as_str()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|s| s.time_zone.as_str()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|s| s.starts_at.date_time()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|s| s.ends_at.date_time()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|s| s.cancelled).collect::<Vec<_>>())
    .bind(sorted.iter().map(|s| s.film_version.as_ref().map(json_of)).collect::<Vec<_>>())
    .bind(sorted.iter().map(|s| s.format.clone()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|s| i32::from(s.minutes_before_film)).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// One mail for each confirmed reservation of the showtime.
async fn remind(
    db: &mut PgConnection,
    reminders: &[&(MovieReminder, Context)],
) -> sqlx::Result<Vec<NewMail>> {
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

fn reminder_mail(reservation: Uuid, starts_at: Timestamp, context: &Context) -> NewMail {
    NewMail {
        topic: Topic::Reminder { starts_at },
        subject: format!("{reservation}/{starts_at}"),
        reservation_id: Some(reservation),
        user_id: None,
        recipient: None,
        context: context.clone(),
    }
}

async fn resend(db: &mut PgConnection, id: Uuid, version: i64) -> sqlx::Result<bool> {
    let queued = sqlx::query(
        "update mails set status = 'QUEUED', version = version + 1, attempts = 0, resends = resends + 1,
           next_try_at = now(), queued_at = now(), updated_at = now(), error = null, reason = null
         where id = $1 and version = $2 and status <> 'QUEUED' and blanked_at is null",
    )
    .bind(id)
    .bind(version)
    .execute(db)
    .await?;
    Ok(queued.rows_affected() > 0)
}

/// The oldest first; what another host is just writing is left to the next call.
async fn resend_failed(
    db: &mut PgConnection,
    from: Timestamp,
    to: Timestamp,
    most: i64,
) -> sqlx::Result<Written> {
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
