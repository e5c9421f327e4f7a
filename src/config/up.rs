//! What `marquee up` sets where the environment does not: its own keys and passwords, stored in the data folder, the sandbox
//! provider and the demo's accounts.
//!
//! Invariant: published passwords and keys are used only where the deployment can be reached from this machine alone.

use std::path::Path;

use actors::seed::{DEMO_PASSWORD, Passwords, random_password};
use bus::config::Environment;

use super::{MAINTENANCE, OPERATOR, nats_among_others, signing_key};
use crate::local::{random, read_or_create};
use crate::{hosts, local};

/// The API key of the local sandbox; docs and scripts name it.
const DEMO_API_KEY: &str = "sk_test_marquee";
const SUPER_ADMIN_EMAIL: &str = "owner@marquee.example";

/// The environment of a whole deployment.
pub struct Filled {
    pub environment: Environment,
    pub passwords: Passwords,
    /// The SUPER_ADMIN's password, where it may be shown: the demo's, or one that this start created.
    pub super_admin_password: Option<String>,
}

/// Whether accounts get the README's password. Both addresses must be local: PUBLIC_URL may differ from the address that is
/// listened on.
pub fn passwords(environment: &mut Environment) -> Passwords {
    match environment.is_demo() && environment.listens_to_this_machine_alone() {
        true => Passwords::Demo,
        false => Passwords::Random,
    }
}

/// Reports all that is wrong with the settings in one message, before anything is started or written.
pub fn check(environment: &Environment) -> anyhow::Result<()> {
    let mut environment = environment.clone();
    let sells_by_sandbox = environment.get("PAYMENT_API_URL").is_none();
    if sells_by_sandbox && !environment.is_sandbox() && environment.is_public() {
        let problem = "is not set, and the sandbox provider would give tickets and charge nobody; \
                      set SANDBOX=true if that is intended";
        environment.problem("PAYMENT_API_URL", problem);
    }
    if passwords(&mut environment) == Passwords::Random
        && environment.get("SUPER_ADMIN_PASSWORD").is_some_and(|set| bus::config::is_published(&set))
    {
        let problem = "is published in Marquee's repository, and HTTP_ADDR or PUBLIC_URL can be reached from other machines";
        environment.problem("SUPER_ADMIN_PASSWORD", problem);
    }
    // Placeholders for what the start creates or finds.
    let mut environment = environment
        .or("DATABASE_URL", "postgres://localhost/marquee")
        .or("PAYMENT_API_URL", "https://provider.example")
        .or("PAYMENT_API_KEY", random())
        .or("PAYMENT_WEBHOOK_SECRET", random())
        .or("JWT_PRIVATE_KEY", actors::auth::token::generate_pem())
        .or("SUPER_ADMIN_EMAIL", SUPER_ADMIN_EMAIL)
        .or("SUPER_ADMIN_PASSWORD", random_password());
    if environment.get("NATS_URL").is_none() {
        environment = with_nats(environment, "nats://localhost", &random());
    }
    let has_bridge = environment.get("AMQP_URL").is_some();
    for domain in hosts::all().filter(|domain| has_bridge || *domain != hosts::BRIDGE) {
        nats_among_others(&mut environment, domain);
        hosts::Plan::read(domain, &mut environment)?;
    }
    nats_among_others(&mut environment, MAINTENANCE);
    nats_among_others(&mut environment, "gateway");
    gateway::Config::read(&mut environment);
    environment.check()
}

/// Sets what the environment does not, including the addresses of the servers that were started.
pub fn filled(
    mut environment: Environment,
    folder: &Path,
    servers: &local::Servers,
) -> anyhow::Result<Filled> {
    let passwords = passwords(&mut environment);
    let is_demo = passwords == Passwords::Demo;
    let (super_admin_password, shown) = super_admin(&environment, folder, is_demo)?;
    let api_key = match is_demo {
        true => DEMO_API_KEY.to_owned(),
        false => read_or_create(&folder.join("payment-api-key"), || format!("sk_test_{}", random()))?,
    };
    let mut environment = environment
        .or("MAIL_DIR", folder.join("mail").display().to_string())
        .or("JWT_PRIVATE_KEY", signing_key(&folder.join("jwt.pem"))?)
        .or("MEDIA_DIR", folder.join("media").to_string_lossy())
        .or(
            "PAYMENT_WEBHOOK_SECRET",
            read_or_create(&folder.join("webhook-secret"), || format!("whsec_{}", random()))?,
        )
        .or("PAYMENT_API_KEY", api_key)
        .or("SUPER_ADMIN_EMAIL", SUPER_ADMIN_EMAIL)
        .or("SUPER_ADMIN_PASSWORD", super_admin_password)
        .or("DATABASE_URL", &servers.database_url);
    if let Some(redis) = &servers.redis_url {
        environment = environment.or("REDIS_URL", redis);
    }
    environment = match &servers.nats {
        Some(nats) => with_nats(environment, &nats.url(), nats.password()),
        None => environment.or("NATS_URL", &servers.nats_url),
    };
    Ok(Filled { environment, passwords, super_admin_password: shown })
}

/// Every user of our own NATS has the same password, whatever is set for another NATS.
fn with_nats(mut environment: Environment, url: &str, password: &str) -> Environment {
    environment.set("NATS_URL", url);
    environment.set("NATS_PASSWORD", password);
    for user in hosts::all().chain([MAINTENANCE, OPERATOR, "gateway"]) {
        environment.set(&format!("NATS_PASSWORD_{}", user.to_uppercase()), "");
    }
    environment
}

/// The SUPER_ADMIN's password, and again where it may be shown.
fn super_admin(
    environment: &Environment,
    folder: &Path,
    is_demo: bool,
) -> anyhow::Result<(String, Option<String>)> {
    if let Some(set) = environment.get("SUPER_ADMIN_PASSWORD") {
        return Ok((set, None));
    }
    if is_demo {
        return Ok((DEMO_PASSWORD.to_owned(), Some(DEMO_PASSWORD.to_owned())));
    }
    let path = folder.join("super-admin-password");
    let is_new = !path.exists();
    let password = read_or_create(&path, random_password)?;
    Ok((password.clone(), is_new.then_some(password)))
}
