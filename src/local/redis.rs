//! A local Redis that keeps nothing on disk: it holds only rate limits and short locks, and Marquee does without it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::binary;
use super::folder::Folder;
use super::guard::Launch;
use super::server::{Engine, Server};

/// A local Redis; see [`Server`] for what can be done with it.
pub type Redis = Server<RedisEngine>;

#[derive(Debug)]
pub struct RedisEngine {
    program: PathBuf,
}

impl Redis {
    pub fn is_installed() -> bool {
        binary::find("redis-server").is_ok()
    }

    /// Starts empty; the folder is only for its log.
    pub async fn start(folder: &Folder) -> Result<Self> {
        let engine = RedisEngine { program: binary::find("redis-server")? };
        let ownership = folder.own().await?;
        Self::open(engine, folder.clone(), ownership).await
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Engine for RedisEngine {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn end(&self) -> Signal {
        Signal::SIGTERM
    }

    fn prepare(&self, _folder: &Path) -> Result<()> {
        Ok(())
    }

    #[expect(private_interfaces, reason = "see the trait")]
    fn launch(&self, _folder: &Path, port: u16) -> Launch {
        let port = port.to_string();
        let settings =
            ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--daemonize", "no"];
        let program = std::iter::once(self.program.clone().into()).chain(settings.map(Into::into)).collect();
        Launch { program, environment: vec![], end: self.end() }
    }

    async fn answers(&self, _folder: &Path, port: u16, server: Pid) -> bool {
        let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
        if connection.write_all(b"INFO server\r\nQUIT\r\n").await.is_err() {
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
