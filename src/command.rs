//! The subcommands.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use actors::seed::Passwords;
use bus::Bus;
use bus::config::Environment;
use bus::token::Verifier;
use tokio_util::sync::CancellationToken;

use crate::cinema::{Cinema, Opening};
use crate::config::{GatewayProcess, HostProcess};
use crate::local::{Folder, Servers};
use crate::signals::Signals;
use crate::startup_summary::{StartupSummary, accounts};
use crate::{config, health, service_manager, telemetry};

/// Runs the whole deployment on local servers until Ctrl-C.
pub async fn up(data: &Path, signals: Signals) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let environment = config::environment();
    config::up::check(&environment)?;
    let folder = Folder::permanent(data)?;
    // The guard of a server ends it when its value is dropped while it starts.
    let starting = Servers::start(&folder, config::external(&environment));
    let Some(servers) = signals.unless_stopped(starting).await? else { return Ok(()) };
    let filled = config::up::filled(environment, folder.path(), &servers)?;
    let environment = filled.environment;
    let sandbox_log =
        environment.get("PAYMENT_API_URL").is_none().then(|| folder.path().join("sandbox.jsonl"));
    let summary = StartupSummary::new(&environment, &servers, filled.super_admin_password);
    let seed = Some(filled.passwords);
    let opening = Opening { environment, sandbox_log, reservation_hosts: 1, calls_in_process: true, seed };
    let Some(mut cinema) = signals.unless_stopped(Cinema::open(opening)).await? else {
        return servers.stop().await;
    };
    summary.print(&cinema, filled.passwords, started.elapsed());
    let ended = tokio::select! {
        () = signals.stop() => Ok(()),
        error = cinema.failed() => Err(error),
    };
    eprintln!("closing …");
    if ended.is_ok() {
        signals.unless_repeated(cinema.gateway.drain()).await;
    }
    cinema.close().await;
    servers.stop().await?;
    ended
}

/// Runs one actor host until SIGTERM.
pub async fn host(domain: &str, signals: Signals) -> anyhow::Result<()> {
    let mut environment = config::environment();
    let process = HostProcess::read(domain, &mut environment)?;
    environment.check()?;
    let stop = CancellationToken::new();
    let starting = async {
        let bus = Bus::connect(process.nats).await?;
        bus::topology::ensure_streams(&bus).await?;
        let host = process.plan.start(bus, None).await?;
        let addr = health::serve(process.health_addr, host.health(), stop.clone()).await?;
        tracing::info!(domain, %addr, "health at /health/ready");
        Ok(host)
    };
    let Some(mut host) = signals.unless_stopped(starting).await? else { return Ok(()) };
    service_manager::ready();
    let ended = tokio::select! {
        () = signals.stop() => Ok(()),
        () = host.failed() => Err(anyhow::anyhow!("the {domain} host failed too often")),
    };
    service_manager::stopping();
    host.stop().await;
    stop.cancel();
    ended
}

/// Runs the REST gateway until SIGTERM.
pub async fn gateway(signals: Signals) -> anyhow::Result<()> {
    let mut environment = config::environment();
    let process = GatewayProcess::read(&mut environment);
    environment.check()?;
    let starting = async {
        let bus = Bus::connect(process.nats).await?;
        let verifier = Verifier::new(bus.clone(), &process.keys);
        let parts = std::collections::BTreeMap::new;
        gateway::start(process.gateway, bus, verifier, telemetry::metrics(), parts).await
    };
    let Some(mut gateway) = signals.unless_stopped(starting).await? else { return Ok(()) };
    service_manager::ready();
    let ended = tokio::select! {
        () = signals.stop() => Ok(()),
        error = gateway.ended() => Err(error),
    };
    service_manager::stopping();
    if ended.is_ok() {
        signals.unless_repeated(gateway.drain()).await;
    }
    gateway.stop().await;
    ended
}

pub async fn migrate() -> anyhow::Result<()> {
    let mut environment = config::environment();
    let url = config::database_url(&mut environment);
    let nats = environment
        .get("NATS_URL")
        .is_some()
        .then(|| config::nats_among_others(&mut environment, config::MAINTENANCE));
    let passwords = config::role_passwords(&mut environment);
    environment.check()?;
    let roles = actors::migrations::migrate_with(&url, &passwords).await?;
    println!("every schema is up to date");
    if !roles.is_empty() {
        println!("each of these roles has rights to its own schema: {}", roles.join(", "));
    }
    if let Some(nats) = nats {
        bus::topology::update_streams(&Bus::connect(nats).await?).await?;
        println!("every stream is up to date");
    }
    Ok(())
}

/// Requests `/health/ready`; the error names what is not ready.
pub async fn ready(addr: SocketAddr) -> anyhow::Result<()> {
    // Shorter than the time-out of the container engine, whose message would have no details.
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(2)).no_proxy().build()?;
    let answer = client.get(format!("http://{addr}/health/ready")).send().await?;
    let status = answer.status();
    anyhow::ensure!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
    Ok(())
}

pub async fn seed() -> anyhow::Result<()> {
    let mut environment = config::environment();
    let host = config::host(&mut environment);
    let nats = config::nats_among_others(&mut environment, config::MAINTENANCE);
    let currency = environment.currency();
    let passwords = seed_passwords(&mut environment, &host.database_url);
    environment.check()?;
    let bus = Bus::connect(nats).await?;
    let seeded = actors::seed::seed(&host, bus, currency, passwords).await?;
    println!("the demo cinema is there");
    if passwords == Passwords::Random && !seeded.new_accounts.is_empty() {
        println!("new accounts, with passwords that are shown this once:");
        print!("{}", accounts("  ", &seeded.new_accounts));
    }
    Ok(())
}

/// The README's password only where the public address is of this machine; without one, where the database is.
fn seed_passwords(environment: &mut Environment, database_url: &str) -> Passwords {
    let is_demo = match environment.get("PUBLIC_URL") {
        Some(_) => environment.is_demo(),
        None => bus::config::is_loopback(database_url),
    };
    if is_demo { Passwords::Demo } else { Passwords::Random }
}

/// Prints the settings with which a host or the gateway would be started.
pub fn config(part: &str) -> anyhow::Result<()> {
    print!("{}", config::shown::shown(part, &mut config::environment())?);
    Ok(())
}

/// Addresses that the sandbox provider uses.
pub struct SandboxUrls {
    pub webhook_url: Option<String>,
    /// At which browsers reach the payment page.
    pub public_url: Option<String>,
}

/// Runs the sandbox provider alone until SIGTERM.
pub async fn sandbox(
    addr: SocketAddr,
    log_file: PathBuf,
    urls: SandboxUrls,
    signals: Signals,
) -> anyhow::Result<()> {
    let mut environment = config::environment();
    let api_key = environment.required("PAYMENT_API_KEY");
    let webhook_secret = environment.required("PAYMENT_WEBHOOK_SECRET");
    environment.check()?;
    let SandboxUrls { webhook_url, public_url } = urls;
    let config = sandbox::Config { addr, log_file, webhook_url, webhook_secret, api_key, public_url };
    let starting = sandbox::start(config);
    let Some(sandbox) = signals.unless_stopped(starting).await? else { return Ok(()) };
    println!("the sandbox provider listens at {}", sandbox.url());
    signals.stop().await;
    sandbox.stop().await;
    Ok(())
}
