//! Auth's contract: accounts, tokens, the key set that verifies them.
//!
//! Types with a password or a token do not show it in `Debug`, so that no log line can contain it.

mod access;
mod audit;
mod email;
mod guest;
mod key;
mod order_token;
pub mod password;
mod privacy;
mod rejection;
mod reset;
mod session;
mod ticket;
mod verify;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Access, Request, Timestamp, events};

pub use access::{
    ChangePassword, EndedSession, ForgotPassword, ListRevocations, ListUsers, LogoutEverywhere, REVOKED,
    ResetPassword, ResetPasswordPage, Revocation, RevocationNotice, Revocations, SetDisabled, SetRole,
    UpdateMe, revoked_subject,
};
pub use audit::{AuditKind, AuditRecord, ListAudit};
pub(crate) use email::validate_email;
pub use guest::{CreateGuest, GuestSession, UserMerged};
pub use key::{ACCESS_LIFETIME, Claims, GUEST_LIFETIME, GetKeys, Key, KeySet};
pub use order_token::{ORDER_TYP, OrderClaims, OrderGrant};
pub use privacy::{EraseMe, EraseUser, UserErased};
pub use rejection::Rejection;
pub use reset::{GetResetToken, PasswordResetRequested, ResetToken};
pub use session::{Login, Logout, Refresh, RefreshPage, Register, Session};
pub use ticket::{SignTickets, SignedTickets, TICKET_TYP, Ticket, TicketClaims};
pub use verify::{
    Address, EmailVerificationRequested, EmailVerified, GetAddress, GetVerificationToken, PasswordChanged,
    ResendVerification, VerificationToken, VerifyEmail,
};

/// Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Buys with an e-mail address only: has no password, and its own orders are all that it may see.
    Guest,
    User,
    Admin,
    SuperAdmin,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    pub id: Uuid,
    pub email: String,
    pub name: String,
    pub role: Role,
    /// Whether a link sent to the address was used; a password reset by mail counts too.
    #[serde(default)]
    pub email_verified: bool,
    /// A SUPER_ADMIN has disabled the account: nobody logs in to it.
    #[serde(default)]
    pub disabled: bool,
    pub created_at: Timestamp,
}

/// The caller's own account.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Me {}

impl Request for Me {
    const SUBJECT: &'static str = "rpc.auth.me";
    const ACCESS: Access = Access::User;
    type Answer = User;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserRegistered {
    pub user_id: Uuid,
    pub email: String,
    pub name: String,
    pub role: Role,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserRoleChanged {
    pub user_id: Uuid,
    pub email: String,
    pub name: String,
    pub role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Uuid>,
}

events! {
    EmailVerificationRequested => "user.verification_requested",
    EmailVerified => "user.email_verified",
    UserErased => "user.erased",
    UserMerged => "user.merged",
    PasswordChanged => "user.password_changed",
    PasswordResetRequested => "user.password_reset_requested",
    UserRegistered => "user.registered",
    UserRoleChanged => "user.role_changed",
}
