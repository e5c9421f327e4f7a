//! The gateway's settings, read from the environment here and nowhere else in this crate.
//!
//! Invalid values are collected in [`Environment`], and [`Environment::check`] reports all of them at once. A limit that is
//! not a setting is a constant beside the code that enforces it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bus::config::Environment;
use bus::contract::Currency;
use bus::contract::site::SiteFields;
use poem::http::HeaderValue;

use crate::client::{ForwardedBy, Proxies};
use crate::cors::Cors;
use crate::entrypoint::HttpConfig;
use crate::limit::{Bounds, CONNECTIONS_MAX, Quotas};
use crate::media::{Account, StoreConfig};

/// The settings of a gateway.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `None`: 127.0.0.1:8080 or the next free port.
    pub addr: Option<SocketAddr>,
    /// The address that users type, when it is not the one listened on (a proxy, a container). Without a slash at its end.
    pub public_url: Option<String>,
    pub http: HttpConfig,
    /// `None`: nothing is limited.
    pub quotas: Option<Quotas>,
    pub bounds: Bounds,
    /// A second address for health and metrics, which is not public.
    pub health_addr: Option<SocketAddr>,
    /// The bearer token that may read the metrics at the public address; staff may with their own.
    pub metrics_token: Option<String>,
    /// Redis, in which all gateways count together.
    pub redis_url: Option<String>,
    pub media: StoreConfig,
    /// How often files that no movie has are deleted.
    pub media_sweep: Duration,
    /// The default currency of new prices, until staff have saved the site.
    pub currency: Currency,
    /// The cinema's name until movie has answered for the first time.
    pub cinema_name: Option<String>,
    /// How long it goes on serving, not ready any more, before it stops.
    pub drain: Duration,
}

impl Config {
    /// `HTTP_ADDR`, `HEALTH_ADDR`, `PUBLIC_URL`, `TRUSTED_PROXIES`, `FORWARDED_HEADER`, `CORS_ORIGINS`, `RATE_LIMIT_*`,
    /// `CONNECTIONS_*`, `STREAMS_*`, `WEBHOOKS_*`, `METRICS_TOKEN`, `REDIS_URL`, `CLOUDINARY_URL` or `MEDIA_DIR`,
    /// `MEDIA_SWEEP_SECONDS`, `CURRENCY`, `CINEMA_NAME`, `SANDBOX`, `DRAIN_SECONDS`.
    pub fn read(environment: &mut Environment) -> Self {
        let addr = address(environment, "HTTP_ADDR", "0.0.0.0:8080");
        let health_addr = address(environment, "HEALTH_ADDR", "0.0.0.0:9090");
        let public_url = environment.public_url();
        let is_limited = !environment.limits_disabled();
        let is_secure = public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
        Self {
            addr,
            http: HttpConfig {
                public_url: public_url.clone(),
                proxies: proxies(environment),
                cors: cors(environment),
                is_secure,
                is_sandbox: environment.is_sandbox(),
            },
            public_url,
            quotas: Some(quotas(environment)).filter(|_| is_limited),
            bounds: bounds(environment, is_limited),
            health_addr,
            metrics_token: metrics_token(environment),
            redis_url: environment.url("REDIS_URL", &bus::redis::SCHEMES),
            media: media(environment),
            media_sweep: Duration::from_secs(environment.number("MEDIA_SWEEP_SECONDS", 600, 1..=86_400)),
            currency: environment.currency(),
            cinema_name: environment.get("CINEMA_NAME"),
            // Longer than most load balancers need to notice that it is not ready, and short of the time that process managers
            // wait before they kill (10 s and more), with the ten seconds for running requests in view.
            drain: Duration::from_secs(environment.number("DRAIN_SECONDS", 5, 0..=300)),
        }
    }

    /// The site as these settings describe it.
    pub fn site(&self) -> SiteFields {
        let name = self.cinema_name.as_deref().unwrap_or("Marquee");
        SiteFields { currency: self.currency, ..SiteFields::named(name) }
    }

