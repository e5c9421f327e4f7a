//! Verifies access tokens: Ed25519 JWTs whose key is named by `kid`.
//!
//! A verified token is cached by the hash of its text, so that the token of an active user is verified once. Keys come from
//! the configuration or, for an unknown `kid`, from `rpc.auth.keys`. Whether a token was revoked is checked each time, in
//! memory ([`crate::revoked`]).
//!
//! The token of an order is verified alike. Invariant: it permits only requests that name it ([`authorize`]); the host compares
//! order and number.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::DeserializeOwned;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::contract::auth::{Claims, GetKeys, Key, KeySet, ORDER_TYP, OrderClaims, Role};
use crate::contract::{Access, Problem, Timestamp};
use crate::request::Ask;
use crate::revoked::{self, Revoked};
use crate::{Bus, Context};

/// Issuer and audience of a deployment that has no public address.
pub const ISSUER: &str = "marquee";
/// Cached tokens: some 200 bytes each, so at most 20 MB.
const CACHED_MAX: usize = 100_000;
/// A cached token is verified again after this, which bounds how long a removed key still works.
const CACHED_FOR: Duration = Duration::from_secs(300);
/// An unknown `kid` causes a request for the key set at most this often, so that forged tokens cannot cause a flood of them.
const KEYS_REQUESTED_EVERY: Duration = Duration::from_secs(2);

/// The caller of a request, as proved by the token.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    pub user_id: Uuid,
    /// The login that the token came from.
    pub session_id: Uuid,
    pub email: String,
    pub name: String,
    pub role: Role,
    /// Whether the e-mail address was proven when the token was signed.
    pub email_verified: bool,
    /// Unix seconds.
    pub expires_at: i64,
    /// The order that the token opens, and nothing else: nobody is logged in, and `user_id` is the order's id.
    pub order: Option<OpenedOrder>,
}

/// What a mail's link opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedOrder {
    pub reservation_id: Uuid,
    pub access: u32,
}

#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    bus: Bus,
    keys: RwLock<HashMap<String, DecodingKey>>,
    /// `iss` and `aud` of this deployment's tokens, once they are known from the configuration or from auth.
    issuer: RwLock<Option<String>>,
    /// Ids of the keys from the configuration, in contrast to those from auth.
    configured: RwLock<HashSet<String>>,
    keys_requested_at: tokio::sync::Mutex<Option<Instant>>,
    cache: RwLock<HashMap<[u8; 32], CachedToken>>,
    revoked: Arc<Revoked>,
    _listening: DropGuard,
}

#[derive(Clone)]
struct CachedToken {
    identity: Arc<Identity>,
    /// The user's access epoch when the token was signed.
    epoch: i64,
    at: Instant,
}

impl Verifier {
    /// Subscribes to revocations from now on; needs a runtime.
    pub fn new(bus: Bus, keys: &KeySet) -> Self {
        let (revoked, stop) = (Arc::<Revoked>::default(), CancellationToken::new());
        tokio::spawn(revoked::listen(bus.clone(), revoked.clone(), stop.clone()));
        let verifier = Self(Arc::new(Inner {
            bus,
            keys: RwLock::default(),
            issuer: RwLock::default(),
            configured: RwLock::default(),
            keys_requested_at: tokio::sync::Mutex::new(None),
            cache: RwLock::default(),
            revoked,
            _listening: stop.drop_guard(),
        }));
        verifier.add(keys);
        verifier
    }

    /// Accepts tokens of these keys, whatever keys auth has.
    pub fn add(&self, set: &KeySet) {
        let mut configured = self.0.configured.write().unwrap_or_else(|e| e.into_inner());
        configured.extend(set.keys.iter().map(|key| key.kid.clone()));
        drop(configured);
        self.learn(set);
    }

    fn learn(&self, set: &KeySet) {
        if set.issuer.is_some() {
            self.0.issuer.write().unwrap_or_else(|e| e.into_inner()).clone_from(&set.issuer);
        }
        let mut keys = self.0.keys.write().unwrap_or_else(|e| e.into_inner());
        for key in set.keys.iter().filter(|k| k.crv == "Ed25519") {
            match DecodingKey::from_ed_components(&key.x) {
                Ok(decoding) => {
                    keys.insert(key.kid.clone(), decoding);
                }
                Err(error) => tracing::error!(kid = key.kid, %error, "unusable public key"),
            }
        }
    }

