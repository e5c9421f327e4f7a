//! The audit log: actions with the acting user and the affected account, kept for ever. Only network and e-mail addresses are removed, after
//! 90 days or when their person is erased.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use uuid::Uuid;

use crate::contract::{Access, Fields, Page, Paging, Request, Rule, Timestamp};

/// The recorded action.
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
    /// The address was proven by a link, or by a password reset; then `details` has whether the account was taken over.
    EmailVerified,
    RefundRequested,
    PricesChanged,
    /// The fields of a site were changed, its logo among them; `details` has their names, not their values.
    SiteChanged,
    /// What a showtime has otherwise than its site: refund policy, end of the sale.
    ShowtimeRulesChanged,
    /// The mails of an order go to another address.
    AddressCorrected,
    /// A guest's orders belong to an account now.
    OrdersMerged,
    /// A user was erased; `details` has the cause, and the reason where staff did it.
    UserErased,
}

/// One record of the audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    pub id: Uuid,
    pub at: Timestamp,
    pub kind: AuditKind,
    /// The acting user, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<Uuid>,
    /// The affected account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ip: Option<IpAddr>,
    /// Further details, by kind; never a secret.
    pub details: serde_json::Value,
}

/// The audit, the latest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListAudit {
    pub kind: Option<AuditKind>,
    /// The acting user or the affected account.
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
        fields.check(ordered, "to", Rule::After { other: "from" });
    }
}
