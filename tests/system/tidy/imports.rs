//! Who imports whom, and which files may contain SQL or read the environment.

use actors::DOMAINS;

use super::{SOURCES, offences};

#[test]
fn a_domain_never_imports_another() {
    let domains = || DOMAINS.iter().map(|domain| domain.name);
    for domain in domains() {
        let others: Vec<String> =
            domains().filter(|d| *d != domain).map(|d| format!("crate::{d}::")).collect();
        let folder = format!("actors/src/{domain}");
        let broken =
            offences(&folder, |_| false, |line| others.iter().any(|other| line.contains(other.as_str())));
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

#[test]
fn the_bus_knows_no_sql_no_http_server_no_rabbitmq_and_no_actors() {
    let foreign = ["sqlx", "poem", "lapin", "ractor", "actors::", "gateway::", "bridge::"];
    let broken = offences("bus/src", |_| false, |line| foreign.iter().any(|name| line.contains(name)));
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_bridge_and_the_sandbox_import_only_the_bus() {
    let foreign = ["sqlx", "actors::", "gateway::", "marquee::", "bridge::", "sandbox::"];
    for folder in ["bridge/src", "sandbox/src"] {
        let broken = offences(folder, |_| false, |line| foreign.iter().any(|name| line.contains(name)));
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

#[test]
fn gateway_and_actors_never_see_each_other() {
    let broken =
        offences("gateway/src", |_| false, |line| line.contains("actors::") || line.contains("sqlx"));
    assert!(broken.is_empty(), "{broken:#?}");
    let broken =
        offences("actors/src", |_| false, |line| line.contains("gateway::") || line.contains("poem"));
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn only_stores_and_delivery_speak_sql() {
    let speaks = |line: &str| line.contains("sqlx::query");
    let allowed = |path: &str| path.contains("/delivery/") || path.contains("store");
    let broken = offences("actors/src", allowed, speaks);
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn only_config_files_read_the_environment() {
    let reads = |line: &str| line.contains("env::var") || line.contains("Environment::of_process");
    // The path of a program is not a setting, and a test may read whether it shall write the files that it compares.
    let allowed =
        |path: &str| ["config.rs", "local/binary.rs", "tests.rs"].iter().any(|end| path.ends_with(end));
    for folder in SOURCES {
        let broken = offences(folder, allowed, reads);
        assert!(broken.is_empty(), "{broken:#?}");
    }
}
