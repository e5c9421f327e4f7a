//! Whole sagas over unique seats: reservation, payment, confirmation.
//!
//! Each client is one customer with one connection who buys one seat after another. Every eighth purchase waits for CONFIRMED
//! (`?wait=`), so that waiting costs little; at the end all sagas are counted in the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::client::Client;
use crate::deployment::{Deployment, Topology};
use crate::figures::{Latencies, against};
use crate::processes::{cpu_seconds, peak_mib};
use crate::programme::{Programme, Showtime};

const WARM_UP: Duration = Duration::from_secs(2);
/// After the last answer all sagas are CONFIRMED within this.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// One of this many purchases waits for CONFIRMED.
const WAIT_EVERY: usize = 8;
/// A wait that takes this long missed its notice: the slowest saga with the most clients takes a second.
const NOTICE_MISSED: Duration = Duration::from_secs(9);
/// Seats that a measurement has for each second: more than two cores sell.
const SEATS_A_SECOND: usize = 4_000;
pub const ROWS: usize = 20;
pub const COLUMNS: usize = 25;

/// The seats of a measurement, taken one by one in turn from all showtimes.
pub struct Stock {
    showtimes: Vec<Showtime>,
    next: AtomicUsize,
}

impl Stock {
    pub fn new(showtimes: Vec<Showtime>) -> Self {
        Self { showtimes, next: AtomicUsize::new(0) }
    }

    fn take(&self) -> Option<(&str, &str)> {
        let rank = self.next.fetch_add(1, Ordering::Relaxed);
        let showtime = &self.showtimes[rank % self.showtimes.len()];
        let seat = showtime.seats.get(rank / self.showtimes.len())?;
        Some((&showtime.id, seat))
    }
}

/// The result of one measurement.
#[derive(Default)]
pub struct Sold {
    pub per_second: f64,
    /// Latency of the request that creates the reservation.
    pub reserve: Latencies,
    /// From the first request to the answer of the payment request.
    pub answer: Latencies,
    pub confirmed: Latencies,
    pub cpu_seconds_a_thousand: f64,
    pub shares: Vec<(String, f64)>,
}

/// All measurements; returns the rate with 128 clients and one process.
pub async fn run(clients: &[usize], seconds: u64, topologies: &[Topology]) -> anyhow::Result<f64> {
    println!(
        "Whole sagas: POST /v1/reservations, POST /v1/payments, CONFIRMED. Latencies are p50/p95/p99/max in ms.\n"
    );
    println!(
        "  {:<24}{:>8}{:>10}{:>18}{:>20}{:>20}{:>12}",
        "deployment", "clients", "sagas/s", "reserve", "answer", "CONFIRMED", "CPU s/1000"
    );
    let (mut best, mut target) = (0.0, None);
    for topology in topologies {
        let deployment = Deployment::open(*topology).await?;
        let mut owner = deployment.owner().await?;
        let mut programme = Programme::make(&mut owner, ROWS, COLUMNS).await?;
        for count in clients {
            let sold = measure_new(&deployment, &mut programme, &mut owner, *count, seconds).await?;
            println!(
                "  {:<24}{count:>8}{:>10.0}{:>18}{:>20}{:>20}{:>12.2}",
                topology.name(),
                sold.per_second,
                sold.reserve.shown(),
                sold.answer.shown(),
                sold.confirmed.shown(),
                sold.cpu_seconds_a_thousand,
            );
            let shares: Vec<String> =
                sold.shares.iter().map(|(name, ms)| format!("{name} {ms:.2}")).collect();
            println!("  {:<24}  ms of CPU a saga: {}", "", shares.join(", "));
            if *topology == Topology::One && *count == 128 {
                best = sold.per_second;
                target = Some(sold);
            }
        }
        let peaks: Vec<String> =
            peak_mib(&deployment.watched()).iter().map(|(name, mib)| format!("{name} {mib:.0}")).collect();
        println!("  {:<24}  peak memory in MiB: {}\n", "", peaks.join(", "));
        deployment.close().await?;
    }
    if let Some(sold) = target {
        let p99 = sold.confirmed.quantile_ms(0.99);
        against(
            "whole sagas a second, 128 clients, one process",
            format!("{best:.0}"),
            "≥ 2,000",
            best >= 2_000.0,
        );
        against("p99 to CONFIRMED there", format!("{p99:.0} ms"), "< 150 ms", p99 < 150.0);
    }
    Ok(best)
}

/// Schedules showtimes with seats enough, and measures `clients` on them for so many seconds.
pub async fn measure_new(
    deployment: &Deployment,
    programme: &mut Programme,
    owner: &mut Client,
    clients: usize,
    seconds: u64,
) -> anyhow::Result<Sold> {
    let seats = SEATS_A_SECOND * (WARM_UP.as_secs() + seconds) as usize;
    let stock = programme.schedule(owner, seats.div_ceil(ROWS * COLUMNS)).await?;
    measure(deployment, stock, clients, Duration::from_secs(seconds)).await
}

