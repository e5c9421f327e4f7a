//! What auth does without being asked: it forgets what has expired, and tells again what may not have been heard.

use std::sync::Arc;

use bus::Bus;
use bus::contract::auth::{EndedSession, revoked_subject};
use tokio_util::sync::CancellationToken;

use super::actor::Desk;
use super::store::{Act, Written, access};
use crate::delivery::{Change, Outcome};

/// Forgets what has expired, every hour.
pub async fn forget(desk: Arc<Desk>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut every = tokio::time::interval(std::time::Duration::from_secs(60 * 60));
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        // In pieces, so that logins get in between.
        while let Outcome::Committed { written: Written::Forgotten(rows @ 1..), .. } =
            desk.journal.commit(Change::new(Act::Forget.into())).await
        {
            tracing::info!(rows, "forgot expired refresh tokens");
        }
    }
}

/// Tells of recent revocations again whenever this host has connected anew: its notices may have been lost meanwhile,
/// and verifiers that were connected all the time had no reason to ask.
pub async fn announce(desk: Arc<Desk>, bus: Bus, stop: CancellationToken) -> anyhow::Result<()> {
    let mut connections = bus.connections();
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            changed = connections.changed() => changed?,
        }
        let mut after = None;
        loop {
            let page = access::revocations(&desk.pool, after).await?;
            for revocation in &page {
                bus.notify(revoked_subject(revocation.user_id), revocation).await;
            }
            match page.last() {
                Some(last) if page.len() as i64 == access::REVOCATIONS_MAX => after = Some(last.user_id),
                _ => break,
            }
        }
        let mut after = None;
        loop {
            let page = access::ended_sessions(&desk.pool, after).await?;
            for session_id in &page {
                bus.notify(revoked_subject(*session_id), &EndedSession { session_id: *session_id }).await;
            }
            match page.last() {
                Some(last) if page.len() as i64 == access::REVOCATIONS_MAX => after = Some(*last),
                _ => break,
            }
        }
    }
}
