//! Auth's contract: accounts, tokens, the key set that verifies them.
//!
//! What holds a password or a token does not show it in `Debug`, so that no log line can.

mod access;
mod audit;
pub mod password;
mod verify;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::text::{is_invisible, is_noncharacter};
use super::{Access, FieldError, Fields, Problem, Request, SeatId, Timestamp, events};

pub use access::{
    ChangePassword, EndedSession, ForgotPassword, ListRevocations, ListUsers, LogoutEverywhere, REVOKED,
    ResetPassword, Revocation, RevocationNotice, Revocations, SetDisabled, SetRole, UpdateMe,
    revoked_subject,
};
pub use audit::{AuditKind, AuditRecord, ListAudit};
pub use verify::{
    Address, EmailVerificationRequested, EmailVerified, GetAddress, GetVerificationToken, PasswordChanged,
    ResendVerification, VerificationToken, VerifyEmail,
};

/// Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
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

/// What a login gives: the access token for `Authorization: Bearer`, valid `expiresIn` seconds, and the refresh
/// token that buys one new pair.
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
}

impl Request for Register {
    const SUBJECT: &'static str = "rpc.auth.register";
    const ACCESS: Access = Access::Public;
    type Answer = Session;
    fn validate(&self, fields: &mut Fields) {
        validate_email(&self.email, "email", fields);
        password::validate_with_email(&self.password, &self.email, "password", fields);
        fields.line(&self.name, 1..=100, "name");
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
        // Only bounds: a login must not tell which rule a password in use keeps.
        fields.check((1..=254).contains(&self.email.len()), "email", "must have 1–254 characters");
        fields.check((1..=512).contains(&self.password.len()), "password", "must have 1–512 bytes");
        // An unknown one counts as none: it is no reason to refuse a login.
        let short = self.device_token.as_ref().is_none_or(|token| token.len() <= 200);
        fields.check(short, "deviceToken", "must have at most 200 characters");
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
        fields.check(
            (1..=200).contains(&self.refresh_token.len()),
            "refreshToken",
            "must have 1–200 characters",
        );
    }
}

/// The same for a browser, whose page may be gone before the answer comes. Its token may be presented again for some seconds, as
/// long as nothing that it bought was used; a program keeps the strict rule.
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
        fields.check(
            (1..=200).contains(&self.refresh_token.len()),
            "refreshToken",
            "must have 1–200 characters",
        );
    }
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

/// The public keys of access tokens.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetKeys {}

impl Request for GetKeys {
    const SUBJECT: &'static str = "rpc.auth.keys";
    const ACCESS: Access = Access::Public;
    type Answer = KeySet;
}

/// A JSON Web Key Set (RFC 7517).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeySet {
    pub keys: Vec<Key>,
    /// The `iss` and the `aud` of this instance's access tokens: its public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

/// An Ed25519 public key as a JWK (RFC 8037): `kty` OKP, `crv` Ed25519, `x` base64url.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    pub kty: String,
    pub crv: String,
    pub alg: String,
    #[serde(rename = "use")]
    pub usage: String,
    pub kid: String,
    pub x: String,
}

/// What an access token says (RFC 7519). `sid` is the login, that is the refresh token's family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    /// For whom it is meant: the API of the instance that issued it.
    #[serde(default)]
    pub aud: String,
    pub sub: Uuid,
    pub sid: Uuid,
    pub email: String,
    pub name: String,
    pub role: Role,
    /// Whether the address was proven when the token was signed; the next refresh follows a change.
    #[serde(default)]
    pub email_verified: bool,
    /// The user's access epoch: a token of an older one is void.
    #[serde(default)]
    pub epoch: i64,
    pub iat: i64,
    pub exp: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    EmailTaken,
    /// The same for an unknown mail and a wrong password.
    Credentials,
    /// Answered only to the right password, so that it tells nothing to anybody else.
    Disabled,
    /// A refresh token that is unknown, expired, or was spent before.
    RefreshToken,
    /// More logins at once than the password pool takes.
    Busy,
    /// Too many wrong passwords; the seconds until the next try.
    Throttled(u64),
    OldPassword,
    /// A token to a new password that is unknown, used or expired.
    ResetToken,
    /// A link that proves an address is unknown or expired.
    VerifyToken,
    /// More links than an account may ask for within an hour.
    VerificationLimit,
    LastSuperAdmin,
    /// A user that nobody is.
    UnknownUser,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::EmailTaken => {
                Problem::new(409, "email-taken", "There is already an account with this e-mail.")
            }
            Rejection::Credentials => {
                Problem::new(401, "credentials", "The e-mail or the password is wrong.")
            }
            Rejection::Disabled => {
                Problem::new(401, "account-disabled", "This account is disabled. Please contact the cinema.")
            }
            Rejection::RefreshToken => Problem::new(
                401,
                "refresh-token",
                "The refresh token is unknown, expired or was used before.",
            ),
            Rejection::Busy => Problem::unavailable("Too many logins at once. Try again shortly."),
            Rejection::Throttled(seconds) => Problem::new(
                429,
                "login-throttled",
                format!("Too many wrong passwords. The next try is possible in {seconds} s."),
            )
            .with_retry_after(seconds),
            Rejection::OldPassword => {
                let message = "is not the account's password".to_owned();
                Problem {
                    errors: vec![FieldError { field: "oldPassword".into(), message }],
                    ..Problem::new(422, "old-password", "The old password is wrong.")
                }
            }
            Rejection::ResetToken => {
                Problem::new(422, "reset-token", "The token is unknown, expired or was used before.")
            }
            Rejection::VerifyToken => Problem::new(422, "verify-token", "The token is unknown or expired."),
            Rejection::VerificationLimit => {
                Problem::new(429, "mails-limit", "Enough links were sent lately. Try again in an hour.")
                    .with_retry_after(60 * 60)
            }
            Rejection::LastSuperAdmin => Problem::new(
                409,
                "last-super-admin",
                "This is the last SUPER_ADMIN. Promote another one first.",
            ),
            Rejection::UnknownUser => Problem::not_found("user"),
        }
    }
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

