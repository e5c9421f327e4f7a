//! Seeds the demo cinema: its accounts and its catalogue, each through its own domain's journal and outbox, before or
//! beside running hosts. Run again it adds only what is missing.
//!
//! Invariant: an account has the password of the README only where no other machine reaches the deployment.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::Bus;
use bus::contract::Currency;
use bus::contract::auth::Role;

use crate::auth::{self, DemoAccount};
use crate::config::HostConfig;
use crate::host::DomainBuilder;
use crate::movie::{self, Added};

pub use crate::auth::{DEMO_EMAILS, DEMO_PASSWORD};

/// The passwords of new demo accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passwords {
    /// That of the README
    Demo,
    /// One of its own for each account, shown once
    Random,
}

/// What a seeding added.
#[derive(Debug, Clone)]
pub struct Seeded {
    /// Accounts that were made just now, with their passwords.
    pub new_accounts: Vec<DemoAccount>,
    pub added: Added,
}

/// 128 random bits.
pub fn random_password() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

/// The accounts of the demo cinema.
pub fn accounts(passwords: Passwords) -> [DemoAccount; 2] {
    let password = || match passwords {
        Passwords::Demo => DEMO_PASSWORD.to_owned(),
        Passwords::Random => random_password(),
    };
    let account = |email, name, role| DemoAccount { email, password: password(), name, role };
    [account(DEMO_EMAILS[0], "Demo Staff", Role::Admin), account(DEMO_EMAILS[1], "Ada Demo", Role::User)]
}

/// Prices are in `currency`. Migrations must have run. Events are published before this returns, or by the next host when
/// NATS is away.
pub async fn seed(
    config: &HostConfig,
    bus: Bus,
    currency: Currency,
    passwords: Passwords,
) -> anyhow::Result<Seeded> {
    let accounts = accounts(passwords);
    let users = auth::seed(DomainBuilder::connect(config, bus.clone(), "auth").await?, &accounts).await?;
    let staff = users.first().map(|staff| staff.id).unwrap_or_default();
    let added = movie::seed(DomainBuilder::connect(config, bus, "movie").await?, staff, currency).await?;
    tracing::info!(?added, "seeded the demo cinema");
    let new_accounts = accounts.into_iter().zip(users).filter(|(_, user)| user.is_new);
    Ok(Seeded { new_accounts: new_accounts.map(|(account, _)| account).collect(), added })
}
