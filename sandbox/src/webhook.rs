//! Tells the endpoint what happened: Stripe's signed webhooks, at least once, started in order.
//! An event comes here after its line is written, stays here until a 2xx, and is given up after ten tries; it
//! stays in `/v1/events` then. What the endpoint makes of order and repeats is its own affair: the switches see
//! to it that tests ask.

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::held;
use crate::model::Event;
use crate::provider::{Provider, unix_now};

const AT_ONCE_MAX: usize = 32;
const TRIES_MAX: u32 = 10;
/// Stripe waits hours; a developer waits seconds.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long `webhook_reorder` waits for a partner, and how far behind it the first one then goes.
const PARTNER_WAIT: Duration = Duration::from_millis(500);
const BEHIND_PARTNER: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Parcel {
    pub event: Arc<Event>,
    /// Sent even while webhooks are dropped.
    pub forced: bool,
    pub since: Instant,
}

impl Parcel {
    pub fn new(event: Arc<Event>) -> Self {
        Self { event, forced: false, since: Instant::now() }
    }
}

/// `t=…,v1=…` over `"{t}.{body}"` (docs.stripe.com/webhooks/signature).
pub fn sign(secret: &str, at: i64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
    context.update(format!("{at}.").as_bytes());
    context.update(body);
    format!("t={at},v1={}", hex::encode(context.sign()))
}

/// How long to wait after a failed try, or that it was the last one.
fn retry_after(tries: u32) -> Option<Duration> {
    (tries < TRIES_MAX).then(|| FIRST_RETRY * 2_u32.pow(tries.saturating_sub(1)))
}

/// Sends what was held back: all of it now, whatever the drop switch says, when forced. Answers how many.
pub fn release(provider: &Provider, forced: bool) -> usize {
    let events = std::mem::take(&mut *held(&provider.held_back));
    let count = events.len();
    for event in events {
        // Fails only while stopping; the log still knows the event.
        let _ = provider.outbox.send(Parcel { forced, ..Parcel::new(event) });
    }
    count
}

/// Starts a delivery for each parcel, in order, until stopped.
pub async fn run(
    provider: Arc<Provider>,
    client: reqwest::Client,
    mut outbox: mpsc::UnboundedReceiver<Parcel>,
) {
    let courier = Courier { provider, client, slots: Arc::new(Semaphore::new(AT_ONCE_MAX)) };
    while let Some(parcel) = outbox.recv().await {
        if !courier.provider.panel.look(|switches| switches.webhook_reorder) {
            courier.start(parcel).await;
            continue;
        }
        if let Ok(Some(partner)) = tokio::time::timeout(PARTNER_WAIT, outbox.recv()).await {
            courier.start(partner).await;
            tokio::time::sleep(BEHIND_PARTNER).await;
        }
        courier.start(parcel).await;
    }
}

#[derive(Clone)]
struct Courier {
    provider: Arc<Provider>,
    client: reqwest::Client,
    slots: Arc<Semaphore>,
}

impl Courier {
    async fn start(&self, parcel: Parcel) {
        let (dropped, delay_ms) =
            self.provider.panel.look(|switches| (switches.webhook_drop, switches.webhook_delay_ms));
        {
            // Locked before the look: an address that comes in between must not release without this parcel.
            let mut held_back = held(&self.provider.held_back);
            let nowhere = held(&self.provider.webhook_url).is_none();
            if nowhere || (dropped && !parcel.forced) {
                held_back.push(parcel.event);
                return;
            }
        }
        // Tokio's timer rounds up to a millisecond, which would be 1,000 webhooks a second at most.
        if delay_ms > 0 {
            tokio::time::sleep_until(parcel.since + Duration::from_millis(delay_ms)).await;
        }
        let slot = self.slot().await;
        let (courier, stop) = (self.clone(), self.provider.stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled(courier.deliver(parcel.event, slot)).await });
    }

    async fn deliver(&self, event: Arc<Event>, slot: OwnedSemaphorePermit) {
        let mut slot = Some(slot);
        for tries in 1.. {
            let sent = self.send(&event).await;
            drop(slot.take());
            let Err(reason) = sent else { break };
            let Some(pause) = retry_after(tries) else {
                tracing::warn!(event = event.id, reason, tries, "a sandbox webhook is given up");
                break;
            };
            tracing::debug!(event = event.id, reason, tries, "a sandbox webhook was not taken");
            tokio::time::sleep(pause).await;
            slot = Some(self.slot().await);
        }
        self.provider.settle(&event);
    }

    async fn send(&self, event: &Event) -> Result<(), String> {
        if self.provider.panel.look(|switches| switches.webhook_duplicate) {
            let (first, second) = tokio::join!(self.post(event), self.post(event));
            return first.and(second);
        }
        self.post(event).await
    }

    async fn post(&self, event: &Event) -> Result<(), String> {
        // Read anew at each try: the gateway may have moved.
        let url = held(&self.provider.webhook_url).clone().ok_or("no webhook URL")?;
        let body = serde_json::to_vec(&event.show(&self.provider.public_url, 1))
            .map_err(|error| error.to_string())?;
        let signature = sign(&self.provider.webhook_secret, unix_now(), &body);
        let request = self.client.post(url).timeout(TIMEOUT).body(body);
        let request = request.header("content-type", "application/json; charset=utf-8");
        let answer =
            request.header("stripe-signature", signature).send().await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("status {}", answer.status())) }
    }

    async fn slot(&self) -> OwnedSemaphorePermit {
        self.slots.clone().acquire_owned().await.expect("the semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_grow_and_end() {
        let waits: Vec<_> = (1..=10).map(|tries| retry_after(tries).map(|wait| wait.as_millis())).collect();
        assert_eq!(waits[..4], [Some(500), Some(1000), Some(2000), Some(4000)]);
        assert_eq!(waits[9], None);
    }
}
