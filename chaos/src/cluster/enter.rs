//! The namespaces of a run with `--cluster`: this program starts itself again with its own networks, mounts and processes.
//!
//! Invariant: nothing of a run outlives it. The kernel ends every process of the inner namespace when its first one ends,
//! and removes networks and mounts with the last process; the outer program removes the folder. The first process is a
//! shell, since a process whose parent has ended becomes its child and would remain a zombie otherwise: Patroni takes a
//! zombie for a Postgres that is still running.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use marquee::local::Folder;
use nix::unistd::Uid;

/// Where Debian installs Patroni and etcd.
pub const PATRONI: &str = "/usr/bin/patroni";
pub const ETCD: &str = "/usr/bin/etcd";
/// Where `ip netns` keeps its namespaces.
pub const NAMESPACES: &str = "/run/netns";

const OWN: [&str; 8] = [
    "--net",
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--fork",
    // Follows this program even if it is killed.
    "--kill-child",
    "--mount-proc",
];
/// In memory: three etcd servers, three of NATS and two of Postgres would share one real disk otherwise, and wait for it.
const FOLDER_OPTIONS: &str = "size=6g,mode=0711";

/// Why this machine cannot run it, if it cannot.
pub fn impossible() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("needs root, for network namespaces".to_owned());
    }
    let missing = [PATRONI, ETCD, "/usr/sbin/iptables"].into_iter().find(|path| !Path::new(path).exists());
    if let Some(path) = missing {
        return Some(format!("needs {path}: scripts/install-chaos.sh installs it"));
    }
    // Root in a container may have no right to any of this.
    let probe =
        "ip link add name probe type bridge && ip link add veth0 type veth peer name veth1 && iptables -w -S";
    let probe = Command::new("unshare").args(OWN).args(["sh", "-c", probe]).output();
    match probe {
        Ok(probe) if probe.status.success() => None,
        Ok(probe) => {
            let why = String::from_utf8_lossy(&probe.stderr).trim().to_owned();
            Some(format!("needs network namespaces, bridges and iptables: {why}"))
        }
        Err(error) => Some(format!("needs unshare: {error}")),
    }
}

/// Runs this program again in namespaces of its own; returns its exit code.
pub fn run(flag: &str) -> Result<i32> {
    // In a folder of the outer program, since the one that removes it would end with the inner namespace.
    let folder = Folder::temporary()?;
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(OWN)
        .args(["sh", "-c", "\"$@\"; exit $?", "chaos"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg(flag)
        .env("TMPDIR", folder.path())
        .status()
        .context("cannot make namespaces")?;
    Ok(status.code().unwrap_or(1))
}

/// Prepares the inner namespaces: a folder in memory, one for the namespaces of the machines, and the loopback device.
pub fn prepare() -> Result<()> {
    std::fs::create_dir_all(NAMESPACES)?;
    let temporary = std::env::temp_dir();
    let folder = temporary.to_str().context("the temporary folder is no text")?;
    done("mount", &["-t", "tmpfs", "-o", FOLDER_OPTIONS, "tmpfs", folder])?;
    done("mount", &["-t", "tmpfs", "tmpfs", NAMESPACES])?;
    done("ip", &["link", "set", "lo", "up"])
}

fn done(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    anyhow::ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
