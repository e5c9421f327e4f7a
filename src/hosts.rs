//! Starts an actor host by its name: the one place that knows every domain.

use actors::config::{AuthSettings, HostConfig, MovieSettings, PaymentSettings, ReservationSettings};
use actors::host::{Host, Parts};
use bus::Bus;
use bus::config::Environment;

/// Every domain with a host, in the order in which a whole cinema starts them.
pub const DOMAINS: [&str; 4] = ["auth", "movie", "reservation", "payment"];

/// Reads the domain's settings and starts its host. All that is wrong with the environment comes in one error.
pub async fn start(domain: &str, environment: &mut Environment, bus: Bus) -> anyhow::Result<Host> {
    let config = HostConfig::read(environment);
    match domain {
        "auth" => {
            let settings = AuthSettings::read(environment);
            environment.check()?;
            actors::auth::spawn(Parts::connect(&config, bus, "auth").await?, settings).await
        }
        "movie" => {
            let settings = MovieSettings::read(environment);
            environment.check()?;
            actors::movie::spawn(Parts::connect(&config, bus, "movie").await?, settings).await
        }
        "reservation" => {
            let settings = ReservationSettings::read(environment);
            environment.check()?;
            actors::reservation::spawn(Parts::connect(&config, bus, "reservation").await?, settings).await
        }
        "payment" => {
            let settings = PaymentSettings::read(environment);
            environment.check()?;
            actors::payment::spawn(Parts::connect(&config, bus, "payment").await?, settings).await
        }
        _ => anyhow::bail!("there is no host {domain:?}; there are {}", DOMAINS.join(", ")),
    }
}
