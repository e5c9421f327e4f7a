//! What the bridge's exchanges and queues are called: one rule, derived from the settings, so that an operator who knows the
//! main exchange's name finds everything.

use std::time::Duration;

use crate::Settings;

/// Names on RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Topic exchange with Nest's envelopes.
    pub exchange: String,
    /// Topic exchange with bare data, where it is wanted.
    pub raw_exchange: Option<String>,
    /// The bridge's private queue: what services publish to the exchanges.
    pub private_inbox: String,
    /// The queue that a Nest client of the default exchange names as its own.
    pub inbox: String,
    /// Topic exchange for dead letters of service queues and of the bridge.
    pub dead_letter_exchange: String,
    /// The queue behind it, from which the bridge tries again.
    pub dead: String,
    /// Where a message ends that failed for good, for a person to look at.
    pub dead_letter_queue: String,
}

/// The routing key of what inbound refused.
pub const REJECTED: &str = "bridge.rejected";

impl Names {
    pub fn new(settings: &Settings) -> Self {
        let exchange = &settings.exchange;
        Self {
            exchange: exchange.clone(),
            raw_exchange: settings.raw_exchange.clone(),
            private_inbox: format!("{exchange}.bridge"),
            inbox: settings.inbox_queue.clone(),
            dead_letter_exchange: format!("{exchange}.dlx"),
            dead: format!("{exchange}.dead"),
            dead_letter_queue: format!("{exchange}.dlq"),
        }
    }
}

/// Exchange and queue in which a queue's message waits so long before it comes back. The delay is in the name because a
/// queue that is there with another time-to-live is a 406.
pub fn retry(queue: &str, delay: Duration) -> String {
    format!("{queue}.retry.{}", delay.as_secs())
}

/// The exchange that leads back to one queue and to no other.
pub fn requeue(queue: &str) -> String {
    format!("{queue}.requeue")
}
