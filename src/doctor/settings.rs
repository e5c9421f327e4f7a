//! The settings: every part's are read as its process would read them, from the environment and `config/<part>.env`.
//!
//! This environment may be that of one host only, so a required setting that is not there is no error here, while one
//! that is there and wrong ends the command. Passwords of the repository beside an https `PUBLIC_URL` count as wrong.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bus::config::{Environment, is_secret};

use super::Deployment;
use super::report::{Check, Report, Verdict, counted};
use crate::config::{self, GatewayProcess, HostProcess, OPERATOR};
use crate::hosts;

/// Names that the Rust runtime, other programs and Kubernetes set with a prefix that is also ours.
const FOREIGN_PREFIXES: [&str; 7] = ["HTTP_", "RUST_", "OTEL_", "LOG_", "CA_", "SSL_", "NO_"];
const FOREIGN_PARTS: [&str; 3] = ["_SERVICE_", "_PORT", "_NAMESPACE"];

/// How the deployment is reached, and the checks of the settings. An error lists every setting that is wrong.
pub fn read(environment: Environment) -> anyhow::Result<(Deployment, Report)> {
    let mut report = Report::default();
    let mut own = environment.clone();
    let deployment = Deployment {
        database_url: config::database_url(&mut own),
        redis_url: own.url("REDIS_URL", &bus::redis::SCHEMES),
        has_bridge: own.get("AMQP_URL").is_some(),
        nats: config::nats_among_others(&mut own, OPERATOR),
    };
    let (mut incomplete, mut known) = (Vec::new(), own.asked().into_keys().collect::<BTreeSet<_>>());
    for part in hosts::all().chain(["gateway"]) {
        let part_environment = read_part(part, &environment);
        known.extend(part_environment.asked().into_keys());
        let (missing, wrong) = part_environment.problems();
        wrong.iter().for_each(|problem| note(&mut own, problem));
        if !missing.is_empty() && (part != hosts::BRIDGE || deployment.has_bridge) {
            incomplete.push(part);
        }
    }
    own.check()?;
    report.add(settings(&known, &incomplete));
    report.add(unknown(&environment, &known));
    Ok((deployment, report))
}

fn read_part(part: &str, environment: &Environment) -> Environment {
    let mut environment = environment.clone().or_file(&PathBuf::from(format!("config/{part}.env")));
    // An operator's environment has each user's password under its name, or the operator's alone.
    let passwords = [part, OPERATOR].map(|user| format!("NATS_PASSWORD_{}", user.to_uppercase()));
    if let Some(password) = passwords.iter().find_map(|name| environment.get(name)) {
        environment = environment.or("NATS_PASSWORD", password);
    }
    match part {
        "gateway" => drop(GatewayProcess::read(&mut environment)),
        host => {
            config::database_among_others(&mut environment, host);
            drop(HostProcess::read(host, &mut environment));
        }
    }
    environment
}

/// A problem begins with the name of its setting.
fn note(environment: &mut Environment, problem: &str) {
    let (name, what) = problem.split_once(' ').unwrap_or((problem, "is wrong"));
    environment.problem(name, what);
}

fn settings(known: &BTreeSet<String>, incomplete: &[&str]) -> Check {
    let text = format!("all that are set are valid, of {} that exist", counted(known.len(), "setting"));
    match incomplete {
        [] => Check::ok("settings", format!("{text}; every host and the gateway could start with them")),
        parts => Check::ok(
            "settings",
            format!(
                "{text}; the required ones of {} are not set here (`marquee config <part>` lists them)",
                parts.join(", ")
            ),
        ),
    }
}

