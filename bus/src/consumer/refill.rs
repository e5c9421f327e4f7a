//! Delivers archived events to a consumer, straight to its handler: the stream has discarded them before they were handled.
//!
//! Invariant: each event is handled or parked before the next page is requested. Some may have been handled before, which
//! handlers of events tolerate.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::parking::store_dead_letter;
use super::{DatabaseUp, Delivery, Ticket, Verdict, verdict_of};
use crate::archive::{self, ArchivedEvent, PageRequest};
use crate::dead_letter::HANDLING_MAX;
use crate::{Bus, Failure, retry};

/// Events that are handled at a time: the consumer's other events keep most of the journal.
const AT_ONCE: usize = 32;
/// Between two pages, so that what happens now goes first.
const PAGE_EVERY: Duration = Duration::from_millis(100);

/// One consumer, and how its events are handled.
pub struct Refill {
    pub bus: Bus,
    pub consumer: &'static str,
    pub database_up: DatabaseUp,
    pub handle: Arc<dyn Fn(Delivery) + Send + Sync>,
}

impl Refill {
    /// Delivers what a domain published in a time and this consumer handles; returns how many events there were. Waits for
    /// a host of that domain as long as it takes. An error only when `stop` comes first.
    pub async fn run(
        &self,
        domain: &str,
        mut request: PageRequest,
        stop: &CancellationToken,
    ) -> Result<u64, Failure> {
        let mut delivered = 0;
        loop {
            let page = self.page(domain, &request, stop).await?;
            let mut handling = futures::stream::iter(page.events)
                .map(|event| self.deliver(event, stop))
                .buffer_unordered(AT_ONCE);
            while let Some(done) = handling.next().await {
                done?;
                delivered += 1;
                metrics::counter!("events_refilled_total", "consumer" => self.consumer).increment(1);
            }
            let Some(next) = page.next else { return Ok(delivered) };
            request.from = Some(next);
            pause(PAGE_EVERY, stop).await?;
        }
    }

    async fn page(
        &self,
        domain: &str,
        request: &PageRequest,
        stop: &CancellationToken,
    ) -> Result<archive::Page, Failure> {
        let mut tries = 0;
        loop {
            match archive::request(&self.bus, domain, self.consumer, request).await {
                Ok(page) => return Ok(page),
                Err(failure) => {
                    if tries == 0 {
                        tracing::warn!(consumer = self.consumer, domain, %failure, "no page of the archive; trying on");
                    }
                    tries += 1;
                    pause(retry::delay(tries, tries), stop).await?;
                }
            }
        }
    }

    /// Has the event handled, again after a transient failure, and parks it where a message of the stream would be parked.
    async fn deliver(&self, event: ArchivedEvent, stop: &CancellationToken) -> Result<(), Failure> {
        let mut database_up = self.database_up.clone();
        let mut attempt = 0;
        let reason = loop {
            tokio::select! {
                _ = stop.cancelled() => return Err(stopped()),
                up = database_up.wait_for(|database_up| *database_up) => {
                    if up.is_err() {
                        return Err(stopped());
                    }
                }
            }
            attempt += 1;
            match self.handle(&event, attempt).await {
                Verdict::Done => return Ok(()),
                Verdict::Park(reason) => break reason,
                // An outage is not the event's fault.
                Verdict::Retry(_) if !*database_up.borrow() => attempt = 0,
                Verdict::Retry(why) if attempt >= retry::DELIVERIES_MAX => {
                    break format!("delivered {attempt} times, at last: {why}");
                }
                Verdict::Retry(why) => {
                    tracing::info!(consumer = self.consumer, id = %event.id, attempt, why, "handled again later");
                    pause(retry::delay(attempt, event.time.unix_micros().cast_unsigned()), stop).await?;
                }
            }
        };
        self.park(&event, &reason, attempt, stop).await
    }

    async fn handle(&self, event: &ArchivedEvent, attempt: u64) -> Verdict {
        let delivery = Delivery {
            id: event.id.to_string(),
            subject: event.subject.clone(),
            payload: event.payload(),
            context: event.context.clone(),
            source: event.source.clone(),
            time: Some(event.time),
            attempt,
            ticket: Ticket(None),
        };
        let verdict = verdict_of(&*self.handle, delivery).await;
        verdict.unwrap_or_else(|| Verdict::Retry(format!("not settled within {HANDLING_MAX:?}")))
    }

    async fn park(
        &self,
        event: &ArchivedEvent,
        reason: &str,
        attempts: u64,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut tries = 0;
        loop {
            let mut headers = event.headers();
            let id = format!("{}/{}/archive", self.consumer, event.id);
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
            let why = (reason, attempts);
            let stored =
                store_dead_letter(&self.bus, self.consumer, &event.subject, headers, event.payload(), why)
                    .await;
            let Err(error) = stored else { return Ok(()) };
            tracing::error!(consumer = self.consumer, error, "dead letter not stored; again later");
            tries += 1;
            pause(retry::delay(tries, tries), stop).await?;
        }
    }
}

async fn pause(duration: Duration, stop: &CancellationToken) -> Result<(), Failure> {
    tokio::select! {
        _ = stop.cancelled() => Err(stopped()),
        _ = tokio::time::sleep(duration) => Ok(()),
    }
}

fn stopped() -> Failure {
    Failure::transient("the host stops")
}
