//! What one sale costs, counted and not timed, so that a busy machine changes nothing: exchanges with Postgres, rows
//! written, messages through NATS. An idle deployment's share of the same time is taken off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use futures::StreamExt;
use marquee::config::MAINTENANCE;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::cinema::{Person, Plan, TestCinema, id, meter};

const WARM: usize = 5;
const SALES: usize = 20;
/// Backends report their statistics with the first transaction a second later, or after ten idle seconds.
const STATISTICS: Duration = Duration::from_secs(12);
/// How long the idle deployment is watched.
const IDLE: Duration = Duration::from_secs(8);

/// The budget of a sale. Notification's share is counted apart: it works after the sale is confirmed.
const EXCHANGES_MAX: f64 = 20.0;
/// 26 is the goal without the batches that number receipts, which are after the sale too.
const EXCHANGES_WITH_MAILS_MAX: f64 = 27.0;
/// 24 and 29 are the goal, two of them for the ticket log and one for the receipt; a batch that two changes do not share makes a row
/// more. One and a half more are written after the sale: the receipt's number, and its share of the batch that numbers and of the
/// counter.
const ROWS_MAX: f64 = 27.0;
const ROWS_WITH_MAILS_MAX: f64 = 32.0;
const MESSAGES_MAX: f64 = 28.0;

/// Counters at one moment.
struct Reading {
    at: Instant,
    exchanges: meter::Exchanges,
    /// Rows inserted, updated and deleted, by schema and table.
    rows: BTreeMap<(String, String), i64>,
    /// Into and out of the NATS server, without those that do not depend on sales: the consumers' pulls, and the requests for
    /// the state of streams and consumers.
    messages: i64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sale_costs_few_exchanges() {
    let plan = Plan { in_process: true, metered: true, ..Plan::default() };
    let cinema = TestCinema::open_with(plan.with("HOLD_MAIL_AFTER_SECONDS", "30")).await;
    let customer = cinema.register().await;
    let upkeep = count_upkeep(&cinema).await;
    for sale in 0..WARM {
        sell(&cinema, &customer, sale).await;
    }
    let begin = read(&cinema, &upkeep).await;
    for sale in WARM..WARM + SALES {
        sell(&cinema, &customer, sale).await;
    }
    let end = read(&cinema, &upkeep).await;
    tokio::time::sleep(IDLE).await;
    let idle = read(&cinema, &upkeep).await;

    // What the idle time costs, as a share of the time that the sales took.
    let share = (end.at - begin.at).as_secs_f64() / (idle.at - end.at).as_secs_f64();
    let a_sale =
        |begin: i64, end: i64, idle: i64| ((end - begin) as f64 - (idle - end) as f64 * share) / SALES as f64;
    let exchanges = per_sale(&begin.exchanges, &end.exchanges, &idle.exchanges, a_sale);
    let rows = per_sale(&begin.rows, &end.rows, &idle.rows, a_sale);
    let messages = a_sale(begin.messages, end.messages, idle.messages);
    print("exchanges with Postgres", &exchanges);
    print("rows", &rows);
    println!("NATS messages in and out: {messages:.1}");
    let (exchanges, exchanges_with_mails) = sums(&exchanges);
    let (rows, rows_with_mails) = sums(&rows);
    println!(
        "a sale: {exchanges:.1} exchanges and {exchanges_with_mails:.1} with mails, {rows:.1} rows and \
         {rows_with_mails:.1} with mails, {messages:.1} messages"
    );
    for (counted, most, what) in [
        (exchanges, EXCHANGES_MAX, "exchanges"),
        (exchanges_with_mails, EXCHANGES_WITH_MAILS_MAX, "exchanges with mails"),
        (rows, ROWS_MAX, "rows"),
        (rows_with_mails, ROWS_WITH_MAILS_MAX, "rows with mails"),
        (messages, MESSAGES_MAX, "NATS messages"),
    ] {
        assert!(counted <= most, "{counted:.1} {what} a sale, and at most {most} should be");
    }
    cinema.close().await;
}

/// Two seats by token and one `?wait`; then until its mail is sent.
async fn sell(cinema: &TestCinema, customer: &Person, number: usize) {
    let row = char::from(b'A' + (number / 5) as u8);
    let first = number % 5 * 2 + 1;
    let (one, other) = (format!("{row}{first}"), format!("{row}{}", first + 1));
    let body = json!({"showtimeId": cinema.showtime, "seats": [one, other]});
    let order = cinema.call(Method::POST, "/v1/reservations", Some(customer), Some(body)).await.expect(201);
    let order = id(&order);
    cinema.pay(customer, &order, "pm_card_visa").await.expect(201);
    // Version 1 is the order, 2 the begun payment.
    let path = format!("/v1/reservations/{order}?wait=20&since=2");
    let confirmed: Value = cinema.call(Method::GET, &path, Some(customer), None).await.expect(200);
    assert_eq!(confirmed["status"], "CONFIRMED", "{confirmed}");
    // By the file and not by a query: that would be counted.
    let mails = cinema.folder.path().join("mail");
    let sent = || std::fs::read_dir(&mails).map_or(0, |files| files.filter_map(Result::ok).count());
    cinema.until("the tickets are sent", async || sent() > number).await;
}

async fn read(cinema: &TestCinema, upkeep: &AtomicI64) -> Reading {
    let at = Instant::now();
    let exchanges = cinema.meter.as_ref().unwrap().read();
    let messages = nats_messages(cinema).await - upkeep.load(Ordering::Relaxed);
    tokio::time::sleep(STATISTICS).await;
    Reading { at, exchanges, rows: rows(&cinema.database).await, messages }
}

async fn rows(database: &PgPool) -> BTreeMap<(String, String), i64> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "select schemaname, regexp_replace(relname, '_\\d{8}$', ''), sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint
         from pg_stat_user_tables group by 1, 2",
    )
    .fetch_all(database)
    .await
    .unwrap();
    rows.into_iter().map(|(schema, table, rows)| ((schema, table), rows)).collect()
}

