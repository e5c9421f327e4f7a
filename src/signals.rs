//! SIGINT and SIGTERM, handled in every command from its start.
//!
//! In a container the program is process 1, for which the kernel ignores a signal that has no handler; so the handlers are
//! installed before anything is connected.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether this process was asked to end. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    stop: CancellationToken,
    again: CancellationToken,
}

impl Signals {
    /// Installs the handlers. The first signal requests a graceful end; a Ctrl-C after it ends the process at once. A
    /// repeated SIGTERM, which process managers send too, ends only the time for which a gateway drains.
    pub fn install() -> anyhow::Result<Self> {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let signals = Self::default();
        let Self { stop, again } = signals.clone();
        tokio::spawn(async move {
            loop {
                let is_interrupt = tokio::select! {
                    _ = interrupt.recv() => true,
                    _ = terminate.recv() => false,
                };
                if is_interrupt && stop.is_cancelled() {
                    eprintln!("second Ctrl-C: ending at once");
                    std::process::exit(130);
                }
                if stop.is_cancelled() {
                    again.cancel();
                }
                stop.cancel();
            }
        });
        Ok(signals)
    }

    /// Waits for the first signal.
    pub async fn stop(&self) {
        self.stop.cancelled().await;
    }

    /// Waits for work that a second signal ends at once: then it is dropped.
    pub async fn unless_repeated(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = self.again.cancelled() => {}
            () = work => {}
        }
    }

    /// Runs a start that a signal aborts: then it is dropped and the result is `None`. An incomplete start has no work in
    /// progress that could be lost.
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

    /// Runs a command that ends by itself; a signal aborts it, which is an error.
    pub async fn or_stopped<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            () = self.stop() => anyhow::bail!("stopped by a signal before it was done"),
            done = work => done,
        }
    }
}
