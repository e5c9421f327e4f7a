//! The bridge's settings from the environment, with bounds; every default suits an unmodified NestJS service.
//!
//! Invariant: no event that moves money or seats is accepted from RabbitMQ unless an operator names it in `AMQP_INBOUND`.

mod service_queue;

use std::time::Duration;

use bus::address::Address;
use bus::config::Environment;
use bus::{contract, tls};
use lapin::uri::AMQPUri;

pub use service_queue::ServiceQueue;
use service_queue::service_queues;

/// RabbitMQ's limit is 255 bytes; this leaves room for suffixes such as `.retry.<seconds>`.
const NAME_MAX: usize = 200;
/// Most retry delays: each is one more queue for every service queue.
const DELAYS_MAX: usize = 10;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// The bridge's settings.
#[derive(Clone)]
pub struct Settings {
    /// Contains user and password, so it is never logged.
    pub url: AMQPUri,
    /// This bridge's name on the messages that it publishes, by which it recognises them.
    pub bridge_id: String,
    pub exchange: String,
    pub raw_exchange: Option<String>,
    pub service_queues: Vec<ServiceQueue>,
    /// Events that are published to RabbitMQ.
    pub outbound: Vec<String>,
    /// Events that are accepted from services.
    pub inbound: Vec<String>,
    pub inbox_queue: String,
    pub inbox_durable: bool,
    /// Patterns of `send()` that are answered, with the request of the contract that each stands for.
    pub rpc: Vec<(String, String)>,
    /// Most unconfirmed messages of one target.
    pub window: usize,
    /// Most unacknowledged messages of one inbound queue.
    pub prefetch: u16,
    /// How long a dead letter waits before its first, second, … retry; the last delay holds for all further retries.
    pub retry_delays: Vec<Duration>,
    /// After this many retries a message is moved to the final dead letter queue.
    pub retries_max: u32,
}

/// The URL contains a password.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads all settings; problems are recorded in the environment.
    pub fn read(e: &mut Environment) -> Self {
        tls::read(e);
        let url = url(e);
        let plain = e.get("AMQP_URL").unwrap_or_default();
        e.check_password_in_url("AMQP_URL", &plain);
        let exchange = name(e, "AMQP_EXCHANGE", "marquee.events");
        let raw_exchange = match e.is_blank("AMQP_RAW_EXCHANGE") {
            true => None,
            false => Some(name(e, "AMQP_RAW_EXCHANGE", &format!("{exchange}.raw"))),
        };
        if raw_exchange.as_ref() == Some(&exchange) {
            e.problem("AMQP_RAW_EXCHANGE", "must not be AMQP_EXCHANGE: their message bodies differ");
        }
        let outbound = events(e, "AMQP_OUTBOUND", &["*"]);
        let inbound = events(e, "AMQP_INBOUND", &["movie.created"]);
        Self {
            url,
            bridge_id: name(e, "AMQP_BRIDGE_ID", "marquee"),
            service_queues: service_queues(e, &outbound),
            outbound,
            inbound,
            inbox_queue: name(e, "AMQP_INBOX_QUEUE", "marquee.bridge.inbox"),
            inbox_durable: e.flag("AMQP_INBOX_DURABLE", true),
            rpc: rpc(e),
            window: e.number("AMQP_WINDOW", 256, 1..=4_096),
            prefetch: e.number("AMQP_PREFETCH", 128, 1..=4_096),
            retry_delays: retry_delays(e),
            retries_max: e.number("AMQP_RETRIES_MAX", 5, 0..=100),
            exchange,
            raw_exchange,
        }
    }
}

fn url(e: &mut Environment) -> AMQPUri {
    let (text, _) = (e.required("AMQP_URL"), e.get("AMQP_PASSWORD"));
    if text.is_empty() {
        return AMQPUri::default();
    }
    let text = text.trim();
    let is_amqp = ["amqp://", "amqps://"].iter().any(|scheme| text.starts_with(scheme));
    let expected = "must be an address such as amqp://user:password@host:5672/vhost";
    let address = if is_amqp { Address::parse(text) } else { Err(expected) };
    let parsed = address.and_then(|mut address| {
        e.add_password("AMQP_URL", &mut address, "AMQP_PASSWORD");
        uri(address).ok_or(expected)
    });
    parsed.unwrap_or_else(|why| {
        e.problem("AMQP_URL", why);
        AMQPUri::default()
    })
}

