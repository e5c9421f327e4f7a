//! Payment's SQL. Here the reads: a payment with all that belongs to it in one statement, so that it is never torn.
//! Writing is in `write`, set-based, with the ledger and disputes beside it; `report` reads the ledger.

mod attempts;
mod columns;
mod dispute;
mod ledger;
mod reconciliation;
mod report;
mod write;

pub use attempts::Bound;
pub use reconciliation::{Advance, Cursor, Pass, due as due_cursor, known_events};
pub use report::revenue;
pub use write::{PaymentRows, ProviderEvent, Rows};

use bus::Context;
use bus::contract::payment::{ListPayments, LogEntry, Pay};
use bus::contract::reservation::{RefundStatus, Sale};
use bus::contract::{Currency, Money, Request, Timestamp};
use futures::FutureExt;
use serde::Deserialize;
use sqlx::types::Json;
use sqlx::{PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::model::{Attempt, Kind, Origin, Payment, Refund, Stage, State};
use crate::delivery::{self, IdempotencyKey, Reads};

/// Payments by reservation, many askers to a query.
pub fn payments(pool: PgPool) -> Reads<Uuid, Payment> {
    Reads::new(move |reservations: Vec<Uuid>| {
        let pool = pool.clone();
        async move {
            let found = find(&pool, "p.reservation_id = any($1)", &reservations).await?;
            Ok(found.into_iter().map(|payment| (payment.reservation_id, payment)).collect())
        }
        .boxed()
    })
}

pub async fn payment(pool: &PgPool, id: Uuid) -> Result<Option<Payment>, sqlx::Error> {
    Ok(find(pool, "p.id = any($1)", &[id]).await?.pop())
}

/// The reservation whose payment has an attempt or a refund of this name at the provider.
pub async fn reservation_of(pool: &PgPool, references: &[String]) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "select p.reservation_id from payments p where p.id in (
           select payment_id from attempts where intent = any($1)
           union all select payment_id from attempts where session = any($1)
           union all select payment_id from refunds where provider_ref = any($1)) limit 1",
    )
    .bind(references)
    .fetch_optional(pool)
    .await
}

/// Reservations whose payment is to be asked about.
pub async fn due(pool: &PgPool) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "select reservation_id from payments where next_check_at <= now() order by next_check_at limit $1",
    )
    .bind(delivery::SWEEP_PAGE)
    .fetch_all(pool)
    .await
}

/// A page of payments, newest first, and how many there are.
pub async fn list(pool: &PgPool, asked: &ListPayments) -> Result<(Vec<Payment>, u64), sqlx::Error> {
    // Ids sort by time. Attention has an index of its own, and one reservation has one payment.
    let rows = sqlx::query(
        "select id, count(*) over () total from payments
         where ($1::text is null or status = $1) and ($2::uuid is null or reservation_id = $2)
           and ($3::bool is null or (attention is not null) = $3)
         order by id desc limit $4 offset $5",
    )
    .bind(asked.status.map(columns::status_name))
    .bind(asked.reservation_id)
    .bind(asked.attention)
    .bind(asked.paging.limit())
    .bind(asked.paging.offset())
    .fetch_all(pool)
    .await?;
    let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get("total"))?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
    let mut payments = find(pool, "p.id = any($1)", &ids).await?;
    payments.sort_by_key(|payment| std::cmp::Reverse(payment.id));
    Ok((payments, total as u64))
}