    /// From this process's environment; the error names every invalid value.
    pub fn from_env() -> anyhow::Result<Self> {
        let mut environment = Environment::of_process();
        let config = Self::read(&mut environment);
        environment.check()?;
        Ok(config)
    }
}

fn media(environment: &mut Environment) -> StoreConfig {
    let Some(url) = environment.get("CLOUDINARY_URL") else {
        let folder = environment.get("MEDIA_DIR");
        return folder.map_or_else(StoreConfig::default, |folder| StoreConfig::Folder(folder.into()));
    };
    match Account::read(&url) {
        Ok(account) => StoreConfig::Cloudinary(account),
        Err(problem) => {
            environment.problem("CLOUDINARY_URL", problem);
            StoreConfig::default()
        }
    }
}

/// Addresses and networks, separated by commas. By default none is trusted.
fn proxies(environment: &mut Environment) -> Proxies {
    let given = environment.get("TRUSTED_PROXIES").unwrap_or_default();
    let network = |text: &str| text.parse().ok().or_else(|| text.parse().ok().map(|ip: IpAddr| ip.into()));
    let trusted: Option<Vec<_>> = list(&given).map(network).collect();
    if trusted.is_none() {
        environment.problem("TRUSTED_PROXIES", "must be addresses or networks such as 10.0.0.0/8,192.0.2.7");
    }
    let everybody = trusted.iter().flatten().any(|network: &ipnet::IpNet| network.prefix_len() == 0);
    if everybody && environment.is_public() {
        let problem =
            "must not be all addresses beside an https PUBLIC_URL: every client could claim another address";
        environment.problem("TRUSTED_PROXIES", problem);
    }
    let forwarded_by = match environment.get("FORWARDED_HEADER").map(|name| name.to_ascii_lowercase()) {
        None => ForwardedBy::default(),
        Some(name) if name == "x-forwarded-for" => ForwardedBy::XForwardedFor,
        Some(name) if name == "forwarded" => ForwardedBy::Forwarded,
        Some(_) => {
            environment.problem("FORWARDED_HEADER", "must be X-Forwarded-For or Forwarded");
            ForwardedBy::default()
        }
    };
    Proxies { trusted: trusted.unwrap_or_default(), forwarded_by, ..Proxies::default() }
}

/// Origins as browsers send them, or `*`.
fn cors(environment: &mut Environment) -> Cors {
    let given = environment.get("CORS_ORIGINS").unwrap_or_default();
    let origin = |text: &str| {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let is_bare = !host.is_empty() && !host.contains(['/', '*', ' ']);
        HeaderValue::from_str(&text.to_ascii_lowercase()).ok().filter(|_| is_bare)
    };
    let origins: Option<Vec<_>> = list(&given).filter(|item| *item != "*").map(origin).collect();
    if origins.is_none() {
        environment
            .problem("CORS_ORIGINS", "must be * or origins such as https://kino.example, without a path");
    }
    if list(&given).any(|item| item == "*") && environment.is_public() {
        environment.problem("CORS_ORIGINS", "must name origins beside an https PUBLIC_URL, not *");
    }
    Cors { origins: origins.unwrap_or_default(), any: list(&given).any(|item| item == "*") }
}

/// Requests a minute. The defaults are far above what one person does and allow for many people behind one address; they
/// stop programs that run out of control.
fn quotas(environment: &mut Environment) -> Quotas {
    let mut per_minute = |name: &str, default: u32| environment.number(name, default, 1..=1_000_000);
    Quotas {
        reads: per_minute("RATE_LIMIT_READS", 3_000),
        writes: per_minute("RATE_LIMIT_WRITES", 600),
        logins: per_minute("RATE_LIMIT_LOGINS", 300),
        guests: per_minute("RATE_LIMIT_GUESTS", 100),
    }
}

