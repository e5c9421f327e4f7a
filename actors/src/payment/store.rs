//! Payment's SQL: a payment is one row with its checkpoint and the columns that are searched; the ledger's postings, declined
//! cards, receipts, the provider's events and the reconciliation's cursor are tables.
//!
//! Invariant: a payment's row is written only over the version that was decided on, and its postings, declines and log only
//! together with it. A batch is one statement.
//! Invariant: the declines of an account are counted under a lock of that account, which `lock` takes, so that two hosts cannot
//! both begin the last charge. A charge whose outcome is not known yet counts as declined: it may be.

pub mod erasure;
pub mod receipt;
mod report;
mod statement;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bus::contract::Timestamp;
use bus::contract::payment::{ListPayments, LogEntry, PaymentStatus, Rejection};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

use super::ledger::Posting;
use super::model::{FORMAT, Payment};
use super::receipt::DueReceipt;
use super::step::{LogLine, Step};
use crate::delivery::{self, Loss, Reads, Statement, WriteError};
pub use report::revenue;

/// The rows that one change writes.
#[derive(Debug)]
pub enum Rows {
    Step(Box<PaymentRows>),
    /// An event of the provider that changes no payment.
    Event(ProviderEvent),
    /// A later next check; nothing else changes, so that there is no new version.
    Check {
        id: Uuid,
        version: i64,
        at: Option<Timestamp>,
    },
    Cursor(Advance),
    /// The next numbers of receipts.
    Numbering(receipt::Numbering),
    Buyer(receipt::BuyerRow),
    Signature(receipt::Signature),
}

#[derive(Debug)]
pub struct PaymentRows {
    pub payment: Payment,
    /// 0: it must not be there yet.
    pub expected: i64,
    log: Vec<LogLine>,
    pub postings: Vec<Posting>,
    /// Numbers of the direct charges that this step found declined.
    declined: Vec<i32>,
    receipts: Vec<DueReceipt>,
    event: Option<ProviderEvent>,
    /// Of the direct charge that the step begins.
    bound: Option<Bound>,
}

#[derive(Debug, Clone)]
pub struct ProviderEvent {
    pub id: String,
    pub kind: String,
    pub body: String,
    /// `None` where it is about no payment of ours.
    pub payment_id: Option<Uuid>,
}

/// The bound of a new direct charge.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    pub payer: Uuid,
    /// How many declines there may be, this charge included.
    pub most: usize,
    /// Declines since this time are counted.
    pub since: Timestamp,
}

impl PaymentRows {
    pub fn of(before: &Payment, step: &Step, event: Option<ProviderEvent>, bound: Option<Bound>) -> Self {
        let was_declined = |number| before.attempt(number).is_some_and(|attempt| attempt.is_decline());
        let declined = step.next.attempts.iter().filter(|attempt| attempt.is_decline());
        Self {
            declined: declined.map(|a| a.number).filter(|number| !was_declined(*number)).collect(),
            receipts: super::receipt::due(before, &step.next),
            payment: step.next.clone(),
            expected: before.version,
            log: step.log.clone(),
            postings: step.postings.clone(),
            event,
            bound,
        }
    }
}

impl delivery::Rows for Rows {
    /// The machine gives every other refusal; only the database has an account's other payments.
    type Rejection = Rejection;
    type Written = ();

    const GAUGES: &'static [delivery::Gauge] = &[
        ("payments_attention", "select count(*) from payments where attention is not null"),
        (
            "receipts_oldest_seconds",
            "select extract(epoch from now() - min(due_at)) from receipts where number is null and due_at < now()",
        ),
    ];

    fn is_statement(&self) -> bool {
        !matches!(self, Self::Cursor(_) | Self::Numbering(_))
    }

    fn statement(rows: &[&Self]) -> Statement {
        statement::of(rows)
    }

    fn lock<'a>(
        db: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<(), WriteError<Self::Rejection>>> {
        async move {
            let excess = over_limit(db, rows).await?;
            let refused = excess
                .into_iter()
                .map(|row| (row, Loss::Rejected(Rejection::DeclinesLimit)))
                .collect::<Vec<_>>();
            if refused.is_empty() { Ok(()) } else { Err(WriteError::Lost(refused)) }
        }
        .boxed()
    }

    fn written(rows: &[&Self], _: &Value) -> Vec<()> {
        rows.iter().map(|_| ()).collect()
    }

    /// `found` has the payments whose rows were at the expected version.
    fn lost(rows: &[&Self], found: &Value) -> Vec<(usize, Loss<Self::Rejection>)> {
        let found: HashSet<Uuid> = Deserialize::deserialize(found).unwrap_or_default();
        let is_stale = |rows: &Self| rows.expected_row().is_some_and(|id| !found.contains(&id));
        let stale = rows.iter().enumerate().filter(|(_, rows)| is_stale(rows));
        stale.map(|(row, _)| (row, Loss::Stale)).collect()
    }

    fn write<'a>(
        db: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<Vec<()>, WriteError<Self::Rejection>>> {
        async move {
            for (index, row) in rows.iter().enumerate() {
                let is_written = match row {
                    Self::Cursor(cursor) => advance(db, cursor).await?,
                    Self::Numbering(numbering) => receipt::number(db, numbering).await?,
                    Self::Step(_)
                    | Self::Event(_)
                    | Self::Check { .. }
                    | Self::Buyer(_)
                    | Self::Signature(_) => true,
                };
                if !is_written {
                    return Err(WriteError::Lost(vec![(index, Loss::Stale)]));
                }
            }
            Ok(vec![(); rows.len()])
        }
        .boxed()
    }
}

