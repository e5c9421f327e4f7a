//! The SQL of receipts and credit notes: they get their numbers, are read, signed, and made out to a buyer.
//!
//! Invariant: numbers have no gaps. The documents, their numbers and the counter of the series are one commit, under a lock of the
//! series; a host that finds it locked leaves the work to the other one.
//! Invariant: a document with a number does not change any more; only the signature is added (trigger `receipts_stay`).

use bus::contract::payment::{Buyer, Receipt, ReceiptKind, Seller};
use bus::contract::{Currency, Money, Timestamp};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::payment::receipt::Content;

/// There is one cinema today. Not its name, which may change in the middle of a year.
const SITE: &str = "main";
const KINDS: [ReceiptKind; 2] = [ReceiptKind::CreditNote, ReceiptKind::Receipt];
/// Documents that one transaction numbers: it takes some milliseconds, in which the journal writes no sale.
pub const BATCH_MAX: i64 = 100;
/// Documents of one order that are read: with a hundred tickets on the first, below the size of a message.
const OF_AN_ORDER_MAX: i64 = 200;
/// Documents that are read at once to be signed.
const SIGNED_MAX: i64 = 20;

/// The next numbers for up to [`BATCH_MAX`] documents.
#[derive(Debug)]
pub struct Numbering {
    /// Of `at`, by the cinema's clock.
    pub year: i16,
    pub at: Timestamp,
    pub seller: Seller,
    /// Whether a fiscal service signs them.
    pub is_signed: bool,
}

#[derive(Debug, Serialize)]
pub struct BuyerRow {
    pub reservation_id: Uuid,
    pub buyer: Buyer,
}

#[derive(Debug, Serialize)]
pub struct Signature {
    pub kind: &'static str,
    pub cause: Uuid,
    pub signature: String,
}

/// How many documents have no number yet; one more than [`BATCH_MAX`] where there are more.
pub async fn due(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from (select from receipts where number is null limit $1) as due")
        .bind(BATCH_MAX + 1)
        .fetch_one(pool)
        .await
}

/// Numbers the oldest documents. False where another host has locked the series.
pub async fn number(db: &mut PgConnection, numbering: &Numbering) -> Result<bool, sqlx::Error> {
    if !lock(db, numbering.year).await? {
        begin_series(db, numbering).await?;
        if !lock(db, numbering.year).await? {
            return Ok(false);
        }
    }
    // A statement of its own: it sees the counters as they are under the lock. The documents are locked before they are counted;
    // at New Year another host may number them in another year's series.
    sqlx::query(
        "with due as (
           select kind, cause, row_number() over (partition by kind order by due_at, cause) as place
           from (select kind, cause, due_at from receipts where number is null order by due_at, cause limit $1
                 for update skip locked) as oldest),
         numbered as (
           update receipts r set site = s.site, year = s.year, number = s.last_number + due.place,
             issued_at = greatest(s.issued_at, $2), seller = $3, is_signed = $4
           from due join receipt_series s on (s.site, s.kind, s.year) = ($5, due.kind, $6)
           where r.kind = due.kind and r.cause = due.cause)
         update receipt_series s set last_number = s.last_number + counted.documents + $7,
           issued_at = greatest(s.issued_at, $2)
         from (select kind, count(*) as documents from due group by kind) as counted
         where (s.site, s.kind, s.year) = ($5, counted.kind, $6)",
    )
    .bind(BATCH_MAX)
    .bind(numbering.at.date_time())
    .bind(Json(&numbering.seller))
    .bind(numbering.is_signed)
    .bind(SITE)
    .bind(numbering.year)
    .bind(skipped())
    .execute(db)
    .await?;
    Ok(true)
}

/// Locks both series of a year. False where one does not exist yet, or another host has locked it.
async fn lock(db: &mut PgConnection, year: i16) -> Result<bool, sqlx::Error> {
    let series = sqlx::query(
        "select from receipt_series where site = $1 and year = $2 order by kind for update skip locked",
    );
    let locked = series.bind(SITE).bind(year).fetch_all(db).await?;
    Ok(locked.len() == KINDS.len())
}

async fn begin_series(db: &mut PgConnection, numbering: &Numbering) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into receipt_series (site, kind, year, last_number, issued_at)
         select $1, kind, $2, 0, $3 from unnest($4::text[]) as kind
         where not exists (select from receipt_series s where (s.site, s.kind, s.year) = ($1, kind, $2))
         on conflict do nothing",
    )
    .bind(SITE)
    .bind(numbering.year)
    .bind(numbering.at.date_time())
    .bind(KINDS.map(ReceiptKind::as_str).as_slice())
    .execute(db)
    .await?;
    Ok(())
}

