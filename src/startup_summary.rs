//! What `marquee up` prints after its start. It shows only passwords that the README names or that were created by this
//! start: other people may see the terminal, and its output is logged.

use std::time::Duration;

use actors::auth::DemoAccount;
use actors::seed::{DEMO_PASSWORD, Passwords};
use bus::address::shown;
use bus::config::Environment;
use bus::contract::auth::Role;

use crate::cinema::Cinema;
use crate::config;
use crate::local::Servers;

/// The parts that are known before the start is complete.
pub struct StartupSummary {
    servers: String,
    mails: String,
    bridge: String,
    super_admin: String,
    /// The SUPER_ADMIN's password, where it may be shown.
    password: Option<String>,
}

impl StartupSummary {
    pub fn new(environment: &Environment, servers: &Servers, password: Option<String>) -> Self {
        let mails = match environment.get("SMTP_URL") {
            Some(_) => "by SMTP_URL".to_owned(),
            None => environment.get("MAIL_DIR").unwrap_or_default() + "  (one .eml file each)",
        };
        let bridge = match environment.get("AMQP_URL") {
            Some(url) => format!("{}  (the bridge publishes every event there)", shown(&url)),
            None => "no bridge; set AMQP_URL to start it".to_owned(),
        };
        let super_admin = environment.get("SUPER_ADMIN_EMAIL").unwrap_or_default();
        Self { servers: servers_text(servers), mails, bridge, super_admin, password }
    }

    pub fn print(&self, cinema: &Cinema, passwords: Passwords, elapsed: Duration) {
        let Self { servers, mails, bridge, super_admin, password } = self;
        let url = cinema.gateway.url();
        let sandbox = cinema.sandbox.as_ref().map_or("(PAYMENT_API_URL)".to_owned(), |sandbox| sandbox.url());
        let known = match passwords {
            Passwords::Demo => format!(
                "                  (password {DEMO_PASSWORD}, unless somebody set another; known to everybody, so for this machine alone)\n"
            ),
            Passwords::Random => String::new(),
        };
        let password = match (passwords, password) {
            (Passwords::Random, Some(password)) => format!("  {password}  (shown this once)"),
            _ => String::new(),
        };
        let accounts = match passwords {
            Passwords::Demo => accounts(INDENT, &actors::seed::accounts(Passwords::Demo).map(without)),
            Passwords::Random => accounts(INDENT, &cinema.new_accounts),
        };
        println!(
            "
  Marquee is open ({:.1} s).  Ctrl-C closes it.

  The cinema      {url}
  REST and docs   {url}/docs      health  {url}/health/ready
{servers}  Payments        {sandbox}  (sandbox: speaks Stripe's API)
  Mails           {mails}
  RabbitMQ        {bridge}

  Accounts        {super_admin:<24} SUPER_ADMIN{password}
{accounts}{known}
  Try             curl {url}/v1/showtimes
                  README.md shows the way from there to a ticket.
",
            elapsed.as_secs_f64(),
        );
    }
}

const INDENT: &str = "                  ";

/// A line for each account, with its password where it has one.
pub fn accounts(indent: &str, accounts: &[DemoAccount]) -> String {
    let line = |account: &DemoAccount| {
        let DemoAccount { email, password, role, .. } = account;
        let password = match password.as_str() {
            "" => String::new(),
            password => format!("  {password}  (shown this once)"),
        };
        format!("{indent}{email:<24} {}{password}\n", name_of(*role))
    };
    accounts.iter().map(line).collect()
}

fn without(account: DemoAccount) -> DemoAccount {
    DemoAccount { password: String::new(), ..account }
}

fn servers_text(servers: &Servers) -> String {
    let file = |folder: Option<&std::path::Path>, user: &str| {
        folder.map_or_else(String::new, |folder| {
            format!("  ({user}password in {})", folder.join("password").display())
        })
    };
    let nats =
        file(servers.nats.as_ref().map(|nats| nats.folder().path()), &format!("user {}, ", config::OPERATOR));
    let postgres = file(servers.postgres.as_ref().map(|postgres| postgres.folder().path()), "");
    let redis = servers
        .redis_url
        .as_deref()
        .map_or_else(|| "not installed; limits and locks are local to this process".to_owned(), shown);
    let redis_file = file(servers.redis.as_ref().map(|redis| redis.folder().path()), "");
    let [nats_url, database_url] = [&servers.nats_url, &servers.database_url].map(|url| shown(url));
    format!(
        "  NATS            {nats_url}{nats}
  Postgres        {database_url}{postgres}
  Redis           {redis}{redis_file}
"
    )
}

fn name_of(role: Role) -> &'static str {
    match role {
        Role::Guest => "GUEST",
        Role::User => "USER",
        Role::Admin => "ADMIN",
        Role::SuperAdmin => "SUPER_ADMIN",
    }
}
