//! A loop as a supervised actor: its error or panic is the actor's failure, so the supervisor restarts it.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef, async_trait};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Child;

type Run = Arc<dyn Fn(CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// A child that runs `run` until it returns: `Ok` ends it for good, an error or a panic restarts it. The loop
/// watches `stop`.
pub fn worker<F, Fut>(name: &'static str, stop: CancellationToken, run: F) -> Child
where
    F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let run: Run = Arc::new(move |stop| run(stop).boxed());
    Child::new(name, move |supervisor| {
        let arguments = (run.clone(), stop.clone());
        async move {
            let (actor, _) = Actor::spawn_linked(None, Worker, arguments, supervisor).await?;
            Ok(actor.get_cell())
        }
        .boxed()
    })
}

struct Worker;

/// Aborts the loop when the actor is killed.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Ended(Result<(), String>);

#[async_trait]
impl Actor for Worker {
    type Msg = Ended;
    type State = Running;
    type Arguments = (Run, CancellationToken);

    async fn pre_start(
        &self,
        me: ActorRef<Ended>,
        (run, stop): Self::Arguments,
    ) -> Result<Running, ActorProcessingErr> {
        // Two tasks: the inner one may panic, the outer one reports it.
        Ok(Running(tokio::spawn(async move {
            let inner = AbortOnDrop(tokio::spawn(run(stop)));
            let ended = match inner.join().await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(format!("{error:#}")),
                Err(panic) => Err(panic.to_string()),
            };
            // An error means that the actor is already gone.
            let _ = me.cast(Ended(ended));
        })))
    }

    async fn handle(
        &self,
        me: ActorRef<Ended>,
        Ended(ended): Ended,
        _: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        match ended {
            Ok(()) => {
                me.stop(None);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
