//! Settings of the program itself: NATS, logging, and what `marquee up` sets by default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

use actors::delivery::RolePasswords;
use actors::migrations::schemas;
use bus::address::Address;
use bus::config::Environment;
use bus::connection::{Credentials, SCHEMES};
use bus::contract::auth::KeySet;
use bus::streams::Streams;
use tracing_subscriber::EnvFilter;

use crate::hosts;
use crate::local::{External, read_or_create};

pub mod shown;
pub mod up;

/// The default password of every NATS user in docker-compose.yml, and so the default of `NATS_PASSWORD`.
const NATS_PASSWORD: &str = "marquee";

/// The name of the one host, or `gateway`, that this process runs, if it runs only one; it names the file of its settings.
static PART: OnceLock<String> = OnceLock::new();

/// Sets once, at the start, that this process runs one host or the gateway.
pub fn this_is(part: &str) {
    let _ = PART.set(part.to_owned());
}

/// This process's environment; where it runs one host or the gateway, unset variables come from `config/<part>.env`.
pub fn environment() -> Environment {
    let environment = Environment::of_process();
    match PART.get() {
        Some(part) => environment.or_file(&PathBuf::from(format!("config/{part}.env"))),
        None => environment,
    }
}

/// The settings of a process with one host.
pub struct HostProcess {
    pub health_addr: SocketAddr,
    pub nats: bus::Config,
    pub plan: hosts::Plan,
}

impl HostProcess {
    /// Reads all settings of a host; what is wrong with them is noted in the environment.
    pub fn read(domain: &str, environment: &mut Environment) -> anyhow::Result<Self> {
        logging(environment);
        traces(environment);
        Ok(Self {
            plan: hosts::Plan::read(domain, environment)?,
            health_addr: health_addr(environment),
            nats: nats(environment, domain),
        })
    }
}

/// The settings of a process with the gateway.
pub struct GatewayProcess {
    pub gateway: gateway::Config,
    pub nats: bus::Config,
    pub keys: KeySet,
}

impl GatewayProcess {
    pub fn read(environment: &mut Environment) -> Self {
        logging(environment);
        traces(environment);
        Self {
            gateway: gateway::Config::read(environment),
            nats: nats(environment, "gateway"),
            keys: actors::config::public_keys(environment),
        }
    }
}

/// The user of `nats.conf` for people: the CLI `nats` and `marquee dead-letters`. It sees everything and changes only dead letters.
pub const OPERATOR: &str = "operator";

/// The user of `nats.conf` who may do everything: `marquee migrate`, `seed`, `events replay` and `up`.
pub const MAINTENANCE: &str = "maintenance";

/// As [`nats`], for a process that holds several users: each one's password is found under its name, such as
/// `NATS_PASSWORD_AUTH`, and `NATS_PASSWORD` serves those without.
pub fn nats_among_others(environment: &mut Environment, user: &str) -> bus::Config {
    let own = format!("NATS_PASSWORD_{}", user.to_uppercase());
    match environment.get(&own) {
        Some(_) => nats_with(environment, user, &own),
        None => nats(environment, user),
    }
}

/// How to reach NATS as one of the users in `nats.conf`: a host, the gateway, or one of the commands' users.
pub fn nats(environment: &mut Environment, user: &str) -> bus::Config {
    nats_with(environment, user, "NATS_PASSWORD")
}

/// The same, where the password is found under `password_name`.
fn nats_with(environment: &mut Environment, user: &str, password_name: &str) -> bus::Config {
    bus::tls::read(environment);
    let urls = environment.required_urls("NATS_URL", &SCHEMES);
    let named = urls.iter().filter_map(|url| Address::parse(url).ok()).find(|url| url.user.is_some());
    let (named, in_address) = named.map_or((None, None), |address| (address.user, address.password));
    let credentials = nats_credentials(environment, password_name, in_address);
    let secret = if let Credentials::Password(password) = &credentials { password } else { "" };
    environment.check_secret(password_name, secret);
    bus::Config {
        urls,
        user: environment.get("NATS_USER").or(named).unwrap_or_else(|| user.to_owned()),
        credentials,
        name: format!("marquee-{user}"),
        streams: Streams::read(environment),
    }
}

/// `NATS_CREDS`, `NATS_NKEY` or the password under `password_name`; without any of them the password in the address.
fn nats_credentials(
    environment: &mut Environment,
    password_name: &str,
    in_address: Option<String>,
) -> Credentials {
    let (creds, nkey) = (environment.get("NATS_CREDS"), environment.get("NATS_NKEY"));
    let password = environment.get(password_name).or(in_address).unwrap_or_else(|| NATS_PASSWORD.into());
    match (creds, nkey) {
        (Some(_), Some(_)) => environment.problem("NATS_CREDS and NATS_NKEY", "must not be set together"),
        (Some(path), None) => match std::fs::read_to_string(path.trim()) {
            Ok(text) if text.contains("BEGIN NATS USER JWT") && text.contains("SEED") => {
                return Credentials::Creds(text);
            }
            _ => environment
                .problem("NATS_CREDS", "must be the path of a readable .creds file, as `nsc` makes it"),
        },
        (None, Some(nkey)) => {
            let file = || std::fs::read_to_string(nkey.trim()).ok();
            let seed = if is_seed(nkey.trim()) { Some(nkey.clone()) } else { file() };
            match seed.map(|seed| seed.trim().to_owned()).filter(|seed| is_seed(seed)) {
                Some(seed) => return Credentials::Nkey(seed),
                None => environment.problem(
                    "NATS_NKEY",
                    "must be the seed of a user (SU…), or the path of a file that has it",
                ),
            }
        }
        (None, None) => {}
    }
    Credentials::Password(password)
}

