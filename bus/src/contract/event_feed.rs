//! The events of the house as people see them who watch it.
//!
//! No host answers this: whoever may hear the stream `EVENTS` (the gateway) does, see [`crate::event_feed`]. An event is
//! shown as it is, which may hold e-mail addresses, so it is for those who may see every order and every user.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Request, Timestamp};

/// An event that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Happened {
    /// The event's id; empty when it had none.
    pub id: String,
    /// Such as `payment.success`.
    pub subject: String,
    /// Who said it, `/marquee/payment`; empty when nobody did.
    pub source: String,
    /// When it became true.
    pub time: Timestamp,
    /// The request that caused it, as in every log line about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// What it says, or its text where that is not JSON.
    pub data: serde_json::Value,
}

/// The last events, and each one that follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchEvents {}

impl Request for WatchEvents {
    const SUBJECT: &'static str = "events.watch";
    const ACCESS: Access = Access::Admin;
    type Answer = Vec<Happened>;
}
