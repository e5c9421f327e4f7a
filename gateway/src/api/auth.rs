//! REST of the auth domain.
//!
//! Invariant: the public keys stay available while the auth host is away, since other services verify by them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bus::contract::auth::{GetKeys, KeySet, Login, Logout, Me, Refresh, Register, Session, User};
use bytes::Bytes;
use poem_openapi::OpenApi;

use super::Domain;
use crate::house::{House, valid};
use crate::payload::{Answer, Answered, Body, Caller, Done};
use crate::problem::Refused;

/// Keys change when an operator rotates them; verifiers look again within a minute anyway.
const KEYS_FRESH: Duration = Duration::from_secs(10);
const KEYS_CACHE_SECONDS: u32 = 60;

pub struct Auth {
    house: Arc<House>,
    keys: Mutex<Option<(Instant, Bytes)>>,
}

impl Auth {
    pub fn new(house: Arc<House>) -> Self {
        Self { house, keys: Mutex::default() }
    }

    fn known_keys(&self) -> Option<(Instant, Bytes)> {
        self.keys.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

#[OpenApi(tag = "Domain::Auth")]
impl Auth {
    /// Open an account
    ///
    /// Logs in at once: the answer holds the first pair of tokens.
    #[oai(path = "/v1/auth/register", method = "post")]
    async fn register(&self, caller: Caller, body: Body<Register>) -> Answered<Session, 201> {
        self.house.pass(&caller, body.0).await
    }

    /// Log in
    ///
    /// Answers the same, after the same time, for an unknown e-mail and a wrong password.
    #[oai(path = "/v1/auth/login", method = "post")]
    async fn login(&self, caller: Caller, body: Body<Login>) -> Answered<Session> {
        self.house.pass(&caller, body.0).await
    }

    /// Buy a new pair of tokens
    ///
    /// A refresh token works once. Its second use ends the login it came from, since one of both users stole it.
    #[oai(path = "/v1/auth/refresh", method = "post")]
    async fn refresh(&self, caller: Caller, body: Body<Refresh>) -> Answered<Session> {
        self.house.pass(&caller, body.0).await
    }

    /// Log out
    ///
    /// Ends the login that the refresh token came from.
    #[oai(path = "/v1/auth/logout", method = "post")]
    async fn logout(&self, caller: Caller, body: Body<Logout>) -> Result<Done<204>, Refused> {
        valid(&body.0)?;
        self.house.ask(&body.0, &caller.0).await?;
        Ok(Done)
    }

    /// Who am I?
    #[oai(path = "/v1/me", method = "get")]
    async fn me(&self, caller: Caller) -> Answered<User> {
        self.house.pass(&caller, Me {}).await
    }

    /// The public keys of access tokens
    ///
    /// A JSON Web Key Set (RFC 7517).
    #[oai(path = "/.well-known/jwks.json", method = "get")]
    async fn keys(&self, caller: Caller) -> Answered<KeySet> {
        let known = self.known_keys();
        if let Some((_, keys)) = known.clone().filter(|(at, _)| at.elapsed() < KEYS_FRESH) {
            return Ok(Answer::new(keys).cached(KEYS_CACHE_SECONDS));
        }
        let keys = match (self.house.ask(&GetKeys {}, &caller.0).await, known) {
            (Ok(keys), _) => {
                *self.keys.lock().unwrap_or_else(|e| e.into_inner()) = Some((Instant::now(), keys.clone()));
                keys
            }
            (Err(_), Some((_, keys))) => keys,
            (Err(problem), None) => return Err(Refused(problem)),
        };
        Ok(Answer::new(keys).cached(KEYS_CACHE_SECONDS))
    }
}
