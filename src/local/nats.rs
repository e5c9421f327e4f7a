//! A local NATS with JetStream, with the same `nats.conf` as everywhere; it is built in, so that the program works from any
//! directory.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::binary;
use super::folder::Folder;
use super::guard::Launch;
use super::secret;
use super::server::{Engine, Server};

const CONFIGURATION: &str = include_str!("../../nats.conf");

/// The prefix of the variables from which `nats.conf` reads the users' passwords.
const PASSWORD_VARIABLE: &str = "$NATS_PASSWORD_";

/// Threads that run Go code at once: half of the cores, since the other servers run on the same machine, and idle threads of Go
/// spin while they look for work (a fifth of the server's CPU time on two cores, `docs/performance.md`).
const THREADS: &str = "GOMAXPROCS";

/// A local NATS; see [`Server`] for what can be done with it.
pub type Nats = Server<NatsEngine>;

#[derive(Debug)]
pub struct NatsEngine {
    program: PathBuf,
    /// In the first line that every client receives; it identifies our server.
    server_name: String,
    configuration: String,
    /// One for all users in `nats.conf`: a user of the machine who can read the folder could read all of them anyway.
    password: String,
}

impl Nats {
    /// Starts with the streams in this folder.
    pub async fn start(folder: &Folder) -> Result<Self> {
        Self::start_with(folder, str::to_owned).await
    }

    /// The same with a changed configuration.
    pub async fn start_with(folder: &Folder, change: impl FnOnce(&str) -> String) -> Result<Self> {
        let server_name = format!("marquee-{}", Uuid::new_v4().simple());
        let configuration = change(CONFIGURATION);
        let ownership = folder.own().await?;
        let password = match folder.is_temporary() {
            true => secret::temporary_password().to_owned(),
            false => folder.secret("password")?,
        };
        let program = binary::find("nats-server")?;
        let engine = NatsEngine { program, server_name, configuration, password };
        Self::open(engine, folder.clone(), ownership).await
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The password of every user of `nats.conf` on this server.
    pub fn password(&self) -> &str {
        &self.engine.password
    }

    /// Replaces the configuration by the program's own and restarts with it, as an operator does before an upgrade to a release with
    /// a new user, whose password a running server does not have.
    pub async fn renew(&mut self) -> Result<()> {
        CONFIGURATION.clone_into(&mut self.engine.configuration);
        self.start_again().await
    }

    /// Kills it and starts it again with all streams, consumers and messages lost.
    pub async fn wipe(&mut self) -> Result<()> {
        self.kill().await;
        fs::remove_dir_all(self.folder.path().join("store"))?;
        self.start_again().await
    }
}

impl Engine for NatsEngine {
    fn name(&self) -> &'static str {
        "NATS"
    }

    fn end(&self) -> Signal {
        Signal::SIGTERM
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        Ok(fs::write(folder.join("nats.conf"), &self.configuration)?)
    }

    #[expect(private_interfaces, reason = "see the trait")]
    fn launch(&self, folder: &Path, port: u16) -> Launch {
        let configuration = folder.join("nats.conf");
        let store = folder.join("store");
        let port = port.to_string();
        let program = vec![
            self.program.clone().into(),
            "--config".into(),
            configuration.into(),
            "--addr".into(),
            "127.0.0.1".into(),
            "--port".into(),
            port.into(),
            "--name".into(),
            self.server_name.clone().into(),
            "--store_dir".into(),
            store.into(),
        ];
        let mut environment = passwords(CONFIGURATION, &self.password);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        environment.push((THREADS, (cores / 2).max(1).to_string().into()));
        Launch { program, environment, end: self.end() }
    }

    async fn answers(&self, _folder: &Path, port: u16, _server: Pid) -> bool {
        // It accepts clients only after JetStream has recovered its streams.
        let Ok(connection) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
        let mut greeting = String::new();
        let read = BufReader::new(connection).read_line(&mut greeting).await;
        read.is_ok() && greeting.starts_with("INFO ") && greeting.contains(&self.server_name)
    }
}

/// The variables that the configuration reads.
fn passwords(configuration: &'static str, password: &str) -> Vec<(&'static str, OsString)> {
    let variables = configuration.match_indices(PASSWORD_VARIABLE).map(|(at, _)| {
        let name = configuration[at + 1..].split(|c: char| !c.is_ascii_uppercase() && c != '_').next();
        (name.unwrap_or_default(), password.into())
    });
    variables.collect()
}
