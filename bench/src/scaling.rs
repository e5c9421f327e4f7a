//! `make scaling`: whole sagas with 1, 2, 4 hosts of each domain and as many gateways, as the table of `docs/scaling.md`.
//!
//! All of them share this machine's cores, so more hosts sell more only where cores are left; the table shows what they cost,
//! which is what more machines would gain from.

use crate::deployment::Deployment;
use crate::processes::peak_mib;
use crate::programme::Programme;
use crate::sagas::{COLUMNS, ROWS, Sold, measure_new};

/// Everything that is no host and no gateway, by its name in [`Sold::shares`].
const SERVERS: [&str; 3] = ["postgres", "nats", "redis"];
const OTHERS: [&str; 2] = ["load generator", "sandbox"];

/// Measures each number of hosts with each number of clients and prints Markdown.
pub async fn run(hosts: &[usize], clients: &[usize], seconds: u64) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!("`bench scaling --seconds {seconds}` on {cores} cores, release, one measurement each.\n");
    println!(
        "| hosts of each kind | clients | sagas/s | p50/p95/p99/max in ms to CONFIRMED | CPU ms a saga | hosts and gateways | Postgres | NATS |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut peaks = Vec::new();
    for copies in hosts {
        let deployment = Deployment::open_hosts(*copies).await?;
        let mut owner = deployment.owner().await?;
        let mut programme = Programme::make(&mut owner, ROWS, COLUMNS).await?;
        for count in clients {
            let sold = measure_new(&deployment, &mut programme, &mut owner, *count, seconds).await?;
            println!("{}", row(*copies, *count, &sold));
        }
        let used = peak_mib(&deployment.watched());
        let of_marquee = used.iter().filter(|(name, _)| is_marquee(name)).map(|(_, mib)| mib).sum::<f64>();
        peaks.push(format!("{copies}: {of_marquee:.0}"));
        deployment.close().await?;
    }
    println!("\nPeak memory of all hosts and gateways in MiB, by hosts of each kind: {}.", peaks.join(", "));
    Ok(())
}

fn row(copies: usize, clients: usize, sold: &Sold) -> String {
    let share = |is_counted: &dyn Fn(&str) -> bool| {
        sold.shares.iter().filter(|(name, _)| is_counted(name)).map(|(_, ms)| ms).sum::<f64>()
    };
    format!(
        "| {copies} | {clients} | {:.0} | {} | {:.2} | {:.2} | {:.2} | {:.2} |",
        sold.per_second,
        sold.confirmed.shown(),
        sold.cpu_seconds_a_thousand,
        share(&is_marquee),
        share(&|name| name == "postgres"),
        share(&|name| name == "nats"),
    )
}

fn is_marquee(name: &str) -> bool {
    !SERVERS.contains(&name) && !OTHERS.contains(&name)
}