/// Numbers that are left out after a batch: the planted bug *a receipt's number is skipped*.
fn skipped() -> i64 {
    #[cfg(feature = "planted")]
    if bus::config::planted("skip-a-number") {
        return 1;
    }
    0
}

/// With the document that each one takes back: of a credit note the receipt of the capture, of a refund that the bank sent back
/// the credit note.
const DOCUMENT: &str = "select r.*, b.buyer, c.year as corrected_year, c.number as corrected_number
    from receipts r left join buyers b using (reservation_id)
    left join receipts c on c.number is not null
      and c.kind = case r.kind when 'CREDIT_NOTE' then 'RECEIPT' else 'CREDIT_NOTE' end
      and c.cause = case r.kind when 'CREDIT_NOTE' then coalesce((r.content ->> 'capturedBy')::uuid, r.payment_id)
        else r.cause end";

/// The documents of an order, oldest first.
pub async fn of_order(pool: &PgPool, reservation: Uuid) -> Result<Vec<Receipt>, sqlx::Error> {
    let query = format!(
        "{DOCUMENT} where r.reservation_id = $1 and r.number is not null order by r.due_at, r.cause limit $2"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(reservation).bind(OF_AN_ORDER_MAX);
    rows.fetch_all(pool).await?.iter().map(|row| read(row).map(|(receipt, _)| receipt)).collect()
}

/// Documents that a fiscal service has to sign yet, each with its cause, oldest first, from the one after `after`.
pub async fn unsigned(
    pool: &PgPool,
    after: Option<(Timestamp, Uuid)>,
) -> Result<Vec<(Receipt, Uuid)>, sqlx::Error> {
    let query = format!(
        "{DOCUMENT} where r.is_signed and r.signature is null
           and ($1::timestamptz is null or (r.issued_at, r.cause) > ($1, $2))
         order by r.issued_at, r.cause limit $3"
    );
    let (at, cause) = after.unzip();
    let rows = sqlx::query(sqlx::AssertSqlSafe(query))
        .bind(at.map(Timestamp::date_time))
        .bind(cause)
        .bind(SIGNED_MAX)
        .fetch_all(pool)
        .await?;
    rows.iter().map(read).collect()
}

pub async fn buyer(pool: &PgPool, reservation: Uuid) -> Result<Option<Buyer>, sqlx::Error> {
    let buyer = sqlx::query_scalar("select buyer from buyers where reservation_id = $1").bind(reservation);
    let buyer: Option<Json<Buyer>> = buyer.fetch_optional(pool).await?;
    Ok(buyer.map(|buyer| buyer.0))
}

/// A document with its cause.
fn read(row: &PgRow) -> Result<(Receipt, Uuid), sqlx::Error> {
    let (kind, other) = match row.try_get::<&str, _>("kind")? {
        "RECEIPT" => (ReceiptKind::Receipt, ReceiptKind::CreditNote),
        _ => (ReceiptKind::CreditNote, ReceiptKind::Receipt),
    };
    let corrected: Option<i64> = row.try_get("corrected_number")?;
    let corrected_year: Option<i16> = row.try_get("corrected_year")?;
    let currency = Currency::parse(row.try_get("currency")?)
        .ok_or_else(|| sqlx::Error::Decode("a currency that is not known".into()))?;
    let issued_at: OffsetDateTime = row.try_get("issued_at")?;
    let Json(content): Json<Content> = row.try_get("content")?;
    let Json(seller): Json<Seller> = row.try_get("seller")?;
    let buyer: Option<Json<Buyer>> = row.try_get("buyer")?;
    let receipt = Receipt {
        kind,
        number: number_of(kind, row.try_get("year")?, row.try_get("number")?),
        corrects: corrected_year.zip(corrected).map(|(year, number)| number_of(other, year, number)),
        reservation_id: row.try_get("reservation_id")?,
        order_code: content.order_code,
        issued_at: issued_at.into(),
        description: content.description,
        lines: content.lines,
        fees: content.fees,
        taxes: content.taxes,
        total: Money { amount: row.try_get("amount")?, currency },
        seller,
        buyer: buyer.map(|buyer| buyer.0),
        locale: content.locale,
        signature: row.try_get("signature")?,
    };
    Ok((receipt, row.try_get("cause")?))
}

fn number_of(kind: ReceiptKind, year: i16, number: i64) -> String {
    format!("{}-{year}-{number:06}", kind.prefix())
}
