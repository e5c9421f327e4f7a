//! A whole deployment in one process: hosts, sandbox provider and gateway on given servers. `marquee up` and the
//! whole-system tests use it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use actors::auth::DemoAccount;
use actors::host::Host;
use actors::seed::Passwords;
use bus::Bus;
use bus::config::Environment;
use bus::in_process::InProcess;
use bus::token::Verifier;
use gateway::Part;

use crate::config::{self, MAINTENANCE};
use crate::{hosts, telemetry};

/// How a deployment is started. The environment names the servers.
pub struct Opening {
    pub environment: Environment,
    /// The log file of the sandbox provider; `None` when `PAYMENT_API_URL` names another provider.
    pub sandbox_log: Option<PathBuf>,
    /// More than one to test hosts that share the work, as in production.
    pub reservation_hosts: usize,
    /// Requests within this process bypass NATS. Tests use NATS, as separate processes would.
    pub calls_in_process: bool,
    /// Whether to add the demo's accounts and catalogue, and with which passwords.
    pub seed: Option<Passwords>,
}

/// A running deployment in one process.
pub struct Cinema {
    pub gateway: gateway::Running,
    pub sandbox: Option<sandbox::Running>,
    pub hosts: Vec<Host>,
    /// A connection that may do everything; hosts and gateway have their own, each as its own user.
    pub bus: Bus,
    /// The demo accounts that this start created.
    pub new_accounts: Vec<DemoAccount>,
}

