//! Outbound: follows the stream for one target, an exchange, and publishes every event there with confirms.
//!
//! Invariant: JetStream is acknowledged only after RabbitMQ's confirm, and first copies of events are published in stream
//! order. `bus::consumer` is not used: it returns a failed event with a delay that grows with that event's own attempts,
//! so the order would be lost with the first outage, and it parks what was delivered often. Here unconfirmed events are
//! kept over an outage of RabbitMQ, JetStream is notified that they are in progress, and nothing more is pulled, so memory is
//! bounded. After an outage of NATS, or a restart of this process, the first pull waits until unacknowledged events are
//! due for redelivery, so that they come first.

mod forwarder;
mod message;
mod pending;
mod publisher;
mod replay;

use std::time::Duration;

use bus::{Bus, Failure, retry};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::{Session, Settings};
use forwarder::Forwarder;

/// How long a stop waits for confirms.
const FINISH_MAX: Duration = Duration::from_secs(2);

/// An exchange that receives every event.
#[derive(Debug, Clone)]
pub struct Target {
    /// The durable consumer that stores the position in the stream; also the target's name in metrics.
    pub consumer: &'static str,
    pub exchange: String,
    /// Whether bodies are in Nest's envelope or bare data.
    pub in_envelope: bool,
}

impl Target {
    pub fn all(settings: &Settings) -> Vec<Self> {
        if settings.outbound.is_empty() {
            return Vec::new();
        }
        let nest = Self { consumer: "bridge-nest", exchange: settings.exchange.clone(), in_envelope: true };
        let raw = settings.raw_exchange.clone();
        let raw = raw.map(|exchange| Self { consumer: "bridge-raw", exchange, in_envelope: false });
        std::iter::once(nest).chain(raw).collect()
    }
}

/// Runs until `stop`, through every outage of either side.
pub async fn run(bus: Bus, session: Session, target: Target, stop: CancellationToken) -> Result<(), Failure> {
    let replaying = replay::serve(bus.clone(), session.clone(), target.clone(), stop.clone());
    let replaying = AbortOnDropHandle::new(tokio::spawn(replaying));
    let name = target.consumer;
    let mut forwarder = Forwarder::new(bus, session, target);
    let mut failures = 0u64;
    while !stop.is_cancelled() {
        match forwarder.run(&stop).await {
            Ok(()) => failures = 0,
            Err(failure) => {
                failures += 1;
                tracing::warn!(target = name, %failure, "outbound interrupted");
                tokio::select! {
                    _ = stop.cancelled() => {}
                    _ = tokio::time::sleep(retry::delay(failures.min(5), failures)) => {}
                }
            }
        }
    }
    // A dead letter that is being replayed is settled; otherwise the operator's request times out.
    let _ = tokio::time::timeout(FINISH_MAX, replaying).await;
    Ok(())
}
