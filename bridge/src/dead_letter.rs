//! RabbitMQ's final dead letters listed, shown, replayed and dropped, for the command line.
//!
//! A queue cannot be read without taking from it: letters are taken, looked at and given back when the channel closes, where
//! they stand in their old order. Meanwhile nobody else sees them, and two who look at once see a part each.
//! Invariant: a letter leaves only after its queue has it, by the broker's confirm, or by a person's decision.

use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::call::{CALL_MAX, within};
use crate::names::requeue;
use crate::properties::{self, ATTEMPT, EXCHANGE, LETTER, PARKED_AT, QUEUE, REASON, ROUTING_KEY, header};
use crate::publish::{Address, Unpublished, publish};
use crate::retry::{NoWay, build_requeue};
use crate::{Names, Session, Settings};
use bus::{Failure, Problem};

/// Letters that are looked through: each is taken over the wire, and for that time from everybody else.
pub const LOOKED_MAX: usize = 1_000;
/// Bytes of them, which are all in memory at once.
const LOOKED_BYTES_MAX: usize = 64 << 20;

/// One message that a service's queue or the bridge gave up.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    /// By which it is shown, replayed and dropped.
    pub name: String,
    /// The event, as far as the message says which.
    pub event: String,
    pub message_id: String,
    /// Whose it is; none when the bridge could not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    pub reason: String,
    /// How often it was given back to its queue.
    pub retries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Its body, or its text where that is not JSON.
    pub payload: Value,
}

/// What was looked through.
#[derive(Debug)]
pub struct Looked {
    /// The oldest first.
    pub letters: Vec<Letter>,
    /// All that there are, of which only the first [`LOOKED_MAX`] are looked through.
    pub total: u64,
}

/// The dead letters of one broker.
pub struct Letters {
    session: Session,
    names: Names,
    _connected: DropGuard,
}

impl Letters {
    /// Connects; an error tells why that failed.
    pub async fn open(settings: Settings) -> Result<Self, Problem> {
        let names = Names::new(&settings);
        let (session, stop) = (Session::new(settings), CancellationToken::new());
        tokio::spawn(session.clone().run(stop.clone()));
        let mut link = session.link();
        let connected = tokio::time::timeout(CALL_MAX, link.wait_for(|link| link.up)).await;
        if !matches!(connected, Ok(Ok(_))) {
            let why = session.link().borrow().complaint();
            return Err(Problem::unavailable(why.unwrap_or_else(|| "RabbitMQ is away.".into())));
        }
        Ok(Self { session, names, _connected: stop.drop_guard() })
    }

    pub async fn list(&self) -> Result<Looked, Problem> {
        let (channel, taken, total) = self.take(|_| false).await?;
        let letters = taken.iter().enumerate().map(|(at, delivery)| read(delivery, at)).collect();
        give_back(channel).await;
        Ok(Looked { letters, total })
    }

    /// One letter with its payload; 404 when there is none of this name.
    pub async fn get(&self, name: &str) -> Result<Letter, Problem> {
        let (channel, found, at) = self.find(name).await?;
        let letter = read(&found, at);
        give_back(channel).await;
        Ok(letter)
    }

    /// Back to its queue, or for what the bridge refused through the bridge again, and then away from here. 409 when nobody
    /// knows its queue, or that queue is gone: the letter stays.
    pub async fn replay(&self, name: &str) -> Result<Letter, Problem> {
        let (channel, found, at) = self.find(name).await?;
        let letter = read(&found, at);
        let replayed = self.bring_back(&found, letter.queue.as_deref()).await;
        if replayed.is_ok() {
            within(found.acker.ack(BasicAckOptions::default())).await?;
            tracing::info!(
                letter = name,
                queue = letter.queue,
                id = letter.message_id,
                "dead letter replayed"
            );
        }
        give_back(channel).await;
        replayed.map(|()| letter)
    }

    /// Drops a letter for good.
    pub async fn remove(&self, name: &str) -> Result<(), Problem> {
        let (channel, found, at) = self.find(name).await?;
        let letter = read(&found, at);
        within(found.acker.ack(BasicAckOptions::default())).await?;
        give_back(channel).await;
        let Letter { queue, message_id, .. } = letter;
        tracing::warn!(letter = name, queue, id = message_id, "dead letter dropped");
        Ok(())
    }

