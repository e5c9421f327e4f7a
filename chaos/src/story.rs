//! What the moviegoers asked for and what they were told: the outside's own record, against which the end is checked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::rest::Outcome;

/// A `POST /v1/reservations`.
#[derive(Clone, Debug)]
pub struct Order {
    pub user: Uuid,
    pub token: String,
    pub key: String,
    pub body: Value,
    pub outcome: Outcome,
    pub asked_at: OffsetDateTime,
    pub told_at: OffsetDateTime,
}

impl Order {
    /// The reservation's id, where it was told.
    pub fn reservation(&self) -> Option<Uuid> {
        match &self.outcome {
            Outcome::Done(text) => id_of(text),
            _ => None,
        }
    }
}

/// Anything else that was answered 2xx and must therefore be true.
#[derive(Clone, Debug)]
pub struct Promise {
    pub what: What,
    pub reservation: Uuid,
    pub answer: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Payment,
    Cancellation,
    /// Money back by staff: so many minor units.
    Refund(i64),
}

/// A repeat with the same key whose answer was another.
#[derive(Clone, Debug)]
pub struct Differs {
    pub key: String,
    pub first: String,
    pub second: String,
}

/// Everything so far.
#[derive(Debug, Default)]
pub struct Told {
    pub orders: Vec<Order>,
    pub promises: Vec<Promise>,
    /// Answers repeated with the same key, and those that differed.
    pub repeats: usize,
    pub differ: Vec<Differs>,
}

/// The record, shared by everyone who asks.
#[derive(Clone, Debug, Default)]
pub struct Story(Arc<Mutex<Told>>);

impl Story {
    pub fn look(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole of it, once nobody adds to it any more.
    pub fn taken(&self) -> Told {
        std::mem::take(&mut *self.look())
    }

    pub fn promised(&self, what: What, reservation: Uuid, text: &str) {
        let answer = serde_json::from_str(text).unwrap_or(json!(text));
        self.look().promises.push(Promise { what, reservation, answer });
    }

    /// Compares the answer to a repeat with the first one, byte for byte.
    pub fn repeated(&self, key: &str, first: &str, second: &str) {
        let mut told = self.look();
        told.repeats += 1;
        if first != second {
            let (key, first, second) = (key.to_owned(), first.to_owned(), second.to_owned());
            told.differ.push(Differs { key, first, second });
        }
    }
}

/// The `id` in an answer.
pub fn id_of(text: &str) -> Option<Uuid> {
    serde_json::from_str::<Value>(text).ok()?["id"].as_str()?.parse().ok()
}
