//! Measures throughput and latency: whole sagas, a blockbuster, the floor (Postgres and JetStream alone), growth, and reports.
//!
//! Servers, hosts, provider and load generator share this machine, so the absolute figures depend on its cores; ratios within
//! one run are more reliable. Exits non-zero when a guarantee is broken: a seat sold twice, a request refused that must not
//! be, a saga that does not end.

mod blockbuster;
mod client;
mod copies;
mod deployment;
mod figures;
mod floor;
mod growth;

mod processes;
mod programme;
mod reports;
mod sagas;
mod scaling;

use clap::{Parser, Subcommand};
use deployment::Topology;

#[derive(Parser)]
#[command(name = "bench", about = "Measures throughput and latency (use a release build)")]
struct Arguments {
    #[command(subcommand)]
    measurement: Option<Measurement>,
}

#[derive(Subcommand, Clone)]
enum Measurement {
    /// Everything but growth, scaling and reports, in a few minutes
    All,
    /// Reservation, payment, confirmation over unique seats
    Sagas {
        #[arg(long, value_delimiter = ',', default_value = "1,32,128,512")]
        clients: Vec<usize>,
        /// Seconds a measurement, after two of warming up
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        #[arg(long, value_enum, value_delimiter = ',', default_value = "one,hosts")]
        deployment: Vec<Topology>,
    },
    /// 20,000 attempts of 500 clients on one hall of 300 seats
    Blockbuster {
        #[arg(long, default_value_t = 20_000)]
        attempts: usize,
        #[arg(long, default_value_t = 500)]
        clients: usize,
        #[arg(long, value_enum, default_value = "one")]
        deployment: Topology,
    },
    /// The same rows written by a plain loop, and JetStream alone
    Floor {
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Past reservations in the tables, more hosts, open holds, a restart with live sagas
    Growth {
        #[arg(long, value_delimiter = ',', default_value = "0,100000,1000000")]
        past: Vec<u64>,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Whole sagas with several hosts of each domain and as many gateways, as a Markdown table
    Scaling {
        /// Hosts of each kind
        #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
        hosts: Vec<usize>,
        #[arg(long, value_delimiter = ',', default_value = "32,128")]
        clients: Vec<usize>,
        /// Seconds a measurement, after two of warming up
        #[arg(long, default_value_t = 8)]
        seconds: u64,
    },
    /// The reports of tickets and of sales
    Reports {
        #[arg(long, default_value_t = 1_000_000)]
        tickets: u64,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        println!("A debug build: its figures are meaningless. Use `make bench`.");
    }
    match Arguments::parse().measurement.unwrap_or(Measurement::All) {
        Measurement::All => {
            let deployments = [Topology::One, Topology::Hosts];
            let sold = sagas::run(&[1, 32, 128, 512], 10, &deployments).await?;
            blockbuster::run(20_000, 500, Topology::One).await?;
            floor::run(10, Some(sold)).await
        }
        Measurement::Sagas { clients, seconds, deployment } => {
            sagas::run(&clients, seconds, &deployment).await.map(drop)
        }
        Measurement::Blockbuster { attempts, clients, deployment } => {
            blockbuster::run(attempts, clients, deployment).await
        }
        Measurement::Floor { seconds } => floor::run(seconds, None).await,
        Measurement::Growth { past, seconds } => growth::run(&past, seconds).await,
        Measurement::Scaling { hosts, clients, seconds } => scaling::run(&hosts, &clients, seconds).await,
        Measurement::Reports { tickets } => reports::run(tickets).await,
    }
}
