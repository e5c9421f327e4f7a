//! Starts an actor host by its name.
//!
//! All settings are read before anything is connected, so that one message lists all that is wrong.

use actors::DOMAINS;
use actors::domain::Start;
use actors::host::{Host, HostBuilder};
use bus::Bus;
use bus::config::Environment;
use bus::token::Verifier;
use futures::FutureExt;

/// The host that a deployment has only where there is a RabbitMQ (`AMQP_URL`). It is no domain: it owns nothing.
pub const BRIDGE: &str = "bridge";

/// Every host's name.
pub fn all() -> impl Iterator<Item = &'static str> {
    DOMAINS.iter().map(|domain| domain.name).chain([BRIDGE])
}

/// A host whose settings are read and that is not started yet.
pub struct Plan(Start);

impl Plan {
    /// Reads a host's settings; what is wrong with them is noted in the environment. An error: there is no such host.
    pub fn read(name: &str, environment: &mut Environment) -> anyhow::Result<Self> {
        if name == BRIDGE {
            let settings = bridge::Settings::read(environment);
            return Ok(Self(Box::new(move |bus, _| {
                crate::bridge_host::spawn(HostBuilder::new(bus, BRIDGE), settings).boxed_local()
            })));
        }
        match DOMAINS.iter().find(|domain| domain.name == name) {
            Some(domain) => Ok(Self((domain.configure)(environment))),
            None => {
                let all: Vec<_> = all().collect();
                anyhow::bail!("there is no host {name:?}; there are {}", all.join(", "))
            }
        }
    }

    /// Connects and starts; the caller has checked the environment. The hosts of one process share a verifier.
    pub async fn start(self, bus: Bus, verifier: Option<Verifier>) -> anyhow::Result<Host> {
        (self.0)(bus, verifier).await
    }
}

/// Reads a host's settings and starts it. All that is wrong with the environment comes in one error.
pub async fn start(
    name: &str,
    environment: &mut Environment,
    bus: Bus,
    verifier: Option<Verifier>,
) -> anyhow::Result<Host> {
    let plan = Plan::read(name, environment)?;
    environment.check()?;
    plan.start(bus, verifier).await
}
