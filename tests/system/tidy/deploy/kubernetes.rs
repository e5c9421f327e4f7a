//! `deploy/kubernetes`: each host's Deployment, its settings, and what scales it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use actors::DOMAINS;
use actors::domain::Domain;
use bus::topology::EVENTS;
use marquee::hosts;
use marquee::local::Folder;
use serde_yaml::Value;

use super::{assert_settings, document, documents, files, items, nats_users, of_kind, read_by, string, text};

/// Seconds after SIGTERM in which a gateway that has drained ends, and in which a host ends (docs/operations.md).
const GATEWAY_STOP_SECONDS: u64 = 15;
const HOST_STOP_SECONDS: u64 = 40;
/// The Secret that CloudNativePG creates.
const POSTGRES_CA: &str = "/run/secrets/postgres-ca/ca.crt";

fn kubernetes(path: &str) -> String {
    format!("deploy/kubernetes/{path}")
}

/// The patch of a kustomization, which is YAML in a text.
fn patch(kustomization: &Value) -> Value {
    documents(string(&kustomization["patches"][0]["patch"])).remove(0)
}

fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// The variables of a pod's first container, with values where they have one.
fn variables(pod: &Value) -> BTreeMap<String, String> {
    let variables = items(&pod["containers"][0]["env"]).iter();
    variables
        .map(|variable| {
            (string(&variable["name"]).to_owned(), variable["value"].as_str().unwrap_or_default().to_owned())
        })
        .collect()
}

