//! The revenue report, read from the ledger.

use bus::contract::payment::{ReportRevenue, Revenue, RevenueBy, RevenueReport, RevenueRow};
use bus::contract::{Currency, Money, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use time::{Date, OffsetDateTime};

use crate::zone;

/// The sums of one group of postings. Sales are credits, so their sign is turned. What was waived is in
/// them, as in the ticket reports.
const SUMS: &str = "
  b.currency,
  coalesce(-sum(b.amount) filter (where b.account = 'SALES'), 0)::int8 gross,
  coalesce(sum(b.amount) filter (where b.account = 'REFUNDS'), 0)::int8 refunded,
  coalesce(sum(b.amount) filter (where b.account in ('DISPUTED', 'CHARGEBACKS')), 0)::int8 disputed,
  sum(b.tickets)::int8 tickets";

/// Whether any of these sums is not zero.
const SOME: &str = "
  sum(b.tickets) <> 0
  or sum(b.amount) filter (where b.account = 'SALES') <> 0
  or sum(b.amount) filter (where b.account = 'REFUNDS') <> 0
  or sum(b.amount) filter (where b.account in ('DISPUTED', 'CHARGEBACKS')) <> 0";

/// Postings from the first to the last of the instants in $1. Each is the beginning of a day, whatever the clocks did; the
/// last one is the end of the last day. The showtimes in $2 are an own condition, so that their index is used.
fn postings(request: &ReportRevenue) -> String {
    let showtimes = match request.showtime_ids {
        Some(_) => "b.showtime_id = any($2::uuid[])",
        None => "$2::uuid[] is null",
    };
    format!(
        "from postings b
         where b.at >= ($1::timestamptz[])[1]
           and b.at < ($1::timestamptz[])[array_upper($1::timestamptz[], 1)]
           and b.account in ('SALES', 'REFUNDS', 'DISPUTED', 'CHARGEBACKS')
           and {showtimes}"
    )
}

pub async fn revenue(pool: &PgPool, request: &ReportRevenue) -> Result<RevenueReport, sqlx::Error> {
    let (from, starts) =
        day_starts(request).ok_or_else(|| sqlx::Error::Decode("the report has no days".into()))?;
    // Of one group all postings name one movie, and one start unless the showtime was moved: the last one counts. A group
    // that all money and tickets have left by exchanges is no line.
    let (columns, group, order) = match request.by {
        RevenueBy::Day => (
            "day",
            // Which of the days, counted from 1.
            "width_bucket(b.at, $1::timestamptz[]) as day, null::uuid as movie_id, null::uuid as showtime_id",
            "day",
        ),
        RevenueBy::Movie => (
            "movie_id, max(movie_title) as movie_title",
            "null::int as day, b.movie_id, null::uuid as showtime_id",
            "movie_title, movie_id",
        ),
        RevenueBy::Showtime => (
            "movie_id, max(movie_title) as movie_title, showtime_id, max(starts_at) as starts_at",
            "null::int as day, b.movie_id, b.showtime_id",
            "starts_at, showtime_id",
        ),
    };
    let postings = postings(request);
    let sql = format!(
        "select {columns}, {SUMS}, count(*) over () as total
         from (select {group}, b.movie_title, b.starts_at, b.account, b.amount, b.currency, b.tickets
               {postings}) b
         group by day, movie_id, showtime_id, b.currency having {SOME}
         order by {order}, b.currency limit $3 offset $4"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&starts)
        .bind(&request.showtime_ids)
        .bind(request.paging.limit())
        .bind(request.paging.offset())
        .fetch_all(pool)
        .await?;
    let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get("total"))?;
    let items = rows.iter().map(|row| line(row, request.by, from)).collect::<Result<_, _>>()?;
    let sql = format!("select {SUMS} {postings} group by b.currency order by b.currency");
    let totals = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&starts).bind(&request.showtime_ids);
    let totals = totals.fetch_all(pool).await?.iter().map(sums).collect::<Result<_, _>>()?;
    Ok(RevenueReport {
        by: request.by,
        from: request.from.clone(),
        to: request.to.clone(),
        time_zone: request.time_zone.clone(),
        totals,
        lines: request.paging.of(items, total as u64),
    })
}

/// The first day, and the beginnings of all days and of the one after the last.
fn day_starts(request: &ReportRevenue) -> Option<(Date, Vec<OffsetDateTime>)> {
    let (from, to) = request.days()?;
    let zone = zone::any(&request.time_zone)?;
    let end = to.next_day()?;
    let days = std::iter::successors(Some(from), |day| day.next_day()).take_while(|day| *day <= end);
    let starts = days.map(|day| Some(zone::day_start(day, &zone)?.date_time()));
    Some((from, starts.collect::<Option<_>>()?))
}

fn line(row: &PgRow, by: RevenueBy, first: Date) -> Result<RevenueRow, sqlx::Error> {
    let mut line = RevenueRow {
        day: None,
        movie_id: None,
        movie_title: None,
        showtime_id: None,
        starts_at: None,
        revenue: sums(row)?,
    };
    match by {
        RevenueBy::Day => {
            let position: i32 = row.try_get("day")?;
            line.day =
                first.checked_add(time::Duration::days(i64::from(position) - 1)).map(|day| day.to_string());
        }
        RevenueBy::Movie | RevenueBy::Showtime => {
            line.movie_id = row.try_get("movie_id")?;
            line.movie_title = row.try_get("movie_title")?;
        }
    }
    if by == RevenueBy::Showtime {
        line.showtime_id = row.try_get("showtime_id")?;
        line.starts_at = row.try_get::<Option<OffsetDateTime>, _>("starts_at")?.map(Timestamp::from);
    }
    Ok(line)
}

fn sums(row: &PgRow) -> Result<Revenue, sqlx::Error> {
    let currency: String = row.try_get("currency")?;
    let currency = Currency::parse(&currency)
        .ok_or_else(|| sqlx::Error::Decode(format!("unknown currency {currency}").into()))?;
    let money = |amount| Money { amount, currency };
    let (gross, refunded, disputed): (i64, i64, i64) =
        (row.try_get("gross")?, row.try_get("refunded")?, row.try_get("disputed")?);
    Ok(Revenue {
        gross: money(gross),
        refunded: money(refunded),
        disputed: money(disputed),
        net: money(gross - refunded - disputed),
        tickets: row.try_get("tickets")?,
    })
}
