//! Chaos: injects faults into a whole deployment of real processes under load, and checks from outside that nothing is lost.
//!
//! `make chaos` is a short seeded run, `chaos --minutes 60` a long one; `make chaos-selftest` plants bugs that the checks must find.
//! The exit code is 1 when a promise was broken. The printed seed repeats the schedule of faults.

mod backend;
mod check;
mod client;
mod cluster;
mod crowd;
mod deployment;
mod disk;
mod end_state;
mod fault;
mod guest;
mod journeys;
mod links;
mod load;
mod mail_server;
mod planted;
mod power;
mod process;
mod proxy;
mod record;
mod recovery;
mod run;
mod schedule;
mod staff;
mod upgrade;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use cluster::Replication;
use deployment::{DeploymentSpec, Release};
use fault::{Fault, Lane};
use planted::{BUGS, Bug, CONTROL};
use power::{PowerRun, WITHOUT_FSYNC};
use run::{Report, RunPlan};

/// The deployment must be idle within two minutes; half a minute more shows by how much it was late.
const MAX_WAIT: Duration = Duration::from_secs(150);

#[derive(Parser)]
#[command(
    version,
    about = "Injects faults into a whole deployment under load, and checks that nothing is lost"
)]
struct Arguments {
    /// Repeats the schedule of an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// How long the load and the faults last
    #[arg(long, default_value_t = 2.5)]
    minutes: f64,
    /// Only these faults
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// No faults: what the checks find without any
    #[arg(long)]
    quiet: bool,
    /// Instead of other faults: rounds in which the disks of Postgres and NATS lose what was not synced. Needs root. With
    /// `--planted without-fsync`: the test of the method
    #[arg(long)]
    power_loss: bool,
    /// The rounds of `--power-loss`
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// Concurrent customers
    #[arg(long = "crowd", default_value_t = 6)]
    customers: usize,
    /// Two processes of `marquee up`, each with all hosts, instead of a process for each host
    #[arg(long)]
    together: bool,
    /// NATS and Postgres as clusters, and the faults of their servers (docs/reliability.md)
    #[arg(long, conflicts_with_all = ["together", "planted"])]
    cluster: bool,
    /// The standby of Postgres is not synchronous: a partition loses acknowledged writes, which the checks must find
    #[arg(long, requires = "cluster")]
    asynchronous: bool,
    /// The program; by default `marquee` in the folder of this one
    #[arg(long)]
    program: Option<PathBuf>,
    /// No faults: this program of an older release starts everything, and is replaced by the new one under load
    #[arg(long, conflicts_with_all = ["faults", "together", "planted"])]
    upgrade_from: Option<PathBuf>,
    /// The `nats.conf` of that release
    #[arg(long, requires = "upgrade_from")]
    nats_conf: Option<PathBuf>,
    /// Plant these bugs one after another, or `all`; the checks must find each. Needs a program with the feature `planted`
    #[arg(long, value_delimiter = ',')]
    planted: Vec<String>,
    /// Set by this program itself when it runs in its own mount namespace
    #[arg(long, hide = true)]
    private: bool,
    /// Set by this program itself when it runs in its own namespaces
    #[arg(long, hide = true)]
    inside: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.cluster && !arguments.inside {
        if let Some(why) = cluster::enter::impossible() {
            println!("  not run: the lane `cluster` ({why})");
            return Ok(());
        }
        std::process::exit(cluster::enter::run("--inside")?);
    }
    if arguments.inside {
        cluster::enter::prepare()?;
    }
    let has_faults = arguments.planted.is_empty() && !arguments.quiet;
    let is_ordinary = arguments.upgrade_from.is_none() && !arguments.cluster;
    let wants_disks = arguments.power_loss || has_faults && is_ordinary;
    if wants_disks && !arguments.private && disk::is_possible() {
        disk::restart_in_namespace("--private")?;
    }
    // Fails only if a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::WARN).init();
    // Child processes end with the thread that started them, so the threads live as long as this program.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let broken = runtime.block_on(go(arguments))?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    if broken {
        std::process::exit(1);
    }
    Ok(())
}

/// Returns whether a promise was broken or a planted bug was not found.
async fn go(arguments: Arguments) -> Result<bool> {
    let program = match arguments.program.clone() {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("marquee"),
    };
    let program = program.canonicalize().with_context(|| format!("{} is not built", program.display()))?;
    let seed = arguments.seed.unwrap_or_else(|| rand::random_range(1..1_000_000));
    if arguments.power_loss {
        return power_loss(program, &arguments, seed).await;
    }
    match arguments.planted.as_slice() {
        [] => chaos(program, &arguments, seed).await,
        names => selftest(&program, names, seed, arguments.customers).await,
    }
}

async fn power_loss(program: PathBuf, arguments: &Arguments, seed: u64) -> Result<bool> {
    anyhow::ensure!(
        arguments.private,
        "--power-loss needs root with the right to mount, for disks of its own"
    );
    let (rounds, customers) = (arguments.rounds, arguments.customers);
    let run = PowerRun { program, seed, rounds, customers, max_wait: MAX_WAIT };
    match arguments.planted.as_slice() {
        [] => run.run(logs).await,
        [name] if name == WITHOUT_FSYNC => run.test_method(&logs(WITHOUT_FSYNC)?).await,
        other => anyhow::bail!("--power-loss can plant only {WITHOUT_FSYNC}, not {}", other.join(", ")),
    }
}

