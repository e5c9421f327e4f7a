//! Dead letters: an operator's requests about messages that their consumer could not handle.
//!
//! No host answers these: the gateway and the command line do, which may read the stream `DLQ`, see [`crate::dead_letter`].
//! Payloads are events of the contract, which may hold e-mail addresses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Fields, Page, Paging, Request, Rule, Timestamp};

/// A message that its consumer could not handle, with the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its place among the dead letters, by which it is replayed or dropped.
    pub sequence: u64,
    /// The event's subject, such as `payment.success`.
    pub subject: String,
    /// The event's id; empty when it had none.
    pub event_id: String,
    /// The consumer that could not handle it.
    pub consumer: String,
    pub reason: String,
    /// How often it was tried.
    pub attempts: u64,
    pub parked_at: Timestamp,
    /// The request that caused it, as in every log line about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The event itself, or its text where that is not JSON. Not in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<serde_json::Value>,
}

/// The oldest first, in the order in which things went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListDeadLetters {
    pub paging: Paging,
}

impl Request for ListDeadLetters {
    const SUBJECT: &'static str = "dead_letters.list";
    const ACCESS: Access = Access::Admin;
    type Answer = Page<DeadLetter>;

    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
        // NATS finds a message by its sequence and not by its rank, so a page is read from the beginning.
        let last = self.paging.offset() + self.paging.limit();
        fields.check(last <= PAGED_MAX, "page", Rule::PageFar { max: PAGED_MAX as u64 });
    }
}

/// Messages that can be paged through: to see more, drop some first.
const PAGED_MAX: i64 = 10_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetDeadLetter {
    pub sequence: u64,
}

impl Request for GetDeadLetter {
    const SUBJECT: &'static str = "dead_letters.get";
    const ACCESS: Access = Access::Admin;
    type Answer = DeadLetter;
}

/// Has the consumer handle the message again, and answers the result. Once handled, it is no dead letter any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayDeadLetter {
    pub sequence: u64,
}

impl Request for ReplayDeadLetter {
    const SUBJECT: &'static str = "dead_letters.replay";
    const ACCESS: Access = Access::SuperAdmin;
    type Answer = DeadLetter;
}

/// Drops the message: no consumer will handle it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropDeadLetter {
    pub sequence: u64,
}

impl Request for DropDeadLetter {
    const SUBJECT: &'static str = "dead_letters.drop";
    const ACCESS: Access = Access::SuperAdmin;
    type Answer = ();
}
