//! Publishes one message and waits for the broker's confirm. For events, which are many, `outbound` has a window instead.

use bus::Failure;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};

use crate::call::with_timeout;

/// The destination. On the default exchange, `""`, the routing key is a queue's name.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    pub exchange: &'a str,
    pub routing_key: &'a str,
    /// Fail if no queue receives the message. Use it only where one message at a time is in flight: lapin attaches a
    /// returned message to the next confirm, whichever message that confirms.
    pub mandatory: bool,
}

/// Why the message was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("no queue receives it: {0}")]
    Unroutable(String),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Failed(failure) => failure,
            unroutable => Self::transient(unroutable),
        }
    }
}

/// Publishes on a channel in confirm mode.
pub async fn publish(
    channel: &Channel,
    to: Address<'_>,
    body: &[u8],
    properties: BasicProperties,
) -> Result<(), PublishError> {
    // Names from received messages fit, since the type is the same there; our own are far shorter.
    let name = |name: &str| ShortString::try_new(name).map_err(Failure::transient);
    let (exchange, routing_key) = (name(to.exchange)?, name(to.routing_key)?);
    let options = BasicPublishOptions { mandatory: to.mandatory, ..Default::default() };
    let confirm =
        with_timeout(channel.basic_publish(exchange, routing_key, options, body, properties)).await?;
    match with_timeout(confirm).await? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(returned)) => Err(PublishError::Unroutable(returned.reply_text.to_string())),
        Confirmation::Nack(_) => Err(Failure::transient("RabbitMQ did not store it (basic.nack)").into()),
        Confirmation::NotRequested => Err(Failure::transient("the channel is not in confirm mode").into()),
    }
}