/// Settings with a prefix of ours that no part reads: most are misspelt.
fn unknown(environment: &Environment, known: &BTreeSet<String>) -> Check {
    let prefixes: BTreeSet<&str> = known
        .iter()
        .filter_map(|name| name.find('_').map(|at| &name[..=at]))
        .filter(|prefix| !FOREIGN_PREFIXES.contains(prefix))
        .collect();
    let is_known = |name: &str| {
        let of_file = name.strip_suffix("_FILE").is_some_and(is_secret);
        known.contains(name) || is_secret(name) || of_file
    };
    let is_ours = |name: &str| {
        let is_foreign = FOREIGN_PARTS.iter().any(|part| name.contains(part));
        !is_foreign && prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    let names = environment.names();
    let found: Vec<&String> = names.iter().filter(|name| is_ours(name) && !is_known(name)).collect();
    if found.is_empty() {
        return Check::ok("unknown-settings", "no setting has a name that only resembles one of Marquee's");
    }
    let described = found.iter().map(|name| match nearest(name, known) {
        Some(near) => format!("{name} (is {near} meant?)"),
        None => (*name).clone(),
    });
    let text = format!("nothing reads {}", described.collect::<Vec<_>>().join(", "));
    let remedy = "correct the names, or remove them; config/*.env.example has every setting";
    Check::new("unknown-settings", Verdict::Warn, text).remedy(remedy)
}

/// The known name that differs in the fewest letters, at most three.
fn nearest<'a>(name: &str, known: &'a BTreeSet<String>) -> Option<&'a String> {
    let distances = known.iter().map(|other| (distance(name, other), other));
    distances.filter(|(distance, _)| *distance <= 3).min().map(|(_, other)| other)
}

/// Letters to insert, delete or replace.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (index, expected) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(letter != expected);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(more: &[(&str, &str)]) -> Environment {
        let servers = [("DATABASE_URL", "postgres://db/marquee"), ("NATS_URL", "nats://nats:4222")];
        let mut environment = Environment::default();
        servers.iter().chain(more).for_each(|(name, value)| environment.set(name, *value));
        environment
    }

    #[test]
    fn a_wrong_setting_of_any_part_ends_the_command_and_a_missing_one_does_not() {
        let error =
            read(environment(&[("HOLD_SECONDS", "s3cret"), ("REMINDER_CRON", "soon")])).err().unwrap();
        let message = error.to_string();
        assert!(
            message.contains("HOLD_SECONDS must be") && message.contains("REMINDER_CRON must be"),
            "{message}"
        );
        assert!(!message.contains("s3cret") && !message.contains("PAYMENT_API_URL"), "{message}");
        assert!(read(environment(&[])).is_ok());
        let message = read(Environment::default()).err().unwrap().to_string();
        assert!(
            message.contains("DATABASE_URL is not set") && message.contains("NATS_URL is not set"),
            "{message}"
        );
    }

    #[test]
    fn passwords_of_the_repository_are_wrong_beside_https() {
        let public = [("PUBLIC_URL", "https://kino.example"), ("NATS_PASSWORD", "marquee")];
        let message = read(environment(&public)).err().unwrap().to_string();
        assert!(message.contains("NATS_PASSWORD is published"), "{message}");
    }

    #[test]
    fn a_misspelt_setting_is_named_with_the_one_that_is_meant() {
        let known = read_part("reservation", &environment(&[])).asked().into_keys().collect();
        let check = |name: &str| unknown(&environment(&[(name, "1")]), &known);
        let misspelt = check("HOLD_SECOND");
        assert_eq!(misspelt.verdict, Verdict::Warn);
        assert!(misspelt.text.contains("HOLD_SECOND (is HOLD_SECONDS meant?)"), "{}", misspelt.text);
        for name in [
            "HOLD_SECONDS",
            "NATS_PASSWORD_AUTH",
            "DATABASE_URL_FILE",
            "NATS_PORT",
            "NATS_SERVICE_HOST",
            "PATH",
            "RUST_BACKTRACE",
        ] {
            assert_eq!(check(name).verdict, Verdict::Ok, "{name}");
        }
    }

    #[test]
    fn names_are_compared_by_letters() {
        assert_eq!(distance("HOLD_SECOND", "HOLD_SECONDS"), 1);
        assert_eq!(distance("HODL_SECONDS", "HOLD_SECONDS"), 2);
        assert_eq!((distance("", "ABC"), distance("ABC", "")), (3, 3));
    }
}
