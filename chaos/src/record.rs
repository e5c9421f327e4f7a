//! The record of all requests and answers of the customers, against which the end state is checked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::client::Outcome;
use crate::load::Account;

/// A `POST /v1/reservations`.
#[derive(Clone, Debug)]
pub struct Order {
    pub user: Uuid,
    pub token: String,
    pub key: String,
    pub body: Value,
    pub outcome: Outcome,
    pub sent_at: OffsetDateTime,
    pub answered_at: OffsetDateTime,
}

impl Order {
    /// The id of the reservation, if the order was accepted.
    pub fn reservation(&self) -> Option<Uuid> {
        match &self.outcome {
            Outcome::Done(text) => id_of(text),
            _ => None,
        }
    }
}

/// Another request that was answered 2xx and must therefore be done.
#[derive(Clone, Debug)]
pub struct Promise {
    pub kind: PromiseKind,
    pub reservation: Uuid,
    pub answer: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromiseKind {
    Payment,
    Cancellation,
    /// A partial refund of so many minor units by staff.
    Refund(i64),
}

/// By what an order is given to an account.
#[derive(Clone, Debug)]
pub enum By {
    /// The guest's access token: all of its orders.
    Token,
    /// The token in a mail's link: this order.
    Link(String),
    /// The guest's row gets a password.
    Registration,
}

/// A request that gives a guest's orders to an account.
#[derive(Clone, Debug)]
pub struct Merge {
    pub order: Uuid,
    pub guest: Account,
    pub account: Account,
    pub by: By,
    pub outcome: Outcome,
}

/// A request that corrects the address of an order.
#[derive(Clone, Debug)]
pub struct Correction {
    pub order: Uuid,
    pub email: String,
    pub outcome: Outcome,
}

/// A repeated request with the same key that got another answer.
#[derive(Clone, Debug)]
pub struct Mismatch {
    pub key: String,
    pub first: String,
    pub second: String,
}

/// All requests and answers.
#[derive(Debug, Default)]
pub struct Record {
    pub orders: Vec<Order>,
    pub promises: Vec<Promise>,
    pub merges: Vec<Merge>,
    pub corrections: Vec<Correction>,
    /// The number of requests repeated with the same key.
    pub repeats: usize,
    pub mismatches: Vec<Mismatch>,
}

/// The record while it is written, shared by all customers.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Record>>);

impl Recorder {
    pub fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the whole record, when all customers have ended.
    pub fn take(&self) -> Record {
        std::mem::take(&mut *self.lock())
    }

    pub fn promised(&self, kind: PromiseKind, reservation: Uuid, text: &str) {
        let answer = serde_json::from_str(text).unwrap_or(json!(text));
        self.lock().promises.push(Promise { kind, reservation, answer });
    }

    /// Compares the answer to a repeat with the first one, byte for byte.
    pub fn repeated(&self, key: &str, first: &str, second: &str) {
        let mut record = self.lock();
        record.repeats += 1;
        if first != second {
            let (key, first, second) = (key.to_owned(), first.to_owned(), second.to_owned());
            record.mismatches.push(Mismatch { key, first, second });
        }
    }
}

/// The field `id` of an answer.
pub fn id_of(text: &str) -> Option<Uuid> {
    serde_json::from_str::<Value>(text).ok()?["id"].as_str()?.parse().ok()
}
