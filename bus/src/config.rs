//! Settings from the environment: every `config.rs` reads through this, so that a start with invalid values fails with one
//! message that lists all of them and never shows a value.
//!
//! It records which names were read, so that a test can compare `config/*.env.example` with the code.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::address::{self, Address};
use crate::contract::Currency;

mod production;
mod secret;

pub use production::{is_loopback, is_published};
pub use secret::is_secret;

/// Whether this bug is planted in this process. Only in builds with the feature `planted`, which no release has: the chaos
/// harness must find each planted bug, which proves its checks.
#[cfg(feature = "planted")]
pub fn planted(bug: &str) -> bool {
    static PLANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("MARQUEE_PLANTED").ok()).as_deref() == Some(bug)
}

/// The environment and the problems found so far.
#[derive(Default, Clone)]
pub struct Environment {
    values: HashMap<String, String>,
    problems: Vec<String>,
    asked: Arc<Mutex<Asked>>,
}

/// Names that were read, with the default if it is known.
type Asked = BTreeMap<String, Option<String>>;

/// The problem of a required name that has no value.
const NOT_SET: &str = "is not set";

impl Environment {
    /// This process's environment. Empty values count as absent.
    pub fn of_process() -> Self {
        Self::of(std::env::vars())
    }

    /// These variables, with the secrets whose files they name.
    pub fn of(values: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut values: HashMap<String, String> = values.into_iter().collect();
        let problems = secret::read_files(&mut values, |_| false);
        let mut environment = Self { values, ..Self::default() };
        environment.problems_of(problems);
        environment
    }

