//! Handles a dead letter again when an operator requests it: the message is read from the stream `DLQ` and handled like a
//! delivery, and the result is the reply. The requester deletes the dead letter; see [`crate::dead_letter`].

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{DatabaseUp, Delivery, Ticket, Verdict, verdict_of};
use crate::dead_letter::{self, DLQ_CONSUMER, HANDLING_MAX, Replay, Replayed, replay_subject};
use crate::event::{CE_ID, CE_SOURCE, CE_TIME};
use crate::topology::DLQ_PREFIX;
use crate::{Bus, Context};

/// Delay between attempts to subscribe, which fail only when the connection is closed for good.
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);

/// Serves replay requests until `stop`, one after another: they come from a person.
pub async fn serve(
    bus: Bus,
    consumer: &'static str,
    database_up: DatabaseUp,
    stop: CancellationToken,
    handle: Arc<dyn Fn(Delivery) + Send + Sync>,
) {
    while !stop.is_cancelled() {
        let subscribed = bus.client.queue_subscribe(replay_subject(consumer), consumer.to_owned()).await;
        let mut requests = match subscribed {
            Ok(requests) => requests,
            Err(error) => {
                tracing::warn!(consumer, %error, "dead letters cannot be replayed");
                let again = tokio::time::sleep(SUBSCRIBE_AGAIN);
                tokio::select! { _ = stop.cancelled() => return, _ = again => continue }
            }
        };
        while let Some(request) =
            tokio::select! { _ = stop.cancelled() => return, next = requests.next() => next }
        {
            let Some(reply) = request.reply.clone() else { continue };
            let replayed = match serde_json::from_slice(&request.payload) {
                Ok(Replay { .. }) if !*database_up.borrow() => Replayed::Later("the database is down".into()),
                Ok(Replay { sequence }) => replay(&bus, consumer, sequence, &*handle).await,
                Err(error) => Replayed::Poison(format!("the request is unreadable: {error}")),
            };
            let answer = serde_json::to_vec(&replayed).expect("an enum of texts serializes");
            if let Err(error) = bus.client.publish(reply, answer.into()).await {
                tracing::warn!(consumer, %error, "the reply to a replay was not sent");
            }
        }
    }
}

async fn replay(
    bus: &Bus,
    consumer: &'static str,
    sequence: u64,
    handle: &(dyn Fn(Delivery) + Send + Sync),
) -> Replayed {
    let read = async { dead_letter::message(&dead_letter::stream(bus).await?, sequence).await };
    let message = match read.await {
        Ok(message) => message,
        Err(problem) => return Replayed::Later(problem.detail),
    };
    let header = |name: &str| message.headers.get(name).map(|value| value.as_str());
    if header(DLQ_CONSUMER) != Some(consumer) {
        return Replayed::Poison("it is another consumer's".into());
    }
    let Some(id) = header(CE_ID).filter(|id| !id.is_empty() && id.len() <= 200) else {
        return Replayed::Poison("the message has no ce-id".into());
    };
    metrics::counter!("dead_letters_replayed_total", "consumer" => consumer).increment(1);
    let delivery = Delivery {
        id: id.to_owned(),
        subject: message.subject.strip_prefix(DLQ_PREFIX).unwrap_or(&message.subject).to_owned(),
        payload: message.payload.clone(),
        context: Context::from_headers(Some(&message.headers)),
        source: header(CE_SOURCE).unwrap_or_default().to_owned(),
        time: header(CE_TIME).and_then(|time| serde_json::from_value(time.into()).ok()),
        attempt: 1,
        ticket: Ticket(None),
    };
    match verdict_of(handle, delivery).await {
        Some(Verdict::Done) => Replayed::Handled,
        Some(Verdict::Retry(why)) => Replayed::Later(why),
        Some(Verdict::Park(reason)) => Replayed::Poison(reason),
        None => Replayed::Later(format!(
            "it took more than {HANDLING_MAX:?}; check it before you replay it again"
        )),
    }
}
