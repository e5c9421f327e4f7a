//! Calls on a channel, each with a time limit, and declarations of exchanges and queues.
//!
//! Invariant: what is declared is durable and otherwise as NestJS declares it. A mismatch (406) is reported apart from
//! other failures: an operator has to correct the first, the others pass by themselves.

use std::time::Duration;

use bus::Failure;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};

/// A call on a channel (declare, bind) takes milliseconds.
pub const CALL_MAX: Duration = Duration::from_secs(10);

/// Runs a call on a channel with a time limit.
pub async fn with_timeout<T>(call: impl Future<Output = lapin::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(CALL_MAX, call).await {
        Ok(result) => result.map_err(Failure::transient),
        Err(_) => Err(Failure::transient(format!("no answer from RabbitMQ within {CALL_MAX:?}"))),
    }
}

/// Closes a channel in order; RabbitMQ logs a channel that disappears as an error.
pub async fn close(channel: Channel) -> Result<(), Failure> {
    with_timeout(channel.close(200, "OK".into())).await
}

/// A topic exchange as NestJS declares it: durable, no other option, no arguments.
pub async fn declare_topic(channel: &Channel, name: &str) -> Result<(), DeclareError> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let wanted = format!("topic exchange {name}, durable, without arguments");
    let call = channel.exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default());
    declare(wanted, call).await
}

/// A queue; one that exists with other properties is a [`DeclareError::Mismatch`].
pub async fn declare_queue(
    channel: &Channel,
    name: &str,
    durable: bool,
    arguments: FieldTable,
) -> Result<(), DeclareError> {
    let options = QueueDeclareOptions { durable, ..Default::default() };
    let wanted = format!("queue {name}, durable {durable}, arguments {:?}", arguments.inner());
    declare(wanted, async { channel.queue_declare(name.into(), options, arguments).await.map(drop) }).await
}

/// Why a declaration failed. In both cases the channel is closed.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// 406: it exists with other properties. Only an operator can correct that.
    #[error("wanted {wanted}, but it exists with other properties: {found}")]
    Mismatch { wanted: String, found: String },
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<DeclareError> for Failure {
    fn from(error: DeclareError) -> Self {
        match error {
            DeclareError::Failed(failure) => failure,
            mismatch => Self::transient(mismatch),
        }
    }
}

async fn declare(wanted: String, call: impl Future<Output = lapin::Result<()>>) -> Result<(), DeclareError> {
    match tokio::time::timeout(CALL_MAX, call).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if soft_error(&error) == Some(&AMQPSoftError::PRECONDITIONFAILED) => {
            Err(DeclareError::Mismatch { wanted, found: error.to_string() })
        }
        Ok(Err(error)) => Err(Failure::transient(error).into()),
        Err(_) => Err(Failure::transient(format!("{wanted}: no answer within {CALL_MAX:?}")).into()),
    }
}

/// The error with which the broker closed a channel, such as 404 or 406.
pub fn soft_error(error: &lapin::Error) -> Option<&AMQPSoftError> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}