    /// Sets unset names from a file of `NAME=value` lines in the format of Docker's `--env-file`: no quotes, no expansion, `#`
    /// begins a comment line. A missing file counts as empty. It may name files of secrets, too.
    pub fn or_file(mut self, path: &Path) -> Self {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return self,
            Err(error) => {
                self.problem(&path.display().to_string(), &format!("is not readable: {error}"));
                return self;
            }
        };
        let mut given = Self::default();
        for (at, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once('=') {
                Some((name, value)) if is_name(name) => given = given.or(name, value.trim()),
                // The line may hold a secret, so it is not shown.
                _ => self.problem(&format!("{}:{at}", path.display()), "is not NAME=value"),
            }
        }
        let problems = secret::read_files(&mut given.values, |name| self.value(name).is_some());
        self.problems_of(problems);
        given.values.into_iter().fold(self, |environment, (name, value)| environment.or(&name, value))
    }

    /// Sets a name that is not set.
    pub fn or(mut self, name: &str, value: impl Into<String>) -> Self {
        if self.value(name).is_none() {
            self.set(name, value);
        }
        self
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.to_owned(), value.into());
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.ask(name, None);
        self.value(name)
    }

    /// Whether it is set to an empty value, for the few names for which that differs from not set.
    pub fn is_blank(&self, name: &str) -> bool {
        self.ask(name, None);
        self.values.get(name).is_some_and(|value| value.trim().is_empty())
    }

    fn value(&self, name: &str) -> Option<String> {
        self.values.get(name).filter(|value| !value.trim().is_empty()).cloned()
    }

    fn ask(&self, name: &str, default: Option<String>) {
        let mut asked = self.asked_so_far();
        let known = asked.entry(name.to_owned()).or_default();
        *known = known.take().or(default);
    }

    fn asked_so_far(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Every name that was read so far, here and in clones, with its default if that is a number or a flag.
    pub fn asked(&self) -> BTreeMap<String, Option<String>> {
        self.asked_so_far().clone()
    }

    /// The value, or a problem and an empty text.
    pub fn required(&mut self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| {
            self.problem(name, NOT_SET);
            String::new()
        })
    }

    /// An address that begins with one of `schemes` (`https://`), or a problem.
    pub fn url(&mut self, name: &str, schemes: &[&str]) -> Option<String> {
        let url = self.get(name)?.trim().to_owned();
        if let Err(what) = checked(&url, schemes) {
            self.problem(name, &what);
        }
        Some(url)
    }

    /// Addresses of the servers of one cluster, separated by commas, or a problem.
    pub fn required_urls(&mut self, name: &str, schemes: &[&str]) -> Vec<String> {
        let text = self.required(name);
        let urls = address::list(&text, schemes);
        if urls.is_empty() && !text.is_empty() {
            self.problem(name, "names no server");
        }
        for what in urls.iter().filter_map(|url| checked(url, schemes).err()).take(1).collect::<Vec<_>>() {
            self.problem(name, &what);
        }
        urls.into_iter().map(str::to_owned).collect()
    }

    /// `PUBLIC_URL`: the public address, without a slash at its end, so that paths can be appended.
    pub fn public_url(&mut self) -> Option<String> {
        let url = self.url("PUBLIC_URL", &["https://", "http://"])?;
        let parsed = Address::parse(&url).ok();
        if parsed.is_some_and(|url| !url.query.is_empty() || url.fragment.is_some() || url.user.is_some()) {
            self.problem(
                "PUBLIC_URL",
                "must be a bare address such as https://kino.example, without user, ? and #",
            );
        }
        Some(url.trim_end_matches('/').to_owned())
    }

    /// The same, or a problem and an empty text.
    pub fn required_url(&mut self, name: &str, schemes: &[&str]) -> String {
        self.url(name, schemes).unwrap_or_else(|| self.required(name))
    }

    /// The value read as `T` within `bounds`, or the default when it is not set.
    pub fn number<T>(&mut self, name: &str, default: T, bounds: std::ops::RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        self.ask(name, Some(default.to_string()));
        let Some(text) = self.value(name) else { return default };
        match text.trim().parse::<T>() {
            Ok(value) if bounds.contains(&value) => value,
            _ => {
                self.problem(name, &format!("must be a number from {} to {}", bounds.start(), bounds.end()));
                default
            }
        }
    }

    /// `CURRENCY`: the currency of new prices, EUR if it is not set.
    pub fn currency(&mut self) -> Currency {
        self.ask("CURRENCY", Some(Currency::default().as_str().to_owned()));
        let Some(code) = self.value("CURRENCY") else { return Currency::default() };
        Currency::parse(code.trim()).unwrap_or_else(|| {
            self.problem(
                "CURRENCY",
                "must be the ISO 4217 code of a currency that Marquee sells in, such as EUR",
            );
            Currency::default()
        })
    }

    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        self.ask(name, Some(default.to_string()));
        match self.value(name).as_deref() {
            None => default,
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            Some(_) => {
                self.problem(name, "must be true or false");
                default
            }
        }
    }

    /// Records a problem with a name, without its value.
    pub fn problem(&mut self, name: &str, what: &str) {
        let problem = format!("{name} {what}");
        // A setting that several parts use is read several times.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn problems_of(&mut self, found: Vec<(String, String)>) {
        for (name, what) in found {
            self.problem(&name, &what);
        }
    }

    /// Every name that has a value.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.values.keys().filter(|name| self.value(name).is_some()).cloned().collect();
        names.sort_unstable();
        names
    }

    /// The problems so far: those of names that must be set and are not, and all others.
    pub fn problems(&self) -> (Vec<&str>, Vec<&str>) {
        let is_missing = |problem: &&str| problem.ends_with(NOT_SET);
        self.problems.iter().map(String::as_str).partition(is_missing)
    }

    /// All problems in one message.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.problems.is_empty() {
            return Ok(());
        }
        anyhow::bail!("the configuration is not usable:\n  {}", self.problems.join("\n  "))
    }
}

/// Values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names: Vec<_> = self.values.keys().collect();
        names.sort_unstable();
        f.debug_struct("Environment").field("names", &names).field("problems", &self.problems).finish()
    }
}

