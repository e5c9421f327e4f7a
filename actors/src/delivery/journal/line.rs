//! The changes that wait for the journal, in the order in which they came, and how each is told its outcome.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;

use bus::Failure;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::delivery::{Change, Outcome, Rows};

/// Changes of one transaction: beyond this a batch's latency grows faster than its throughput.
const BATCH_MAX: usize = 256;
/// While the database is away a change waits this long before its asker hears of it: a failover of seconds passes
/// unnoticed, and nobody stares at a page for longer.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// How often changes that wait are looked at while the database lets us wait.
const LOOK: Duration = Duration::from_millis(250);

pub struct Entry<R: Rows> {
    pub change: Change<R>,
    pub reply: Reply<R>,
    pub since: Instant,
    /// The seat lock refused it once; now Postgres alone decides.
    pub past_lock: bool,
}

impl<R: Rows> Entry<R> {
    /// When it wants its batch to begin, whoever else comes.
    fn begins(&self) -> Instant {
        self.since + self.change.patience
    }

    pub fn is_overdue(&self) -> bool {
        self.since.elapsed() > WAIT_MAX
    }

    pub fn give_up(self, why: &str) {
        self.reply.tell(Outcome::Failed(Failure::transient(why)));
    }
}

/// Tells the outcome exactly once, also when the journal dies with the change in hand.
pub struct Reply<R: Rows>(Option<Box<dyn FnOnce(Outcome<R>) + Send>>);

impl<R: Rows> Reply<R> {
    pub fn new(tell: impl FnOnce(Outcome<R>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    pub fn tell(mut self, outcome: Outcome<R>) {
        self.tell_once(outcome);
    }

    fn tell_once(&mut self, outcome: Outcome<R>) {
        let Some(tell) = self.0.take() else { return };
        // One that panics must not keep the others of its batch from hearing that they are committed.
        if catch_unwind(AssertUnwindSafe(|| tell(outcome))).is_err() {
            tracing::error!("whoever waited for a change panicked at its outcome");
        }
    }
}

impl<R: Rows> Drop for Reply<R> {
    fn drop(&mut self) {
        self.tell_once(Outcome::Failed(Failure::transient("the journal stopped")));
    }
}

/// The changes that wait, in order.
pub struct Line<R: Rows> {
    /// Taken from the queue before: put off by the seat lock, or by an outage.
    pub front: VecDeque<Entry<R>>,
    pub queue: mpsc::UnboundedReceiver<Entry<R>>,
}

impl<R: Rows> Line<R> {
    /// Waits until a batch should begin: somebody's patience is over, or it is full. False when nothing will come any more.
    pub async fn ripe(&mut self) -> bool {
        loop {
            while self.front.len() < BATCH_MAX
                && let Ok(entry) = self.queue.try_recv()
            {
                self.front.push_back(entry);
            }
            let begins = self.front.iter().map(Entry::begins).min();
            let next = match begins {
                None => self.queue.recv().await,
                Some(begins) if self.front.len() >= BATCH_MAX || begins <= Instant::now() => return true,
                Some(begins) => tokio::time::timeout_at(begins, self.queue.recv()).await.unwrap_or(None),
            };
            match next {
                Some(entry) => self.front.push_back(entry),
                None => return begins.is_some(),
            }
        }
    }

    /// The batch that is ripe.
    pub fn take(&mut self) -> Vec<Entry<R>> {
        self.front.drain(..self.front.len().min(BATCH_MAX)).collect()
    }

    pub fn put_back(&mut self, entries: Vec<Entry<R>>) {
        for entry in entries.into_iter().rev() {
            self.front.push_front(entry);
        }
    }

    /// Does `work` and meanwhile tells those who have waited too long.
    pub async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = tokio::time::sleep(LOOK) => self.expire(),
            }
        }
    }

    fn expire(&mut self) {
        while let Ok(entry) = self.queue.try_recv() {
            self.front.push_back(entry);
        }
        while self.front.front().is_some_and(Entry::is_overdue) {
            self.front.pop_front().into_iter().for_each(|entry| entry.give_up("the database is away"));
        }
    }

    /// Takes nothing more and tells everyone who waits.
    pub fn close(&mut self) {
        self.queue.close();
        self.front.clear();
        while self.queue.try_recv().is_ok() {}
    }
}
