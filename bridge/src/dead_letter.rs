//! Lists, shows, replays and drops the messages of RabbitMQ's final dead letter queue, for the command line.
//!
//! A queue cannot be read without receiving from it: messages are received, and returned in their old order when the channel
//! closes. Meanwhile nobody else sees them, and two concurrent listings see a part each.
//! Invariant: a dead letter is removed only after the broker confirmed it in its queue, or by a person's decision.

use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::call::{CALL_MAX, with_timeout};
use crate::names::requeue;
use crate::properties::{
    self, ATTEMPT, DEAD_LETTER_ID, EXCHANGE, PARKED_AT, QUEUE, REASON, ROUTING_KEY, header,
};
use crate::publish::{Address, PublishError, publish};
use crate::retry::{RouteError, declare_requeue};
use crate::{Names, Session, Settings};
use bus::{Failure, Problem};

/// Dead letters that are received at most: meanwhile nobody else sees them.
pub const LISTED_MAX: usize = 1_000;
/// Bytes of them, which are in memory together.
const LISTED_BYTES_MAX: usize = 64 << 20;

/// One message that a service's queue or the bridge could not process.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AmqpDeadLetter {
    /// The id by which it is shown, replayed and dropped.
    pub name: String,
    /// The event's name, as far as the message has it.
    pub event: String,
    pub message_id: String,
    /// The queue that it came from, if the bridge knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    pub reason: String,
    /// How often it was returned to its queue.
    pub retries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Its body as JSON, or as text if it is not JSON.
    pub payload: Value,
}

/// The result of a listing.
#[derive(Debug)]
pub struct Listing {
    /// The oldest first.
    pub dead_letters: Vec<AmqpDeadLetter>,
    /// Size of the queue, of which at most the first [`LISTED_MAX`] are listed.
    pub total: u64,
}

/// The final dead letter queue of one broker.
pub struct AmqpDeadLetters {
    session: Session,
    names: Names,
    _connected: DropGuard,
}

impl AmqpDeadLetters {
    /// Connects to RabbitMQ.
    pub async fn open(settings: Settings) -> Result<Self, Problem> {
        let names = Names::new(&settings);
        let (session, stop) = (Session::new(settings), CancellationToken::new());
        tokio::spawn(session.clone().run(stop.clone()));
        let mut state = session.state();
        let connected = tokio::time::timeout(CALL_MAX, state.wait_for(|state| state.up)).await;
        if !matches!(connected, Ok(Ok(_))) {
            let why = session.state().borrow().degraded();
            return Err(Problem::unavailable(why.unwrap_or_else(|| "RabbitMQ is away.".into())));
        }
        Ok(Self { session, names, _connected: stop.drop_guard() })
    }

    pub async fn list(&self) -> Result<Listing, Problem> {
        let (channel, received, total) = self.receive(|_| false).await?;
        let dead_letters = received.iter().enumerate().map(|(at, delivery)| read(delivery, at)).collect();
        return_unsettled(channel).await;
        Ok(Listing { dead_letters, total })
    }

    /// One dead letter with its payload; 404 if none has this name.
    pub async fn get(&self, name: &str) -> Result<AmqpDeadLetter, Problem> {
        let (channel, found, at) = self.find(name).await?;
        let dead_letter = read(&found, at);
        return_unsettled(channel).await;
        Ok(dead_letter)
    }

    /// Returns a dead letter to its queue (one that the bridge rejected passes through the bridge again), and then removes it
    /// here. 409 if its queue is unknown or no longer exists: the dead letter stays.
    pub async fn replay(&self, name: &str) -> Result<AmqpDeadLetter, Problem> {
        let (channel, found, at) = self.find(name).await?;
        let dead_letter = read(&found, at);
        let replayed = self.publish_to_queue(&found, dead_letter.queue.as_deref()).await;
        if replayed.is_ok() {
            with_timeout(found.acker.ack(BasicAckOptions::default())).await?;
            tracing::info!(
                letter = name,
                queue = dead_letter.queue,
                id = dead_letter.message_id,
                "dead letter replayed"
            );
        }
        return_unsettled(channel).await;
        replayed.map(|()| dead_letter)
    }

    /// Deletes a dead letter.
    pub async fn remove(&self, name: &str) -> Result<(), Problem> {
        let (channel, found, at) = self.find(name).await?;
        let dead_letter = read(&found, at);
        with_timeout(found.acker.ack(BasicAckOptions::default())).await?;
        return_unsettled(channel).await;
        let AmqpDeadLetter { queue, message_id, .. } = dead_letter;
        tracing::warn!(letter = name, queue, id = message_id, "dead letter dropped");
        Ok(())
    }