/// An address begins with one of `schemes` and names a host, unless it can be a unix socket.
fn checked(url: &str, schemes: &[&str]) -> Result<(), String> {
    let known = schemes.iter().find(|scheme| url.starts_with(**scheme) && url.len() > scheme.len());
    let known = known.ok_or_else(|| format!("must begin with {}", schemes.join(" or ")))?;
    let address = Address::parse(url).map_err(str::to_owned)?;
    let by_socket = ["postgres://", "postgresql://", "redis+unix://"].contains(known);
    if address.host.is_empty() && !by_socket { Err("names no host".to_owned()) } else { Ok(()) }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_over_the_file_and_a_bad_line_is_named_but_not_shown() {
        let path = std::env::temp_dir().join(format!("marquee-{}.env", uuid::Uuid::now_v7()));
        std::fs::write(
            &path,
            "# a comment\n\nHOLD_SECONDS=60\nMAIL_FROM = a@b.c\nOPEN_HOLDS_MAX=2\ns3cret\n",
        )
        .unwrap();
        let mut environment = Environment::default();
        environment.set("HOLD_SECONDS", "30");
        let environment = environment.or_file(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(environment.get("HOLD_SECONDS").as_deref(), Some("30"));
        assert_eq!(environment.get("OPEN_HOLDS_MAX").as_deref(), Some("2"));
        let message = environment.check().unwrap_err().to_string();
        assert!(message.contains(".env:4 is not") && message.contains(".env:6 is not"), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
        assert!(Environment::default().or_file(&path).check().is_ok(), "no file is an empty file");
    }

    #[test]
    fn it_remembers_what_it_was_asked_for() {
        let mut environment = Environment::default();
        environment.number("HOLD_SECONDS", 600u64, 10..=3600);
        environment.clone().get("REDIS_URL");
        let asked = environment.asked();
        assert_eq!(asked["HOLD_SECONDS"].as_deref(), Some("600"));
        assert_eq!(asked["REDIS_URL"], None);
    }

    #[test]
    fn an_address_of_another_kind_is_a_problem() {
        let mut environment = Environment::default();
        environment.set("DATABASE_URL", "mysql://root:s3cret@db");
        environment.set("NATS_URL", "nats://a:4222, tls://b:4222");
        environment.required_url("DATABASE_URL", &["postgres://"]);
        assert_eq!(environment.required_urls("NATS_URL", &["nats://", "tls://"]).len(), 2);
        let message = environment.check().unwrap_err().to_string();
        assert!(message.contains("DATABASE_URL must begin with postgres://"), "{message}");
        assert!(!message.contains("NATS_URL") && !message.contains("s3cret"), "{message}");
    }

    #[test]
    fn a_comma_in_a_password_makes_no_list_and_a_bad_address_is_explained() {
        let mut environment = Environment::default();
        environment.set("DATABASE_URL", "postgres://kino:s3,cret@db/kino");
        environment.set("REDIS_URL", "redis://:s3/cret@redis");
        environment.set("SMTP_URL", "smtp://?tls=required");
        environment.required_url("DATABASE_URL", &["postgres://"]);
        environment.url("REDIS_URL", &["redis://"]);
        environment.url("SMTP_URL", &["smtp://"]);
        let message = environment.check().unwrap_err().to_string();
        assert!(!message.contains("DATABASE_URL") && !message.contains("s3"), "{message}");
        assert!(message.contains("REDIS_URL has an @ after the host"), "{message}");
        assert!(message.contains("SMTP_URL names no host"), "{message}");
    }

    #[test]
    fn the_public_address_is_read_without_its_last_slash_and_is_a_bare_one() {
        let read = |url: &str| {
            let mut environment = Environment::default().or("PUBLIC_URL", url);
            (environment.public_url(), environment.check().is_ok())
        };
        assert_eq!(read(" https://kino.example// "), (Some("https://kino.example".into()), true));
        assert_eq!(
            read("https://kino.example/tickets/"),
            (Some("https://kino.example/tickets".into()), true)
        );
        for bad in ["kino.example", "https://", "https:///", "https://kino.example/?a=b", "https://a b"] {
            assert!(!read(bad).1, "{bad}");
        }
    }

    #[test]
    fn one_message_lists_every_problem_and_no_value() {
        let mut environment = Environment::default();
        environment.set("HOLD_SECONDS", "s3cret");
        environment.required("DATABASE_URL");
        environment.number("HOLD_SECONDS", 600u64, 10..=3600);
        let message = environment.check().unwrap_err().to_string();
        assert!(message.contains("DATABASE_URL is not set"), "{message}");
        assert!(message.contains("HOLD_SECONDS must be a number from 10 to 3600"), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}
