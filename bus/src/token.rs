//! Verifies access tokens: Ed25519 JWTs whose key is named by `kid`.
//!
//! A verified token is remembered by the hash of its text until it expires, so that a busy moviegoer's token is
//! verified once. Keys come from configuration or, on a `kid` not seen before, from `rpc.auth.keys`. Whether a token
//! was voided before its time is asked each time, of memory ([`crate::revoked`]).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::contract::auth::{Claims, GetKeys, Key, KeySet, Role};
use crate::contract::{Access, Problem, Timestamp};
use crate::request::Ask;
use crate::revoked::{self, Revoked};
use crate::{Bus, Context};

/// Issuer and audience of an instance that has no public address of its own.
pub const ISSUER: &str = "marquee";
/// Tokens remembered: some 200 bytes each, so at most 20 MB.
const REMEMBERED_MAX: usize = 100_000;
/// A token that is remembered is verified again after this, which bounds how long a removed key still works.
const REMEMBERED_FOR: Duration = Duration::from_secs(300);
/// An unknown `kid` asks for the key set at most this often, so that forged tokens cannot make us ask.
const KEYS_ASKED_EVERY: Duration = Duration::from_secs(2);

/// Who sent a request, as their token proves.
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
}

#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    bus: Bus,
    keys: RwLock<HashMap<String, DecodingKey>>,
    /// `iss` and `aud` of this instance's tokens, once configuration or auth has said it.
    issuer: RwLock<Option<String>>,
    /// Ids of those that are configured here, not learned from auth.
    configured: RwLock<HashSet<String>>,
    asked: tokio::sync::Mutex<Option<Instant>>,
    remembered: RwLock<HashMap<[u8; 32], Remembered>>,
    revoked: Arc<Revoked>,
    _listening: DropGuard,
}

#[derive(Clone)]
struct Remembered {
    identity: Arc<Identity>,
    /// The user's access epoch when the token was signed.
    epoch: i64,
    at: Instant,
}

impl Verifier {
    /// Listens from now on for tokens that are voided; needs a runtime.
    pub fn new(bus: Bus, keys: &KeySet) -> Self {
        let (revoked, stop) = (Arc::<Revoked>::default(), CancellationToken::new());
        tokio::spawn(revoked::listen(bus.clone(), revoked.clone(), stop.clone()));
        let verifier = Self(Arc::new(Inner {
            bus,
            keys: RwLock::default(),
            issuer: RwLock::default(),
            configured: RwLock::default(),
            asked: tokio::sync::Mutex::new(None),
            remembered: RwLock::default(),
            revoked,
            _listening: stop.drop_guard(),
        }));
        verifier.add(keys);
        verifier
    }

    /// Accepts tokens of these keys too, whatever auth tells.
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

    /// Who the token belongs to; 401 when it is missing its signature, its time, or its key. 503 when the key set
    /// is needed and nobody has it.
    pub async fn verify(&self, token: &str) -> Result<Arc<Identity>, Problem> {
        let now = Timestamp::wall_clock().unix_seconds();
        let hash = hash(token);
        if let Some(Remembered { identity, epoch, .. }) = self.remembered(&hash) {
            return if identity.expires_at > now {
                self.unless_void(identity, epoch)
            } else {
                Err(expired())
            };
        }
        let kid = key_id(token)?;
        let key = match self.key(&kid) {
            Some(key) => key,
            None => {
                self.ask_for_keys().await?;
                self.key(&kid).ok_or_else(invalid)?
            }
        };
        let claims = self.claims(token, &key).await?;
        let identity = Arc::new(Identity {
            user_id: claims.sub,
            session_id: claims.sid,
            email: claims.email,
            name: claims.name,
            role: claims.role,
            email_verified: claims.email_verified,
            expires_at: claims.exp,
        });
        self.remember(hash, identity.clone(), claims.epoch);
        self.unless_void(identity, claims.epoch)
    }

