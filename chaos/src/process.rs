//! One process of the house: a `marquee` command with its own environment, log and address. It can be killed, told to stop,
//! frozen and started again; the keeper starts what ended by itself, as systemd or Docker would.
//!
//! Invariant: no process outlives this one: each is started through `setpriv --pdeathsig`, so the kernel ends it.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A host finishes what is in work within 40 s (docs/operations.md); longer is a host that hangs.
const STOP_WITHIN: Duration = Duration::from_secs(45);
const KILL_WITHIN: Duration = Duration::from_secs(10);
/// Debian's place of the library behind `faketime`.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Whether one process's clock can be set.
pub fn can_fake_time() -> bool {
    Path::new(FAKETIME).exists()
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub folder: PathBuf,
    /// Where it answers `/health/ready`; none for the sandbox.
    pub health: Option<SocketAddr>,
}

/// A process of the house.
#[derive(Debug)]
pub struct Process {
    pub plan: Plan,
    child: Option<Child>,
    /// It should run, so the keeper starts it again when it ends.
    wanted: bool,
    frozen: bool,
    clock_is_faked: bool,
    /// Starts that nobody asked for: it had ended by itself.
    pub revived: u32,
}

impl Process {
    pub fn new(plan: Plan) -> Self {
        Self { plan, child: None, wanted: false, frozen: false, clock_is_faked: false, revived: 0 }
    }

    fn clock_file(&self) -> PathBuf {
        self.plan.folder.join(format!("{}.clock", self.plan.name))
    }

    pub fn log(&self) -> PathBuf {
        self.plan.folder.join(format!("{}.log", self.plan.name))
    }

    pub fn start(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(&self.plan.program)
            .args(&self.plan.arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(self.plan.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.plan.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if self.clock_is_faked {
            // Only the wall clock: a monotonic clock does not jump in any real machine.
            command
                .env("LD_PRELOAD", FAKETIME)
                .env("FAKETIME_TIMESTAMP_FILE", self.clock_file())
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        let child = command.spawn().with_context(|| format!("cannot start {}", self.plan.name))?;
        (self.child, self.wanted, self.frozen) = (Some(child), true, false);
        Ok(())
    }

    /// How far its clock is off, as `faketime` writes it. One that was started with an offset sees another within a second;
    /// none takes the library away, from the next start on.
    pub fn set_clock(&mut self, offset: Option<&'static str>) -> Result<()> {
        self.clock_is_faked = offset.is_some();
        if let Some(offset) = offset {
            // Renamed into place: it is read at any moment.
            let new = self.clock_file().with_extension("new");
            std::fs::write(&new, offset)?;
            std::fs::rename(new, self.clock_file())?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // It may have ended a moment ago.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);
        }
    }

    /// SIGKILL: nothing is finished.
    pub async fn kill(&mut self) -> Result<()> {
        self.wanted = false;
        self.signal(Signal::SIGKILL);
        self.ended(KILL_WITHIN).await
    }

    /// SIGTERM, and the time that it took.
    pub async fn stop(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.wanted = false;
        self.signal(Signal::SIGTERM);
        self.ended(STOP_WITHIN).await?;
        Ok(started.elapsed())
    }

    async fn ended(&mut self, within: Duration) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let until = Instant::now() + within;
        while child.try_wait()?.is_none() {
            if Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                anyhow::bail!("{} did not end within {within:?}", self.plan.name);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// SIGSTOP: its connections stay open and it answers nobody.
    pub fn freeze(&mut self) {
        self.frozen = true;
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&mut self) {
        self.frozen = false;
        self.signal(Signal::SIGCONT);
    }

    /// Starts it again if it should run and has ended by itself; tells how it had ended.
    pub fn revive(&mut self) -> Result<Option<String>> {
        if !self.wanted || self.frozen {
            return Ok(None);
        }
        let status = match &mut self.child {
            Some(child) => child.try_wait()?,
            None => None,
        };
        let Some(status) = status else { return Ok(None) };
        self.revived += 1;
        self.start()?;
        Ok(Some(status.to_string()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.thaw();
        self.signal(Signal::SIGKILL);
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}
