//! The sandbox's state in memory: a fold over records. Only `apply` changes it, both live and when the log is replayed.
//! Invariant: one change is one line of the log, so a truncated line loses a whole change or nothing of it.
//! Beyond a number, events and idempotency keys expire, oldest first (at Stripe after 30 days and 24 hours), so that a long
//! load test does not exhaust the memory; payments, sessions and refunds are kept for ever.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::form::{Fingerprint, Form};
use crate::model::{Dispute, DisputeStatus, Event, Object, PaymentIntent, Refund, Session, SessionStatus};

/// About 150 bytes each: objects are shared with the tables.
const EVENTS_KEPT_MAX: usize = 300_000;
const KEYS_KEPT_MAX: usize = 300_000;

/// One record of the log, in the order of the changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    Intent(Arc<PaymentIntent>),
    Session(Arc<Session>),
    Refund(Arc<Refund>),
    Dispute(Arc<Dispute>),
    Event(EventRecord),
    Key(KeyRecord),
    /// This event's webhook was accepted, or given up.
    Settled(String),
}

/// An event with the id of its object, whose snapshot follows from the records before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventRecord {
    pub id: String,
    pub created: i64,
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    pub of: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// An answer that is replayed for its idempotency key; `of` is the id of the object in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyRecord {
    pub key: String,
    pub fingerprint: Fingerprint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// The answer to a call.
#[derive(Clone, Debug)]
pub struct Answer {
    pub fault: Option<Fault>,
    pub object: Option<Object>,
}

#[derive(Debug)]
pub struct StoredAnswer {
    pub fingerprint: Fingerprint,
    pub answer: Answer,
}

/// An object that is stored by id and listed newest first.
pub trait Row {
    fn id(&self) -> &str;
    fn created(&self) -> i64;
}

macro_rules! row {
    ($($kind:ty),*) => {$(
        impl Row for $kind {
            fn id(&self) -> &str {
                &self.id
            }
            fn created(&self) -> i64 {
                self.created
            }
        }
    )*};
}
row!(PaymentIntent, Session, Refund, Dispute, Event);

/// Objects of one kind, by id and in the order of their creation.
#[derive(Debug)]
pub struct Table<T> {
    places: HashMap<String, u64>,
    rows: BTreeMap<u64, Arc<T>>,
    next: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { places: HashMap::new(), rows: BTreeMap::new(), next: 0 }
    }
}

impl<T: Row> Table<T> {
    pub fn get(&self, id: &str) -> Option<&Arc<T>> {
        self.places.get(id).and_then(|place| self.rows.get(place))
    }

    fn put(&mut self, row: Arc<T>) {
        let next = self.next;
        let place = *self.places.entry(row.id().to_owned()).or_insert(next);
        self.next += u64::from(place == next);
        self.rows.insert(place, row);
    }

    pub fn any(&self, wanted: impl Fn(&T) -> bool) -> bool {
        self.rows.values().any(|row| wanted(row))
    }

    fn keep_newest(&mut self, kept_max: usize) {
        while self.rows.len() > kept_max {
            let Some((_, oldest)) = self.rows.pop_first() else { return };
            self.places.remove(oldest.id());
        }
    }

    /// One page, newest first, by Stripe's `limit`, `starting_after` and `created[…]`; true when there are more.
    pub fn page(&self, form: &Form, keep: impl Fn(&T) -> bool) -> Result<(Vec<Arc<T>>, bool), Fault> {
        let limit = form.integer("limit")?.unwrap_or(10);
        if !(1..=100).contains(&limit) {
            let message = "This value must be between 1 and 100.";
            return Err(Fault::invalid(message).code("parameter_invalid_integer").param("limit"));
        }
        let below = match form.get("starting_after") {
            None => u64::MAX,
            Some(id) => {
                *self.places.get(id).ok_or_else(|| Fault::missing(400, "object", id, "starting_after"))?
            }
        };
        let bound = |name: &str| form.integer(&format!("created[{name}]"));
        let (gte, gt, lte, lt) = (bound("gte")?, bound("gt")?, bound("lte")?, bound("lt")?);
        let in_time = |at: i64| {
            gte.is_none_or(|t| at >= t)
                && gt.is_none_or(|t| at > t)
                && lte.is_none_or(|t| at <= t)
                && lt.is_none_or(|t| at < t)
        };
        // Rows are ordered by time except for the effect of the clock switch: a row a day before the bound ends the search.
        let earliest = gte.or(gt).map_or(i64::MIN, |bound| bound.saturating_sub(24 * 60 * 60));
        let matching = self.rows.range(..below).rev().map(|(_, row)| row);
        let matching = matching.take_while(|row| row.created() >= earliest);
        let mut found: Vec<_> = matching
            .filter(|row| in_time(row.created()) && keep(row))
            .take(usize::try_from(limit).unwrap_or(100) + 1)
            .cloned()
            .collect();
        let more = found.len() as i64 > limit;
        found.truncate(usize::try_from(limit).unwrap_or(100));
        Ok((found, more))
    }
}

