//! The time of each report over a year with a million tickets.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::copies::run as execute;
use crate::deployment::{Deployment, Topology};
use crate::figures::against;

/// Tickets of one showtime, of which a tenth are cancelled and a fiftieth partly refunded.
const TICKETS_A_SHOW: u64 = 200;
const TARGET: Duration = Duration::from_secs(2);
const TIMES: usize = 3;

pub async fn run(tickets: u64) -> anyhow::Result<()> {
    println!("Reports over {tickets} tickets of one year; the best of {TIMES}.\n");
    let deployment = Deployment::open(Topology::One).await?;
    fill(&deployment.database_url, tickets / TICKETS_A_SHOW).await?;
    let mut owner = deployment.owner().await?;
    for report in [
        "tickets?by=movie",
        "tickets?by=showtime",
        "tickets?by=day",
        "tickets?by=type",
        "tickets?by=movie&format=csv",
        "sales?format=csv",
    ] {
        let path = format!("/v1/admin/reports/{report}&from=2026-01-01&to=2026-12-31&timeZone=Europe/Berlin");
        let mut best = Duration::MAX;
        for _ in 0..TIMES {
            let began = Instant::now();
            let answer = owner.get(&path).await?;
            best = best.min(began.elapsed());
            anyhow::ensure!(answer.status == 200, "{path} was answered with {}", answer.status);
        }
        against(report, format!("{:.2} s", best.as_secs_f64()), "< 2 s", best < TARGET);
    }
    println!();
    deployment.close().await
}

async fn fill(database_url: &str, showtimes: u64) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(database_url).await?;
    let shows = format!("generate_series(1, {showtimes}) as n");
    let [day, show, movie] =
        ["(n % 360) * interval '1 day'", "md5('show' || n)::uuid", "md5('movie' || n % 100)::uuid"];
    for sql in [
        format!(
            "insert into reservation.showtimes (id, status, starts_at, movie_id, movie_title, layout, prices, tickets)
             select {show}, 'ON_SALE', timestamptz '2026-01-01 19:00Z' + {day}, {movie}, 'Movie ' || n % 100, '[]', '{{}}',
               {TICKETS_A_SHOW} from {shows}"
        ),
        format!(
            "insert into reservation.tickets (showtime_id, number, reservation_id, version, movie_id, seat, ticket_type,
               reported_as, price, tax_rate, tax, fee, fee_tax_rate, fee_tax, currency, channel, paid_by, sold_at)
             select {show}, number, md5('order' || n || '/' || number / 2)::uuid, 3, {movie}, 'A' || number,
               (array['ADULT', 'CHILD', 'STUDENT'])[1 + number % 3], (array['FULL', 'REDUCED', 'FREE'])[1 + number % 3],
               1200, 7000, 79, 50, 19000, 8, 'EUR', 'WEB', 'ONLINE', timestamptz '2026-01-01 10:00Z' + {day}
             from generate_series(1, {TICKETS_A_SHOW}) as number, {shows}"
        ),
        "insert into reservation.ticket_ends (showtime_id, number, at, reason, returned, carried, version)
         select showtime_id, number, sold_at + interval '1 hour', 'USER_REQUEST', 625, 0, 4 from reservation.tickets
         where number % 10 = 0"
            .to_owned(),
        "insert into reservation.ticket_refunds (showtime_id, number, version, at, returned)
         select showtime_id, number, 4, sold_at + interval '1 hour', 100 from reservation.tickets where number % 50 = 1"
            .to_owned(),
        "vacuum analyze reservation.tickets, reservation.ticket_ends, reservation.ticket_refunds, reservation.showtimes"
            .to_owned(),
    ] {
        execute(&mut db, &sql).await?;
    }
    db.close().await?;
    Ok(())
}
