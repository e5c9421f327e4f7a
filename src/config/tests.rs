//! Holds `config/*.env.example` against what the code really reads: every name and no other, each explained, each
//! default true; and that a bad start tells all that is wrong at once.

use std::collections::BTreeMap;

use bus::config::Environment;

use super::{GatewayProcess, HostProcess};
use crate::hosts;

/// Reads all that a part reads, as its process does at its start.
fn read(part: &str, environment: &mut Environment) {
    match part {
        "gateway" => drop(GatewayProcess::read(environment)),
        host => drop(HostProcess::read(host, environment).unwrap()),
    }
}

fn parts() -> impl Iterator<Item = &'static str> {
    hosts::all().chain(["gateway"])
}

fn example(part: &str) -> String {
    let path = format!("{}/config/{part}.env.example", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Names with their values: `NAME=value` must be set, `#NAME=value` shows the default.
fn settings(example: &str) -> BTreeMap<&str, (bool, &str)> {
    let line = |line| {
        let (required, line) = match str::strip_prefix(line, "#") {
            Some(line) if !line.starts_with(' ') => (false, line),
            Some(_) => return None,
            None => (true, line),
        };
        line.split_once('=').map(|(name, value)| (name, (required, value)))
    };
    example.lines().filter_map(line).collect()
}

#[test]
fn every_env_example_names_what_is_read_and_nothing_else() {
    let mut wrong = Vec::new();
    for part in parts() {
        let mut environment = Environment::default();
        read(part, &mut environment);
        let example = example(part);
        let shown = settings(&example);
        for (name, default) in environment.asked() {
            match (shown.get(&*name), default) {
                (None, default) => wrong.push(format!("{part}: {name} (default {default:?}) is missing")),
                (Some((_, shown)), Some(default)) if *shown != default => {
                    wrong.push(format!("{part}: {name}'s default is {default}, not {shown}"));
                }
                _ => {}
            }
        }
        let asked = environment.asked();
        let unknown = shown.keys().filter(|name| !asked.contains_key(**name));
        wrong.extend(unknown.map(|name| format!("{part}: nobody reads {name}")));
    }
    assert!(wrong.is_empty(), "config/*.env.example:\n{}", wrong.join("\n"));
}

#[test]
fn every_setting_in_an_example_is_explained() {
    for part in parts() {
        let example = example(part);
        let lines: Vec<_> = example.lines().collect();
        for pair in lines.windows(2) {
            let is_setting = |line: &str| !line.is_empty() && !line.starts_with("# ") && line.contains('=');
            assert!(!is_setting(pair[1]) || !pair[0].is_empty(), "{part}: {} is not explained", pair[1]);
        }
    }
}

#[test]
fn every_example_starts_its_part() {
    for part in parts() {
        let example = example(part);
        let mut environment = Environment::default();
        for (name, (_, value)) in settings(&example) {
            // The example names a file, which is an operator's to make.
            let value =
                if name == "JWT_PRIVATE_KEY" { actors::auth::token::generate_pem() } else { value.into() };
            environment.set(name, value);
        }
        read(part, &mut environment);
        environment.check().unwrap_or_else(|error| panic!("{part}: {error}"));
    }
}

#[test]
fn a_start_without_settings_lists_every_required_name_at_once() {
    for part in parts() {
        let mut environment = Environment::default();
        read(part, &mut environment);
        let message = environment.check().unwrap_err().to_string();
        let example = example(part);
        for (name, (required, _)) in settings(&example) {
            assert_eq!(message.contains(&format!("{name} is not set")), required, "{part} {name}: {message}");
        }
    }
}

#[test]
fn a_bad_start_names_every_bad_value_and_shows_none() {
    // Any text is a name, a secret or a folder.
    let free_text = [
        "NATS_USER",
        "NATS_PASSWORD",
        "PAYMENT_API_KEY",
        "PAYMENT_WEBHOOK_SECRET",
        "SUPER_ADMIN_PASSWORD",
        "MEDIA_DIR",
        "MAIL_DIR",
    ];
    for part in parts() {
        let asked = {
            let mut environment = Environment::default();
            read(part, &mut environment);
            environment.asked()
        };
        let mut environment = Environment::default();
        for name in asked.keys() {
            environment.set(name, "=s3cret=");
        }
        read(part, &mut environment);
        let message = environment.check().unwrap_err().to_string();
        for name in asked.keys().filter(|name| !free_text.contains(&name.as_str())) {
            assert!(message.contains(&**name), "{part} takes any {name}: {message}");
        }
        assert!(!message.contains("s3cret"), "{part}: {message}");
    }
}

#[test]
fn docker_compose_starts_every_host_with_what_it_needs() {
    let compose = include_str!("../../docker-compose.yml");
    for part in hosts::all() {
        assert!(
            compose.contains(&format!("command: host {part}\n")),
            "docker-compose.yml lacks the {part} host"
        );
        let example = example(part);
        let required = settings(&example).into_iter().filter(|(_, (required, _))| *required);
        for (name, _) in required {
            assert!(compose.contains(&format!("{name}: ")), "docker-compose.yml never sets {name} of {part}");
        }
    }
}
