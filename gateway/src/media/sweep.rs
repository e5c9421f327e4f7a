//! Deletes files that no movie has: replaced pictures, uploads that never ended, files of deleted movies.
//!
//! Invariant: the row of a file is deleted only after the store has confirmed that the file is deleted. Any number of
//! gateways may sweep at once: deleting twice is the same as once.

use std::sync::Arc;
use std::time::Duration;

use bus::Context;
use bus::contract::Problem;
use bus::contract::media::{CONDEMNED_MAX, CondemnMedia, Condemned, ForgetMedia};
use bus::service::Ask;
use tokio_util::sync::CancellationToken;

use super::Uploads;

/// Sweeps until `stop` is cancelled.
pub async fn sweep(uploads: Arc<Uploads>, interval: Duration, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.cancelled() => return,
        }
        loop {
            match sweep_once(&uploads).await {
                Ok(CONDEMNED_MAX) => {}
                Ok(_) => break,
                Err(problem) => {
                    tracing::warn!(problem = problem.detail, "media not swept; the next sweep tries again");
                    break;
                }
            }
        }
    }
}

/// Returns the number of deleted files.
async fn sweep_once(uploads: &Uploads) -> Result<usize, Problem> {
    let ask = Ask::new(Context::new());
    let answer = uploads.hosts.request(&CondemnMedia {}, &ask).await?;
    let condemned: Condemned = serde_json::from_slice(&answer).map_err(|error| {
        tracing::error!(%error, "the answer to a CondemnMedia request is not readable");
        Problem::internal()
    })?;
    let mut ids = Vec::with_capacity(condemned.media.len());
    for media in &condemned.media {
        match uploads.store.remove(media).await {
            Ok(()) => ids.push(media.id),
            // The conversion logs the failure; the next sweep tries again.
            Err(failure) => drop(Problem::from(failure)),
        }
    }
    let deleted = ids.len();
    if deleted > 0 {
        uploads.hosts.request(&ForgetMedia { ids }, &ask).await?;
        tracing::info!(deleted, "files that no movie has were deleted");
    }
    Ok(deleted)
}
