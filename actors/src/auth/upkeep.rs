//! Background work of auth: it deletes expired rows and guests without orders, removes old addresses from the audit, erases guests
//! after their shows, and repeats notices of revocations that may have been lost.

use std::sync::Arc;
use std::time::Duration;

use bus::contract::auth::{EndedSession, revoked_subject};
use bus::contract::reservation::ListGuestsWithOrders;
use bus::service::Ask;
use bus::{Context, Failure};
use tokio_util::sync::CancellationToken;

use super::Env;
use super::erasure::unanswered;
use super::store::{Act, Written, access, audit, guest};
use crate::delivery::{Change, Outcome, read_failure};
use crate::periodic::{self, Pace};

/// Before work that failed is done again: a host or database that restarts is back within seconds.
const AGAIN: Duration = Duration::from_secs(5);
const ERASED: Pace = Pace { every: periodic::RETENTION_EVERY, again: AGAIN };
const GUESTS_CHECKED: Pace = Pace { every: Duration::from_secs(10 * 60), again: AGAIN };
const EXPIRED_EVERY: Duration = Duration::from_secs(60 * 60);

/// Deletes expired tokens, logins and links.
pub async fn delete_expired(env: Arc<Env>, stop: CancellationToken) -> anyhow::Result<()> {
    periodic::repeat(EXPIRED_EVERY, &stop, "expired logins were not deleted", || async {
        // In pieces, so that logins are written in between.
        while let Outcome::Committed { written: Written::Deleted(rows @ 1..), .. } =
            env.journal.commit(Change::new(Act::DeleteExpired.into())).await
        {
            tracing::info!(rows, "deleted expired logins and links");
        }
        Ok(())
    })
    .await;
    Ok(())
}

/// Removes what has reached its term: addresses of old audit records, dead letters about erased users, and guests whose last
/// show is as long ago as `keep`.
pub async fn erase(env: Arc<Env>, keep: Option<Duration>, stop: CancellationToken) -> anyhow::Result<()> {
    periodic::repeat(ERASED, &stop, "old personal data were not removed", || remove(&env, keep)).await;
    Ok(())
}

async fn remove(env: &Env, keep: Option<Duration>) -> Result<(), Failure> {
    while audit::blank_addresses(&env.pool).await.map_err(read_failure)? > 0 {}
    env.delete_late_dead_letters().await?;
    match keep {
        Some(keep) => env.erase_past_guests(keep).await,
        None => Ok(()),
    }
}

/// Deletes guests that have no order a day after they were made.
pub async fn delete_guests(env: Arc<Env>, stop: CancellationToken) -> anyhow::Result<()> {
    periodic::repeat(GUESTS_CHECKED, &stop, "guests without orders were not deleted", || check_guests(&env))
        .await;
    Ok(())
}

/// Asks reservation, which knows the orders, and deletes the guests without any.
async fn check_guests(env: &Env) -> Result<(), Failure> {
    loop {
        let checked = guest::to_check(&env.pool).await.map_err(read_failure)?;
        if checked.is_empty() {
            return Ok(());
        }
        let request = ListGuestsWithOrders { user_ids: checked.clone() };
        let kept = env.bus.ask(&request, &Ask::new(Context::new())).await.map_err(unanswered)?.user_ids;
        match env.journal.commit(Change::new(Act::DeleteGuests { checked, kept }.into())).await {
            Outcome::Committed { written: Written::Deleted(rows), .. } => {
                tracing::info!(rows, "deleted guests without orders");
            }
            _ => return Err(Failure::transient("the deletion was not written")),
        }
    }
}

/// Repeats the notices of recent revocations whenever this host has reconnected to NATS: they may have been lost
/// meanwhile, and verifiers that stayed connected had no reason to read them.
pub async fn announce(env: Arc<Env>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut connections = env.bus.connections();
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            changed = connections.changed() => changed?,
        }
        let mut after = None;
        loop {
            let page = access::revocations(&env.pool, after).await?;
            for revocation in &page {
                env.bus.notify(revoked_subject(revocation.user_id), revocation).await;
            }
            match page.last() {
                Some(last) if page.len() as i64 == access::REVOCATIONS_MAX => after = Some(last.user_id),
                _ => break,
            }
        }
        let mut after = None;
        loop {
            let page = access::ended_sessions(&env.pool, after).await?;
            for session_id in &page {
                env.bus.notify(revoked_subject(*session_id), &EndedSession { session_id: *session_id }).await;
            }
            match page.last() {
                Some(last) if page.len() as i64 == access::REVOCATIONS_MAX => after = Some(*last),
                _ => break,
            }
        }
    }
}
