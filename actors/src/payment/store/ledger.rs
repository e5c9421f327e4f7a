//! Writes the ledger, in one statement with the log: on the way of every sale it must not cost a round trip of its own.
//! A trigger of the table checks that what a statement adds sums to zero.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::super::ledger::{Posting, Show};
use super::super::model::{Line, Payment};
use super::write::PaymentRows;

pub async fn write_with_log(db: &mut PgConnection, rows: &[&PaymentRows]) -> Result<(), sqlx::Error> {
    let lines: Vec<(&Payment, &Line)> =
        rows.iter().flat_map(|r| r.log.iter().map(|line| (&r.payment, line))).collect();
    let postings: Vec<(&Payment, &Posting)> =
        rows.iter().flat_map(|r| r.postings.iter().map(|posting| (&r.payment, posting))).collect();
    if lines.is_empty() && postings.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "with booked as (
           insert into postings (payment_id, transaction, account, amount, currency, tickets, entry, at, leg, showtime_id,
             movie_id, movie_title, starts_at)
           select * from unnest($5::uuid[], $6::text[], $7::text[], $8::int8[], $9::text[], $10::int4[], $11::text[],
             $12::timestamptz[], $13::int2[], $14::uuid[], $15::uuid[], $16::text[], $17::timestamptz[]))
         insert into log (payment_id, at, entry, detail)
         select * from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[])",
    )
    .bind(lines.iter().map(|(p, _)| p.id).collect::<Vec<_>>())
    .bind(lines.iter().map(|(p, _)| p.updated_at.date_time()).collect::<Vec<OffsetDateTime>>())
    .bind(lines.iter().map(|(_, line)| line.entry).collect::<Vec<_>>())
    .bind(lines.iter().map(|(_, line)| line.detail.as_str()).collect::<Vec<_>>())
    .bind(postings.iter().map(|(p, _)| p.id).collect::<Vec<_>>())
    .bind(postings.iter().map(|(_, b)| b.transaction.as_str()).collect::<Vec<_>>())
    .bind(postings.iter().map(|(_, b)| b.account.as_str()).collect::<Vec<_>>())
    .bind(postings.iter().map(|(_, b)| b.total.amount).collect::<Vec<_>>())
    .bind(postings.iter().map(|(_, b)| b.total.currency.as_str()).collect::<Vec<_>>())
    .bind(postings.iter().map(|(_, b)| b.tickets as i32).collect::<Vec<_>>())
    .bind(postings.iter().map(|(_, b)| b.entry).collect::<Vec<_>>())
    .bind(postings.iter().map(|(p, _)| p.updated_at.date_time()).collect::<Vec<OffsetDateTime>>())
    .bind(postings.iter().map(|(_, b)| b.leg).collect::<Vec<_>>())
    .bind(of_show(&postings, |show| show.showtime_id))
    .bind(of_show(&postings, |show| show.movie_id))
    .bind(of_show(&postings, |show| show.movie_title.as_str()))
    .bind(of_show(&postings, |show| show.starts_at.date_time()))
    .execute(db)
    .await?;
    Ok(())
}

fn of_show<'a, T>(postings: &[(&'a Payment, &'a Posting)], of: impl Fn(&'a Show) -> T) -> Vec<Option<T>> {
    postings.iter().map(|(_, posting)| posting.show.as_ref().map(&of)).collect()
}
