//! What each subcommand does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bus::Bus;
use bus::contract::auth::Role;
use bus::token::Verifier;
use tokio_util::sync::CancellationToken;

use crate::cinema::{Cinema, Opening};
use crate::config::{GatewayProcess, HostProcess};
use crate::local::{Folder, NATS_PASSWORD, Servers};
use crate::signals::Signals;
use crate::{config, health, telemetry};

/// The whole cinema on local servers, until Ctrl-C.
pub async fn up(data: &Path, signals: Signals) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let folder = Folder::kept(data)?;
    let environment = config::environment();
    // A server that is dropped while it starts is ended by its guard.
    let starting = Servers::start(&folder, config::external(&environment));
    let Some(servers) = signals.unless_stopped(starting).await? else { return Ok(()) };
    let mut environment = config::demo_defaults(environment, folder.path())?
        .or("DATABASE_URL", &servers.database_url)
        .or("NATS_URL", &servers.nats_url);
    if let Some(redis) = &servers.redis_url {
        environment = environment.or("REDIS_URL", redis);
    }
    let sandbox_log =
        environment.get("PAYMENT_API_URL").is_none().then(|| folder.path().join("sandbox.jsonl"));
    let super_admin = environment.get("SUPER_ADMIN_EMAIL").unwrap_or_default();
    let mails = match environment.get("SMTP_URL") {
        Some(_) => "by SMTP_URL".to_owned(),
        None => environment.get("MAIL_DIR").unwrap_or_default() + "  (one .eml file each)",
    };
    let bridge = match environment.get("AMQP_URL") {
        Some(url) => format!("{}  (the bridge repeats every event there)", bus::address::shown(&url)),
        None => "no bridge; AMQP_URL starts it".to_owned(),
    };
    let opening = Opening { environment, sandbox_log, reservation_hosts: 1, neighbours: true, seed: true };
    let Some(mut cinema) = signals.unless_stopped(Cinema::open(opening)).await? else {
        return servers.stop().await;
    };
    print_welcome(&cinema, &servers, &super_admin, [&mails, &bridge], started.elapsed());
    let ended = tokio::select! {
        () = signals.stop() => Ok(()),
        error = cinema.failed() => Err(error),
    };
    eprintln!("closing …");
    cinema.close().await;
    servers.stop().await?;
    ended
}

fn print_welcome(
    cinema: &Cinema,
    servers: &Servers,
    super_admin: &str,
    [mails, bridge]: [&str; 2],
    took: std::time::Duration,
) {
    let url = cinema.gateway.url();
    let sandbox = cinema.sandbox.as_ref().map_or("(PAYMENT_API_URL)".to_owned(), |sandbox| sandbox.url());
    let redis =
        servers.redis_url.as_deref().unwrap_or("not installed; limits and locks are this process's own");
    let nats = match &servers.nats {
        Some(_) => format!("  (user {}, password {NATS_PASSWORD})", config::OPERATOR),
        None => String::new(),
    };
    let account =
        |a: &actors::auth::DemoAccount| format!("                  {:<24} {}\n", a.email, role(a.role));
    let accounts: String = actors::seed::ACCOUNTS.iter().map(account).collect();
    println!(
        "
  Marquee is open ({:.1} s).  Ctrl-C closes it.

  The cinema      {url}
  REST and docs   {url}/docs      health  {url}/health/ready
  NATS            {}{nats}
  Postgres        {}
  Redis           {redis}
  Payments        {sandbox}  (sandbox: speaks Stripe's API)
  Mails           {mails}
  RabbitMQ        {bridge}

  Accounts        {super_admin:<24} SUPER_ADMIN
{accounts}                  (password popcorn-2026, unless you set another)

  Try             curl {url}/v1/showtimes
                  README.md has a walk from there to a ticket.
",
        took.as_secs_f64(),
        servers.nats_url,
        servers.database_url,
    );
}

fn role(role: Role) -> &'static str {
    match role {
        Role::User => "USER",
        Role::Admin => "ADMIN",
        Role::SuperAdmin => "SUPER_ADMIN",
    }
}

/// One actor host, until SIGTERM.
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
    let ended = tokio::select! {
        () = signals.stop() => Ok(()),
        () = host.failed() => Err(anyhow::anyhow!("the {domain} host failed too often")),
    };
    host.stop().await;
    stop.cancel();
    ended
}

/// The REST gateway, until SIGTERM.
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
    let ended = tokio::select! {
        () = signals.stop() => Ok(()),
        error = gateway.ended() => Err(error),
    };
    gateway.stop().await;
    ended
}

pub async fn migrate() -> anyhow::Result<()> {
    let mut environment = config::environment();
    let url = config::database_url(&mut environment);
    let nats =
        environment.get("NATS_URL").is_some().then(|| config::nats(&mut environment, config::OPERATOR));
    environment.check()?;
    actors::delivery::migrate(&url).await?;
    println!("every schema is up to date");
    if let Some(nats) = nats {
        bus::topology::update_streams(&Bus::connect(nats).await?).await?;
        println!("every stream is up to date");
    }
    Ok(())
}

/// Asks `/health/ready`; an error tells what is not ready.
pub async fn ready(addr: SocketAddr) -> anyhow::Result<()> {
    // Shorter than the time-out of the container engine, whose message would say less.
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(2)).no_proxy().build()?;
    let answer = client.get(format!("http://{addr}/health/ready")).send().await?;
    let status = answer.status();
    anyhow::ensure!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
    Ok(())
}

pub async fn seed() -> anyhow::Result<()> {
    let mut environment = config::environment();
    let host = config::host(&mut environment);
    let nats = config::nats(&mut environment, config::OPERATOR);
    let currency = environment.currency();
    environment.check()?;
    let bus = Bus::connect(nats).await?;
    actors::seed::seed(&host, bus, currency).await?;
    println!("the demo cinema is there");
    Ok(())
}

/// What a part of the house would be started with.
pub fn config(part: &str) -> anyhow::Result<()> {
    print!("{}", config::shown::shown(part, &mut config::environment())?);
    Ok(())
}

/// The sandbox provider on its own, until SIGTERM.
pub async fn sandbox(
    addr: SocketAddr,
    log_file: PathBuf,
    webhook_url: Option<String>,
    signals: Signals,
) -> anyhow::Result<()> {
    let mut environment = config::environment();
    let api_key = environment.required("PAYMENT_API_KEY");
    let webhook_secret = environment.required("PAYMENT_WEBHOOK_SECRET");
    environment.check()?;
    let config =
        crate::sandbox::Config { addr, log_file, webhook_url, webhook_secret, api_key, public_url: None };
    let starting = crate::sandbox::start(config);
    let Some(sandbox) = signals.unless_stopped(starting).await? else { return Ok(()) };
    println!("the sandbox provider listens at {}", sandbox.url());
    signals.stop().await;
    sandbox.stop().await;
    Ok(())
}
