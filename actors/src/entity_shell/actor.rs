//! Performs the actions of a [`Shell`], as an actor: reads in groups, writes by the journal, calls in tasks of their own.

use std::time::Duration;

use bus::Context;
use bus::Problem;
use bus::service::Answered;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Action, Job, Machine, Message, Refusal, Requester, Shell, Written};
use crate::delivery::Reads;
use crate::domain::Tools;
use crate::supervision::entity::{Address, Entities, Entity};

/// A machine with the environment of its actions.
pub trait Hosted: Machine {
    type Env: Clone + Send + Sync + 'static;
    const KIND: &'static str;

    fn new(env: &Self::Env) -> Self;
    fn reads(env: &Self::Env) -> &Reads<Uuid, Self::State>;
    fn tools(env: &Self::Env) -> &Tools<Self::Rows>;
    /// Makes the call, and returns its outcome as an input of this entity.
    fn perform(
        env: Self::Env,
        id: Uuid,
        call: Self::Call,
        state: Option<Self::State>,
        context: Context,
        until: Option<Instant>,
    ) -> impl Future<Output = Option<Self::Input>> + Send;
}

pub struct EntityActor<M: Hosted> {
    id: Uuid,
    env: M::Env,
    me: Address<Self>,
    shell: Shell<M>,
}

impl<M: Hosted> Entity for EntityActor<M> {
    type Env = M::Env;
    type Message = Message<M>;
    const KIND: &'static str = M::KIND;
    const IDLE: Duration = Duration::from_secs(1);

    fn new(id: Uuid, env: M::Env, me: Address<Self>) -> Self {
        let shell = Shell::new(M::new(&env));
        Self { id, env, me, shell }
    }

    fn is_quiet(&self) -> bool {
        self.shell.is_quiet()
    }

    fn handle(&mut self, message: Message<M>) {
        for action in self.shell.handle(message, M::tools(&self.env).clock.now()) {
            self.perform(action);
        }
    }
}

impl<M: Hosted> EntityActor<M> {
    fn perform(&self, action: Action<M>) {
        let (id, env, me) = (self.id, self.env.clone(), self.me.clone());
        match action {
            Action::Read => {
                tokio::spawn(async move { me.send(Message::Read(M::reads(&env).get(id).await)) });
            }
            Action::Write(change, job, plan) => M::tools(&env).journal.write(change, move |outcome| {
                me.send(Message::Written(Box::new(Written { job: *job, plan: *plan, outcome })));
            }),
            Action::Call { call, state, context, until } => {
                tokio::spawn(async move {
                    let input = M::perform(env, id, call.clone(), state, context, until).await;
                    me.send(Message::CallDone(call, input));
                });
            }
            Action::ReadKey(job) => {
                tokio::spawn(async move { me.send(Message::KeyRead(unless_answered::<M>(&env, job).await)) });
            }
            Action::Wake(pause) => me.send_after(pause, Message::Deferred),
        }
    }
}

/// Answers a repeated request with its first answer; returns a requester that is not answered yet.
async fn unless_answered<M: Hosted>(env: &M::Env, job: Box<Job<M>>) -> Option<Box<Job<M>>> {
    let Some((key, hash)) = job.requester.key().cloned() else { return Some(job) };
    match M::tools(env).answers.get(key).await {
        Ok(Some(stored)) => {
            job.requester.done(M::new(env).repeated(&stored, &hash).map_err(Refusal::Rejected));
            None
        }
        Ok(None) => Some(job),
        Err(failure) => {
            job.requester.done(Err(failure.into()));
            None
        }
    }
}

/// Sends an input and waits for its answer.
pub async fn ask<M: Hosted>(
    entities: &Entities<EntityActor<M>>,
    id: Uuid,
    input: M::Input,
    requester: Requester,
    answer: tokio::sync::oneshot::Receiver<Answered>,
) -> Answered {
    entities.send(id, Message::Input(input, requester));
    answer.await.unwrap_or_else(|_| Err(Problem::unavailable("Please try again.")))
}
