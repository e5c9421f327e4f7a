//! What the bridge reads from the environment, typed, with bounds; every default serves an unmodified NestJS service.
//!
//! Invariant: nothing that moves money or seats is let in unless an operator names it in `AMQP_INBOUND`.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPUri;
use serde::Deserialize;
use serde_json::Value;

use bus::address::Address;
use bus::config::Environment;
use bus::{contract, tls};

/// RabbitMQ's own limit is 255 bytes; ours leaves room for `.retry.<seconds>` and the like.
const NAME_MAX: usize = 200;
/// Retry delays that one may ask for: each is a queue for every service queue.
const DELAYS_MAX: usize = 10;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// All that the bridge is started with.
#[derive(Clone)]
pub struct Settings {
    /// With user and password in it, so it is never shown.
    pub url: AMQPUri,
    /// This bridge's name in what it publishes, by which it knows its own messages.
    pub bridge_id: String,
    pub exchange: String,
    pub raw_exchange: Option<String>,
    pub service_queues: Vec<ServiceQueue>,
    /// Events that go out.
    pub outbound: Vec<String>,
    /// Events that services may say.
    pub inbound: Vec<String>,
    pub inbox_queue: String,
    pub inbox_durable: bool,
    /// Patterns of `send()` that are answered, with the request that each asks.
    pub rpc: Vec<(String, String)>,
    /// Messages of one target on their way to RabbitMQ without a confirm.
    pub window: usize,
    /// Messages that an inbound queue hands over before the first is acknowledged.
    pub prefetch: u16,
    /// How long a dead letter waits before its first, second, … next try; the last one counts for all further tries.
    pub retry_delays: Vec<Duration>,
    /// After so many further tries a message ends in the dead letter queue.
    pub retries_max: u32,
}

/// Settings hold a password.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

/// A queue of a service on Nest's default transport, which the bridge binds so that events arrive there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceQueue {
    pub name: String,
    /// What the service has handlers for; anything else it would log as an error.
    pub events: Vec<String>,
    /// Makes the queue, so that it keeps events before the service's first start. What is declared then must equal
    /// what the service declares.
    #[serde(default)]
    pub declare: bool,
    #[serde(default = "yes")]
    pub durable: bool,
    #[serde(default)]
    pub arguments: serde_json::Map<String, Value>,
}

fn yes() -> bool {
    true
}

impl ServiceQueue {
    /// The arguments as RabbitMQ compares them: of a number only the value counts, not its width.
    pub fn field_table(&self) -> FieldTable {
        table(&self.arguments)
    }
}

fn table(fields: &serde_json::Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert(name.as_str().into(), amqp_value(value));
    }
    table
}

fn amqp_value(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(is) => AMQPValue::Boolean(*is),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => AMQPValue::LongLongInt(whole),
            None => AMQPValue::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(items) => AMQPValue::FieldArray(items.iter().map(amqp_value).collect::<Vec<_>>().into()),
        Value::Object(fields) => AMQPValue::FieldTable(table(fields)),
    }
}

impl Settings {
    /// Reads everything; what is wrong is noted in the environment.
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
            e.problem("AMQP_RAW_EXCHANGE", "must not be AMQP_EXCHANGE: each has bodies of its own");
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
    let text = e.required("AMQP_URL");
    if text.is_empty() {
        return AMQPUri::default();
    }
    let text = text.trim();
    let known = ["amqp://", "amqps://"].iter().any(|scheme| text.starts_with(scheme));
    let wrong = "must be an address such as amqp://user:password@host:5672/vhost";
    let read =
        if known { Address::parse(text).and_then(|address| uri(address).ok_or(wrong)) } else { Err(wrong) };
    read.unwrap_or_else(|why| {
        e.problem("AMQP_URL", why);
        AMQPUri::default()
    })
}

/// The client's own parser takes an IPv6 address for localhost.
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
    // Without a slash the virtual host is the default one, whose name is a slash; a slash alone names the one without a name.
    uri.vhost = path.unwrap_or_else(|| "/".to_owned());
    // A peer that died without a word is noticed after 20 s, not after the broker's default two minutes.
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

/// Names that need no quotes anywhere; `amq.` is the broker's.
fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !name.starts_with("amq.")
}

