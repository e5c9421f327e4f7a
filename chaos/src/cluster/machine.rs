//! The machines of the cluster: each is a network namespace with one address and a cable to a common bridge.
//!
//! A cable can be unplugged, and packets between two machines can be lost in both directions or in one. The processes of a
//! machine are those in its namespace, whichever process started them: Postgres is no child of Patroni.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::enter::NAMESPACES;

/// The address of this program, which all machines reach.
pub const PROGRAM: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const BRIDGE: &str = "cinema";

/// A machine. The name of a network device has at most 15 characters, so names are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub name: &'static str,
    pub ip: Ipv4Addr,
}

const fn machine(name: &'static str, number: u8) -> Machine {
    Machine { name, ip: Ipv4Addr::new(10, 77, 0, number) }
}

pub const NATS: [Machine; 3] = [machine("nats-1", 11), machine("nats-2", 12), machine("nats-3", 13)];
pub const ETCD: [Machine; 3] = [machine("etcd-1", 21), machine("etcd-2", 22), machine("etcd-3", 23)];
pub const POSTGRES: [Machine; 2] = [machine("postgres-1", 31), machine("postgres-2", 32)];
/// Each has one of every host and a gateway.
pub const APPLICATION: [Machine; 2] = [machine("app-1", 41), machine("app-2", 42)];

/// Which packets of a machine are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    Both,
    /// Those that it sends: it receives everything, and nobody receives an answer.
    Sent,
}

pub fn all() -> impl Iterator<Item = Machine> {
    NATS.into_iter().chain(ETCD).chain(POSTGRES).chain(APPLICATION)
}

/// Creates the bridge and connects every machine.
pub async fn connect_all() -> Result<()> {
    ip(&["link", "add", "name", BRIDGE, "type", "bridge"]).await?;
    ip(&["addr", "add", &format!("{PROGRAM}/24"), "dev", BRIDGE]).await?;
    ip(&["link", "set", BRIDGE, "up"]).await?;
    for machine in all() {
        machine.connect().await?;
    }
    Ok(())
}

impl Machine {
    pub fn at(self, port: u16) -> SocketAddr {
        SocketAddr::from((self.ip, port))
    }

    /// The device of its cable at the bridge.
    fn cable(self) -> String {
        format!("to-{}", self.name)
    }

    async fn connect(self) -> Result<()> {
        let (name, cable) = (self.name, self.cable());
        ip(&["netns", "add", name]).await?;
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", name]).await?;
        ip(&["link", "set", &cable, "master", BRIDGE, "up"]).await?;
        ip(&["-n", name, "addr", "add", &format!("{}/24", self.ip), "dev", "eth0"]).await?;
        ip(&["-n", name, "link", "set", "lo", "up"]).await?;
        ip(&["-n", name, "link", "set", "eth0", "up"]).await
    }

    /// Pulls its cable out: it reaches nobody but itself.
    pub async fn unplug(self) -> Result<()> {
        ip(&["link", "set", &self.cable(), "down"]).await
    }

    /// Loses the packets between it and these machines.
    pub async fn lose(self, lost: Lost, peers: impl IntoIterator<Item = Ipv4Addr>) -> Result<()> {
        for peer in peers.into_iter().filter(|peer| *peer != self.ip) {
            let peer = peer.to_string();
            self.iptables(&["-A", "OUTPUT", "-d", &peer, "-j", "DROP"]).await?;
            if lost == Lost::Both {
                self.iptables(&["-A", "INPUT", "-s", &peer, "-j", "DROP"]).await?;
            }
        }
        Ok(())
    }

    /// Plugs its cable in again and loses nothing.
    pub async fn restore(self) -> Result<()> {
        ip(&["link", "set", &self.cable(), "up"]).await?;
        self.iptables(&["-F"]).await
    }

    async fn iptables(self, arguments: &[&str]) -> Result<()> {
        let inside = format!("--net={}", self.namespace());
        run("nsenter", &[&[inside.as_str(), "/usr/sbin/iptables", "-w"], arguments].concat()).await
    }

    /// The path of its namespace.
    pub fn namespace(self) -> String {
        format!("{NAMESPACES}/{}", self.name)
    }

    /// Every process on it.
    fn processes(self) -> Vec<Pid> {
        let number = |path: &Path| fs::metadata(path).map(|file| file.ino()).ok();
        let Some(own) = number(Path::new(&self.namespace())) else { return Vec::new() };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter(|entry| number(&entry.path().join("ns/net")) == Some(own))
            .filter_map(|entry| Some(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)))
            .collect()
    }

    /// Sends a signal to every process on it, or to those of this program.
    pub fn signal(self, signal: Signal, program: Option<&str>) {
        for pid in self.processes() {
            let named = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if program.is_none_or(|program| named.trim() == program) {
                // This fails if the process has just ended.
                let _ = kill(pid, signal);
            }
        }
    }
}

async fn ip(arguments: &[&str]) -> Result<()> {
    run("ip", arguments).await
}

async fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = tokio::process::Command::new(program).args(arguments).output().await?;
    anyhow::ensure!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn machines_have_addresses_and_cables_of_their_own() {
        let addresses: BTreeSet<_> = all().map(|machine| machine.ip).chain([PROGRAM]).collect();
        assert_eq!(addresses.len(), all().count() + 1);
        assert!(all().all(|machine| machine.cable().len() <= 15), "the kernel's limit");
    }
}
