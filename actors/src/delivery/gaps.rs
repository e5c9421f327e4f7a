//! Finds events that the stream has discarded before this domain's consumer had handled them, and delivers them again from
//! the archives of the domains that published them.
//!
//! The stream discards its oldest events when it is full, and JetStream then moves the consumer's ack floor over them
//! within two minutes. So the domain keeps for itself up to which event its consumer has come (`consumers`): a stream that
//! begins after it has a gap. What lies in the gap may have been handled meanwhile; handlers tolerate an event twice.
//! Invariant: `handled_to` passes a gap only in the transaction that records that its events were delivered again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::{consumer, stream};
use bus::archive::PageRequest;
use bus::consumer::{DatabaseUp, Delivery, Refill};
use bus::contract::Timestamp;
use bus::topology::{self, ConsumerSpec};
use bus::{Bus, Failure};
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::statements::consumers::{self as sql, Gap, Position};
use super::within;
use crate::delivery::Database;

/// As often as metrics are scraped.
const EVERY: Duration = Duration::from_secs(15);
/// When a host starts, the stream and its consumer may have to be created first.
const FIRST_AFTER: Duration = Duration::from_secs(2);
const DATABASE_MAX: Duration = Duration::from_secs(5);
/// Above it the stream will soon discard events, handled or not.
const FULL_PERCENT: i32 = 90;
/// A consumer that has not caught up for so long is behind.
const BEHIND_AFTER: Duration = Duration::from_secs(60);
/// An event may reach the stream so long after its commit, while NATS was away; and the clocks of the servers differ.
const PUBLISHED_LATE_MAX: Duration = Duration::from_secs(10 * 60);

/// The kinds of warnings.
const STREAM: &str = "stream";
const GAP: &str = "gap";

