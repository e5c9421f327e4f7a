//! Runs the rules: one lock over the state, the log, and idempotency keys.
//! Invariant: a change is decided, written to the log and applied under one lock, so memory and log have the same order, and
//! nobody reads a change that is not written.
//! A call is completed even if its caller disconnects, so the caller's outcome is unknown, as at Stripe.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkout;
use crate::disputes;
use crate::fault::Fault;
use crate::form::{Fingerprint, Form};
use crate::journal::Journal;
use crate::lock;
use crate::model::{Event, Object};
use crate::outcome::{Decision, Moment};
use crate::store::{Answer, KeyRecord, Record, Store};
use crate::switches::SwitchState;

/// Stripe, too, expires sessions a little late.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
const SWEEP_BATCH: usize = 256;

pub struct Provider {
    state: Mutex<State>,
    pub switches: SwitchState,
    pub api_key: String,
    pub webhook_secret: String,
    pub webhook_url: Mutex<Option<String>>,
    pub public_url: String,
    /// Events whose webhooks were dropped or have no address yet, oldest first.
    pub withheld: Mutex<Vec<Arc<Event>>>,
    pub deliveries: mpsc::UnboundedSender<Delivery>,
    pub stop: CancellationToken,
}

pub struct State {
    pub store: Store,
    /// Idempotency keys of calls that have not answered yet.
    pub running: HashSet<String>,
    /// `None` once the sandbox was stopped or the log could not be written: every later call fails.
    pub journal: Option<Journal>,
}

/// A webhook to be delivered.
#[derive(Debug)]
pub struct Delivery {
    pub event: Arc<Event>,
    /// Sent even while webhooks are dropped.
    pub forced: bool,
    pub since: Instant,
}

impl Delivery {
    pub fn new(event: Arc<Event>) -> Self {
        Self { event, forced: false, since: Instant::now() }
    }
}

/// An idempotency key with the fingerprint of its request.
#[derive(Clone, Debug)]
pub struct Key {
    pub key: String,
    pub fingerprint: Fingerprint,
}

/// Whether a call with an idempotency key runs.
pub enum Claim {
    /// It runs; the guard is dropped with the answer.
    Run(Option<Running>),
    /// It was answered before.
    Replay(Answer),
}

/// Marks a key as in use until dropped.
pub struct Running {
    provider: Arc<Provider>,
    key: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.provider.state).running.remove(&self.key);
    }
}

impl State {
    /// Writes and applies one change; returns its events.
    fn commit(&mut self, records: &[Record]) -> Result<Vec<Arc<Event>>, Fault> {
        self.journal.as_mut().ok_or_else(closed)?.append(records).map_err(|error| {
            tracing::error!(%error, "cannot write the sandbox log; the sandbox answers 500 from now on");
            self.journal = None;
            closed()
        })?;
        Ok(records.iter().filter_map(|record| self.store.apply(record)).collect())
    }
}

/// The log is closed, so no change is possible.
fn closed() -> Fault {
    Fault::provider_error(500)
}

impl Provider {
    pub fn new(
        state: State,
        config: super::Config,
        public_url: String,
        deliveries: mpsc::UnboundedSender<Delivery>,
    ) -> Self {
        Self {
            state: Mutex::new(state),
            switches: SwitchState::default(),
            api_key: config.api_key,
            webhook_secret: config.webhook_secret,
            webhook_url: Mutex::new(config.webhook_url),
            public_url,
            withheld: Mutex::default(),
            deliveries,
            stop: CancellationToken::new(),
        }
    }

    /// Runs a rule on the state, writes its records and queues the webhooks of its events.
    pub fn change(
        &self,
        key: Option<&Key>,
        rule: impl FnOnce(&Store, Moment) -> Decision,
    ) -> Result<Answer, Fault> {
        let moment = self.moment();
        let mut state = lock(&self.state);
        let outcome = rule(&state.store, moment)?;
        let mut records = outcome.records;
        records.extend(key.map(|key| Record::Key(key_record(key, &outcome.answer))));
        records.extend(outcome.afterwards);
        if let Some(key) = key {
            records.iter_mut().for_each(|record| set_cause(record, &key.key));
        }
        // Also under the lock, so that webhooks are queued in the order of the changes.
        for event in state.commit(&records)? {
            // Fails only during a stop; the event is in the log.
            let _ = self.deliveries.send(Delivery::new(event));
        }
        Ok(outcome.answer)
    }

