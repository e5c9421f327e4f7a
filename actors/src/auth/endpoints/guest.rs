//! Guests: a user without an account gets an access token, and becomes an account by the link in a mail about its order.
//!
//! Invariant: a guest's answer does not depend on any address, so that nobody learns from it which addresses have accounts.
//! How many guests a client may make is bounded by the gateway.

use std::sync::Arc;

use bus::Problem;
use bus::contract::Timestamp;
use bus::contract::auth::{CreateGuest, GUEST_LIFETIME, GuestSession, Register, Rejection, Role, User};
use bus::contract::reservation::GetGuestOrder;
use bus::service::{Answered, Ask, Call, json};
use uuid::Uuid;

use super::registered_event;
use crate::auth::Env;
use crate::auth::model::{self, Account, Secret};
use crate::auth::store::{Act, Written, guest};
use crate::delivery::read_failure;

pub async fn create(env: Arc<Env>, _: Call<CreateGuest>) -> Answered {
    let (id, at) = (Uuid::now_v7(), env.clock.now());
    env.write(Act::Guest { id, at, check_at: at.plus(model::GUEST_KEPT) }.into(), vec![]).await?;
    let claims = model::guest_claims(env.signer.issuer(), id, Timestamp::wall_clock());
    let access_token = env.signer.sign(&claims).map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "guest's access token not signed");
        Problem::internal()
    })?;
    json(&GuestSession { user_id: id, access_token, expires_in: GUEST_LIFETIME.as_secs() })
}

/// Registers the guest who made the order of `token`: the account keeps the guest's id.
pub async fn register(env: &Env, call: &Call<Register>, token: &str) -> Answered {
    let Register { email, password, name, .. } = call.request.clone();
    let identity = env.verifier.verify(token).await?;
    let order = identity.order.ok_or(Rejection::OrderToken)?;
    let ask = Ask::new(call.context.clone());
    let request = GetGuestOrder { reservation_id: order.reservation_id, access: order.access };
    let made = env.bus.ask(&request, &ask).await.map_err(|problem| match problem.status {
        404 => Rejection::OrderToken.into(),
        _ => problem,
    })?;
    if model::email_key(&made.email) != model::email_key(&email) {
        return Err(Rejection::OrderEmail.into());
    }
    if !guest::is_guest(&env.pool, made.user_id).await.map_err(read_failure)? {
        return Err(Rejection::NoGuest.into());
    }
    if made.has_other_addresses {
        return Err(Rejection::GuestOrders.into());
    }
    let Account { user, password_hash, .. } = env.account(email, password, name, Role::User).await?;
    let user = User { id: made.user_id, ..user };
    let secret = Secret::new();
    let login = env.first_token(&secret);
    let family = login.family;
    let registered = registered_event(env, &user, &call.context);
    let (verification, requested) = env.new_verification(&user, &call.context);
    let account = Account { user: user.clone(), password_hash, epoch: 0 };
    let promote = Act::Promote { account, login, verification };
    match env.write(promote.into(), vec![registered, requested]).await? {
        Some(Written::Revoked(revocation)) => {
            env.session(user, revocation.epoch, family, secret, Some(Uuid::now_v7()))
        }
        // Another request of the same link was faster.
        _ => Err(Rejection::NoGuest.into()),
    }
}
