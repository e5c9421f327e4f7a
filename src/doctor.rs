//! `marquee doctor`: a first look at a deployment. Each check prints one sentence with figures, and what to do.
//!
//! Invariant: nothing is changed. Invariant: a check that cannot be done within its time says why, and stops no other.
//! `settings` reads the environment; `postgres`, `nats` and `clocks` ask the servers; `report` is what is printed.

mod clocks;
mod machine;
mod nats;
mod postgres;
mod report;
mod settings;

use std::time::Duration;

use bus::Bus;
use bus::config::Environment;

use report::{Check, Report, Verdict};

/// One check, with the requests that it sends.
const CHECK_MAX: Duration = Duration::from_secs(5);

/// What the checks work with.
struct Deployment {
    database_url: String,
    redis_url: Option<String>,
    has_bridge: bool,
    /// How to reach NATS as the operator.
    nats: bus::Config,
}

/// Prints every check. An error, and so exit code 1, if one fails, or if a setting is wrong; then nothing else is checked.
pub async fn run(environment: Environment) -> anyhow::Result<()> {
    let (deployment, mut report) = settings::read(environment)?;
    machine::check(&mut report);
    let bus = connected(&deployment, &mut report).await;
    let processes = match &bus {
        Some(bus) => nats::check(bus, &deployment, &mut report).await,
        None => None,
    };
    postgres::check(&deployment, processes, &mut report).await;
    if let Some(url) = &deployment.redis_url {
        report.add(within("redis", machine::redis(url)).await);
    }
    report.add(within("clocks", clocks::check(&deployment, bus.as_ref())).await);
    report.print();
    let failed = report.failed();
    anyhow::ensure!(failed.is_empty(), "something is wrong: {}", failed.join(", "));
    Ok(())
}

/// Runs one check within its time.
async fn within(name: &'static str, check: impl Future<Output = anyhow::Result<Check>>) -> Check {
    match tokio::time::timeout(CHECK_MAX, check).await {
        Ok(Ok(check)) => check,
        Ok(Err(error)) => Check::not_done(name, &format!("{error:#}")),
        Err(_) => Check::not_done(name, &format!("no answer within {} s", CHECK_MAX.as_secs())),
    }
}

/// Connects to NATS as the operator. `None`: the reason is in the report.
async fn connected(deployment: &Deployment, report: &mut Report) -> Option<Bus> {
    let bus = match tokio::time::timeout(CHECK_MAX, Bus::connect(deployment.nats.clone())).await {
        Ok(Ok(bus)) => return Some(bus),
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => format!("NATS does not answer at NATS_URL within {} s", CHECK_MAX.as_secs()),
    };
    report
        .add(Check::new("nats", Verdict::Fail, bus).remedy("start NATS, or correct NATS_URL and its login"));
    None
}
