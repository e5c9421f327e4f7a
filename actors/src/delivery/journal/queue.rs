//! The changes that wait for the journal, in the order in which they arrived, and how the outcome of each is reported.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;

use bus::Failure;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::delivery::statements::batch::repeats_a_key;
use crate::delivery::{Change, Outcome, Rows};

/// Changes of one transaction: beyond this a batch's latency grows faster than its throughput.
const BATCH_MAX: usize = 256;
/// Bytes of the events of one transaction, which are one value in the batch's row.
const EVENTS_MAX: usize = 4 * 1024 * 1024;
/// While the database is away a change waits this long before it fails: a failover of seconds passes unnoticed, and no user
/// waits longer for a page.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// How often changes that wait are checked for being overdue while the database is busy or away.
const CHECK_EVERY: Duration = Duration::from_millis(250);

pub struct Entry<R: Rows> {
    pub change: Change<R>,
    pub reply: Reply<R>,
    pub since: Instant,
}

impl<R: Rows> Entry<R> {
    /// When its batch begins at the latest.
    fn begins(&self) -> Instant {
        self.since + self.change.max_delay
    }

    fn event_bytes(&self) -> usize {
        self.change.outbox.iter().map(|event| event.payload.len()).sum()
    }

    pub fn is_overdue(&self) -> bool {
        self.since.elapsed() > WAIT_MAX
    }

    pub fn give_up(self, why: &str) {
        self.reply.send(Outcome::Failed(Failure::transient(why)));
    }
}

/// Reports the outcome exactly once, also when the journal dies while it has the change.
pub struct Reply<R: Rows>(Option<Box<dyn FnOnce(Outcome<R>) + Send>>);

impl<R: Rows> Reply<R> {
    pub fn new(report: impl FnOnce(Outcome<R>) + Send + 'static) -> Self {
        Self(Some(Box::new(report)))
    }

    pub fn send(mut self, outcome: Outcome<R>) {
        self.send_once(outcome);
    }

    fn send_once(&mut self, outcome: Outcome<R>) {
        let Some(report) = self.0.take() else { return };
        // A panic of one caller must not keep the others of the batch from their outcomes.
        if catch_unwind(AssertUnwindSafe(|| report(outcome))).is_err() {
            tracing::error!("the code that waited for a change panicked at its outcome");
        }
    }
}

impl<R: Rows> Drop for Reply<R> {
    fn drop(&mut self) {
        self.send_once(Outcome::Failed(Failure::transient("the journal stopped")));
    }
}

/// The changes that wait, in order.
pub struct Queue<R: Rows> {
    /// Received before, and to be written next: put off by an outage, or beyond the last batch.
    pub front: VecDeque<Entry<R>>,
    pub received: mpsc::UnboundedReceiver<Entry<R>>,
}

impl<R: Rows> Queue<R> {
    /// Waits until a batch should begin: the delay of one of its changes is over, or it is full. False when nothing will
    /// come any more.
    pub async fn is_ready(&mut self) -> bool {
        loop {
            while self.front.len() < BATCH_MAX
                && let Ok(entry) = self.received.try_recv()
            {
                self.front.push_back(entry);
            }
            let begins = self.front.iter().map(Entry::begins).min();
            let next = match begins {
                None => self.received.recv().await,
                Some(begins) if self.front.len() >= BATCH_MAX || begins <= Instant::now() => return true,
                Some(begins) => tokio::time::timeout_at(begins, self.received.recv()).await.unwrap_or(None),
            };
            match next {
                Some(entry) => self.front.push_back(entry),
                None => return begins.is_some(),
            }
        }
    }

    /// The next batch. It ends before the change whose idempotency key it has already, since one statement cannot change
    /// a record twice, and before its events become too large.
    pub fn take(&mut self) -> Vec<Entry<R>> {
        let (mut keys, mut bytes, mut count) = (HashSet::new(), 0, 0);
        for entry in self.front.iter().take(BATCH_MAX) {
            bytes += entry.event_bytes();
            let is_too_large = bytes > EVENTS_MAX && count > 0;
            if is_too_large || repeats_a_key(&mut keys, entry.change.idempotency.as_ref()) {
                break;
            }
            count += 1;
        }
        self.front.drain(..count).collect()
    }

    pub fn put_back(&mut self, entries: Vec<Entry<R>>) {
        for entry in entries.into_iter().rev() {
            self.front.push_front(entry);
        }
    }

    /// Does `work` and meanwhile fails the changes that have waited too long.
    pub async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = tokio::time::sleep(CHECK_EVERY) => self.expire(),
            }
        }
    }

    fn expire(&mut self) {
        while let Ok(entry) = self.received.try_recv() {
            self.front.push_back(entry);
        }
        while self.front.front().is_some_and(Entry::is_overdue) {
            self.front.pop_front().into_iter().for_each(|entry| entry.give_up("the database is away"));
        }
    }

    /// Accepts no more changes and fails all that wait.
    pub fn close(&mut self) {
        self.received.close();
        self.front.clear();
        while self.received.try_recv().is_ok() {}
    }
}