/// How much may be open or in progress at once; see [`Bounds`]. 1,000 connections are 160 browsers behind one address, and 400
/// streams are 400 people who choose seats there at the same time.
fn bounds(environment: &mut Environment, is_limited: bool) -> Bounds {
    let mut max = |name: &str, default: usize| environment.number(name, default, 1..=1_000_000);
    let connections_max = max("CONNECTIONS_MAX", CONNECTIONS_MAX);
    let connections = max("CONNECTIONS_PER_NETWORK_MAX", 1_000);
    let streams = max("STREAMS_PER_NETWORK_MAX", 400);
    let webhooks = max("WEBHOOKS_IN_WORK_MAX", 32);
    let limited = |max: usize| is_limited.then_some(max);
    Bounds {
        connections_max,
        connections_per_network_max: limited(connections),
        streams_per_network_max: limited(streams),
        webhooks_in_work_max: limited(webhooks),
    }
}

fn address(environment: &mut Environment, name: &str, example: &str) -> Option<SocketAddr> {
    let text = environment.get(name)?;
    let addr = text.trim().parse().ok();
    if addr.is_none() {
        environment.problem(name, &format!("must be an address and a port such as {example}"));
    }
    addr
}

fn metrics_token(environment: &mut Environment) -> Option<String> {
    let token = environment.get("METRICS_TOKEN")?;
    if token.len() < METRICS_TOKEN_LENGTH_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        environment.problem("METRICS_TOKEN", "must have at least 16 visible ASCII characters");
    }
    Some(token)
}

/// A token of this length cannot be guessed at the rate that is allowed for tokens.
const METRICS_TOKEN_LENGTH_MIN: usize = 16;

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(values: &[(&str, &str)]) -> (Config, anyhow::Result<()>) {
        let mut environment = Environment::default();
        for (name, value) in values {
            environment.set(name, *value);
        }
        let config = Config::read(&mut environment);
        (config, environment.check())
    }

    #[test]
    fn every_invalid_value_is_named_in_one_message() {
        let bad = [
            ("HTTP_ADDR", "8080"),
            ("PUBLIC_URL", "kino.example"),
            ("TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
            ("FORWARDED_HEADER", "X-Real-Ip"),
            ("CORS_ORIGINS", "https://kino.example/page"),
            ("RATE_LIMIT_READS", "0"),
            ("HEALTH_ADDR", "9090"),
            ("CONNECTIONS_MAX", "0"),
            ("CONNECTIONS_PER_NETWORK_MAX", "many"),
            ("STREAMS_PER_NETWORK_MAX", "-1"),
            ("WEBHOOKS_IN_WORK_MAX", "0"),
            ("METRICS_TOKEN", "short"),
            ("CURRENCY", "Euro"),
        ];
        let error = given(&bad).1.unwrap_err().to_string();
        assert!(bad.iter().all(|(name, _)| error.contains(name)), "{error}");
    }

    #[test]
    fn an_empty_environment_is_valid() {
        let (config, checked) = given(&[]);
        checked.unwrap();
        assert!(config.addr.is_none() && config.public_url.is_none());
    }

    #[test]
    fn bounds_by_network_are_off_for_load_tests_and_the_total_of_connections_is_not() {
        let bounded = given(&[]).0.bounds;
        assert_eq!(
            (bounded.connections_per_network_max, bounded.streams_per_network_max),
            (Some(1_000), Some(400))
        );
        let unlimited = given(&[("RATE_LIMIT_DISABLED", "true"), ("STREAMS_PER_NETWORK_MAX", "7")]).0.bounds;
        assert_eq!((unlimited.connections_per_network_max, unlimited.streams_per_network_max), (None, None));
        assert_eq!((unlimited.webhooks_in_work_max, unlimited.connections_max), (None, CONNECTIONS_MAX));
    }

    #[test]
    fn a_public_url_loses_its_last_slash() {
        let (config, _) = given(&[("PUBLIC_URL", "https://kino.example/")]);
        assert_eq!(config.public_url.as_deref(), Some("https://kino.example"));
    }
}
