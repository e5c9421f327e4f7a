//! Revoked access tokens: those that are void before they expire, as every verifier knows them.
//!
//! Each user has an *access epoch*, which is part of every token and rises when the user's role or password changes, so that
//! no clock decides which tokens are old. Notices publish each change; missed notices are requested at the start and after
//! each reconnect. A login that ends by a logout, or by a refresh token that was used twice, voids only its own tokens: its
//! session id is stored. Invariant: a verifier's epoch of a user never falls.
//! Quirk: a process that starts while no auth host answers does not know the revocations of the last hour; it
//! keeps requesting them, because rejecting every user meanwhile would be worse.

use std::collections::HashMap;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::contract::Problem;
use crate::contract::auth::{GUEST_LIFETIME, ListRevocations, REVOKED, Revocation, RevocationNotice};
use crate::request::Ask;
use crate::{Bus, Context, retry};

/// A little longer than the lifetime of a guest's token, which is the longest: clocks differ, and the notice arrives after the revocation.
const KEPT_FOR: Duration = GUEST_LIFETIME.saturating_add(Duration::from_secs(60));
/// Users that are stored, some 100 bytes each. Each one means a hashed password or an action of a SUPER_ADMIN in the last
/// hour, so the limit is never reached in practice.
const USERS_MAX: usize = 200_000;
/// Sessions that are stored, some 50 bytes each. Each one means a login and its end in the last hour.
const SESSIONS_MAX: usize = 500_000;
/// The retry delay grows up to that of this attempt: 3 s.
const TRIES_GROW: u64 = 6;

/// The revocations that this process knows.
#[derive(Default)]
pub struct Revoked {
    users: RwLock<HashMap<Uuid, (Revocation, Instant)>>,
    sessions: RwLock<HashMap<Uuid, Instant>>,
}

impl Revoked {
    /// Whether a user's token of this login and epoch is void.
    pub fn is_void(&self, user: Uuid, session: Uuid, epoch: i64) -> bool {
        if self.sessions.read().unwrap_or_else(|e| e.into_inner()).contains_key(&session) {
            return true;
        }
        let known = self.users.read().unwrap_or_else(|e| e.into_inner());
        known.get(&user).is_some_and(|(revocation, _)| revocation.voids(session, epoch))
    }

    /// Adds a revocation, unless a later one is stored.
    pub fn add(&self, revocation: Revocation) {
        let mut known = self.users.write().unwrap_or_else(|e| e.into_inner());
        if known.get(&revocation.user_id).is_some_and(|(held, _)| held.epoch >= revocation.epoch) {
            return;
        }
        if known.len() >= USERS_MAX {
            known.retain(|_, (_, at)| at.elapsed() < KEPT_FOR);
            if known.len() >= USERS_MAX {
                tracing::error!("too many revoked tokens to remember; this one is good until it expires");
                return;
            }
        }
        known.insert(revocation.user_id, (revocation, Instant::now()));
    }

    /// Adds an ended login.
    pub fn end(&self, session: Uuid) {
        let mut ended = self.sessions.write().unwrap_or_else(|e| e.into_inner());
        if ended.len() >= SESSIONS_MAX {
            ended.retain(|_, at| at.elapsed() < KEPT_FOR);
            if ended.len() >= SESSIONS_MAX {
                tracing::error!(
                    "too many ended logins to remember; this one's token is good until it expires"
                );
                return;
            }
        }
        ended.insert(session, Instant::now());
    }

    fn forget(&self) {
        let mut known = self.users.write().unwrap_or_else(|e| e.into_inner());
        known.retain(|_, (_, at)| at.elapsed() < KEPT_FOR);
        drop(known);
        let mut ended = self.sessions.write().unwrap_or_else(|e| e.into_inner());
        ended.retain(|_, at| at.elapsed() < KEPT_FOR);
    }
}