impl Rows {
    /// The payment whose row must be at the expected version.
    fn expected_row(&self) -> Option<Uuid> {
        match self {
            Self::Step(rows) => Some(rows.payment.id),
            Self::Check { id, .. } => Some(*id),
            Self::Event(_) | Self::Cursor(_) | Self::Numbering(_) | Self::Buyer(_) | Self::Signature(_) => {
                None
            }
        }
    }

    fn bound(&self) -> Option<Bound> {
        match self {
            Self::Step(rows) => rows.bound,
            Self::Event(_)
            | Self::Check { .. }
            | Self::Cursor(_)
            | Self::Numbering(_)
            | Self::Buyer(_)
            | Self::Signature(_) => None,
        }
    }
}

/// Locks the accounts that begin a direct charge, and returns the rows of the batch that begin one too many of their account,
/// the batch's own included.
async fn over_limit(db: &mut PgConnection, rows: &[&Rows]) -> Result<Vec<usize>, sqlx::Error> {
    let mut begun: BTreeMap<Uuid, (i64, Timestamp)> = BTreeMap::new();
    for bound in rows.iter().filter_map(|rows| rows.bound()) {
        begun.entry(bound.payer).or_insert((0, bound.since)).0 += 1;
    }
    let counted: Json<HashMap<Uuid, i64>> = sqlx::query_scalar("select lock_and_count_1($1, $2)")
        .bind(begun.keys().copied().collect::<Vec<_>>())
        .bind(begun.values().map(|(_, since)| since.date_time()).collect::<Vec<_>>())
        .fetch_one(db)
        .await?;
    let count = |payer: &Uuid| counted.0.get(payer).copied().unwrap_or_default() + begun[payer].0;
    let is_over = |bound: Bound| count(&bound.payer) > bound.most as i64;
    Ok((0..rows.len()).filter(|row| rows[*row].bound().is_some_and(is_over)).collect())
}

/// Payments by reservation, those of many requests in one query.
pub fn payments(pool: PgPool) -> Reads<Uuid, Payment> {
    Reads::new(move |reservations: Vec<Uuid>| {
        let pool = pool.clone();
        async move {
            let rows = sqlx::query("select * from payments where reservation_id = any($1)");
            let rows = rows.bind(reservations).fetch_all(&pool).await?;
            let payments = rows.iter().map(read);
            payments.map(|payment| payment.map(|payment| (payment.reservation_id, payment))).collect()
        }
        .boxed()
    })
}

pub async fn payment(pool: &PgPool, id: Uuid) -> Result<Option<Payment>, sqlx::Error> {
    let row = sqlx::query("select * from payments where id = $1").bind(id).fetch_optional(pool).await?;
    row.as_ref().map(read).transpose()
}

/// The reservation whose payment has a part with one of these ids at the provider.
pub async fn reservation_of(pool: &PgPool, references: &[String]) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar("select reservation_id from payments where provider_refs && $1 limit 1")
        .bind(references)
        .fetch_optional(pool)
        .await
}

/// Reservations whose payment has a check due.
pub async fn due(pool: &PgPool) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "select reservation_id from payments where next_check_at <= now() order by next_check_at limit $1",
    )
    .bind(delivery::SWEEP_PAGE)
    .fetch_all(pool)
    .await
}

/// A page of payments, newest first, and how many there are.
pub async fn list(pool: &PgPool, request: &ListPayments) -> Result<(Vec<Payment>, u64), sqlx::Error> {
    // Ids sort by time. Attention has an index of its own, and one reservation has one payment.
    let rows = sqlx::query(
        "select *, count(*) over () total from payments
         where ($1::text is null or status = $1) and ($2::uuid is null or reservation_id = $2)
           and ($3::bool is null or (attention is not null) = $3)
         order by id desc limit $4 offset $5",
    )
    .bind(request.status.map(status_name))
    .bind(request.reservation_id)
    .bind(request.attention)
    .bind(request.paging.limit())
    .bind(request.paging.offset())
    .fetch_all(pool)
    .await?;
    let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get("total"))?;
    Ok((rows.iter().map(read).collect::<Result<_, _>>()?, total as u64))
}

