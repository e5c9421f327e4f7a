//! The sale of a blockbuster opens: many clients, few seats.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::client::Client;
use crate::deployment::{Deployment, Topology};
use crate::figures::{Latencies, against};
use crate::programme::{Programme, Showtime};

const ROWS: usize = 15;
const COLUMNS: usize = 20;

/// Attempts on randomly chosen seats of one showtime.
pub async fn run(attempts: usize, clients: usize, topology: Topology) -> anyhow::Result<()> {
    println!(
        "Blockbuster: {attempts} attempts by {clients} clients on one showtime of {} seats, {}.\n",
        ROWS * COLUMNS,
        topology.name()
    );
    let deployment = Deployment::open(topology).await?;
    let mut owner = deployment.owner().await?;
    let mut programme = Programme::make(&mut owner, ROWS, COLUMNS).await?;
    let showtime = programme.schedule(&mut owner, 1).await?.remove(0);
    let left = Arc::new(AtomicUsize::new(attempts));
    let mut connected = Vec::with_capacity(clients);
    for _ in 0..clients {
        connected.push(deployment.customer().await?);
    }
    let started = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for client in connected {
        running.spawn(rush(client, showtime.clone(), left.clone(), started));
    }
    let (mut won, mut lost) = (Latencies::default(), Latencies::default());
    let (mut winners, mut sold_out) = (0, std::time::Duration::ZERO);
    while let Some(rushed) = running.join_next().await {
        let rushed = rushed??;
        winners += rushed.won.len();
        sold_out = sold_out.max(rushed.last_won);
        won.extend(rushed.won);
        lost.extend(rushed.lost);
    }
    let elapsed = started.elapsed();
    let mut database = PgConnection::connect(&deployment.database_url).await?;
    let claims: i64 =
        sqlx::query_scalar("select count(*) from reservation.claims where showtime_id = $1::uuid")
            .bind(&showtime.id)
            .fetch_one(&mut database)
            .await?;
    println!(
        "  {winners} won (ms {}), {} lost (ms {}), all answered in {:.2} s",
        won.shown(),
        lost.len(),
        lost.shown(),
        elapsed.as_secs_f64()
    );
    let p99 = lost.quantile_ms(0.99);
    against(
        "sold out after",
        format!("{:.2} s", sold_out.as_secs_f64()),
        "< 2 s",
        sold_out.as_secs_f64() < 2.0,
    );
    against("losers' p99", format!("{p99:.0} ms"), "< 100 ms", p99 < 100.0);
    against("seats sold twice", format!("{}", winners as i64 - claims), "0", winners as i64 == claims);
    println!();
    anyhow::ensure!(winners as i64 == claims, "{winners} attempts got a seat, but {claims} seats are taken");
    deployment.close().await
}

#[derive(Default)]
struct Rushed {
    won: Latencies,
    lost: Latencies,
    /// Time since the sale opened.
    last_won: std::time::Duration,
}

async fn rush(
    mut client: Client,
    showtime: Showtime,
    left: Arc<AtomicUsize>,
    opened: Instant,
) -> anyhow::Result<Rushed> {
    let mut rushed = Rushed::default();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let seat = &showtime.seats[rand::random_range(0..showtime.seats.len())];
        let order = json!({"showtimeId": showtime.id, "seats": [seat]});
        let key = uuid::Uuid::now_v7().to_string();
        let started = Instant::now();
        let answer = client.post("/v1/reservations", Some(&key), &order).await?;
        match answer.status.as_u16() {
            201 => {
                rushed.won.push(started.elapsed());
                rushed.last_won = opened.elapsed();
            }
            // The seat is taken, or the client has the maximum of holds.
            409 => rushed.lost.push(started.elapsed()),
            _ => drop(answer.expect(201)?),
        }
    }
    Ok(rushed)
}
