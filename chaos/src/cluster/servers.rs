//! The commands and configurations of the servers: three of NATS, three of etcd, two of Postgres under Patroni.
//!
//! Invariant: what is answered is on both servers of Postgres (`synchronous_mode`), unless one of them is known to be away; then
//! the other may not become the primary. docs/reliability.md explains the settings.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use marquee::local;
use nix::unistd::User;
use serde_json::{Value, json};

use super::enter;
use super::machine::{ETCD, Machine, NATS, POSTGRES};
use crate::process::ProcessSpec;

const NATS_CONFIGURATION: &str = include_str!("../../../nats.conf");
const NATS_PASSWORD: &str = "NATS_PASSWORD_";

pub const NATS_PORT: u16 = 4222;
pub const NATS_MONITORING: u16 = 8222;
const NATS_ROUTES: u16 = 6222;
pub const ETCD_PORT: u16 = 2379;
const ETCD_PEERS: u16 = 2380;
pub const POSTGRES_PORT: u16 = 5432;
/// Patroni's REST interface.
pub const PATRONI_PORT: u16 = 8008;

/// What Patroni starts: all of the same version, so from one folder.
const PROGRAMS: [&str; 6] = ["postgres", "initdb", "pg_ctl", "pg_controldata", "pg_basebackup", "pg_rewind"];

pub const SUPERUSER: &str = "postgres";
/// Marquee's role.
pub const USER: &str = "marquee";

/// When a primary acknowledges a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// When the standby has it too.
    Synchronous,
    /// At once: a fail-over loses what the standby does not have, which the checks must find.
    Asynchronous,
}

impl Replication {
    /// The state of the standby in `pg_stat_replication`, and its role for Patroni.
    pub fn standby(self) -> (&'static str, &'static str) {
        match self {
            Self::Synchronous => ("sync", "sync_standby"),
            Self::Asynchronous => ("async", "replica"),
        }
    }
}

/// The passwords of Postgres, new in each run.
#[derive(Debug)]
pub struct Passwords {
    pub superuser: String,
    pub user: String,
    replication: String,
}

impl Passwords {
    pub fn random() -> Self {
        Self { superuser: local::random(), user: local::random(), replication: local::random() }
    }
}

fn spec(machine: Machine, program: PathBuf, arguments: Vec<String>, folder: &Path) -> ProcessSpec {
    ProcessSpec {
        name: machine.name.to_owned(),
        program,
        arguments,
        environment: vec![("LANG".to_owned(), "C.UTF-8".to_owned())],
        folder: folder.to_owned(),
        health: None,
        namespace: Some(machine.namespace()),
    }
}

/// A server of NATS; `folder` is for its log, `data` for its streams.
pub fn nats(machine: Machine, folder: &Path, data: &Path) -> Result<ProcessSpec> {
    let configuration = data.join("nats.conf");
    fs::write(&configuration, NATS_CONFIGURATION)?;
    let route = |machine: Machine| format!("nats://{}", machine.at(NATS_ROUTES));
    let others: Vec<String> = NATS.into_iter().filter(|other| *other != machine).map(route).collect();
    let arguments = [
        ("--config", configuration.display().to_string()),
        ("--addr", machine.ip.to_string()),
        ("--port", NATS_PORT.to_string()),
        ("--http_port", NATS_MONITORING.to_string()),
        ("--name", machine.name.to_owned()),
        ("--store_dir", data.join("store").display().to_string()),
        ("--cluster_name", "cinema".to_owned()),
        ("--cluster", route(machine)),
        ("--routes", others.join(",")),
    ];
    let arguments = arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    let mut spec = spec(machine, local::folder_of(&["nats-server"])?.join("nats-server"), arguments, folder);
    for (at, _) in NATS_CONFIGURATION.match_indices(NATS_PASSWORD) {
        let is_of_name = |c: char| c.is_ascii_uppercase() || c == '_';
        let name: String = NATS_CONFIGURATION[at..].chars().take_while(|c| is_of_name(*c)).collect();
        if name.len() > NATS_PASSWORD.len() {
            spec.environment.push((name, local::temporary_password().to_owned()));
        }
    }
    // Idle threads of Go spin while they look for work.
    spec.environment.push(("GOMAXPROCS".to_owned(), "1".to_owned()));
    Ok(spec)
}

/// A server of etcd, which keeps who the primary is.
pub fn etcd(machine: Machine, folder: &Path, data: &Path) -> ProcessSpec {
    let url = |machine: Machine, port: u16| format!("http://{}", machine.at(port));
    let members = ETCD.map(|member| format!("{}={}", member.name, url(member, ETCD_PEERS))).join(",");
    let arguments = [
        ("--name", machine.name.to_owned()),
        ("--data-dir", data.join("data").display().to_string()),
        ("--listen-client-urls", url(machine, ETCD_PORT)),
        ("--advertise-client-urls", url(machine, ETCD_PORT)),
        ("--listen-peer-urls", url(machine, ETCD_PEERS)),
        ("--initial-advertise-peer-urls", url(machine, ETCD_PEERS)),
        ("--initial-cluster", members),
        ("--enable-v2", "true".to_owned()),
        // For a busy machine; still far below Patroni's `retry_timeout`.
        ("--heartbeat-interval", "200".to_owned()),
        ("--election-timeout", "2000".to_owned()),
    ];
    let arguments = arguments.map(|(name, value)| format!("{name}={value}")).to_vec();
    let mut spec = spec(machine, PathBuf::from(enter::ETCD), arguments, folder);
    spec.environment.push(("GOMAXPROCS".to_owned(), "1".to_owned()));
    spec
}

