//! Proof of e-mail addresses: the link that is mailed after registering, another one on request, and requests of other
//! hosts. The token is derived like that of a password reset.
//!
//! Invariant: an address is proven only by a token that was mailed to it: this one, or that of a password reset.

use std::sync::Arc;

use bus::contract::auth::{
    Address, AuditKind, EmailVerificationRequested, EmailVerified, GetAddress, GetVerificationToken,
    Rejection, ResendVerification, User, VerificationToken, VerifyEmail,
};
use bus::event::Outgoing;
use bus::service::{Answered, Call, json};
use bus::{Context, Problem};
use serde_json::json;
use uuid::Uuid;

use super::account::no_account;
use crate::auth::Env;
use crate::auth::model::{self, secret_hash};
use crate::auth::store::link::{LinkKind, NewLink};
use crate::auth::store::{self, Act, guest, verification};
use crate::delivery::read_failure;

pub async fn verify_email(env: Arc<Env>, call: Call<VerifyEmail>) -> Answered {
    let found =
        verification::owner_of(&env.pool, &secret_hash(&call.request.token)).await.map_err(read_failure)?;
    let user = found.filter(|user| !user.disabled).ok_or(Rejection::VerifyToken)?;
    if !user.email_verified {
        let by = Some(user.id);
        let entry = env.entry(AuditKind::EmailVerified, by, by, call.client_ip, json!({"takenOver": false}));
        let event = env.verified(&user, false, &call.context);
        // Nothing is written where another request of the same link was faster.
        env.write(Act::Verify { user: user.id }.audited(entry), vec![event]).await?;
    }
    json(&())
}

pub async fn resend(env: Arc<Env>, call: Call<ResendVerification>) -> Answered {
    let id = call.caller()?.user_id;
    let user = store::user_by_id(&env.pool, id).await.map_err(read_failure)?;
    let user = user.ok_or_else(no_account)?;
    if !user.email_verified {
        let (new, event) = env.new_verification(&user, &call.context);
        env.write(Act::RequestLink(LinkKind::Verification, new).into(), vec![event]).await?;
    }
    json(&())
}

pub async fn token(env: Arc<Env>, call: Call<GetVerificationToken>) -> Answered {
    let id = call.request.verification_id;
    let token = env.signer.verification_token(id);
    match verification::is_open(&env.pool, id, &secret_hash(&token)).await.map_err(read_failure)? {
        true => json(&VerificationToken { token }),
        false => Err(Problem::not_found("verification")),
    }
}

pub async fn address(env: Arc<Env>, call: Call<GetAddress>) -> Answered {
    let id = call.request.user_id;
    if let Some(user) = store::user_by_id(&env.pool, id).await.map_err(read_failure)? {
        return json(&Address { email: user.email, verified: user.email_verified, guest: false });
    }
    match guest::is_guest(&env.pool, id).await.map_err(read_failure)? {
        true => json(&Address { email: String::new(), verified: false, guest: true }),
        false => Err(Rejection::UnknownUser.into()),
    }
}

impl Env {
    /// A link for the user's address, and the event that has it mailed.
    pub fn new_verification(&self, user: &User, context: &Context) -> (NewLink, Outgoing) {
        let (id, now) = (Uuid::now_v7(), self.clock.now());
        let expires_at = now.plus(model::VERIFICATION);
        let token_hash = secret_hash(&self.signer.verification_token(id));
        let event = EmailVerificationRequested {
            verification_id: id,
            user_id: user.id,
            email: user.email.clone(),
            expires_at,
            locale: context.locale.unwrap_or_default(),
        };
        let per_hour_max = if self.throttle.is_on() { model::VERIFICATIONS_PER_HOUR } else { i64::MAX };
        let new = NewLink { id, user: user.id, token_hash, requested_at: now, expires_at, per_hour_max };
        (new, self.event(&event, now, context))
    }

    pub fn verified(&self, user: &User, taken_over: bool, context: &Context) -> Outgoing {
        let verified_at = self.clock.now();
        let event = EmailVerified { user_id: user.id, email: user.email.clone(), verified_at, taken_over };
        self.event(&event, verified_at, context)
    }
}
