//! A local Postgres: its cluster is created when missing, and its settings are passed at each start.
//!
//! Durability is as in production (fsync, synchronous_commit) unless a test requests less. Postgres refuses to run
//! as root, so as root it is started as the user that owns the cluster, at first `postgres` or `nobody`. It listens on loopback only,
//! without a Unix socket.

mod access;

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid, User};
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::binary;
use super::folder::{Account, Folder};
use super::guard::{Guarded, Launch, Log};
use super::server::{Engine, Server};
use access::{Passwords, SUPERUSER, USER};

const INITDB_WITHIN: Duration = Duration::from_secs(120);

const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    // Six hosts with pools and a whole-system test with several of each.
    "max_connections=200",
    // Many times the size of the demo; pages take memory only once used. With less, a backend that needs a buffer in a rush
    // first has to write out another page, and its client waits.
    "shared_buffers=256MB",
    // With less there was a checkpoint every few seconds at a thousand orders a second, and after each one whole pages are
    // logged again.
    "max_wal_size=1GB",
    // After a crash: one call instead of an fsync for each of a thousand files, which took seconds.
    "recovery_init_sync_method=syncfs",
    // No replication.
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_logical_replication_workers=0",
    // Compiling a short query takes longer than running it, and LLVM takes some 20 MB for each connection.
    "jit=off",
    "max_parallel_workers_per_gather=0",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_checkpoints=off",
    "log_line_prefix=%m [%p] %d ",
];

/// A local Postgres; see [`Server`] for what can be done with it.
pub type Postgres = Server<PostgresEngine>;

#[derive(Debug)]
pub struct PostgresEngine {
    programs: PathBuf,
    run_as: Option<Account>,
    durable: bool,
    passwords: Passwords,
}

/// The user that the cluster in this folder runs, or will run, as; None where it is the user of this process.
pub(super) fn account(folder: &Path) -> Result<Option<Account>> {
    let cluster = folder.join("data");
    if Uid::effective().is_root() {
        return owner_of(&cluster).map_or_else(account_for_root, Ok).map(Some);
    }
    refuse_foreign(&cluster)?;
    Ok(None)
}

impl Postgres {
    /// Starts on the cluster in this folder, created when missing. `durable: false` switches fsync off, for tests without a
    /// crash of the machine.
    pub async fn start(folder: &Folder, durable: bool) -> Result<Self> {
        let run_as = account(folder.path())?;
        let folder = match run_as {
            // An existing cluster is not moved: its owner could reach it before.
            Some(account) if !folder.path().join("data").exists() => folder.reachable_by(account)?,
            _ => folder.clone(),
        };
        // Again, for a cluster that an earlier start has created in the other folder.
        let run_as = account(folder.path())?;
        if let Some(Account { user, group }) = run_as {
            chown(folder.path(), Some(user), Some(group))?;
        }
        let ownership = folder.own().await?;
        let passwords = Passwords::of(&folder)?;
        let engine = PostgresEngine { programs: programs_for(&folder)?, run_as, durable, passwords };
        if !folder.path().join("data").exists() {
            engine.initdb(&folder).await?;
        }
        let server = Self::open(engine, folder, ownership).await?;
        server.guard().await?;
        Ok(server)
    }

    /// The URL of one of its databases, as the role that owns it and is no superuser; the database `postgres` always exists.
    pub fn database_url(&self, database: &str) -> String {
        self.database_url_through(self.addr(), database)
    }

    /// The same where something at `addr` forwards to it.
    pub fn database_url_through(&self, addr: SocketAddr, database: &str) -> String {
        format!("postgres://{USER}:{}@{addr}/{database}", self.engine.passwords.user)
    }

    /// The same as its superuser, to change the server or create roles.
    pub fn superuser_url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}:{}@{}/{database}", self.engine.passwords.superuser, self.addr())
    }

    fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Creates a database unless it exists, and returns its URL.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        let mut connection = self.superuser("postgres").await?;
        let found: Option<i32> = sqlx::query_scalar("select 1 from pg_database where datname = $1")
            .bind(name)
            .fetch_optional(&mut connection)
            .await?;
        if found.is_none() {
            let create = format!("create database {} owner {USER}", quoted(name));
            sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await?;
        }
        connection.close().await?;
        Ok(self.database_url(name))
    }

    /// Creates a database as a copy of `template`, to which no connection may be open, and returns its URL.
    pub async fn create_database_from(&self, template: &str) -> Result<String> {
        let name = format!("t_{}", Uuid::now_v7().simple());
        let mut connection = self.superuser("postgres").await?;
        // Copying files takes a fifth of the CPU time of logging every page, the default since 15; 14 only copies files.
        let since_15: bool =
            sqlx::query_scalar("select current_setting('server_version_num')::int >= 150000")
                .fetch_one(&mut connection)
                .await?;
        let strategy = if since_15 { "strategy file_copy" } else { "" };
        let create = format!(
            "create database {} owner {USER} template {} {strategy}",
            quoted(&name),
            quoted(template)
        );
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(self.database_url(&name))
    }
}

