//! One node of the tree: starts its children in order, restarts one that failed, gives up when they fail too often.
//!
//! ractor's default supervisor stops itself when any child ends, so ours overrides it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent, async_trait};

/// Failures within [`WINDOW`] after which a supervisor gives up: enough to ride out a restart of any server,
/// few enough that a crash loop ends in an exit that an operator sees.
const FAILURES_MAX: usize = 8;
const WINDOW: Duration = Duration::from_secs(60);

static RESTARTS: AtomicU64 = AtomicU64::new(0);

/// Children restarted since this process started, for `/health/ready`.
pub fn restarts() -> u64 {
    RESTARTS.load(Ordering::Relaxed)
}

type Start =
    Arc<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, ActorProcessingErr>> + Send + Sync>;

/// How to start one child, linked to the given supervisor. A clone starts the same child again, as a restarted
/// parent has to.
#[derive(Clone)]
pub struct Child {
    pub name: &'static str,
    start: Start,
}

impl Child {
    pub fn new<F>(name: &'static str, start: F) -> Self
    where
        F: Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, ActorProcessingErr>> + Send + Sync + 'static,
    {
        Self { name, start: Arc::new(start) }
    }
}

pub struct State {
    name: String,
    children: Vec<Child>,
    running: Vec<Option<ActorId>>,
    failures: VecDeque<Instant>,
}

#[derive(Debug)]
pub enum Message {
    Start(usize),
}

pub struct SupervisorArguments {
    pub name: String,
    pub children: Vec<Child>,
}

pub struct Supervisor;

#[async_trait]
impl Actor for Supervisor {
    type Msg = Message;
    type State = State;
    type Arguments = SupervisorArguments;

    async fn pre_start(
        &self,
        me: ActorRef<Message>,
        arguments: Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let mut running = Vec::with_capacity(arguments.children.len());
        for child in &arguments.children {
            running.push(Some((child.start)(me.get_cell()).await?.get_id()));
        }
        tracing::debug!(supervisor = arguments.name, children = running.len(), "started");
        Ok(State { name: arguments.name, children: arguments.children, running, failures: VecDeque::new() })
    }

    async fn handle(
        &self,
        me: ActorRef<Message>,
        Message::Start(index): Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let name = state.children[index].name;
        match (state.children[index].start)(me.get_cell()).await {
            Ok(cell) => {
                state.running[index] = Some(cell.get_id());
                tracing::info!(supervisor = state.name, child = name, "restarted");
                Ok(())
            }
            Err(error) => state.restart(me, index, &error.to_string()),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => match state.index_of(cell.get_id()) {
                Some(index) => state.restart(me, index, &error.to_string()),
                None => Ok(()),
            },
            // A child that ended of itself, as every child does when the host stops, stays ended.
            SupervisionEvent::ActorTerminated(cell, ..) => {
                if let Some(index) = state.index_of(cell.get_id()) {
                    state.running[index] = None;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl State {
    fn index_of(&self, id: ActorId) -> Option<usize> {
        self.running.iter().position(|running| *running == Some(id))
    }

    fn restart(
        &mut self,
        me: ActorRef<Message>,
        index: usize,
        error: &str,
    ) -> Result<(), ActorProcessingErr> {
        let child = self.children[index].name;
        self.running[index] = None;
        let now = Instant::now();
        self.failures.retain(|at| now.duration_since(*at) < WINDOW);
        self.failures.push_back(now);
        RESTARTS.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("actor_restarts_total", "supervisor" => self.name.clone(), "child" => child)
            .increment(1);
        if self.failures.len() > FAILURES_MAX {
            tracing::error!(supervisor = self.name, child, error, "failed too often; giving up");
            return Err(format!("{}/{child} failed {} times: {error}", self.name, self.failures.len()).into());
        }
        let delay = bus::retry::delay(self.failures.len() as u64, index as u64);
        tracing::error!(supervisor = self.name, child, error, ?delay, "failed; restarting");
        me.send_after(delay, move || Message::Start(index));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::worker;
    use std::sync::atomic::AtomicUsize;
    use tokio_util::sync::CancellationToken;

    async fn supervise(fails: usize) -> (Arc<AtomicUsize>, tokio::task::JoinHandle<()>, ActorRef<Message>) {
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = starts.clone();
        let child = worker("flaky", CancellationToken::new(), move |stop| {
            let starts = counted.clone();
            async move {
                let start = starts.fetch_add(1, Ordering::SeqCst);
                if start < fails {
                    if start.is_multiple_of(2) { panic!("planned") } else { anyhow::bail!("planned") }
                }
                stop.cancelled().await;
                Ok(())
            }
        });
        let arguments = SupervisorArguments { name: "test".into(), children: vec![child] };
        let (supervisor, ended) = Actor::spawn(None, Supervisor, arguments).await.unwrap();
        (starts, ended, supervisor)
    }

    async fn until(what: impl Fn() -> bool) {
        for _ in 0..2_000 {
            if what() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("did not happen within ten seconds");
    }

    #[tokio::test]
    async fn a_child_that_panics_or_fails_is_started_again() {
        let (starts, ended, supervisor) = supervise(3).await;
        until(|| starts.load(Ordering::SeqCst) == 4).await;
        assert!(!ended.is_finished());
        supervisor.stop(None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_spent_budget_ends_the_supervisor() {
        let (starts, ended, _supervisor) = supervise(usize::MAX).await;
        ended.await.unwrap();
        assert_eq!(starts.load(Ordering::SeqCst), FAILURES_MAX + 1);
    }
}
