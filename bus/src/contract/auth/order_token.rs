//! Order tokens: a mail's link carries one, so that its reader sees the order and its tickets without an account.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::Timestamp;

/// The `typ` of an order token's header, so that it is never taken for an access token or a ticket, nor one of those for it.
pub const ORDER_TYP: &str = "order+jwt";

/// The order that a token is to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderGrant {
    pub reservation_id: Uuid,
    /// The order's number: tokens with a lower one open nothing any more.
    pub access: u32,
    /// The token ends 30 days later.
    pub starts_at: Timestamp,
}

/// The claims of an order token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderClaims {
    pub iss: String,
    pub aud: String,
    /// The reservation.
    pub sub: Uuid,
    pub access: u32,
    /// Unix seconds.
    pub exp: i64,
}