/// The log with the provider's events, by time; the newest thousand lines.
pub async fn log(pool: &PgPool, payment: Uuid) -> Result<Vec<LogEntry>, sqlx::Error> {
    let rows = sqlx::query(
        "(select line.at, line.entry, line.detail, line.number from payments,
            rows from (jsonb_to_recordset(log) as (at timestamptz, entry text, detail text)) with ordinality
              as line (at, entry, detail, number)
          where id = $1)
         union all
         (select received_at, 'provider event', id || ' ' || kind, 0 from provider_events where payment_id = $1
          order by received_at desc limit 1000)
         order by 1 desc, 4 desc limit 1000",
    )
    .bind(payment)
    .fetch_all(pool)
    .await?;
    let line = |row: &sqlx::postgres::PgRow| {
        let at: OffsetDateTime = row.try_get(0)?;
        let detail: String = row.try_get(2)?;
        let detail = Some(detail).filter(|detail| !detail.is_empty());
        Ok(LogEntry { at: at.into(), entry: row.try_get(1)?, detail })
    };
    rows.iter().rev().map(line).collect()
}

fn read(row: &sqlx::postgres::PgRow) -> Result<Payment, sqlx::Error> {
    let Json(checkpoint): Json<Value> = row.try_get("checkpoint")?;
    let format = checkpoint["format"].as_u64().unwrap_or_default();
    if format != u64::from(FORMAT) {
        // Transient for this host: another version of it can read the row.
        let why =
            format!("the payment's checkpoint has format {format}; this host reads and writes {FORMAT}");
        return Err(sqlx::Error::Decode(why.into()));
    }
    let payment: Payment =
        serde_json::from_value(checkpoint).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let next_check_at: Option<OffsetDateTime> = row.try_get("next_check_at")?;
    Ok(Payment {
        version: row.try_get("version")?,
        next_check_at: next_check_at.map(Timestamp::from),
        ..payment
    })
}

fn status_name(status: PaymentStatus) -> &'static str {
    match status {
        PaymentStatus::Open => "OPEN",
        PaymentStatus::Processing => "PROCESSING",
        PaymentStatus::Succeeded => "SUCCEEDED",
        PaymentStatus::Failed => "FAILED",
        PaymentStatus::PartiallyRefunded => "PARTIALLY_REFUNDED",
        PaymentStatus::Refunded => "REFUNDED",
    }
}

/// How far the provider's list of events has been read. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor {
    /// All events before this time are read.
    pub since: i64,
    pub pass: Option<Pass>,
}

/// A list that is being read, newest first, back to `since`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    pub began: i64,
    /// The last event that was read.
    pub after: Option<String>,
}

/// Writes the cursor over the version that was read, and keeps the other hosts from reading for a while.
#[derive(Debug, Clone)]
pub struct Advance {
    pub expected: i64,
    pub cursor: Cursor,
    pub pause: Duration,
}

/// The cursor with its version; `None` while it is not yet time, or another host is reading.
pub async fn due_cursor(pool: &PgPool) -> Result<Option<(i64, Cursor)>, sqlx::Error> {
    let row = sqlx::query(
        "select version, since, pass_began, pass_after from reconciliation where next_run_at <= now()",
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let began: Option<i64> = row.try_get("pass_began")?;
    let after = row.try_get("pass_after")?;
    let cursor = Cursor { since: row.try_get("since")?, pass: began.map(|began| Pass { began, after }) };
    Ok(Some((row.try_get("version")?, cursor)))
}

/// Of these events, those that are stored.
pub async fn known_events(pool: &PgPool, ids: &[&str]) -> Result<HashSet<String>, sqlx::Error> {
    let stored = sqlx::query_scalar("select id from provider_events where id = any($1)").bind(ids);
    Ok(stored.fetch_all(pool).await?.into_iter().collect())
}

/// Whether the cursor was where it was expected.
async fn advance(db: &mut PgConnection, advance: &Advance) -> Result<bool, sqlx::Error> {
    let Advance { expected, cursor, pause } = advance;
    let done = sqlx::query(
        "update reconciliation set version = version + 1, since = $2, pass_began = $3, pass_after = $4,
           next_run_at = now() + make_interval(secs => $5)
         where version = $1",
    )
    .bind(expected)
    .bind(cursor.since)
    .bind(cursor.pass.as_ref().map(|pass| pass.began))
    .bind(cursor.pass.as_ref().and_then(|pass| pass.after.as_deref()))
    .bind(pause.as_secs_f64())
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
