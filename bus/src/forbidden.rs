//! Subjects on which NATS does not let this process publish. NATS reports that only in an error of the connection: the publisher
//! of such a message waits for an ack in vain.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio::time::Instant;

/// Subjects that are kept: more than `nats.conf` names for one user.
const SUBJECTS_MAX: usize = 200;

/// The subjects with the time of the last refusal; cleared by each new connection, which may have other permissions.
#[derive(Debug, Clone)]
pub struct Forbidden(watch::Sender<BTreeMap<String, Instant>>);

impl Default for Forbidden {
    fn default() -> Self {
        Self(watch::Sender::new(BTreeMap::new()))
    }
}

impl Forbidden {
    /// Returns when NATS refuses to publish on this subject, after this call. Cancel safe.
    pub async fn refused(&self, subject: &str, since: Instant) {
        let mut subjects = self.0.subscribe();
        let refused = subjects.wait_for(|all| all.get(subject).is_some_and(|at| *at >= since));
        if refused.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Reads an error that the server sent; `None` if it refuses no message.
    pub(crate) fn note(&self, error: &str) -> Option<Note> {
        let subject = subject(error)?.to_owned();
        let mut is_first = false;
        self.0.send_modify(|all| {
            is_first = !all.contains_key(&subject);
            if is_first && all.len() >= SUBJECTS_MAX {
                all.pop_first();
            }
            all.insert(subject, Instant::now());
        });
        Some(if is_first { Note::First } else { Note::Again })
    }

    pub(crate) fn clear(&self) {
        self.0.send_modify(BTreeMap::clear);
    }
}

/// Whether a refusal is the first of its subject on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    First,
    Again,
}

/// The subject in `Permissions Violation for Publish to "movie.deleted"`.
fn subject(error: &str) -> Option<&str> {
    let at = error.to_ascii_lowercase().find("permissions violation for publish to \"")?;
    error[at..].split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_refused_subject_is_reported_to_its_publisher_and_to_no_other() {
        let (forbidden, began) = (Forbidden::default(), Instant::now());
        let violation = "nats: Permissions Violation for Publish to \"movie.deleted\"";
        assert_eq!(forbidden.note(violation), Some(Note::First));
        assert_eq!(forbidden.note(violation), Some(Note::Again));
        assert_eq!(forbidden.note("nats: Permissions Violation for Subscription to \"a\""), None);
        let soon = Duration::from_millis(20);
        let refused = |subject, since| tokio::time::timeout(soon, forbidden.refused(subject, since));
        assert!(refused("movie.deleted", began).await.is_ok());
        assert!(refused("movie.created", began).await.is_err());
        let later = Instant::now() + soon;
        assert!(refused("movie.deleted", later).await.is_err(), "an older refusal says nothing");
        forbidden.clear();
        assert!(refused("movie.deleted", began).await.is_err());
    }
}
