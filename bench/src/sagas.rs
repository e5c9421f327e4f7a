//! Whole sagas over unique seats: reservation, payment, confirmation.
//!
//! Each client is one moviegoer on one connection who buys one seat after another. Every eighth purchase waits for CONFIRMED
//! (`?wait=`), so that watching costs little; at the end all are counted in the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::client::Client;
use crate::figures::{Latencies, against};
use crate::house::{Deployment, House};
use crate::processes::{cpu_seconds, peak_mib};
use crate::programme::{Programme, Showtime};

const WARM_UP: Duration = Duration::from_secs(2);
/// After the last answer all sagas are CONFIRMED within this.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// One in so many purchases waits for CONFIRMED.
const WATCHED: usize = 8;
/// Whose wait lasts this long missed the news: the slowest saga at the most clients takes a second.
const UNTOLD: Duration = Duration::from_secs(9);
/// Seats a second that a measurement is stocked with: more than two cores sell.
const SEATS_A_SECOND: usize = 4_000;
const ROWS: usize = 20;
const COLUMNS: usize = 25;

/// The seats of a measurement, handed out one by one over all showtimes.
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

/// What one measurement found.
#[derive(Default)]
pub struct Sold {
    pub per_second: f64,
    /// Of the request that makes the reservation.
    pub reserve: Latencies,
    /// From the first request to the payment's answer.
    pub answer: Latencies,
    pub confirmed: Latencies,
    pub cpu_seconds_a_thousand: f64,
    pub shares: Vec<(String, f64)>,
}

/// All measurements; returns the best rate at 128 clients in one process.
pub async fn run(clients: &[usize], seconds: u64, deployments: &[Deployment]) -> anyhow::Result<f64> {
    println!(
        "Whole sagas: POST /v1/reservations, POST /v1/payments, CONFIRMED. Latencies are p50/p95/p99/max in ms.\n"
    );
    println!(
        "  {:<24}{:>8}{:>10}{:>18}{:>20}{:>20}{:>12}",
        "deployment", "clients", "sagas/s", "reserve", "answer", "CONFIRMED", "CPU s/1000"
    );
    let (mut best, mut target) = (0.0, None);
    for deployment in deployments {
        let house = House::open(*deployment).await?;
        let mut owner = house.owner().await?;
        let mut programme = Programme::make(&mut owner, ROWS, COLUMNS).await?;
        for count in clients {
            let seats = SEATS_A_SECOND * (WARM_UP.as_secs() + seconds) as usize;
            let stock = programme.schedule(&mut owner, seats.div_ceil(ROWS * COLUMNS)).await?;
            let sold = measure(&house, stock, *count, Duration::from_secs(seconds)).await?;
            println!(
                "  {:<24}{count:>8}{:>10.0}{:>18}{:>20}{:>20}{:>12.2}",
                deployment.name(),
                sold.per_second,
                sold.reserve.shown(),
                sold.answer.shown(),
                sold.confirmed.shown(),
                sold.cpu_seconds_a_thousand,
            );
            let shares: Vec<String> =
                sold.shares.iter().map(|(name, ms)| format!("{name} {ms:.2}")).collect();
            println!("  {:<24}  ms of CPU a saga: {}", "", shares.join(", "));
            if *deployment == Deployment::One && *count == 128 {
                best = sold.per_second;
                target = Some(sold);
            }
        }
        let peaks: Vec<String> =
            peak_mib(&house.watched()).iter().map(|(name, mib)| format!("{name} {mib:.0}")).collect();
        println!("  {:<24}  peak memory in MiB: {}\n", "", peaks.join(", "));
        house.close().await?;
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

/// Sells with so many clients for so long.
pub async fn measure(
    house: &House,
    showtimes: Vec<Showtime>,
    clients: usize,
    length: Duration,
) -> anyhow::Result<Sold> {
    measure_beside(house, showtimes, clients, length, 0).await
}

/// As [`measure`], where so many other reservations are pending all the time.
pub async fn measure_beside(
    house: &House,
    showtimes: Vec<Showtime>,
    clients: usize,
    length: Duration,
    pending: i64,
) -> anyhow::Result<Sold> {
    let stock = Arc::new(Stock::new(showtimes));
    let (counting, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut buyers = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let client = house.moviegoer().await?;
        buyers.spawn(buy(client, stock.clone(), counting.clone(), stop.clone()));
    }
    tokio::time::sleep(WARM_UP).await;
    let watched = house.watched();
    let (before, begun) = (cpu_seconds(&watched), Instant::now());
    counting.store(true, Ordering::Relaxed);
    tokio::time::sleep(length).await;
    counting.store(false, Ordering::Relaxed);
    let (after, took) = (cpu_seconds(&watched), begun.elapsed());
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
    sold.per_second = count / took.as_secs_f64();
    sold.shares =
        after.iter().map(|(name, used)| (name.clone(), (used - before[name]) * 1_000.0 / count)).collect();
    sold.cpu_seconds_a_thousand = sold.shares.iter().map(|(_, ms)| ms).sum();
    settled(house, pending).await?;
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
        let (showtime, seat) = stock.take().context("the stock is sold out; measure shorter")?;
        let counted = counting.load(Ordering::Relaxed);
        let begun = Instant::now();
        let order = json!({"showtimeId": showtime, "seats": [seat]});
        let key = uuid::Uuid::now_v7().to_string();
        let reservation = client.post("/v1/reservations", Some(&key), &order).await?.expect(201)?;
        let reserved = begun.elapsed();
        let id = reservation["id"].as_str().context("a reservation without id")?;
        let payment = json!({"reservationId": id, "paymentMethod": "pm_card_visa"});
        let key = uuid::Uuid::now_v7().to_string();
        client.post("/v1/payments", Some(&key), &payment).await?.expect(201)?;
        let answered = begun.elapsed();
        // It counts where it ends; how long it took is told where it began within the measurement as well.
        let ended = counting.load(Ordering::Relaxed);
        bought.count += usize::from(ended);
        let counted = counted && ended;
        if counted {
            bought.reserve.push(reserved);
            bought.answer.push(answered);
        }
        rank += 1;
        if rank % WATCHED == 0 {
            let asked = Instant::now();
            let now = client.get(&format!("/v1/reservations/{id}?wait=10")).await?.expect(200)?;
            anyhow::ensure!(now["status"] == "CONFIRMED", "{id} is {} after 10 s", now["status"]);
            anyhow::ensure!(
                asked.elapsed() < UNTOLD,
                "who waited for {id} was not told and saw it by the clock"
            );
            if counted {
                bought.confirmed.push(begun.elapsed());
            }
        }
    }
    Ok(bought)
}

/// Waits until no more than these sagas are on their way.
async fn settled(house: &House, pending: i64) -> anyhow::Result<()> {
    let mut database = PgConnection::connect(&house.database_url).await?;
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
