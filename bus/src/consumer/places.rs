//! How many messages of a consumer one host works on at a time, and how many of those may be retries.
//!
//! JetStream counts a message that waits for its next delivery (`nak` with a delay) as unacknowledged. So the consumer's
//! `max_ack_pending` is much more than what a host works on, and the work is bounded here.
//! Invariant: retries take at most a quarter of the places, so that messages which keep failing, or hang until they fail, do not
//! hold up new ones. A retry without a place waits here; to return it would count as another delivery, and park it sooner.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, AckKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::topology::ACK_WAIT;

/// Enough to fill group commits, few enough to bound the memory of a host.
const PLACES: usize = 2_048;
const RETRIES_MAX: usize = PLACES / 4;
/// How often JetStream is notified that a waiting retry is in progress: three times within the ack wait.
const PROGRESS_EVERY: Duration = ACK_WAIT.checked_div(3).expect("three is not zero");

/// A place, until it is dropped.
pub(super) type Place = OwnedSemaphorePermit;

/// The places of one consumer in one host.
#[derive(Clone)]
pub(super) struct Places {
    new: Arc<Semaphore>,
    retries: Arc<Semaphore>,
}

impl Places {
    pub fn new() -> Self {
        Self::of(PLACES - RETRIES_MAX, RETRIES_MAX)
    }

    fn of(new: usize, retries: usize) -> Self {
        Self { new: Arc::new(Semaphore::new(new)), retries: Arc::new(Semaphore::new(retries)) }
    }

    /// Waits for a place for a message that is delivered for the first time.
    pub async fn for_new(&self) -> Place {
        self.new.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// A place for a retry, if one is free.
    pub fn for_retry(&self) -> Option<Place> {
        self.retries.clone().try_acquire_owned().ok()
    }

    /// Waits for a place for a retry, and keeps the server from delivering it once more; `None` if `stop` comes first.
    pub async fn until_retry(&self, message: &jetstream::Message, stop: &CancellationToken) -> Option<Place> {
        let mut place = std::pin::pin!(self.retries.clone().acquire_owned());
        loop {
            tokio::select! {
                _ = stop.cancelled() => return None,
                place = &mut place => return place.ok(),
                _ = tokio::time::sleep(PROGRESS_EVERY) => {
                    if let Err(error) = message.ack_with(AckKind::Progress).await {
                        tracing::info!(%error, "a waiting retry is not kept; it will be delivered once more");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn retries_leave_places_for_new_messages() {
        let places = Places::of(3, 1);
        let retry = places.for_retry();
        assert!(retry.is_some() && places.for_retry().is_none());
        let new = [places.for_new().await, places.for_new().await];
        drop(retry);
        assert!(places.for_retry().is_some());
        drop(new);
    }
}
