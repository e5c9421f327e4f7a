//! `marquee config <part>`: the settings of a host or of the gateway with secrets hidden, or all that is wrong with them.

use bus::address;
use bus::config::Environment;
use bus::connection::SCHEMES;

use super::{GatewayProcess, HostProcess};

/// One line for each setting. The error lists all that is invalid or missing.
pub fn shown(part: &str, environment: &mut Environment) -> anyhow::Result<String> {
    match part {
        "gateway" => drop(GatewayProcess::read(environment)),
        host => drop(HostProcess::read(host, environment)?),
    }
    let read = environment.asked();
    environment.check()?;
    let lines = read.into_iter().map(|(name, default)| match (environment.get(&name), default) {
        (Some(value), _) => format!("{name}={}\n", visible(&name, &value)),
        (None, Some(default)) => format!("{name}={default}  (default)\n"),
        (None, None) => format!("{name}  (not set)\n"),
    });
    Ok(lines.collect())
}

/// The value, without secrets.
fn visible(name: &str, value: &str) -> String {
    if is_hidden(name) {
        return "(set, hidden)".to_owned();
    }
    // A URL may contain user and password, in front of the host or in its parameters.
    if name == "NATS_URL" {
        let addresses = address::list(value, &SCHEMES);
        return addresses.into_iter().map(address::shown).collect::<Vec<_>>().join(",");
    }
    if name.ends_with("_URL") && value.contains("://") { address::shown(value) } else { value.to_owned() }
}

/// Whether nothing of the value is shown. By words, so that a new secret is hidden even if nobody listed it.
pub(super) fn is_hidden(name: &str) -> bool {
    let is_address = name.ends_with("_URL");
    !is_address && bus::config::is_secret(name)
        || ["PASSWORD", "SECRET", "PRIVATE", "TOKEN", "NKEY"].iter().any(|word| name.contains(word))
        || name.ends_with("_KEY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_everything_else_is_shown() {
        let mut environment = Environment::default()
            .or("DATABASE_URL", "postgres://marquee:s3cret@db/marquee")
            .or("NATS_URL", "nats://u:s3cret@a:4222,nats://b:4222")
            .or("NATS_PASSWORD", "s3cret")
            .or("PAYMENT_API_URL", "http://provider")
            .or("PAYMENT_API_KEY", "s3cret")
            .or("PAYMENT_WEBHOOK_SECRET", "s3cret");
        let shown = shown("payment", &mut environment).unwrap();
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("DATABASE_URL=postgres://…@db/marquee\n"), "{shown}");
        assert!(shown.contains("NATS_URL=nats://…@a:4222,nats://b:4222\n"), "{shown}");
        assert!(shown.contains("PAYMENT_API_URL=http://provider\n"), "{shown}");
        assert!(shown.contains("NATS_REPLICAS=1  (default)\n"), "{shown}");
        assert!(shown.contains("CA_CERT_FILE  (not set)\n"), "{shown}");
        assert!(shown.contains("NATS_EVENTS_MAX_BYTES=8589934592  (default)\n"), "{shown}");
    }

    #[test]
    fn a_password_is_hidden_whatever_characters_it_has() {
        for c in ",;@:!$&'()*+=%".chars() {
            let url = format!("postgres://kino:s3{c}cret@db:5432/kino");
            assert_eq!(visible("DATABASE_URL", &url), "postgres://…@db:5432/kino", "{c:?}");
            let urls = format!("nats://kino:s3{c}cret@a:4222,nats://b:4222");
            assert_eq!(visible("NATS_URL", &urls), "nats://…@a:4222,nats://b:4222", "{c:?}");
        }
        assert_eq!(visible("DATABASE_URL", "postgres:///kino?password=s3cret"), "postgres:///kino");
        assert_eq!(visible("NATS_NKEY", "SUA"), "(set, hidden)");
    }

    #[test]
    fn invalid_settings_are_listed_without_their_values() {
        let mut environment = Environment::default().or("NATS_URL", "s3cret");
        let error = shown("payment", &mut environment).unwrap_err().to_string();
        for name in ["DATABASE_URL", "NATS_URL", "PAYMENT_API_KEY", "PAYMENT_WEBHOOK_SECRET"] {
            assert!(error.contains(name), "{error}");
        }
        assert!(!error.contains("s3cret"), "{error}");
        assert!(shown("kitchen", &mut Environment::default()).is_err());
    }
}
