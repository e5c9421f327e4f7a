//! SIGINT and SIGTERM: heard from the first moment of every command, its start included.
//!
//! In a container the program is process 1, for which the kernel ignores a signal that has no handler; so the handlers are
//! installed before anything is connected.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether somebody has asked this process to end. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Signals(CancellationToken);

impl Signals {
    /// Installs the handlers. The first signal asks for an end in good order; a Ctrl-C after it ends the process at once. A
    /// SIGTERM may be repeated by a process manager, and changes nothing more.
    pub fn install() -> anyhow::Result<Self> {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let asked = CancellationToken::new();
        let signals = Self(asked.clone());
        tokio::spawn(async move {
            loop {
                let is_interrupt = tokio::select! {
                    _ = interrupt.recv() => true,
                    _ = terminate.recv() => false,
                };
                if is_interrupt && asked.is_cancelled() {
                    eprintln!("asked twice: ending at once");
                    std::process::exit(130);
                }
                asked.cancel();
            }
        });
        Ok(signals)
    }

    /// Waits for the first signal.
    pub async fn stop(&self) {
        self.0.cancelled().await;
    }

    /// A start that a signal ends: `None` when it came first. What was begun is dropped; a start that is half done has
    /// nothing in hand yet.
    pub async fn unless_stopped<T>(
        &self,
        start: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Option<T>> {
        tokio::select! {
            biased;
            () = self.stop() => {
                tracing::info!("stopped while starting");
                Ok(None)
            }
            started = start => started.map(Some),
        }
    }

    /// A command with an end of its own: a signal before it is an error.
    pub async fn or_stopped<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            () = self.stop() => anyhow::bail!("stopped by a signal before it was done"),
            done = work => done,
        }
    }
}