/// Steps and provider's events in the order in which they were written. The newest thousand lines: a payment that is asked
/// about for weeks has more than anybody reads.
pub async fn log(pool: &PgPool, payment: Uuid) -> Result<Vec<LogEntry>, sqlx::Error> {
    let rows =
        sqlx::query(
            "(select at, entry, detail, id from log where payment_id = $1 order by id desc limit 1000)
             union all
             (select received_at, 'provider event', id || ' ' || kind, 0 from provider_events where payment_id = $1
              order by received_at desc limit 1000)
             order by at desc, id desc limit 1000",
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

async fn find(pool: &PgPool, condition: &'static str, ids: &[Uuid]) -> Result<Vec<Payment>, sqlx::Error> {
    let sql = format!(
        "select p.*,
           (select coalesce(json_agg(a order by a.number), '[]') from attempts a where a.payment_id = p.id) attempts,
           (select coalesce(json_agg(r order by r.created_at, r.id), '[]') from refunds r
            where r.payment_id = p.id) refunds,
           (select coalesce(json_agg(d order by d.created_at, d.id), '[]') from disputes d
            where d.payment_id = p.id) disputes
         from payments p where {condition}"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(ids).fetch_all(pool).await?;
    rows.iter().map(read).collect()
}

fn read(row: &sqlx::postgres::PgRow) -> Result<Payment, sqlx::Error> {
    let time = |name: &str| row.try_get::<OffsetDateTime, _>(name).map(Timestamp::from);
    let code = || row.try_get::<Option<String>, _>("code").map(Option::unwrap_or_default);
    let stage: String = row.try_get("stage")?;
    let stage = match stage.as_str() {
        "PAYABLE" => Stage::Payable,
        "ENDING" => Stage::Ending { code: code()? },
        "OVER" => Stage::Over { code: code()? },
        "CAPTURED" => {
            Stage::Captured { provider_ref: row.try_get("provider_ref")?, paid_at: time("paid_at")? }
        }
        other => return Err(unreadable(format!("stage {other}"))),
    };
    let attempts: Json<Vec<AttemptRow>> = row.try_get("attempts")?;
    let refunds: Json<Vec<RefundRow>> = row.try_get("refunds")?;
    let disputes: Json<Vec<dispute::DisputeRow>> = row.try_get("disputes")?;
    let context: Json<Context> = row.try_get("context")?;
    let next_check_at: Option<OffsetDateTime> = row.try_get("next_check_at")?;
    Ok(Payment {
        id: row.try_get("id")?,
        reservation_id: row.try_get("reservation_id")?,
        user_id: row.try_get("user_id")?,
        email: row.try_get("email")?,
        description: row.try_get("description")?,
        sale: sale(row)?,
        seats_version: row.try_get("seats_version")?,
        hold_expired: row.try_get("hold_expired")?,
        total: money(row.try_get("amount")?, row.try_get("currency")?)?,
        stage,
        version: row.try_get("version")?,
        expires_at: time("expires_at")?,
        attempts: attempts.0.into_iter().map(AttemptRow::read).collect::<Result<_, _>>()?,
        refunds: refunds.0.into_iter().map(RefundRow::read).collect::<Result<_, _>>()?,
        disputes: disputes.0.into_iter().map(dispute::DisputeRow::read).collect::<Result<_, _>>()?,
        next_check_at: next_check_at.map(Timestamp::from),
        checks: row.try_get("checks")?,
        attention: row.try_get("attention")?,
        context: context.0,
        created_at: time("created_at")?,
        updated_at: time("updated_at")?,
    })
}

fn sale(row: &sqlx::postgres::PgRow) -> Result<Option<Sale>, sqlx::Error> {
    let Some(showtime_id) = row.try_get("showtime_id")? else { return Ok(None) };
    let tickets: i32 = row.try_get("tickets")?;
    Ok(Some(Sale {
        showtime_id,
        movie_id: row.try_get("movie_id")?,
        movie_title: row.try_get("movie_title")?,
        starts_at: row.try_get::<OffsetDateTime, _>("show_starts_at")?.into(),
        tickets: u16::try_from(tickets).map_err(|_| unreadable(format!("number of tickets {tickets}")))?,
    }))
}

#[derive(Deserialize)]
struct AttemptRow {
    number: i32,
    kind: String,
    state: String,
    method: Option<String>,
    page_ends_at: Option<i64>,
    intent: Option<String>,
    session: Option<String>,
    checkout_url: Option<String>,
    code: Option<String>,
    claim_user: Option<Uuid>,
    claim_key: Option<String>,
    created_at: Timestamp,
}

impl AttemptRow {
    fn read(self) -> Result<Attempt, sqlx::Error> {
        let claim = self.claim_user.zip(self.claim_key);
        Ok(Attempt {
            number: self.number,
            kind: match (self.kind.as_str(), self.page_ends_at) {
                ("TOKEN", _) => Kind::Token { method: self.method },
                ("HOSTED", Some(ends_at)) => Kind::Hosted { ends_at },
                (other, _) => return Err(unreadable(format!("attempt of kind {other}"))),
            },
            state: match self.state.as_str() {
                "OPENING" => State::Opening,
                "OPEN" => State::Open,
                "CLOSING" => State::Closing,
                "CAPTURED" => State::Captured,
                "DECLINED" => State::Declined,
                "CLOSED" => State::Closed,
                other => return Err(unreadable(format!("attempt in state {other}"))),
            },
            intent: self.intent,
            session: self.session,
            checkout_url: self.checkout_url,
            code: self.code,
            claim: claim.map(|(user_id, key)| IdempotencyKey { user_id, route: Pay::SUBJECT, key }),
            created_at: self.created_at,
        })
    }
}

#[derive(Deserialize)]
struct RefundRow {
    id: Uuid,
    origin: String,
    intent: String,
    amount: i64,
    currency: String,
    status: RefundStatus,
    provider_ref: Option<String>,
    tries: i32,
    code: Option<String>,
    reason: String,
    created_at: Timestamp,
    tried_at: Timestamp,
}

impl RefundRow {
    fn read(self) -> Result<Refund, sqlx::Error> {
        Ok(Refund {
            id: self.id,
            origin: if self.origin == "OWN" { Origin::Own } else { Origin::Asked },
            intent: self.intent,
            total: money(self.amount, self.currency)?,
            status: self.status,
            provider_ref: self.provider_ref,
            tries: self.tries,
            code: self.code,
            reason: self.reason,
            created_at: self.created_at,
            tried_at: self.tried_at,
        })
    }
}

fn money(amount: i64, currency: String) -> Result<Money, sqlx::Error> {
    let currency = Currency::parse(&currency).ok_or_else(|| unreadable(format!("currency {currency}")))?;
    Ok(Money { amount, currency })
}

/// A newer host wrote what this one does not know.
fn unreadable(what: String) -> sqlx::Error {
    sqlx::Error::Decode(format!("a payment's row has an unknown {what}").into())
}