/// `NAME=value` of the settings that all parts get, in a kustomization.
fn settings(path: &str) -> BTreeMap<String, String> {
    let kustomization = document(&kubernetes(path));
    let maps = items(&kustomization["configMapGenerator"]).iter().filter(|map| map["name"] == "marquee");
    let lines = maps.flat_map(|map| items(&map["literals"])).map(string);
    lines.map(|line| line.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn domain(part: &str) -> Option<&'static Domain> {
    DOMAINS.iter().find(|domain| domain.name == part)
}

#[test]
fn kubernetes_has_a_deployment_for_each_host_with_the_settings_that_it_reads() {
    let template = document(&kubernetes("host/deployment.yaml"));
    let database = patch(&document(&kubernetes("components/database/kustomization.yaml")));
    let shared = settings("base/kustomization.yaml");
    for part in hosts::all() {
        let kustomization = document(&kubernetes(&format!("hosts/{part}/kustomization.yaml")));
        assert_eq!(kustomization["namePrefix"], *format!("{part}-"));
        assert_eq!(kustomization["labels"][0]["pairs"]["app.kubernetes.io/component"], *part);
        let patch = patch(&kustomization);
        let args: Vec<&str> = items(&pod(&patch)["containers"][0]["args"]).iter().map(string).collect();
        assert_eq!(args, ["host", part]);
        assert_eq!(pod(&patch)["volumes"][0]["secret"]["secretName"], *format!("marquee-{part}"));
        let mut own = variables(pod(&template));
        own.extend(variables(pod(&patch)));
        let has_tables = domain(part).is_some_and(|domain| domain.migrations.is_some());
        let components: Vec<&str> = items(&kustomization["components"]).iter().map(string).collect();
        assert_eq!(components.contains(&"../../components/database"), has_tables, "{part}");
        if has_tables {
            own.extend(variables(pod(&database)));
            let url = format!(
                "postgres://marquee_{part}@postgres-rw:5432/marquee?sslmode=verify-full&sslrootcert={POSTGRES_CA}"
            );
            assert_eq!(own["DATABASE_URL"], url);
        }
        assert_settings(part, &own, &shared);
    }
}

#[test]
fn the_base_has_every_domain_and_only_its_component_adds_the_bridge() {
    let listed = |path: &str| {
        let kustomization = document(&kubernetes(path));
        let resources = items(&kustomization["resources"]).iter().map(string);
        let hosts = resources.filter_map(|path| path.rsplit_once("hosts/").map(|(_, host)| host.to_owned()));
        hosts.collect::<BTreeSet<_>>()
    };
    let domains = DOMAINS.iter().map(|domain| domain.name.to_owned());
    assert_eq!(listed("base/kustomization.yaml"), domains.collect());
    assert_eq!(listed("components/bridge/kustomization.yaml"), [hosts::BRIDGE.to_owned()].into());
}

#[test]
fn gateway_and_migrate_get_the_settings_that_they_read() {
    let shared = settings("base/kustomization.yaml");
    let gateway = of_kind(&kubernetes("base/gateway.yaml"), "Deployment");
    assert_settings("gateway", &variables(pod(&gateway)), &shared);
    let migrate = document(&kubernetes("base/migrate.yaml"));
    let given = variables(pod(&migrate));
    assert_settings("migrate", &given, &shared);
    for domain in DOMAINS.iter().filter(|domain| domain.migrations.is_some()) {
        let name = format!("DATABASE_PASSWORD_{}_FILE", domain.name.to_uppercase());
        assert!(given.contains_key(&name), "migrate does not create the role of {}", domain.name);
    }
}

#[test]
fn operator_has_the_settings_of_the_commands_and_runs_only_on_request() {
    let operator = document(&kubernetes("base/operator.yaml"));
    assert_eq!(operator["kind"], "CronJob");
    assert_eq!(operator["spec"]["suspend"], true);
    // Objects with this name are hosts to rollout.sh.
    assert!(operator["metadata"]["labels"].is_null(), "{:?}", operator["metadata"]);
    let job = &operator["spec"]["jobTemplate"];
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/name"], "marquee");
    let component = string(&labels["app.kubernetes.io/component"]);
    let given = variables(pod(job));
    assert_settings("operator", &given, &settings("base/kustomization.yaml"));
    let migrate = variables(pod(&document(&kubernetes("base/migrate.yaml"))));
    assert_eq!(given["DATABASE_URL"], migrate["DATABASE_URL"]);
    assert!(given.contains_key("NATS_PASSWORD_FILE") && given.contains_key("NATS_PASSWORD_OPERATOR_FILE"));
    // NATS admits every pod of Marquee, Postgres and Redis only those that they name.
    let policies = documents(&text(&kubernetes("base/network.yaml")));
    for server in ["postgres", "redis"] {
        let policy = policies.iter().find(|policy| policy["metadata"]["name"] == server).unwrap();
        let peers = items(&policy["spec"]["ingress"]).iter().flat_map(|rule| items(&rule["from"]));
        let named = peers.flat_map(|peer| items(&peer["podSelector"]["matchExpressions"]));
        let mut admitted = named.flat_map(|expression| items(&expression["values"]));
        assert!(admitted.any(|value| *value == *component), "{server} does not admit {component}");
    }
}

#[test]
fn every_shared_setting_is_read_by_some_part_and_copies_are_as_many_as_servers() {
    let known: BTreeSet<String> = hosts::all().chain(["gateway"]).flat_map(read_by).collect();
    for path in [
        "base/kustomization.yaml",
        "overlays/small/kustomization.yaml",
        "overlays/production/kustomization.yaml",
    ] {
        let unknown: Vec<_> = settings(path).into_keys().filter(|name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "{path}: nobody reads {unknown:?}");
    }
    let production = document(&kubernetes("overlays/production/kustomization.yaml"));
    let mut replicas = items(&production["replicas"]).iter();
    let servers = replicas.find(|entry| entry["name"] == "nats").unwrap()["count"].as_u64().unwrap();
    let given = settings("overlays/production/kustomization.yaml");
    assert_eq!(given["NATS_REPLICAS"], servers.to_string());
    let urls: Vec<String> = (0..servers).map(|n| format!("nats://nats-{n}.nats:4222")).collect();
    assert_eq!(given["NATS_URL"], urls.join(","));
    let routes: Vec<String> = (0..servers).map(|n| format!("nats-{n}.nats")).collect();
    assert_eq!(variables(pod(&patch(&production)))["NATS_ROUTES"], routes.join(","));
}

#[test]
fn each_consumer_scales_its_own_host() {
    let path = kubernetes("components/autoscaling/hosts.yaml");
    let mut scaled = BTreeMap::new();
    for object in documents(&text(&path)) {
        let target = string(&object["spec"]["scaleTargetRef"]["name"]).to_owned();
        for trigger in items(&object["spec"]["triggers"]) {
            if trigger["type"] != "nats-jetstream" {
                continue;
            }
            let metadata = &trigger["metadata"];
            assert_eq!(metadata["stream"], *EVENTS, "{target}");
            assert_eq!(metadata["natsServerMonitoringEndpoint"], "nats.marquee.svc.cluster.local:8222");
            // KEDA ignores what it does not know.
            const NAMES: [&str; 6] = [
                "natsServerMonitoringEndpoint",
                "account",
                "stream",
                "consumer",
                "lagThreshold",
                "activationLagThreshold",
            ];
            let mut names = metadata.as_mapping().unwrap().keys().map(string);
            assert!(names.all(|name| NAMES.contains(&name)), "{target}: {metadata:?}");
            scaled.insert(string(&metadata["consumer"]).to_owned(), target.clone());
        }
    }
    let consumers = DOMAINS.iter().filter_map(|domain| Some((domain.consumer?.name, domain.name)));
    let wanted = consumers.map(|(consumer, host)| (consumer.to_owned(), format!("{host}-host")));
    assert_eq!(scaled, wanted.collect());
}

/// KEDA refuses a ScaledObject whose target does not exist, so `rollout.sh` applies what has this label after the hosts.
#[test]
fn what_scales_a_workload_is_applied_after_it() {
    const PHASE: &str = "marquee/phase";
    let mut scaling = 0;
    for (name, text) in files() {
        if !name.starts_with("deploy/kubernetes/") || !name.ends_with(".yaml") {
            continue;
        }
        for object in documents(&text) {
            if object["spec"]["scaleTargetRef"].is_mapping() {
                assert_eq!(object["metadata"]["labels"][PHASE], "scale", "{name}: {:?}", object["metadata"]);
                scaling += 1;
            }
        }
    }
    assert!(scaling > 1, "only {scaling} objects scale something");
    let script = text(&kubernetes("rollout.sh"));
    let after = format!("--selector {PHASE}=scale");
    let (before, last) = (script.find(&format!("{PHASE}!=scale")), script.find(&after));
    let hosts = script.find("replace 'app.kubernetes.io/name=marquee");
    assert!(before.is_some() && before < hosts && hosts < last, "rollout.sh: {before:?} {hosts:?} {last:?}");
}

/// New hosts need the rights of the new `nats.conf`.
#[test]
fn hosts_are_replaced_after_nats_and_the_migration() {
    let script = text(&kubernetes("rollout.sh"));
    let at = |step: &str| script.find(step).unwrap_or_else(|| panic!("rollout.sh lacks {step:?}"));
    let hosts = at("replace 'app.kubernetes.io/name=marquee");
    assert!(at("rollout status --timeout=15m statefulset/nats") < hosts);
    assert!(at("--for=condition=complete --timeout=30m job/migrate") < hosts);
}

#[test]
fn probes_and_ports_are_those_of_the_program() {
    let image = text("Dockerfile");
    let health = text("src/health.rs");
    let host = document(&kubernetes("host/deployment.yaml"));
    let gateway = of_kind(&kubernetes("base/gateway.yaml"), "Deployment");
    for workload in [&host, &gateway] {
        let container = &pod(workload)["containers"][0];
        let given = variables(pod(workload));
        for (port, setting) in [("health", "HEALTH_ADDR"), ("http", "HTTP_ADDR")] {
            let Some(addr) = given.get(setting) else { continue };
            assert!(image.contains(&format!("{setting}={addr}")), "the image has another {setting}");
            let ports = items(&container["ports"]).iter().find(|own| own["name"] == port);
            let number = ports.and_then(|port| port["containerPort"].as_u64()).unwrap();
            assert!(addr.ends_with(&format!(":{number}")), "{setting}={addr}, but {number}");
        }
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let path = string(&container[probe]["httpGet"]["path"]);
            assert!(health.contains(&format!(".at(\"{path}\"")), "no part serves {path}");
            assert_eq!(container[probe]["httpGet"]["port"], "health");
        }
    }
    // What is open to others: REST to the ingress, HEALTH_ADDR to the collector of metrics alone.
    let policies = documents(&text(&kubernetes("base/network.yaml")));
    let allowed = |port: u64| {
        let of_port = policies.iter().filter(|policy| {
            let ports = items(&policy["spec"]["ingress"]).iter().flat_map(|rule| items(&rule["ports"]));
            ports.into_iter().any(|own| own["port"] == port)
        });
        of_port.map(|policy| string(&policy["metadata"]["name"])).collect::<Vec<_>>()
    };
    assert_eq!((allowed(9090), allowed(8080)), (vec!["metrics"], vec!["gateway"]));
}

