//! The input and the result of a rule, shared by all rules.

use std::borrow::Cow;

use rand::distr::{Alphanumeric, SampleString};

use crate::fault::Fault;
use crate::model::Object;
use crate::store::{Answer, EventRecord, Record};

/// When a rule runs, and the switches that concern it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: i64,
    pub refunds_fail: bool,
}

/// The result of a rule.
#[derive(Debug)]
pub struct Outcome {
    pub records: Vec<Record>,
    pub answer: Answer,
    /// Records of the same change that the answer does not show yet.
    pub afterwards: Vec<Record>,
}

pub type Decision = Result<Outcome, Fault>;

impl Outcome {
    pub fn accepted(records: Vec<Record>, object: Object) -> Self {
        let answer = Answer { fault: None, object: Some(object) };
        Self { records, answer, afterwards: Vec::new() }
    }

    pub fn rejected(records: Vec<Record>, fault: Fault, about: Object) -> Self {
        let answer = Answer { fault: Some(fault), object: Some(about) };
        Self { records, answer, afterwards: Vec::new() }
    }
}

/// An id in Stripe's style with 24 random characters.
pub fn new_id(prefix: &str) -> String {
    let mut id = prefix.to_owned();
    Alphanumeric.append_string(&mut rand::rng(), &mut id, 24);
    id
}

pub fn event(kind: &'static str, of: &str, now: i64) -> Record {
    let id = new_id("evt_");
    Record::Event(EventRecord {
        id,
        created: now,
        kind: Cow::Borrowed(kind),
        of: of.to_owned(),
        idempotency_key: None,
    })
}