    /// The token's owner; 401 if the signature, the times or the key are not valid. 503 if the key set is needed and not
    /// available.
    pub async fn verify(&self, token: &str) -> Result<Arc<Identity>, Problem> {
        let now = Timestamp::wall_clock().unix_seconds();
        let hash = hash(token);
        if let Some(CachedToken { identity, epoch, .. }) = self.cached(&hash) {
            return if identity.expires_at > now {
                self.unless_revoked(identity, epoch)
            } else {
                Err(expired())
            };
        }
        let (kid, kind) = key_id(token)?;
        let key = match self.key(&kid) {
            Some(key) => key,
            None => {
                self.request_keys().await?;
                self.key(&kid).ok_or_else(invalid)?
            }
        };
        let (identity, epoch) = match kind {
            Kind::Access => of_access(self.claims(token, &key).await?),
            Kind::Order => (of_order(&self.claims(token, &key).await?), 0),
        };
        let identity = Arc::new(identity);
        self.store(hash, identity.clone(), epoch);
        self.unless_revoked(identity, epoch)
    }

    /// The token's claims, after signature, times, issuer and audience were verified.
    async fn claims<C: DeserializeOwned>(&self, token: &str, key: &DecodingKey) -> Result<C, Problem> {
        let mut issuer = self.issuer();
        if issuer.is_none() {
            self.request_keys().await?;
            issuer = self.issuer();
        }
        let first = read_claims(token, key, issuer.as_deref().unwrap_or(ISSUER));
        // The deployment's address may have changed: read it from auth again. Only correctly signed tokens get here.
        let is_foreign =
            |error: &ErrorKind| matches!(error, ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience);
        let read = match first {
            Err(error) if is_foreign(&error) => {
                self.request_keys().await?;
                read_claims(token, key, self.issuer().as_deref().unwrap_or(ISSUER))
            }
            read => read,
        };
        read.map_err(|error| if error == ErrorKind::ExpiredSignature { expired() } else { invalid() })
    }

