//! The requester of an input, who is answered once it is handled.
//!
//! Invariant: a requester is answered once, and only after the result of its input is committed.

use std::sync::Arc;

use bus::consumer::Delivery;
use bus::service::Answered;
use bus::token::Identity;
use bus::{Context, Failure, Problem};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::delivery::IdempotencyKey;

pub enum Requester {
    /// A message of a stream.
    Delivery(Delivery),
    Call(Box<Caller>),
    /// A deadline, or the outcome of a call: where it fails, the row's deadline repeats it.
    Nobody,
}

/// A request that waits for its answer.
pub struct Caller {
    /// The person in whose name it is made; none where a host makes it.
    pub identity: Option<Arc<Identity>>,
    pub context: Context,
    /// Where the request had an `Idempotency-Key`: the key and the request's hash.
    pub key: Option<(IdempotencyKey, [u8; 32])>,
    /// When the caller gives up.
    pub until: Option<Instant>,
    pub reply: oneshot::Sender<Answered>,
}

/// Why an input was not applied.
#[derive(Debug)]
pub enum Refusal {
    /// By a rule.
    Rejected(Problem),
    Failed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Refusal {
    pub fn rejected(rejection: impl Into<Problem>) -> Self {
        Self::Rejected(rejection.into())
    }
}

impl Requester {
    /// A call of this host's own, with the channel of its answer.
    pub fn internal(context: Context) -> (Self, oneshot::Receiver<Answered>) {
        let (reply, answer) = oneshot::channel();
        (Self::Call(Box::new(Caller { identity: None, context, key: None, until: None, reply })), answer)
    }

    pub fn context(&self) -> Option<&Context> {
        match self {
            Self::Delivery(delivery) => Some(&delivery.context),
            Self::Call(caller) => Some(&caller.context),
            Self::Nobody => None,
        }
    }

    pub fn key(&self) -> Option<&(IdempotencyKey, [u8; 32])> {
        match self {
            Self::Call(caller) => caller.key.as_ref(),
            Self::Delivery(_) | Self::Nobody => None,
        }
    }

    pub fn until(&self) -> Option<Instant> {
        match self {
            Self::Call(caller) => caller.until,
            Self::Delivery(_) | Self::Nobody => None,
        }
    }

    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Call(caller) => caller.identity.as_deref(),
            Self::Delivery(_) | Self::Nobody => None,
        }
    }

    /// A rejected event is done: it is acknowledged.
    pub fn done(self, result: Result<Bytes, Refusal>) {
        match (self, result) {
            (Self::Delivery(delivery), Ok(_) | Err(Refusal::Rejected(_))) => delivery.ack(),
            (Self::Delivery(delivery), Err(Refusal::Failed(failure))) => delivery.fail(failure),
            (Self::Call(caller), result) => {
                let answered = result.map_err(|refusal| match refusal {
                    Refusal::Rejected(problem) => problem,
                    Refusal::Failed(failure) => failure.into(),
                });
                // The caller may have given up.
                let _ = caller.reply.send(answered);
            }
            (Self::Nobody, Err(Refusal::Failed(failure))) => {
                tracing::warn!(%failure, "an input was not handled; its deadline brings it again");
            }
            (Self::Nobody, Ok(_) | Err(Refusal::Rejected(_))) => {}
        }
    }
}
