//! `marquee config <part>`: what a part of the house would be started with, secrets hidden, or all that is wrong.

use bus::config::Environment;

use super::{GatewayProcess, HostProcess};

/// One line a setting. An error lists all that is bad or missing.
pub fn shown(part: &str, environment: &mut Environment) -> anyhow::Result<String> {
    match part {
        "gateway" => drop(GatewayProcess::read(environment)),
        host => drop(HostProcess::read(host, environment)?),
    }
    let asked = environment.asked();
    environment.check()?;
    let lines = asked.into_iter().map(|(name, default)| match (environment.get(&name), default) {
        (Some(value), _) => format!("{name}={}\n", visible(&name, &value)),
        (None, Some(default)) => format!("{name}={default}  (default)\n"),
        (None, None) => format!("{name}  (not set)\n"),
    });
    Ok(lines.collect())
}

/// The value, without what nobody shall read over a shoulder.
fn visible(name: &str, value: &str) -> String {
    let secret = ["PASSWORD", "SECRET", "PRIVATE", "TOKEN"].iter().any(|word| name.contains(word))
        || name.ends_with("_KEY");
    if secret {
        return "(set, hidden)".to_owned();
    }
    // An address may carry user and password, and several stand side by side.
    let addresses = value.split(',').map(|one| match (one.split_once("://"), one.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => one.to_owned(),
    });
    addresses.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown_and_everything_else_is() {
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
        assert!(shown.contains("REDIS_URL  (not set)\n"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_listed_and_not_shown() {
        let mut environment = Environment::default().or("NATS_URL", "s3cret");
        let error = shown("payment", &mut environment).unwrap_err().to_string();
        for name in ["DATABASE_URL", "NATS_URL", "PAYMENT_API_KEY", "PAYMENT_WEBHOOK_SECRET"] {
            assert!(error.contains(name), "{error}");
        }
        assert!(!error.contains("s3cret"), "{error}");
        assert!(shown("kitchen", &mut Environment::default()).is_err());
    }
}
