//! The batches whose events are being published to JetStream, and the number up to which each journal's batches are published.
//!
//! Invariant: a mark never passes a batch that is in flight or was lost, nor, by the order of numbers, one that this
//! process has not sent yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bus::event::Outgoing;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::DATABASE_MAX;
use crate::delivery::statements::archive as sql;
use crate::delivery::statements::batch::BatchKey;
use crate::delivery::within;

/// How the publishing of one event ended.
pub struct PublishResult {
    /// The batch whose progress it counts for; `None` for copies of events that are published already.
    pub batch: Option<BatchKey>,
    pub event: Outgoing,
    pub end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Acked,
    /// NATS is away or slow: the sweep sends it again.
    Lost,
    /// NATS refuses this event. It is listed, and delays no other.
    Refused,
}

/// A batch of which some events are in flight.
struct InFlight {
    left: usize,
    is_lost: bool,
}

/// One life of a journal.
#[derive(Default)]
struct Life {
    in_flight: BTreeMap<i64, InFlight>,
    /// Not published: lost, or never sent. The sweep publishes them.
    missed: BTreeSet<i64>,
    /// The highest number that was received.
    top: i64,
    marked: i64,
    /// Events were published above the mark.
    is_to_mark: bool,
}

impl Life {
    fn published_to(&self) -> i64 {
        let lowest = [self.in_flight.keys().next(), self.missed.first()].into_iter().flatten().min();
        lowest.map_or(self.top, |number| self.top.min(number - 1))
    }
}

/// The publishes in flight, and the batches to be marked.
#[derive(Default)]
pub struct Progress {
    acks: FuturesUnordered<BoxFuture<'static, PublishResult>>,
    lives: HashMap<Uuid, Life>,
    newest: Option<Uuid>,
    refused: Vec<(BatchKey, Outgoing)>,
    acked: u64,
    /// When the oldest batch to be marked was acknowledged.
    pub mark_since: Option<Instant>,
    /// Results since they were last reset.
    pub lost: usize,
    pub refusals: usize,
    /// Results of copies.
    pub accepted: Vec<Uuid>,
}

/// So many batches without events are marked at once, for the sweep not to read them again and again.
const UNMARKED_MAX: i64 = 500;

impl Progress {
    pub fn in_flight(&self) -> usize {
        self.acks.len()
    }

    /// A batch of this process, before its events are sent. Batches come in the order of their numbers.
    pub fn begin(&mut self, key: BatchKey, events: usize) {
        self.newest = Some(key.journal);
        self.begin_swept(key, events);
        if let Some(life) = self.lives.get_mut(&key.journal) {
            life.top = life.top.max(key.number);
            if life.top - life.marked >= UNMARKED_MAX {
                life.is_to_mark = true;
                self.mark_since.get_or_insert_with(Instant::now);
            }
        }
    }

    /// A batch that the sweep has found.
    pub fn begin_swept(&mut self, key: BatchKey, events: usize) {
        let life = self.lives.entry(key.journal).or_default();
        if events > 0 {
            life.in_flight.insert(key.number, InFlight { left: events, is_lost: false });
        }
    }

    /// A batch that is not sent now. Earlier batches may not have arrived yet.
    pub fn miss(&mut self, key: BatchKey) {
        self.newest = Some(key.journal);
        self.lives.entry(key.journal).or_default().missed.insert(key.number);
    }

    /// Whether the sweep has nothing to do about a batch: it is in flight, or published and not marked yet.
    pub fn has(&self, key: &BatchKey) -> bool {
        self.lives.get(&key.journal).is_some_and(|life| {
            let is_published = key.number <= life.top && !life.missed.contains(&key.number);
            life.in_flight.contains_key(&key.number) || is_published
        })
    }

    pub fn push(&mut self, ack: impl Future<Output = PublishResult> + Send + 'static) {
        self.acks.push(Box::pin(ack));
    }

