//! Guests: customers without an account, who buy with an e-mail address only.
//!
//! A guest is a user without a password. Its access token owns the orders that are made with it, and nothing else. An order goes
//! to an account by [`super::Register`] with the order's token, which keeps the guest's id, or by
//! [`crate::contract::reservation::MergeOrders`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::{Access, Request};

/// Makes a guest. Without an order it is deleted after a day.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGuest {}

impl Request for CreateGuest {
    const SUBJECT: &'static str = "rpc.auth.create_guest";
    const ACCESS: Access = Access::Public;
    type Answer = GuestSession;
}

/// A guest's access token, valid `expiresIn` seconds. It cannot be renewed.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestSession {
    pub user_id: Uuid,
    pub access_token: String,
    pub expires_in: u64,
}

impl std::fmt::Debug for GuestSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestSession").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

/// Orders of a guest belong to an account now. Published by reservation, in the commit that changes their owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserMerged {
    pub guest_id: Uuid,
    /// The account.
    pub user_id: Uuid,
    /// The account's address, which the orders' mails go to.
    pub email: String,
    pub reservation_ids: Vec<Uuid>,
}
