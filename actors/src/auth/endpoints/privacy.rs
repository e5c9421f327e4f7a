//! Requests to erase a user: by the account's owner with the password, by a guest, by the link in a guest's mail, and by staff.
//!
//! Invariant: the token of an order erases only a guest, and only where all of the guest's orders have the order's address: a
//! forwarded link erases no account, and no other person's orders.

use std::sync::Arc;

use bus::Problem;
use bus::contract::Rule;
use bus::contract::auth::{AuditKind, EraseMe, EraseUser, Rejection, Role};
use bus::contract::reservation::GetGuestOrder;
use bus::service::{Answered, Ask, Call, json};
use bus::token::OpenedOrder;
use serde_json::json as value;
use uuid::Uuid;

use super::account::no_account;
use crate::auth::Env;
use crate::auth::erasure::Cause;
use crate::auth::model;
use crate::auth::password::Proof;
use crate::auth::store::{self, Act, erasure};
use crate::delivery::read_failure;
use crate::domain::until_current;

pub async fn erase_me(env: Arc<Env>, call: Call<EraseMe>) -> Answered {
    let caller = call.caller()?.clone();
    match caller.order {
        Some(order) => {
            let guest = guest_of(&env, order, &call).await?;
            erase_guest(&env, guest, &call).await
        }
        None if caller.role == Role::Guest => erase_guest(&env, caller.user_id, &call).await,
        None => erase_account(&env, caller.user_id, &call).await,
    }
}

/// The guest who made the order.
async fn guest_of(env: &Env, order: OpenedOrder, call: &Call<EraseMe>) -> Result<Uuid, Problem> {
    let request = GetGuestOrder { reservation_id: order.reservation_id, access: order.access };
    let ask = Ask::new(call.context.clone());
    let made = env.bus.ask(&request, &ask).await.map_err(|problem| match problem.status {
        404 => Rejection::OrderToken.into(),
        _ => problem,
    })?;
    if made.has_other_addresses {
        return Err(Rejection::GuestOrders.into());
    }
    Ok(made.user_id)
}

async fn erase_guest(env: &Env, id: Uuid, call: &Call<EraseMe>) -> Answered {
    until_current(|| async {
        let found = erasure::erasable(&env.pool, id).await.map_err(read_failure)?;
        let guest = found.ok_or(Rejection::UnknownUser)?;
        if !guest.is_guest {
            return Err(Rejection::NoGuest.into());
        }
        let orders = env.finished_orders(id, &call.context).await?;
        env.erase(guest, None, orders, (Cause::Owner, call.client_ip), &call.context).await
    })
    .await?;
    json(&())
}

async fn erase_account(env: &Env, id: Uuid, call: &Call<EraseMe>) -> Answered {
    let Some(password) = call.request.password.clone() else {
        return Err(Problem::invalid_field("password", Rule::Required));
    };
    let Some(account) = store::account_by_id(&env.pool, id).await.map_err(read_failure)? else {
        return Err(no_account());
    };
    // With a stolen token, passwords must not be guessed faster than by logging in.
    let key = model::email_key(&account.user.email);
    let tried = env.begin_try(&key, None, call.client_ip).await?;
    match env.passwords.verify(password, Some(account.password_hash.clone())).await {
        Ok(Proof::Right | Proof::Outdated { .. }) => env.throttle.right(tried).await,
        Ok(Proof::Wrong) => {
            let details = value!({"email": key, "at": "erasure"});
            let failed = env.entry(AuditKind::LoginFailed, Some(id), Some(id), call.client_ip, details);
            env.write(Act::Note.audited(failed), vec![]).await?;
            return Err(Rejection::PasswordWrong.into());
        }
        Err(problem) => {
            env.throttle.undecided(tried).await;
            return Err(problem);
        }
    }
    until_current(|| async {
        let found = erasure::erasable(&env.pool, id).await.map_err(read_failure)?;
        let user = found.ok_or_else(no_account)?;
        let orders = env.finished_orders(id, &call.context).await?;
        let proven = Some(account.password_hash.clone());
        env.erase(user, proven, orders, (Cause::Owner, call.client_ip), &call.context).await
    })
    .await?;
    json(&())
}

pub async fn erase_user(env: Arc<Env>, call: Call<EraseUser>) -> Answered {
    let caller = call.caller()?.clone();
    let EraseUser { id, reason } = &call.request;
    until_current(|| async {
        let found = erasure::erasable(&env.pool, *id).await.map_err(read_failure)?;
        let user = found.ok_or(Rejection::UnknownUser)?;
        if user.role >= Role::Admin && caller.role < Role::SuperAdmin {
            return Err(Rejection::EraseStaff.into());
        }
        let orders = env.finished_orders(*id, &call.context).await?;
        let cause = Cause::Staff { by: caller.user_id, reason };
        env.erase(user, None, orders, (cause, call.client_ip), &call.context).await
    })
    .await?;
    json(&())
}
