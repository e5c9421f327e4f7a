//! Calls on a channel, each with a limit, and the declarations among them, with what the broker says against one.
//!
//! Invariant: what is declared is durable and otherwise as NestJS declares it, and a difference (406) is told from a failure:
//! the first an operator has to mend, the second mends itself.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};

use bus::Failure;

/// A call on a channel (declare, bind) takes milliseconds.
pub const CALL_MAX: Duration = Duration::from_secs(10);

/// A call on a channel, with a limit.
pub async fn within<T>(call: impl Future<Output = lapin::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(CALL_MAX, call).await {
        Ok(done) => done.map_err(Failure::transient),
        Err(_) => Err(Failure::transient(format!("no answer from RabbitMQ within {CALL_MAX:?}"))),
    }
}

/// Closes a channel in good order, or the broker's log fills with channels that vanish.
pub async fn close(channel: Channel) -> Result<(), Failure> {
    within(channel.close(200, "OK".into())).await
}

/// A topic exchange as NestJS declares it: durable, nothing else, no arguments.
pub async fn declare_topic(channel: &Channel, name: &str) -> Result<(), Declined> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let wanted = format!("topic exchange {name}, durable, without arguments");
    let declaring =
        channel.exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default());
    declared(wanted, declaring).await
}

/// A queue; one that is there with other properties is [`Declined::Different`].
pub async fn declare_queue(
    channel: &Channel,
    name: &str,
    durable: bool,
    arguments: FieldTable,
) -> Result<(), Declined> {
    let options = QueueDeclareOptions { durable, ..Default::default() };
    let wanted = format!("queue {name}, durable {durable}, arguments {:?}", arguments.inner());
    declared(wanted, async { channel.queue_declare(name.into(), options, arguments).await.map(drop) }).await
}

/// Why something was not declared. Either way the channel is closed.
#[derive(Debug, thiserror::Error)]
pub enum Declined {
    /// 406: it is there, and not as it is wanted. Only an operator can mend that.
    #[error("wanted {wanted}, but RabbitMQ has it otherwise: {found}")]
    Different { wanted: String, found: String },
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<Declined> for Failure {
    fn from(declined: Declined) -> Self {
        match declined {
            Declined::Failed(failure) => failure,
            different => Self::transient(different),
        }
    }
}

async fn declared(
    wanted: String,
    declaring: impl Future<Output = lapin::Result<()>>,
) -> Result<(), Declined> {
    match tokio::time::timeout(CALL_MAX, declaring).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if soft_error(&error) == Some(&AMQPSoftError::PRECONDITIONFAILED) => {
            Err(Declined::Different { wanted, found: error.to_string() })
        }
        Ok(Err(error)) => Err(Failure::transient(error).into()),
        Err(_) => Err(Failure::transient(format!("{wanted}: no answer within {CALL_MAX:?}")).into()),
    }
}

/// What the broker closed a channel with, such as 404 or 406, if that is what went wrong.
pub fn soft_error(error: &lapin::Error) -> Option<&AMQPSoftError> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}