/// The client's own parser reads an IPv6 address as localhost, so the host is set afterwards.
fn uri(address: Address) -> Option<AMQPUri> {
    let bare = Address { user: None, password: None, path: None, ..address.clone() };
    let mut uri: AMQPUri = bare.canonical("localhost").parse().ok()?;
    let Address { user, password, host, path, .. } = address;
    if host.is_empty() {
        return None;
    }
    uri.authority.host = host;
    uri.authority.userinfo.username = user.unwrap_or(uri.authority.userinfo.username);
    uri.authority.userinfo.password = password.unwrap_or(uri.authority.userinfo.password);
    // Without a path, or with a slash alone, the virtual host is the default one, whose name is `/`: so amqplib reads it, whose
    // URL a Nest service has in its settings. RabbitMQ's own rule, by which the slash alone is the empty name, has no use.
    uri.vhost = path.filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    // A peer that disappeared is detected after 20 s, instead of after two minutes by the broker's default.
    uri.query.heartbeat = uri.query.heartbeat.or(Some(10));
    Some(uri)
}

fn name(e: &mut Environment, setting: &str, default: &str) -> String {
    let name = e.get(setting).unwrap_or_else(|| default.to_owned()).trim().to_owned();
    if !is_name(&name) {
        e.problem(
            setting,
            &format!("must be 1 to {NAME_MAX} letters, digits, dots, dashes and underscores, not amq.…"),
        );
    }
    name
}

/// Names that need no quoting; `amq.` is reserved for the broker.
fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !name.starts_with("amq.")
}

/// The items of a comma-separated list; a blank setting is an empty list, an absent one the default.
fn list(e: &Environment, setting: &str, default: &[&str]) -> Vec<String> {
    if e.is_blank(setting) {
        return Vec::new();
    }
    match e.get(setting) {
        Some(text) => {
            text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
        }
        None => default.iter().map(|item| (*item).to_owned()).collect(),
    }
}

/// Event names; `*` matches all, `movie.*` all with that prefix.
fn events(e: &mut Environment, setting: &str, default: &[&str]) -> Vec<String> {
    let (found, unknown) = expand(&list(e, setting, default));
    if !unknown.is_empty() {
        // The unknown names are not shown: a message never contains a value.
        e.problem(
            setting,
            "must be a list of events such as movie.created,reservation.* (docs/events.md has all)",
        );
    }
    found
}

/// The events that the patterns match, in the contract's order, and the patterns that match none.
fn expand(wanted: &[String]) -> (Vec<String>, Vec<String>) {
    let all: Vec<&str> = contract::event_schemas().into_iter().map(|(subject, _)| subject).collect();
    let matches = |wanted: &str, subject: &str| match wanted.strip_suffix('*') {
        Some("") => true,
        Some(prefix) => prefix.ends_with('.') && subject.starts_with(prefix),
        None => wanted == subject,
    };
    let is_wanted = |subject: &&&str| wanted.iter().any(|pattern| matches(pattern, subject));
    let unknown = wanted.iter().filter(|pattern| !all.iter().any(|subject| matches(pattern, subject)));
    (all.iter().filter(is_wanted).map(|subject| (*subject).to_owned()).collect(), unknown.cloned().collect())
}

/// `pattern` or `pattern=rpc.domain.verb`, separated by commas.
fn rpc(e: &mut Environment) -> Vec<(String, String)> {
    let wanted = list(e, "AMQP_RPC", &["movie.showtimes", "reservation.get"]);
    let mut served = Vec::new();
    for item in &wanted {
        let (pattern, subject) = match item.split_once('=') {
            Some((pattern, subject)) => (pattern.trim(), subject.trim().to_owned()),
            None if item == "movie.showtimes" => (item.as_str(), "rpc.movie.list_showtimes".to_owned()),
            None => (item.as_str(), format!("rpc.{item}")),
        };
        let is_subject = subject.split('.').count() == 3
            && subject.starts_with("rpc.")
            && subject.split('.').all(|token| {
                !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            });
        if !is_subject || pattern.is_empty() || served.iter().any(|(other, _)| other == pattern) {
            e.problem(
                "AMQP_RPC",
                "must be a list such as movie.showtimes,seats.get=rpc.reservation.seats, each pattern once",
            );
            return Vec::new();
        }
        served.push((pattern.to_owned(), subject));
    }
    served
}

fn retry_delays(e: &mut Environment) -> Vec<Duration> {
    let wanted = list(e, "AMQP_RETRY_DELAYS", &["5", "30", "300"]);
    let seconds: Option<Vec<u64>> = wanted.iter().map(|item| item.parse().ok()).collect();

    match seconds {
        Some(seconds)
            if (1..=DELAYS_MAX).contains(&seconds.len())
                && seconds.iter().all(|s| (1..=DAY_SECONDS).contains(s)) =>
        {
            seconds.into_iter().map(Duration::from_secs).collect()
        }
        _ => {
            e.problem(
                "AMQP_RETRY_DELAYS",
                &format!("must be 1 to {DELAYS_MAX} numbers of seconds such as 5,30,300"),
            );
            Vec::new()
        }
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