    async fn bring_back(&self, letter: &Delivery, queue: Option<&str>) -> Result<(), Problem> {
        let stays = |why: String| Problem::new(409, "no-way-back", why);
        let Some(queue) = queue else {
            return Err(stays("Nobody knows which queue it is from; it can only be dropped.".into()));
        };
        // It begins anew, with all its tries.
        let mut changes =
            vec![(LETTER, None), (QUEUE, None), (REASON, None), (PARKED_AT, None), (ATTEMPT, None)];
        let (exchange, routing_key) = if queue == self.names.private_inbox {
            // Where it came in stays on it: the inbox is reached by its own name now.
            (String::new(), queue.to_owned())
        } else {
            build_requeue(&self.session, &self.names, queue).await.map_err(|no_way| match no_way {
                NoWay::Refused(why) => stays(format!("It cannot go back to {queue}: {why}.")),
                NoWay::Failed(failure) => failure.into(),
            })?;
            changes.extend([(ROUTING_KEY, None), (EXCHANGE, None)]);
            (requeue(queue), header(&letter.properties, ROUTING_KEY).unwrap_or_default())
        };
        let channel = self.session.channel().await?;
        within(channel.confirm_select(Default::default())).await?;
        let to = Address { exchange: &exchange, routing_key: &routing_key, mandatory: true };
        let properties = properties::again(&letter.properties, &changes);
        publish(&channel, to, &letter.data, properties).await.map_err(|unpublished| match unpublished {
            Unpublished::Unroutable(_) => stays(format!("The queue {queue} is gone.")),
            Unpublished::Failed(failure) => failure.into(),
        })
    }

    async fn find(&self, name: &str) -> Result<(Channel, Delivery, usize), Problem> {
        let (channel, mut taken, _) = self.take(|letter| letter.name == name).await?;
        let at = taken.len().saturating_sub(1);
        match taken.pop() {
            Some(found) if read(&found, at).name == name => Ok((channel, found, at)),
            _ => {
                give_back(channel).await;
                Err(Problem::not_found("dead letter"))
            }
        }
    }

    /// Takes letters until one is the `last`, or there are no more, or too many.
    async fn take(&self, last: impl Fn(&Letter) -> bool) -> Result<(Channel, Vec<Delivery>, u64), Problem> {
        let channel = self.session.channel().await?;
        let queue = self.names.dead_letter_queue.as_str();
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = within(channel.queue_declare(queue.into(), passive, FieldTable::default())).await;
        let total = match declared {
            Ok(queue) => u64::from(queue.message_count()),
            // No bridge was ever here. The broker has closed the channel over the question.
            Err(_) if !channel.status().connected() => return Ok((channel, Vec::new(), 0)),
            Err(failure) => return Err(failure.into()),
        };
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < LOOKED_MAX && bytes < LOOKED_BYTES_MAX {
            let got = within(channel.basic_get(queue.into(), BasicGetOptions::default())).await?;
            let Some(got) = got else { break };
            bytes += got.delivery.data.len();
            taken.push(got.delivery);
            if taken.last().is_some_and(|delivery| last(&read(delivery, taken.len() - 1))) {
                break;
            }
        }
        Ok((channel, taken, total))
    }
}

/// What was taken and not acknowledged goes back with the channel.
async fn give_back(channel: Channel) {
    if let Err(failure) = within(channel.close(200, "OK".into())).await {
        tracing::debug!(%failure, "the channel was not closed in order");
    }
}

/// `at` is its place in the queue, which names it when nothing else does; it holds only until another one leaves.
fn read(delivery: &Delivery, at: usize) -> Letter {
    let properties = &delivery.properties;
    let text = || Value::from(String::from_utf8_lossy(&delivery.data).into_owned());
    let payload: Value = serde_json::from_slice(&delivery.data).unwrap_or_else(|_| text());
    let message_id = short(properties.message_id());
    let name = header(properties, LETTER)
        .or_else(|| Some(message_id.clone()).filter(|id| !id.is_empty()))
        .unwrap_or_else(|| format!("#{}", at + 1));
    Letter {
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
    let kind = short(properties.kind());
    let said = [Some(kind.as_str()), payload["pattern"].as_str()];
    let said = said.into_iter().flatten().find(|name| !name.is_empty()).map(str::to_owned);
    said.or_else(|| header(properties, ROUTING_KEY)).unwrap_or_else(|| routing_key.to_owned())
}

fn short(text: &Option<lapin::types::ShortString>) -> String {
    text.as_ref().map(|text| text.to_string()).unwrap_or_default()
}

impl From<Unpublished> for Problem {
    fn from(unpublished: Unpublished) -> Self {
        Failure::from(unpublished).into()
    }
}
