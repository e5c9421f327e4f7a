//! The decision about a dead letter: retry or park. A pure function of its properties and the settings.

use std::time::Duration;

use lapin::BasicProperties;

use crate::names::REJECTED;
use crate::properties::{self, ATTEMPT, death, header};
use crate::{Names, Settings};

/// Longest name of a queue that is retried: its retry queue is `<name>.retry.86400`, and RabbitMQ's limit is 255 bytes.
const QUEUE_NAME_MAX: usize = 230;

/// What is done with a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Returned to its queue after a delay; `attempt` counts the retries.
    Retry { queue: String, routing_key: String, attempt: u32, delay: Duration },
    /// Moved to the final dead letter queue, with the queue that it came from if that is known.
    Park { queue: Option<String>, routing_key: String, reason: String },
}

/// Decides about a dead letter that was received under `routing_key`.
pub(super) fn decide(
    properties: &BasicProperties,
    routing_key: &str,
    settings: &Settings,
    names: &Names,
) -> Decision {
    let park = |queue: Option<&str>, routing_key: &str, reason: String| Decision::Park {
        queue: queue.map(str::to_owned),
        routing_key: routing_key.to_owned(),
        reason,
    };
    let attempts: u32 = header(properties, ATTEMPT).and_then(|n| n.parse().ok()).unwrap_or(0);
    let Some(death) = death(properties) else {
        if routing_key == REJECTED {
            let reason = header(properties, properties::REASON).unwrap_or_else(|| "rejected".into());
            return park(Some(&names.private_inbox), routing_key, reason);
        }
        return park(None, routing_key, "published to the dead letter exchange, from no queue".into());
    };
    let key = death.routing_key.as_deref().unwrap_or(routing_key);
    // It waited in a retry queue, and the queue that it was to return to no longer exists.
    if let Some(queue) = retried_queue(&death.queue) {
        return park(Some(queue), key, format!("the queue {queue} is gone"));
    }
    let queue = death.queue.as_str();
    let is_own = [&names.dead, &names.dead_letter_queue].iter().any(|own| *own == queue);
    if is_own || queue.len() > QUEUE_NAME_MAX {
        return park(None, key, format!("from {queue}, to which nothing is returned"));
    }
    match death.reason.as_str() {
        "rejected" | "delivery_limit" => {}
        // Returned, it would expire again, or displace another message.
        other => return park(Some(queue), key, format!("{other} in {queue}")),
    }
    if attempts >= settings.retries_max {
        return park(Some(queue), key, format!("{queue} refused it {} times", attempts + 1));
    }
    let delays = &settings.retry_delays;
    let Some(delay) = delays.get(attempts as usize).or(delays.last()) else {
        return park(Some(queue), key, "AMQP_RETRY_DELAYS is empty".into());
    };
    let (queue, routing_key) = (queue.to_owned(), key.to_owned());
    Decision::Retry { queue, routing_key, attempt: attempts + 1, delay: *delay }
}

/// The queue to which a retry queue of the bridge returns its messages.
pub(super) fn retried_queue(queue: &str) -> Option<&str> {
    let (of, delay) = queue.rsplit_once(".retry.")?;
    (!of.is_empty() && delay.bytes().all(|b| b.is_ascii_digit())).then_some(of)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
