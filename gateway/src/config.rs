//! The gateway's settings, read from the environment here and nowhere else in this crate.
//!
//! All values that are bad are named in one message. A limit that is not a setting stands as a constant beside
//! the code that keeps it.

use std::net::SocketAddr;

use anyhow::bail;

/// Where the gateway listens and how the world reaches it.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Without one: 127.0.0.1:8080 or the next free port.
    pub addr: Option<SocketAddr>,
    /// The address that users type, when it is not the one listened on (a proxy, a container). No slash at its end.
    pub public_url: Option<String>,
}

impl Config {
    /// Reads `HTTP_ADDR` and `PUBLIC_URL`.
    pub fn from_env() -> anyhow::Result<Self> {
        Self::from_values(|name| std::env::var(name).ok())
    }

    fn from_values(value: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let given = |name: &str| value(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let mut bad = Vec::new();
        let addr = given("HTTP_ADDR").and_then(|text| {
            let parsed = text.parse().ok();
            if parsed.is_none() {
                bad.push(format!(
                    "HTTP_ADDR must be an address and a port such as 0.0.0.0:8080, not {text:?}"
                ));
            }
            parsed
        });
        let public_url = given("PUBLIC_URL").map(|url| url.trim_end_matches('/').to_owned());
        if let Some(url) = &public_url {
            let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            if !host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace)) {
                bad.push(format!("PUBLIC_URL must begin with http:// or https:// and a host, not {url:?}"));
            }
        }
        if !bad.is_empty() {
            bail!("the gateway cannot start:\n  {}", bad.join("\n  "));
        }
        Ok(Self { addr, public_url })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_value_is_named_in_one_message() {
        let error = Config::from_values(|_| Some("nonsense".into())).unwrap_err().to_string();
        assert!(error.contains("HTTP_ADDR") && error.contains("PUBLIC_URL"), "{error}");
    }

    #[test]
    fn nothing_given_is_fine() {
        let config = Config::from_values(|_| None).unwrap();
        assert_eq!(config.addr, None);
        assert_eq!(config.public_url, None);
    }

    #[test]
    fn a_public_url_loses_its_last_slash() {
        let config =
            Config::from_values(|name| (name == "PUBLIC_URL").then(|| "https://kino.example/".into()));
        assert_eq!(config.unwrap().public_url.as_deref(), Some("https://kino.example"));
    }
}