/// Signs tickets, so that a door can check them offline against the public keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignTickets {
    pub tickets: Vec<Ticket>,
}

/// One seat's right of entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ticket {
    pub reservation_id: Uuid,
    pub showtime_id: Uuid,
    pub seat: SeatId,
    pub starts_at: Timestamp,
}

/// One compact JWS (RFC 7515) a ticket, in the order of the request; its `typ` is `ticket+jwt`, so that it is never
/// taken for an access token, nor one for it. Short claims keep its QR code coarse: `sub` the reservation,
/// `show` the showtime, `seat`, `exp` a day after the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignedTickets {
    pub tokens: Vec<String>,
}

impl Request for SignTickets {
    const SUBJECT: &'static str = "rpc.auth.sign_tickets";
    const ACCESS: Access = Access::Internal;
    type Answer = SignedTickets;
    fn validate(&self, fields: &mut Fields) {
        // No order has more seats.
        fields.check((1..=100).contains(&self.tickets.len()), "tickets", "must name 1–100 tickets");
    }
}

/// The `typ` of a ticket's header.
pub const TICKET_TYP: &str = "ticket+jwt";

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TicketClaims {
    /// The reservation.
    pub sub: Uuid,
    /// The showtime.
    pub show: Uuid,
    pub seat: SeatId,
    /// Unix seconds.
    pub exp: i64,
}

events! {
    EmailVerificationRequested => "user.verification_requested",
    EmailVerified => "user.email_verified",
    PasswordChanged => "user.password_changed",
    PasswordResetRequested => "user.password_reset_requested",
    UserRegistered => "user.registered",
    UserRoleChanged => "user.role_changed",
}

/// An address that mails can be sent to. Before the `@` only ASCII: most relays take nothing else, and the tickets would
/// never leave. A domain beyond ASCII has an ASCII form, which is used.
pub(crate) fn validate_email(email: &str, field: &str, fields: &mut Fields) {
    let well_formed = is_email(email);
    fields.check(well_formed, field, "must be an e-mail address of at most 254 characters");
    let local = email.split('@').next().unwrap_or_default();
    fields.check(
        !well_formed || local.is_ascii(),
        field,
        "must have only ASCII letters, digits and signs before the @: mail servers take no others",
    );
}

/// One `@`, something before it, a dot after it, no white space: what a mail server would at least try. The
/// proof of an address is a mail that arrives.
fn is_email(email: &str) -> bool {
    let well_sized = (3..=254).contains(&email.len());
    let clean = !email.chars().any(|c| is_invisible(c) || is_noncharacter(c) || "<>(),;:\\\"[]".contains(c));
    let mut parts = email.split('@');
    let (local, domain, rest) = (parts.next(), parts.next(), parts.next());
    let domain_ok = domain.is_some_and(|d| {
        d.contains('.') && d.split('.').all(|l| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-'))
    });
    well_sized
        && clean
        && rest.is_none()
        && local.is_some_and(|l| !l.is_empty() && l.len() <= 64)
        && domain_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_no_server_would_try_are_refused() {
        for good in ["ada@example.org", "a.b+c@mail.example.co.uk", "ü@exämple.de"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "ada",
            "@x.y",
            "a@",
            "a@b",
            "a@b..c",
            "a b@c.d",
            "a@b@c.d",
            "a@-b.c",
            "a\n@b.c",
            "<a@b.c>",
            "a\u{202E}@b.c",
            "\u{200B}@b.c",
            "a@b\u{AD}c.d",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn an_address_with_a_local_part_beyond_ascii_is_refused_with_the_reason() {
        let problems = |email: &str| {
            let mut fields = Fields::default();
            validate_email(email, "email", &mut fields);
            fields.into_result().err().map(|problem| problem.errors[0].message.clone())
        };
        assert_eq!(problems("karl@käse.example"), None);
        assert!(problems("jürgen@visitor.example").unwrap().contains("before the @"));
        assert!(problems("nobody").unwrap().contains("must be an e-mail address"));
    }
}
