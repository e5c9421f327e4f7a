//! A new password by a mail's link, as far as other hosts take part.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::{Access, Locale, Request, Timestamp};

/// A new password was requested. The link's token is not in the event, which many services may read: the host that sends the
/// mail requests it by [`GetResetToken`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordResetRequested {
    pub reset_id: Uuid,
    pub user_id: Uuid,
    pub email: String,
    pub name: String,
    pub expires_at: Timestamp,
    /// The language of the request, for the mail.
    #[serde(default)]
    pub locale: Locale,
}

/// The token of a password reset's link. Every request gets the same token until it is used or expires, then 404.
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