#[derive(Debug, Default)]
pub struct Store {
    pub intents: Table<PaymentIntent>,
    pub sessions: Table<Session>,
    pub refunds: Table<Refund>,
    pub disputes: Table<Dispute>,
    pub events: Table<Event>,
    keys: HashMap<String, StoredAnswer>,
    keys_by_age: VecDeque<String>,
    /// Open sessions by the second in which they expire.
    expiring: BTreeSet<(i64, String)>,
    open_disputes: BTreeSet<String>,
    unsettled: HashSet<String>,
}

impl Store {
    /// Applies one record; returns an event with its object, for delivery.
    pub fn apply(&mut self, record: &Record) -> Option<Arc<Event>> {
        match record {
            Record::Intent(intent) => self.intents.put(intent.clone()),
            Record::Refund(refund) => self.refunds.put(refund.clone()),
            Record::Dispute(dispute) => {
                match dispute.status {
                    DisputeStatus::NeedsResponse => self.open_disputes.insert(dispute.id.clone()),
                    DisputeStatus::Won | DisputeStatus::Lost => self.open_disputes.remove(&dispute.id),
                };
                self.disputes.put(dispute.clone());
            }
            Record::Session(session) => {
                let entry = (session.expires_at, session.id.clone());
                match session.status {
                    SessionStatus::Open => self.expiring.insert(entry),
                    SessionStatus::Complete | SessionStatus::Expired => self.expiring.remove(&entry),
                };
                self.sessions.put(session.clone());
            }
            Record::Key(line) => self.add_key(line),
            Record::Settled(id) => {
                self.unsettled.remove(id);
            }
            Record::Event(line) => return self.add_event(line),
        }
        None
    }

    fn add_event(&mut self, line: &EventRecord) -> Option<Arc<Event>> {
        let object = match (self.object(&line.of)?, line.kind.starts_with("charge.")) {
            (Object::Intent(intent), true) => Object::Charge(intent),
            (object, _) => object,
        };
        let event = Arc::new(Event {
            id: line.id.clone(),
            created: line.created,
            kind: line.kind.clone(),
            object,
            idempotency_key: line.idempotency_key.clone(),
        });
        self.events.put(event.clone());
        self.events.keep_newest(EVENTS_KEPT_MAX);
        self.unsettled.insert(line.id.clone());
        Some(event)
    }

    fn add_key(&mut self, line: &KeyRecord) {
        let object = line.of.as_deref().and_then(|id| self.object(id));
        let answer = Answer { fault: line.fault.clone(), object };
        let remembered = StoredAnswer { fingerprint: line.fingerprint.clone(), answer };
        if self.keys.insert(line.key.clone(), remembered).is_none() {
            self.keys_by_age.push_back(line.key.clone());
        }
        while self.keys_by_age.len() > KEYS_KEPT_MAX {
            self.keys_by_age.pop_front().and_then(|oldest| self.keys.remove(&oldest));
        }
    }

    /// The answer that was given under this idempotency key.
    pub fn stored_answer(&self, key: &str) -> Option<&StoredAnswer> {
        self.keys.get(key)
    }

    pub fn is_settled(&self, event_id: &str) -> bool {
        !self.unsettled.contains(event_id)
    }

    /// Events whose webhook is not yet settled, oldest first.
    pub fn undelivered(&self) -> Vec<Arc<Event>> {
        let waiting = self.events.rows.values().filter(|event| !self.is_settled(&event.id));
        waiting.cloned().collect()
    }

    /// Open sessions that have expired, at most `limit` of them.
    pub fn overdue(&self, now: i64, limit: usize) -> Vec<String> {
        let due = self.expiring.iter().take_while(|(at, _)| *at <= now);
        due.take(limit).map(|(_, id)| id.clone()).collect()
    }

    /// Undecided disputes, at most `limit` of them.
    pub fn open_disputes(&self, limit: usize) -> Vec<String> {
        self.open_disputes.iter().take(limit).cloned().collect()
    }

    fn object(&self, id: &str) -> Option<Object> {
        match id.split('_').next()? {
            "pi" => self.intents.get(id).cloned().map(Object::Intent),
            "cs" => self.sessions.get(id).cloned().map(Object::Session),
            "re" => self.refunds.get(id).cloned().map(Object::Refund),
            "dp" => self.disputes.get(id).cloned().map(Object::Dispute),
            _ => None,
        }
    }
}
