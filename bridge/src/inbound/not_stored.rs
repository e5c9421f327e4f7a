//! Events that `AMQP_INBOUND` accepts and NATS does not let the bridge publish, because `nats.conf` has no line for them.
//!
//! Invariant: such an event delays no other. After the first one, all of the same name are refused at once for a minute; then one
//! is tried again. The health names them until one is stored or NATS is connected again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// How long events of a refused name are not sent to NATS.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// The names with the time of the last refusal; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct RefusedEvents(Arc<Mutex<BTreeMap<String, Instant>>>);

impl RefusedEvents {
    /// Whether NATS refused an event of this name within the last minute.
    pub fn contains(&self, subject: &str) -> bool {
        self.lock().get(subject).is_some_and(|at| at.elapsed() < REFUSED_FOR)
    }

    pub fn add(&self, subject: &str) {
        self.lock().insert(subject.to_owned(), Instant::now());
    }

    /// Returns whether the name was refused before.
    pub fn remove(&self, subject: &str) -> bool {
        self.lock().remove(subject).is_some()
    }

    pub fn clear(&self) {
        self.lock().clear();
    }

    /// One sentence for an operator.
    pub fn problem(&self) -> Option<String> {
        let names: Vec<String> = self.lock().keys().cloned().collect();
        (!names.is_empty()).then(|| {
            format!(
                "NATS refuses {}, which AMQP_INBOUND names: the user bridge in nats.conf needs a line for each",
                names.join(", ")
            )
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Why an event is a dead letter.
pub(super) fn reason(subject: &str) -> String {
    format!("NATS refuses {subject}; see the bridge's user in nats.conf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refused_name_is_tried_again_after_a_minute_and_named_until_one_is_stored() {
        let refused = RefusedEvents::default();
        refused.add("movie.deleted");
        assert!(refused.contains("movie.deleted") && !refused.contains("movie.created"));
        tokio::time::advance(REFUSED_FOR).await;
        assert!(!refused.contains("movie.deleted"));
        assert!(refused.problem().unwrap().contains("movie.deleted"));
        assert!(refused.remove("movie.deleted") && !refused.remove("movie.deleted"));
        assert_eq!(refused.problem(), None);
    }
}
