//! A request between hosts for the erasure of persons: whether the payments of orders are settled.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::{Access, Fields, Request, Rule};

/// Orders that one request may name: those of a page of [`crate::contract::reservation::ListOrdersOf`].
const ORDERS_MAX: usize = 500;

/// Whether one of these orders has a payment with an open attempt, refund or dispute, or one that needs a person.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AreOpen {
    pub reservation_ids: Vec<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OpenPayments {
    pub open: bool,
}

impl Request for AreOpen {
    const SUBJECT: &'static str = "rpc.payment.are_open";
    const ACCESS: Access = Access::Internal;
    type Answer = OpenPayments;
    fn validate(&self, fields: &mut Fields) {
        let few = self.reservation_ids.len() <= ORDERS_MAX;
        fields.check(few, "reservationIds", Rule::Count { min: 0, max: 500, of: "orders" });
    }
}