    fn issuer(&self) -> Option<String> {
        self.0.issuer.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn unless_revoked(&self, identity: Arc<Identity>, epoch: i64) -> Result<Arc<Identity>, Problem> {
        // An order's token has no login; its host knows whether it is still good.
        if identity.order.is_some() {
            return Ok(identity);
        }
        if self.0.revoked.is_void(identity.user_id, identity.session_id, epoch) {
            return Err(Problem::unauthorized(
                "token-revoked",
                "The access token was revoked. Use the refresh token, or log in again.",
            ));
        }
        Ok(identity)
    }

    fn key(&self, kid: &str) -> Option<DecodingKey> {
        self.0.keys.read().unwrap_or_else(|e| e.into_inner()).get(kid).cloned()
    }

    async fn request_keys(&self) -> Result<(), Problem> {
        let mut requested_at = self.0.keys_requested_at.lock().await;
        if requested_at.is_some_and(|at| at.elapsed() < KEYS_REQUESTED_EVERY) {
            return Ok(());
        }
        let ask = Ask::new(Context::new());
        let mut keys = self.0.bus.ask(&GetKeys {}, &ask).await?;
        // An auth host of an earlier version does not send it.
        keys.issuer.get_or_insert_with(|| ISSUER.to_owned());
        self.learn(&keys);
        // A key that auth no longer has is not used any more: after a rotation a leaked key must not stay valid here.
        let configured = self.0.configured.read().unwrap_or_else(|e| e.into_inner());
        let current: HashSet<&str> = keys.keys.iter().map(|key| key.kid.as_str()).collect();
        let mut stored = self.0.keys.write().unwrap_or_else(|e| e.into_inner());
        stored.retain(|kid, _| configured.contains(kid) || current.contains(kid.as_str()));
        *requested_at = Some(Instant::now());
        Ok(())
    }

    fn cached(&self, hash: &[u8; 32]) -> Option<CachedToken> {
        let cache = self.0.cache.read().unwrap_or_else(|e| e.into_inner());
        cache.get(hash).filter(|cached| cached.at.elapsed() < CACHED_FOR).cloned()
    }

    fn store(&self, hash: [u8; 32], identity: Arc<Identity>, epoch: i64) {
        let mut cache = self.0.cache.write().unwrap_or_else(|e| e.into_inner());
        if cache.len() >= CACHED_MAX {
            cache.retain(|_, cached| cached.at.elapsed() < CACHED_FOR);
            if cache.len() >= CACHED_MAX {
                cache.clear();
            }
        }
        cache.insert(hash, CachedToken { identity, epoch, at: Instant::now() });
    }
}

/// Whether `identity` has the rights that `access` demands: 401 without a token, 403 without the role. `by_order`: whether the
/// token of an order permits it, too.
pub fn authorize(access: Access, by_order: bool, identity: Option<&Identity>) -> Result<(), Problem> {
    let needed = match access {
        Access::Public | Access::Internal => return Ok(()),
        Access::Guest => Role::Guest,
        Access::User => Role::User,
        Access::Admin => Role::Admin,
        Access::SuperAdmin => Role::SuperAdmin,
    };
    let Some(identity) = identity else {
        return Err(Problem::unauthorized(
            "token-missing",
            "This needs a bearer token in the Authorization header.",
        ));
    };
    let is_permitted = match identity.order {
        Some(_) => by_order && needed <= Role::User,
        None => identity.role >= needed,
    };
    if is_permitted { Ok(()) } else { Err(Problem::new(403, "role", "Your role does not allow this.")) }
}

/// The JWK of an Ed25519 public key; its `kid` is derived from the key, so that it is the same on every host.
pub fn jwk(public_key: &[u8]) -> Key {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let digest = ring::digest::digest(&ring::digest::SHA256, public_key);
    Key {
        kty: "OKP".into(),
        crv: "Ed25519".into(),
        alg: "EdDSA".into(),
        usage: "sig".into(),
        kid: encode(&digest.as_ref()[..12]),
        x: encode(public_key),
    }
}

fn read_claims<C: DeserializeOwned>(token: &str, key: &DecodingKey, issuer: &str) -> Result<C, ErrorKind> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[issuer]);
    // Tokens of an earlier version have no audience; their issuer is that of a deployment without an address.
    let required = if issuer == ISSUER { &["exp", "iss"][..] } else { &["exp", "iss", "aud"] };
    validation.set_required_spec_claims(required);
    validation.leeway = 0;
    let decoded = jsonwebtoken::decode::<C>(token, key, &validation);
    decoded.map(|decoded| decoded.claims).map_err(|error| error.into_kind())
}

fn hash(token: &str) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn expired() -> Problem {
    Problem::unauthorized("token-expired", "The access token has expired. Use the refresh token.")
}

fn invalid() -> Problem {
    Problem::unauthorized("token-invalid", "The access token is not valid.")
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Access,
    Order,
}

fn of_access(claims: Claims) -> (Identity, i64) {
    let identity = Identity {
        user_id: claims.sub,
        session_id: claims.sid,
        email: claims.email,
        name: claims.name,
        role: claims.role,
        email_verified: claims.email_verified,
        expires_at: claims.exp,
        order: None,
    };
    (identity, claims.epoch)
}

fn of_order(claims: &OrderClaims) -> Identity {
    Identity {
        user_id: claims.sub,
        session_id: Uuid::nil(),
        email: String::new(),
        name: String::new(),
        role: Role::Guest,
        email_verified: false,
        expires_at: claims.exp,
        order: Some(OpenedOrder { reservation_id: claims.sub, access: claims.access }),
    }
}

/// The id of the key that a token names, and the token's kind; any other text is rejected before anything is verified.
pub fn key_id(token: &str) -> Result<(String, Kind), Problem> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| invalid())?;
    // Other signed tokens, such as tickets, have another `typ` (RFC 8725, 3.11).
    let kind = match header.typ.as_deref() {
        Some(typ) if typ.eq_ignore_ascii_case("JWT") => Kind::Access,
        Some(typ) if typ.eq_ignore_ascii_case(ORDER_TYP) => Kind::Order,
        _ => return Err(invalid()),
    };
    let kid = header.kid.filter(|_| header.alg == Algorithm::EdDSA).ok_or_else(invalid)?;
    Ok((kid, kind))
}
