//! Reads the provider's list of events for webhooks that never arrived, so that an endpoint that was down costs no customer a
//! ticket.
//!
//! Invariant: an event found here is applied exactly as its webhook would be, and once: both have the provider's event id.
//! Invariant: one host reads at a time, and the cursor moves only over committed events; an interrupted run is continued where
//! it stopped. Payments that wait too long are checked one by one, by their deadlines.

use std::time::Duration;

use bus::{Failure, Problem};
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use super::provider::{Answer, ListedEvent, objects};
use super::store::{self, Advance, Cursor, Pass, Rows};
use super::{Env, endpoints, periodic};
use crate::delivery::{Change, Outcome, read_failure};

/// Read again each time: the clocks of provider and database differ, and an event is listed a moment after it is made.
const OVERLAP_SECONDS: i64 = 120;
/// Between two pages, so that a long list leaves the provider's rate limit (25 a second in test mode) to payments.
const PAGE_PAUSE: Duration = Duration::from_millis(50);
/// Pages of one run, 20,000 events: the next run reads the rest.
const PAGES_MAX: usize = 200;
/// Missing events that are applied at once.
const AT_ONCE_MAX: usize = 16;

/// Runs until `stop`: at the start and every `every`, if no other host did.
pub async fn run(env: Env, every: Duration, stop: CancellationToken) -> anyhow::Result<()> {
    periodic::repeat(every, &stop, "the provider's events were not read", || read_pages(&env, every)).await;
    Ok(())
}

/// One run: as many pages as it may take, each applied before the cursor moves.
async fn read_pages(env: &Env, every: Duration) -> Result<(), Failure> {
    let Some((mut version, mut cursor)) = store::due_cursor(&env.pool).await.map_err(read_failure)? else {
        return Ok(());
    };
    let pass = cursor.pass.take();
    let mut pass = pass.unwrap_or_else(|| Pass { began: env.clock.now().unix_seconds(), after: None });
    for page in 0..PAGES_MAX {
        cursor.pass = Some(pass.clone());
        if !advance(env, &mut version, &cursor, every).await? {
            return Ok(());
        }
        if page > 0 {
            tokio::time::sleep(PAGE_PAUSE).await;
        }
        let listed = env.provider.events(cursor.since - OVERLAP_SECONDS, pass.after.as_deref()).await;
        let (events, has_more) = match listed {
            Answer::Done(listed) => (listed.events, listed.has_more),
            // The provider has deleted the event to go on after, a month after it was made.
            Answer::NoSuchObject | Answer::Refused { .. } if pass.after.is_some() => {
                tracing::warn!(
                    "the provider no longer lists the last event that was read; reading from the beginning"
                );
                pass.after = None;
                continue;
            }
            Answer::NoSuchObject => return Err(Failure::transient("no list of events")),
            Answer::Refused { code, status } => return Err(Failure::transient(format!("{status} {code}"))),
            Answer::Unknown(why) => return Err(Failure::transient(why)),
        };
        let last = events.last().map(|event| event.id.clone());
        apply(env, events).await?;
        match last.filter(|_| has_more) {
            Some(last) => pass.after = Some(last),
            None => {
                let read = Cursor { since: pass.began, pass: None };
                advance(env, &mut version, &read, every).await?;
                return Ok(());
            }
        }
    }
    cursor.pass = Some(pass);
    advance(env, &mut version, &cursor, every).await?;
    Ok(())
}

/// Moves the cursor; false when another host did.
async fn advance(env: &Env, version: &mut i64, cursor: &Cursor, pause: Duration) -> Result<bool, Failure> {
    let advance = Advance { expected: *version, cursor: cursor.clone(), pause };
    let change = Change::new(Rows::Cursor(advance));
    match env.journal.commit(change).await {
        Outcome::Committed { .. } => {
            *version += 1;
            Ok(true)
        }
        Outcome::Failed(failure) => Err(failure),
        Outcome::Stale | Outcome::Repeated(_) => Ok(false),
        Outcome::Rejected(rejection) => Err(Failure::poison(format!("a cursor was refused: {rejection:?}"))),
    }
}

/// Applies the events that are not stored yet.
async fn apply(env: &Env, events: Vec<ListedEvent>) -> Result<(), Failure> {
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    let stored = store::known_events(&env.pool, &ids).await.map_err(read_failure)?;
    let missing = events.into_iter().filter(|event| !stored.contains(&event.id));
    let applied = futures::stream::iter(missing).map(|event| apply_one(env, event));
    applied.buffer_unordered(AT_ONCE_MAX).try_collect::<Vec<()>>().await?;
    Ok(())
}

async fn apply_one(env: &Env, event: ListedEvent) -> Result<(), Failure> {
    let applied = match objects::parse(event.body.as_bytes()) {
        Ok(parsed) => endpoints::apply(env, parsed, event.body).await,
        Err(rejection) => Err(rejection.into()),
    };
    match applied {
        Ok(()) => {
            metrics::counter!("payment_events_recovered_total").increment(1);
            tracing::info!(event = event.id, "a webhook that had not come was read from the provider's list");
            Ok(())
        }
        Err(Problem { status: 503, detail, .. }) => Err(Failure::transient(detail)),
        // It would fail again for ever and delay all others.
        Err(problem) => {
            tracing::error!(
                event = event.id,
                detail = problem.detail,
                "an event of the provider cannot be applied"
            );
            Ok(())
        }
    }
}
