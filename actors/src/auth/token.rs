//! Signs access tokens and tickets (RFC 7519) with the deployment's Ed25519 key, publishes its public half, and derives from
//! it the tokens of mailed links and of devices, so that neither a database nor an event contains those.
//!
//! Keys are PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` writes them. Verifying is `bus::token`'s.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bus::contract::auth::{Claims, KeySet, ORDER_TYP, OrderClaims, TICKET_TYP, TicketClaims};
use bus::token::ISSUER;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use uuid::Uuid;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// What the key of password resets is derived for; another purpose gets another text and so another key.
const RESETS: &str = "marquee password reset 1";
const VERIFICATIONS: &str = "marquee e-mail verification 1";
const DEVICES: &str = "marquee device 1";
/// PKCS#8 version 1 of an Ed25519 seed (RFC 8410): all that comes before the 32 bytes.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The deployment's signing key.
#[derive(Clone)]
pub struct Signer {
    header: Header,
    key: EncodingKey,
    keys: KeySet,
    resets: hmac::Key,
    verifications: hmac::Key,
    devices: hmac::Key,
}

impl Signer {
    /// `pem` is an Ed25519 private key. The error does not show it.
    pub fn from_pem(pem: &str) -> anyhow::Result<Self> {
        let der = der(pem).context("JWT_PRIVATE_KEY is not a PKCS#8 PEM (-----BEGIN PRIVATE KEY-----)")?;
        // "Maybe unchecked": openssl writes version 1, which has no public key to check against.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map_err(|_| anyhow::anyhow!("JWT_PRIVATE_KEY is not an Ed25519 key"))?;
        let public = bus::token::jwk(pair.public_key().as_ref());
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(public.kid.clone());
        let root = hmac::Key::new(hmac::HMAC_SHA256, &der);
        let derived =
            |purpose: &str| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, purpose.as_bytes()).as_ref());
        let signer = Self {
            header,
            key: EncodingKey::from_ed_der(&der),
            keys: KeySet { keys: vec![public], issuer: Some(ISSUER.to_owned()) },
            resets: derived(RESETS),
            verifications: derived(VERIFICATIONS),
            devices: derived(DEVICES),
        };
        // Two libraries read the key; that both do shows here and not at the first login.
        jsonwebtoken::encode(&signer.header, &(), &signer.key)
            .context("JWT_PRIVATE_KEY does not sign tokens")?;
        Ok(signer)
    }

    /// Signs for the deployment at this address. Tokens of another one are refused, even where both have the same key.
    pub fn issuing_as(mut self, issuer: &str) -> Self {
        self.keys.issuer = Some(issuer.to_owned());
        self
    }

    /// `iss` and `aud` of the access tokens.
    pub fn issuer(&self) -> &str {
        self.keys.issuer.as_deref().unwrap_or(ISSUER)
    }

    pub fn sign(&self, claims: &Claims) -> anyhow::Result<String> {
        jsonwebtoken::encode(&self.header, claims, &self.key).context("signing an access token")
    }

    /// The same key as for access tokens, distinguished by `typ`: a door needs no second key set.
    pub fn sign_ticket(&self, claims: &TicketClaims) -> anyhow::Result<String> {
        let header = Header { typ: Some(TICKET_TYP.to_owned()), ..self.header.clone() };
        jsonwebtoken::encode(&header, claims, &self.key).context("signing a ticket")
    }

    /// The token of a mail's link to an order.
    pub fn sign_order(&self, claims: &OrderClaims) -> anyhow::Result<String> {
        let header = Header { typ: Some(ORDER_TYP.to_owned()), ..self.header.clone() };
        jsonwebtoken::encode(&header, claims, &self.key).context("signing an order token")
    }

    /// Publishes older keys as well, so that tokens signed with them stay valid until they expire.
    pub fn with_older_keys(mut self, older: &KeySet) -> Self {
        let own = self.keys.keys.iter().map(|key| key.kid.clone()).collect::<Vec<_>>();
        self.keys.keys.extend(older.keys.iter().filter(|key| !own.contains(&key.kid)).cloned());
        self
    }

    /// The token of a password reset: the same each time, and not computable without the key.
    pub fn reset_token(&self, reset: Uuid) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.resets, reset.as_bytes()))
    }

    /// The token that proves an address; like those of password resets.
    pub fn verification_token(&self, verification: Uuid) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.verifications, verification.as_bytes()))
    }

    /// Proves that this account was used on this device: user, device and their signature.
    pub fn device_token(&self, user: Uuid, device: Uuid) -> String {
        let named = [user.into_bytes(), device.into_bytes()].concat();
        URL_SAFE_NO_PAD.encode([&named, hmac::sign(&self.devices, &named).as_ref()].concat())
    }

    /// The device that a token names, if it is one of this user's.
    pub fn device(&self, token: &str, user: Uuid) -> Option<Uuid> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (named, signature) = bytes.split_at_checked(32)?;
        hmac::verify(&self.devices, named, signature).ok()?;
        let device = Uuid::from_slice(&named[16..]).ok()?;
        (named[..16] == user.into_bytes()).then_some(device)
    }

    /// The public keys that verify the tokens.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }
}

