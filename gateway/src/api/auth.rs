//! REST of the auth domain.
//!
//! Invariant: the public keys stay available without the auth host, since other services verify tokens with them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bus::contract::auth::{
    AuditKind, AuditRecord, ChangePassword, CreateGuest, EraseMe, ForgotPassword, GetKeys, GuestSession,
    KeySet, ListAudit, ListUsers, Login, Logout, LogoutEverywhere, Me, Refresh, Register, ResendVerification,
    ResetPassword, Session, SetDisabled, SetRole, UpdateMe, User, VerifyEmail,
};
use bus::contract::{Page, Timestamp};
use bytes::Bytes;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::{Domain, paging};
use crate::hosts::Hosts;
use crate::payload::{Answer, Answered, Body, Caller, Done, Of, Rest};
use crate::problem::Refused;

/// Keys change when an operator rotates them; verifiers read them again within a minute anyway.
const KEYS_FRESH: Duration = Duration::from_secs(10);
const KEYS_CACHE_SECONDS: u32 = 60;

pub struct Auth {
    hosts: Arc<dyn Hosts>,
    keys: Mutex<Option<(Instant, Bytes)>>,
}

impl Auth {
    pub fn new(hosts: Arc<dyn Hosts>) -> Self {
        Self { hosts, keys: Mutex::default() }
    }

