//! Writes decisions set-based: many payments in one statement a table.
//!
//! Invariant: a payment's row is written only over the version that was decided on, and its attempts, refunds and log
//! only together with it.

use std::collections::HashSet;

use bus::contract::Timestamp;
use bus::contract::payment::Rejection;
use bus::contract::reservation::Sale;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::super::dispute::Dispute;
use super::super::ledger::Posting;
use super::super::model::{Attempt, Line, Origin, Payment, Refund};
use super::super::step::Step;
use super::attempts::{self, Bound};
use super::columns::{refund_name, stage_columns, status_name};
use super::reconciliation::{self, Advance};
use super::{dispute, ledger};
use crate::delivery::{self, WriteError};

/// What one decision writes.
#[derive(Debug, Default)]
pub struct Rows {
    /// `None` where only the provider's event is kept.
    pub payment: Option<PaymentRows>,
    pub event: Option<ProviderEvent>,
    /// How far the provider's events have been read.
    pub advance: Option<Advance>,
}

#[derive(Debug)]
pub struct PaymentRows {
    pub(super) payment: Payment,
    /// 0: it must not be there yet.
    expected: i64,
    pub(super) attempts: Vec<Attempt>,
    refunds: Vec<Refund>,
    pub(super) disputes: Vec<Dispute>,
    pub(super) log: Vec<Line>,
    pub(super) postings: Vec<Posting>,
    /// Of the direct charge that the step begins.
    pub bound: Option<Bound>,
}

#[derive(Debug, Clone)]
pub struct ProviderEvent {
    pub id: String,
    pub kind: String,
    pub body: String,
    /// `None` where it is about nothing of ours.
    pub payment_id: Option<Uuid>,
}

impl PaymentRows {
    /// What differs between the payment before and after the step.
    pub fn of(before: &Payment, step: &Step, bound: Option<Bound>) -> Self {
        let after = &step.payment;
        let attempts = after.attempts.iter().filter(|a| !before.attempts.contains(a)).cloned().collect();
        let refunds = after.refunds.iter().filter(|r| !before.refunds.contains(r)).cloned().collect();
        let disputes = after.disputes.iter().filter(|d| !before.disputes.contains(d)).cloned().collect();
        let (log, postings) = (step.log.clone(), step.postings.clone());
        let (payment, expected) = (after.clone(), before.version);
        Self { payment, expected, attempts, refunds, disputes, log, postings, bound }
    }
}

impl delivery::Rows for Rows {
    /// The model gives every other refusal; what an account's other payments did only the database knows.
    type Rejection = Rejection;
    type Written = ();

    fn write<'a>(
        connection: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<Vec<()>, WriteError<Self::Rejection>>> {
        async move {
            let mut payments: Vec<&PaymentRows> =
                rows.iter().filter_map(|rows| rows.payment.as_ref()).collect();
            payments.sort_by_key(|rows| rows.payment.id);
            let short = |stale: Vec<usize>| match rows.len() {
                1 => WriteError::Stale,
                _ => WriteError::Short(stale),
            };
            let written = write_payments(&mut *connection, &payments).await?;
            if written.len() < payments.len() {
                let stale = |rows: &&Self| {
                    rows.payment.as_ref().is_some_and(|rows| !written.contains(&rows.payment.id))
                };
                return Err(short((0..rows.len()).filter(|row| stale(&rows[*row])).collect()));
            }
            for (row, rows) in rows.iter().enumerate() {
                if let Some(advance) = &rows.advance
                    && !reconciliation::advance(&mut *connection, advance).await?
                {
                    return Err(short(vec![row]));
                }
            }
            let counted = attempts::write(&mut *connection, &payments).await?;
            let refused = attempts::refused(&payments, &counted);
            if !refused.is_empty() && rows.len() == 1 {
                return Err(WriteError::Rejected(Rejection::DeclinesLimit));
            }
            if !refused.is_empty() {
                let is_refused = |rows: &Self| {
                    rows.payment.as_ref().is_some_and(|rows| refused.contains(&rows.payment.id))
                };
                return Err(short((0..rows.len()).filter(|row| is_refused(rows[*row])).collect()));
            }
            write_refunds(&mut *connection, &payments).await?;
            dispute::write(&mut *connection, &payments).await?;
            ledger::write_with_log(&mut *connection, &payments).await?;
            let events: Vec<&ProviderEvent> = rows.iter().filter_map(|rows| rows.event.as_ref()).collect();
            write_events(&mut *connection, events).await?;
            Ok(rows.iter().map(|_| ()).collect())
        }
        .boxed()
    }
}

