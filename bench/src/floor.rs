//! The floor: what this machine's Postgres and NATS reach without Marquee.
//!
//! A plain loop for each of the three domains writes the same rows as whole sagas, into tables with the same columns and
//! indexes, in the same transactions and batches of the same size, without any read. JetStream's publish rate is measured with
//! the same number of events. Marquee's sagas a second are printed as a share of this.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::copies::{self, TABLES, run as execute};
use crate::deployment::{Deployment, Topology};
use crate::figures::against;
use crate::programme::Programme;
use crate::sagas;

/// Sagas in one batch: what the journal collects with 128 clients.
const BATCH: i64 = 32;
const DOMAINS: [&str; 3] = ["reservation", "payment", "notification"];
/// Events that a saga publishes, and the maximum of unacknowledged publishes, as in the relay.
const EVENTS_A_SAGA: f64 = 4.0;
const WINDOW: usize = 1_024;

/// `sold`: whole sagas a second from an earlier measurement; `None`: they are measured here.
pub async fn run(seconds: u64, sold: Option<f64>) -> anyhow::Result<()> {
    println!("The floor: the same rows written by a plain loop, and JetStream alone.\n");
    let mut deployment = Deployment::open(Topology::One).await?;
    let mut owner = deployment.owner().await?;
    let mut programme = Programme::make(&mut owner, 20, 25).await?;
    let stock = programme.schedule(&mut owner, 100).await?;
    let length = Duration::from_secs(if sold.is_some() { 3 } else { seconds });
    let measured = sagas::measure(&deployment, stock, 128, length).await?.per_second;
    deployment.kill().await?;
    let sold = sold.unwrap_or(measured);
    copies::stage(&deployment.database_url, BATCH).await?.close().await?;
    let mut loops = Vec::new();
    for domain in DOMAINS {
        loops.push(Loop::prepare(&deployment.database_url, domain).await?);
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    // A saga is complete when its rows are in all three domains, so the slowest loop counts.
    let rates = futures::future::try_join_all(loops.into_iter().map(|domain| domain.run(until))).await?;
    let rows = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let events = publish(&deployment, Duration::from_secs(seconds.min(5))).await?;
    println!(
        "  plain loop: {rows:.0} sagas' rows a second (batches of {BATCH}); JetStream: {events:.0} events a second"
    );
    println!("  (enough for {:.0} sagas a second)", events / EVENTS_A_SAGA);
    let share = 100.0 * sold / rows;
    against("whole sagas as a share of the plain loop", format!("{share:.0} %"), "≥ 50 %", share >= 50.0);
    println!();
    deployment.close().await
}

/// Writes one domain's rows repeatedly on one connection.
struct Loop {
    db: PgConnection,
    transactions: Vec<Vec<String>>,
}

impl Loop {
    async fn prepare(database_url: &str, domain: &str) -> anyhow::Result<Self> {
        let mut db = PgConnection::connect(database_url).await?;
        let mut inserts = Vec::new();
        for table in TABLES.iter().filter(|table| table.schema == domain) {
            let target = format!("bench.{}_{}", table.schema, table.name);
            execute(&mut db, &format!("create table {target} (like {} including all)", table.source()))
                .await?;
            inserts.push((table.name, target.clone(), table.copying(&mut db, &target).await?));
        }
        let insert = |names: &[&str]| -> Vec<String> {
            inserts.iter().filter(|(name, ..)| names.contains(name)).map(|(.., sql)| sql.clone()).collect()
        };
        // Updates of a row, selected by key as in Marquee.
        let again = |name: &str, key: &str, set: &str| {
            format!(
                "update bench.{domain}_{name} t set {set} from bench.staged_{domain}_{name} s, generate_series($1::bigint, $2::bigint) g
                 where t.{key} = bench.fresh(s.{key}, g)"
            )
        };
        let versioned = "version = t.version + 1, updated_at = now()";
        let transactions = match domain {
            "reservation" => vec![
                insert(&["idempotency", "reservations", "claims", "outbox"]),
                vec![again("reservations", "id", versioned)],
                vec![again("reservations", "id", versioned)],
            ],
            "payment" => vec![
                insert(&["idempotency", "payments", "attempts"]),
                [
                    insert(&["log", "postings", "outbox"]),
                    vec![again("payments", "id", versioned), again("attempts", "payment_id", "code = null")],
                ]
                .concat(),
                insert(&["provider_events"]),
            ],
            _ => vec![
                insert(&["attendees"]),
                [insert(&["mails"]), vec![again("attendees", "reservation_id", "version = t.version + 1")]]
                    .concat(),
            ],
        };
        for option in ["enable_hashjoin", "enable_mergejoin", "enable_seqscan"] {
            execute(&mut db, &format!("set {option} = off")).await?;
        }
        Ok(Self { db, transactions })
    }

    /// Runs until `until`; returns sagas a second.
    async fn run(mut self, until: Instant) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let mut copies = 0;
        while Instant::now() < until {
            for statements in &self.transactions {
                let mut tx = self.db.begin().await?;
                for statement in statements {
                    let query = sqlx::query(AssertSqlSafe(statement.as_str())).bind(copies).bind(copies);
                    query.execute(&mut *tx).await?;
                }
                tx.commit().await?;
            }
            copies += 1;
        }
        Ok((copies * BATCH) as f64 / begun.elapsed().as_secs_f64())
    }
}

/// Events of a saga's size that JetStream takes a second.
async fn publish(deployment: &Deployment, length: Duration) -> anyhow::Result<f64> {
    let bus = deployment.bus().await?;
    let payload = bytes::Bytes::from(vec![b'x'; 600]);
    let mut acks = FuturesUnordered::new();
    let (mut count, begun) = (0u64, Instant::now());
    while begun.elapsed() < length {
        let ack = bus.jetstream.publish("user.bench", payload.clone()).await?;
        acks.push(std::future::IntoFuture::into_future(ack));
        if acks.len() >= WINDOW
            && let Some(acked) = acks.next().await
        {
            acked?;
            count += 1;
        }
    }
    while let Some(acked) = acks.next().await {
        acked?;
        count += 1;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}
