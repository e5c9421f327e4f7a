//! A new password by a mail's link, as far as other hosts take part.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::{Access, Request, Timestamp};

/// Somebody asked for a new password. The link's token is no part of the event, which many may read: whoever sends
/// the mail asks for it by [`GetResetToken`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordResetRequested {
    pub reset_id: Uuid,
    pub user_id: Uuid,
    pub email: String,
    pub name: String,
    pub expires_at: Timestamp,
}

/// The token of a password reset's link. The same whenever it is asked for, until it is used or expires: 404.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetResetToken {
    pub reset_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResetToken {
    pub token: String,
}

impl Request for GetResetToken {
    const SUBJECT: &'static str = "rpc.auth.reset_token";
    const ACCESS: Access = Access::Internal;
    type Answer = ResetToken;
}