/// The payments whose rows were where their decisions expected them.
async fn write_payments(db: &mut PgConnection, rows: &[&PaymentRows]) -> Result<HashSet<Uuid>, sqlx::Error> {
    let (new, known): (Vec<&PaymentRows>, Vec<&PaymentRows>) =
        rows.iter().partition(|rows| rows.expected == 0);
    let mut written = HashSet::with_capacity(rows.len());
    // The first statement locks the accounts that are charged directly, so that the one after it, which counts their
    // declines, begins after the locks are held.
    let mut payers = attempts::payers(rows);
    if !new.is_empty() {
        let inserted = bind_payments(
            "with locked as (
               select pg_advisory_xact_lock(hashtextextended('declines:' || payer, 0)) from unnest($29::text[]) as payer)
             insert into payments (id, reservation_id, user_id, email, description, amount, currency, status, stage,
               code, provider_ref, paid_at, version, expires_at, next_check_at, checks, attention, context,
               created_at, updated_at, showtime_id, movie_id, movie_title, show_starts_at, tickets, seats_version,
               hold_expired)
             select id, reservation_id, user_id, email, description, amount, currency, status, stage, code,
               provider_ref, paid_at, version, expires_at, next_check_at, checks, attention, context::json,
               created_at, updated_at, showtime_id, movie_id, movie_title, show_starts_at, tickets, seats_version,
               hold_expired from unnest(
               $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::int8[], $7::text[], $8::text[],
               $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::int8[], $14::timestamptz[],
               $15::timestamptz[], $16::int4[], $17::text[], $18::text[], $19::timestamptz[], $20::timestamptz[],
               $21::int8[], $22::uuid[], $23::uuid[], $24::text[], $25::timestamptz[], $26::int4[],
               $27::int8[], $28::bool[])
               as new (id, reservation_id, user_id, email, description, amount, currency, status, stage, code,
                 provider_ref, paid_at, version, expires_at, next_check_at, checks, attention, context,
                 created_at, updated_at, expected, showtime_id, movie_id, movie_title, show_starts_at, tickets,
                 seats_version, hold_expired)
             where (select count(*) from locked) >= 0
             on conflict do nothing returning id",
            &new,
        );
        let inserted =
            bind_seats(inserted, &new).bind(std::mem::take(&mut payers)).fetch_all(&mut *db).await?;
        written.extend(ids(&inserted)?);
    }
    if known.is_empty() {
        return Ok(written);
    }
    let updated = bind_payments(
        "with locked as (
           select pg_advisory_xact_lock(hashtextextended('declines:' || payer, 0)) from unnest($29::text[]) as payer)
         update payments set email = new.email, description = new.description, status = new.status,
           stage = new.stage, code = new.code, provider_ref = new.provider_ref, paid_at = new.paid_at,
           version = new.version, expires_at = new.expires_at, next_check_at = new.next_check_at,
           checks = new.checks, attention = new.attention, context = new.context::json, updated_at = new.updated_at,
           showtime_id = new.showtime_id, movie_id = new.movie_id, movie_title = new.movie_title,
           show_starts_at = new.show_starts_at, tickets = new.tickets, seats_version = new.seats_version,
           hold_expired = new.hold_expired
         from unnest(
           $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::int8[], $7::text[], $8::text[],
           $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::int8[], $14::timestamptz[],
           $15::timestamptz[], $16::int4[], $17::text[], $18::text[], $19::timestamptz[], $20::timestamptz[],
           $21::int8[], $22::uuid[], $23::uuid[], $24::text[], $25::timestamptz[], $26::int4[], $27::int8[],
           $28::bool[])
           as new (id, reservation_id, user_id, email, description, amount, currency, status, stage, code,
             provider_ref, paid_at, version, expires_at, next_check_at, checks, attention, context, created_at,
             updated_at, expected, showtime_id, movie_id, movie_title, show_starts_at, tickets, seats_version,
             hold_expired)
         where (select count(*) from locked) >= 0 and payments.id = new.id and payments.version = new.expected
         returning payments.id",
        &known,
    );
    let updated = bind_seats(updated, &known).bind(payers).fetch_all(db).await?;
    written.extend(ids(&updated)?);
    Ok(written)
}

fn ids(rows: &[PgRow]) -> Result<Vec<Uuid>, sqlx::Error> {
    rows.iter().map(|row| row.try_get(0)).collect()
}

