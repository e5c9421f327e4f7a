//! Seeds the demo cinema: its accounts and its catalogue, each through its own domain's journal and outbox, before or
//! beside running hosts. Run again it adds only what is missing.

use bus::Bus;
use bus::contract::Currency;
use bus::contract::auth::Role;

use crate::auth::{self, DemoAccount};
use crate::config::HostConfig;
use crate::host::Parts;
use crate::movie::{self, Added};

/// Who can log in to the demo cinema.
pub const ACCOUNTS: [DemoAccount; 2] = [
    DemoAccount {
        email: "staff@marquee.example",
        password: "popcorn-2026",
        name: "Demo Staff",
        role: Role::Admin,
    },
    DemoAccount {
        email: "ada@marquee.example",
        password: "popcorn-2026",
        name: "Ada Demo",
        role: Role::User,
    },
];

/// What there is now, and what of it is new.
#[derive(Debug, Clone, Copy)]
pub struct Seeded {
    pub accounts: &'static [DemoAccount],
    pub added: Added,
}

/// Prices are in `currency`. Migrations must have run. Events leave before this returns, or with the next relay when NATS is away.
pub async fn seed(config: &HostConfig, bus: Bus, currency: Currency) -> anyhow::Result<Seeded> {
    let users = auth::seed(Parts::connect(config, bus.clone(), "auth").await?, &ACCOUNTS).await?;
    let staff = users.first().copied().unwrap_or_default();
    let added = movie::seed(Parts::connect(config, bus, "movie").await?, staff, currency).await?;
    tracing::info!(?added, "seeded the demo cinema");
    Ok(Seeded { accounts: &ACCOUNTS, added })
}
