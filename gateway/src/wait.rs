//! `?wait=`: a reservation is returned as soon as it has changed, at the latest after so many seconds.
//!
//! Invariant: the subscription to change notices precedes the first read, so no change is missed in between, and the
//! reservation is read once more when the time is up, so a lost notice costs time but never gives a wrong answer.

use std::sync::Arc;
use std::time::Duration;

use bus::contract::Problem;
use bus::contract::reservation::{GetReservation, ReservationStatus, changed_subject};
use bus::service::Ask;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::hosts::Hosts;

/// The longest wait of the contract, in seconds: below the idle time-outs of browsers and proxies.
pub const SECONDS_MAX: u32 = 30;

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// A status other than PENDING.
    Settled,
    /// A version above this.
    After(i64),
}

impl Until {
    /// Whether a reservation, or a notice of its change, fulfils this. Both have version and status.
    fn is_reached(self, json: &[u8]) -> bool {
        #[derive(serde::Deserialize)]
        struct Change {
            version: i64,
            status: ReservationStatus,
        }
        serde_json::from_slice(json).is_ok_and(|change: Change| match self {
            Self::Settled => change.status != ReservationStatus::Pending,
            Self::After(version) => change.version > version,
        })
    }
}

/// The reservation's JSON once `until` is reached, or as it is after `duration` or when `stop` is cancelled.
pub async fn wait(
    hosts: &Arc<dyn Hosts>,
    ask: &Ask,
    request: GetReservation,
    until: Until,
    duration: Duration,
    stop: &CancellationToken,
) -> Result<Bytes, Problem> {
    let deadline = Instant::now() + duration;
    let mut ask = Ask { ordered: true, ..ask.clone() };
    let mut reconnects = hosts.reconnects();
    let mut notices = hosts.subscribe(changed_subject(request.id)).await?;
    loop {
        let json = hosts.request(&request, &ask).await?;
        if until.is_reached(&json) || Instant::now() >= deadline {
            return Ok(json);
        }
        tokio::select! {
            _ = notice(&mut notices, until) => ask.ordered = false,
            // A notice may have been missed while NATS was not connected.
            Ok(()) = reconnects.changed() => ask.ordered = true,
            _ = tokio::time::sleep_until(deadline) => {}
            _ = stop.cancelled() => return Ok(json),
        }
    }
}

/// Returns with the first notice that reaches `until`.
async fn notice(notices: &mut BoxStream<'static, Bytes>, until: Until) {
    while let Some(notice) = notices.next().await {
        if until.is_reached(&notice) {
            return;
        }
    }
    // The subscription ended, as it does when the client is shut down: the deadline ends the wait.
    std::future::pending::<()>().await;
}