    /// Reads the state.
    pub fn read<T>(&self, read: impl FnOnce(&Store) -> Result<T, Fault>) -> Result<T, Fault> {
        read(&self.open()?.store)
    }

    /// The state, unless the log is closed.
    fn open(&self) -> Result<MutexGuard<'_, State>, Fault> {
        let state = lock(&self.state);
        if state.journal.is_some() { Ok(state) } else { Err(closed()) }
    }

    /// Decides whether a call with this key may run.
    pub fn claim(self: &Arc<Self>, key: Option<&Key>) -> Result<Claim, Fault> {
        let Some(Key { key, fingerprint }) = key else { return Ok(Claim::Run(None)) };
        let mut state = self.open()?;
        if state.running.contains(key) {
            return Err(Fault::key_in_use(key));
        }
        if let Some(stored) = state.store.stored_answer(key) {
            return match stored.fingerprint == *fingerprint {
                true => Ok(Claim::Replay(stored.answer.clone())),
                false => Err(Fault::key_reused(key)),
            };
        }
        state.running.insert(key.clone());
        Ok(Claim::Run(Some(Running { provider: self.clone(), key: key.clone() })))
    }

    /// Records that this event's webhook needs no more attempts. If that fails, it is delivered again after a restart.
    pub fn settle(&self, event: &Event) {
        let recorded = lock(&self.state).commit(&[Record::Settled(event.id.clone())]);
        if recorded.is_err() {
            tracing::debug!(event = event.id, "a delivered webhook was not recorded");
        }
    }

    /// Expires sessions and decides disputes according to the switch, until stopped.
    pub async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let overdue = lock(&self.state).store.overdue(self.moment().now, SWEEP_BATCH);
            for id in overdue {
                let expired =
                    self.change(None, |store, now| checkout::expire(store, &id, &Form::default(), now));
                if let Err(fault) = expired {
                    tracing::warn!(session = id, reason = %fault.message, "cannot expire a sandbox session");
                }
            }
            self.decide_disputes();
        }
    }

    fn decide_disputes(&self) {
        let Some(verdict) = self.switches.read(|switches| switches.decide_disputes) else { return };
        let open = lock(&self.state).store.open_disputes(SWEEP_BATCH);
        for id in open {
            let decided = self.change(None, |store, now| disputes::decide(store, &id, verdict, now));
            if let Err(fault) = decided {
                tracing::warn!(dispute = id, reason = %fault.message, "cannot decide a sandbox dispute");
            }
        }
    }

    /// Closes the log; later calls fail.
    pub fn halt(&self) {
        self.stop.cancel();
        lock(&self.state).journal = None;
    }

    fn moment(&self) -> Moment {
        let (ahead, refunds_fail) =
            self.switches.read(|switches| (switches.clock_ahead_s, switches.refunds_fail));
        Moment { now: unix_now() + ahead, refunds_fail }
    }
}

/// Seconds since 1970, as all times in this API.
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn key_record(key: &Key, answer: &Answer) -> KeyRecord {
    let of = answer.object.as_ref().map(|object| match object {
        Object::Intent(intent) | Object::Charge(intent) => intent.id.clone(),
        Object::Session(session) => session.id.clone(),
        Object::Refund(refund) => refund.id.clone(),
        Object::Dispute(dispute) => dispute.id.clone(),
    });
    let Key { key, fingerprint } = key.clone();
    KeyRecord { key, fingerprint, fault: answer.fault.clone(), of }
}

fn set_cause(record: &mut Record, key: &str) {
    if let Record::Event(line) = record {
        line.idempotency_key = Some(key.to_owned());
    }
}
