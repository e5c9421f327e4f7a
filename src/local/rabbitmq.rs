//! A local RabbitMQ, for tests of the AMQP bridge: a single node without plugins, with its messages, cookie and configuration
//! in its own folder.
//!
//! Invariant: any number of nodes can run at the same time, also beside the machine's own: each has its own ports and its own
//! name service (`epmd`) and reads nothing of `/etc/rabbitmq`. All of it listens on loopback only. It runs as the user who
//! starts it, also as root.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::binary;
use super::folder::Folder;
use super::guard::Launch;
use super::secret;
use super::server::{Engine, Server, free_port};

/// The command in Debian's PATH must run as the user `rabbitmq`; the server's own script runs as any user.
const DEBIAN: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// Its only user, which a new node creates.
const USER: &str = "marquee";

/// RabbitMQ does not start without `epmd` and would start a daemon that outlives it. So it gets its own, which the kernel
/// kills when its parent ends; with `exec` the parent process becomes RabbitMQ.
const WITH_EPMD: &str =
    r#"setpriv --pdeathsig KILL epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 & exec "$@""#;

/// Two cores, few threads, and no spinning while idle, since tests run on the same machine.
const ERLANG: &str = "+S 2:2 +SDcpu 1:1 +SDio 4 +A 4 -kernel inet_dist_use_interface {127,0,0,1}";

/// The start of AMQP 0-9-1, and the most that is read of the server's first frame: its properties are some 500 bytes.
const PROTOCOL: &[u8] = b"AMQP\x00\x00\x09\x01";
const GREETING_BYTES_MAX: u64 = 4 << 10;

/// An expression takes milliseconds once the node is up.
const CALL_WITHIN: Duration = Duration::from_secs(20);

/// A local RabbitMQ; see [`Server`] for what can be done with it.
pub type RabbitMq = Server<RabbitMqEngine>;

#[derive(Debug)]
pub struct RabbitMqEngine {
    program: PathBuf,
    /// In the first frame that every client receives; it identifies our server.
    cluster_name: String,
    /// The port of Erlang's distribution protocol; new with each start.
    distribution_port: AtomicU16,
    password: String,
}

impl RabbitMq {
    pub fn is_installed() -> bool {
        program().is_some()
    }

    /// Starts with the exchanges, queues and persistent messages in this folder.
    pub async fn start(folder: &Folder) -> Result<Self> {
        let program = program().ok_or_else(|| {
            anyhow!("rabbitmq-server is not installed; run scripts/install-tests.sh, which installs what the tests need")
        })?;
        let cluster_name = format!("marquee-{}", Uuid::new_v4().simple());
        let ownership = folder.own().await?;
        let password = folder.secret("password")?;
        let engine = RabbitMqEngine { program, cluster_name, distribution_port: AtomicU16::new(0), password };
        Self::open(engine, folder.clone(), ownership).await
    }

    /// The default virtual host.
    pub fn url(&self) -> String {
        self.virtual_host_url("%2f")
    }

    /// Creates a virtual host with its own exchanges and queues, and returns its URL.
    pub async fn create_virtual_host(&self) -> Result<String> {
        let name = Uuid::now_v7().simple().to_string();
        self.add_virtual_host(&name).await?;
        Ok(self.virtual_host_url(&name))
    }