impl Cinema {
    pub async fn open(opening: Opening) -> anyhow::Result<Self> {
        let mut environment = opening.environment;
        let database_url = config::database_url(&mut environment);
        let (maintenance, door) = (
            config::nats_among_others(&mut environment, MAINTENANCE),
            config::nats_among_others(&mut environment, "gateway"),
        );
        environment.check()?;
        let (migrated, bus, door) = tokio::join!(
            actors::migrations::migrate(&database_url),
            Bus::connect(maintenance),
            Bus::connect(door)
        );
        migrated?;
        let (bus, mut door) = (bus?, door?);
        let in_process = InProcess::default();
        if opening.calls_in_process {
            door.in_process = in_process.from_outside();
        }
        bus::topology::update_streams(&bus).await?;
        let sandbox = match opening.sandbox_log {
            Some(log_file) => Some(sandbox::start(sandbox_config(&environment, log_file)).await?),
            None => None,
        };
        if let Some(sandbox) = &sandbox {
            environment = environment.or("PAYMENT_API_URL", sandbox.url());
        }
        let verifier = Verifier::new(door.clone(), &bus::contract::auth::KeySet::default());
        let shared = opening.calls_in_process.then(|| (in_process, verifier.clone()));
        // The hosts' health is set once everything is started and seeded; until then the gateway is not ready.
        let healths = std::sync::Arc::new(std::sync::OnceLock::new());
        let started = healths.clone();
        // Its hosts stop with it, so no other gateway serves meanwhile, unless there are several such processes.
        environment = environment.or("DRAIN_SECONDS", "0");
        let gateway_config = gateway::Config::read(&mut environment);
        environment.check()?;
        let gateway =
            gateway::start(gateway_config, door, verifier, telemetry::metrics(), move || parts(&started))
                .await?;
        // The next start may use another port, and tokens issued before must stay valid.
        if environment.get("PUBLIC_URL").is_none() {
            environment = environment.or("TOKEN_ISSUER", bus::token::ISSUER);
        }
        environment = environment.or("PUBLIC_URL", gateway.url());
        if let Some(sandbox) = &sandbox {
            sandbox.set_webhook_url(format!("http://{}/v1/payments/webhook", gateway.addr()));
        }
        let hosts = start_hosts(&environment, opening.reservation_hosts, shared).await?;
        let mut new_accounts = Vec::new();
        if let Some(passwords) = opening.seed {
            let (currency, host) = (environment.currency(), config::host(&mut environment));
            new_accounts = actors::seed::seed(&host, bus.clone(), currency, passwords).await?.new_accounts;
        }
        let health = |host: &Host| -> (&'static str, HealthOf) { (host.domain(), Box::new(host.health())) };
        let _ = healths.set(hosts.iter().map(health).collect());
        Ok(Self { gateway, sandbox, hosts, bus, new_accounts })
    }

    /// Returns when a host or the gateway has failed for good.
    pub async fn failed(&mut self) -> anyhow::Error {
        let failing = self.hosts.iter_mut().map(|host| {
            Box::pin(async {
                host.failed().await;
                anyhow::anyhow!("the {} host failed too often", host.domain())
            })
        });
        tokio::select! {
            (error, ..) = futures::future::select_all(failing) => error,
            error = self.gateway.ended() => error,
        }
    }

    /// Stops the gateway first, so that no more requests arrive, then the hosts, and the provider last, since hosts use it.
    pub async fn close(self) {
        self.gateway.stop().await;
        futures::future::join_all(self.hosts.into_iter().map(Host::stop)).await;
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
    }
}

async fn start_hosts(
    environment: &Environment,
    reservation_hosts: usize,
    shared: Option<(InProcess, Verifier)>,
) -> anyhow::Result<Vec<Host>> {
    let copies = |domain: &str| if domain == "reservation" { reservation_hosts } else { 1 };
    // Without an address there is no bridge; that is not an error.
    let is_started = |domain: &&str| *domain != hosts::BRIDGE || environment.get("AMQP_URL").is_some();
    let domains =
        hosts::all().filter(is_started).flat_map(|domain| std::iter::repeat_n(domain, copies(domain)));
    let starting = domains.map(|domain| {
        let (mut environment, shared) = (environment.clone(), shared.clone());
        async move {
            config::database_among_others(&mut environment, domain);
            let mut bus = Bus::connect(config::nats_among_others(&mut environment, domain)).await?;
            let (in_process, verifier) = shared.unzip();
            // The bridge sends requests of outside services; `nats.conf` decides which ones it may send.
            if let Some(in_process) = in_process.filter(|_| domain != hosts::BRIDGE) {
                bus.in_process = in_process;
            }
            hosts::start(domain, &mut environment, bus, verifier).await
        }
    });
    futures::future::try_join_all(starting).await
}

fn sandbox_config(environment: &Environment, log_file: PathBuf) -> sandbox::Config {
    sandbox::Config {
        addr: ([127, 0, 0, 1], 0).into(),
        log_file,
        webhook_url: None,
        webhook_secret: environment.get("PAYMENT_WEBHOOK_SECRET").unwrap_or_default(),
        api_key: environment.get("PAYMENT_API_KEY").unwrap_or_default(),
        public_url: None,
    }
}

type HealthOf = Box<dyn Fn() -> actors::host::Health + Send + Sync>;
type Healths = Vec<(&'static str, HealthOf)>;

fn parts(healths: &std::sync::OnceLock<Healths>) -> BTreeMap<String, Part> {
    let Some(healths) = healths.get() else {
        return BTreeMap::from([("hosts".to_owned(), Part::new(false, "starting"))]);
    };
    let part = |health: actors::host::Health| {
        let away = [(health.nats, "NATS is away"), (health.database != Some(false), "the database is away")];
        let detail = away.into_iter().filter(|(well, _)| !well).map(|(_, detail)| detail.to_owned());
        let restarts =
            if health.restarts > 0 { format!("{} restarts", health.restarts) } else { String::new() };
        let detail = detail.chain(health.degraded.clone());
        let detail: Vec<String> = detail.chain((!restarts.is_empty()).then_some(restarts)).collect();
        match health.is_ready() && !health.degraded.is_empty() {
            true => Part::degraded(detail.join("; ")),
            false => Part::new(health.is_ready(), detail.join("; ")),
        }
    };
    healths.iter().map(|(domain, health)| ((*domain).to_owned(), part(health()))).collect()
}
