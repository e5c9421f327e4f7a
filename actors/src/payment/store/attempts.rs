//! Writes attempts, and counts with them how many direct charges of an account were declined.
//!
//! Invariant: attempts of one account are counted under a lock of that account, which the statement before takes, so that
//! two hosts cannot both begin the last one. A charge whose outcome is not known yet counts as declined: it may be.

use std::collections::HashMap;

use bus::contract::Timestamp;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::super::hear::NO_SUCH_METHOD;
use super::super::model::Attempt;
use super::columns::{kind_columns, state_name};
use super::write::PaymentRows;

/// The bound of a new direct charge.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    pub payer: Uuid,
    /// The new attempt.
    pub number: i32,
    /// How many declines there may be.
    pub most: usize,
    /// Counted from here.
    pub since: Timestamp,
}

/// The accounts that a batch charges directly, in the order in which every host locks them.
pub fn payers(rows: &[&PaymentRows]) -> Vec<String> {
    let mut payers: Vec<String> =
        rows.iter().filter_map(|rows| Some(rows.bound?.payer.to_string())).collect();
    payers.sort_unstable();
    payers.dedup();
    payers
}

/// The payments whose new charge is one too many, by what the database counted of each account before this batch.
pub fn refused(rows: &[&PaymentRows], counted: &HashMap<Uuid, usize>) -> Vec<Uuid> {
    let bounded = rows.iter().filter_map(|rows| Some((rows, rows.bound?)));
    let over = bounded.filter(|(_, bound)| {
        let together = rows.iter().filter(|rows| rows.bound.is_some_and(|other| other.payer == bound.payer));
        counted.get(&bound.payer).copied().unwrap_or_default() + together.count() > bound.most
    });
    over.map(|(rows, _)| rows.payment.id).collect()
}

/// Writes attempts, and returns how many direct charges of each bounded account were declined before, or may be.
pub async fn write(
    db: &mut PgConnection,
    rows: &[&PaymentRows],
) -> Result<HashMap<Uuid, usize>, sqlx::Error> {
    let of: Vec<(&PaymentRows, &Attempt)> =
        rows.iter().flat_map(|r| r.attempts.iter().map(move |attempt| (*r, attempt))).collect();
    if of.is_empty() {
        return Ok(HashMap::new());
    }
    let (kinds, pages): (Vec<(&str, Option<&str>)>, Vec<Option<i64>>) =
        of.iter().map(|(_, a)| kind_columns(&a.kind)).unzip();
    let (kinds, methods): (Vec<&str>, Vec<Option<&str>>) = kinds.into_iter().unzip();
    let payer = |rows: &PaymentRows, attempt: &Attempt| {
        rows.bound.filter(|bound| bound.number == attempt.number).map(|bound| bound.payer)
    };
    let bounds: Vec<Bound> = rows.iter().filter_map(|rows| rows.bound).collect();
    // The count does not see what the same statement writes.
    let counted = sqlx::query(
        "with written as (
           insert into attempts (payment_id, number, kind, state, method, page_ends_at, intent, session, checkout_url,
             code, claim_user, claim_key, created_at, payer)
           select * from unnest($1::uuid[], $2::int4[], $3::text[], $4::text[], $5::text[], $6::int8[], $7::text[],
             $8::text[], $9::text[], $10::text[], $11::uuid[], $12::text[], $13::timestamptz[], $14::uuid[])
           on conflict (payment_id, number) do update set state = excluded.state, method = excluded.method,
             intent = excluded.intent, session = excluded.session, checkout_url = excluded.checkout_url,
             code = excluded.code, claim_user = excluded.claim_user, claim_key = excluded.claim_key)
         select bound.payer, (
           select count(*) from attempts
           where attempts.payer = bound.payer and attempts.created_at > bound.since
             and state in ('OPENING', 'OPEN', 'CLOSING', 'DECLINED') and code is distinct from $17)
         from unnest($15::uuid[], $16::timestamptz[]) as bound (payer, since)",
    )
    .bind(of.iter().map(|(r, _)| r.payment.id).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, a)| a.number).collect::<Vec<_>>())
    .bind(kinds)
    .bind(of.iter().map(|(_, a)| state_name(a.state)).collect::<Vec<_>>())
    .bind(methods)
    .bind(pages)
    .bind(of.iter().map(|(_, a)| a.intent.as_deref()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, a)| a.session.as_deref()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, a)| a.checkout_url.as_deref()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, a)| a.code.as_deref()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, a)| a.claim.as_ref().map(|key| key.user_id)).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, a)| a.claim.as_ref().map(|key| key.key.as_str())).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, a)| a.created_at.date_time()).collect::<Vec<_>>())
    .bind(of.iter().map(|(r, a)| payer(r, a)).collect::<Vec<_>>())
    .bind(bounds.iter().map(|bound| bound.payer).collect::<Vec<_>>())
    .bind(bounds.iter().map(|bound| bound.since.date_time()).collect::<Vec<_>>())
    .bind(NO_SUCH_METHOD)
    .fetch_all(db)
    .await?;
    counted.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)? as usize))).collect()
}
