//! Deletes from the store what no movie shows: replaced pictures, uploads that never ended, files of deleted movies.
//!
//! Invariant: a row is forgotten only after the store has confirmed that the file is gone. Any number of gateways may
//! sweep at once: deleting twice is the same as once.

use std::sync::Arc;
use std::time::Duration;

use bus::Context;
use bus::contract::Problem;
use bus::contract::media::{CONDEMNED_MAX, CondemnMedia, Condemned, ForgetMedia};
use bus::service::Ask;

use crate::house::House;

/// Sweeps until the gateway stops.
pub async fn sweep(house: Arc<House>, every: Duration) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = house.stop.cancelled() => return,
        }
        loop {
            match once(&house).await {
                Ok(CONDEMNED_MAX) => {}
                Ok(_) => break,
                Err(problem) => {
                    tracing::warn!(problem = problem.detail, "media not swept; again later");
                    break;
                }
            }
        }
    }
}

/// One sweep; how many files went.
async fn once(house: &House) -> Result<usize, Problem> {
    let ask = Ask::new(Context::new());
    let answer = house.ask(&CondemnMedia {}, &ask).await?;
    let condemned: Condemned = serde_json::from_slice(&answer).map_err(|error| {
        tracing::error!(%error, "unreadable answer");
        Problem::internal()
    })?;
    let mut ids = Vec::with_capacity(condemned.media.len());
    for media in &condemned.media {
        match house.media.store.remove(media).await {
            Ok(()) => ids.push(media.id),
            Err(failure) => drop(Problem::from(failure)),
        }
    }
    let gone = ids.len();
    if gone > 0 {
        house.ask(&ForgetMedia { ids }, &ask).await?;
        tracing::info!(gone, "files that no movie shows were deleted");
    }
    Ok(gone)
}
