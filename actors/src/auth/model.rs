//! Auth's types and pure rules: what an account, a login and a refresh token are, and what a presented refresh token is
//! worth. Facts and the time come in as arguments.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::contract::Timestamp;
use bus::contract::auth::ACCESS_LIFETIME;
use bus::contract::auth::{Claims, Rejection, Role, User};
use uuid::Uuid;

/// How long a refresh token is good: who comes back within a month stays logged in.
pub const REFRESH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long the link that proves an address is good: mails are read the next evening.
pub const VERIFICATION: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// Links of that kind that an account may ask for within an hour.
pub const VERIFICATIONS_AN_HOUR: i64 = 3;
/// How long the link to a new password is good.
pub const RESET: Duration = Duration::from_secs(30 * 60);
/// Who may say that a movie was created. NATS lets nobody else say it either.
const MOVIE_SOURCES: [&str; 2] = ["/marquee/movie", BRIDGE_SOURCE];
/// What comes from RabbitMQ, where nobody proves who they are.
pub const BRIDGE_SOURCE: &str = "/marquee/bridge";

/// An account with what proves it.
#[derive(Debug, Clone)]
pub struct Account {
    pub user: User,
    pub password_hash: String,
    /// The access epoch: the tokens of those before are void.
    pub epoch: i64,
}

/// An account as a decision about its role needs it.
#[derive(Debug, Clone)]
pub struct Standing {
    pub user: User,
    pub epoch: i64,
    pub role_changed_at: Option<Timestamp>,
}

/// A role change, which holds only while the user stands as it says.
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

/// Whether the creation of a movie makes its creator an ADMIN: a USER only, and not when somebody decided about the role
/// after it.
pub fn promotes(creator: &Standing, created_at: Timestamp) -> bool {
    creator.user.role == Role::User && creator.role_changed_at.is_none_or(|decided| decided < created_at)
}

pub fn may_tell_of_movies(source: &str) -> bool {
    MOVIE_SOURCES.contains(&source)
}

/// A refresh token as it leaves, once; only its hash is kept.
pub struct Secret {
    pub text: String,
    pub hash: [u8; 32],
}

impl Secret {
    /// 256 random bits: not to be guessed, so a plain hash keeps it well.
    pub fn new() -> Self {
        let text = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        Self { hash: secret_hash(&text), text }
    }
}

/// What is kept of a refresh token.
pub fn secret_hash(text: &str) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// So long a browser may present a spent token again: its page may have been left before the answer came. A reload and a slow
/// line take less; whoever stole the token in these seconds is found out by the rightful one's next refresh.
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
    /// `login_ends`: when the login is over however often it is refreshed.
    pub fn new(family: Uuid, secret: &Secret, now: Timestamp, login_ends: Timestamp) -> Self {
        let expires_at = now.plus(REFRESH).min(login_ends);
        Self { id: Uuid::now_v7(), family, hash: secret.hash, issued_at: now, expires_at }
    }
}

/// Why a login is over before it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    Logout,
    /// A token was presented twice: one of the two who have it stole it.
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

/// What is known of a presented refresh token.
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

/// What a presented refresh token buys.
#[derive(Debug, Clone, PartialEq)]
pub enum Worth {
    /// A new pair.
    Pair,
    /// The end of its family.
    End,
}

/// Judges a presented refresh token. Between this and the write somebody else may spend it; the write sees that.
pub fn worth(presented: &Presented, login_max: Duration, now: Timestamp) -> Result<Worth, Rejection> {
    let too_old = presented.started_at.plus(login_max) <= now;
    if presented.family_ended || too_old || presented.token.expires_at <= now {
        return Err(Rejection::RefreshToken);
    }
    Ok(if presented.spent { Worth::End } else { Worth::Pair })
}

/// The name of an account that was taken over: nothing of before, and its owner changes it.
pub fn name_of_address(email: &str) -> String {
    email.split('@').next().unwrap_or_default().chars().take(100).collect()
}

/// What e-mails are compared by.
pub fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}

/// What an access token says. `now` is this machine's clock, by which tokens are verified everywhere.
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

/// The role as the database keeps it: as the contract spells it.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "USER",
        Role::Admin => "ADMIN",
        Role::SuperAdmin => "SUPER_ADMIN",
    }
}

pub fn role_named(name: &str) -> Option<Role> {
    [Role::User, Role::Admin, Role::SuperAdmin].into_iter().find(|role| role_name(*role) == name)
}
