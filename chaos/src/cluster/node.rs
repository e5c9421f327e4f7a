//! A server of the cluster: a machine and the process that a supervisor would start on it (NATS, etcd, or Patroni, which starts
//! Postgres).
//!
//! A kill or a pause hits every process of the machine, as the loss of the machine would.

use anyhow::Result;
use nix::sys::signal::Signal;
use tokio::sync::Mutex;

use super::machine::Machine;
use crate::process::{Process, ProcessSpec};

/// A server of the cluster.
#[derive(Debug)]
pub struct Node {
    pub machine: Machine,
    pub process: Mutex<Process>,
}

impl Node {
    pub fn new(machine: Machine, spec: ProcessSpec) -> Self {
        Self { machine, process: Mutex::new(Process::new(spec)) }
    }

    pub fn name(&self) -> &'static str {
        self.machine.name
    }

    pub async fn start(&self) -> Result<()> {
        self.process.lock().await.start()
    }

    /// SIGTERM, which Patroni passes on to Postgres, and waits for the end.
    pub async fn stop(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        process.stop().await?;
        // Patroni has stopped Postgres; nothing else is on the machine.
        self.machine.signal(Signal::SIGKILL, None);
        Ok(())
    }

    /// SIGKILL for everything on the machine.
    pub async fn kill(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        // Paused first, so that Patroni does not react to the death of Postgres.
        self.machine.signal(Signal::SIGSTOP, None);
        self.machine.signal(Signal::SIGKILL, None);
        process.kill().await
    }

    /// SIGSTOP for everything on the machine.
    pub async fn freeze(&self) {
        let mut process = self.process.lock().await;
        process.freeze();
        self.machine.signal(Signal::SIGSTOP, None);
    }

    /// Ends a pause and starts what was killed.
    pub async fn restore(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        self.machine.signal(Signal::SIGCONT, None);
        process.unfreeze();
        if process.is_started() { Ok(()) } else { process.start() }
    }
}