#[test]
fn each_part_has_the_time_that_it_needs_to_stop() {
    let seconds = |workload: &Value| pod(workload)["terminationGracePeriodSeconds"].as_u64().unwrap();
    let gateway = of_kind(&kubernetes("base/gateway.yaml"), "Deployment");
    let drain: u64 = variables(pod(&gateway))["DRAIN_SECONDS"].parse().unwrap();
    assert_eq!(seconds(&gateway), drain + GATEWAY_STOP_SECONDS);
    let host = document(&kubernetes("host/deployment.yaml"));
    assert_eq!(seconds(&host), HOST_STOP_SECONDS);
    for workload in [&gateway, &host] {
        assert_eq!(workload["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    }
}

#[test]
fn kubernetes_gives_nats_every_users_password() {
    let nats = of_kind(&kubernetes("base/nats.yaml"), "StatefulSet");
    let volumes = items(&pod(&nats)["volumes"]).iter();
    let sources = volumes.flat_map(|volume| items(&volume["projected"]["sources"]));
    let files =
        sources.flat_map(|source| items(&source["secret"]["items"])).map(|item| string(&item["path"]));
    let files: BTreeSet<String> = files.map(|path| path.replace("nats-password-", "")).collect();
    assert_eq!(files, nats_users().into_iter().chain(["route".to_owned()]).collect());
}

#[test]
fn no_secret_is_printed_when_the_signing_key_cannot_be_created() {
    let folder = Folder::temporary().unwrap();
    std::os::unix::fs::symlink("/bin/false", folder.path().join("openssl")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(kubernetes("secrets.sh"));
    let given = ["PAYMENT_API_KEY", "PAYMENT_WEBHOOK_SECRET", "SMTP_URL"].map(|name| (name, "given"));
    let output = Command::new(script).env("PATH", path).envs(given).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
}