/// One Postgres for all tests of this process, without fsync, stopped when the process ends. Each test creates its own
/// database (`create_database_from`) and leaves the server running.
pub async fn shared_postgres() -> Result<&'static Postgres> {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    SHARED
        .get_or_try_init(async || Postgres::start(&Folder::temporary()?.join("postgres")?, false).await)
        .await
}

impl PostgresEngine {
    /// Created under another name and renamed, so that an incomplete cluster is never used.
    async fn initdb(&self, folder: &Folder) -> Result<()> {
        let is_synced = self.durable && !folder.is_temporary();
        let folder = folder.path();
        let log = Log::claim(folder).await?;
        let new = folder.join("data.new");
        if new.exists() {
            fs::remove_dir_all(&new)?;
        }
        let mut program = self.program("initdb");
        program.extend(["--username", SUPERUSER, "--auth=scram-sha-256"].map(OsString::from));
        program.extend(["--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"].map(OsString::from));
        let password = access::password_file(folder, &self.passwords.superuser, self.run_as)?;
        program.extend(["--pwfile".into(), password.clone().into(), "--pgdata".into(), new.clone().into()]);
        if !is_synced {
            program.push("--no-sync".into());
        }
        let launch = Launch { program, environment: vec![], end: Signal::SIGTERM };
        let made = Guarded::spawn("initdb", folder, log, launch)?.finished(INITDB_WITHIN).await;
        fs::remove_file(password)?;
        made?;
        access::write_rules(&new, self.run_as)?;
        fs::rename(&new, folder.join("data"))?;
        Ok(())
    }

    fn program(&self, name: &str) -> Vec<OsString> {
        let mut program = Vec::new();
        if let Some(Account { user, group }) = self.run_as {
            // setpriv, not runuser: it becomes the program instead of staying as its parent.
            let account = [format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()];
            program.push("setpriv".into());
            program.extend(account.map(OsString::from));
        }
        program.push(self.programs.join(name).into());
        program
    }
}

impl Engine for PostgresEngine {
    fn name(&self) -> &'static str {
        "Postgres"
    }

    fn end(&self) -> Signal {
        // "Fast" shutdown: does not wait for clients to disconnect.
        Signal::SIGINT
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        // No process of the cluster is left, since we have the lock of its log. But the process id in the file may be that of
        // another process by now, and then Postgres would refuse to start.
        match fs::remove_file(folder.join("data/postmaster.pid")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    #[expect(private_interfaces, reason = "see the trait")]
    fn launch(&self, folder: &Path, port: u16) -> Launch {
        let mut program = self.program("postgres");
        program.push("-D".into());
        program.push(folder.join("data").into());
        let own = [
            format!("port={port}"),
            format!("fsync={}", self.durable),
            format!("full_page_writes={}", self.durable),
        ];
        for setting in SETTINGS.iter().map(|&setting| OsString::from(setting)).chain(own.map(OsString::from))
        {
            program.push("-c".into());
            program.push(setting);
        }
        // Without fsync no data is kept: when the owner has ended, end at once.
        let end = if self.durable { Signal::SIGINT } else { Signal::SIGQUIT };
        Launch { program, environment: vec![], end }
    }

    async fn answers(&self, folder: &Path, _port: u16, server: Pid) -> bool {
        // As `pg_ctl --wait` does: the first line is the process id, the eighth is "ready".
        let Ok(text) = fs::read_to_string(folder.join("data/postmaster.pid")) else { return false };
        let mut lines = text.lines().map(str::trim);
        lines.next() == Some(server.to_string().as_str()) && lines.nth(6) == Some("ready")
    }
}

fn account_for_root() -> Result<Account> {
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Account { user: user.uid.as_raw(), group: user.gid.as_raw() });
        }
    }
    bail!("Postgres does not run as root, and there is neither a user `postgres` nor `nobody` to run it as")
}

/// The owner of an existing cluster; only that user may start it.
fn owner_of(cluster: &Path) -> Option<Account> {
    let folder = fs::metadata(cluster).ok()?;
    (folder.uid() != 0).then(|| Account { user: folder.uid(), group: folder.gid() })
}

fn refuse_foreign(cluster: &Path) -> Result<()> {
    match fs::metadata(cluster) {
        Ok(folder) if folder.uid() != Uid::effective().as_raw() => bail!(
            "{} belongs to user {}, probably from a start as root; run as root, or remove it, or use another data folder",
            cluster.display(),
            folder.uid()
        ),
        _ => Ok(()),
    }
}

/// The programs of the version that created the cluster, or the newest.
fn programs_for(folder: &Folder) -> Result<PathBuf> {
    let made_by = fs::read_to_string(folder.path().join("data/PG_VERSION")).ok();
    let made_by = made_by.and_then(|version| version.trim().parse().ok()).map(binary::postgres_folder);
    made_by
        .filter(|programs| programs.join("postgres").is_file())
        .or_else(|| binary::folder_of(&["postgres", "initdb"]))
        .with_context(|| binary::missing("Postgres").to_string())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
