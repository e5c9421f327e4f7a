//! Requests that change accounts (names, passwords, roles), and the lists that staff and verifiers read.
//!
//! Invariant: a change of a password or a role rests on rows that are still as they were read; if others changed them, it
//! is decided again.

use std::sync::Arc;

use bus::contract::auth::{
    AuditKind, ChangePassword, ListAudit, ListRevocations, ListUsers, PasswordChanged, Rejection,
    Revocations, SetDisabled, SetRole, UpdateMe, User, UserRoleChanged, password,
};
use bus::event::Outgoing;
use bus::service::{Answered, Call, json};
use bus::{Context, Problem};
use serde_json::json;
use uuid::Uuid;

use crate::auth::Env;
use crate::auth::model::{self, Standing};
use crate::auth::password::Proof;
use crate::auth::store::access::{self, DisabledChange, NewPassword};
use crate::auth::store::{self, Act, audit};
use crate::delivery::read_failure;
use crate::domain::until_current;

pub async fn update_me(env: Arc<Env>, call: Call<UpdateMe>) -> Answered {
    let user = call.caller()?.user_id;
    if let Some(name) = call.request.name {
        env.write(Act::Name { user, name }.into(), vec![]).await?;
    }
    match store::user_by_id(&env.pool, user).await.map_err(read_failure)? {
        Some(user) => json(&user),
        None => Err(no_account()),
    }
}

pub async fn change_password(env: Arc<Env>, call: Call<ChangePassword>) -> Answered {
    let caller = call.caller()?.clone();
    let ChangePassword { old_password, new_password } = call.request;
    let Some(account) = store::account_by_id(&env.pool, caller.user_id).await.map_err(read_failure)? else {
        return Err(no_account());
    };
    password::check_is_not_address(&new_password, &account.user.email, "newPassword")?;
    // With a stolen token, passwords must not be guessed faster than by logging in.
    let key = model::email_key(&account.user.email);
    let tried = env.begin_try(&key, None, call.client_ip).await?;
    let proven = async {
        let proof = env.passwords.verify(old_password, Some(account.password_hash.clone())).await?;
        match proof {
            Proof::Wrong => Ok(None),
            Proof::Right | Proof::Outdated { .. } => env.passwords.hash(new_password).await.map(Some),
        }
    };
    let (kind, user) = (AuditKind::LoginFailed, Some(caller.user_id));
    let password_hash = match proven.await {
        Ok(Some(password_hash)) => password_hash,
        Ok(None) => {
            let details = json!({"email": key, "at": "password change"});
            let failed = env.entry(kind, user, user, call.client_ip, details);
            env.write(Act::Note.audited(failed), vec![]).await?;
            return Err(Rejection::OldPassword.into());
        }
        Err(problem) => {
            env.throttle.undecided(tried).await;
            return Err(problem);
        }
    };
    env.throttle.right(tried).await;
    let keeps = caller.session_id;
    let changed =
        env.entry(AuditKind::PasswordChanged, user, user, call.client_ip, json!({"session": keeps}));
    let new = NewPassword { user: caller.user_id, proven: account.password_hash, password_hash, keeps };
    let event = env.password_changed(&account.user, false, &call.context);
    match env.write(Act::Password(new).audited(changed), vec![event]).await? {
        Some(_) => json(&()),
        // It was changed meanwhile: the password that was verified is no longer the current one.
        None => Err(Rejection::OldPassword.into()),
    }
}

impl Env {
    pub fn password_changed(&self, user: &User, by_reset: bool, context: &Context) -> Outgoing {
        let changed_at = self.clock.now();
        let locale = context.locale.unwrap_or_default();
        let event =
            PasswordChanged { user_id: user.id, email: user.email.clone(), changed_at, by_reset, locale };
        self.event(&event, changed_at, context)
    }
}

pub async fn set_role(env: Arc<Env>, call: Call<SetRole>) -> Answered {
    let by = call.caller()?.user_id;
    let SetRole { id, role } = call.request;
    let set = || async {
        let standing = access::standing_of(&env.pool, id).await.map_err(read_failure)?;
        let standing = standing.ok_or(Rejection::UnknownUser)?;
        if standing.user.role == role {
            return Ok(Some(standing.user));
        }
        let user = User { role, ..standing.user.clone() };
        let details = json!({"from": standing.user.role, "to": role});
        let entry = env.entry(AuditKind::RoleChanged, Some(by), Some(id), call.client_ip, details);
        let event = env.event(&role_changed(&user, Some(by)), env.clock.now(), &call.context);
        let written = env.write(Act::Role(standing.to(role)).audited(entry), vec![event]).await?;
        Ok::<_, Problem>(written.map(|_| user))
    };
    json(&until_current(set).await?)
}

pub async fn set_disabled(env: Arc<Env>, call: Call<SetDisabled>) -> Answered {
    let by = call.caller()?.user_id;
    let SetDisabled { id, disabled } = call.request;
    let set = || async {
        let standing = access::standing_of(&env.pool, id).await.map_err(read_failure)?;
        let Standing { user, epoch, .. } = standing.ok_or(Rejection::UnknownUser)?;
        if user.disabled == disabled {
            return Ok(Some(user));
        }
        let kind = if disabled { AuditKind::AccountDisabled } else { AuditKind::AccountEnabled };
        let entry = env.entry(kind, Some(by), Some(id), call.client_ip, json!({}));
        let change = DisabledChange { user: id, role: user.role, epoch, disabled };
        let written = env.write(Act::Disabled(change).audited(entry), vec![]).await?;
        Ok::<_, Problem>(written.map(|_| User { disabled, ..user }))
    };
    json(&until_current(set).await?)
}

pub fn role_changed(user: &User, by: Option<Uuid>) -> UserRoleChanged {
    let User { id, email, name, role, .. } = user.clone();
    UserRoleChanged { user_id: id, email, name, role, by }
}

pub async fn list_users(env: Arc<Env>, call: Call<ListUsers>) -> Answered {
    let ListUsers { email, ids, paging } = call.request;
    let part = email.map(|part| model::email_key(&part));
    let (users, total) =
        access::list_users(&env.pool, part.as_deref(), ids.as_deref(), paging).await.map_err(read_failure)?;
    json(&paging.of(users, total))
}

pub async fn list_audit(env: Arc<Env>, call: Call<ListAudit>) -> Answered {
    let (records, total) = audit::list(&env.pool, &call.request).await.map_err(read_failure)?;
    json(&call.request.paging.of(records, total))
}

pub async fn list_revocations(env: Arc<Env>, call: Call<ListRevocations>) -> Answered {
    let ListRevocations { after, ended_after } = call.request;
    let revocations = access::revocations(&env.pool, after).await.map_err(read_failure)?;
    let is_full = |rows: usize| rows as i64 == access::REVOCATIONS_MAX;
    let next = revocations.last().filter(|_| is_full(revocations.len())).map(|last| last.user_id);
    let ended = access::ended_sessions(&env.pool, ended_after).await.map_err(read_failure)?;
    let ended_next = ended.last().filter(|_| is_full(ended.len())).copied();
    json(&Revocations { revocations, next, ended, ended_next })
}

pub fn no_account() -> Problem {
    Problem::unauthorized("token-invalid", "The account of this token is gone.")
}
