//! Marks how mails ended: those of a short time together, in one statement.
//!
//! Invariant: a mail that was sent is marked, or sent again under the same `Message-ID`: while the database is away the
//! marks are kept and tried again until the claims have run out.

use std::sync::Arc;
use std::time::Duration;

use bus::retry;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::store::{self, Mark};
use super::{Env, GATHER, erasure};

/// Marks of one statement.
const MARKS_MAX: usize = 512;
/// A database that hangs does not close the connection.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Tries after the host was asked to stop.
const TRIES_AT_STOP: u64 = 2;

/// Runs until every sender of `ended` is dropped and all marks are written or given up.
pub async fn run(env: Arc<Env>, mut ended: mpsc::UnboundedReceiver<Mark>, stop: CancellationToken) {
    let mut marks = Vec::new();
    while ended.recv_many(&mut marks, MARKS_MAX).await > 0 {
        let until = Instant::now() + GATHER;
        while marks.len() < MARKS_MAX
            && let Ok(Some(mark)) = timeout_at(until, ended.recv()).await
        {
            marks.push(mark);
        }
        write(&env, &marks, &stop).await;
        marks.clear();
    }
}

async fn write(env: &Env, marks: &[Mark], stop: &CancellationToken) {
    let give_up = Instant::now() + env.settings.claim;
    for tries in 1u64.. {
        let error = match timeout(ANSWER_MAX, store::mark(&env.pool, marks)).await {
            Ok(Ok(marked)) => {
                let lost = marks.iter().map(|mark| mark.id).filter(|id| !marked.contains(id));
                let lost: Vec<Uuid> = lost.collect();
                if !lost.is_empty() {
                    // Or an earlier try was written and its answer lost.
                    let lost_count = lost.len();
                    tracing::warn!(
                        lost = lost_count,
                        "mails not marked: their claim had run out, another host has them, or they were erased"
                    );
                    if let Err(failure) = erasure::remove_sent_late(env, &lost).await {
                        tracing::warn!(%failure, "files of erased mails may be left");
                    }
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if Instant::now() >= give_up || (stop.is_cancelled() && tries >= TRIES_AT_STOP) {
            let mails = marks.len();
            tracing::warn!(mails, error, "mails not marked; they are sent again with the same Message-ID");
            return;
        }
        tokio::time::sleep(retry::delay(tries.min(4), tries)).await;
    }
}
