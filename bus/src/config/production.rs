//! Checks for production, that is, if `PUBLIC_URL` begins with https://: passwords and keys that this repository publishes,
//! short ones, and settings for demos and load tests are rejected.
//!
//! Invariant: nobody can log in to a production deployment with a secret from the repository. Each part checks its settings.

use std::net::{IpAddr, SocketAddr};

use super::Environment;
use crate::address::Address;

/// Values in `docker-compose.yml`, `config/*.example`, the documents and earlier versions; the last two are RabbitMQ's and
/// Stripe's own examples. A test holds the list against the files.
const PUBLISHED: [&str; 8] = [
    "marquee",
    "popcorn-2026",
    "at-least-8-characters",
    "sk_test_marquee",
    "whsec_marquee",
    "whsec_change-me",
    "guest",
    "whsec_test",
];

/// Least characters of a key or password between servers: 16 random ones cannot be guessed in practice.
const SECRET_LENGTH_MIN: usize = 16;

/// Whether the repository publishes this password or key.
pub fn is_published(secret: &str) -> bool {
    PUBLISHED.contains(&secret)
}

/// Whether an address is of this machine: 127.0.0.0/8, ::1, localhost.
pub fn is_loopback(url: &str) -> bool {
    let Ok(address) = Address::parse(url) else { return false };
    let host = address.host.trim_end_matches('.').to_ascii_lowercase();
    let is_address = host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback());
    is_address || host == "localhost" || host.ends_with(".localhost")
}

impl Environment {
    /// Whether users connect by https, and so from anywhere.
    pub fn is_public(&mut self) -> bool {
        let url = self.public_url();
        url.is_some_and(|url| url.starts_with("https://"))
    }

    /// Whether other machines can reach the deployment, judged by `PUBLIC_URL` alone.
    pub fn is_shared(&mut self) -> bool {
        let url = self.public_url();
        url.is_some_and(|url| url.starts_with("https://") || !is_loopback(&url))
    }

    /// `SANDBOX`: payments are tests, and nobody is charged.
    pub fn is_sandbox(&mut self) -> bool {
        self.flag("SANDBOX", false)
    }

    /// Whether only this machine can reach the deployment, judged by its addresses. Then accounts may have the passwords of the
    /// README.
    pub fn is_demo(&mut self) -> bool {
        match self.public_url() {
            Some(url) => !url.starts_with("https://") && is_loopback(&url),
            None => self.listens_to_this_machine_alone(),
        }
    }

    /// Whether `HTTP_ADDR` is of this machine alone, as it is unless set.
    pub fn listens_to_this_machine_alone(&self) -> bool {
        let addr = self.get("HTTP_ADDR");
        addr.is_none_or(|addr| addr.trim().parse().is_ok_and(|addr: SocketAddr| addr.ip().is_loopback()))
    }

    /// `RATE_LIMIT_DISABLED`, which load tests set.
    pub fn limits_disabled(&mut self) -> bool {
        let disabled = self.flag("RATE_LIMIT_DISABLED", false);
        if disabled && self.is_public() {
            self.problem("RATE_LIMIT_DISABLED", "must not be true beside an https PUBLIC_URL");
        }
        disabled
    }

    /// Records a problem if a key or password between servers is published or short.
    pub fn check_secret(&mut self, name: &str, secret: &str) {
        if !self.is_public() || secret.is_empty() {
            return;
        }
        if is_published(secret) {
            self.published(name);
        } else if secret.chars().count() < SECRET_LENGTH_MIN {
            let wanted =
                format!("must have at least {SECRET_LENGTH_MIN} characters beside an https PUBLIC_URL");
            self.problem(name, &wanted);
        }
    }

    /// Records a problem if a person's password is published and other machines can reach the deployment.
    pub fn check_password(&mut self, name: &str, password: &str) {
        if is_published(password) && self.is_shared() {
            let wanted = "is published in Marquee's repository; it may be an account's only where PUBLIC_URL is of this machine";
            self.problem(name, wanted);
        }
    }

    /// Records a problem if the password in an address is published.
    pub fn check_password_in_url(&mut self, name: &str, url: &str) {
        if let Some(password) = Address::parse(url.trim()).ok().and_then(|address| address.password) {
            self.check_published(name, &password);
        }
    }

    /// Records a problem if the password of a server is published.
    pub(super) fn check_published(&mut self, name: &str, password: &str) {
        if self.is_public() && is_published(password) {
            self.published(name);
        }
    }

    fn published(&mut self, name: &str) {
        let wanted =
            "is published in Marquee's repository; beside an https PUBLIC_URL it must be one of your own";
        self.problem(name, wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_known_in_every_spelling() {
        for url in [
            "http://127.0.0.1:8080",
            "http://127.9.9.9/",
            "http://localhost",
            "https://LocalHost.:1/x",
            "http://kino.localhost:80",
            "http://[::1]:8080/",
            "http://[::ffff:127.0.0.1]",
            "postgres://u:p@127.0.0.1:5432/marquee",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://10.0.0.1",
            "http://kino.example/127.0.0.1",
            "http://127.0.0.1.kino.example",
            "http://0.0.0.0:1",
            "http://localhost@kino.example",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn a_demo_is_what_only_this_machine_reaches() {
        let is_demo = |values: &[(&str, &str)]| {
            let mut environment = Environment::default();
            values.iter().for_each(|(name, value)| environment.set(name, *value));
            environment.is_demo()
        };
        assert!(is_demo(&[]));
        assert!(is_demo(&[("HTTP_ADDR", "127.0.0.1:0")]));
        assert!(is_demo(&[("HTTP_ADDR", "0.0.0.0:8080"), ("PUBLIC_URL", "http://127.0.0.1:8080")]));
        assert!(!is_demo(&[("HTTP_ADDR", "0.0.0.0:8080")]));
        assert!(!is_demo(&[("PUBLIC_URL", "http://kino.example")]));
        assert!(!is_demo(&[("PUBLIC_URL", "https://127.0.0.1")]));
    }

    #[test]
    fn published_and_short_secrets_are_refused_beside_https_alone() {
        let check = |public_url: &str| {
            let mut environment = Environment::default();
            environment.set("PUBLIC_URL", public_url);
            environment.check_secret("PUBLISHED", "whsec_change-me");
            environment.check_secret("SHORT", "fifteen-letters");
            environment.check_secret("GOOD", "sixteen-letters.");
            environment.check_password_in_url("URL", "amqp://guest:%67uest@127.0.0.1:1/%2f");
            environment.check_password_in_url("OWN_URL", "amqp://guest:min,guest@127.0.0.1:1/%2f");
            environment.check_password("PERSON", "popcorn-2026");
            environment.check().map_err(|error| error.to_string())
        };
        let message = check("https://kino.example").unwrap_err();
        for name in ["PUBLISHED is published", "SHORT must have", "URL is published", "PERSON is published"] {
            assert!(message.contains(name), "{message}");
        }
        assert!(!message.contains("GOOD") && !message.contains("OWN_URL"), "{message}");
        let message = check("http://kino.example").unwrap_err();
        assert!(message.contains("PERSON is published") && message.lines().count() == 2, "{message}");
        check("http://127.0.0.1:8080").unwrap();
    }
}