/// The parts of a comma-separated list; a blank setting is an empty list, an absent one the default.
fn list(e: &Environment, setting: &str, default: &[&str]) -> Vec<String> {
    if e.is_blank(setting) {
        return Vec::new();
    }
    match e.get(setting) {
        Some(text) => {
            text.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
        }
        None => default.iter().map(|one| (*one).to_owned()).collect(),
    }
}

/// Names of events, where `*` stands for all and `movie.*` for all that begin so.
fn events(e: &mut Environment, setting: &str, default: &[&str]) -> Vec<String> {
    let (found, unknown) = expand(&list(e, setting, default));
    if !unknown.is_empty() {
        // Not which: the message never shows a value.
        e.problem(
            setting,
            "must be a list of events such as movie.created,reservation.* (docs/asyncapi.yaml has all)",
        );
    }
    found
}

/// The events that are meant, in the contract's order, and what means none.
fn expand(wanted: &[String]) -> (Vec<String>, Vec<String>) {
    let all: Vec<&str> = contract::event_schemas().into_iter().map(|(subject, _)| subject).collect();
    let matches = |wanted: &str, subject: &str| match wanted.strip_suffix('*') {
        Some("") => true,
        Some(prefix) => prefix.ends_with('.') && subject.starts_with(prefix),
        None => wanted == subject,
    };
    let meant = |subject: &&&str| wanted.iter().any(|one| matches(one, subject));
    let unknown = wanted.iter().filter(|one| !all.iter().any(|subject| matches(one, subject)));
    (all.iter().filter(meant).map(|subject| (*subject).to_owned()).collect(), unknown.cloned().collect())
}

/// A JSON list, or `@` and the file that has it.
fn service_queues(e: &mut Environment, outbound: &[String]) -> Vec<ServiceQueue> {
    const SETTING: &str = "AMQP_SERVICE_QUEUES";
    let Some(text) = e.get(SETTING) else { return Vec::new() };
    let text = match text.trim().strip_prefix('@') {
        None => text,
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                e.problem(SETTING, &format!("names a file that is not readable: {error}"));
                return Vec::new();
            }
        },
    };
    let mut queues: Vec<ServiceQueue> = match serde_json::from_str(&text) {
        Ok(queues) => queues,
        Err(error) => {
            let at = format!("line {} column {}", error.line(), error.column());
            e.problem(
                SETTING,
                &format!(
                    "must be a list such as [{{\"name\":\"notifications_queue\",\"events\":[\"reservation.confirmed\"]}}], with declare, durable and arguments where wanted; see {at}"
                ),
            );
            return Vec::new();
        }
    };
    let mut names = BTreeSet::new();
    for (at, queue) in queues.iter_mut().enumerate().map(|(at, queue)| (at + 1, queue)) {
        if !is_name(&queue.name) || !names.insert(queue.name.clone()) {
            e.problem(SETTING, &format!("needs a name of its own for queue {at}"));
        }
        let (events, unknown) = expand(&queue.events);
        if events.is_empty() || !unknown.is_empty() || events.iter().any(|event| !outbound.contains(event)) {
            e.problem(SETTING, &format!("needs events of AMQP_OUTBOUND for queue {at}"));
        }
        queue.events = events;
    }
    queues
}

