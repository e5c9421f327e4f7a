//! Proof of addresses: the link that registering mails, another one on request, and what other hosts ask.
//!
//! The token is derived as that of a password reset is. Invariant: an address is proven only by a token that was mailed to it: by
//! this one, or by that of a password reset (`reset.rs`).

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

use super::actor::{Desk, unread};
use super::model::{self, secret_hash};
use super::store::verify::{self, NewVerification};
use super::store::{self, Act};

pub async fn verify_email(desk: Arc<Desk>, call: Call<VerifyEmail>) -> Answered {
    let found = verify::owner_of(&desk.pool, &secret_hash(&call.request.token)).await.map_err(unread)?;
    let user = found.filter(|user| !user.disabled).ok_or(Rejection::VerifyToken)?;
    if !user.email_verified {
        let by = Some(user.id);
        let entry = desk.entry(AuditKind::EmailVerified, by, by, call.client_ip, json!({"takenOver": false}));
        let event = desk.verified(&user, false, &call.context);
        // Nothing is written where another request of the same link was faster.
        desk.commit(Act::Verify { user: user.id }.audited(entry), vec![event]).await?;
    }
    json(&())
}

pub async fn resend(desk: Arc<Desk>, call: Call<ResendVerification>) -> Answered {
    let id = call.caller()?.user_id;
    let user = store::user_by_id(&desk.pool, id).await.map_err(unread)?;
    let user =
        user.ok_or_else(|| Problem::unauthorized("token-invalid", "The account of this token is gone."))?;
    if !user.email_verified {
        let (new, event) = desk.new_verification(&user, &call.context);
        desk.commit(Act::RequestVerification(new).into(), vec![event]).await?;
    }
    json(&())
}

pub async fn token(desk: Arc<Desk>, call: Call<GetVerificationToken>) -> Answered {
    let id = call.request.verification_id;
    let token = desk.signer.verification_token(id);
    match verify::is_open(&desk.pool, id, &secret_hash(&token)).await.map_err(unread)? {
        true => json(&VerificationToken { token }),
        false => Err(Problem::not_found("verification")),
    }
}

pub async fn address(desk: Arc<Desk>, call: Call<GetAddress>) -> Answered {
    let user = store::user_by_id(&desk.pool, call.request.user_id).await.map_err(unread)?;
    let user = user.ok_or(Rejection::UnknownUser)?;
    json(&Address { email: user.email, verified: user.email_verified })
}

impl Desk {
    /// A link for the user's address, and the event that has it mailed.
    pub fn new_verification(&self, user: &User, context: &Context) -> (NewVerification, Outgoing) {
        let (id, now) = (Uuid::now_v7(), self.clock.now());
        let expires_at = now.plus(model::VERIFICATION);
        let token_hash = secret_hash(&self.signer.verification_token(id));
        let event = EmailVerificationRequested {
            verification_id: id,
            user_id: user.id,
            email: user.email.clone(),
            expires_at,
        };
        let an_hour_max = if self.throttle.is_on() { model::VERIFICATIONS_AN_HOUR } else { i64::MAX };
        let new =
            NewVerification { id, user: user.id, token_hash, requested_at: now, expires_at, an_hour_max };
        (new, Outgoing::new("auth", &event, now, context))
    }

    pub fn verified(&self, user: &User, taken_over: bool, context: &Context) -> Outgoing {
        let verified_at = self.clock.now();
        let event = EmailVerified { user_id: user.id, email: user.email.clone(), verified_at, taken_over };
        Outgoing::new("auth", &event, verified_at, context)
    }
}