async fn chaos(program: PathBuf, arguments: &Arguments, seed: u64) -> Result<bool> {
    let together = arguments.together;
    let upgrade_from =
        arguments.upgrade_from.as_deref().map(|program| release(program, arguments)).transpose()?;
    let is_quiet = arguments.quiet || upgrade_from.is_some();
    let replication =
        if arguments.asynchronous { Replication::Asynchronous } else { Replication::Synchronous };
    let cluster = arguments.cluster.then_some(replication);
    let spec = DeploymentSpec {
        program,
        small_disks: arguments.private,
        together,
        cluster,
        planted: None,
        upgrade_from,
        power: None,
    };
    // Faults of a cluster come one at a time, each after the deployment is healed: so nothing else happens meanwhile.
    let lanes: &[Lane] =
        if arguments.cluster { &[Lane::Cluster] } else { &[Lane::Infrastructure, Lane::Processes] };
    let mut kinds = match (is_quiet, arguments.faults.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => {
            Fault::value_variants().iter().copied().filter(|fault| !fault.is_power_loss()).collect()
        }
        (false, false) => arguments.faults.clone(),
    };
    kinds.retain(|fault| {
        let is_of_lane = lanes.contains(&fault.lane());
        if !is_of_lane && arguments.faults.contains(fault) {
            let needed = if arguments.cluster { "needs a run without --cluster" } else { "needs --cluster" };
            println!("  not run: {} ({needed})", run::name(*fault));
        }
        is_of_lane
    });
    let shape = match (&arguments.upgrade_from, together, cluster) {
        (Some(program), ..) => format!(" --upgrade-from {}", program.display()),
        (None, true, _) => " --together".to_owned(),
        (None, _, Some(Replication::Synchronous)) => " --cluster".to_owned(),
        (None, _, Some(Replication::Asynchronous)) => " --cluster --asynchronous".to_owned(),
        (None, false, None) => String::new(),
    };
    println!("chaos --seed {seed} --minutes {}{shape}", arguments.minutes);
    kinds.retain(|fault| match fault.impossible(arguments.private) {
        Some(why) => {
            println!("  not run: {} ({why})", run::name(*fault));
            false
        }
        None => true,
    });
    let load = Duration::from_secs_f64(arguments.minutes * 60.0);
    let lanes = lanes.iter().map(|lane| schedule::lane(seed, *lane, load, &kinds)).collect();
    let plan = RunPlan { seed, load, customers: arguments.customers, lanes, only: None, max_wait: MAX_WAIT };
    let report = run::run(&spec, &plan, &logs(&format!("{seed}"))?).await?;
    report.results.iter().for_each(check::CheckResult::print);
    let failed = report.failed();
    println!(
        "  {} faults; {} processes ended by themselves and were started again",
        report.windows.len(),
        report.restarts
    );
    if failed.is_empty() {
        println!("every promise held");
    } else {
        println!(
            "broken: {}; repeat with --seed {seed} --minutes {}{shape}",
            failed.join(", "),
            arguments.minutes
        );
    }
    Ok(!failed.is_empty())
}

/// Plants each bug and prints the checks that found it. Returns whether a bug was missed or the control found something.
async fn selftest(program: &std::path::Path, names: &[String], seed: u64, customers: usize) -> Result<bool> {
    let bugs: Vec<&Bug> = match names {
        [all] if all == "all" => std::iter::once(&CONTROL).chain(BUGS).collect(),
        names => names.iter().map(|name| bug_named(name)).collect::<Result<_>>()?,
    };
    let (mut missed, mut table) = (false, Vec::new());
    for bug in bugs {
        println!("{}: {}", bug.name, bug.what);
        let begun = std::time::Instant::now();
        let (program, planted) = (program.to_owned(), bug.planted());
        let spec = DeploymentSpec {
            program,
            small_disks: false,
            together: false,
            cluster: None,
            planted,
            upgrade_from: None,
            power: None,
        };
        let report: Report = run::run(&spec, &bug.plan(seed, customers), &logs(bug.name)?).await?;
        report
            .results
            .iter()
            .filter(|result| !result.findings.is_empty())
            .for_each(check::CheckResult::print);
        let failed = report.failed();
        let is_found = bug.is_found_by(&failed);
        missed |= !is_found;
        let verdict = if is_found { "as expected" } else { "NOT AS EXPECTED" };
        let found = if failed.is_empty() { "nothing".to_owned() } else { failed.join(", ") };
        let line = format!("  {:<22} {verdict}, {:.0?}: {found}", bug.name, begun.elapsed());
        println!("{line}");
        table.push(line);
    }
    println!("planted bugs, and the checks that found them (--seed {seed}):");
    table.iter().for_each(|line| println!("{line}"));
    Ok(missed)
}

fn bug_named(name: &str) -> Result<&'static Bug> {
    Bug::named(name).with_context(|| {
        format!(
            "there is no bug {name}; there are control, {}",
            BUGS.iter().map(|bug| bug.name).collect::<Vec<_>>().join(", ")
        )
    })
}

/// The older release that the arguments name.
fn release(program: &std::path::Path, arguments: &Arguments) -> Result<Release> {
    let program = program.canonicalize().with_context(|| format!("{} is not built", program.display()))?;
    let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| path.display().to_string());
    Ok(Release { program, nats_conf: arguments.nats_conf.as_ref().map(read).transpose()? })
}

/// The folder for logs, beside the program.
fn logs(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.with_file_name("chaos-logs").join(name))
}
