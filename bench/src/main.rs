//! Measures how fast the cinema sells: whole sagas, a blockbuster, the floor under both, and how it is with much history.
//!
//! Everything runs on this machine (servers, hosts, provider and the load itself), so figures are for what is left of its
//! cores; ratios within one run carry further than the figures. Exits non-zero when a promise is broken: a seat sold twice, a
//! request refused that should not be, a saga that does not end.

mod blockbuster;
mod client;
mod copies;
mod figures;
mod floor;
mod growth;
mod house;
mod processes;
mod programme;
mod sagas;

use clap::{Parser, Subcommand};
use house::Deployment;

#[derive(Parser)]
#[command(name = "bench", about = "Measures how fast the cinema sells (use a release build)")]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand, Clone)]
enum What {
    /// Everything but growth, in a few minutes
    All,
    /// Reservation, payment, confirmation over unique seats
    Sagas {
        #[arg(long, value_delimiter = ',', default_value = "1,32,128,512")]
        clients: Vec<usize>,
        /// Seconds a measurement, after two of warming up
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        #[arg(long, value_enum, value_delimiter = ',', default_value = "one,hosts")]
        deployment: Vec<Deployment>,
    },
    /// 20,000 attempts of 500 clients on one hall of 300 seats
    Blockbuster {
        #[arg(long, default_value_t = 20_000)]
        attempts: usize,
        #[arg(long, default_value_t = 500)]
        clients: usize,
    },
    /// The same rows by a bare loop, and JetStream alone
    Floor {
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Past reservations in the tables, more hosts, open holds, restart with live sagas
    Growth {
        #[arg(long, value_delimiter = ',', default_value = "0,100000,1000000")]
        past: Vec<u64>,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        println!("A debug build: figures mean nothing. Use `make bench`.");
    }
    match Arguments::parse().what.unwrap_or(What::All) {
        What::All => {
            let deployments = [Deployment::One, Deployment::Hosts];
            let sold = sagas::run(&[1, 32, 128, 512], 10, &deployments).await?;
            blockbuster::run(20_000, 500).await?;
            floor::run(10, Some(sold)).await
        }
        What::Sagas { clients, seconds, deployment } => {
            sagas::run(&clients, seconds, &deployment).await.map(drop)
        }
        What::Blockbuster { attempts, clients } => blockbuster::run(attempts, clients).await,
        What::Floor { seconds } => floor::run(seconds, None).await,
        What::Growth { past, seconds } => growth::run(&past, seconds).await,
    }
}
