//! One process of the deployment: a `marquee` command with its own environment, log and address. It can be killed, stopped,
//! frozen and started again. A process that ends by itself is started again, as by systemd or Docker.
//!
//! Invariant: no process outlives this program: each is started through `setpriv --pdeathsig`, so the kernel kills it.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A host finishes its work within 40 s (docs/operations.md); a host that takes longer hangs.
const STOP_WITHIN: Duration = Duration::from_secs(45);
const KILL_WITHIN: Duration = Duration::from_secs(10);
/// Where Debian installs the library of `faketime`.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Whether the clock of a single process can be changed.
pub fn can_fake_time() -> bool {
    Path::new(FAKETIME).exists()
}

/// The command of a process.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub folder: PathBuf,
    /// The address of `/health/ready`; `None` for the sandbox.
    pub health: Option<SocketAddr>,
    /// The path of the network namespace that it runs in, if not that of this program.
    pub namespace: Option<String>,
}

/// A process of the deployment.
#[derive(Debug)]
pub struct Process {
    pub spec: ProcessSpec,
    child: Option<Child>,
    /// Whether it is started again when it ends.
    should_run: bool,
    frozen: bool,
    clock_is_faked: bool,
    /// How often it was started again because it had ended by itself.
    pub restarts: u32,
}

impl Process {
    pub fn new(spec: ProcessSpec) -> Self {
        Self { spec, child: None, should_run: false, frozen: false, clock_is_faked: false, restarts: 0 }
    }

    fn clock_file(&self) -> PathBuf {
        self.spec.folder.join(format!("{}.clock", self.spec.name))
    }

    pub fn log(&self) -> PathBuf {
        self.spec.folder.join(format!("{}.log", self.spec.name))
    }

    /// Whether it was started and not killed or stopped since; it may have ended by itself.
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    pub fn start(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(namespace) = &self.spec.namespace {
            command.arg("nsenter").arg(format!("--net={namespace}"));
        }
        command
            .arg(&self.spec.program)
            .args(&self.spec.arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(self.spec.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.spec.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if self.clock_is_faked {
            // Only the wall clock is changed: a monotonic clock never jumps on a real machine.
            command
                .env("LD_PRELOAD", FAKETIME)
                .env("FAKETIME_TIMESTAMP_FILE", self.clock_file())
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        let child = command.spawn().with_context(|| format!("cannot start {}", self.spec.name))?;
        (self.child, self.should_run, self.frozen) = (Some(child), true, false);
        Ok(())
    }

    /// Sets the offset of its clock in the syntax of `faketime`. A process that was started with an offset sees a new one
    /// within a second. `None` removes the library at the next start.
    pub fn set_clock(&mut self, offset: Option<&'static str>) -> Result<()> {
        self.clock_is_faked = offset.is_some();
        if let Some(offset) = offset {
            // Replaced atomically, since the process may read it at any time.
            let new = self.clock_file().with_extension("new");
            std::fs::write(&new, offset)?;
            std::fs::rename(new, self.clock_file())?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // This fails if the process has just ended.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);
        }
    }

    /// SIGKILL: the process finishes nothing.
    pub async fn kill(&mut self) -> Result<()> {
        self.should_run = false;
        self.signal(Signal::SIGKILL);
        self.wait(KILL_WITHIN).await
    }

    /// SIGTERM; returns the time until the process has ended.
    pub async fn stop(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.should_run = false;
        self.signal(Signal::SIGTERM);
        self.wait(STOP_WITHIN).await?;
        Ok(started.elapsed())
    }

    async fn wait(&mut self, within: Duration) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let until = Instant::now() + within;
        while child.try_wait()?.is_none() {
            if Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                anyhow::bail!("{} did not end within {within:?}", self.spec.name);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// SIGSTOP: its connections stay open and it does not answer.
    pub fn freeze(&mut self) {
        self.frozen = true;
        self.signal(Signal::SIGSTOP);
    }

    pub fn unfreeze(&mut self) {
        self.frozen = false;
        self.signal(Signal::SIGCONT);
    }

    /// Starts it again if it should run and has ended by itself; returns its exit status.
    pub fn restart_if_ended(&mut self) -> Result<Option<String>> {
        if !self.should_run || self.frozen {
            return Ok(None);
        }
        let status = match &mut self.child {
            Some(child) => child.try_wait()?,
            None => None,
        };
        let Some(status) = status else { return Ok(None) };
        self.restarts += 1;
        self.start()?;
        Ok(Some(status.to_string()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.unfreeze();
        self.signal(Signal::SIGKILL);
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}