    async fn publish_to_queue(&self, delivery: &Delivery, queue: Option<&str>) -> Result<(), Problem> {
        let stays = |why: String| Problem::new(409, "no-way-back", why);
        let Some(queue) = queue else {
            return Err(stays("Its queue is unknown; it can only be dropped.".into()));
        };
        // The retries start again.
        let mut changes =
            vec![(DEAD_LETTER_ID, None), (QUEUE, None), (REASON, None), (PARKED_AT, None), (ATTEMPT, None)];
        let (exchange, routing_key) = if queue == self.names.private_inbox {
            // The original exchange and routing key stay in its headers: it is published to the inbox by name.
            (String::new(), queue.to_owned())
        } else {
            declare_requeue(&self.session, &self.names, queue).await.map_err(|error| match error {
                RouteError::Refused(why) => stays(format!("It cannot be returned to {queue}: {why}.")),
                RouteError::Failed(failure) => failure.into(),
            })?;
            changes.extend([(ROUTING_KEY, None), (EXCHANGE, None)]);
            (requeue(queue), header(&delivery.properties, ROUTING_KEY).unwrap_or_default())
        };
        let channel = self.session.channel().await?;
        with_timeout(channel.confirm_select(Default::default())).await?;
        let to = Address { exchange: &exchange, routing_key: &routing_key, mandatory: true };
        let properties = properties::republished(&delivery.properties, &changes);
        publish(&channel, to, &delivery.data, properties).await.map_err(|error| match error {
            PublishError::Unroutable(_) => stays(format!("The queue {queue} is gone.")),
            PublishError::Failed(failure) => failure.into(),
        })
    }

    async fn find(&self, name: &str) -> Result<(Channel, Delivery, usize), Problem> {
        let (channel, mut received, _) = self.receive(|dead_letter| dead_letter.name == name).await?;
        let at = received.len().saturating_sub(1);
        match received.pop() {
            Some(found) if read(&found, at).name == name => Ok((channel, found, at)),
            _ => {
                return_unsettled(channel).await;
                Err(Problem::not_found("dead letter"))
            }
        }
    }

    /// Receives dead letters until `is_last` returns true, the queue is empty, or a limit is reached.
    async fn receive(
        &self,
        is_last: impl Fn(&AmqpDeadLetter) -> bool,
    ) -> Result<(Channel, Vec<Delivery>, u64), Problem> {
        let channel = self.session.channel().await?;
        let queue = self.names.dead_letter_queue.as_str();
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared =
            with_timeout(channel.queue_declare(queue.into(), passive, FieldTable::default())).await;
        let total = match declared {
            Ok(queue) => u64::from(queue.message_count()),
            // No bridge has ever run on this broker, which closes the channel because the queue does not exist.
            Err(_) if !channel.status().connected() => return Ok((channel, Vec::new(), 0)),
            Err(failure) => return Err(failure.into()),
        };
        let (mut received, mut bytes) = (Vec::new(), 0);
        while received.len() < LISTED_MAX && bytes < LISTED_BYTES_MAX {
            let got = with_timeout(channel.basic_get(queue.into(), BasicGetOptions::default())).await?;
            let Some(got) = got else { break };
            bytes += got.delivery.data.len();
            received.push(got.delivery);
            if received.last().is_some_and(|delivery| is_last(&read(delivery, received.len() - 1))) {
                break;
            }
        }
        Ok((channel, received, total))
    }
}

/// Closes the channel, which returns what was received and not acknowledged.
async fn return_unsettled(channel: Channel) {
    if let Err(failure) = with_timeout(channel.close(200, "OK".into())).await {
        tracing::debug!(%failure, "the channel was not closed in order");
    }
}

/// `at` is its position in the queue, which is its name if it has no id; such a name changes when another one is removed.
fn read(delivery: &Delivery, at: usize) -> AmqpDeadLetter {
    let properties = &delivery.properties;
    let text = || Value::from(String::from_utf8_lossy(&delivery.data).into_owned());
    let payload: Value = serde_json::from_slice(&delivery.data).unwrap_or_else(|_| text());
    let message_id = text_or_empty(properties.message_id());
    let name = header(properties, DEAD_LETTER_ID)
        .or_else(|| Some(message_id.clone()).filter(|id| !id.is_empty()))
        .unwrap_or_else(|| format!("#{}", at + 1));
    AmqpDeadLetter {
        name,
        event: event(properties, &payload, delivery.routing_key.as_str()),
        message_id,
        queue: header(properties, QUEUE),
        reason: header(properties, REASON).unwrap_or_default(),
        retries: header(properties, ATTEMPT).and_then(|n| n.parse().ok()).unwrap_or_default(),
        parked_at: header(properties, PARKED_AT),
        correlation_id: properties.correlation_id().as_ref().map(|id| id.to_string()),
        payload,
    }
}

fn event(properties: &BasicProperties, payload: &Value, routing_key: &str) -> String {
    let kind = text_or_empty(properties.kind());
    let names = [Some(kind.as_str()), payload["pattern"].as_str()];
    let name = names.into_iter().flatten().find(|name| !name.is_empty()).map(str::to_owned);
    name.or_else(|| header(properties, ROUTING_KEY)).unwrap_or_else(|| routing_key.to_owned())
}

fn text_or_empty(text: &Option<lapin::types::ShortString>) -> String {
    text.as_ref().map(|text| text.to_string()).unwrap_or_default()
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        Failure::from(error).into()
    }
}
