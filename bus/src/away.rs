//! The subjects that no host serves at the moment, so that a request that reached nobody is sent again while a host restarts.
//!
//! Only the first [`GRACE`] of an absence is waited for. After that each request is answered with 503 at once, so that a host
//! that stays away does not make every page slow.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::time::Instant;

/// A host that is restarted or replaced serves again within it.
const GRACE: Duration = Duration::from_secs(3);

/// Shared by the clones of a [`crate::Bus`].
#[derive(Clone, Default)]
pub(crate) struct Away {
    /// By subject: when a request first reached nobody.
    since: Arc<RwLock<HashMap<String, Instant>>>,
}

impl Away {
    /// Until when requests under a subject, one of which has just reached nobody, are sent again.
    pub fn worth_asking_until(&self, subject: &str) -> Instant {
        let mut since = self.since.write().unwrap_or_else(|e| e.into_inner());
        let first = *since.entry(subject.to_owned()).or_insert_with(Instant::now);
        first + GRACE
    }

    /// A request under the subject reached a host.
    pub fn is_back(&self, subject: &str) {
        let is_known = || self.since.read().unwrap_or_else(|e| e.into_inner()).contains_key(subject);
        if is_known() {
            self.since.write().unwrap_or_else(|e| e.into_inner()).remove(subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_beginning_of_an_absence_is_waited_for() {
        let (away, begun) = (Away::default(), Instant::now());
        assert_eq!(away.worth_asking_until("rpc.movie.get"), begun + GRACE);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(away.worth_asking_until("rpc.movie.get") < Instant::now(), "it stays away");
        assert_eq!(away.worth_asking_until("rpc.auth.me"), Instant::now() + GRACE, "another subject");
        away.is_back("rpc.movie.get");
        assert_eq!(away.worth_asking_until("rpc.movie.get"), Instant::now() + GRACE, "it went away again");
    }
}
