//! What pays for a dearer order besides its own payment: the money of the order that it replaces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::Money;

/// Captures of one credit: each is of a dearer exchange. An order that was exchanged so often is exchanged for less only.
pub const CREDITED_CAPTURES_MAX: usize = 20;

/// Frozen when the order is made. With what its own payment charges it adds up to the order's total.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credit {
    /// The money of the replaced order.
    pub total: Money,
    /// Too little to be charged by the provider, and not charged.
    pub waived: Money,
    /// Where the money was captured, the newest first; they add up to `total`.
    pub captures: Vec<CreditedCapture>,
}

/// A part of an earlier capture.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreditedCapture {
    /// The reservation whose payment has captured it.
    pub reservation_id: Uuid,
    pub provider_ref: String,
    pub total: Money,
}
