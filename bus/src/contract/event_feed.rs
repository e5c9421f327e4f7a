//! The events of the deployment, as staff watch them.
//!
//! No host answers this: the gateway does, which may read the stream `EVENTS`, see [`crate::event_feed`]. Events are shown
//! unchanged and may contain e-mail addresses, so only users who may see every order and every user may read them.

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
    /// The service that published it, `/marquee/payment`; empty when it named none.
    pub source: String,
    /// When the event happened.
    pub time: Timestamp,
    /// The request that caused it, as in every log line about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The payload, or its text where that is not JSON.
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
