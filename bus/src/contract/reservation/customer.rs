//! The customer of an order: the address that its mails go to, and the way of a guest's orders to an account.
//!
//! A guest holds seats first and gives an address before paying; an account's orders have its address from the start.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Reservation;
use crate::contract::auth::validate_email;
use crate::contract::{Access, Fields, Request, Rule};

/// Guests that one request may name.
const GUESTS_MAX: usize = 500;

/// Who an order is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Customer {
    pub email: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Sets who the order is for, while it is PENDING. A guest's order needs it before it is paid. Repeating it changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetCustomer {
    pub id: Uuid,
    pub email: String,
    /// 1–100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Request for SetCustomer {
    const SUBJECT: &'static str = "rpc.reservation.set_customer";
    const ACCESS: Access = Access::Guest;
    type Answer = Reservation;
    fn validate(&self, fields: &mut Fields) {
        validate_email(&self.email, "email", fields);
        if let Some(name) = &self.name {
            fields.line(name, 1..=100, "name");
        }
    }
}

/// Gives a guest's orders to the caller's account: all of them by the guest's access token, one by the token of the link in its
/// mail, if the account has the order's address. Their mails then go to the account's address, and earlier links open them no
/// more. Refused while one of them is being paid.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeOrders {
    pub token: String,
}

/// Without the token.
impl std::fmt::Debug for MergeOrders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergeOrders").finish_non_exhaustive()
    }
}

impl Request for MergeOrders {
    const SUBJECT: &'static str = "rpc.reservation.merge";
    const ACCESS: Access = Access::User;
    type Answer = MergedOrders;
    fn validate(&self, fields: &mut Fields) {
        fields.length(self.token.len(), 1..=2_000, "token");
    }
}

/// The orders that changed their owner; none where a repeated request finds them there already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MergedOrders {
    pub reservations: Vec<Reservation>,
}

/// The guest who made an order, if this is the order's current access number. Auth requests it when a guest registers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetGuestOrder {
    pub reservation_id: Uuid,
    pub access: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestOrder {
    pub user_id: Uuid,
    pub email: String,
    /// Another order of the user has another address.
    pub has_other_addresses: bool,
}

impl Request for GetGuestOrder {
    const SUBJECT: &'static str = "rpc.reservation.guest_order";
    const ACCESS: Access = Access::Internal;
    type Answer = GuestOrder;
}

/// Which of these guests have an order with an address. Auth deletes the others a day after they were made.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListGuestsWithOrders {
    pub user_ids: Vec<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestsWithOrders {
    pub user_ids: Vec<Uuid>,
}

impl Request for ListGuestsWithOrders {
    const SUBJECT: &'static str = "rpc.reservation.guests_with_orders";
    const ACCESS: Access = Access::Internal;
    type Answer = GuestsWithOrders;
    fn validate(&self, fields: &mut Fields) {
        let few = self.user_ids.len() <= GUESTS_MAX;
        fields.check(few, "userIds", Rule::Count { min: 0, max: GUESTS_MAX as u64, of: "guests" });
    }
}
