//! Starts an actor host by its name: the one place that knows every domain.
//!
//! Settings are read, all of them, before anything is connected, so that one message lists all that is wrong.

use actors::config::{AuthSettings, HostConfig, MovieSettings, PaymentSettings, ReservationSettings};
use actors::host::{Host, Parts};
use bus::Bus;
use bus::config::Environment;
use bus::topology::ConsumerSpec;

/// Every domain with a host, in the order in which a whole cinema starts them.
pub const DOMAINS: [&str; 4] = ["auth", "movie", "reservation", "payment"];

/// A host that is not yet started: its settings.
pub struct Plan {
    config: HostConfig,
    settings: Settings,
}

/// What a domain has settings of its own for.
enum Settings {
    Auth(AuthSettings),
    Movie(MovieSettings),
    Reservation(ReservationSettings),
    Payment(PaymentSettings),
}

impl Plan {
    /// Reads a domain's settings; what is wrong with them is noted in the environment. An error: there is no such host.
    pub fn read(domain: &str, environment: &mut Environment) -> anyhow::Result<Self> {
        let settings = match domain {
            "auth" => Settings::Auth(AuthSettings::read(environment)),
            "movie" => Settings::Movie(MovieSettings::read(environment)),
            "reservation" => Settings::Reservation(ReservationSettings::read(environment)),
            "payment" => Settings::Payment(PaymentSettings::read(environment)),
            _ => anyhow::bail!("there is no host {domain:?}; there are {}", DOMAINS.join(", ")),
        };
        Ok(Self { config: HostConfig::read(environment), settings })
    }

    /// Connects and starts. Whoever calls this has checked the environment.
    pub async fn start(self, bus: Bus) -> anyhow::Result<Host> {
        let parts = |domain| Parts::connect(&self.config, bus, domain);
        match self.settings {
            Settings::Auth(settings) => actors::auth::spawn(parts("auth").await?, settings).await,
            Settings::Movie(settings) => actors::movie::spawn(parts("movie").await?, settings).await,
            Settings::Reservation(settings) => {
                actors::reservation::spawn(parts("reservation").await?, settings).await
            }
            Settings::Payment(settings) => actors::payment::spawn(parts("payment").await?, settings).await,
        }
    }
}

/// Which events are heard, and by whom.
pub fn consumers() -> Vec<ConsumerSpec> {
    vec![
        actors::auth::CONSUMER,
        actors::movie::CONSUMER,
        actors::payment::CONSUMER,
        actors::reservation::CONSUMER,
    ]
}

/// Reads a domain's settings and starts its host. All that is wrong with the environment comes in one error.
pub async fn start(domain: &str, environment: &mut Environment, bus: Bus) -> anyhow::Result<Host> {
    let plan = Plan::read(domain, environment)?;
    environment.check()?;
    plan.start(bus).await
}