/// The seed of a user's nkey: 58 characters of base32.
fn is_seed(text: &str) -> bool {
    let base32 = |b: u8| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b);
    text.len() == 58 && text.starts_with("SU") && text.bytes().all(base32)
}

/// `DATABASE_URL`, for commands that need no other setting of a host.
pub fn database_url(environment: &mut Environment) -> String {
    bus::tls::read(environment);
    actors::config::database_url(environment)
}

/// `DATABASE_PASSWORD_AUTH` and so on: the Postgres password of each domain's role.
pub fn role_passwords(environment: &mut Environment) -> RolePasswords {
    let mut passwords = RolePasswords::new();
    for domain in schemas().map(|domain| domain.name) {
        let name = format!("DATABASE_PASSWORD_{}", domain.to_uppercase());
        if let Some(password) = environment.get(&name) {
            environment.check_secret(&name, &password);
            passwords.insert(domain, password);
        }
    }
    passwords
}

/// In a process with several hosts, each may have its own role by `DATABASE_URL_AUTH` and so on, with the password in
/// `DATABASE_PASSWORD_AUTH` if the address has none.
pub fn database_among_others(environment: &mut Environment, domain: &str) {
    let domain = domain.to_uppercase();
    let Some(url) = environment.get(&format!("DATABASE_URL_{domain}")) else { return };
    let has_password = Address::parse(url.trim()).is_ok_and(|address| address.password.is_some());
    let password = environment.get(&format!("DATABASE_PASSWORD_{domain}")).filter(|_| !has_password);
    environment.set("DATABASE_URL", url);
    environment.set("DATABASE_PASSWORD", password.unwrap_or_default());
}

/// The settings of every host.
pub fn host(environment: &mut Environment) -> actors::config::HostConfig {
    actors::config::HostConfig::read(environment)
}

/// Servers that `marquee up` uses instead of starting its own.
pub fn external(environment: &Environment) -> External {
    External {
        database_url: environment.get("DATABASE_URL"),
        nats_url: environment.get("NATS_URL"),
        redis_url: environment.get("REDIS_URL"),
    }
}

/// The address of `/health/*` and `/metrics` of a host; by default a free port on 127.0.0.1.
pub fn health_addr(environment: &mut Environment) -> SocketAddr {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    match environment.get("HEALTH_ADDR").map(|text| text.parse()) {
        None => free,
        Some(Ok(addr)) => addr,
        Some(Err(_)) => {
            environment.problem("HEALTH_ADDR", "must be an address and a port such as 0.0.0.0:9090");
            free
        }
    }
}

/// `RUST_LOG` and whether `LOG_FORMAT` is json.
pub fn logging(environment: &mut Environment) -> (EnvFilter, bool) {
    const DEFAULT: &str = "info,sqlx=warn,async_nats=warn";
    let filter = environment.get("RUST_LOG").unwrap_or_else(|| DEFAULT.into());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| {
        environment.problem("RUST_LOG", "must be a filter such as info,sqlx=warn");
        EnvFilter::new(DEFAULT)
    });
    // RabbitMQ's client logs as errors what the bridge handles: the whole body of every message that no queue accepts, which the
    // bridge counts; and every channel or connection that the broker closes, which the bridge reports with its reason
    // (checking whether a service's queue exists closes a channel every three seconds).
    let quiet = ["lapin::returned_messages=off", "lapin::channel=off"];
    let quiet = quiet.map(|directive| directive.parse().expect("a target and a level"));
    let filter = quiet.into_iter().fold(filter, EnvFilter::add_directive);
    let json = match environment.get("LOG_FORMAT").as_deref() {
        None | Some("pretty") => false,
        Some("json") => true,
        Some(_) => {
            environment.problem("LOG_FORMAT", "must be pretty or json");
            false
        }
    };
    (filter, json)
}

/// `OTEL_EXPORTER_OTLP_ENDPOINT`: the collector of spans, if any.
pub fn traces(environment: &mut Environment) -> Option<String> {
    let url = environment.url("OTEL_EXPORTER_OTLP_ENDPOINT", &["http://", "https://"]);
    url.map(|url| url.trim_end_matches('/').to_owned())
}

/// This process's name in traces.
pub fn part() -> String {
    PART.get().map_or_else(|| "marquee".to_owned(), |part| format!("marquee-{part}"))
}

/// The key that signs access tokens; it is created where the file does not exist.
pub fn signing_key(path: &std::path::Path) -> anyhow::Result<String> {
    read_or_create(path, actors::auth::token::generate_pem)
}

#[cfg(test)]
mod tests;
