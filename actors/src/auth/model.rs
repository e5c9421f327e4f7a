//! Auth's types and pure rules: what an account, a login and a refresh token are, and what a presented refresh token is
//! worth. Facts and the time come in as arguments.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::contract::Timestamp;
use bus::contract::auth::{Claims, Rejection, Role, User};
use bus::token::ISSUER;
use uuid::Uuid;

/// How long an access token is good: also how long a role that was taken away may still be used.
pub const ACCESS: Duration = Duration::from_secs(15 * 60);
/// How long a refresh token is good: who comes back within a month stays logged in.
pub const REFRESH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// An account with what proves it.
#[derive(Debug, Clone)]
pub struct Account {
    pub user: User,
    pub password_hash: String,
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
    pub fn new(family: Uuid, secret: &Secret, now: Timestamp) -> Self {
        Self { id: Uuid::now_v7(), family, hash: secret.hash, issued_at: now, expires_at: now.plus(REFRESH) }
    }
}

/// Why a login is over before it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    Logout,
    /// A token was presented twice: one of the two who have it stole it.
    Reuse,
}

impl EndReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "LOGOUT",
            Self::Reuse => "REUSE",
        }
    }
}

/// What is known of a presented refresh token.
#[derive(Debug, Clone)]
pub struct Presented {
    pub token: RefreshToken,
    pub spent: bool,
    pub family_ended: bool,
    pub user: User,
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
pub fn worth(presented: &Presented, now: Timestamp) -> Result<Worth, Rejection> {
    if presented.family_ended || presented.token.expires_at <= now {
        return Err(Rejection::RefreshToken);
    }
    Ok(if presented.spent { Worth::End } else { Worth::Pair })
}

/// What e-mails are compared by.
pub fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}

/// What an access token says. `now` is this machine's clock, by which tokens are verified everywhere.
pub fn claims(user: &User, family: Uuid, now: Timestamp) -> Claims {
    let iat = now.unix_seconds();
    Claims {
        iss: ISSUER.to_owned(),
        sub: user.id,
        sid: family,
        email: user.email.clone(),
        name: user.name.clone(),
        role: user.role,
        iat,
        exp: iat + ACCESS.as_secs() as i64,
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