    /// Deletes and recreates a virtual host; its connections end.
    pub async fn empty_virtual_host(&self, url: &str) -> Result<()> {
        let (_, name) = url.rsplit_once('/').context("no virtual host in the URL")?;
        let deleted = self.evaluate(&format!(r#"rabbit_vhost:delete(<<"{name}">>, <<"marquee">>)."#)).await?;
        if deleted != "ok" {
            bail!("RabbitMQ did not delete the virtual host: {deleted}");
        }
        self.add_virtual_host(name).await
    }

    async fn add_virtual_host(&self, name: &str) -> Result<()> {
        let made = self
            .evaluate(&format!(
                r#"ok = rabbit_vhost:add(<<"{name}">>, <<"marquee">>),
                rabbit_auth_backend_internal:set_permissions(
                    <<"{USER}">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"marquee">>)."#
            ))
            .await?;
        if made != "ok" {
            bail!("RabbitMQ made no virtual host: {made}");
        }
        Ok(())
    }

    /// Evaluates Erlang in the node, as `rabbitmqctl eval` does in a hundredth of its time, and tells the value.
    pub async fn evaluate(&self, expression: &str) -> Result<String> {
        let address = format!("127.0.0.1:{}", self.engine.distribution_port.load(Ordering::Relaxed));
        // A caller is known by its name, and a second one of the same name throws the first one out.
        let caller = format!("c{}", Uuid::new_v4().simple());
        let mut call = Command::new(binary::find("erl_call")?)
            .args(["-h", &caller, "-address", &address, "-e"])
            // The cookie lies there.
            .env("HOME", self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = call.stdin.take() {
            // It reads an expression up to the end of its line.
            input.write_all(format!("{expression}\n").as_bytes()).await?;
        }
        let answer = tokio::time::timeout(CALL_WITHIN, call.wait_with_output()).await;
        let answer = answer.context("RabbitMQ does not answer erl_call")??;
        let said = String::from_utf8_lossy(&answer.stdout);
        let value = said.trim().strip_prefix("{ok, ").and_then(|value| value.strip_suffix('}'));
        value.map(str::to_owned).with_context(|| {
            format!("{expression} failed in RabbitMQ: {said} {}", String::from_utf8_lossy(&answer.stderr))
        })
    }

    fn virtual_host_url(&self, name: &str) -> String {
        format!("amqp://{USER}:{}@127.0.0.1:{}/{name}", self.engine.password, self.port)
    }
}

/// One RabbitMQ for all tests of this process, started when first asked for (it takes seconds), gone with the process. Tests
/// take a virtual host each (`create_virtual_host`) and leave the server running.
pub async fn shared_rabbitmq() -> Result<&'static RabbitMq> {
    static SHARED: OnceCell<RabbitMq> = OnceCell::const_new();
    SHARED.get_or_try_init(async || RabbitMq::start(&Folder::temporary()?.join("rabbitmq")?).await).await
}

fn program() -> Option<PathBuf> {
    let debian = PathBuf::from(DEBIAN);
    if debian.is_file() { Some(debian) } else { binary::find("rabbitmq-server").ok() }
}

impl Engine for RabbitMqEngine {
    fn name(&self) -> &'static str {
        "RabbitMQ"
    }

    fn end(&self) -> Signal {
        Signal::SIGTERM
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        let (name, password) = (&self.cluster_name, &self.password);
        let configuration = format!(
            "cluster_name = {name}\n\
             default_user = {USER}\n\
             default_pass = {password}\n\
             log.console = true\n\
             log.console.level = warning\n\
             # The data of tests is small. With less free disk space than this RabbitMQ accepts no messages.\n\
             disk_free_limit.absolute = 20MB\n"
        );
        secret::write(&folder.join("rabbitmq.conf"), &configuration)?;
        // No plugins.
        Ok(fs::write(folder.join("enabled_plugins"), "[].\n")?)
    }

    #[expect(private_interfaces, reason = "see the trait")]
    fn launch(&self, folder: &Path, port: u16) -> Launch {
        // If no port is free, the node does not start, and that is the error.
        let [distribution_port, epmd_port] = [(); 2].map(|()| free_port().unwrap_or_default());
        self.distribution_port.store(distribution_port, Ordering::Relaxed);
        let program = ["/bin/sh", "-c", WITH_EPMD, "rabbitmq"].map(OsString::from);
        let program = program.into_iter().chain([self.program.clone().into()]).collect();
        // The name is part of the node's files, so it is constant; its own name service knows only this node.
        let words = [
            ("RABBITMQ_NODENAME", "marquee@localhost".to_owned()),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODE_PORT", port.to_string()),
            ("RABBITMQ_DIST_PORT", distribution_port.to_string()),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG.to_owned()),
            ("RABBITMQ_LOGS", "-".to_owned()),
            ("ERL_EPMD_PORT", epmd_port.to_string()),
            ("ERL_AFLAGS", "-start_epmd false".to_owned()),
            ("ERL_CRASH_DUMP_SECONDS", "0".to_owned()),
            // The script replaces itself by the server instead of staying its parent; systemd is not notified.
            ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
        ];
        let paths = [
            ("HOME", "."),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_CONFIG_FILES", "none.d"),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "none.config"),
            ("RABBITMQ_CONF_ENV_FILE", "none.env"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_PLUGINS_EXPAND_DIR", "plugins"),
            ("RABBITMQ_MNESIA_BASE", "."),
            ("RABBITMQ_MNESIA_DIR", "data"),
            ("RABBITMQ_FEATURE_FLAGS_FILE", "feature_flags"),
            ("RABBITMQ_LOG_BASE", "logs"),
            ("RABBITMQ_PID_FILE", "pid"),
        ];
        let words = words.map(|(name, word)| (name, word.into()));
        let paths = paths.map(|(name, path)| (name, folder.join(path).into()));
        Launch { program, environment: words.into_iter().chain(paths).collect(), end: self.end() }
    }

    async fn answers(&self, _folder: &Path, port: u16, _server: Pid) -> bool {
        // It accepts clients only after its queues are recovered.
        let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
        if connection.write_all(PROTOCOL).await.is_err() {
            return false;
        }
        // The connection stays open after the greeting, so read until the name was received.
        let (mut greeting, mut bytes) = (connection.take(GREETING_BYTES_MAX), Vec::new());
        while !contains(&bytes, self.cluster_name.as_bytes()) {
            if !matches!(greeting.read_buf(&mut bytes).await, Ok(1..)) {
                return false;
            }
        }
        true
    }
}

fn contains(bytes: &[u8], name: &[u8]) -> bool {
    bytes.windows(name.len()).any(|window| window == name)
}
