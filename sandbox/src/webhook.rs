//! Sends webhooks, signed as by Stripe: at least once, started in the order of the events.
//! A webhook is sent after its event is in the log and repeated until a 2xx; it is given up after ten attempts, and the event
//! stays in `/v1/events`. The receiver has to handle reordering and repeats, which the switches cause in tests.

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::lock;
use crate::model::Event;
use crate::provider::{Delivery, Provider, unix_now};

const AT_ONCE_MAX: usize = 32;
const TRIES_MAX: u32 = 10;
/// Stripe waits hours; a developer waits seconds.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long `webhook_reorder` waits for a second webhook, and how long after it the first one is sent.
const SECOND_MAX: Duration = Duration::from_millis(500);
const AFTER_SECOND: Duration = Duration::from_millis(100);

/// `t=…,v1=…` over `"{t}.{body}"` (docs.stripe.com/webhooks/signature).
pub fn sign(secret: &str, at: i64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
    context.update(format!("{at}.").as_bytes());
    context.update(body);
    format!("t={at},v1={}", hex::encode(context.sign()))
}

/// The delay after a failed attempt; `None` after the last one.
fn retry_after(tries: u32) -> Option<Duration> {
    (tries < TRIES_MAX).then(|| FIRST_RETRY * 2_u32.pow(tries.saturating_sub(1)))
}

/// Sends the withheld webhooks, when `forced` also while the drop switch is on. Returns how many.
pub fn release(provider: &Provider, forced: bool) -> usize {
    let events = std::mem::take(&mut *lock(&provider.withheld));
    let count = events.len();
    for event in events {
        // Fails only during a stop; the event is in the log.
        let _ = provider.deliveries.send(Delivery { forced, ..Delivery::new(event) });
    }
    count
}

/// Starts the deliveries in order, until stopped.
pub async fn run(
    provider: Arc<Provider>,
    client: reqwest::Client,
    mut deliveries: mpsc::UnboundedReceiver<Delivery>,
) {
    let sender = Sender { provider, client, slots: Arc::new(Semaphore::new(AT_ONCE_MAX)) };
    while let Some(delivery) = deliveries.recv().await {
        if !sender.provider.switches.read(|switches| switches.webhook_reorder) {
            sender.start(delivery).await;
            continue;
        }
        if let Ok(Some(second)) = tokio::time::timeout(SECOND_MAX, deliveries.recv()).await {
            sender.start(second).await;
            tokio::time::sleep(AFTER_SECOND).await;
        }
        sender.start(delivery).await;
    }
}

#[derive(Clone)]
struct Sender {
    provider: Arc<Provider>,
    client: reqwest::Client,
    slots: Arc<Semaphore>,
}

impl Sender {
    async fn start(&self, delivery: Delivery) {
        let (dropped, delay_ms) =
            self.provider.switches.read(|switches| (switches.webhook_drop, switches.webhook_delay_ms));
        {
            // Locked before the address is read: `release` must not run between the two.
            let mut withheld = lock(&self.provider.withheld);
            let no_address = lock(&self.provider.webhook_url).is_none();
            if no_address || (dropped && !delivery.forced) {
                withheld.push(delivery.event);
                return;
            }
        }
        // Tokio's timer rounds up to a millisecond, which would limit it to 1,000 webhooks a second.
        if delay_ms > 0 {
            tokio::time::sleep_until(delivery.since + Duration::from_millis(delay_ms)).await;
        }
        let slot = self.slot().await;
        let (sender, stop) = (self.clone(), self.provider.stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled(sender.deliver(delivery.event, slot)).await });
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
            tracing::debug!(event = event.id, reason, tries, "a sandbox webhook was not accepted");
            tokio::time::sleep(pause).await;
            slot = Some(self.slot().await);
        }
        self.provider.settle(&event);
    }

    async fn send(&self, event: &Event) -> Result<(), String> {
        if self.provider.switches.read(|switches| switches.webhook_duplicate) {
            let (first, second) = tokio::join!(self.post(event), self.post(event));
            return first.and(second);
        }
        self.post(event).await
    }

    async fn post(&self, event: &Event) -> Result<(), String> {
        // Read again at each attempt: the gateway's address may have changed.
        let url = lock(&self.provider.webhook_url).clone().ok_or("no webhook URL")?;
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
