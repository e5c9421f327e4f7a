//! Auth's types and pure rules: accounts, logins, refresh tokens, and what using a refresh token leads to. Facts and the time
//! are arguments.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::contract::Timestamp;
use bus::contract::auth::{ACCESS_LIFETIME, Claims, GUEST_LIFETIME, Rejection, Role, User};
use uuid::Uuid;

/// How long a refresh token is valid: a user who comes back within a month stays logged in.
pub const REFRESH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long the link that proves an address is valid: mails are read the next evening.
pub const VERIFICATION: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// How long a guest without an order is kept: far longer than its token is valid.
pub const GUEST_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Links of that kind that an account may request within an hour.
pub const VERIFICATIONS_PER_HOUR: i64 = 3;
/// How long the link to a new password is valid.
pub const RESET: Duration = Duration::from_secs(30 * 60);
/// Resets that an account may request within an hour: a slow mail is requested twice, a flood of mails annoys.
pub const RESETS_PER_HOUR: i64 = 3;
/// The sources that may publish `movie.created`. NATS permits no other user to publish it.
const MOVIE_SOURCES: [&str; 2] = ["/marquee/movie", BRIDGE_SOURCE];
/// The source of events from RabbitMQ, where publishers are not authenticated.
pub const BRIDGE_SOURCE: &str = "/marquee/bridge";

/// An account with its password hash.
#[derive(Debug, Clone)]
pub struct Account {
    pub user: User,
    pub password_hash: String,
    /// The access epoch: tokens of earlier epochs are revoked.
    pub epoch: i64,
}

/// The facts of a user that an erasure needs. It is written only while the user is as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Erasable {
    pub id: Uuid,
    pub role: Role,
    pub is_guest: bool,
    pub epoch: i64,
    /// Empty for guests.
    pub email_key: String,
}

/// The facts of an account that a decision about its role needs.
#[derive(Debug, Clone)]
pub struct Standing {
    pub user: User,
    pub epoch: i64,
    pub role_changed_at: Option<Timestamp>,
}

/// A role change, which is written only while the user is as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleChange {
    pub user: Uuid,
    pub epoch: i64,
    pub from: Role,
    pub to: Role,
}

impl Standing {
    pub fn to(&self, role: Role) -> RoleChange {
        RoleChange { user: self.user.id, epoch: self.epoch, from: self.user.role, to: role }
    }
}

/// Whether the creation of a movie makes its creator an ADMIN: only a USER, and only if the role was not changed after it.
pub fn promotes(creator: &Standing, created_at: Timestamp) -> bool {
    creator.user.role == Role::User && creator.role_changed_at.is_none_or(|decided| decided < created_at)
}

pub fn may_publish_movies(source: &str) -> bool {
    MOVIE_SOURCES.contains(&source)
}

/// A refresh token as the client gets it; only its hash is stored.
pub struct Secret {
    pub text: String,
    pub hash: [u8; 32],
}

impl Secret {
    /// 256 random bits cannot be guessed, so a plain hash is enough.
    pub fn new() -> Self {
        let text = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        Self { hash: secret_hash(&text), text }
    }
}

/// The hash of a refresh token, as it is stored.
pub fn secret_hash(text: &str) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// How long a browser may use a spent token again: its page may have been left before the answer came. A reload and a slow
/// line take less; a token that was stolen in these seconds is detected by the owner's next refresh.
pub const LOST_ANSWER: Duration = Duration::from_secs(10);

/// A refresh token's row.
#[derive(Debug, Clone, PartialEq)]
pub struct RefreshToken {
    pub id: Uuid,
    /// The login that it comes from.
    pub family: Uuid,
    pub hash: [u8; 32],
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

impl RefreshToken {
    /// `login_ends`: when the login is over, however often it is refreshed.
    pub fn new(family: Uuid, secret: &Secret, now: Timestamp, login_ends: Timestamp) -> Self {
        let expires_at = now.plus(REFRESH).min(login_ends);
        Self { id: Uuid::now_v7(), family, hash: secret.hash, issued_at: now, expires_at }
    }
}

/// Why a login is over before it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    Logout,
    /// A token was used twice: one of its two holders stole it.
    Reuse,
    /// The password was changed or reset.
    Password,
    /// The user ended all logins.
    Everywhere,
    /// The account was disabled.
    Disabled,
}

impl EndReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "LOGOUT",
            Self::Reuse => "REUSE",
            Self::Password => "PASSWORD",
            Self::Everywhere => "EVERYWHERE",
            Self::Disabled => "DISABLED",
        }
    }
}

/// The facts about a refresh token that a client uses.
#[derive(Debug, Clone)]
pub struct Presented {
    pub token: RefreshToken,
    pub spent: bool,
    pub family_ended: bool,
    /// When the login began.
    pub started_at: Timestamp,
    pub user: User,
    pub epoch: i64,
}

/// What using a refresh token leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Worth {
    /// A new pair.
    Pair,
    /// The end of its family.
    End,
}

/// Decides what using a refresh token leads to. If another request spends it before the write, the write detects that.
pub fn worth(presented: &Presented, login_max: Duration, now: Timestamp) -> Result<Worth, Rejection> {
    let too_old = presented.started_at.plus(login_max) <= now;
    if presented.family_ended || too_old || presented.token.expires_at <= now {
        return Err(Rejection::RefreshToken);
    }
    Ok(if presented.spent { Worth::End } else { Worth::Pair })
}

/// The name of an account that was taken over: nothing of the former one; its owner can change it.
pub fn name_of_address(email: &str) -> String {
    email.split('@').next().unwrap_or_default().chars().take(100).collect()
}

/// The form in which e-mail addresses are compared.
pub fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}

/// The claims of an access token. `now` is this machine's clock, by which tokens are verified everywhere.
pub fn claims(issuer: &str, user: &User, epoch: i64, family: Uuid, now: Timestamp) -> Claims {
    let iat = now.unix_seconds();
    Claims {
        iss: issuer.to_owned(),
        aud: issuer.to_owned(),
        sub: user.id,
        sid: family,
        email: user.email.clone(),
        name: user.name.clone(),
        role: user.role,
        email_verified: user.email_verified,
        epoch,
        iat,
        exp: iat + ACCESS_LIFETIME.as_secs() as i64,
    }
}

/// The claims of a guest's access token. It has no login, so that its session id is its own.
pub fn guest_claims(issuer: &str, guest: Uuid, now: Timestamp) -> Claims {
    let iat = now.unix_seconds();
    Claims {
        iss: issuer.to_owned(),
        aud: issuer.to_owned(),
        sub: guest,
        sid: guest,
        email: String::new(),
        name: String::new(),
        role: Role::Guest,
        email_verified: false,
        epoch: 0,
        iat,
        exp: iat + GUEST_LIFETIME.as_secs() as i64,
    }
}

/// The role as the database stores it: spelled as in the contract. A guest's row has the role that registering gives it.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Guest | Role::User => "USER",
        Role::Admin => "ADMIN",
        Role::SuperAdmin => "SUPER_ADMIN",
    }
}

pub fn role_named(name: &str) -> Option<Role> {
    [Role::User, Role::Admin, Role::SuperAdmin].into_iter().find(|role| role_name(*role) == name)
}
