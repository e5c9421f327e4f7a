//! Background work of auth: it deletes expired rows, and repeats notices of revocations that may have been lost.

use std::sync::Arc;

use bus::contract::auth::{EndedSession, revoked_subject};
use tokio_util::sync::CancellationToken;

use super::Env;
use super::store::{Act, Written, access};
use crate::delivery::{Change, Outcome};

/// Deletes expired tokens, logins and links, every hour.
pub async fn delete_expired(env: Arc<Env>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut every = tokio::time::interval(std::time::Duration::from_secs(60 * 60));
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        // In pieces, so that logins are written in between.
        while let Outcome::Committed { written: Written::Deleted(rows @ 1..), .. } =
            env.journal.commit(Change::new(Act::DeleteExpired.into())).await
        {
            tracing::info!(rows, "deleted expired logins and links");
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