    /// What the token says, once its signature, times, issuer and audience are right.
    async fn claims(&self, token: &str, key: &DecodingKey) -> Result<Claims, Problem> {
        let mut issuer = self.issuer();
        if issuer.is_none() {
            self.ask_for_keys().await?;
            issuer = self.issuer();
        }
        let first = read_claims(token, key, issuer.as_deref().unwrap_or(ISSUER));
        // The instance may have a new address since: auth tells it. Only tokens that are well signed get so far.
        let foreign =
            |error: &ErrorKind| matches!(error, ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience);
        let read = match first {
            Err(error) if foreign(&error) => {
                self.ask_for_keys().await?;
                read_claims(token, key, self.issuer().as_deref().unwrap_or(ISSUER))
            }
            read => read,
        };
        read.map_err(|error| if error == ErrorKind::ExpiredSignature { expired() } else { invalid() })
    }

    fn issuer(&self) -> Option<String> {
        self.0.issuer.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn unless_void(&self, identity: Arc<Identity>, epoch: i64) -> Result<Arc<Identity>, Problem> {
        if self.0.revoked.is_void(identity.user_id, identity.session_id, epoch) {
            return Err(Problem::unauthorized(
                "token-revoked",
                "The access token was withdrawn. Use the refresh token, or log in again.",
            ));
        }
        Ok(identity)
    }

    fn key(&self, kid: &str) -> Option<DecodingKey> {
        self.0.keys.read().unwrap_or_else(|e| e.into_inner()).get(kid).cloned()
    }

    async fn ask_for_keys(&self) -> Result<(), Problem> {
        let mut asked = self.0.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < KEYS_ASKED_EVERY) {
            return Ok(());
        }
        let ask = Ask::new(Context::new());
        let mut keys = self.0.bus.ask(&GetKeys {}, &ask).await?;
        // An auth host of before does not say it.
        keys.issuer.get_or_insert_with(|| ISSUER.to_owned());
        self.learn(&keys);
        // What auth tells no more is out of use: after a rotation a leaked key must not live on in a host's memory.
        let configured = self.0.configured.read().unwrap_or_else(|e| e.into_inner());
        let told: HashSet<&str> = keys.keys.iter().map(|key| key.kid.as_str()).collect();
        let mut known = self.0.keys.write().unwrap_or_else(|e| e.into_inner());
        known.retain(|kid, _| configured.contains(kid) || told.contains(kid.as_str()));
        *asked = Some(Instant::now());
        Ok(())
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<Remembered> {
        let remembered = self.0.remembered.read().unwrap_or_else(|e| e.into_inner());
        remembered.get(hash).filter(|known| known.at.elapsed() < REMEMBERED_FOR).cloned()
    }

    fn remember(&self, hash: [u8; 32], identity: Arc<Identity>, epoch: i64) {
        let mut remembered = self.0.remembered.write().unwrap_or_else(|e| e.into_inner());
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, known| known.at.elapsed() < REMEMBERED_FOR);
            if remembered.len() >= REMEMBERED_MAX {
                remembered.clear();
            }
        }
        remembered.insert(hash, Remembered { identity, epoch, at: Instant::now() });
    }
}

/// Whether `identity` may ask what `access` guards: 401 without a token, 403 without the role.
pub fn authorize(access: Access, identity: Option<&Identity>) -> Result<(), Problem> {
    let needed = match access {
        Access::Public | Access::Internal => return Ok(()),
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
    if identity.role >= needed {
        Ok(())
    } else {
        Err(Problem::new(403, "role", "Your role does not allow this."))
    }
}

/// The JWK of an Ed25519 public key; its `kid` is derived from it, so that every host names it alike.
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

fn read_claims(token: &str, key: &DecodingKey, issuer: &str) -> Result<Claims, ErrorKind> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[issuer]);
    // An auth host of before names no audience; its issuer is that of an instance without an address.
    let required = if issuer == ISSUER { &["exp", "iss"][..] } else { &["exp", "iss", "aud"] };
    validation.set_required_spec_claims(required);
    validation.leeway = 0;
    let decoded = jsonwebtoken::decode::<Claims>(token, key, &validation);
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

/// The key that an access token says it is signed with; what is no access token is refused before anything is verified.
pub fn key_id(token: &str) -> Result<String, Problem> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| invalid())?;
    // What else the house signs, such as a ticket, says so in its `typ` (RFC 8725, 3.11).
    let access = header.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case("JWT"));
    header.kid.filter(|_| access && header.alg == Algorithm::EdDSA).ok_or_else(invalid)
}
