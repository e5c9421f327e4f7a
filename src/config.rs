//! What the program itself reads from the environment: where NATS is, how to log, what `marquee up` fills in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Context;
use bus::address::Address;
use bus::config::Environment;
use bus::connection::{Credentials, SCHEMES};
use bus::contract::auth::KeySet;
use bus::topology::Streams;
use tracing_subscriber::EnvFilter;

use crate::hosts;
use crate::local::{External, NATS_PASSWORD};

pub mod shown;

/// The part of the house that this process is, if it is one alone; it names the file of its settings.
static PART: OnceLock<String> = OnceLock::new();

/// Says once, at the start, that this process is one host or the gateway.
pub fn this_is(part: &str) {
    let _ = PART.set(part.to_owned());
}

/// This process's environment; where it is one part of the house, what is not set there comes from
/// `config/<part>.env`.
pub fn environment() -> Environment {
    let environment = Environment::of_process();
    match PART.get() {
        Some(part) => environment.or_file(&PathBuf::from(format!("config/{part}.env"))),
        None => environment,
    }
}

/// All that one host of its own is started with.
pub struct HostProcess {
    pub health_addr: SocketAddr,
    pub nats: bus::Config,
    pub plan: hosts::Plan,
}

impl HostProcess {
    /// Reads everything that a host reads, and notes all that is wrong.
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

/// All that a gateway of its own is started with.
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

/// The user of the command line in `nats.conf`, who may do everything.
pub const OPERATOR: &str = "operator";

/// As [`nats`], for a process that holds several users: each one's password is found under its name, such as
/// `NATS_PASSWORD_AUTH`, and `NATS_PASSWORD` serves those without.
pub fn nats_among_others(environment: &mut Environment, user: &str) -> bus::Config {
    let own = environment.get(&format!("NATS_PASSWORD_{}", user.to_uppercase()));
    let config = nats(environment, user);
    let credentials = match (own, config.credentials) {
        (Some(own), Credentials::Password(_)) => Credentials::Password(own),
        (_, credentials) => credentials,
    };
    bus::Config { credentials, ..config }
}

/// How to reach NATS as one of the users in `nats.conf`: a host, the gateway, the operator.
pub fn nats(environment: &mut Environment, user: &str) -> bus::Config {
    bus::tls::read(environment);
    let urls = environment.required_urls("NATS_URL", &SCHEMES);
    let named = urls.iter().filter_map(|url| Address::parse(url).ok()).find(|url| url.user.is_some());
    let (named, password) = named.map_or((None, None), |address| (address.user, address.password));
    bus::Config {
        urls,
        user: environment.get("NATS_USER").or(named).unwrap_or_else(|| user.to_owned()),
        credentials: nats_credentials(environment, password),
        name: format!("marquee-{user}"),
        streams: Streams::read(environment),
    }
}

/// `NATS_CREDS`, `NATS_NKEY` or `NATS_PASSWORD`; without any of them the password in the address.
fn nats_credentials(environment: &mut Environment, in_address: Option<String>) -> Credentials {
    let (creds, nkey) = (environment.get("NATS_CREDS"), environment.get("NATS_NKEY"));
    let password = environment.get("NATS_PASSWORD").or(in_address).unwrap_or_else(|| NATS_PASSWORD.into());
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

/// `DATABASE_URL`, for commands that need nothing else of a host.
pub fn database_url(environment: &mut Environment) -> String {
    bus::tls::read(environment);
    environment.required_url("DATABASE_URL", &actors::config::DATABASE_SCHEMES)
}

/// What every host needs.
pub fn host(environment: &mut Environment) -> actors::config::HostConfig {
    actors::config::HostConfig::read(environment)
}

/// Servers that `marquee up` is to use instead of its own.
pub fn external(environment: &Environment) -> External {
    External {
        database_url: environment.get("DATABASE_URL"),
        nats_url: environment.get("NATS_URL"),
        redis_url: environment.get("REDIS_URL"),
    }
}

/// Where a host answers `/health/*` and `/metrics`; a free port of this machine when not set.
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
    // It would write the whole body of every message that no queue wanted; the bridge counts them.
    let quiet = "lapin::returned_messages=off".parse().expect("a target and a level");
    let filter = filter.add_directive(quiet);
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

/// `OTEL_EXPORTER_OTLP_ENDPOINT`: where spans go, if anywhere.
pub fn traces(environment: &mut Environment) -> Option<String> {
    let url = environment.url("OTEL_EXPORTER_OTLP_ENDPOINT", &["http://", "https://"]);
    url.map(|url| url.trim_end_matches('/').to_owned())
}

/// This process's name in traces.
pub fn part() -> String {
    PART.get().map_or_else(|| "marquee".to_owned(), |part| format!("marquee-{part}"))
}

/// What `marquee up` needs and nobody has set: keys of its own, kept in the data folder, and the demo's accounts.
pub fn demo_defaults(environment: Environment, folder: &std::path::Path) -> anyhow::Result<Environment> {
    let key = signing_key(&folder.join("jwt.pem"))?;
    let secret = kept(&folder.join("webhook-secret"), || {
        format!("whsec_{}", hex::encode(rand::random::<[u8; 24]>()))
    })?;
    Ok(environment
        .or("MAIL_DIR", folder.join("mail").display().to_string())
        .or("JWT_PRIVATE_KEY", key)
        .or("MEDIA_DIR", folder.join("media").to_string_lossy())
        .or("PAYMENT_WEBHOOK_SECRET", secret)
        .or("PAYMENT_API_KEY", "sk_test_marquee")
        .or("SUPER_ADMIN_EMAIL", "owner@marquee.example")
        .or("SUPER_ADMIN_PASSWORD", "popcorn-2026"))
}

/// The key that signs access tokens, made where it is not there yet.
pub fn signing_key(path: &std::path::Path) -> anyhow::Result<String> {
    kept(path, actors::auth::token::generate_pem)
}

/// A secret that is made once and found again.
fn kept(path: &std::path::Path, make: impl Fn() -> String) -> anyhow::Result<String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::read_to_string(path) {
        Ok(secret) => return Ok(secret),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    }
    let secret = make();
    let written = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(secret.as_bytes())
    };
    written().with_context(|| format!("writing {}", path.display()))?;
    Ok(secret)
}

#[cfg(test)]
mod tests;