type PgQuery<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind_payments<'q>(sql: &'static str, rows: &[&'q PaymentRows]) -> PgQuery<'q> {
    fn column<'q, T>(rows: &[&'q PaymentRows], of: impl Fn(&'q Payment) -> T) -> Vec<T> {
        rows.iter().map(|rows| of(&rows.payment)).collect()
    }
    sqlx::query(sql)
        .bind(column(rows, |p| p.id))
        .bind(column(rows, |p| p.reservation_id))
        .bind(column(rows, |p| p.user_id))
        .bind(column(rows, |p| p.email.as_deref()))
        .bind(column(rows, |p| p.description.as_str()))
        .bind(column(rows, |p| p.total.amount))
        .bind(column(rows, |p| p.total.currency.as_str()))
        .bind(column(rows, |p| status_name(p.status())))
        .bind(column(rows, |p| stage_columns(&p.stage).0))
        .bind(column(rows, |p| stage_columns(&p.stage).1))
        .bind(column(rows, |p| stage_columns(&p.stage).2))
        .bind(column(rows, |p| stage_columns(&p.stage).3))
        .bind(column(rows, |p| p.version))
        .bind(column(rows, |p| p.expires_at.date_time()))
        .bind(column(rows, |p| p.next_check_at.map(Timestamp::date_time)))
        .bind(column(rows, |p| p.checks))
        .bind(column(rows, |p| p.attention.as_deref()))
        .bind(column(rows, |p| serde_json::to_string(&p.context).unwrap_or_default()))
        .bind(column(rows, |p| p.created_at.date_time()))
        .bind(column(rows, |p| p.updated_at.date_time()))
        .bind(rows.iter().map(|rows| rows.expected).collect::<Vec<_>>())
}

/// What is paid for, and what of the reservation it is known from.
fn bind_seats<'q>(query: PgQuery<'q>, rows: &[&'q PaymentRows]) -> PgQuery<'q> {
    fn column<'q, T>(rows: &[&'q PaymentRows], of: impl Fn(&'q Sale) -> T) -> Vec<Option<T>> {
        rows.iter().map(|rows| rows.payment.sale.as_ref().map(&of)).collect()
    }
    query
        .bind(column(rows, |sale| sale.showtime_id))
        .bind(column(rows, |sale| sale.movie_id))
        .bind(column(rows, |sale| sale.movie_title.as_str()))
        .bind(column(rows, |sale| sale.starts_at.date_time()))
        .bind(column(rows, |sale| i32::from(sale.tickets)))
        .bind(rows.iter().map(|rows| rows.payment.seats_version).collect::<Vec<_>>())
        .bind(rows.iter().map(|rows| rows.payment.hold_expired).collect::<Vec<_>>())
}

async fn write_refunds(db: &mut PgConnection, rows: &[&PaymentRows]) -> Result<(), sqlx::Error> {
    let mut of: Vec<(Uuid, &Refund)> =
        rows.iter().flat_map(|r| r.refunds.iter().map(|refund| (r.payment.id, refund))).collect();
    if of.is_empty() {
        return Ok(());
    }
    of.sort_by_key(|(_, refund)| refund.id);
    sqlx::query(
        "insert into refunds (id, payment_id, origin, intent, amount, currency, status, provider_ref, tries, code,
           reason, created_at, tried_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int8[], $6::text[], $7::text[],
           $8::text[], $9::int4[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[])
         on conflict (id) do update set status = excluded.status, provider_ref = excluded.provider_ref,
           tries = excluded.tries, code = excluded.code, tried_at = excluded.tried_at",
    )
    .bind(of.iter().map(|(_, r)| r.id).collect::<Vec<_>>())
    .bind(of.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, r)| if r.origin == Origin::Own { "OWN" } else { "ASKED" }).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, r)| r.intent.as_str()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, r)| r.total.amount).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, r)| r.total.currency.as_str()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, r)| refund_name(r.status)).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, r)| r.provider_ref.as_deref()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, r)| r.tries).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, r)| r.code.as_deref()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, r)| r.reason.as_str()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, r)| r.created_at.date_time()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, r)| r.tried_at.date_time()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// The provider's id of an event is the key: a copy changes nothing.
async fn write_events(db: &mut PgConnection, mut events: Vec<&ProviderEvent>) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    events.sort_by(|a, b| a.id.cmp(&b.id));
    sqlx::query(
        "insert into provider_events (id, kind, body, payment_id)
         select * from unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) on conflict do nothing",
    )
    .bind(events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.body.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.payment_id).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}
