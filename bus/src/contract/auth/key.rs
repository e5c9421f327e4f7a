//! The public keys of access tokens, and the claims that they sign.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Role;
use crate::contract::{Access, Request};

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

/// How long an access token is valid unless it is revoked; a verifier needs to store a revocation no longer than this.
pub const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How long a guest's access token is valid: a hold with its extension, the payment, and a look at the tickets. It cannot be
/// renewed; afterwards the link in the order's mail opens the order.
pub const GUEST_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// The claims of an access token (RFC 7519). `sid` is the login, that is the refresh token's family.
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
