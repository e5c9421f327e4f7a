//! What the program itself reads from the environment: where NATS is, how to log, what `marquee up` fills in.

use anyhow::Context;
use bus::config::Environment;

use crate::local::{External, NATS_PASSWORD, NATS_USER};

/// This process's environment.
pub fn environment() -> Environment {
    Environment::of_process()
}

/// How to reach NATS; `name` is what the server shows of us.
pub fn nats(environment: &mut Environment, name: &str) -> bus::Config {
    bus::Config {
        url: environment.required("NATS_URL"),
        user: environment.get("NATS_USER").unwrap_or_else(|| NATS_USER.into()),
        password: environment.get("NATS_PASSWORD").unwrap_or_else(|| NATS_PASSWORD.into()),
        name: name.to_owned(),
        replicas: environment.number("NATS_REPLICAS", 1, 1..=5),
    }
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
        nats_user: environment.get("NATS_USER"),
        nats_password: environment.get("NATS_PASSWORD"),
        redis_url: environment.get("REDIS_URL"),
    }
}

/// Where a host answers `/health/*` and `/metrics`; a free port of this machine when not set.
pub fn health_addr(environment: &mut Environment) -> std::net::SocketAddr {
    let free = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    match environment.get("HEALTH_ADDR").map(|text| text.parse()) {
        None => free,
        Some(Ok(addr)) => addr,
        Some(Err(_)) => {
            environment.problem("HEALTH_ADDR", "must be an address and a port such as 0.0.0.0:9090");
            free
        }
    }
}

/// `RUST_LOG` and `LOG_FORMAT` (pretty or json).
pub fn logging() -> (String, bool) {
    let environment = environment();
    let filter = environment.get("RUST_LOG").unwrap_or_else(|| "info,sqlx=warn,async_nats=warn".into());
    (filter, environment.get("LOG_FORMAT").as_deref() == Some("json"))
}

/// What `marquee up` needs and nobody has set: keys of its own, kept in the data folder, and the demo's accounts.
pub fn demo_defaults(environment: Environment, folder: &std::path::Path) -> anyhow::Result<Environment> {
    let key = kept(&folder.join("jwt.pem"), actors::auth::token::generate_pem)?;
    let secret = kept(&folder.join("webhook-secret"), || {
        format!("whsec_{}", hex::encode(rand::random::<[u8; 24]>()))
    })?;
    Ok(environment
        .or("JWT_PRIVATE_KEY", key)
        .or("MEDIA_DIR", folder.join("media").to_string_lossy())
        .or("PAYMENT_WEBHOOK_SECRET", secret)
        .or("PAYMENT_API_KEY", "sk_test_marquee")
        .or("SUPER_ADMIN_EMAIL", "owner@marquee.example")
        .or("SUPER_ADMIN_PASSWORD", "popcorn-2026"))
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