/// What is wrong with the events of a host although it works, a sentence for each kind; shared by all of a host's parts.
#[derive(Clone, Default)]
pub struct Warnings(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Warnings {
    pub fn all(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }

    /// Whether there was none of this kind before.
    fn insert(&self, kind: &'static str, warning: String) -> bool {
        self.lock().insert(kind, warning).is_none()
    }

    fn remove(&self, kind: &'static str) {
        self.lock().remove(kind);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// What watches one consumer.
#[derive(Clone)]
pub struct GapWatch {
    pub database: Database,
    pub bus: Bus,
    pub spec: ConsumerSpec,
    /// The domains with an archive that publish events of this consumer.
    pub publishers: Vec<&'static str>,
    pub database_up: DatabaseUp,
    pub handle: Arc<dyn Fn(Delivery) + Send + Sync>,
    pub warnings: Warnings,
}

impl GapWatch {
    /// Runs until `stop`. While a server is away nothing is checked; what happened meanwhile is found afterwards.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        // From the start: an increase is seen only from a value that was scraped before.
        metrics::counter!("events_discarded_unhandled_total", "consumer" => self.spec.name).increment(0);
        let mut every = tokio::time::interval_at(Instant::now() + FIRST_AFTER, EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.cancelled() => return Ok(()),
                _ = every.tick() => {}
            }
            if !self.bus.is_connected() || !*self.database_up.borrow() {
                continue;
            }
            if let Err(error) = self.check(&stop).await
                && !stop.is_cancelled()
            {
                let error = format!("{error:#}");
                tracing::warn!(
                    consumer = self.spec.name,
                    error,
                    "whether events were discarded is not known"
                );
            }
        }
    }

    async fn check(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let name = self.spec.name;
        let (now, known) = within(DATABASE_MAX, sql::position(&self.database.pool, name)).await?;
        let stream = topology::events(&self.bus).await?;
        let end = stream.cached_info().state.last_sequence.cast_signed();
        let consumer = stream.consumer_info(name).await.map_err(Failure::transient)?;
        // After the consumer: an ack floor that JetStream has moved over discarded events shows as a gap here.
        let stream = Seen::of(&stream.get_info().await.map_err(Failure::transient)?);
        let known = match known.filter(|known| known.stream_created_at == stream.created) {
            Some(known) => known,
            None => {
                let known = stream.nothing_handled(now);
                within(DATABASE_MAX, sql::store_position(&self.database.pool, name, &known)).await?;
                known
            }
        };
        if stream.is_gap(&known) {
            return self.fill(stop).await;
        }
        let position = stream.position(&known, now, end, Progress::of(&consumer));
        self.warn(&position, now);
        if let Ok(Some(parked)) = bus::inspection::stream(&self.bus, topology::DLQ).await {
            metrics::gauge!("dead_letters").set(parked.messages as f64);
        }
        if known.is_moved(&position) {
            within(DATABASE_MAX, sql::store_position(&self.database.pool, name, &position)).await?;
        }
        Ok(())
    }

    fn warn(&self, position: &Position, now: Timestamp) {
        let (name, percent) = (self.spec.name, position.stream_percent);
        metrics::gauge!("stream_full_percent", "stream" => topology::EVENTS).set(f64::from(percent));
        let is_behind =
            position.handled_to < position.seen_to && position.handled_until < now.minus(BEHIND_AFTER);
        if percent <= FULL_PERCENT || !is_behind {
            return self.warnings.remove(STREAM);
        }
        let stream = topology::EVENTS;
        let warning = format!(
            "the stream {stream} is {percent} % full; it will discard events that {name} has not handled"
        );
        if self.warnings.insert(STREAM, warning.clone()) {
            tracing::error!(consumer = name, percent, "{warning}");
        }
    }

    /// Delivers the events of the gap again, by one host at a time: the lock ends with its connection.
    async fn fill(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let name = self.spec.name;
        let opening = within(DATABASE_MAX, self.database.open(&[]));
        let mut db = opening.await.context("connecting to the database")?;
        if !within(DATABASE_MAX, sql::try_lock(&mut db, name)).await? {
            return Ok(());
        }
        // Another host may have done it just now, and the stream may have discarded more.
        let (now, known) = within(DATABASE_MAX, sql::position(&mut db, name)).await?;
        let stream = Seen::of(topology::events(&self.bus).await?.cached_info());
        let known = known.filter(|known| known.stream_created_at == stream.created);
        let Some(known) = known.filter(|known| stream.is_gap(known)) else { return Ok(()) };
        let gap = stream.gap(&known, now);
        let filled = self.deliver_again(&mut db, &gap, stop).await;
        self.warnings.remove(GAP);
        let delivered = filled?;
        within(DATABASE_MAX, sql::finish(&mut db, name, &gap, delivered)).await?;
        tracing::warn!(
            consumer = name,
            delivered,
            "the events of the time that was discarded were delivered again"
        );
        within(DATABASE_MAX, db.close()).await?;
        Ok(())
    }

    async fn deliver_again(
        &self,
        db: &mut PgConnection,
        gap: &Gap,
        stop: &CancellationToken,
    ) -> anyhow::Result<u64> {
        let name = self.spec.name;
        let lost = gap.last_sequence - gap.first_sequence + 1;
        tracing::error!(
            consumer = name,
            lost,
            since = %gap.since,
            until = %gap.until,
            "the stream discarded events that this consumer may not have handled; they are delivered again from the archives"
        );
        metrics::counter!("events_discarded_unhandled_total", "consumer" => name)
            .increment(lost.cast_unsigned());
        let stream = topology::EVENTS;
        let warning = format!(
            "the stream {stream} discarded {lost} events, of which {name} may not have handled all; they are delivered again"
        );
        self.warnings.insert(GAP, warning);
        within(DATABASE_MAX, sql::begin(db, name, gap)).await?;
        let refill = Refill {
            bus: self.bus.clone(),
            consumer: name,
            database_up: self.database_up.clone(),
            handle: self.handle.clone(),
        };
        let (since, until) = (gap.since.minus(PUBLISHED_LATE_MAX), gap.until.plus(PUBLISHED_LATE_MAX));
        let mut delivered = 0;
        for domain in &self.publishers {
            delivered += refill.run(domain, PageRequest { since, until, from: None }, stop).await?;
        }
        Ok(delivered)
    }
}

/// The stream at a moment.
struct Seen {
    created: String,
    first_sequence: i64,
    /// When its first event was published; `None` when it has none.
    first_at: Option<Timestamp>,
    percent: i32,
}

/// What the consumer has handled.
#[derive(Clone, Copy)]
struct Progress {
    ack_floor: i64,
    /// Nothing waits to be delivered or acknowledged.
    has_all: bool,
}

impl Progress {
    fn of(info: &consumer::Info) -> Self {
        let has_all = info.num_pending == 0 && info.num_ack_pending == 0;
        Self { ack_floor: info.ack_floor.stream_sequence.cast_signed(), has_all }
    }
}

impl Seen {
    fn of(info: &stream::Info) -> Self {
        let (state, limit) = (&info.state, info.config.max_bytes);
        let percent = if limit > 0 { state.bytes as f64 * 100.0 / limit as f64 } else { 0.0 };
        Self {
            created: info.created.to_string(),
            first_sequence: state.first_sequence.cast_signed(),
            first_at: (state.messages > 0).then(|| state.first_timestamp.into()),
            percent: percent as i32,
        }
    }

    fn is_gap(&self, known: &Position) -> bool {
        self.first_sequence > known.handled_to + 1
    }

    /// The position in a stream that is checked for the first time. The stream may have discarded events before: a host that ended
    /// within its first seconds has stored no position, and after a loss of NATS's data the stream is a new one.
    fn nothing_handled(&self, now: Timestamp) -> Position {
        let oldest = now.minus(topology::EVENTS_MAX_AGE);
        Position {
            stream_created_at: self.created.clone(),
            handled_to: 0,
            handled_until: oldest,
            seen_to: 0,
            seen_at: oldest,
            stream_percent: self.percent,
        }
    }

    /// What the stream does not have any more and the consumer may not have handled.
    fn gap(&self, known: &Position, now: Timestamp) -> Gap {
        Gap {
            found_at: now,
            first_sequence: known.handled_to + 1,
            last_sequence: self.first_sequence - 1,
            since: known.handled_until,
            until: self.first_at.unwrap_or(now),
        }
    }

    /// The position after a check that found no gap. At `now` or later the stream ended with `end`, and after that the
    /// consumer was as far as `progress`.
    fn position(self, known: &Position, now: Timestamp, end: i64, progress: Progress) -> Position {
        let handled_to = if progress.has_all { end } else { progress.ack_floor }.max(known.handled_to);
        let Position { mut handled_until, mut seen_to, mut seen_at, .. } = *known;
        if progress.has_all {
            (handled_until, seen_to, seen_at) = (now, end, now);
        } else if handled_to >= seen_to {
            (handled_until, seen_to, seen_at) = (seen_at, end, now);
        }
        let (stream_created_at, stream_percent) = (self.created, self.percent);
        Position { stream_created_at, handled_to, handled_until, seen_to, seen_at, stream_percent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(first_sequence: i64) -> Seen {
        let first_at = Some(Timestamp::wall_clock());
        Seen { created: "today".into(), first_sequence, first_at, percent: 50 }
    }

    fn at(second: u64) -> Timestamp {
        let start = time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        Timestamp::from(start).plus(Duration::from_secs(second))
    }

    #[test]
    fn a_stream_that_begins_after_what_was_handled_has_a_gap() {
        let all = Progress { ack_floor: 80, has_all: true };
        let known = seen(1).position(&seen(1).nothing_handled(at(0)), at(0), 100, all);
        assert_eq!((known.handled_to, known.handled_until), (100, at(0)));
        assert!(!seen(101).is_gap(&known));
        let later = seen(151);
        assert!(later.is_gap(&known));
        let gap = later.gap(&known, at(99));
        assert_eq!((gap.first_sequence, gap.last_sequence, gap.since), (101, 150, at(0)));
        assert_eq!(Some(gap.until), later.first_at);
    }

    #[test]
    fn a_stream_that_is_checked_for_the_first_time_has_a_gap_where_it_has_discarded_events() {
        assert!(!seen(0).is_gap(&seen(0).nothing_handled(at(0))), "an empty stream");
        assert!(!seen(1).is_gap(&seen(1).nothing_handled(at(0))));
        let gap = seen(500).gap(&seen(500).nothing_handled(at(0)), at(0));
        assert_eq!((gap.first_sequence, gap.last_sequence), (1, 499));
        assert!(seen(500).is_gap(&seen(500).nothing_handled(at(0))));
    }

    #[test]
    fn a_consumer_that_is_always_busy_still_moves_on() {
        let busy = |ack_floor| Progress { ack_floor, has_all: false };
        let known = seen(1).position(&seen(1).nothing_handled(at(0)), at(0), 100, busy(50));
        let known = seen(1).position(&known, at(15), 200, busy(99));
        assert_eq!((known.handled_to, known.seen_to), (99, 100));
        assert!(known.handled_until < at(0));
        let known = seen(1).position(&known, at(30), 300, busy(210));
        // What was published up to the first check, which ended with 100, is handled.
        assert_eq!((known.handled_to, known.handled_until), (210, at(0)));
        assert_eq!((known.seen_to, known.seen_at), (300, at(30)));
    }
}
