//! `deploy/compose`: the cluster on one machine.

use std::collections::{BTreeMap, BTreeSet};

use actors::DOMAINS;
use serde_yaml::Value;

use super::{assert_settings, document, items, nats_users, string, text};

const COMPOSE: &str = "deploy/compose/docker-compose.yml";
const ONE_OF_EACH: &str = "docker-compose.yml";

fn service<'a>(compose: &'a Value, name: &str) -> &'a Value {
    let service = &compose["services"][name];
    assert!(service.is_mapping(), "there is no service {name}");
    service
}

fn environment(service: &Value) -> BTreeMap<String, String> {
    let pairs = service["environment"].as_mapping().into_iter().flatten();
    pairs.map(|(name, value)| (string(name).to_owned(), string(value).to_owned())).collect()
}

fn secrets(service: &Value) -> BTreeSet<&str> {
    items(&service["secrets"]).iter().map(string).collect()
}

/// The settings that this part does not read are for others: every part gets the same ones of the servers.
fn shared(compose: &Value) -> BTreeMap<String, String> {
    let pairs = compose["x-environment"].as_mapping().unwrap();
    pairs.into_iter().map(|(name, value)| (string(name).to_owned(), string(value).to_owned())).collect()
}

#[test]
fn the_compose_cluster_has_two_hosts_of_each_domain_with_the_settings_that_they_read() {
    let compose = document(COMPOSE);
    let shared = shared(&compose);
    let parts = DOMAINS.iter().map(|domain| (domain.name, format!("host {}", domain.name)));
    for (part, command) in parts.chain([("gateway", "gateway".to_owned()), ("migrate", "migrate".to_owned())])
    {
        let service = service(&compose, part);
        assert_eq!(service["command"], *command, "{part}");
        if part != "migrate" {
            assert_eq!(service["deploy"]["replicas"], 2, "{part}");
            assert!(service["healthcheck"].is_mapping(), "{part}");
        }
        let mut own = environment(service);
        let secrets = secrets(service);
        for (name, value) in &own {
            if let Some(secret) = value.strip_prefix("/run/secrets/") {
                assert!(name.ends_with("_FILE") && secrets.contains(secret), "{part}: {name}={value}");
            }
        }
        own.retain(|name, _| !shared.contains_key(name));
        assert_settings(part, &own, &shared);
        if let Some(url) = own.get("DATABASE_URL") {
            let role = if part == "migrate" { "marquee".to_owned() } else { format!("marquee_{part}") };
            assert_eq!(*url, format!("postgres://{role}@haproxy:5432/marquee"), "{part}");
        }
    }
}

/// Fails with each `X_FILE` that names a secret which the service does not get, or whose `X` is set too.
fn assert_secrets(name: &str, service: &Value) {
    let (own, secrets) = (environment(service), secrets(service));
    for (variable, value) in &own {
        let Some(secret) = value.strip_prefix("/run/secrets/") else { continue };
        let plain = variable.strip_suffix("_FILE").unwrap_or_else(|| panic!("{name}: {variable}={value}"));
        assert!(secrets.contains(secret), "{name} does not get the secret of {variable}");
        assert!(own.get(plain).is_none_or(String::is_empty), "{name} has {plain} and {variable}");
    }
}

#[test]
fn operator_has_the_settings_of_the_commands_and_is_not_started_by_up() {
    for path in [ONE_OF_EACH, COMPOSE] {
        let compose = document(path);
        let (service, shared) = (service(&compose, "operator"), shared(&compose));
        // The commands are arguments of the image's entry point.
        assert!(service["command"].is_null() && service["entrypoint"].is_null(), "{path}");
        assert_eq!(items(&service["profiles"]), [Value::from("operator")], "{path}");
        assert!(service["depends_on"].is_null() && service["restart"] == "no", "{path}");
        assert_secrets(path, service);
        let given = environment(service);
        let mut own = given.clone();
        own.retain(|name, _| !shared.contains_key(name));
        assert_settings("operator", &own, &shared);
        // fsck needs the owner of the database, as migrate does.
        let owner = environment(&compose["services"]["migrate"]);
        assert_eq!(given["DATABASE_URL"], owner["DATABASE_URL"], "{path}");
        // Dead letters are on RabbitMQ, too, where a bridge runs.
        let bridge = environment(&compose["services"]["bridge"]);
        assert_eq!(given.get("AMQP_URL"), bridge.get("AMQP_URL"), "{path}");
    }
    // Where each user of NATS has its own password, the commands need those of two users.
    let own = environment(service(&document(COMPOSE), "operator"));
    assert_eq!(own["NATS_PASSWORD_FILE"], "/run/secrets/nats-password-maintenance");
    assert_eq!(own["NATS_PASSWORD_OPERATOR_FILE"], "/run/secrets/nats-password-operator");
}

