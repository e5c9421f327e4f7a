//! Requests between hosts for the erasure of persons: which orders a user has, and which guests are to be erased after their shows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::{Access, Request, Timestamp};

/// The orders of a user, in pages of 500 by their ids. An order that a guest gave to an account is the account's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListOrdersOf {
    pub user_id: Uuid,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrdersOf {
    pub reservation_ids: Vec<Uuid>,
    /// One of these orders is not paid yet, is being exchanged, or has a refund under way.
    pub open: bool,
    /// Where there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Uuid>,
}

impl Request for ListOrdersOf {
    const SUBJECT: &'static str = "rpc.reservation.orders_of";
    const ACCESS: Access = Access::Internal;
    type Answer = OrdersOf;
}

/// Guests whose orders still have an address, though the last of their shows began before this time: at most 500, by their ids. Some
/// of them may have registered since.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPastGuests {
    pub before: Timestamp,
    /// The last id of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastGuests {
    pub user_ids: Vec<Uuid>,
}

impl Request for ListPastGuests {
    const SUBJECT: &'static str = "rpc.reservation.past_guests";
    const ACCESS: Access = Access::Internal;
    type Answer = PastGuests;
}
