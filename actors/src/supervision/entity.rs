//! Entities: one actor for each id, spawned by its first message, stopped when quiet and idle.
//!
//! Invariant: a message that was accepted is handled, also while the entity passivates: it leaves the map first,
//! under the map's lock, and stops only when everything sent before that is handled.
//! The rows are the truth and the entity is a cache, so two of one id (on two hosts, or for a moment in one) are safe.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorRuntime, SupervisionEvent, async_trait};
use tokio::time::Instant;
use uuid::Uuid;

use super::Child;

/// What an entity does. `handle` never waits: long work is spawned and its result sent back as a message.
pub trait Entity: Send + Sized + 'static {
    type Env: Clone + Send + Sync + 'static;
    type Message: Send + 'static;
    /// For logs and metrics.
    const KIND: &'static str;
    /// It stops when it was quiet for this long.
    const IDLE: Duration;

    fn new(id: Uuid, env: Self::Env, me: Address<Self>) -> Self;
    fn handle(&mut self, message: Self::Message);
    /// Nothing waits and nothing is in progress.
    fn is_quiet(&self) -> bool;
}

/// The address of an entity. Sending to one that has stopped does nothing: a waiting request sees its channel close.
pub struct Address<E: Entity>(ActorRef<Envelope<E::Message>>);

impl<E: Entity> Clone for Address<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Entity> Address<E> {
    pub fn send(&self, message: E::Message) {
        let _ = self.0.cast(Envelope::Message(message));
    }

    pub fn send_after(&self, delay: Duration, message: E::Message) {
        self.0.send_after(delay, move || Envelope::Message(message));
    }
}

enum Envelope<M> {
    Message(M),
    CheckIdle,
    /// The last message: the entity is out of the map.
    Retired,
}

/// All live entities of one kind in this host.
pub struct Entities<E: Entity>(Arc<Inner<E>>);

struct Inner<E: Entity> {
    env: E::Env,
    live: Mutex<HashMap<Uuid, ActorRef<Envelope<E::Message>>>>,
    supervisor: Mutex<Option<ActorCell>>,
}

impl<E: Entity> Clone for Entities<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Entity> Entities<E> {
    pub fn new(env: E::Env) -> Self {
        Self(Arc::new(Inner { env, live: Mutex::default(), supervisor: Mutex::default() }))
    }

    /// Sends to the entity `id`, spawning it if it is not there. A message sent while the supervisor is being
    /// restarted is dropped, as it would be in a crash.
    pub fn send(&self, id: Uuid, message: E::Message) {
        let mut live = self.live();
        let message = match live.get(&id) {
            Some(actor) => match actor.cast(Envelope::Message(message)) {
                Ok(()) => return,
                // It stopped or died a moment ago.
                Err(ractor::MessagingErr::SendErr(Envelope::Message(message))) => message,
                Err(_) => return,
            },
            None => message,
        };
        let Some(supervisor) = lock(&self.0.supervisor).clone() else { return };
        match ActorRuntime::spawn_linked_instant(None, Cell::<E>(self.clone()), id, supervisor) {
            Ok((actor, _)) => {
                let _ = actor.cast(Envelope::Message(message));
                live.insert(id, actor);
            }
            Err(error) => tracing::error!(kind = E::KIND, %error, "entity not spawned"),
        }
        metrics::gauge!("entities_live", "kind" => E::KIND).set(live.len() as f64);
    }

    pub fn len(&self) -> usize {
        self.live().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The supervisor of these entities, to be a child of the domain's.
    pub fn child(&self) -> Child {
        let entities = self.clone();
        Child::new(E::KIND, move |supervisor| {
            let entities = entities.clone();
            async move {
                let (actor, _) =
                    Actor::spawn_linked(None, KindSupervisor::<E>(entities), (), supervisor).await?;
                Ok(actor.get_cell())
            }
            .boxed()
        })
    }

    fn live(&self) -> MutexGuard<'_, HashMap<Uuid, ActorRef<Envelope<E::Message>>>> {
        lock(&self.0.live)
    }

    /// Takes the entity out of the map; what was sent to it before is in its mailbox already.
    fn retire(&self, id: Uuid, actor: &ActorRef<Envelope<E::Message>>) {
        let mut live = self.live();
        if live.get(&id).is_some_and(|known| known.get_id() == actor.get_id()) {
            live.remove(&id);
        }
        let _ = actor.cast(Envelope::Retired);
    }
}

/// A panic while the map is locked leaves a map that is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

struct Cell<E: Entity>(Entities<E>);

struct CellState<E: Entity> {
    id: Uuid,
    entity: E,
    last: Instant,
    retired: bool,
}

#[async_trait]
impl<E: Entity> Actor for Cell<E> {
    type Msg = Envelope<E::Message>;
    type State = CellState<E>;
    type Arguments = Uuid;

