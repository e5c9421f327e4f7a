//! Chaos: injects faults into a whole deployment of real processes under load, and checks from outside that nothing is lost.
//!
//! `make chaos` is a short seeded run, `chaos --minutes 60` a long one; `make chaos-selftest` plants bugs that the checks must find.
//! The exit code is 1 when a promise was broken. The printed seed repeats the schedule of faults.

mod check;
mod client;
mod deployment;
mod disk;
mod end_state;
mod fault;
mod load;
mod mail_server;
mod planted;
mod process;
mod proxy;
mod record;
mod recovery;
mod run;
mod schedule;
mod staff;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use deployment::DeploymentSpec;
use fault::{Fault, Lane};
use planted::{BUGS, Bug, CONTROL};
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
    /// Concurrent customers
    #[arg(long = "crowd", default_value_t = 6)]
    customers: usize,
    /// Two processes of `marquee up`, each with all hosts, instead of a process for each host
    #[arg(long)]
    together: bool,
    /// The program; by default `marquee` in the folder of this one
    #[arg(long)]
    program: Option<PathBuf>,
    /// Plant these bugs one after another, or `all`; the checks must find each. Needs a program with the feature `planted`
    #[arg(long, value_delimiter = ',')]
    planted: Vec<String>,
    /// Set by this program itself when it runs in its own mount namespace
    #[arg(long, hide = true)]
    private: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let wants_disks = arguments.planted.is_empty() && !arguments.quiet;
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
    match arguments.planted.as_slice() {
        [] => chaos(program, &arguments, seed).await,
        names => selftest(&program, names, seed, arguments.customers).await,
    }
}

async fn chaos(program: PathBuf, arguments: &Arguments, seed: u64) -> Result<bool> {
    let together = arguments.together;
    let spec = DeploymentSpec { program, small_disks: arguments.private, together, planted: None };
    let mut kinds = match (arguments.quiet, arguments.faults.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => Fault::value_variants().to_vec(),
        (false, false) => arguments.faults.clone(),
    };
    let shape = if together { " --together" } else { "" };
    println!("chaos --seed {seed} --minutes {}{shape}", arguments.minutes);
    kinds.retain(|fault| match fault.impossible(arguments.private) {
        Some(why) => {
            println!("  not run: {} ({why})", run::name(*fault));
            false
        }
        None => true,
    });
    let load = Duration::from_secs_f64(arguments.minutes * 60.0);
    let lanes =
        [Lane::Infrastructure, Lane::Processes].map(|lane| schedule::lane(seed, lane, load, &kinds)).to_vec();
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
        [all] if all == "all" => std::iter::once(&CONTROL).chain(&BUGS).collect(),
        names => names.iter().map(|name| bug_named(name)).collect::<Result<_>>()?,
    };
    let (mut missed, mut table) = (false, Vec::new());
    for bug in bugs {
        println!("{}: {}", bug.name, bug.what);
        let begun = std::time::Instant::now();
        let (program, planted) = (program.to_owned(), bug.planted());
        let spec = DeploymentSpec { program, small_disks: false, together: false, planted };
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
        format!("there is no bug {name}; there are control, {}", BUGS.map(|bug| bug.name).join(", "))
    })
}

/// The folder for logs, beside the program.
fn logs(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.with_file_name("chaos-logs").join(name))
}
