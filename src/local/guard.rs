//! One server process under a guard: a small shell that stops the server when our process has ended, also by `kill -9`.
//!
//! Invariant: every process of a server (guard, server, its children) has the server's log as its standard error, and with
//! it the lock on that log. So if the lock is free, no process of an earlier start is left; otherwise the processes that have
//! the log open are the ones left. The guard has its own process group: a Ctrl-C at the terminal does not reach the
//! server, which therefore runs until our own graceful shutdown has used it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
// std, not tokio: a server may be shared by tests, each of which has a runtime of its own.
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const GUARD: &str = include_str!("guard.sh");

/// The guard kills a server that has not ended after 3 s; after this we kill it ourselves.
const LEFTOVER_MAX_DELAY: Duration = Duration::from_secs(5);
const KILL_MAX_DELAY: Duration = Duration::from_secs(10);
/// A log that is larger than this is emptied at the next start.
const LOG_BYTES_MAX: u64 = 4 << 20;
const TAIL_BYTES_MAX: u64 = 4 << 10;

/// Polls a condition until it is true or the time is over; returns whether it is true.
pub(super) async fn until(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + within;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What to run.
#[derive(Debug)]
pub(super) struct Launch {
    pub program: Vec<OsString>,
    pub environment: Vec<(&'static str, OsString)>,
    /// The signal by which the guard stops the server when its owner has ended.
    pub end: Signal,
}

/// A server's log with its lock: no process of an earlier start is left.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    start: u64,
}

impl Log {
    /// Waits until processes of an earlier start have ended, and kills those that do not.
    pub async fn claim(folder: &Path) -> Result<Self> {
        let path = folder.join("log");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        if !until(LEFTOVER_MAX_DELAY, || file.try_lock().is_ok()).await {
            for pid in holders(&path) {
                tracing::warn!(%pid, log = %path.display(), "killing a process of an earlier start");
                // Fails if it has ended meanwhile, which is fine.
                let _ = kill(pid, Signal::SIGKILL);
            }
            if !until(KILL_MAX_DELAY, || file.try_lock().is_ok()).await {
                bail!("{} is still in use by a server of an earlier start", path.display());
            }
        }
        let mut start = file.metadata()?.len();
        if start > LOG_BYTES_MAX {
            file.set_len(0)?;
            start = 0;
        }
        Ok(Self { path, file, start })
    }
}

/// A running server. When the value is dropped, the guard stops the server.
#[derive(Debug)]
pub(super) struct Guarded {
    name: &'static str,
    /// The guard stops the server when its standard input is closed.
    guard: Child,
    server: Pid,
    log: PathBuf,
    log_start: u64,
}

impl Guarded {
    pub fn spawn(name: &'static str, folder: &Path, log: Log, launch: Launch) -> Result<Self> {
        let Log { path, file, start } = log;
        // A file, so that `ps` shows one line. Renamed into place, so that a running guard continues to read its own version.
        let script = folder.join("guard.sh");
        let new = folder.join("guard.sh.new");
        fs::write(&new, GUARD)?;
        fs::rename(&new, &script)?;
        let mut command = Command::new("/bin/sh");
        command
            .arg(script)
            .args([launch.end.as_str().trim_start_matches("SIG")])
            .args(launch.program)
            .envs(launch.environment)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(file))
            .process_group(0);
        let mut guard = command.spawn().with_context(|| format!("cannot start {name}"))?;
        // It has our descriptor of the log, and with it the lock.
        drop(command);

        let mut line = String::new();
        if let Some(stdout) = guard.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let server = line.trim().parse().with_context(|| format!("the guard of {name} did not start it"))?;
        Ok(Self { name, guard, server: Pid::from_raw(server), log: path, log_start: start })
    }

    pub fn pid(&self) -> Pid {
        self.server
    }

    /// The exit status, or None while the server runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.guard.try_wait()?)
    }

    /// Waits until the server answers. The error contains the end of its log.
    pub async fn ready(&mut self, within: Duration, answers: impl AsyncFn() -> bool) -> Result<()> {
        let end = Instant::now() + within;
        loop {
            if let Some(status) = self.ended()? {
                bail!(
                    "{} ended while starting ({status}); its log ends with\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            if tokio::time::timeout(Duration::from_secs(1), answers()).await == Ok(true) {
                return Ok(());
            }
            if Instant::now() >= end {
                bail!(
                    "{} did not answer within {within:?}; its log ends with\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a process that ends by itself.
    pub async fn finished(mut self, within: Duration) -> Result<()> {
        let mut status = None;
        until(within, || {
            status = self.ended().ok().flatten();
            status.is_some()
        })
        .await;
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("{} failed ({status}); its log ends with\n{}", self.name, self.log_tail()),
            None => {
                let name = self.name;
                self.kill().await;
                bail!("{name} did not end within {within:?} and was killed")
            }
        }
    }

    /// Stops the server by a signal, and kills it if it does not end in time.
    pub async fn stop(mut self, signal: Signal, within: Duration) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        let _ = kill(self.server, signal);
        self.resume();
        if until(within, || !matches!(self.ended(), Ok(None))).await {
            return Ok(());
        }
        let name = self.name;
        self.kill().await;
        bail!("{name} did not stop within {within:?} and was killed")
    }

    /// SIGKILL for the server and all its children.
    pub async fn kill(mut self) {
        // Paused first, so that it starts no more children and does not react to their deaths.
        let _ = kill(self.server, Signal::SIGSTOP);
        for pid in family(self.server) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        until(KILL_MAX_DELAY, || !matches!(self.ended(), Ok(None))).await;
    }

    /// Freezes the server: connections stay open and nothing answers.
    pub fn pause(&self) {
        let _ = kill(self.server, Signal::SIGSTOP);
        for pid in family(self.server) {
            let _ = kill(pid, Signal::SIGSTOP);
        }
    }

    pub fn resume(&self) {
        for pid in family(self.server) {
            let _ = kill(pid, Signal::SIGCONT);
        }
    }

    pub fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let begin = self.log_start.max(file.metadata()?.len().saturating_sub(TAIL_BYTES_MAX));
            file.seek(SeekFrom::Start(begin))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let shown = self.log.display();
        read().map_or_else(|error| format!("{shown}: {error}"), |text| format!("{text}({shown})"))
    }
}

/// A process and its descendants. Postgres's children have process groups of their own, so the group is not enough.
fn family(root: Pid) -> Vec<Pid> {
    let parents: Vec<(Pid, Pid)> = processes().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(&of) = family.get(next) {
        family.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

/// The processes with this log as standard output or error: the server, its guard, and orphaned children.
fn holders(log: &Path) -> Vec<Pid> {
    let holds = |pid: &Pid| {
        ["1", "2"]
            .iter()
            .any(|fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).is_ok_and(|file| file == log))
    };
    processes().filter(|pid| *pid != Pid::this()).filter(holds).collect()
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)))
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // "12 (name, which may have ) in it) S 1 …": state and parent follow the last parenthesis.
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
    Some(Pid::from_raw(parent.parse().ok()?))
}
