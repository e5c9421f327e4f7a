//! Erasure: a person's name, addresses and password are removed, and their orders, tickets, postings and receipts stay without them.
//!
//! Auth decides and keeps the user's id as a tombstone. Every other domain removes what it has on [`UserErased`], and applies a
//! later copy of an older event without the personal fields.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::{Access, Fields, Request, Rule, Timestamp};

/// Erases the caller: an account by its password; a guest by its access token, or by the token of one of its orders. Refused
/// while something is open for the caller.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseMe {
    /// Required for an account; guests have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// Without the password.
impl std::fmt::Debug for EraseMe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EraseMe").finish_non_exhaustive()
    }
}

impl Request for EraseMe {
    const SUBJECT: &'static str = "rpc.auth.erase_me";
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
    type Answer = ();
    fn validate(&self, fields: &mut Fields) {
        if let Some(password) = &self.password {
            fields.check((1..=512).contains(&password.len()), "password", Rule::Bytes { min: 1, max: 512 });
        }
    }
}

/// Erases a user, who has asked the cinema for it. Only a SUPER_ADMIN erases staff.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseUser {
    pub id: Uuid,
    /// 1–200 characters, for the audit, which keeps it: without the person's name.
    pub reason: String,
}

impl Request for EraseUser {
    const SUBJECT: &'static str = "rpc.auth.erase_user";
    const ACCESS: Access = Access::Admin;
    type Answer = ();
    fn validate(&self, fields: &mut Fields) {
        fields.line(&self.reason, 1..=200, "reason");
    }
}

/// A user's personal data are to be removed everywhere. Of a user with many orders there are several of these events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserErased {
    pub user_id: Uuid,
    pub at: Timestamp,
    /// At most 500 of the user's orders, with those that a guest has given to the account.
    #[serde(default)]
    pub reservation_ids: Vec<Uuid>,
}