    /// The next result; never where nothing is in flight.
    pub async fn next(&mut self) -> PublishResult {
        match self.acks.next().await {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    pub fn end(&mut self, PublishResult { batch, event, end }: PublishResult) {
        match end {
            End::Acked => {
                self.acked += 1;
                if batch.is_none() {
                    self.accepted.push(event.id);
                }
            }
            End::Lost => self.lost += 1,
            End::Refused => self.refusals += 1,
        }
        let Some(key) = batch else { return };
        let Some(life) = self.lives.get_mut(&key.journal) else { return };
        let Some(batch) = life.in_flight.get_mut(&key.number) else { return };
        batch.left -= 1;
        batch.is_lost |= end == End::Lost;
        if end == End::Refused {
            self.refused.push((key, event));
        }
        if batch.left > 0 {
            return;
        }
        match life.in_flight.remove(&key.number) {
            Some(batch) if batch.is_lost => drop(life.missed.insert(key.number)),
            _ => {
                life.missed.remove(&key.number);
                // Of another host's journal the numbers are known only as far as they were swept, in their order.
                life.top = life.top.max(key.number);
                life.is_to_mark = true;
                self.mark_since.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Waits for every ack, at most for the time-out of one.
    pub async fn settle(&mut self) {
        while let Some(result) = self.acks.next().await {
            self.end(result);
        }
    }

    /// Gives up the publishes in flight when the connections end; the sweep sends them again. Marked batches are marked again:
    /// marks are not durable, so a database that was restarted may have lost the last ones.
    pub fn give_up(&mut self) {
        self.acks.clear();
        for life in self.lives.values_mut() {
            life.missed.extend(std::mem::take(&mut life.in_flight).into_keys());
            life.marked = 0;
            life.is_to_mark = true;
        }
        self.mark_since = Some(Instant::now());
    }

    /// Marks the acknowledged batches in the table.
    pub async fn mark(&mut self, db: &mut PgConnection) -> anyhow::Result<()> {
        // First the list, or an event could be behind the mark and nowhere else.
        while let Some((key, event)) = self.refused.last() {
            within(DATABASE_MAX, sql::list_refused(db, *key, event)).await?;
            self.refused.pop();
        }
        for (journal, life) in &mut self.lives {
            let published_to = life.published_to();
            if life.is_to_mark && published_to > life.marked {
                within(DATABASE_MAX, sql::mark_published(db, *journal, published_to)).await?;
                life.marked = published_to;
            }
            life.is_to_mark = false;
        }
        self.mark_since = None;
        let newest = self.newest;
        // Lives that are over and wholly marked get no more batches.
        self.lives.retain(|journal, life| {
            newest == Some(*journal) || !life.in_flight.is_empty() || !life.missed.is_empty()
        });
        metrics::counter!("events_published_total").increment(std::mem::take(&mut self.acked));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bus::contract::Timestamp;
    use time::{Date, OffsetDateTime};

    use super::*;

    const JOURNAL: Uuid = Uuid::from_u128(7);

    fn key(number: i64) -> BatchKey {
        BatchKey { day: Date::MIN, journal: JOURNAL, number }
    }

    fn result(number: i64, end: End) -> PublishResult {
        let event = Outgoing {
            id: Uuid::now_v7(),
            subject: "movie.created".into(),
            source: String::new(),
            time: Timestamp::from(OffsetDateTime::UNIX_EPOCH),
            payload: Default::default(),
            context: bus::Context::new(),
        };
        PublishResult { batch: Some(key(number)), event, end }
    }

    fn published_to(progress: &Progress) -> i64 {
        progress.lives[&JOURNAL].published_to()
    }

    #[test]
    fn a_mark_stops_below_batches_in_flight_or_lost() {
        let mut progress = Progress::default();
        for number in 1..=4 {
            progress.begin(key(number), 1);
        }
        progress.end(result(1, End::Acked));
        progress.end(result(3, End::Acked));
        assert_eq!(published_to(&progress), 1, "2 is in flight");
        progress.end(result(2, End::Lost));
        progress.end(result(4, End::Acked));
        assert_eq!(published_to(&progress), 1, "2 was lost");
        assert!(progress.has(&key(3)) && !progress.has(&key(2)), "the sweep sends 2 alone");
        progress.begin_swept(key(2), 1);
        progress.end(result(2, End::Acked));
        assert_eq!(published_to(&progress), 4);
    }

    #[test]
    fn a_refused_event_is_listed_and_holds_up_no_mark() {
        let mut progress = Progress::default();
        progress.begin(key(1), 2);
        progress.begin(key(2), 0);
        progress.end(result(1, End::Refused));
        assert_eq!(published_to(&progress), 0);
        progress.end(result(1, End::Acked));
        assert_eq!((published_to(&progress), progress.refused.len()), (2, 1));
    }

    #[test]
    fn batches_in_flight_when_the_connection_ended_are_missed() {
        let mut progress = Progress::default();
        progress.begin(key(1), 1);
        progress.give_up();
        progress.begin(key(2), 1);
        progress.end(result(2, End::Acked));
        assert_eq!(published_to(&progress), 0);
        progress.miss(key(3));
        progress.begin_swept(key(1), 1);
        progress.end(result(1, End::Acked));
        assert_eq!(published_to(&progress), 2);
    }
}
