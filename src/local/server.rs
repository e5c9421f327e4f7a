//! What Postgres, NATS, Redis and RabbitMQ have in common: start on a free port, stop, kill, start again, pause, resume.
//!
//! Invariant: a server keeps its port and its files as long as its value lives, so clients can reconnect to the same address
//! after a stop, a kill or a pause. What differs between servers is in the engines.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::folder::{Folder, Ownership};
use super::guard::{Guarded, Launch, Log};

/// A start takes milliseconds, of RabbitMQ ten seconds; after a kill Postgres replays its log first, and the machine may be busy.
const START_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(30);
const PORT_TRIES_MAX: u32 = 8;

/// The specifics of one kind of server.
pub trait Engine: std::fmt::Debug + Send + Sync {
    #[doc(hidden)]
    fn name(&self) -> &'static str;
    /// The signal of a graceful shutdown.
    #[doc(hidden)]
    fn end(&self) -> Signal;
    /// Called before each start, when no other process uses the folder.
    #[doc(hidden)]
    fn prepare(&self, folder: &Path) -> Result<()>;
    #[doc(hidden)]
    #[expect(
        private_interfaces,
        reason = "the trait is public only because it is the bound of a public type"
    )]
    fn launch(&self, folder: &Path, port: u16) -> Launch;
    /// Whether this process answers, and not another one at the same port.
    #[doc(hidden)]
    fn answers(&self, folder: &Path, port: u16, server: Pid) -> impl Future<Output = bool> + Send;
}

/// A local server, stopped when this value is dropped or this process has ended.
#[derive(Debug)]
pub struct Server<E: Engine> {
    pub(super) engine: E,
    pub(super) port: u16,
    running: Option<Guarded>,
    _ownership: Ownership,
    // Last, since a temporary folder is removed when it is dropped.
    pub(super) folder: Folder,
}

impl<E: Engine> Server<E> {
    /// Starts on a free port of 127.0.0.1; ready when this returns.
    pub(super) async fn open(engine: E, folder: Folder, ownership: Ownership) -> Result<Self> {
        let mut server = Self { engine, port: 0, running: None, _ownership: ownership, folder };
        for attempt in 1.. {
            server.port = free_port()?;
            match server.launch().await {
                // Another process took the port first.
                Err(error) if attempt < PORT_TRIES_MAX && is_port_in_use(&error) => {}
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        Ok(server)
    }

    async fn launch(&mut self) -> Result<()> {
        let folder = self.folder.path();
        let log = Log::claim(folder).await?;
        self.engine.prepare(folder)?;
        let mut guarded =
            Guarded::spawn(self.engine.name(), folder, log, self.engine.launch(folder, self.port))?;
        let server = guarded.pid();
        guarded.ready(START_WITHIN, async || self.engine.answers(folder, self.port, server).await).await?;
        self.running = Some(guarded);
        Ok(())
    }

    /// Shuts down gracefully. Does nothing when the server is not running.
    pub async fn stop(&mut self) -> Result<()> {
        match self.running.take() {
            Some(guarded) => guarded.stop(self.engine.end(), STOP_WITHIN).await,
            None => Ok(()),
        }
    }

    /// SIGKILL, for the server and all its children.
    pub async fn kill(&mut self) {
        if let Some(guarded) = self.running.take() {
            guarded.kill().await;
        }
    }

    /// Restarts on the same port with the same files; a running server is stopped first.
    pub async fn start_again(&mut self) -> Result<()> {
        self.stop().await?;
        self.launch().await
    }

    /// Freezes the server (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) {
        if let Some(guarded) = &self.running {
            guarded.pause();
        }
    }

    /// Ends a pause.
    pub fn resume(&self) {
        if let Some(guarded) = &self.running {
            guarded.resume();
        }
    }

    /// The process id of the running server.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().and_then(|guarded| guarded.pid().as_raw().try_into().ok())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

/// By the messages of the C library, of Erlang, and of RabbitMQ about its further ports.
fn is_port_in_use(error: &anyhow::Error) -> bool {
    let error = error.to_string();
    ["ddress already in use", "eaddrinuse", "ERROR: distribution port", "ERROR: epmd error"]
        .iter()
        .any(|words| error.contains(words))
}

/// A port below the kernel's range for outgoing connections (32768…): an outgoing connection could take the port of a server
/// that is down, even that of a client that tries to reconnect to this server and so connects to itself.
pub(super) fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port between 20000 and 32000 on 127.0.0.1")
}
