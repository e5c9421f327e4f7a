//! Where an input of a saga came from, and how whoever waits for it is told what became of it.
//!
//! Invariant: nobody is told anything of a step that is not committed; the saga actor sees to it.

use std::sync::Arc;

use bus::consumer::Delivery;
use bus::contract::Timestamp;
use bus::contract::reservation::Rejection;
use bus::service::Answered;
use bus::token::Identity;
use bus::{Context, Failure, Problem};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Message;
use crate::delivery::IdempotencyKey;
use crate::reservation::Env;
use crate::reservation::model::Reservation;
use crate::reservation::saga::{Effect, Input};

/// Where an input came from, and whom to tell.
pub enum Origin {
    Event(Delivery),
    Call(Box<Caller>),
    /// The house itself.
    Asked {
        context: Context,
        reply: oneshot::Sender<Result<(), Problem>>,
    },
    Clock,
}

/// Someone who waits for an answer.
pub struct Caller {
    pub identity: Arc<Identity>,
    pub context: Context,
    /// Where the request had an `Idempotency-Key`: the key and the request's hash. The answer is kept under it.
    pub key: Option<(IdempotencyKey, [u8; 32])>,
    pub shape: Shape,
    pub reply: oneshot::Sender<Answered>,
}

/// What a caller is told.
pub type Shape = fn(&Done<'_>) -> Answered;

/// A step as its caller may hear of it.
pub struct Done<'a> {
    pub input: &'a Input,
    pub after: &'a Reservation,
    pub effects: &'a [Effect],
    pub now: Timestamp,
}

/// The reservation as it is now.
pub fn as_view(done: &Done<'_>) -> Answered {
    bus::service::json(&done.after.view(done.now))
}

impl Origin {
    /// The request that the input goes back to.
    pub fn context(&self) -> Context {
        match self {
            Self::Event(delivery) => delivery.context.clone(),
            Self::Call(caller) => caller.context.clone(),
            Self::Asked { context, .. } => context.clone(),
            Self::Clock => Context::new(),
        }
    }

    /// Nothing was left to do.
    pub fn settle(self, done: &Done<'_>) {
        match self {
            Self::Call(caller) => {
                let told = (caller.shape)(done);
                Self::Call(caller).answer(told);
            }
            other => other.acknowledge(),
        }
    }

    /// It is done; nobody waits for more than that.
    pub fn acknowledge(self) {
        match self {
            Self::Event(delivery) => delivery.ack(),
            Self::Asked { reply, .. } => {
                // The asker may have given up waiting.
                let _ = reply.send(Ok(()));
            }
            Self::Call(_) | Self::Clock => {}
        }
    }

    /// A no is an answer; an event that meets a no has nothing left to do.
    pub fn refuse(self, rejection: Rejection) {
        match self {
            Self::Event(delivery) => delivery.ack(),
            other => other.answer(Err(rejection.into())),
        }
    }

    pub fn fail(self, failure: Failure) {
        match self {
            Self::Event(delivery) => delivery.fail(failure),
            // The sweep finds it again.
            Self::Clock => tracing::warn!(%failure, "deadline not handled; again with the next sweep"),
            other => other.answer(Err(failure.into())),
        }
    }

    pub fn answer(self, answered: Answered) {
        match self {
            Self::Call(caller) => {
                // The asker may have given up waiting.
                let _ = caller.reply.send(answered);
            }
            Self::Asked { reply, .. } => {
                let _ = reply.send(answered.map(|_| ()));
            }
            Self::Event(_) | Self::Clock => {}
        }
    }
}

/// Sends an input in a caller's name and waits for what became of it.
pub async fn call(
    env: &Env,
    id: Uuid,
    input: Input,
    caller: impl FnOnce(oneshot::Sender<Answered>) -> Caller,
) -> Answered {
    let (reply, answer) = oneshot::channel();
    env.sagas().send(id, Message::Input(input, Origin::Call(Box::new(caller(reply)))));
    answer
        .await
        .unwrap_or_else(|_| Err(Problem::unavailable("The reservation's keeper was restarted. Try again.")))
}