/// A server of Postgres under Patroni, as the user `postgres`: Postgres refuses to run as root.
pub fn postgres(
    machine: Machine,
    folder: &Path,
    data: &Path,
    passwords: &Passwords,
    replication: Replication,
) -> Result<ProcessSpec> {
    let find = |name: &str| User::from_name(name).ok().flatten();
    let user = find("postgres").or_else(|| find("nobody")).context("no user for Postgres to run as")?;
    let configuration = data.join("patroni.json");
    let programs = local::folder_of(&PROGRAMS)?;
    // YAML, of which JSON is a part.
    let text = serde_json::to_string_pretty(&patroni(machine, data, &programs, passwords, replication))?;
    fs::write(&configuration, text)?;
    fs::set_permissions(&configuration, fs::Permissions::from_mode(0o600))?;
    for path in [data, &configuration] {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    let arguments = vec![
        format!("--reuid={}", user.uid),
        format!("--regid={}", user.gid),
        "--clear-groups".to_owned(),
        // The kernel forgets it when the user changes.
        "--pdeathsig".to_owned(),
        "KILL".to_owned(),
        enter::PATRONI.to_owned(),
        configuration.display().to_string(),
    ];
    Ok(spec(machine, PathBuf::from("/usr/bin/setpriv"), arguments, folder))
}

/// Patroni's configuration of one server.
fn patroni(
    machine: Machine,
    data: &Path,
    programs: &Path,
    passwords: &Passwords,
    replication: Replication,
) -> Value {
    let hosts: Vec<String> = ETCD.iter().map(|etcd| etcd.at(ETCD_PORT).to_string()).collect();
    let mut rules = vec!["local all all reject".to_owned()];
    rules.push("host replication replicator 10.77.0.0/24 scram-sha-256".to_owned());
    rules.push("host all all 10.77.0.0/24 scram-sha-256".to_owned());
    json!({
        "scope": "cinema",
        "name": machine.name,
        "restapi": {
            "listen": machine.at(PATRONI_PORT).to_string(),
            "connect_address": machine.at(PATRONI_PORT).to_string(),
        },
        // Not `etcd3`: before its version 3.0.3 (https://github.com/patroni/patroni/pull/2689) Patroni may overwrite the lease of
        // its successor there after a pause, and here it compares the lease first.
        "etcd": {"hosts": hosts},
        "bootstrap": {
            "dcs": {
                // The shortest lease that Patroni allows: a primary that cannot renew it steps down before it ends.
                "ttl": 20,
                "loop_wait": 3,
                "retry_timeout": 5,
                "synchronous_mode": replication == Replication::Synchronous,
                "postgresql": {"use_pg_rewind": true, "use_slots": true, "parameters": {
                    "max_connections": 200,
                    "max_wal_senders": 8,
                    "max_replication_slots": 8,
                    "wal_level": "replica",
                    // The order of what happened to a seat, for the checks.
                    "track_commit_timestamp": "on",
                }},
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
        },
        "postgresql": {
            "listen": machine.at(POSTGRES_PORT).to_string(),
            "connect_address": machine.at(POSTGRES_PORT).to_string(),
            "data_dir": data.join("data").display().to_string(),
            "bin_dir": programs.display().to_string(),
            "pgpass": data.join("pgpass").display().to_string(),
            "authentication": {
                "superuser": {"username": SUPERUSER, "password": passwords.superuser},
                "replication": {"username": "replicator", "password": passwords.replication},
            },
            // Without hands: a server whose history cannot be joined is copied again from the primary.
            "remove_data_directory_on_rewind_failure": true,
            "remove_data_directory_on_diverged_timelines": true,
            "pg_hba": rules,
            "parameters": settings(),
        },
        "watchdog": {"mode": "off"},
        "log": {"level": "INFO"},
    })
}

fn settings() -> Value {
    json!({
        "unix_socket_directories": "",
        "shared_buffers": "128MB",
        "max_wal_size": "512MB",
        "recovery_init_sync_method": "syncfs",
        // A standby that is cut off counts as connected until then, and every commit waits for it.
        "wal_sender_timeout": "6s",
        "wal_receiver_timeout": "6s",
        "tcp_user_timeout": "10s",
        "jit": "off",
        "max_parallel_workers_per_gather": 0,
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %d ",
    })
}

/// A machine of NATS, etcd or Postgres and its command.
pub fn all(
    folder: &Path,
    passwords: &Passwords,
    replication: Replication,
) -> Result<Vec<(Machine, ProcessSpec)>> {
    let data = |machine: Machine| -> Result<PathBuf> {
        let path = folder.join("data").join(machine.name);
        fs::create_dir_all(&path)?;
        for path in [path.parent().unwrap_or(&path), &path] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o711))?;
        }
        Ok(path)
    };
    let mut specs = Vec::new();
    for machine in NATS {
        specs.push((machine, nats(machine, folder, &data(machine)?)?));
    }
    for machine in ETCD {
        specs.push((machine, etcd(machine, folder, &data(machine)?)));
    }
    for machine in POSTGRES {
        specs.push((machine, postgres(machine, folder, &data(machine)?, passwords, replication)?));
    }
    Ok(specs)
}