/// `pattern` or `pattern=rpc.domain.verb`, separated by commas.
fn rpc(e: &mut Environment) -> Vec<(String, String)> {
    let wanted = list(e, "AMQP_RPC", &["movie.showtimes", "reservation.get"]);
    let mut served = Vec::new();
    for one in &wanted {
        let (pattern, subject) = match one.split_once('=') {
            Some((pattern, subject)) => (pattern.trim(), subject.trim().to_owned()),
            None if one == "movie.showtimes" => (one.as_str(), "rpc.movie.list_showtimes".to_owned()),
            None => (one.as_str(), format!("rpc.{one}")),
        };
        let is_subject = subject.split('.').count() == 3
            && subject.starts_with("rpc.")
            && subject.split('.').all(|token| {
                !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            });
        if !is_subject || pattern.is_empty() || served.iter().any(|(known, _)| known == pattern) {
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
    let seconds: Option<Vec<u64>> = wanted.iter().map(|one| one.parse().ok()).collect();
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
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> (Settings, Option<String>) {
        let mut e = Environment::default().or("AMQP_URL", "amqp://u:s3cret@rabbit:5673/house");
        for (name, value) in settings {
            e.set(name, *value);
        }
        let settings = Settings::read(&mut e);
        (settings, e.check().err().map(|error| error.to_string()))
    }

    #[test]
    fn without_settings_all_goes_out_and_only_movie_created_comes_in() {
        let (settings, problem) = read(&[]);
        assert_eq!(problem, None);
        assert_eq!(settings.outbound.len(), contract::event_schemas().len());
        assert_eq!(settings.inbound, ["movie.created"]);
        assert_eq!(settings.raw_exchange.as_deref(), Some("marquee.events.raw"));
        assert_eq!(settings.rpc[0], ("movie.showtimes".into(), "rpc.movie.list_showtimes".into()));
        assert_eq!(settings.url.vhost, "house");
        assert_eq!(settings.url.query.heartbeat, Some(10));
    }

    #[test]
    fn an_address_may_be_of_ipv6_and_have_any_password() {
        let url = |url| read(&[("AMQP_URL", url)]).0.url;
        let six = url("amqp://u:a,b;c@[::1]:5673/%2f?heartbeat=30");
        assert_eq!((six.authority.host.as_str(), six.authority.port, six.vhost.as_str()), ("::1", 5673, "/"));
        assert_eq!((six.authority.userinfo.password.as_str(), six.query.heartbeat), ("a,b;c", Some(30)));
        assert_eq!((url("amqp://rabbit").vhost.as_str(), url("amqps://rabbit").authority.port), ("/", 5671));
        assert_eq!(url("amqp://u:a%2Fb@10.0.0.7/").authority.host, "10.0.0.7");
    }

    #[test]
    fn a_blank_setting_turns_off_what_it_names() {
        let (settings, problem) = read(&[("AMQP_RAW_EXCHANGE", ""), ("AMQP_INBOUND", " "), ("AMQP_RPC", "")]);
        assert_eq!(problem, None);
        assert_eq!((settings.raw_exchange, settings.inbound.len(), settings.rpc.len()), (None, 0, 0));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_and_never_shown() {
        let (_, problem) = read(&[
            ("AMQP_URL", "s3cret"),
            ("AMQP_EXCHANGE", "amq.s3cret"),
            ("AMQP_OUTBOUND", "s3cret.*"),
            ("AMQP_INBOUND", "movie*"),
            ("AMQP_SERVICE_QUEUES", "[{\"name\": \"q\", \"event\": []}]"),
            ("AMQP_RPC", "a=s3cret"),
            ("AMQP_WINDOW", "0"),
            ("AMQP_RETRY_DELAYS", "5,0"),
        ]);
        let problem = problem.unwrap();
        for name in [
            "AMQP_URL",
            "AMQP_EXCHANGE",
            "AMQP_OUTBOUND",
            "AMQP_INBOUND",
            "AMQP_SERVICE_QUEUES",
            "AMQP_RPC",
            "AMQP_WINDOW",
            "AMQP_RETRY_DELAYS",
        ] {
            assert!(problem.contains(name), "{name}: {problem}");
        }
        assert!(!problem.contains("s3cret"), "{problem}");
    }

    #[test]
    fn a_service_queue_takes_known_events_of_what_goes_out() {
        let queues =
            r#"[{"name":"notifications_queue","events":["reservation.*"],"arguments":{"x-max-length":10}}]"#;
        let (settings, problem) = read(&[("AMQP_SERVICE_QUEUES", queues)]);
        assert_eq!(problem, None);
        let queue = &settings.service_queues[0];
        assert!(
            queue.events.contains(&"reservation.confirmed".to_owned()) && !queue.declare && queue.durable
        );
        assert!(queue.field_table().contains_key("x-max-length"));
        let (_, problem) = read(&[("AMQP_SERVICE_QUEUES", queues), ("AMQP_OUTBOUND", "movie.created")]);
        assert!(problem.unwrap().contains("events of AMQP_OUTBOUND for queue 1"));
    }
}