    fn cached_keys(&self) -> Option<(Instant, Bytes)> {
        self.keys.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

#[OpenApi(tag = "Domain::Auth")]
impl Auth {
    /// Open an account
    ///
    /// Logs in at once: the answer has the first pair of tokens. A mail asks to confirm the address; until then no mails are sent
    /// about unpaid holds. The owner of an address that another person registered and never confirmed gets the
    /// account by a new password (`forgot`). With `orderToken`, from the link in a guest's mail, the account keeps the guest's id
    /// and orders; the e-mail must then be the order's (422 `order-email`).
    #[oai(path = "/v1/auth/register", method = "post")]
    async fn register(&self, caller: Caller, body: Body<Register>) -> Answered<Session, 201> {
        self.hosts.forward_body(&caller, body).await
    }

    /// Be a guest
    ///
    /// An access token with the role GUEST, to hold and pay seats without an account. It is valid for an hour and owns the orders
    /// that are made with it. A guest without an order is deleted after a day.
    #[oai(path = "/v1/auth/guest", method = "post")]
    async fn guest(&self, caller: Caller) -> Answered<GuestSession, 201> {
        self.hosts.forward(&caller, CreateGuest {}).await
    }

    /// Log in
    ///
    /// The answer and its time are the same for an unknown e-mail and a wrong password. Wrong passwords delay further tries from
    /// their network. `deviceToken` in the answer may be kept and sent with this device's next logins, which
    /// wrong passwords of others then never delay.
    #[oai(path = "/v1/auth/login", method = "post")]
    async fn login(&self, caller: Caller, body: Body<Login>) -> Answered<Session> {
        self.hosts.forward_body(&caller, body).await
    }

    /// Get a new pair of tokens
    ///
    /// A refresh token works once. A second use ends its login, since one of the two users must have stolen it.
    #[oai(path = "/v1/auth/refresh", method = "post")]
    async fn refresh(&self, caller: Caller, body: Body<Refresh>) -> Answered<Session> {
        self.hosts.forward_body(&caller, body).await
    }

    /// Log out
    ///
    /// Ends the login of the refresh token. Its access tokens are invalid at once.
    #[oai(path = "/v1/auth/logout", method = "post")]
    async fn logout(&self, caller: Caller, body: Body<Logout>) -> Result<Done<204>, Refused> {
        self.hosts.submit_body(&caller, body).await?;
        Ok(Done)
    }

    /// Log out everywhere
    ///
    /// Ends every login of the account. Its access tokens are invalid at once, including this one.
    #[oai(path = "/v1/auth/logout-everywhere", method = "post")]
    async fn logout_everywhere(&self, caller: Caller) -> Result<Done<204>, Refused> {
        self.hosts.submit(&caller, LogoutEverywhere {}).await?;
        Ok(Done)
    }

    /// Request a new password
    ///
    /// If the account exists, a link is mailed; the answer is the same either way.
    #[oai(path = "/v1/auth/password/forgot", method = "post")]
    async fn forgot_password(
        &self,
        caller: Caller,
        body: Body<ForgotPassword>,
    ) -> Result<Done<202>, Refused> {
        self.hosts.submit_body(&caller, body).await?;
        Ok(Done)
    }

    /// Set a new password
    ///
    /// With the token from the mail, which works once and within half an hour. Ends every login of the account.
    #[oai(path = "/v1/auth/password/reset", method = "post")]
    async fn reset_password(&self, caller: Caller, body: Body<ResetPassword>) -> Result<Done<204>, Refused> {
        self.hosts.submit_body(&caller, body).await?;
        Ok(Done)
    }

    /// Prove an e-mail address
    ///
    /// With the token from the mail after registering, which is valid for three days. The access token of the next refresh has
    /// `email_verified`.
    #[oai(path = "/v1/auth/verify", method = "post")]
    async fn verify_email(&self, caller: Caller, body: Body<VerifyEmail>) -> Result<Done<204>, Refused> {
        self.hosts.submit_body(&caller, body).await?;
        Ok(Done)
    }

    /// Request another link that proves my address
    ///
    /// At most three times an hour. Nothing is mailed if the address is proven already.
    #[oai(path = "/v1/auth/verify/resend", method = "post")]
    async fn resend_verification(&self, caller: Caller) -> Result<Done<202>, Refused> {
        self.hosts.submit(&caller, ResendVerification {}).await?;
        Ok(Done)
    }

    /// My account
    #[oai(path = "/v1/me", method = "get")]
    async fn me(&self, caller: Caller) -> Answered<User> {
        self.hosts.forward(&caller, Me {}).await
    }

    /// Change my account
    #[oai(path = "/v1/me", method = "patch")]
    async fn update_me(&self, caller: Caller, body: Body<UpdateMe>) -> Answered<User> {
        self.hosts.forward_body(&caller, body).await
    }

    /// Erase me
    ///
    /// Removes name, e-mail address and password for good, and every login. Orders, tickets and receipts stay without them; an invoice
    /// keeps its buyer for its legal term. An account needs its password (403 `password-wrong`); a guest none, and for a guest the token
    /// of one of its orders is enough. Refused while an order is unpaid, or a refund or dispute is open (409 `erasure-open`). Tickets of
    /// shows to come stay valid.
    #[oai(path = "/v1/me", method = "delete")]
    async fn erase_me(&self, caller: Caller, body: Body<EraseMe>) -> Result<Done<204>, Refused> {
        self.hosts.submit_body(&caller, body).await?;
        Ok(Done)
    }

    /// Change my password
    ///
    /// Ends every other login of the account; this one stays valid.
    #[oai(path = "/v1/me/password", method = "post")]
    async fn change_password(
        &self,
        caller: Caller,
        body: Body<ChangePassword>,
    ) -> Result<Done<204>, Refused> {
        self.hosts.submit_body(&caller, body).await?;
        Ok(Done)
    }

    /// Find users
    #[oai(path = "/v1/users", method = "get")]
    async fn list_users(
        &self,
        caller: Caller,
        /// Part of the e-mail or of the name, without case.
        email: Query<Option<String>>,
        /// Only these accounts: at most 100 ids, separated by commas.
        ids: Query<Option<String>>,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<User>> {
        let ids = super::ids(ids.0, "ids")?;
        let request = ListUsers { email: email.0, ids, paging: paging(page.0, page_size.0) };
        self.hosts.forward(&caller, request).await
    }

    /// Promote or demote a user
    ///
    /// It takes effect at once: the user's access tokens are invalid, and the next refresh gives the new role.
    #[oai(path = "/v1/users/:id/role", method = "put")]
    async fn set_role(&self, caller: Caller, id: Path<Of<Uuid>>, body: Rest<SetRole>) -> Answered<User> {
        self.hosts.forward_body(&caller, body.with_id(id.0.0)?).await
    }

    /// Disable an account, or enable it again
    ///
    /// It takes effect at once: all tokens of a disabled account are invalid, and it cannot log in. Its orders stay. The last
    /// SUPER_ADMIN cannot be disabled.
    #[oai(path = "/v1/users/:id/disabled", method = "put")]
    async fn set_disabled(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<SetDisabled>,
    ) -> Answered<User> {
        self.hosts.forward_body(&caller, body.with_id(id.0.0)?).await
    }

    /// The audit log
    ///
    /// Latest first. Records are never changed or deleted.
    #[oai(path = "/v1/admin/audit", method = "get")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn list_audit(
        &self,
        caller: Caller,
        kind: Query<Option<Of<AuditKind>>>,
        /// The acting user or the affected user.
        #[oai(name = "userId")]
        user_id: Query<Option<Of<Uuid>>>,
        from: Query<Option<Of<Timestamp>>>,
        /// Not included.
        to: Query<Option<Of<Timestamp>>>,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<AuditRecord>> {
        let request = ListAudit {
            kind: kind.0.map(|kind| kind.0),
            user_id: user_id.0.map(|id| id.0),
            from: from.0.map(|at| at.0),
            to: to.0.map(|at| at.0),
            paging: paging(page.0, page_size.0),
        };
        self.hosts.forward(&caller, request).await
    }

    /// The public keys of access tokens
    ///
    /// A JSON Web Key Set (RFC 7517).
    #[oai(path = "/.well-known/jwks.json", method = "get")]
    async fn keys(&self, caller: Caller) -> Answered<KeySet> {
        let cached = self.cached_keys();
        if let Some((_, keys)) = cached.clone().filter(|(at, _)| at.elapsed() < KEYS_FRESH) {
            return Ok(Answer::new(keys).cached(KEYS_CACHE_SECONDS));
        }
        let keys = match (self.hosts.request(&GetKeys {}, &caller.0).await, cached) {
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
