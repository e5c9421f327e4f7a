//! Reads the ticket log for reports, as sums that Rust only adds up.
//!
//! Nothing here decides anything. Every query reads each ticket of its span of time once, so that its time grows with them alone:
//! `bench reports` measures it over a million.

use bus::contract::Timestamp;
use bus::contract::reservation::TicketsBy;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::reservation::report::{Names, SalesCell, Spans, TicketCell};

/// Showtimes that start within the spans in $1, whose last instant is an end.
const WITHIN: &str = "show.starts_at >= ($1::timestamptz[])[1]
  and show.starts_at < ($1::timestamptz[])[array_upper($1::timestamptz[], 1)]";

/// What the first grouping tells apart: the columns of the statistics `ticket_groups`, so that the planner knows how few
/// groups there are and needs no sort of all tickets.
const GROUP: &str =
    "t.showtime_id, t.movie_id, t.ticket_type, t.reported_as, t.currency, t.tax_rate, t.fee_tax_rate";

/// Tickets of the shows in these spans.
pub async fn tickets(pool: &PgPool, by: TicketsBy, spans: &Spans) -> Result<Vec<TicketCell>, sqlx::Error> {
    let [movie, showtime, ticket_type] = match by {
        TicketsBy::Movie => ["t.movie_id", "null::uuid", "null::text"],
        TicketsBy::Showtime => ["t.movie_id", "t.showtime_id", "null::text"],
        TicketsBy::Day => ["null::uuid", "null::uuid", "null::text"],
        TicketsBy::Type => ["null::uuid", "null::uuid", "t.ticket_type"],
    };
    // Tickets that have ended are subtracted, since they are few: a join of all tickets with their ends takes twice the time.
    let sql = format!(
        "select width_bucket(show.starts_at, $1::timestamptz[]) as span, {movie} as movie_id, {showtime} as showtime_id,
           {ticket_type} as ticket_type, t.reported_as, t.currency, t.tax_rate, t.fee_tax_rate, sum(t.sold)::bigint as sold,
           sum(t.ended)::bigint as ended, sum(t.price)::bigint as price, sum(t.tax)::bigint as tax,
           sum(t.fee)::bigint as fee, sum(t.fee_tax)::bigint as fee_tax, sum(t.value)::bigint as value,
           sum(t.carried)::bigint as carried, sum(t.returned)::bigint as returned
         from (
           select {GROUP}, count(*) as sold, 0 as ended, sum(t.price) as price, sum(t.tax) as tax, sum(t.fee) as fee,
             sum(t.fee_tax) as fee_tax, sum(t.price) + sum(t.fee) as value, 0 as carried, 0 as returned
           from reservation.showtimes as show join reservation.tickets as t on t.showtime_id = show.id
           where {WITHIN} group by {GROUP}
           union all
           select {GROUP}, 0, count(*), -sum(t.price), -sum(t.tax), -sum(t.fee), -sum(t.fee_tax), 0, sum(e.carried),
             sum(e.returned)
           from reservation.showtimes as show join reservation.ticket_ends as e on e.showtime_id = show.id
           join reservation.tickets as t on t.showtime_id = e.showtime_id and t.number = e.number
           where {WITHIN} group by {GROUP}
           union all
           select {GROUP}, 0, 0, 0, 0, 0, 0, 0, 0, sum(r.returned)
           from reservation.showtimes as show join reservation.ticket_refunds as r on r.showtime_id = show.id
           join reservation.tickets as t on t.showtime_id = r.showtime_id and t.number = r.number
           where {WITHIN} group by {GROUP}) as t
         join reservation.showtimes as show on show.id = t.showtime_id
         group by 1, 2, 3, 4, 5, 6, 7, 8"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(&spans.starts).fetch_all(pool).await
}

/// The showtimes in these spans. Of a movie whose title was changed, the title of its last show counts.
pub async fn names(pool: &PgPool, spans: &Spans) -> Result<Names, sqlx::Error> {
    let sql = format!(
        "select id, starts_at, movie_id, movie_title from reservation.showtimes as show where {WITHIN} order by starts_at"
    );
    let shows: Vec<(Uuid, OffsetDateTime, Uuid, String)> =
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(&spans.starts).fetch_all(pool).await?;
    let mut names = Names::default();
    for (id, starts_at, movie, title) in shows {
        names.starts.insert(id, Timestamp::from(starts_at));
        names.movies.insert(movie, title);
    }
    Ok(names)
}

/// Sales and money given back in these spans. What goes back for a ticket, or goes on to others, is taken from its price and
/// its fees in proportion, with their taxes; each is rounded once, and price and fees add up to it.
pub async fn sales(pool: &PgPool, spans: &Spans) -> Result<Vec<SalesCell>, sqlx::Error> {
    let (sold, at) = (WITHIN.replace("show.starts_at", "t.sold_at"), WITHIN.replace("show.starts_at", "at"));
    let sql = format!(
        "select width_bucket(t.sold_at, $1::timestamptz[]) as span, t.paid_by, t.currency, t.tax_rate, t.fee_tax_rate,
           count(*) as sold, 0::bigint as ended, sum(t.price + t.fee)::bigint as gross, 0::bigint as returned,
           sum(t.price)::bigint as price, sum(t.tax)::bigint as tax, sum(t.fee)::bigint as fee,
           sum(t.fee_tax)::bigint as fee_tax
         from reservation.tickets as t where {sold} group by 1, 2, 3, 4, 5
         union all
         select width_bucket(back.at, $1::timestamptz[]), t.paid_by, t.currency, t.tax_rate, t.fee_tax_rate,
           0, sum(back.ended)::bigint, -sum(back.carried)::bigint, sum(back.returned)::bigint,
           -sum(part.price)::bigint, -sum(tax.price)::bigint, -sum(part.fee)::bigint, -sum(tax.fee)::bigint
         from (
           select showtime_id, number, at, 1 as ended, carried, returned from reservation.ticket_ends where {at}
           union all
           select showtime_id, number, at, 0, 0, returned from reservation.ticket_refunds where {at}) as back
         join reservation.tickets as t on t.showtime_id = back.showtime_id and t.number = back.number
         cross join lateral (
           select round((back.carried + back.returned) * coalesce(t.price::numeric / nullif(t.price + t.fee, 0), 1)) as price) as own
         cross join lateral (select own.price, back.carried + back.returned - own.price as fee) as part
         cross join lateral (
           select coalesce(round(t.tax * part.price / nullif(t.price, 0)), 0) as price,
             coalesce(round(t.fee_tax * part.fee / nullif(t.fee, 0)), 0) as fee) as tax
         group by 1, 2, 3, 4, 5"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(&spans.starts).fetch_all(pool).await
}
