//! Starts an actor host by its name: the one place that knows every domain.
//!
//! Settings are read, all of them, before anything is connected, so that one message lists all that is wrong.

use actors::config::{
    AuthSettings, HostConfig, MovieSettings, NotificationSettings, PaymentSettings, ReservationSettings,
    SchedulerSettings,
};
use actors::host::{Frame, Host, Parts};
use bus::Bus;

use bus::config::Environment;
use bus::token::Verifier;
use bus::topology::ConsumerSpec;

/// Every domain with a host, in the order in which a whole cinema starts them.
pub const DOMAINS: [&str; 6] = ["auth", "movie", "reservation", "payment", "notification", "scheduler"];
/// The host that a cinema has only where there is a RabbitMQ (`AMQP_URL`). It is no domain: it owns nothing.
pub const BRIDGE: &str = "bridge";

/// Every host's name.
pub fn all() -> impl Iterator<Item = &'static str> {
    DOMAINS.into_iter().chain([BRIDGE])
}

/// A host that is not yet started: its settings.
pub struct Plan(Settings);

/// What each domain is started with.
enum Settings {
    Auth(HostConfig, AuthSettings),
    Movie(HostConfig, MovieSettings),
    Reservation(HostConfig, ReservationSettings),
    Payment(HostConfig, PaymentSettings),
    Notification(HostConfig, NotificationSettings),
    /// It keeps nothing, so it knows no database.
    Scheduler(SchedulerSettings),
    /// Neither does this one.
    Bridge(bridge::Settings),
}

impl Plan {
    /// Reads a domain's settings; what is wrong with them is noted in the environment. An error: there is no such host.
    pub fn read(domain: &str, environment: &mut Environment) -> anyhow::Result<Self> {
        let e = environment;
        Ok(Self(match domain {
            "auth" => Settings::Auth(HostConfig::read(e), AuthSettings::read(e)),
            "movie" => Settings::Movie(HostConfig::read(e), MovieSettings::read(e)),
            "reservation" => Settings::Reservation(HostConfig::read(e), ReservationSettings::read(e)),
            "payment" => Settings::Payment(HostConfig::read(e), PaymentSettings::read(e)),
            "notification" => Settings::Notification(HostConfig::read(e), NotificationSettings::read(e)),
            "scheduler" => Settings::Scheduler(SchedulerSettings::read(e)),
            BRIDGE => Settings::Bridge(bridge::Settings::read(e)),
            _ => {
                let all: Vec<_> = all().collect();
                anyhow::bail!("there is no host {domain:?}; there are {}", all.join(", "))
            }
        }))
    }

    /// Connects and starts. Whoever calls this has checked the environment. `verifier` is one that this host shares.
    pub async fn start(self, bus: Bus, verifier: Option<Verifier>) -> anyhow::Result<Host> {
        let connect = async |config: &HostConfig, bus: Bus, domain| match verifier {
            Some(verifier) => {
                verifier.add(&config.jwt_public_keys);
                Parts::connect_with(config, bus, domain, verifier).await
            }
            None => Parts::connect(config, bus, domain).await,
        };
        match self.0 {
            Settings::Auth(config, settings) => {
                actors::auth::spawn(connect(&config, bus, "auth").await?, settings).await
            }
            Settings::Movie(config, settings) => {
                actors::movie::spawn(connect(&config, bus, "movie").await?, settings).await
            }
            Settings::Reservation(config, settings) => {
                actors::reservation::spawn(connect(&config, bus, "reservation").await?, settings).await
            }
            Settings::Payment(config, settings) => {
                actors::payment::spawn(connect(&config, bus, "payment").await?, settings).await
            }
            Settings::Notification(config, settings) => {
                actors::notification::spawn(connect(&config, bus, "notification").await?, settings).await
            }
            Settings::Scheduler(settings) => {
                actors::scheduler::spawn(Frame::new(bus, "scheduler"), settings).await
            }
            Settings::Bridge(settings) => crate::bridge_host::spawn(Frame::new(bus, BRIDGE), settings).await,
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
pub async fn start(
    domain: &str,
    environment: &mut Environment,
    bus: Bus,
    verifier: Option<Verifier>,
) -> anyhow::Result<Host> {
    let plan = Plan::read(domain, environment)?;
    environment.check()?;
    plan.start(bus, verifier).await
}
