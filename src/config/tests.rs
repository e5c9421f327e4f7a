//! Holds `config/*.env.example` against what the code really reads: every name and no other, each explained, each
//! default true; and that a bad start tells all that is wrong at once.

use std::collections::BTreeMap;

use bus::config::Environment;
use bus::connection::Credentials;

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
            let value = match name {
                "JWT_PRIVATE_KEY" => actors::auth::token::generate_pem(),
                "CA_CERT_FILE" | "NATS_CREDS" | "NATS_NKEY" => continue,
                _ => value.to_owned(),
            };
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
        "TOKEN_ISSUER",
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

/// What NATS is told of who we are.
fn nats(settings: &[(&str, &str)]) -> (bus::Config, Option<String>) {
    let mut environment = Environment::default().or("NATS_URL", "nats://in,address:s3,cret@a:4222,nats://b");
    for (name, value) in settings {
        environment.set(name, *value);
    }
    let config = super::nats(&mut environment, "movie");
    (config, environment.check().err().map(|error| error.to_string()))
}

#[test]
fn a_login_at_nats_is_a_password_an_nkey_or_a_creds_file() {
    let (config, problem) = nats(&[]);
    assert_eq!((problem, config.urls.len(), config.user.as_str()), (None, 2, "in,address"));
    assert!(matches!(config.credentials, Credentials::Password(password) if password == "s3,cret"));
    let (config, _) = nats(&[("NATS_USER", "auth"), ("NATS_PASSWORD", "other")]);
    assert_eq!(config.user, "auth");
    assert!(matches!(config.credentials, Credentials::Password(password) if password == "other"));

    let seed = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";
    let folder = crate::local::Folder::temporary().unwrap();
    let (nkey, creds) = (folder.path().join("nkey"), folder.path().join("creds"));
    std::fs::write(&nkey, format!("{seed}\n")).unwrap();
    std::fs::write(&creds, "-----BEGIN NATS USER JWT-----\n…\n-----BEGIN USER NKEY SEED-----\n").unwrap();
    let (nkey, creds) = (nkey.display().to_string(), creds.display().to_string());
    for given in [seed, &nkey] {
        let (config, problem) = nats(&[("NATS_NKEY", given)]);
        assert!(matches!(config.credentials, Credentials::Nkey(found) if found == seed), "{problem:?}");
    }
    let (config, problem) = nats(&[("NATS_CREDS", &creds)]);
    assert!(matches!(config.credentials, Credentials::Creds(text) if text.contains("JWT")), "{problem:?}");

    for bad in [
        vec![("NATS_NKEY", "SUs3cret")],
        vec![("NATS_CREDS", &*nkey)],
        vec![("NATS_CREDS", &*creds), ("NATS_NKEY", seed)],
    ] {
        let problem = nats(&bad).1.unwrap();
        assert!(problem.contains(bad[0].0) && !problem.contains("s3cret"), "{problem}");
    }
}
