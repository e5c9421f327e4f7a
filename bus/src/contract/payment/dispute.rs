//! A cardholder's dispute (chargeback) as the provider reports it: it may take the money back for good.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::{Money, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DisputeStatus {
    /// The bank inquires; no money has moved.
    Inquiry,
    /// The provider keeps the money until the dispute is decided.
    Open,
    /// The provider has returned the money to us.
    Won,
    Lost,
    /// An inquiry that ended without a dispute.
    Closed,
}

impl DisputeStatus {
    pub fn is_open(self) -> bool {
        matches!(self, Self::Inquiry | Self::Open)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dispute {
    pub id: Uuid,
    pub provider_ref: String,
    pub status: DisputeStatus,
    /// Absent where the provider's amount could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Money>,
    /// The provider's code of the reason, such as `fraudulent`.
    pub reason: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A dispute has begun or changed its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentDisputed {
    pub payment_id: Uuid,
    pub reservation_id: Uuid,
    pub dispute: Dispute,
    #[serde(default)]
    pub version: i64,
}
