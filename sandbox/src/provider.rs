//! The shell around the rules: one lock over the books, the log behind it, and idempotency keys in front of it.
//! Invariant: a change is decided, written to the log and applied under one lock, so memory and log agree on the
//! order, and nobody sees what is not written.
//! A call runs to its end even when its caller hangs up: that is what makes an outcome unknown.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::books::{Answer, Books, KeyLine, Record};
use crate::checkout;
use crate::disputes;
use crate::fault::Fault;
use crate::form::{Fingerprint, Form};
use crate::held;
use crate::journal::Journal;
use crate::model::{Event, Object};
use crate::rules::{Decision, Moment};
use crate::switches::Panel;
use crate::webhook::Parcel;

/// Stripe, too, expires sessions a little late.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
const SWEEP_BATCH: usize = 256;

pub struct Provider {
    desk: Mutex<Desk>,
    pub panel: Panel,
    pub api_key: String,
    pub webhook_secret: String,
    pub webhook_url: Mutex<Option<String>>,
    pub public_url: String,
    /// Webhooks that were dropped or have no address yet, oldest first.
    pub held_back: Mutex<Vec<Arc<Event>>>,
    pub outbox: mpsc::UnboundedSender<Parcel>,
    pub stop: CancellationToken,
}

pub struct Desk {
    pub books: Books,
    /// Idempotency keys of calls that have not answered yet.
    pub running: HashSet<String>,
    /// None once the sandbox was stopped or the log could not be written: every call fails from then on.
    pub journal: Option<Journal>,
}

/// An idempotency key with what it guards.
#[derive(Clone, Debug)]
pub struct Key {
    pub key: String,
    pub fingerprint: Fingerprint,
}

pub enum Claim {
    /// Go on, and drop the guard with the answer.
    Mine(Option<Running>),
    /// This was answered before.
    Replay(Answer),
}

/// Keeps a key in use until dropped.
pub struct Running {
    provider: Arc<Provider>,
    key: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        held(&self.provider.desk).running.remove(&self.key);
    }
}

impl Desk {
    /// Writes and applies one change; answers what is to be told of it.
    fn book(&mut self, records: &[Record]) -> Result<Vec<Arc<Event>>, Fault> {
        self.journal.as_mut().ok_or_else(closed)?.append(records).map_err(|error| {
            tracing::error!(%error, "cannot write the sandbox log; the sandbox answers 500 from now on");
            self.journal = None;
            closed()
        })?;
        Ok(records.iter().filter_map(|record| self.books.apply(record)).collect())
    }
}

/// Nothing can be booked any more.
fn closed() -> Fault {
    Fault::ill(500)
}

impl Provider {
    pub fn new(
        desk: Desk,
        config: super::Config,
        public_url: String,
        outbox: mpsc::UnboundedSender<Parcel>,
    ) -> Self {
        Self {
            desk: Mutex::new(desk),
            panel: Panel::default(),
            api_key: config.api_key,
            webhook_secret: config.webhook_secret,
            webhook_url: Mutex::new(config.webhook_url),
            public_url,
            held_back: Mutex::default(),
            outbox,
            stop: CancellationToken::new(),
        }
    }

    /// Runs a rule on the books, writes its records and hands its events to the courier.
    pub fn change(
        &self,
        key: Option<&Key>,
        rule: impl FnOnce(&Books, Moment) -> Decision,
    ) -> Result<Answer, Fault> {
        let moment = self.moment();
        let mut desk = held(&self.desk);
        let outcome = rule(&desk.books, moment)?;
        let mut records = outcome.records;
        records.extend(key.map(|key| Record::Key(key_line(key, &outcome.answer))));
        records.extend(outcome.afterwards);
        if let Some(key) = key {
            records.iter_mut().for_each(|record| name_cause(record, &key.key));
        }
        // Under the lock too, so that webhooks start in the order of the changes.
        for event in desk.book(&records)? {
            // Fails only while stopping; the log still knows the event.
            let _ = self.outbox.send(Parcel::new(event));
        }
        Ok(outcome.answer)
    }

    /// Looks into the books.
    pub fn read<T>(&self, look: impl FnOnce(&Books) -> Result<T, Fault>) -> Result<T, Fault> {
        look(&self.open()?.books)
    }

    /// The desk, unless nothing can be booked any more.
    fn open(&self) -> Result<MutexGuard<'_, Desk>, Fault> {
        let desk = held(&self.desk);
        if desk.journal.is_some() { Ok(desk) } else { Err(closed()) }
    }

    /// Decides whether a call with this key may run.
    pub fn claim(self: &Arc<Self>, key: Option<&Key>) -> Result<Claim, Fault> {
        let Some(Key { key, fingerprint }) = key else { return Ok(Claim::Mine(None)) };
        let mut desk = self.open()?;
        if desk.running.contains(key) {
            return Err(Fault::key_in_use(key));
        }
        if let Some(known) = desk.books.remembered(key) {
            let same = known.fingerprint == *fingerprint;
            return if same { Ok(Claim::Replay(known.answer.clone())) } else { Err(Fault::key_reused(key)) };
        }
        desk.running.insert(key.clone());
        Ok(Claim::Mine(Some(Running { provider: self.clone(), key: key.clone() })))
    }

    /// This event's webhook needs no more tries. Where it cannot be noted it is delivered once more after a restart.
    pub fn settle(&self, event: &Event) {
        let noted = held(&self.desk).book(&[Record::Settled(event.id.clone())]);
        if noted.is_err() {
            tracing::debug!(event = event.id, "a delivered webhook was not noted");
        }
    }

    /// Expires the sessions whose time is over and decides disputes as the switch says, until stopped.
    pub async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let overdue = held(&self.desk).books.overdue(self.moment().now, SWEEP_BATCH);
            for id in overdue {
                let expired =
                    self.change(None, |books, now| checkout::expire(books, &id, &Form::default(), now));
                if let Err(fault) = expired {
                    tracing::warn!(session = id, reason = %fault.message, "cannot expire a sandbox session");
                }
            }
            self.decide_disputes();
        }
    }

    fn decide_disputes(&self) {
        let Some(verdict) = self.panel.look(|switches| switches.decide_disputes) else { return };
        let open = held(&self.desk).books.open_disputes(SWEEP_BATCH);
        for id in open {
            let decided = self.change(None, |books, now| disputes::decide(books, &id, verdict, now));
            if let Err(fault) = decided {
                tracing::warn!(dispute = id, reason = %fault.message, "cannot decide a sandbox dispute");
            }
        }
    }

    /// Ends everything: the log is closed and later calls fail.
    pub fn halt(&self) {
        self.stop.cancel();
        held(&self.desk).journal = None;
    }

    fn moment(&self) -> Moment {
        let (ahead, refunds_fail) =
            self.panel.look(|switches| (switches.clock_ahead_s, switches.refunds_fail));
        Moment { now: unix_now() + ahead, refunds_fail }
    }
}

/// Seconds since 1970, as all times in this API.
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn key_line(key: &Key, answer: &Answer) -> KeyLine {
    let of = answer.object.as_ref().map(|object| match object {
        Object::Intent(intent) | Object::Charge(intent) => intent.id.clone(),
        Object::Session(session) => session.id.clone(),
        Object::Refund(refund) => refund.id.clone(),
        Object::Dispute(dispute) => dispute.id.clone(),
    });
    let Key { key, fingerprint } = key.clone();
    KeyLine { key, fingerprint, fault: answer.fault.clone(), of }
}

fn name_cause(record: &mut Record, key: &str) {
    if let Record::Event(line) = record {
        line.idempotency_key = Some(key.to_owned());
    }
}