    async fn pre_start(&self, me: ActorRef<Self::Msg>, id: Uuid) -> Result<Self::State, ActorProcessingErr> {
        me.send_after(E::IDLE, || Envelope::CheckIdle);
        let entity = E::new(id, self.0.0.env.clone(), Address(me));
        Ok(CellState { id, entity, last: Instant::now(), retired: false })
    }

    async fn handle(
        &self,
        me: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Envelope::Message(message) => {
                state.last = Instant::now();
                state.entity.handle(message);
            }
            Envelope::CheckIdle => {
                let left = E::IDLE.saturating_sub(state.last.elapsed());
                if left.is_zero() && state.entity.is_quiet() {
                    self.0.retire(state.id, &me);
                } else {
                    me.send_after(left.max(E::IDLE / 4), || Envelope::CheckIdle);
                }
            }
            Envelope::Retired => state.retired = true,
        }
        if state.retired && state.entity.is_quiet() {
            me.stop(None);
        }
        Ok(())
    }
}

/// Supervises the entities of one kind: a failed one is removed, and spawned anew by its next message.
struct KindSupervisor<E: Entity>(Entities<E>);

#[async_trait]
impl<E: Entity> Actor for KindSupervisor<E> {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, me: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        *lock(&self.0.0.supervisor) = Some(me.get_cell());
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let (cell, error) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, Some(error)),
            SupervisionEvent::ActorTerminated(cell, ..) => (cell, None),
            _ => return Ok(()),
        };
        if let Some(error) = error {
            metrics::counter!("entity_failures_total", "kind" => E::KIND).increment(1);
            tracing::error!(kind = E::KIND, %error, "entity failed");
            self.0.live().retain(|_, actor| actor.get_id() != cell.get_id());
        }
        metrics::gauge!("entities_live", "kind" => E::KIND).set(self.0.len() as f64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::{Supervisor, SupervisorArguments};
    use tokio::sync::oneshot;

    struct Counter {
        count: u64,
        busy: bool,
    }

    enum Ask {
        Next(oneshot::Sender<u64>),
        /// There is something to do from now on.
        Stay,
        Crash,
    }

    impl Entity for Counter {
        type Env = ();
        type Message = Ask;
        const KIND: &'static str = "counter";
        const IDLE: Duration = Duration::from_millis(40);
        fn new(_: Uuid, _: (), _: Address<Self>) -> Self {
            Self { count: 0, busy: false }
        }
        fn handle(&mut self, message: Ask) {
            match message {
                Ask::Next(reply) => {
                    self.count += 1;
                    let _ = reply.send(self.count);
                }
                Ask::Stay => self.busy = true,
                Ask::Crash => panic!("planned"),
            }
        }
        fn is_quiet(&self) -> bool {
            !self.busy
        }
    }

    async fn counters() -> Entities<Counter> {
        let counters = Entities::<Counter>::new(());
        let arguments = SupervisorArguments { name: "test".into(), children: vec![counters.child()] };
        Actor::spawn(None, Supervisor, arguments).await.unwrap();
        counters
    }

    async fn next(counters: &Entities<Counter>, id: Uuid) -> Option<u64> {
        let (reply, answer) = oneshot::channel();
        counters.send(id, Ask::Next(reply));
        answer.await.ok()
    }

    #[tokio::test]
    async fn an_entity_lives_on_between_messages_and_passivates_when_idle() {
        let counters = counters().await;
        let id = Uuid::now_v7();
        assert_eq!(next(&counters, id).await, Some(1));
        assert_eq!(next(&counters, id).await, Some(2));
        let gone = async {
            while !counters.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone).await.expect("passivates");
        assert_eq!(next(&counters, id).await, Some(1));
    }

    #[tokio::test]
    async fn a_crashed_entity_starts_afresh_and_spares_the_others() {
        let counters = counters().await;
        let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
        next(&counters, id).await;
        next(&counters, other).await;
        // Printing the panic's backtrace may take longer than the other would idle.
        counters.send(other, Ask::Stay);
        counters.send(id, Ask::Crash);
        let afresh = async {
            loop {
                // A message that reaches the dying actor is lost, as in any crash; its sender sees the channel close.
                if let Some(count) = next(&counters, id).await {
                    return count;
                }
            }
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(5), afresh).await.unwrap(), 1);
        assert_eq!(next(&counters, other).await, Some(2));
    }

    #[tokio::test]
    async fn no_message_is_lost_while_entities_come_and_go() {
        let counters = counters().await;
        let id = Uuid::now_v7();
        for round in 0..60 {
            assert!(next(&counters, id).await.is_some(), "round {round}");
            tokio::time::sleep(Duration::from_millis(round % 3 * 15)).await;
        }
    }
}
