//! Proof of an e-mail address: a link that is mailed to it, and other hosts' requests about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::{Access, Fields, Locale, Request, Timestamp};

/// Proves an address by the mail's token, which is valid for three days; repeating it changes nothing.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyEmail {
    pub token: String,
}

impl Request for VerifyEmail {
    const SUBJECT: &'static str = "rpc.auth.verify_email";
    const ACCESS: Access = Access::Public;
    type Answer = ();
    fn validate(&self, fields: &mut Fields) {
        fields.length(self.token.len(), 1..=200, "token");
    }
}

/// Mails the caller another link. Nothing is mailed where the address is proven already.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResendVerification {}

impl Request for ResendVerification {
    const SUBJECT: &'static str = "rpc.auth.resend_verification";
    const ACCESS: Access = Access::User;
    type Answer = ();
}

/// The token of a verification's link. Every request gets the same token until the address is proven or the link expires, then
/// 404.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetVerificationToken {
    pub verification_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerificationToken {
    pub token: String,
}

impl Request for GetVerificationToken {
    const SUBJECT: &'static str = "rpc.auth.verification_token";
    const ACCESS: Access = Access::Internal;
    type Answer = VerificationToken;
}

/// An account's address and whether it is proven, requested when a mail is about to be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetAddress {
    pub user_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Address {
    pub email: String,
    pub verified: bool,
    /// The user is a guest, who has no account.
    #[serde(default)]
    pub guest: bool,
}

impl Request for GetAddress {
    const SUBJECT: &'static str = "rpc.auth.address";
    const ACCESS: Access = Access::Internal;
    type Answer = Address;
}

/// A link that proves the address is to be mailed. As with password resets, its token is not in the event: the host that sends
/// the mail requests it by [`GetVerificationToken`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailVerificationRequested {
    pub verification_id: Uuid,
    pub user_id: Uuid,
    pub email: String,
    pub expires_at: Timestamp,
    /// The language of the request, for the mail.
    #[serde(default)]
    pub locale: Locale,
}

/// The address is proven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailVerified {
    pub user_id: Uuid,
    pub email: String,
    pub verified_at: Timestamp,
    /// By a password reset of an account that had not proven it: the person who created the account has lost it, with the seats
    /// that it holds.
    pub taken_over: bool,
}

/// The account has another password; its owner is mailed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordChanged {
    pub user_id: Uuid,
    pub email: String,
    pub changed_at: Timestamp,
    /// By a mail's link, not by the old password.
    pub by_reset: bool,
    /// The language of the request, for the mail.
    #[serde(default)]
    pub locale: Locale,
}