#[test]
fn secrets_as_files_give_operator_every_password_as_a_file() {
    let (plain, files) = (document(ONE_OF_EACH), document("docker-compose.secrets.yml"));
    let operator = service(&files, "operator");
    assert_secrets("operator", operator);
    let given = environment(operator);
    let passwords = environment(service(&plain, "operator")).into_keys();
    for name in passwords.filter(|name| name.contains("PASSWORD")) {
        assert!(given.contains_key(&format!("{name}_FILE")), "{name} is not a file");
        assert_eq!(given.get(&name).map(String::as_str), Some(""), "{name} is not emptied");
    }
}

#[test]
fn the_compose_cluster_has_three_servers_of_nats_and_etcd_and_two_of_postgres() {
    let compose = document(COMPOSE);
    let shared = shared(&compose);
    let names = |prefix: &str| {
        let services = compose["services"].as_mapping().unwrap().keys().map(string);
        services.filter(|name| name.starts_with(prefix)).collect::<Vec<_>>()
    };
    let servers = names("nats-");
    assert_eq!(shared["NATS_REPLICAS"], servers.len().to_string());
    let urls: Vec<String> = servers.iter().map(|name| format!("nats://{name}:4222")).collect();
    assert_eq!(shared["NATS_URL"], urls.join(","));
    for name in &servers {
        let service = service(&compose, name);
        assert_eq!(service["environment"]["NATS_NAME"], *name);
        assert_eq!(service["environment"]["NATS_ROUTES"], servers.join(","));
        let users = secrets(service).into_iter().map(|secret| secret.replace("nats-password-", ""));
        let wanted = nats_users().into_iter().chain(["route".to_owned()]);
        assert_eq!(users.collect::<BTreeSet<_>>(), wanted.collect(), "{name}");
    }
    assert_eq!((servers.len(), names("etcd-").len()), (3, 3));
    let hosts: Vec<String> = names("etcd-").iter().map(|name| format!("{name}:2379")).collect();
    let patroni = document("deploy/compose/patroni/patroni.yml");
    assert_eq!(patroni["etcd3"]["hosts"], hosts.join(","));
    assert_eq!(patroni["bootstrap"]["dcs"]["synchronous_mode"], true);
    let haproxy = text("deploy/compose/haproxy.cfg");
    let postgres = names("postgres-");
    assert_eq!(postgres.len(), 2);
    for name in postgres {
        assert!(haproxy.contains(&format!("server {name} {name}:5432")), "haproxy.cfg lacks {name}");
        assert_eq!(service(&compose, name)["hostname"], name);
    }
}

#[test]
fn every_service_of_the_compose_cluster_has_time_to_stop_and_only_declared_secrets_and_volumes() {
    let compose = document(COMPOSE);
    for (name, service) in compose["services"].as_mapping().unwrap() {
        let name = string(name);
        assert!(service["stop_grace_period"].is_string(), "{name}");
        for secret in secrets(service) {
            let file = &compose["secrets"][secret]["file"];
            assert_eq!(*file, *format!("./secrets/{secret}"), "{name}");
        }
        for volume in items(&service["volumes"]).iter().map(string) {
            let source = volume.split(':').next().unwrap();
            let is_declared = compose["volumes"].as_mapping().unwrap().contains_key(source);
            assert!(source.starts_with('.') || is_declared, "{name}: {volume}");
        }
    }
}