/// Counts the messages of pulls and of requests to JetStream from now on: the request, its copy to the subscription that counts
/// it, and the reply, which a pull has not.
async fn count_upkeep(cinema: &TestCinema) -> Arc<AtomicI64> {
    let options = ConnectOptions::with_user_and_password(MAINTENANCE.into(), cinema.nats.password().into());
    let client = options.connect(cinema.nats.url()).await.unwrap();
    let mut requests = client.subscribe("$JS.API.>").await.unwrap();
    client.flush().await.unwrap();
    let count = Arc::new(AtomicI64::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let is_pull = request.subject.starts_with("$JS.API.CONSUMER.MSG.NEXT.");
            counted.fetch_add(if is_pull { 2 } else { 3 }, Ordering::Relaxed);
        }
    });
    count
}

async fn nats_messages(cinema: &TestCinema) -> i64 {
    let url = format!("http://127.0.0.1:{}/varz", cinema.nats_monitor.unwrap());
    let varz: Value = cinema.http.get(url).send().await.unwrap().json().await.unwrap();
    varz["in_msgs"].as_i64().unwrap() + varz["out_msgs"].as_i64().unwrap()
}

type Counted = BTreeMap<(String, String), f64>;

fn per_sale(
    begin: &BTreeMap<(String, String), i64>,
    end: &BTreeMap<(String, String), i64>,
    idle: &BTreeMap<(String, String), i64>,
    a_sale: impl Fn(i64, i64, i64) -> f64,
) -> Counted {
    let of = |map: &BTreeMap<(String, String), i64>, key| map.get(key).copied().unwrap_or_default();
    idle.keys().map(|key| (key.clone(), a_sale(of(begin, key), of(end, key), of(idle, key)))).collect()
}

/// Without notification's, and with them.
fn sums(counted: &Counted) -> (f64, f64) {
    let all: f64 = counted.values().sum();
    let mails: f64 =
        counted.iter().filter(|((domain, _), _)| domain == "notification").map(|(_, count)| count).sum();
    (all - mails, all)
}

fn print(what: &str, counted: &Counted) {
    println!("{what}, a sale:");
    for ((domain, of), count) in counted.iter().filter(|(_, count)| count.abs() >= 0.05) {
        println!("  {count:6.2}  {domain:13} {of}");
    }
}
