//! A local Redis without persistence: it has only rate limits and short locks, and Marquee works without it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::binary;
use super::folder::Folder;
use super::guard::Launch;
use super::secret;
use super::server::{Engine, Server};

const CONFIGURATION: &str = "redis.conf";

/// A local Redis; see [`Server`] for what can be done with it.
pub type Redis = Server<RedisEngine>;

#[derive(Debug)]
pub struct RedisEngine {
    program: PathBuf,
    password: String,
}

impl Redis {
    pub fn is_installed() -> bool {
        binary::find("redis-server").is_ok()
    }

    /// Starts empty; the folder is only for its log and its password.
    pub async fn start(folder: &Folder) -> Result<Self> {
        let ownership = folder.own().await?;
        let engine =
            RedisEngine { program: binary::find("redis-server")?, password: folder.secret("password")? };
        Self::open(engine, folder.clone(), ownership).await
    }

    pub fn url(&self) -> String {
        self.url_through(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }

    /// The same where something at `addr` forwards to it.
    pub fn url_through(&self, addr: SocketAddr) -> String {
        format!("redis://:{}@{addr}", self.engine.password)
    }
}

impl Engine for RedisEngine {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn end(&self) -> Signal {
        Signal::SIGTERM
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        // In a file, since every user of the machine can see the arguments of a process.
        Ok(secret::write(&folder.join(CONFIGURATION), &format!("requirepass {}\n", self.password))?)
    }

    #[expect(private_interfaces, reason = "see the trait")]
    fn launch(&self, folder: &Path, port: u16) -> Launch {
        let port = port.to_string();
        let settings =
            ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--daemonize", "no"];
        let program = [self.program.clone().into(), folder.join(CONFIGURATION).into()];
        let program = program.into_iter().chain(settings.map(Into::into)).collect();
        Launch { program, environment: vec![], end: self.end() }
    }

    async fn answers(&self, _folder: &Path, port: u16, server: Pid) -> bool {
        let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
        let commands = format!("AUTH {}\r\nINFO server\r\nQUIT\r\n", self.password);
        if connection.write_all(commands.as_bytes()).await.is_err() {
            return false;
        }
        let ours = format!("process_id:{server}");
        let mut lines = BufReader::new(connection).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line == ours {
                return true;
            }
        }
        false
    }
}
