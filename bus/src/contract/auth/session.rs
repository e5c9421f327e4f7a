//! Registration, login and logout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::email::validate_email;
use super::{User, password};
use crate::contract::{Access, Fields, Request, Rule};

/// The tokens of a login: the access token for `Authorization: Bearer`, valid `expiresIn` seconds, and the refresh token, which
/// is exchanged once for a new pair.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub user: User,
    pub access_token: String,
    pub refresh_token: String,
    pub expires_in: u64,
    /// After a login by password: to be kept on this device and presented with its next logins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_token: Option<String>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("user", &self.user).finish_non_exhaustive()
    }
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Register {
    /// Compared without case.
    pub email: String,
    /// 8–128 characters.
    pub password: String,
    /// 1–100 characters.
    pub name: String,
    /// The token of the link in a guest's mail: the account keeps the guest's id and so its orders. The e-mail must be the
    /// order's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_token: Option<String>,
}

impl Request for Register {
    const SUBJECT: &'static str = "rpc.auth.register";
    const ACCESS: Access = Access::Public;
    type Answer = Session;
    fn validate(&self, fields: &mut Fields) {
        validate_email(&self.email, "email", fields);
        password::validate_with_email(&self.password, &self.email, "password", fields);
        fields.line(&self.name, 1..=100, "name");
        let fits = self.order_token.as_ref().is_none_or(|token| (1..=2_000).contains(&token.len()));
        fields.check(fits, "orderToken", Rule::Length { min: 1, max: 2_000 });
    }
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    pub email: String,
    pub password: String,
    /// `deviceToken` of an earlier login of this account on this device. With it, wrong passwords that others try do not
    /// delay this login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_token: Option<String>,
}

impl Request for Login {
    const SUBJECT: &'static str = "rpc.auth.login";
    const ACCESS: Access = Access::Public;
    type Answer = Session;
    fn validate(&self, fields: &mut Fields) {
        // Only bounds: a login must not reveal which rules an existing password satisfies.
        fields.length(self.email.len(), 1..=254, "email");
        let fits = (1..=512).contains(&self.password.len());
        fields.check(fits, "password", Rule::Bytes { min: 1, max: 512 });
        // An unknown token counts as none: it is no reason to refuse a login.
        let short = self.device_token.as_ref().is_none_or(|token| token.len() <= 200);
        fields.check(short, "deviceToken", Rule::Length { min: 0, max: 200 });
    }
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    pub refresh_token: String,
}

impl Request for Refresh {
    const SUBJECT: &'static str = "rpc.auth.refresh";
    const ACCESS: Access = Access::Public;
    type Answer = Session;
    fn validate(&self, fields: &mut Fields) {
        fields.length(self.refresh_token.len(), 1..=200, "refreshToken");
    }
}

/// The same for a browser, whose page may be gone before the answer arrives. Its token may be presented again for some seconds,
/// as long as the new tokens are unused; for other clients a token works once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefreshPage {
    pub refresh_token: String,
}

impl Request for RefreshPage {
    const SUBJECT: &'static str = "rpc.auth.refresh_page";
    const ACCESS: Access = Access::Public;
    type Answer = Session;
    fn validate(&self, fields: &mut Fields) {
        Refresh { refresh_token: self.refresh_token.clone() }.validate(fields);
    }
}

/// Ends the refresh token's whole family, that is: this login.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Logout {
    pub refresh_token: String,
}

impl Request for Logout {
    const SUBJECT: &'static str = "rpc.auth.logout";
    const ACCESS: Access = Access::User;
    type Answer = ();
    fn validate(&self, fields: &mut Fields) {
        fields.length(self.refresh_token.len(), 1..=200, "refreshToken");
    }
}
