//! Publishes one message and waits until the broker has it: for what is not sent in such numbers that a window pays.

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation};

use crate::call::within;
use bus::Failure;

/// Where to. On the default exchange, `""`, the routing key is a queue's name.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    pub exchange: &'a str,
    pub routing_key: &'a str,
    /// That no queue takes it is a failure. Only where one message at a time is on its way: lapin gives a returned
    /// message to whichever confirm comes next.
    pub mandatory: bool,
}

/// Why the broker does not have it.
#[derive(Debug, thiserror::Error)]
pub enum Unpublished {
    #[error("no queue takes it: {0}")]
    Unroutable(String),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<Unpublished> for Failure {
    fn from(unpublished: Unpublished) -> Self {
        match unpublished {
            Unpublished::Failed(failure) => failure,
            unroutable => Self::transient(unroutable),
        }
    }
}

/// Publishes on a channel with confirms.
pub async fn publish(
    channel: &Channel,
    to: Address<'_>,
    body: &[u8],
    properties: BasicProperties,
) -> Result<(), Unpublished> {
    // Both come from messages, where they are of the same type; ours are far shorter.
    let name = |name: &str| lapin::types::ShortString::try_new(name).map_err(Failure::transient);
    let (exchange, routing_key) = (name(to.exchange)?, name(to.routing_key)?);
    let options = BasicPublishOptions { mandatory: to.mandatory, ..Default::default() };
    let confirming = within(channel.basic_publish(exchange, routing_key, options, body, properties)).await?;
    match within(confirming).await? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(returned)) => Err(Unpublished::Unroutable(returned.reply_text.to_string())),
        Confirmation::Nack(_) => Err(Failure::transient("RabbitMQ refused to keep it").into()),
        Confirmation::NotRequested => Err(Failure::transient("the channel has no confirms").into()),
    }
}