/// A new private key.
pub fn generate_pem() -> String {
    let der = [PKCS8_PREFIX.as_slice(), &rand::random::<[u8; 32]>()].concat();
    format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der))
}

fn der(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    // A PEM in one line of an environment file has its line breaks written as "\n".
    let body: String = body.replace("\\n", "").split_whitespace().collect();
    STANDARD.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `openssl genpkey -algorithm ed25519`; nothing else knows it.
    const OPENSSL: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIOhLJi+p3GvTXlqxLRVSf4xiVQwjFWPcxn2eJZ69mEkW
-----END PRIVATE KEY-----
";

    #[test]
    fn a_key_from_openssl_signs_under_its_public_half() {
        let signer = Signer::from_pem(OPENSSL).unwrap();
        assert_eq!(signer.keys().keys[0].x, "jef4Q0zI3qC4ke0mQTvr9JKYxELkLEP1GaJaP_LoJxk");
        assert_eq!(Signer::from_pem(&OPENSSL.replace('\n', "\\n")).unwrap().keys(), signer.keys());
    }

    #[test]
    fn an_older_key_is_published_too_and_each_once() {
        let (new, old) = (Signer::from_pem(&generate_pem()).unwrap(), Signer::from_pem(OPENSSL).unwrap());
        let both = new.clone().with_older_keys(old.keys()).with_older_keys(new.keys());
        let kids = |signer: &Signer| signer.keys().keys.iter().map(|key| key.kid.clone()).collect::<Vec<_>>();
        assert_eq!(kids(&both), [kids(&new), kids(&old)].concat());
    }

    #[test]
    fn a_reset_token_is_the_same_on_every_host_with_the_key_and_another_for_each_reset() {
        let (one, other) = (Signer::from_pem(OPENSSL).unwrap(), Signer::from_pem(OPENSSL).unwrap());
        let reset = Uuid::now_v7();
        assert_eq!(one.reset_token(reset), other.reset_token(reset));
        assert_eq!(one.reset_token(reset).len(), 43, "32 bytes in base64url");
        assert_ne!(one.reset_token(reset), one.reset_token(Uuid::now_v7()));
        assert_ne!(one.reset_token(reset), Signer::from_pem(&generate_pem()).unwrap().reset_token(reset));
    }

    #[test]
    fn a_device_token_is_of_one_account_and_no_reset_token() {
        let signer = Signer::from_pem(OPENSSL).unwrap();
        let (user, device) = (Uuid::now_v7(), Uuid::now_v7());
        let token = signer.device_token(user, device);
        assert_eq!(signer.device(&token, user), Some(device));
        assert_eq!(signer.device(&token, Uuid::now_v7()), None);
        assert_eq!(signer.device(&format!("{token}AAAA"), user), None);
        assert_eq!(signer.device("", user), None);
        assert_eq!(Signer::from_pem(&generate_pem()).unwrap().device(&token, user), None);
        assert_ne!(signer.reset_token(user), signer.verification_token(user));
    }

    #[test]
    fn a_new_key_is_another_each_time() {
        let (one, other) = (generate_pem(), generate_pem());
        assert_ne!(Signer::from_pem(&one).unwrap().keys(), Signer::from_pem(&other).unwrap().keys());
    }

    #[test]
    fn what_is_no_ed25519_key_is_refused_without_being_shown() {
        let wrong = format!("{BEGIN}\n{}\n{END}", STANDARD.encode("s3cret, but not a key"));
        for pem in ["", "s3cret", wrong.as_str()] {
            let message = format!("{:#}", Signer::from_pem(pem).err().unwrap());
            assert!(message.contains("JWT_PRIVATE_KEY") && !message.contains("s3cret"), "{message}");
        }
    }
}