/// Keeps `revoked` up to date until `stop`.
pub async fn listen(bus: Bus, revoked: std::sync::Arc<Revoked>, stop: CancellationToken) {
    let mut connections = bus.connections();
    let mut failures = 0;
    loop {
        let listening = async {
            connections.mark_unchanged();
            let mut notices = match bus.client.subscribe(format!("{REVOKED}*")).await {
                Ok(notices) => notices,
                Err(error) => return tracing::warn!(%error, "not subscribed to revoked tokens"),
            };
            // After the subscription, so that none is missed in between.
            if let Err(problem) = ask_for_all(&bus, &revoked).await {
                return tracing::debug!(code = problem.code, "revoked tokens not known yet");
            }
            failures = 0;
            let mut forgetting = tokio::time::interval(KEPT_FOR);
            loop {
                tokio::select! {
                    notice = notices.next() => match notice {
                        Some(notice) => take(&revoked, &notice.payload),
                        None => return,
                    },
                    // Notices may have been missed while the connection was down.
                    _ = connections.changed() => return,
                    _ = forgetting.tick() => revoked.forget(),
                }
            }
        };
        tokio::select! {
            _ = stop.cancelled() => return,
            () = listening => {}
        }
        failures += 1;
        tokio::select! {
            _ = stop.cancelled() => return,
            () = tokio::time::sleep(retry::delay(failures.min(TRIES_GROW), failures)) => {}
        }
    }
}

fn take(revoked: &Revoked, payload: &[u8]) {
    match serde_json::from_slice(payload) {
        Ok(RevocationNotice::Revoked(revocation)) => revoked.add(revocation),
        Ok(RevocationNotice::Ended(ended)) => revoked.end(ended.session_id),
        Err(error) => tracing::error!(%error, "unreadable notice of a revoked token"),
    }
}

async fn ask_for_all(bus: &Bus, revoked: &Revoked) -> Result<(), Problem> {
    let (mut after, mut ended_after) = (None, None);
    loop {
        let ask = Ask { ordered: true, ..Ask::new(Context::new()) };
        let page = bus.ask(&ListRevocations { after, ended_after }, &ask).await?;
        page.revocations.into_iter().for_each(|revocation| revoked.add(revocation));
        page.ended.into_iter().for_each(|session| revoked.end(session));
        if page.next.is_none() && page.ended_next.is_none() {
            return Ok(());
        }
        // A list that is complete is read again from its last position, which adds nothing.
        after = page.next.or(after);
        ended_after = page.ended_next.or(ended_after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_an_older_epoch_are_void_but_those_of_the_login_that_is_kept() {
        let (revoked, user, kept, other) =
            (Revoked::default(), Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
        assert!(!revoked.is_void(user, other, 0), "nothing is known");
        revoked.add(Revocation { user_id: user, epoch: 3, kept_session: Some(kept), kept_from: 2 });
        assert!(revoked.is_void(user, other, 2) && !revoked.is_void(user, other, 3));
        assert!(!revoked.is_void(user, kept, 2), "the login that changed the password goes on");
        assert!(revoked.is_void(user, kept, 1), "but not with a role of before");
        assert!(!revoked.is_void(Uuid::now_v7(), other, 0), "nobody else is concerned");
    }

    #[test]
    fn a_login_that_has_ended_takes_no_other_with_it() {
        let (revoked, user) = (Revoked::default(), Uuid::now_v7());
        let (ended, other) = (Uuid::now_v7(), Uuid::now_v7());
        let notice = serde_json::json!({"sessionId": ended}).to_string();
        take(&revoked, notice.as_bytes());
        assert!(revoked.is_void(user, ended, 0) && !revoked.is_void(user, other, 0));
    }

    #[test]
    fn an_older_revocation_that_comes_late_changes_nothing() {
        let (revoked, user, session) = (Revoked::default(), Uuid::now_v7(), Uuid::now_v7());
        revoked.add(Revocation { user_id: user, epoch: 2, kept_session: None, kept_from: 0 });
        revoked.add(Revocation { user_id: user, epoch: 1, kept_session: Some(session), kept_from: 0 });
        assert!(revoked.is_void(user, session, 1));
    }
}
