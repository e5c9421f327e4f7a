//! Access: the list of users, roles, passwords, and the tokens that a change of them voids.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Role, Session, User, password};
use crate::contract::{Access, Fields, Page, Paging, Request, Rule};

/// Notices of revoked tokens: `revoked.<userId>` on core NATS, with a [`Revocation`].
pub const REVOKED: &str = "revoked.";

pub fn revoked_subject(user: Uuid) -> String {
    format!("{REVOKED}{user}")
}

/// Accounts that one request may name: as many as a page has.
const USERS_MAX: usize = 100;

/// Accounts, the oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ListUsers {
    /// Part of the e-mail or of the name, without case.
    pub email: Option<String>,
    /// Only these accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<Uuid>>,
    pub paging: Paging,
}

impl Request for ListUsers {
    const SUBJECT: &'static str = "rpc.auth.list_users";
    const ACCESS: Access = Access::Admin;
    type Answer = Page<User>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
        let short = self.email.as_ref().is_none_or(|part| part.chars().count() <= 254);
        fields.check(short, "email", Rule::Length { min: 0, max: 254 });
        if let Some(ids) = &self.ids {
            fields.count(ids.len(), 0..=USERS_MAX, "ids", "accounts");
        }
    }
}

/// Promotes or demotes a user. The access tokens that the user has are void at once; the refresh tokens give the new
/// role.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRole {
    pub id: Uuid,
    pub role: Role,
}

impl Request for SetRole {
    const SUBJECT: &'static str = "rpc.auth.set_role";
    const ACCESS: Access = Access::SuperAdmin;
    type Answer = User;
    fn validate(&self, fields: &mut Fields) {
        let message = "must be USER, ADMIN or SUPER_ADMIN".to_owned();
        fields.check(self.role != Role::Guest, "role", Rule::Type { message });
    }
}

/// Disables an account, or enables it again. Disabled: all its tokens are void at once, and nobody logs in to it. Its orders
/// stay as they are.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetDisabled {
    pub id: Uuid,
    pub disabled: bool,
}

impl Request for SetDisabled {
    const SUBJECT: &'static str = "rpc.auth.set_disabled";
    const ACCESS: Access = Access::SuperAdmin;
    type Answer = User;
}

/// Changes the caller's own account; absent fields stay unchanged.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateMe {
    /// 1–100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Request for UpdateMe {
    const SUBJECT: &'static str = "rpc.auth.update_me";
    const ACCESS: Access = Access::User;
    type Answer = User;
    fn validate(&self, fields: &mut Fields) {
        match &self.name {
            Some(name) => fields.line(name, 1..=100, "name"),
            None => fields.check(false, "", Rule::NoChange),
        }
    }
}

/// Sets a new password, with the old one. Ends every other login of the account at once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangePassword {
    pub old_password: String,
    /// 8–128 characters.
    pub new_password: String,
}

impl Request for ChangePassword {
    const SUBJECT: &'static str = "rpc.auth.change_password";
    const ACCESS: Access = Access::User;
    type Answer = ();
    fn validate(&self, fields: &mut Fields) {
        let fits = (1..=512).contains(&self.old_password.len());
        fields.check(fits, "oldPassword", Rule::Bytes { min: 1, max: 512 });
        password::validate(&self.new_password, "newPassword", fields);
    }
}

/// Ends every login of the caller, including the current one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogoutEverywhere {}

impl Request for LogoutEverywhere {
    const SUBJECT: &'static str = "rpc.auth.logout_everywhere";
    const ACCESS: Access = Access::User;
    type Answer = ();
}

/// Requests a mail with a link to a new password. The answer is the same whether the account exists or not.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgotPassword {
    pub email: String,
}

impl Request for ForgotPassword {
    const SUBJECT: &'static str = "rpc.auth.forgot_password";
    const ACCESS: Access = Access::Public;
    type Answer = ();
    fn validate(&self, fields: &mut Fields) {
        fields.length(self.email.len(), 1..=254, "email");
    }
}

/// Sets a new password, with the mail's token. Ends every login of the account at once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPassword {
    pub token: String,
    /// 8–128 characters.
    pub password: String,
}

impl Request for ResetPassword {
    const SUBJECT: &'static str = "rpc.auth.reset_password";
    const ACCESS: Access = Access::Public;
    type Answer = ();
    fn validate(&self, fields: &mut Fields) {
        fields.length(self.token.len(), 1..=200, "token");
        password::validate(&self.password, "password", fields);
    }
}

/// The same for a web page, which is logged in by it: the reader of the account's mail has just chosen the password.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPasswordPage {
    pub token: String,
    /// 8–128 characters.
    pub password: String,
}

impl Request for ResetPasswordPage {
    const SUBJECT: &'static str = "rpc.auth.reset_password_page";
    const ACCESS: Access = Access::Public;
    type Answer = Session;
    fn validate(&self, fields: &mut Fields) {
        ResetPassword { token: self.token.clone(), password: self.password.clone() }.validate(fields);
    }
}

/// The access tokens of a user that are void before they expire: those of an epoch before `epoch`, but those of
/// the login that is kept from `keptFrom` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    pub user_id: Uuid,
    pub epoch: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_session: Option<Uuid>,
    #[serde(default)]
    pub kept_from: i64,
}

impl Revocation {
    pub fn voids(&self, session: Uuid, epoch: i64) -> bool {
        let kept = self.kept_session == Some(session) && epoch >= self.kept_from;
        epoch < self.epoch && !kept
    }
}

/// A login that has ended by itself: its access tokens are void, those of the user's other logins are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndedSession {
    pub session_id: Uuid,
}

/// The payload of a notice below [`REVOKED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RevocationNotice {
    Revoked(Revocation),
    Ended(EndedSession),
}

/// The revocations of the last access token's lifetime, by user, in pages, and the sessions that ended in that time. Every
/// process that verifies tokens requests them, like the keys; the gateway has no route to them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListRevocations {
    /// `next` of the page before.
    pub after: Option<Uuid>,
    /// `endedNext` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_after: Option<Uuid>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revocations {
    pub revocations: Vec<Revocation>,
    /// Where there may be more.
    pub next: Option<Uuid>,
    #[serde(default)]
    pub ended: Vec<Uuid>,
    /// Where there may be more sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_next: Option<Uuid>,
}

impl Request for ListRevocations {
    const SUBJECT: &'static str = "rpc.auth.list_revocations";
    const ACCESS: Access = Access::Public;
    type Answer = Revocations;
}
