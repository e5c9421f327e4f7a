//! Throughput with much history in the tables, more hosts, many open holds, and the time of a restart with live sagas.

use std::time::Duration;

use anyhow::ensure;
use sqlx::{AssertSqlSafe, Connection};

use crate::copies::{self, TABLES, run as execute};
use crate::deployment::{Deployment, Topology};
use crate::figures::against;
use crate::programme::Programme;
use crate::sagas::{self, Sold};

const CLIENTS: usize = 128;
/// Reservations that are pending while others buy.
const OPEN_HOLDS: i64 = 1_000;
/// Sagas that have not ended when the deployment restarts.
const LIVE_SAGAS: i64 = 100_000;
/// Copies in one statement.
const COPIES: u64 = 50_000;

pub async fn run(past: &[u64], seconds: u64) -> anyhow::Result<()> {
    println!("Growth: {CLIENTS} clients, one process unless stated otherwise.\n");
    let mut deployment = Deployment::open(Topology::One).await?;
    let mut owner = deployment.owner().await?;
    let mut programme = Programme::make(&mut owner, 20, 25).await?;
    let length = Duration::from_secs(seconds);
    // Makes sagas to copy, and warms up.
    let stock = programme.schedule(&mut owner, 20).await?;
    sagas::measure(&deployment, stock, 32, Duration::from_secs(2)).await?;
    let (mut there, mut first) = (0, None);
    for wanted in past {
        copy(&deployment.database_url, there, *wanted).await?;
        there = there.max(*wanted);
        // Copying takes minutes, in which the old connection was closed.
        owner = deployment.owner().await?;
        let stock = programme.schedule(&mut owner, 4_000 * (seconds as usize + 2) / 500).await?;
        let sold = sagas::measure(&deployment, stock, CLIENTS, length).await?;
        show(&format!("{wanted} past reservations"), &sold);
        let base = *first.get_or_insert(sold.per_second);
        let share = 100.0 * sold.per_second / base;
        if *wanted > 0 {
            against("  of the rate with empty tables", format!("{share:.0} %"), "90–110 %", share >= 90.0);
        }
    }
    hold(&deployment.database_url, OPEN_HOLDS).await?;
    owner = deployment.owner().await?;
    let stock = programme.schedule(&mut owner, 4_000 * (seconds as usize + 2) / 500).await?;
    show(
        &format!("and {OPEN_HOLDS} open holds"),
        &sagas::measure_beside(&deployment, stock, CLIENTS, length, OPEN_HOLDS).await?,
    );
    hold(&deployment.database_url, LIVE_SAGAS).await?;
    deployment.kill().await?;
    let took = deployment.start(Topology::One).await?;
    against(
        "restart to ready with 100,000 live sagas",
        format!("{:.2} s", took.as_secs_f64()),
        "< 2 s",
        took < Duration::from_secs(2),
    );
    deployment.kill().await?;
    for topology in [Topology::Hosts, Topology::Hosts4] {
        deployment.start(topology).await?;
        owner = deployment.owner().await?;
        let stock = programme.schedule(&mut owner, 4_000 * (seconds as usize + 2) / 500).await?;
        let live = OPEN_HOLDS + LIVE_SAGAS;
        show(topology.name(), &sagas::measure_beside(&deployment, stock, CLIENTS, length, live).await?);
        deployment.kill().await?;
    }
    println!();
    deployment.close().await
}

fn show(what: &str, sold: &Sold) {
    println!("  {what:<40}{:>8.0} sagas/s   to CONFIRMED {} ms", sold.per_second, sold.confirmed.shown());
}

/// Copies one whole saga until there are `wanted` past ones.
async fn copy(database_url: &str, there: u64, wanted: u64) -> anyhow::Result<()> {
    let mut db = copies::stage(database_url, 1).await?;
    // The copied transactions are balanced; the trigger that checks this would only cost time for 100,000 rows a statement.
    execute(&mut db, "alter table payment.postings disable trigger user").await?;
    let mut from = there + 1;
    while from <= wanted {
        let to = wanted.min(from + COPIES - 1);
        for table in &TABLES {
            let insert = table.copying(&mut db, &table.source()).await?;
            let copied =
                sqlx::query(AssertSqlSafe(insert)).bind(from as i64).bind(to as i64).execute(&mut db).await?;
            ensure!(copied.rows_affected() > 0, "nothing to copy in {}", table.source());
        }
        from = to + 1;
    }
    execute(&mut db, "alter table payment.postings enable trigger user").await?;
    execute(&mut db, "analyze").await?;
    Ok(db.close().await?)
}

/// Makes `count` reservations that hold a seat and expire in an hour.
async fn hold(database_url: &str, count: i64) -> anyhow::Result<()> {
    let mut db = copies::stage(database_url, 1).await?;
    // Numbers that `copy` does not use.
    let (from, to) = (1_000_000_000 + count, 1_000_000_000 + 2 * count - 1);
    for table in TABLES.iter().filter(|table| ["reservations", "claims"].contains(&table.name)) {
        let insert = table.copying(&mut db, &table.source()).await?;
        sqlx::query(AssertSqlSafe(insert)).bind(from).bind(to).execute(&mut db).await?;
    }
    let waiting = sqlx::query(
        "update reservation.reservations set status = 'PENDING', user_id = id, deadline = now() + interval '1 hour',
           checkpoint = jsonb_set(checkpoint, '{state}', '{\"is\": \"awaiting-payment\", \"begun\": false}')
         where id in (select bench.fresh(s.id, g) from bench.staged_reservation_reservations s, generate_series($1, $2) g)",
    );
    waiting.bind(from).bind(to).execute(&mut db).await?;
    execute(&mut db, "analyze reservation.reservations").await?;
    Ok(db.close().await?)
}