/// Measures `clients` for `length`.
pub async fn measure(
    deployment: &Deployment,
    showtimes: Vec<Showtime>,
    clients: usize,
    length: Duration,
) -> anyhow::Result<Sold> {
    measure_beside(deployment, showtimes, clients, length, 0).await
}

/// As [`measure`], while `pending` other reservations are pending.
pub async fn measure_beside(
    deployment: &Deployment,
    showtimes: Vec<Showtime>,
    clients: usize,
    length: Duration,
    pending: i64,
) -> anyhow::Result<Sold> {
    let stock = Arc::new(Stock::new(showtimes));
    let (counting, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut buyers = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let client = deployment.customer().await?;
        buyers.spawn(buy(client, stock.clone(), counting.clone(), stop.clone()));
    }
    tokio::time::sleep(WARM_UP).await;
    let watched = deployment.watched();
    let (before, started) = (cpu_seconds(&watched), Instant::now());
    counting.store(true, Ordering::Relaxed);
    tokio::time::sleep(length).await;
    counting.store(false, Ordering::Relaxed);
    let (after, elapsed) = (cpu_seconds(&watched), started.elapsed());
    stop.store(true, Ordering::Relaxed);
    let (mut sold, mut count) = (Sold::default(), 0);
    while let Some(bought) = buyers.join_next().await {
        let bought = bought??;
        count += bought.count;
        sold.reserve.extend(bought.reserve);
        sold.answer.extend(bought.answer);
        sold.confirmed.extend(bought.confirmed);
    }
    anyhow::ensure!(count > 0, "nothing was sold");
    let count = count as f64;
    sold.per_second = count / elapsed.as_secs_f64();
    sold.shares =
        after.iter().map(|(name, used)| (name.clone(), (used - before[name]) * 1_000.0 / count)).collect();
    sold.cpu_seconds_a_thousand = sold.shares.iter().map(|(_, ms)| ms).sum();
    settled(deployment, pending).await?;
    Ok(sold)
}

#[derive(Default)]
struct Bought {
    count: usize,
    reserve: Latencies,
    answer: Latencies,
    confirmed: Latencies,
}

async fn buy(
    mut client: Client,
    stock: Arc<Stock>,
    counting: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Bought> {
    let mut bought = Bought::default();
    let mut rank = 0;
    while !stop.load(Ordering::Relaxed) {
        let (showtime, seat) = stock.take().context("all seats are sold; use fewer seconds")?;
        let counted = counting.load(Ordering::Relaxed);
        let started = Instant::now();
        let order = json!({"showtimeId": showtime, "seats": [seat]});
        let key = uuid::Uuid::now_v7().to_string();
        let reservation = client.post("/v1/reservations", Some(&key), &order).await?.expect(201)?;
        let reserved = started.elapsed();
        let id = reservation["id"].as_str().context("a reservation without id")?;
        let payment = json!({"reservationId": id, "paymentMethod": "pm_card_visa"});
        let key = uuid::Uuid::now_v7().to_string();
        client.post("/v1/payments", Some(&key), &payment).await?.expect(201)?;
        let answered = started.elapsed();
        // A purchase counts if it ends within the measurement; its latency counts if it started there too.
        let ended = counting.load(Ordering::Relaxed);
        bought.count += usize::from(ended);
        let counted = counted && ended;
        if counted {
            bought.reserve.push(reserved);
            bought.answer.push(answered);
        }
        rank += 1;
        if rank % WAIT_EVERY == 0 {
            let wait_started = Instant::now();
            let now = client.get(&format!("/v1/reservations/{id}?wait=10")).await?.expect(200)?;
            anyhow::ensure!(now["status"] == "CONFIRMED", "{id} is {} after 10 s", now["status"]);
            anyhow::ensure!(
                wait_started.elapsed() < NOTICE_MISSED,
                "the wait for {id} got no notice and ended by its time-out"
            );
            if counted {
                bought.confirmed.push(started.elapsed());
            }
        }
    }
    Ok(bought)
}

/// Waits until at most `pending` sagas have not ended.
async fn settled(deployment: &Deployment, pending: i64) -> anyhow::Result<()> {
    let mut database = PgConnection::connect(&deployment.database_url).await?;
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        let open: i64 =
            sqlx::query_scalar("select count(*) from reservation.reservations where status = 'PENDING'")
                .fetch_one(&mut database)
                .await?;
        if open <= pending {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "{open} sagas did not end within {SETTLE_MAX:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
