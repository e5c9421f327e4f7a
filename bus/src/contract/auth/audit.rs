//! The audit: who did what to whom, kept for ever and never changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use uuid::Uuid;

use crate::contract::{Access, Fields, Page, Paging, Request, Timestamp};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuditKind {
    Login,
    LoginFailed,
    /// Tries were refused until a delay is over; one record for each delay, not for each try.
    LoginThrottled,
    LogoutEverywhere,
    RoleChanged,
    PasswordChanged,
    PasswordResetRequested,
    PasswordReset,
    AccountDisabled,
    AccountEnabled,
    /// The address was proven by a link, or by a password reset, which then says whether the account was taken over.
    EmailVerified,
    RefundRequested,
    PricesChanged,
}

/// One record of the audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    pub id: Uuid,
    pub at: Timestamp,
    pub kind: AuditKind,
    /// Who did it, where somebody is known to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<Uuid>,
    /// The account that it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ip: Option<IpAddr>,
    /// What else there is to say, by kind; never a secret.
    pub details: serde_json::Value,
}

/// The audit, the latest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListAudit {
    pub kind: Option<AuditKind>,
    /// Who did it, or to whom it was done.
    pub user_id: Option<Uuid>,
    pub from: Option<Timestamp>,
    /// Not included.
    pub to: Option<Timestamp>,
    pub paging: Paging,
}

impl Request for ListAudit {
    const SUBJECT: &'static str = "rpc.auth.list_audit";
    const ACCESS: Access = Access::SuperAdmin;
    type Answer = Page<AuditRecord>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
        let ordered = self.from.zip(self.to).is_none_or(|(from, to)| from < to);
        fields.check(ordered, "to", "must be later than from");
    }
}
