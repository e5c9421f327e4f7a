//! Chaos: breaks a whole cinema of real processes while it sells, mends it, and checks from outside that nothing was lost.
//!
//! `make chaos` is a short seeded run, `chaos --minutes 60` a long one; `make chaos-selftest` plants bugs that the checks must find.
//! It ends with 1 when a promise was broken, and tells the seed that repeats the schedule.

mod check;
mod crowd;
mod disk;
mod fault;
mod house;
mod link;
mod owner;
mod planted;
mod post;
mod process;
mod rest;
mod run;
mod schedule;
mod settle;
mod story;
mod truth;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use fault::{Fault, Lane};
use house::Blueprint;
use planted::{BUGS, Bug, CONTROL};
use run::{Plan, Report};

/// Rest must come within two minutes; half a minute more tells by how much it was missed.
const PATIENCE: Duration = Duration::from_secs(150);

#[derive(Parser)]
#[command(version, about = "Breaks a whole cinema while it sells, and checks that nothing is lost")]
struct Arguments {
    /// Repeats the schedule of an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// How long the crowd comes and things break
    #[arg(long, default_value_t = 2.5)]
    minutes: f64,
    /// Only these faults
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Nothing breaks: what the checks say of a quiet house
    #[arg(long)]
    quiet: bool,
    /// Moviegoers at once
    #[arg(long, default_value_t = 6)]
    crowd: usize,
    /// Two of `marquee up`, each with every host in it, instead of a process for each host
    #[arg(long)]
    together: bool,
    /// The program; `marquee` beside this one without it
    #[arg(long)]
    program: Option<PathBuf>,
    /// Plant these bugs one after another, or `all`; each must be found. Needs a program with the feature `planted`
    #[arg(long, value_delimiter = ',')]
    planted: Vec<String>,
    /// Set by this program itself when it has made its own mount namespace
    #[arg(long, hide = true)]
    private: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let wants_disks = arguments.planted.is_empty() && !arguments.quiet;
    if wants_disks && !arguments.private && disk::is_possible() {
        disk::go_private("--private")?;
    }
    // Fails when somebody else was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::WARN).init();
    // Its threads live as long as this program; a process that they start is ended with them.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let broken = runtime.block_on(go(arguments))?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    if broken {
        std::process::exit(1);
    }
    Ok(())
}

/// True when a promise was broken, or a planted bug not found.
async fn go(arguments: Arguments) -> Result<bool> {
    let program = match arguments.program.clone() {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("marquee"),
    };
    let program = program.canonicalize().with_context(|| format!("{} is not built", program.display()))?;
    let seed = arguments.seed.unwrap_or_else(|| rand::random_range(1..1_000_000));
    match arguments.planted.as_slice() {
        [] => chaos(program, &arguments, seed).await,
        which => selftest(&program, which, seed, arguments.crowd).await,
    }
}

async fn chaos(program: PathBuf, arguments: &Arguments, seed: u64) -> Result<bool> {
    let together = arguments.together;
    let blueprint = Blueprint { program, small_disks: arguments.private, together, planted: None };
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
    let lanes = [Lane::Ground, Lane::People].map(|lane| schedule::lane(seed, lane, load, &kinds)).to_vec();
    let plan = Plan { seed, load, crowd: arguments.crowd, lanes, only: None, patience: PATIENCE };
    let report = run::run(&blueprint, &plan, &logs(&format!("{seed}"))?).await?;
    report.checked.iter().for_each(check::Checked::print);
    let failed = report.failed();
    println!(
        "  {} faults; {} processes ended by themselves and were started again",
        report.windows.len(),
        report.revived
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

/// Plants each bug and tells which checks found it; true when one was missed, or the control was not clean.
async fn selftest(program: &std::path::Path, which: &[String], seed: u64, crowd: usize) -> Result<bool> {
    let bugs: Vec<&Bug> = match which {
        [all] if all == "all" => std::iter::once(&CONTROL).chain(&BUGS).collect(),
        names => names.iter().map(|name| known(name)).collect::<Result<_>>()?,
    };
    let (mut missed, mut table) = (false, Vec::new());
    for bug in bugs {
        println!("{}: {}", bug.name, bug.what);
        let begun = std::time::Instant::now();
        let (program, planted) = (program.to_owned(), bug.planted());
        let blueprint = Blueprint { program, small_disks: false, together: false, planted };
        let report: Report = run::run(&blueprint, &bug.plan(seed, crowd), &logs(bug.name)?).await?;
        report.checked.iter().filter(|checked| !checked.findings.is_empty()).for_each(check::Checked::print);
        let failed = report.failed();
        let shown = bug.is_shown_by(&failed);
        missed |= !shown;
        let verdict = if shown { "as it should" } else { "NOT AS IT SHOULD" };
        let found = if failed.is_empty() { "nothing".to_owned() } else { failed.join(", ") };
        let line = format!("  {:<22} {verdict}, {:.0?}: {found}", bug.name, begun.elapsed());
        println!("{line}");
        table.push(line);
    }
    println!("planted bugs, and the checks that found them (--seed {seed}):");
    table.iter().for_each(|line| println!("{line}"));
    Ok(missed)
}

fn known(name: &str) -> Result<&'static Bug> {
    Bug::named(name).with_context(|| {
        format!("there is no bug {name}; there are control, {}", BUGS.map(|bug| bug.name).join(", "))
    })
}

/// Beside the program, in the build's own folder.
fn logs(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.with_file_name("chaos-logs").join(name))
}
